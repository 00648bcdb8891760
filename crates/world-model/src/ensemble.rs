//! The ensemble: `E` networks that predict (next_obs − obs, reward), reward last, from (obs, action).
//!
//! With a Gaussian head a member also predicts a log-variance, softly clamped between learned bounds that all members
//! share (PETS; Chua et al. 2018, appendix A.1):
//! lv ← max − softplus(max − lv); lv ← min + softplus(lv − min).

use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor};
use foresee_core::{State, StateError, Stream};
use foresee_nn::{Activation, Init, Mlp, MlpConfig, Parameters, tensors};

use crate::config::{EnsembleConfig, Head};
use crate::normalizer::Normalizer;

/// Where the learned bounds of the log-variance start: nearly no noise, and a standard deviation of 1.3.
const MIN_LOGVAR: f32 = -10.0;
const MAX_LOGVAR: f32 = 0.5;

/// What every member predicts for every row; `O + 1` channels, reward last.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Mean of (next_obs − obs, reward), `[E, B, O + 1]`.
    pub mean: Tensor<3>,
    /// Log-variance, `[E, B, O + 1]`, where the head is Gaussian.
    pub logvar: Option<Tensor<3>>,
}

/// The bounds of the log-variance, `[1, 1, O + 1]` each; nothing where the head is deterministic.
#[derive(Clone, Debug)]
pub struct Bounds(pub Option<[Tensor<3>; 2]>);

impl Bounds {
    /// The soft clamp.
    #[must_use]
    pub fn clamp(&self, raw: Tensor<3>) -> Option<Tensor<3>> {
        let [min, max] = self.0.as_ref()?;
        let below = max.clone() - softplus(max.clone() - raw, 1.0);
        Some(min.clone() + softplus(below - min.clone(), 1.0))
    }

    /// Σ max − Σ min: what keeps the bounds from drifting apart.
    #[must_use]
    pub fn width(&self) -> Option<Tensor<1>> {
        let [min, max] = self.0.as_ref()?;
        Some(max.clone().sum() - min.clone().sum())
    }
}

impl Parameters for Bounds {
    fn parameters(&self) -> Vec<(String, &Tensor<3>)> {
        self.0.iter().flat_map(|[min, max]| [("min_logvar".to_owned(), min), ("max_logvar".to_owned(), max)]).collect()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Tensor<3>> {
        self.0.iter_mut().flatten().collect()
    }
}

/// The ensemble with all that a prediction needs.
#[derive(Clone, Debug)]
pub struct Ensemble {
    /// The networks, `[E, B, O + A] -> [E, B, O + 1]`, or twice as many outputs with a Gaussian head.
    pub net: Mlp,
    /// Bounds of the log-variance.
    pub bounds: Bounds,
    /// Of the inputs.
    pub normalizer: Normalizer,
    /// Members that imagine, best first.
    pub elites: Vec<usize>,
    obs_dim: usize,
}

impl Ensemble {
    /// A fresh ensemble; until it is trained, the first members are its elites.
    #[must_use]
    pub fn new(
        config: &EnsembleConfig,
        head: Head,
        [obs_dim, action_dim]: [usize; 2],
        seed: u64,
        device: &Device,
    ) -> Self {
        let channels = obs_dim + 1;
        let net = MlpConfig {
            members: config.members,
            inputs: obs_dim + action_dim,
            hidden: config.hidden.clone(),
            outputs: if head == Head::Gaussian { 2 * channels } else { channels },
            activation: Activation::Silu,
            normalized_features: false,
            init: Init::TruncatedNormal,
        }
        .init(&Stream::new(seed, "model/init"), device);
        let bound = |value| tensors::from_vec(vec![value; channels], [1, 1, channels], device);
        Self {
            net,
            bounds: Bounds((head == Head::Gaussian).then(|| [bound(MIN_LOGVAR), bound(MAX_LOGVAR)])),
            normalizer: Normalizer::identity(obs_dim + action_dim),
            elites: (0..config.elites).collect(),
            obs_dim,
        }
    }

    /// Members, `E`.
    #[must_use]
    pub fn members(&self) -> usize {
        self.net.members()
    }

    /// Observation entries, `O`.
    #[must_use]
    pub fn obs_dim(&self) -> usize {
        self.obs_dim
    }

    /// The prediction for normalised inputs `[E, B, O + A]` or, shown to every member, `[1, B, O + A]`.
    #[must_use]
    pub fn predict(&self, inputs: Tensor<3>) -> Prediction {
        predict(&self.net, &self.bounds, inputs, self.obs_dim + 1)
    }

    /// As arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.nest("net", self.net.save());
        state.nest("bounds", self.bounds.save());
        state.nest("normalizer", self.normalizer.save());
        state.put("elites", self.elites.iter().map(|&e| e as u64).collect::<Vec<_>>());
        state
    }

    /// Reads all of it back.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    pub fn load(&mut self, mut state: State) -> Result<(), StateError> {
        self.net.load(state.part("net"))?;
        self.bounds.load(state.part("bounds"))?;
        self.normalizer = Normalizer::restore(state.part("normalizer"))?;
        self.elites = state.u64s("elites")?.1.into_iter().map(|e| e as usize).collect();
        state.finish()
    }
}

/// The prediction of networks and bounds that may be tracked; `channels` is `O + 1`.
#[must_use]
pub fn predict(net: &Mlp, bounds: &Bounds, inputs: Tensor<3>, channels: usize) -> Prediction {
    let out = net.forward(inputs);
    if bounds.0.is_none() {
        return Prediction { mean: out, logvar: None };
    }
    let raw = out.clone().narrow(2, channels, channels);
    Prediction { mean: out.narrow(2, 0, channels), logvar: bounds.clamp(raw) }
}
