//! `list`: prints the choices for a key of a config.

use foresee::config::Algo;
use foresee::env::mujoco::library;
use foresee::nn::device;
use foresee::{Kinds, Parts};

use super::{DONE, say};
use crate::cli::Listed;
use crate::failure::Failure;

/// Prints one line per choice: its name in a config and a description.
pub(super) fn list(what: Listed) -> Result<u8, Failure> {
    let parts = Parts::default();
    match what {
        Listed::Envs => {
            for env in foresee::env::list() {
                say(format!("{:<24} {}", env.id, env.description))?;
            }
            say(format!(
                "{:<24} any environment of Python's Gymnasium whose spaces are boxes, as gym:Ant-v5",
                "gym:ID"
            ))?;
            say(format!("{:<24} a task of dm_control's suite, as dmc:cartpole-swingup", "dmc:DOMAIN-TASK"))?;
            say(match library::found() {
                Ok(found) => format!("\nsimulated by {found}"),
                Err(error) => format!("\nMuJoCo's tasks cannot run here: {error}"),
            })?;
        }
        Listed::Losses => kinds(&parts.losses)?,
        Listed::Models => kinds(&parts.models)?,
        Listed::Agents => kinds(&parts.agents)?,
        Listed::Devices => {
            for (word, behind) in device::list() {
                // The reason why the device is not available and the hint, in one line.
                let line = behind.unwrap_or_else(|error| format!("- {}", error.to_string().replace('\n', "; ")));
                say(format!("{word:<24} {line}"))?;
            }
        }
        Listed::Algos => {
            for (algo, line) in Algo::ALL {
                say(format!("{:<24} {line}", algo.name()))?;
            }
        }
    }
    Ok(DONE)
}

fn kinds<T>(kinds: &Kinds<T>) -> Result<(), Failure> {
    kinds.iter().try_for_each(|kind| say(format!("{:<24} {}", kind.name(), kind.description())))
}
