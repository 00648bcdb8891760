//! `list`: prints the choices for a key of a config, all keys, or all metrics.

use std::fmt::Write;

use foresee::config::{Algo, reference};
use foresee::env::mujoco::library;
use foresee::metric::Metric;
use foresee::nn::device;
use foresee::reference::KeyEntry;
use foresee::{Kinds, Parts, metrics};

use super::{DONE, print_line};
use crate::cli::Listed;
use crate::failure::Failure;

/// Prints one line per choice: its name in a config and a description. Keys and metrics are also printed as a page.
pub(super) fn list(what: Listed, markdown: bool) -> Result<u8, Failure> {
    let parts = Parts::default();
    match what {
        Listed::Keys if markdown => print_line(reference::page(&parts).trim_end())?,
        Listed::Metrics if markdown => print_line(metrics_page().trim_end())?,
        _ if markdown => {
            return Err(Failure::Input(
                "`--markdown` is for `list keys` and `list metrics`\nhint: leave it out".into(),
            ));
        }
        Listed::Keys => {
            for section in reference::sections(&parts) {
                let of_kinds = section.kinds.iter().flat_map(|kind| kind.keys.iter().map(|key| (Some(kind.name), key)));
                for (kind, key) in section.keys.iter().map(|key| (None, key)).chain(of_kinds) {
                    print_key(section.path, kind, key)?;
                }
            }
        }
        Listed::Metrics => {
            for Metric { name, unit, description, .. } in metrics::all() {
                print_choice(name, &format!("{} [{unit}]", description.trim()))?;
            }
        }
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

/// Prints a key: its path, its values and its default. `kind` is the agent or loss that it belongs to.
fn print_key(section: &str, kind: Option<&str>, key: &KeyEntry) -> Result<(), Failure> {
    let path = if section.is_empty() { key.name.clone() } else { format!("{section}.{}", key.name) };
    let default = match &key.default {
        Some(default) => format!("default {default}"),
        None if key.required => "required".into(),
        None => "unset by default".into(),
    };
    let kind = kind.map(|kind| format!(" (with kind = {kind})")).unwrap_or_default();
    print_choice(&path, &format!("{}; {default}{kind}", key.values))
}

/// Returns the page `docs/metrics.md`.
fn metrics_page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Every number that a run records, in `metrics.jsonl`, `timing.jsonl` and TensorBoard. The direction is the one in\n\
         which the number should go; `0` means that both signs are faults, and `-` that the number describes the run.\n\n\
         This page is the output of `foresee list metrics --markdown`.\n\n\
         | metric | unit | direction | a good value | meaning |\n|---|---|---|---|---|\n",
    );
    for Metric { name, unit, direction, good, description } in metrics::all() {
        let cells =
            [format!("`{name}`"), (*unit).into(), direction.to_string(), (*good).into(), description.trim().into()];
        _ = writeln!(page, "| {} |", cells.map(|cell: String| cell.replace('|', "\\|")).join(" | "));
    }
    page
}

fn print_kinds<T>(kinds: &Kinds<T>) -> Result<(), Failure> {
    kinds.iter().try_for_each(|kind| print_choice(kind.name(), kind.description()))
}

/// Prints a choice: its name in a config, and a description.
fn print_choice(name: &str, description: &str) -> Result<(), Failure> {
    print_line(format!("{name:<24} {description}"))
}
