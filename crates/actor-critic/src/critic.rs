//! `N` action-value functions evaluated together: Q_n(s, a), `[B, O]`, `[B, A]` -> `[N, B]`; and the reduction of their
//! values to one.

use burn::tensor::{Device, Tensor};
use foresee_core::Stream;
use foresee_core::stream::below;
use foresee_nn::cpu::Part;
use foresee_nn::host::TensorSlot;
use foresee_nn::{Init, Mlp, Parameters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::observations::Scale;

/// Largest number of critics of an agent. More are a typing error.
pub(crate) const MAX_CRITICS: usize = 64;

/// The reduction of several critics' values to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// The minimum: the pessimism of clipped double Q-learning (Fujimoto et al. 2018).
    #[default]
    Min,
    /// The mean.
    Mean,
}

impl Reduction {
    /// Reduces the values of all critics, `[N, B] -> [B]`.
    #[must_use]
    pub fn of(self, values: Tensor<2>) -> Tensor<1> {
        match self {
            Self::Min => values.min_dim(0),
            Self::Mean => values.mean_dim(0),
        }
        .squeeze_dim(0)
    }
}

/// The critics, as one network with `N` ensemble members.
#[derive(Clone, Debug)]
pub struct Critic {
    /// The critics' network, `[N, B, O + A] -> [N, B, 1]`.
    pub(crate) net: Mlp,
}

impl Critic {
    /// Returns `members` critics with orthogonal initial weights. The weights of one critic do not depend on `members`.
    #[must_use]
    pub fn new(members: usize, body: &Body, [obs_dim, action_dim]: [usize; 2], seed: u64, device: &Device) -> Self {
        Self::drawn(members, body, [obs_dim, action_dim], Init::Orthogonal, seed, device)
    }

    /// Returns critics with initial weights drawn by `init`.
    #[must_use]
    pub fn drawn(
        members: usize,
        body: &Body,
        [obs_dim, action_dim]: [usize; 2],
        init: Init,
        seed: u64,
        device: &Device,
    ) -> Self {
        let shape = body.shape(members, obs_dim + action_dim, 1);
        Self { net: Mlp::new(shape, init, &Stream::new(seed, "agent/critic/init"), device) }
    }

    /// The critics' network, `[N, B, O + A] -> [N, B, 1]`.
    #[must_use]
    pub fn net(&self) -> &Mlp {
        &self.net
    }

    /// Returns critics of the task's own observations whose values are `factor` · Q + `shift`, where Q are these
    /// critics of normalised observations. Both maps are folded into the first and the last layer.
    #[must_use]
    pub fn folded(&self, scale: Option<&Scale>, [factor, shift]: [f64; 2]) -> Self {
        let input = scale.map_or([&[][..]; 2], Scale::moments);
        Self { net: self.net.folded(input, [&[factor], &[shift]]) }
    }

    /// Number of critics, `N`.
    #[must_use]
    pub fn members(&self) -> usize {
        self.net.members()
    }

    /// Returns every critic's value at every row, `[N, B]`; autodiff may track both inputs.
    #[must_use]
    pub fn values(&self, obs: Tensor<2>, action: Tensor<2>) -> Tensor<2> {
        let inputs = Tensor::cat(vec![obs, action], 1);
        self.net.forward(inputs.unsqueeze_dim(0)).squeeze_dim(2)
    }

    /// Returns every critic's values `[N, B]` at its own states `[N, B, O]` and actions `[N, B, A]`.
    #[must_use]
    pub fn values_at(&self, obs: Tensor<3>, action: Tensor<3>) -> Tensor<2> {
        self.net.forward(Tensor::cat(vec![obs, action], 2)).squeeze_dim(2)
    }
}

impl Parameters for Critic {
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

/// Returns `words.len()` distinct numbers below `n`, with every subset equally likely: the first steps of a
/// Fisher–Yates shuffle.
pub(crate) fn subset(words: &[u32], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for (i, &word) in words.iter().enumerate() {
        order.swap(i, i + below(word, n - i));
    }
    order.truncate(words.len());
    order
}
