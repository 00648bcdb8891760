//! The inputs of imagined steps in host memory: networks, normaliser, bounds of the log-variance, termination rule.

use foresee_actor_critic::policy::Spread;
use foresee_core::Stream;
use foresee_nn::cpu::Layout;
use foresee_nn::host::HostTensor;
use foresee_nn::{Mlp, Parameters};
use foresee_world_model::Ensemble;
use foresee_world_model::config::Predicted;
use foresee_world_model::normalizer::Normalizer;
use foresee_world_model::uncertainty::Measure;

use super::FusedContext;
use crate::ends::{EndRule, HostEnds};

/// `E` networks of one shape in host memory.
#[derive(Debug)]
pub struct Networks<'a> {
    /// Positions of the weights.
    pub layout: &'a Layout,
    /// Weights, `[E, P]`.
    weights: HostTensor,
}

impl<'a> Networks<'a> {
    fn of(net: &'a Mlp) -> Self {
        Self::with(net.layout(), net)
    }

    /// Networks with a layout and the weights of `net`.
    fn with(layout: &'a Layout, net: &Mlp) -> Self {
        Self { layout, weights: HostTensor::read(net.slot().get().clone()) }
    }

    /// One member's parameters, `[P]`.
    #[must_use]
    pub fn member(&self, member: usize) -> &[f32] {
        self.layout.member(self.weights.get(), member)
    }
}

/// Actor, model and termination rule in host memory: the inputs of an imagined step.
#[derive(Debug)]
pub struct HostContext<'a> {
    /// The actor, one network from observations `[O]` to (mu, raw), `[2A]`; `None` if all actions are given.
    pub actor: Option<Networks<'a>>,
    /// Form of the actor's standard deviation.
    pub spread: Spread,
    /// The model, `E` networks from normalised (obs, action) `[O + A]` to the mean of the prediction `[O + 1]`:
    /// change of the observation or next observation, and the reward. A Gaussian head also returns as many raw
    /// log-variances.
    pub model: Networks<'a>,
    /// Form of the prediction: the change of the observation, which is added to it, or the next observation.
    pub predicted: Predicted,
    /// Normaliser of the model's inputs.
    pub normalizer: &'a Normalizer,
    /// Bounds of the log-variance, low then high, `[2 (O + 1)]`; `None` if the head is deterministic.
    logvar_bounds: Option<HostTensor>,
    /// Indices of the members that predict.
    pub elites: &'a [usize],
    /// The rule by which imagined episodes end.
    pub termination: HostEnds<'a>,
    /// Measures of the ensemble's uncertainty to compute at every step.
    pub measures: &'a [Measure],
    /// The random streams of the draws.
    pub streams: Streams,
    /// Number of entries of observations and actions, `[O, A]`.
    dims: [usize; 2],
}

/// The random streams of a run's rollouts.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    /// Standard normals `[A]` of the action.
    pub action: Stream,
    /// One word, which chooses the elite that predicts.
    pub elite: Stream,
    /// Standard normals `[O + 1]` of a Gaussian prediction.
    pub noise: Stream,
}

impl Streams {
    /// Returns the streams of the run with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let stream = |name| Stream::new(seed, name);
        Self { action: stream("rollout/action"), elite: stream("rollout/elite"), noise: stream("rollout/noise") }
    }
}

impl<'a> HostContext<'a> {
    /// Returns the inputs of a rollout. Weights in host memory are borrowed; weights on another device are read once.
    #[must_use]
    pub fn new(context: &FusedContext<'a>) -> Self {
        let FusedContext { ensemble, policy, termination, seed, measures, .. } = *context;
        let actor = Networks::with(policy.net().layout(), &policy.folded_net());
        let spread = policy.spread();
        Self { actor: Some(actor), spread, measures, ..Self::without_actor(ensemble, termination, seed) }
    }

    /// Returns the inputs of steps under given actions: a model without an actor.
    #[must_use]
    pub fn without_actor(ensemble: &'a Ensemble, termination: EndRule<'a>, seed: u64) -> Self {
        let obs_dim = ensemble.obs_dim();
        Self {
            actor: None,
            spread: Spread::default(),
            model: Networks::of(&ensemble.net),
            predicted: ensemble.predicted(),
            normalizer: &ensemble.normalizer,
            logvar_bounds: ensemble.bounds.as_ref().map(|bounds| HostTensor::read(bounds.slot().get().clone())),
            elites: &ensemble.elites,
            termination: termination.on_host(),
            measures: &[],
            streams: Streams::new(seed),
            dims: [obs_dim, ensemble.net.inputs() - obs_dim],
        }
    }

    /// The actor.
    ///
    /// # Panics
    /// If all actions are given.
    #[track_caller]
    pub(super) fn actor(&self) -> &Networks<'a> {
        self.actor.as_ref().expect("an actor where no actions are given")
    }

    /// Number of entries of an observation, `O`.
    #[must_use]
    pub fn obs_dim(&self) -> usize {
        self.dims[0]
    }

    /// Number of entries of an action, `A`.
    #[must_use]
    pub fn action_dim(&self) -> usize {
        self.dims[1]
    }

    /// Low and high bounds of the log-variance, `[O + 1]` each; `None` if the head is deterministic.
    #[must_use]
    pub fn logvar_bounds(&self) -> Option<[&[f32]; 2]> {
        self.logvar_bounds
            .as_ref()
            .map(|bounds| bounds.get().split_at(self.obs_dim() + 1))
            .map(|(low, high)| [low, high])
    }
}
