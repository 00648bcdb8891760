//! A deterministic policy, mu(s) = tanh net(s), with Gaussian noise for exploration.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use foresee_core::Stream;
use foresee_nn::cpu::Part;
use foresee_nn::host::TensorSlot;
use foresee_nn::{Init, Mlp, Parameters};

use super::Td3Config;
use crate::actor::Actor;
use crate::observations::{Scale, scaled};

/// The actor: its network, and the standard deviation of its exploration noise.
#[derive(Clone, Debug)]
pub struct DeterministicActor {
    net: Mlp,
    /// The map from an observation to the network's input; `None` for the identity.
    pub(super) scale: Option<Arc<Scale>>,
    /// Standard deviation of the noise on exploring actions.
    exploration_noise: f64,
}

impl DeterministicActor {
    /// Returns a new actor for observations and actions of `[O, A]` entries.
    #[must_use]
    pub fn new(config: &Td3Config, [obs_dim, action_dim]: [usize; 2], seed: u64, device: &Device) -> Self {
        let shape = config.actor_body().shape(1, obs_dim, action_dim);
        let net = Mlp::new(shape, Init::Orthogonal, &Stream::new(seed, "agent/actor/init"), device);
        Self { net, scale: None, exploration_noise: config.exploration_noise }
    }
}

impl Actor for DeterministicActor {
    fn action_dim(&self) -> usize {
        self.net.layout().shape().outputs
    }

    fn sample(&self, obs: Tensor<2>, noise: Tensor<2>) -> Tensor<2> {
        (self.mean(obs) + noise.mul_scalar(self.exploration_noise)).clamp(-1.0, 1.0)
    }

    fn mean(&self, obs: Tensor<2>) -> Tensor<2> {
        self.net.forward(scaled(self.scale.as_ref(), obs).unsqueeze_dim(0)).squeeze_dim::<2>(0).tanh()
    }
}

impl Parameters for DeterministicActor {
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
