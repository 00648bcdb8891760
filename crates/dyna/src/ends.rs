//! The ends of imagined episodes: by a known rule, or by a classifier that is learned from real ends.
//!
//! * [`EndRule`]: the one of the two that a run's rollouts use.
//! * [`HostEnds`]: the same with all numbers in host memory, for rollouts on panels and for the reference.
//! * [`LearnedEnds`]: the classifier and its training.

mod learned;

use burn::tensor::Tensor;
use foresee_core::Termination;

pub use learned::{HostClassifier, LearnedEnds, PanelBuffers};

use crate::rollout::tensors::not_terminated;

/// The rule by which an imagined step ends its episode.
#[derive(Clone, Copy, Debug)]
pub enum EndRule<'a> {
    /// The task's termination rule.
    Known(&'a Termination),
    /// A classifier of steps, learned from the real ones.
    Learned(&'a LearnedEnds),
}

impl<'a> From<&'a Termination> for EndRule<'a> {
    fn from(rule: &'a Termination) -> Self {
        Self::Known(rule)
    }
}

impl<'a> EndRule<'a> {
    /// Returns the classifier, if the run learns one, or else the task's rule.
    #[must_use]
    pub fn of(learned: Option<&'a LearnedEnds>, known: &'a Termination) -> Self {
        learned.map_or(Self::Known(known), Self::Learned)
    }

    /// The task's rule, if it decides.
    #[must_use]
    pub fn known(self) -> Option<&'a Termination> {
        match self {
            Self::Known(rule) => Some(rule),
            Self::Learned(_) => None,
        }
    }

    /// Returns 1 for steps from `obs` `[B, O]` under `action` `[B, A]` to `next_obs` `[B, O]` after which an episode
    /// continues, and 0 for those that end it, `[B]`. The tensors are outside autodiff.
    #[must_use]
    pub fn not_terminated(self, obs: Tensor<2>, action: Tensor<2>, next_obs: Tensor<2>) -> Tensor<1> {
        match self {
            Self::Known(rule) => not_terminated(rule, obs, next_obs),
            Self::Learned(learned) => learned.not_terminated(obs, action, next_obs),
        }
    }

    /// Returns the same with all numbers in host memory. Weights on another device are read once.
    #[must_use]
    pub fn on_host(self) -> HostEnds<'a> {
        match self {
            Self::Known(rule) => HostEnds::Known(rule),
            Self::Learned(learned) => HostEnds::Learned(learned.on_host()),
        }
    }
}

/// [`EndRule`] in host memory.
#[derive(Debug)]
pub enum HostEnds<'a> {
    /// The task's termination rule.
    Known(&'a Termination),
    /// A learned classifier.
    Learned(HostClassifier<'a>),
}

impl HostEnds<'_> {
    /// Whether the step from `obs` `[O]` under `action` `[A]` to `next_obs` `[O]` ends its episode. This is the
    /// specification of the other forms: a classifier is evaluated in f64.
    #[must_use]
    pub fn terminated(&self, obs: &[f32], action: &[f32], next_obs: &[f32]) -> bool {
        match self {
            Self::Known(rule) => rule.terminated(obs, next_obs),
            Self::Learned(classifier) => classifier.logit(obs, action, next_obs) > 0.0,
        }
    }
}
