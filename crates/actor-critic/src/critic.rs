//! `N` action-value functions at once: Q_n(s, a), `[B, O]`, `[B, A]` -> `[N, B]`.

use burn::tensor::{Device, Tensor};
use foresee_core::Stream;
use foresee_nn::cpu::Part;
use foresee_nn::host::Slot;
use foresee_nn::{Activation, Init, Mlp, Parameters, Shape};

use crate::config::AgentConfig;

/// Twin critics (Fujimoto et al. 2018).
pub const CRITICS: usize = 2;

/// The critics, as one network with `N` members.
#[derive(Clone, Debug)]
pub struct Critic {
    pub(crate) net: Mlp,
}

impl Critic {
    /// Fresh critics.
    #[must_use]
    pub fn new(config: &AgentConfig, [obs_dim, action_dim]: [usize; 2], seed: u64, device: &Device) -> Self {
        let shape = Shape {
            members: CRITICS,
            inputs: obs_dim + action_dim,
            hidden: config.hidden.clone(),
            outputs: 1,
            activation: Activation::Relu,
            layer_norm: false,
            normalized_features: config.normalized_features,
        };
        Self { net: Mlp::new(shape, Init::Orthogonal, &Stream::new(seed, "agent/critic/init"), device) }
    }

    /// Critics, `N`.
    #[must_use]
    pub fn members(&self) -> usize {
        self.net.members()
    }

    /// Every critic's value of every row, `[N, B]`; both inputs may be tracked.
    #[must_use]
    pub fn values(&self, obs: Tensor<2>, action: Tensor<2>) -> Tensor<2> {
        let inputs = Tensor::cat(vec![obs, action], 1);
        self.net.forward(inputs.unsqueeze_dim(0)).squeeze_dim(2)
    }

    /// The lowest critic's value of every row, `[B]`: the pessimism of clipped double Q-learning.
    #[must_use]
    pub fn lowest(&self, obs: Tensor<2>, action: Tensor<2>) -> Tensor<1> {
        self.values(obs, action).min_dim(0).squeeze_dim(0)
    }

    /// Every critic's value where each critic has its own states `[N, B, O]` and actions `[N, B, A]`: `[N, B]`.
    #[must_use]
    pub fn values_at(&self, obs: Tensor<3>, action: Tensor<3>) -> Tensor<2> {
        self.net.forward(Tensor::cat(vec![obs, action], 2)).squeeze_dim(2)
    }
}

impl Parameters for Critic {
    fn slot(&self) -> &Slot {
        self.net.slot()
    }

    fn slot_mut(&mut self) -> &mut Slot {
        self.net.slot_mut()
    }

    fn parts(&self) -> Vec<Part> {
        self.net.parts()
    }
}
