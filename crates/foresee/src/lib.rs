//! Deep model-based reinforcement learning for continuous control, as a library.
//!
//! A run fits a world model to real transitions, imagines short rollouts in the model, and trains an agent on real and
//! imagined transitions. This crate contains a complete run ([`Run`], made from a [`Config`]), every part of it, and
//! the loading of configs from files with overrides ([`config`]). The program `foresee` adds a command line to this
//! library.
//!
//! # A run
//!
//! A config is read from a file ([`config::load`]) or, as here, from a text ([`config::from_text`]). [`Run::advance`]
//! runs one slice of at most about a second and appends the records that are due. After every slice the run can be
//! saved.
//!
//! ```
//! use foresee::{Config, Run, config, metrics};
//!
//! let text = r#"
//!     env.id = "Pendulum-v1"
//!     training = { env_steps = 60, explore_steps = 40, updates_per_step = 1, eval_episodes = 2 }
//!     agent = { hidden = [16, 16], batch = 16 }
//!     model = { ensemble.hidden = [16], fit = { every = 50, max_steps = 20 } }
//!     rollout = { starts_per_step = 2 }
//! "#;
//! let config: Config = config::from_text(text, &["seed=1", "model.loss.kind=mle"])?;
//!
//! let mut run = Run::new(&config)?;
//! let mut records = Vec::new();
//! while !run.is_done() {
//!     run.advance(&mut records)?;
//! }
//! let last = records.last().expect("a run ends with an evaluation");
//! assert_eq!((last.env_step, last.values[0].0), (60, metrics::EVAL_RETURN));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A run is deterministic: the same config gives the same numbers on any number of threads. The state of a run is a set
//! of plain arrays ([`Run::snapshot`]). [`Run::restore`] continues from it bit for bit, and [`checkpoint`] stores it on
//! disk.
//!
//! # A loss of your own
//!
//! All replaceable parts follow one rule: **a tensor form is always enough; a fused form is an option that makes it
//! fast.** A loss computes one number per row in tensor operations and trains on every device. After it is added to the
//! list of choices ([`Parts`]), a config selects it by its name and sets its keys.
//!
//! ```
//! use std::sync::Arc;
//!
//! use foresee::loss::{LossInput, ModelLoss};
//! use foresee::tensor::Tensor;
//! use foresee::{Config, Kind, Parts, Run, config};
//! use serde::{Deserialize, Serialize};
//!
//! /// mean_c |err_c|^power over the channels, reward last.
//! #[derive(Clone, Debug, Serialize, Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Power {
//!     power: f64,
//! }
//!
//! impl Default for Power {
//!     fn default() -> Self {
//!         Self { power: 1.5 }
//!     }
//! }
//!
//! impl ModelLoss for Power {
//!     fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
//!         let err = input.prediction.mean.clone() - input.target.clone();
//!         err.abs().powf_scalar(self.power as f32).mean_dim(2).squeeze_dim(2)
//!     }
//! }
//!
//! let mut parts = Parts::default();
//! parts.losses.add(Kind::new("power", "a power of the error", |power: Power| Ok(Arc::new(power) as Arc<dyn ModelLoss>)));
//!
//! let config: Config = config::from_text("env.id = 'Pendulum-v1'\nmodel.loss = { kind = 'power', power = 1.2 }", &[])?;
//! let run = Run::begin(config.open_with(&parts)?)?;
//! # let _ = run;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A loss that needs information about the agent declares it ([`loss::Needs`]). A loss that should be fast on the
//! processor adds a panel form ([`loss::ChannelLoss`]). The example `own_loss` trains a model with its own loss and
//! prints the scores of the fits.
//!
//! # An environment of your own
//!
//! [`env::Environment`] has five methods with Gymnasium's meaning. A program adds an environment under an id
//! ([`env::Tasks::add`]). Training, evaluation, vectors of environments and resuming then accept this id. Wrappers add
//! the time limit, the check of the order of calls, and the scaling of the agent's actions from [-1, 1].
//! [`env::check_environment`] tests the requirements of the trait. The example `own_env` shows all of this. An
//! environment that ends episodes early gives its termination rule as data ([`Termination`]), because there is no
//! simulator for an imagined state. Where nobody knows the rule, a run can learn it ([`ends::LearnedEnds`]).
//!
//! ```
//! use std::sync::Arc;
//!
//! use foresee::env::classic::Pendulum;
//! use foresee::env::{EnvFactory, wrap_task};
//! use foresee::{Config, Parts, Run, config};
//!
//! // A run also takes its environments from a closure, here Pendulum with another time limit.
//! let short: EnvFactory = Arc::new(|| wrap_task(Box::new(Pendulum::new()), Some(50)));
//! let config: Config = config::from_text("env.id = 'Pendulum-v1'", &[])?;
//! let run = Run::begin(config.open_with(&Parts { env: Some(short), ..Parts::default() })?)?;
//! assert_eq!(run.spec().max_episode_steps, Some(50));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # An agent of your own
//!
//! [`agent::Agent`] learns from batches and draws its noise from named random streams. The number of critics and the
//! computation of their targets are up to the agent. An agent may train through the world model: an update receives the
//! model's step under given actions, which is differentiable in state and action ([`nn::Dynamics`]). A config selects
//! the agent by `agent.kind`. The example `own_agent` is an agent in tensor operations only.
//!
//! # A model of your own
//!
//! [`model::WorldModel`] is fitted in slices and stepped under given actions and random draws. A model that is an
//! ensemble returns it ([`model::WorldModel::ensemble`]), and its rollouts are then fused. A config selects the model
//! by `model.kind` and sets its keys in `[model.own]`.
//!
//! # A controller of your own
//!
//! Acting is separate from learning: [`control::Controller`] computes actions from observations, in training and in
//! evaluations. It may use the agent and the model. The default controller is the agent's actor.
//!
//! ```
//! use std::sync::Arc;
//!
//! use foresee::control::{ActorController, Controller, Knowledge, Observed};
//! use foresee::{Config, Parts, Run, config};
//!
//! /// Half of the actor's action.
//! struct Careful;
//!
//! impl Controller for Careful {
//!     fn act(&mut self, knowledge: &Knowledge<'_>, observed: &Observed<'_>) -> Vec<f32> {
//!         let bold = ActorController.act(knowledge, observed);
//!         bold.into_iter().map(|action| 0.5 * action).collect()
//!     }
//! }
//!
//! let parts = Parts { controller: Arc::new(|| Box::new(Careful)), ..Parts::default() };
//! let config: Config = config::from_text("env.id = 'Pendulum-v1'", &[])?;
//! let mut run = Run::begin(config.open_with(&parts)?)?;
//! assert!(run.evaluate(1)?.mean() < 0.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A loop of your own
//!
//! A run is composed of public parts, which also work without it. The example `own_loop` is a Dyna loop by hand in
//! under a hundred lines. In the example `load_policy` the actor of a checkpoint acts in an environment.
//!
//! # Where to look
//!
//! In reading order:
//! * the items of this page: random streams, transitions, saved state;
//! * [`tensor`] and [`nn`]: tensors, devices, and the networks of all parts;
//! * [`env`](mod@env): environments, wrappers, vectors of environments, the checker;
//! * [`model`] and [`loss`]: the world model and its losses;
//! * [`agent`]: actors, critics, their updates;
//! * [`replay`] and [`rollout`]: the replay of real and imagined transitions, and the imagined rollouts;
//! * [`control`]: the controllers that act;
//! * [`run`], [`evaluate`], [`checkpoint`], [`metrics`]: the training loop, evaluations, checkpoints and reported
//!   numbers;
//! * [`config`]: every key, and how files and overrides become a config.

pub use foresee_core::{
    Array, Batch, Draws, Kind, Kinds, State, StateError, Stream, Termination, Transition, kinds, metric, normal,
    reference, shell, state, stream, termination, transition,
};

pub mod tensor;

#[doc(inline)]
pub use foresee_nn as nn;

#[doc(inline)]
pub use foresee_env as env;

#[doc(inline)]
pub use foresee_world_model as model;

/// The losses that train a world model.
pub mod loss {
    pub use foresee_world_model::config::LossConfig;
    pub use foresee_world_model::loss::*;
}

#[doc(inline)]
pub use foresee_actor_critic as agent;

pub use foresee_dyna::{control, ends, replay, rollout, schedule};

pub use foresee_dyna::{Parts, Record, Run, RunError, RunState, checkpoint, evaluate, memory, metrics, run};

pub mod config;

#[doc(inline)]
pub use config::{Config, Setup};
