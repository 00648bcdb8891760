//! The shipped tasks. A new task is one entry in `REGISTRY`; [`tasks`](crate::tasks) adds the time limit, the order of
//! calls and the rescaling of actions to every task.

use crate::classic::{AcrobotSwingUp, CartPoleContinuous, CartPoleSwingUp, MountainCarContinuous, Pendulum};
use crate::config::{EnvConfig, MujocoConfig};
use crate::environment::Environment;
use crate::error::EnvError;
use crate::mujoco::task::{MujocoEnvironment, MujocoTask};
use crate::mujoco::{HalfCheetah, Hopper, InvertedPendulum, Reacher, Swimmer, Walker2d};

/// An entry of the list of environments. A test compares the dimensions with those of the environment.
#[derive(Clone, Copy, Debug)]
pub struct EnvInfo {
    /// The argument of [`make`](crate::make): `Name-vN`.
    pub id: &'static str,
    /// A description of the task in one line.
    pub description: &'static str,
    /// Length of an observation, `O`.
    pub obs_dim: usize,
    /// Length of an action, `A`.
    pub action_dim: usize,
    /// Number of steps after which an episode is truncated; `None` for no limit.
    pub max_episode_steps: Option<u32>,
    /// Builds the task alone, without a wrapper.
    build: Build,
}

/// The function that builds a task.
#[derive(Clone, Copy, Debug)]
enum Build {
    /// For a task without outside software.
    Native(fn() -> Box<dyn Environment>),
    /// For a task that needs the files that `[env.mujoco]` locates.
    Mujoco(fn(&MujocoConfig) -> Result<Box<dyn Environment>, EnvError>),
}

/// A hint for keys of `[env.mujoco]` that are given for another environment.
pub(crate) const MUJOCO_KEYS_HINT: &str =
    "remove the key: only the MuJoCo tasks of `foresee list envs`, such as `Hopper-v5`, read it";

const REGISTRY: &[EnvInfo] = &[
    EnvInfo {
        id: "Pendulum-v1",
        description: "swing a rod up by a torque at its hinge and hold it upright",
        obs_dim: 3,
        action_dim: 1,
        max_episode_steps: Some(200),
        build: Build::Native(|| Box::new(Pendulum::new())),
    },
    EnvInfo {
        id: "MountainCarContinuous-v0",
        description: "drive a weak car out of a valley by swinging it up",
        obs_dim: 2,
        action_dim: 1,
        max_episode_steps: Some(999),
        build: Build::Native(|| Box::new(MountainCarContinuous::new())),
    },
    EnvInfo {
        id: "CartPoleContinuous-v0",
        description: "keep a pole upright on a cart by a force on the cart",
        obs_dim: 4,
        action_dim: 1,
        max_episode_steps: Some(500),
        build: Build::Native(|| Box::new(CartPoleContinuous::new())),
    },
    EnvInfo {
        id: "CartPoleSwingUp-v0",
        description: "swing a hanging pole up by a force on its cart and hold it upright",
        obs_dim: 5,
        action_dim: 1,
        max_episode_steps: Some(500),
        build: Build::Native(|| Box::new(CartPoleSwingUp::new())),
    },
    EnvInfo {
        id: "AcrobotSwingUp-v0",
        description: "swing two links up by a torque at the joint between them and hold them upright",
        obs_dim: 6,
        action_dim: 1,
        max_episode_steps: Some(500),
        build: Build::Native(|| Box::new(AcrobotSwingUp::new())),
    },
    EnvInfo {
        id: "InvertedPendulum-v5",
        description: "keep a pole upright on a cart, as simulated by MuJoCo",
        obs_dim: 4,
        action_dim: 1,
        max_episode_steps: Some(1000),
        build: Build::Mujoco(mujoco::<InvertedPendulum>),
    },
    EnvInfo {
        id: "Reacher-v5",
        description: "bring the tip of a two-link arm to a target",
        obs_dim: 10,
        action_dim: 2,
        max_episode_steps: Some(50),
        build: Build::Mujoco(mujoco::<Reacher>),
    },
    EnvInfo {
        id: "Swimmer-v5",
        description: "swim forward in a viscous fluid with three links",
        obs_dim: 8,
        action_dim: 2,
        max_episode_steps: Some(1000),
        build: Build::Mujoco(mujoco::<Swimmer>),
    },
    EnvInfo {
        id: "Hopper-v5",
        description: "hop forward on one leg without falling",
        obs_dim: 11,
        action_dim: 3,
        max_episode_steps: Some(1000),
        build: Build::Mujoco(mujoco::<Hopper>),
    },
    EnvInfo {
        id: "Walker2d-v5",
        description: "walk forward on two legs without falling",
        obs_dim: 17,
        action_dim: 6,
        max_episode_steps: Some(1000),
        build: Build::Mujoco(mujoco::<Walker2d>),
    },
    EnvInfo {
        id: "HalfCheetah-v5",
        description: "run forward as a planar cheetah",
        obs_dim: 17,
        action_dim: 6,
        max_episode_steps: Some(1000),
        build: Build::Mujoco(mujoco::<HalfCheetah>),
    },
];

fn mujoco<T: MujocoTask + 'static>(config: &MujocoConfig) -> Result<Box<dyn Environment>, EnvError> {
    Ok(Box::new(MujocoEnvironment::<T>::new(config)?))
}

/// Returns all shipped tasks, in the order in which they are shown to users.
#[must_use]
pub fn list() -> &'static [EnvInfo] {
    REGISTRY
}

impl EnvInfo {
    /// Builds the task for `[env]`, without a wrapper.
    ///
    /// # Errors
    /// If the task cannot be built here, or if a key is given that the task does not read.
    pub(crate) fn task(&self, config: &EnvConfig) -> Result<Box<dyn Environment>, EnvError> {
        match self.build {
            Build::Native(build) => {
                config.refuse_mujoco(MUJOCO_KEYS_HINT)?;
                Ok(build())
            }
            Build::Mujoco(build) => build(&config.mujoco),
        }
    }
}
