//! Deep model-based reinforcement learning for continuous control, as a library.
//!
//! A run learns a world model from real transitions, imagines short rollouts in it, and trains an agent on both. This
//! crate has a run ready made ([`Run`], from a [`Config`]), every part that it is made of, and config files with
//! overrides ([`config`]). The program `foresee` is this library with a command line around it.
//!
//! # A run
//!
//! A config comes from a file ([`config::load`]) or, as here, from its text. [`Run::advance`] does one slice of at most
//! about a second, after which the run can be saved; it appends what there is to report.
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
//! A run is deterministic: the same config gives the same numbers, on any number of threads. Its state is plain arrays
//! ([`Run::snapshot`]), from which [`Run::restore`] goes on bit for bit; [`checkpoint`] puts them on disk.
//!
//! # A loss of your own
//!
//! The seams have one rule: **a tensor form is always enough; a fused form is an option that makes it fast.** A loss is a
//! row's cost in tensor operations, and trains on every device. A config chooses it by its name, with its own keys, once
//! it has joined the list of what can be chosen ([`Parts`]).
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
//! A loss that knows the agent says so ([`loss::Needs`]); one that should be fast on the processor brings a panel form
//! ([`loss::ChannelLoss`]). The example `own_loss` trains under one and looks at its fits.
//!
//! # An environment of your own
//!
//! [`env::Environment`] has five methods with Gymnasium's meaning. A program adds it under an id ([`env::Tasks::add`]),
//! and everything that takes an id takes this one: training, evaluation, vectors of environments, resuming. The time
//! limit, the order of calls and the agent's [-1, 1] are laid around it. [`env::check_environment`] tries what the trait
//! asks for. The example `own_env` does all of it; where it ends an episode early, the rule is data, because an imagined
//! state has no simulator behind it.
//!
//! ```
//! use std::sync::Arc;
//!
//! use foresee::env::classic::Pendulum;
//! use foresee::env::{EnvFactory, dress};
//! use foresee::{Config, Parts, Run, config};
//!
//! // A run takes its environments from any closure, too: here Pendulum with another time limit.
//! let short: EnvFactory = Arc::new(|| dress(Box::new(Pendulum::new()), Some(50)));
//! let config: Config = config::from_text("env.id = 'Pendulum-v1'", &[])?;
//! let run = Run::begin(config.open_with(&Parts { env: Some(short), ..Parts::default() })?)?;
//! assert_eq!(run.spec().max_episode_steps, Some(50));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # An agent of your own
//!
//! [`agent::Agent`] learns from a batch and draws its noise from named streams; how many critics there are, and how their
//! values become targets, is its own business. It may train through the world model: an update is given the model's step
//! under given actions, differentiable in state and action ([`nn::Dynamics`]). `agent.kind` chooses it. The example
//! `own_agent` is one through tensors alone.
//!
//! # A model of your own
//!
//! [`model::WorldModel`] is fitted in slices, and steps under given actions and draws; one that is an ensemble says so, and
//! its rollouts are fused. `model.kind` chooses it, and its keys stand in `[model.own]`.
//!
//! # A controller of your own
//!
//! Who acts is apart from what learns: [`control::Controller`] turns observations into actions, for training and for
//! evaluations, and may ask agent and model. The agent's own actor is the first one.
//!
//! ```
//! use std::sync::Arc;
//!
//! use foresee::control::{ActorController, Controller, Knowledge, Observed};
//! use foresee::{Config, Parts, Run, config};
//!
//! /// Half of what the actor would do.
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
//! A run is made of public parts, and they work without it: the example `own_loop` is Dyna by hand in under a hundred
//! lines, and `load_policy` lets a checkpoint's actor drive an environment.
//!
//! # Where to look
//!
//! In the order in which a reader needs it:
//! * this page's items: random streams, transitions, saved state;
//! * [`tensor`] and [`nn`]: tensors, devices, and the networks that all parts are made of;
//! * [`env`](mod@env): environments, wrappers, vectors of environments, the checker;
//! * [`model`] and [`loss`]: the world model, and what "right" means for it;
//! * [`agent`]: actors, critics, their updates;
//! * [`replay`] and [`rollout`]: real and imagined transitions, and where the latter come from;
//! * [`control`]: who acts;
//! * [`run`], [`evaluate`], [`checkpoint`], [`metrics`]: the loop and what surrounds it;
//! * [`config`]: every key, and how files and overrides become a config.

pub use foresee_core::{
    Array, Batch, Draws, Kind, Kinds, State, StateError, Stream, Termination, Transition, kinds, normal, state, stream,
    termination, transition,
};

pub mod tensor;

#[doc(inline)]
pub use foresee_nn as nn;

#[doc(inline)]
pub use foresee_env as env;

#[doc(inline)]
pub use foresee_world_model as model;

/// What a model is fitted by.
pub mod loss {
    pub use foresee_world_model::config::LossConfig;
    pub use foresee_world_model::loss::*;
}

#[doc(inline)]
pub use foresee_actor_critic as agent;

pub use foresee_dyna::{control, replay, rollout, schedule};

pub use foresee_dyna::{Parts, Record, Run, RunError, RunState, checkpoint, evaluate, metrics, run};

pub mod config;

#[doc(inline)]
pub use config::{Config, Setup};
