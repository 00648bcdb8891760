//! A Gaussian policy squashed by tanh (Haarnoja et al., "Soft Actor-Critic Algorithms and Applications", 2018, appendix
//! C), with the bounds on the standard deviation of `pytorch_sac`.
//!
//! (mu, raw) = net(s); log σ = −5 + 3.5 (tanh raw + 1); u = mu + σ ε; a = tanh u;
//! log π(a|s) = Σ_d [ log N(u_d; mu_d, σ_d) − 2 (log 2 − u_d − softplus(−2 u_d)) ].
//!
//! Other forms of σ are in [`Spread`]. The network may see observations normalised by running moments
//! ([`observations`](crate::observations)).

use std::borrow::Cow;
use std::sync::Arc;

use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor};
use foresee_core::Stream;
use foresee_nn::cpu::Part;
use foresee_nn::host::TensorSlot;
use foresee_nn::{Init, Mlp, Parameters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::observations::{Scale, scaled};

#[cfg(feature = "wgpu")]
pub(crate) mod device;
pub mod panel;

/// Bounds of log σ in [`Spread::Bounded`].
pub const LOG_STD_BOUNDS: [f64; 2] = [-5.0, 2.0];

/// Half the distance between [`LOG_STD_BOUNDS`]: log σ is the lower bound plus this number times (tanh raw + 1).
pub const LOG_STD_HALF_RANGE: f64 = 0.5 * (LOG_STD_BOUNDS[1] - LOG_STD_BOUNDS[0]);

/// Bounds of log σ in [`Spread::Clipped`].
pub const CLIPPED_LOG_STD: [f64; 2] = [-20.0, 2.0];

/// Smallest standard deviation in [`Spread::Softplus`]: the summand beside softplus.
pub const MIN_STD: f64 = 1e-5;

/// Sampled actions and their log-probabilities, one row per state.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// `[B, A]`, in [-1, 1].
    pub action: Tensor<2>,
    /// `[B]`.
    pub log_prob: Tensor<1>,
}

/// The map from the network's second output to the standard deviation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// log σ = −5 + 3.5 (tanh raw + 1), between −5 and 2: `pytorch_sac`.
    #[default]
    Bounded,
    /// σ = softplus(raw) + 1e-5: DHMBPO.
    Softplus,
    /// log σ = raw, clipped to [−20, 2]: the original SAC, MBPO and REDQ.
    Clipped,
}

impl Spread {
    /// Whether this is the form that a config without the key `spread` has.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The actor: a network with outputs (mu, raw), and the form of its standard deviation.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The network from (normalised) observations to (mu, raw).
    pub(crate) net: Mlp,
    /// The form of the standard deviation.
    pub(crate) spread: Spread,
    /// Normalisation of the network's observations; `None` for the identity.
    pub(crate) scale: Option<Arc<Scale>>,
}

impl Policy {
    /// Returns a new actor with orthogonal initial weights.
    #[must_use]
    pub fn new(body: &Body, [obs_dim, action_dim]: [usize; 2], seed: u64, device: &Device) -> Self {
        let shape = body.shape(1, obs_dim, 2 * action_dim);
        let net = Mlp::new(shape, Init::Orthogonal, &Stream::new(seed, "agent/actor/init"), device);
        Self { net, spread: Spread::default(), scale: None }
    }

    /// Returns this actor with another form of standard deviation.
    #[must_use]
    pub fn with_spread(self, spread: Spread) -> Self {
        Self { spread, ..self }
    }

    /// The form of the standard deviation.
    #[must_use]
    pub fn spread(&self) -> Spread {
        self.spread
    }

    /// Normalisation of the network's observations; `None` for the identity.
    #[must_use]
    pub fn scale(&self) -> Option<&Scale> {
        self.scale.as_deref()
    }

    /// Whether the GPU kernels can sample this actor: log σ is bounded by a tanh, and observations enter the network
    /// unchanged.
    #[must_use]
    pub fn has_kernel_form(&self) -> bool {
        self.spread == Spread::Bounded && self.scale.is_none()
    }

    /// Returns the network as a function of the task's own observations, with the normalisation folded into its first
    /// layer.
    #[must_use]
    pub fn folded_net(&self) -> Cow<'_, Mlp> {
        let Some(scale) = &self.scale else { return Cow::Borrowed(&self.net) };
        let outputs = self.net.layout().shape().outputs;
        Cow::Owned(self.net.folded(scale.moments(), [&vec![1.0; outputs], &vec![0.0; outputs]]))
    }

    /// Returns (mu, log σ) at states `[B, O]`, `[B, A]` each.
    #[must_use]
    pub fn distribution(&self, obs: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let obs = scaled(self.scale.as_ref(), obs);
        let out: Tensor<2> = self.net.forward(obs.unsqueeze_dim(0)).squeeze_dim(0);
        let actions = out.dims()[1] / 2;
        let (mu, raw) = (out.clone().narrow(1, 0, actions), out.narrow(1, actions, actions));
        let log_std = match self.spread {
            Spread::Bounded => raw.tanh().add_scalar(1.0).mul_scalar(LOG_STD_HALF_RANGE).add_scalar(LOG_STD_BOUNDS[0]),
            Spread::Softplus => softplus(raw, 1.0).add_scalar(MIN_STD).log(),
            Spread::Clipped => raw.clamp(CLIPPED_LOG_STD[0], CLIPPED_LOG_STD[1]),
        };
        (mu, log_std)
    }

    /// Returns actions from standard normal noise `[B, A]`, and their log-probabilities; differentiable in tracked
    /// weights.
    #[must_use]
    pub fn sample(&self, obs: Tensor<2>, noise: Tensor<2>) -> Sampled {
        let (mu, log_std) = self.distribution(obs);
        let u = mu + log_std.clone().exp() * noise.clone();
        let gaussian = (noise.square().mul_scalar(-0.5) - log_std).sub_scalar(0.5 * (2.0 * std::f64::consts::PI).ln());
        let squash = (u.clone() + softplus(u.clone().mul_scalar(-2.0), 1.0)).sub_scalar(std::f64::consts::LN_2);
        let log_prob = (gaussian + squash.mul_scalar(2.0)).sum_dim(1).squeeze_dim(1);
        Sampled { action: u.tanh(), log_prob }
    }

    /// Number of entries of an action, `A`.
    #[must_use]
    pub fn action_dim(&self) -> usize {
        self.net.layout().shape().outputs / 2
    }

    /// The network from (normalised) observations to (mu, raw), `[1, B, O] -> [1, B, 2A]`.
    #[must_use]
    pub fn net(&self) -> &Mlp {
        &self.net
    }

    /// Returns the mean action tanh(mu) at states `[B, O]`, `[B, A]`.
    #[must_use]
    pub fn mean_action(&self, obs: Tensor<2>) -> Tensor<2> {
        self.distribution(obs).0.tanh()
    }
}

impl Parameters for Policy {
    fn slot(&self) -> &TensorSlot {
        self.net.slot()
    }

    fn slot_mut(&mut self) -> &mut TensorSlot {
        self.net.slot_mut()
    }

    fn parts(&self) -> Vec<Part> {
        self.net.parts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foresee_nn::tensors;

    #[test]
    fn the_log_probability_is_the_density_of_the_squashed_action() {
        let body = Body { hidden: vec![8], ..Body::default() };
        let policy = Policy::new(&body, [3, 2], 0, &Device::flex());
        let obs = tensors::from_vec(Stream::new(1, "obs").normals(0, 6, 3), [6, 3], &Device::flex());
        let noise = tensors::from_vec(Stream::new(1, "noise").normals(0, 6, 2), [6, 2], &Device::flex());
        let sampled = policy.sample(obs.clone(), noise.clone());
        let (mu, log_std) = policy.distribution(obs);
        let (mu, log_std, noise) = (tensors::to_vec(mu), tensors::to_vec(log_std), tensors::to_vec(noise));
        for (row, got) in tensors::to_vec(sampled.log_prob).into_iter().enumerate() {
            // Change of variables in f64: log N(u) − log |da/du|, da/du = 1 − tanh² u.
            let want: f64 = (row * 2..row * 2 + 2)
                .map(|i| {
                    let (log_std, z) = (f64::from(log_std[i]), f64::from(noise[i]));
                    let u = f64::from(mu[i]) + log_std.exp() * z;
                    -0.5 * z * z - log_std - 0.5 * (2.0 * std::f64::consts::PI).ln() - (1.0 - u.tanh().powi(2)).ln()
                })
                .sum();
            assert!((f64::from(got) - want).abs() < 1e-4 * (1.0 + want.abs()), "row {row}: {got}, expected {want}");
        }
    }
}
