//! The ensemble: `E` networks that predict (next_obs − obs, reward), or (next_obs, reward), from (obs, action). The
//! reward is the last channel.
//!
//! With a Gaussian or homoscedastic head a member also predicts a log-variance. It is softly clamped between learned
//! bounds that all members share ([`prediction`](crate::prediction)).

use burn::tensor::{Device, Int, Tensor, TensorData};
use foresee_core::stream::below;
use foresee_core::{State, StateError, Stream};
use foresee_nn::{Activation, Init, Mlp, Parameters, Shape, StepDraws, tensors};

use crate::config::{EnsembleConfig, Head, Predicted};
use crate::normalizer::Normalizer;
pub use crate::prediction::{Bounds, ModelStep, Prediction, predict};

/// Initial values of the learned bounds of the log-variance: nearly no noise, and a standard deviation of 1.3.
const MIN_LOGVAR: f32 = -10.0;
const MAX_LOGVAR: f32 = 0.5;

/// The ensemble and everything that its predictions need.
#[derive(Clone, Debug)]
pub struct Ensemble {
    /// The networks, `[E, B, O + A] -> [E, B, O + 1]`; twice as many outputs if the head has a variance.
    pub net: Mlp,
    /// Bounds of the log-variance, if the head has a variance.
    pub bounds: Option<Bounds>,
    /// The normaliser of the inputs.
    pub normalizer: Normalizer,
    /// The members that imagine, best first.
    pub elites: Vec<usize>,
    /// Whether the networks predict changes or next observations.
    predicted: Predicted,
    obs_dim: usize,
}

impl Ensemble {
    /// Returns a new, untrained ensemble. Until it is trained, the first members are its elites.
    #[must_use]
    pub fn new(
        config: &EnsembleConfig,
        head: Head,
        [obs_dim, action_dim]: [usize; 2],
        seed: u64,
        device: &Device,
    ) -> Self {
        let channels = obs_dim + 1;
        let shape = Shape {
            members: config.members,
            inputs: obs_dim + action_dim,
            hidden: config.hidden.clone(),
            outputs: if head.has_variance() { 2 * channels } else { channels },
            activation: Activation::Silu,
            layer_norm: false,
            normalized_features: false,
            hidden_norms: if config.layer_norm { vec![0, -1, -2] } else { vec![] },
        };
        let [min, max] = [MIN_LOGVAR, MAX_LOGVAR].map(|bound| vec![bound; channels]);
        let net = Mlp::new(shape, Init::TruncatedNormal, &Stream::new(seed, "model/init"), device);
        Self {
            net: if head == Head::Homoscedastic { net.with_zero_weights_of(channels..2 * channels) } else { net },
            bounds: head.has_variance().then(|| Bounds::new(&min, &max, device)),
            normalizer: Normalizer::identity(obs_dim + action_dim),
            elites: (0..config.elites).collect(),
            predicted: config.predict,
            obs_dim,
        }
    }

    /// Returns the number of members, `E`.
    #[must_use]
    pub fn members(&self) -> usize {
        self.net.members()
    }

    /// Returns whether the networks predict changes or next observations.
    #[must_use]
    pub fn predicted(&self) -> Predicted {
        self.predicted
    }

    /// Returns the number of observation entries, `O`.
    #[must_use]
    pub fn obs_dim(&self) -> usize {
        self.obs_dim
    }

    /// Returns the prediction for normalised inputs `[E, B, O + A]`, or `[1, B, O + A]` for inputs that all members
    /// share.
    #[must_use]
    pub fn predict(&self, inputs: Tensor<3>) -> Prediction {
        predict(&self.net, self.bounds.as_ref(), inputs, self.obs_dim + 1)
    }

    /// Returns the ensemble whose predictions are in the targets' own units, for an ensemble that predicts targets
    /// normalised by `targets`. The scale and shift are folded into the last layer, the log-variance and its bounds.
    #[must_use]
    pub fn in_units_of(&self, targets: &Normalizer) -> Self {
        let [mean, std] = targets.moments();
        let of_variance = if self.bounds.is_some() { std.len() } else { 0 };
        let wider = std.iter().map(|&std| 2.0 * f64::from(std).ln());
        let scale: Vec<f64> =
            std.iter().map(|&std| f64::from(std)).chain(std::iter::repeat_n(1.0, of_variance)).collect();
        let shift: Vec<f64> = mean.iter().map(|&m| f64::from(m)).chain(wider.clone().take(of_variance)).collect();
        let bounds = self.bounds.as_ref().map(|bounds| {
            let all = tensors::to_vec(bounds.slot().get().clone());
            let wider: Vec<f32> =
                all.iter().zip(wider.clone().chain(wider)).map(|(b, w)| (f64::from(*b) + w) as f32).collect();
            let (low, high) = wider.split_at(std.len());
            Bounds::new(low, high, &bounds.slot().get().device())
        });
        Self { net: self.net.folded([&[]; 2], [&scale, &shift]), bounds, ..self.clone() }
    }

    /// Returns the number of noise columns of a step: `O + 1` if the head has a variance, 0 if it is deterministic.
    #[must_use]
    pub fn noise_width(&self) -> usize {
        if self.bounds.is_some() { self.obs_dim + 1 } else { 0 }
    }

    /// Returns one step from observations `[B, O]` under actions `[B, A]`. Row `b` is predicted by elite
    /// `below(words[b], elites)`; if the head has a variance, the row's noise is scaled by the predicted standard
    /// deviation and added. The step is differentiable in observations and actions; the parameters are constants.
    #[must_use]
    pub fn step(&self, obs: Tensor<2>, action: Tensor<2>, draws: &StepDraws) -> ModelStep {
        let members: Vec<usize> = draws.words.iter().map(|&word| self.elites[below(word, self.elites.len())]).collect();
        let Prediction { mean, logvar } = self.predict_rows(obs.clone(), action, &members);
        let mut outcome: Tensor<2> = mean.squeeze_dim(0);
        if let Some(logvar) = logvar {
            outcome = outcome + logvar.squeeze_dim::<2>(0).mul_scalar(0.5).exp() * draws.noise.clone();
        }
        let obs_part = outcome.clone().narrow(1, 0, self.obs_dim);
        ModelStep {
            next_obs: match self.predicted {
                Predicted::Change => obs + obs_part,
                Predicted::NextObs => obs_part,
            },
            reward: outcome.narrow(1, self.obs_dim, 1).squeeze_dim(1),
        }
    }

    /// Returns the prediction of each row by its own member, `[1, B, O + 1]`, from observations `[B, O]` and actions
    /// `[B, A]` that are not normalised.
    ///
    /// The rows are grouped by member, and the groups are padded with row 0 to the same size. One forward pass of all
    /// networks then suffices.
    ///
    /// # Panics
    /// If there are no rows, or the number of members is not the number of rows.
    #[track_caller]
    #[must_use]
    pub fn predict_rows(&self, obs: Tensor<2>, action: Tensor<2>, members: &[usize]) -> Prediction {
        let rows = obs.dims()[0];
        assert!(rows > 0 && rows == members.len(), "{rows} rows, {} members for them", members.len());
        let device = obs.device();
        let [mean, std] = self.normalizer.moments().map(|all| tensors::from_vec(all.to_vec(), [1, all.len()], &device));
        let inputs = (Tensor::cat(vec![obs, action], 1) - mean) / std;

        let mut rows_of_member: Vec<Vec<i32>> = vec![Vec::new(); self.members()];
        for (row, &member) in members.iter().enumerate() {
            rows_of_member[member].push(row as i32);
        }
        let largest = rows_of_member.iter().map(Vec::len).max().unwrap_or(0);
        let (mut gather_rows, mut scatter) = (Vec::with_capacity(self.members() * largest), vec![0_i32; rows]);
        for (member, rows_of_member) in rows_of_member.iter().enumerate() {
            for (k, &row) in rows_of_member.iter().enumerate() {
                scatter[row as usize] = (member * largest + k) as i32;
            }
            gather_rows.extend(rows_of_member);
            gather_rows.resize((member + 1) * largest, 0);
        }
        let numbers = |all: Vec<i32>| {
            let count = all.len();
            Tensor::<1, Int>::from_data(TensorData::new(all, [count]), &device)
        };
        let width = inputs.dims()[1];
        let grouped = inputs.select(0, numbers(gather_rows)).reshape([self.members(), largest, width]);
        let scatter = numbers(scatter);
        let ungroup = |all: Tensor<3>| {
            let channels = all.dims()[2];
            all.reshape([self.members() * largest, channels]).select(0, scatter.clone()).unsqueeze_dim::<3>(0)
        };
        let Prediction { mean, logvar } = self.predict(grouped);
        Prediction { mean: ungroup(mean), logvar: logvar.map(ungroup) }
    }

    /// Returns the networks, bounds, input normaliser and elites as named arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.nest("net", self.net.save());
        if let Some(bounds) = &self.bounds {
            state.nest("bounds", bounds.save());
        }
        state.nest("normalizer", self.normalizer.save());
        state.put("elites", self.elites.iter().map(|&e| e as u64).collect::<Vec<_>>());
        state
    }

    /// Restores the state that [`Ensemble::save`] returned.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    pub fn load(&mut self, mut state: State) -> Result<(), StateError> {
        self.net.load(state.part("net"))?;
        if let Some(bounds) = &mut self.bounds {
            bounds.load(state.part("bounds"))?;
        }
        self.normalizer = Normalizer::restore(state.part("normalizer"))?;
        self.elites = state.u64s("elites")?.1.into_iter().map(|e| e as usize).collect();
        state.finish()
    }
}
