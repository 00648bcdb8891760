//! `list`: prints the choices for a key of a config.

use foresee::config::Algo;
use foresee::env::mujoco::library;
use foresee::nn::device;
use foresee::{Kinds, Parts};

use super::{DONE, print_line};
use crate::cli::Listed;
use crate::failure::Failure;

/// Prints one line per choice: its name in a config and a description.
pub(super) fn list(what: Listed) -> Result<u8, Failure> {
    let parts = Parts::default();
    match what {
        Listed::Envs => {
            for env in foresee::env::list() {
                print_choice(env.id, env.description)?;
            }
            print_choice("gym:ID", "any environment of Gymnasium in Python with box spaces, such as gym:Ant-v5")?;
            print_choice("gym:MODULE:ID", "an environment that the Python module MODULE registers")?;
            print_choice("dmc:DOMAIN-TASK", "a task of the dm_control suite, such as dmc:cartpole-swingup")?;
            print_line(match library::description() {
                Ok(library) => format!("\nMuJoCo's tasks are simulated by {library}"),
                Err(error) => format!("\nMuJoCo's tasks cannot run here: {error}"),
            })?;
        }
        Listed::Losses => print_kinds(&parts.losses)?,
        Listed::Models => print_kinds(&parts.models)?,
        Listed::Agents => print_kinds(&parts.agents)?,
        Listed::Devices => {
            for (device, hardware) in device::list() {
                // The reason why the device is not available and the hint, in one line.
                let line = hardware.unwrap_or_else(|error| format!("- {}", error.to_string().replace('\n', "; ")));
                print_choice(&device, &line)?;
            }
        }
        Listed::Algos => {
            for (algo, description) in Algo::ALL {
                print_choice(algo.name(), description)?;
            }
        }
    }
    Ok(DONE)
}

fn print_kinds<T>(kinds: &Kinds<T>) -> Result<(), Failure> {
    kinds.iter().try_for_each(|kind| print_choice(kind.name(), kind.description()))
}

/// Prints a choice: its name in a config, and a description.
fn print_choice(name: &str, description: &str) -> Result<(), Failure> {
    print_line(format!("{name:<24} {description}"))
}
