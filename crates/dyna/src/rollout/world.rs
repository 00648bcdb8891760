//! What imagines, as plain numbers in host memory: networks, normaliser, bounds of the log-variance, termination rule.

use foresee_actor_critic::policy::Spread;
use foresee_core::{Stream, Termination};
use foresee_nn::cpu::Layout;
use foresee_nn::host::Numbers;
use foresee_nn::{Mlp, Parameters};
use foresee_world_model::Ensemble;
use foresee_world_model::config::Predicted;
use foresee_world_model::normalizer::Normalizer;
use foresee_world_model::uncertainty::Measure;

use super::Imagination;

/// `E` networks of one shape.
#[derive(Debug)]
pub struct Networks<'a> {
    /// Where every number stands.
    pub layout: &'a Layout,
    /// `[E, P]`
    weights: Numbers,
}

impl<'a> Networks<'a> {
    fn of(net: &'a Mlp) -> Self {
        Self::with(net.layout(), net)
    }

    /// Networks of this layout with the weights of other ones.
    fn with(layout: &'a Layout, net: &Mlp) -> Self {
        Self { layout, weights: Numbers::read(net.slot().get().clone()) }
    }

    /// One member's parameters, `[P]`.
    #[must_use]
    pub fn member(&self, member: usize) -> &[f32] {
        &self.weights.get()[member * self.layout.parameters()..][..self.layout.parameters()]
    }
}

/// All that an imagined step reads.
#[derive(Debug)]
pub struct World<'a> {
    /// Observations `[O]` to (mu, raw), `[2A]`; one member. None where all actions are given.
    pub actor: Option<Networks<'a>>,
    /// How the actor's deviation is made.
    pub spread: Spread,
    /// Normalised (obs, action) `[O + A]` to the mean of (next_obs − obs, reward) `[O + 1]`, and to as many raw
    /// log-variances if the head is Gaussian; `E` members.
    pub model: Networks<'a>,
    /// Whether the model's outputs are changes or next observations.
    pub predicted: Predicted,
    /// Of the model's inputs.
    pub normalizer: &'a Normalizer,
    /// Bounds of the log-variance, low then high, `[2 (O + 1)]`, if the head is Gaussian.
    logvar_bounds: Option<Numbers>,
    /// Members that imagine.
    pub elites: &'a [usize],
    /// When an imagined episode ends.
    pub termination: &'a Termination,
    /// What to say about every step besides.
    pub measures: &'a [Measure],
    /// Whose draws are read.
    pub streams: Streams,
    /// Entries of observations and actions, `[O, A]`.
    dims: [usize; 2],
}

/// The streams of a run's rollouts.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    /// Standard normals `[A]` of the action.
    pub action: Stream,
    /// Which elite imagines: one word.
    pub elite: Stream,
    /// Standard normals `[O + 1]` of a Gaussian prediction.
    pub noise: Stream,
}

impl Streams {
    /// The streams of the run with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let stream = |name| Stream::new(seed, name);
        Self { action: stream("rollout/action"), elite: stream("rollout/elite"), noise: stream("rollout/noise") }
    }
}

impl<'a> World<'a> {
    /// What a rollout imagines with. Networks that live in host memory are lent, those of another device are read once.
    #[must_use]
    pub fn new(imagination: &Imagination<'a>) -> Self {
        let Imagination { ensemble, policy, termination, seed, measures, .. } = *imagination;
        let actor = Networks::with(policy.net().layout(), &policy.folded_net());
        let spread = policy.spread();
        Self { actor: Some(actor), spread, measures, ..Self::of_model(ensemble, termination, seed) }
    }

    /// A model alone, for steps under given actions.
    #[must_use]
    pub fn of_model(ensemble: &'a Ensemble, termination: &'a Termination, seed: u64) -> Self {
        let obs_dim = ensemble.obs_dim();
        Self {
            actor: None,
            spread: Spread::default(),
            model: Networks::of(&ensemble.net),
            predicted: ensemble.predicted(),
            normalizer: &ensemble.normalizer,
            logvar_bounds: ensemble.bounds.as_ref().map(|bounds| Numbers::read(bounds.slot().get().clone())),
            elites: &ensemble.elites,
            termination,
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

    /// Entries of an observation, `O`.
    #[must_use]
    pub fn obs_dim(&self) -> usize {
        self.dims[0]
    }

    /// Entries of an action, `A`.
    #[must_use]
    pub fn action_dim(&self) -> usize {
        self.dims[1]
    }

    /// Low and high bounds of the log-variance, `[O + 1]` each, if the head is Gaussian.
    #[must_use]
    pub fn logvar_bounds(&self) -> Option<[&[f32]; 2]> {
        self.logvar_bounds
            .as_ref()
            .map(|bounds| bounds.get().split_at(self.obs_dim() + 1))
            .map(|(low, high)| [low, high])
    }
}
