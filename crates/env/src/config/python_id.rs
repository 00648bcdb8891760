//! The form of the ids of environments in Python: `gym:ID` or `gym:MODULE:ID` for Gymnasium, `dmc:DOMAIN-TASK` for the
//! tasks of dm_control's suite.
//!
//! Malformed ids are refused here. `gymnasium.make` would split them or import a part of them as a module, and its
//! exception would look like one from the environment's own code.

use std::path::Path;

use crate::error::EnvError;

/// Prefix of the ids of Gymnasium's environments.
const GYMNASIUM_PREFIX: &str = "gym:";
/// Prefix of the ids of tasks of dm_control's suite.
const SUITE_PREFIX: &str = "dmc:";

/// The Python package that makes an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Package {
    /// `gymnasium.make`.
    Gymnasium,
    /// `dm_control.suite.load`.
    DmControl,
}

impl Package {
    /// Returns the package and the environment's name there; `None` for an environment that is not in Python.
    pub(crate) fn from_id(id: &str) -> Option<(Self, &str)> {
        let gymnasium = id.strip_prefix(GYMNASIUM_PREFIX).map(|name| (Self::Gymnasium, name));
        gymnasium.or_else(|| Some((Self::DmControl, id.strip_prefix(SUITE_PREFIX)?)))
    }

    /// Returns the name of the package.
    #[cfg(unix)]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gymnasium => "gymnasium",
            Self::DmControl => "dm_control",
        }
    }
}

/// Whether an id is that of an environment in Python.
#[must_use]
pub fn is_python(id: &str) -> bool {
    Package::from_id(id).is_some()
}

/// Checks that an id has one of the forms.
pub(crate) fn check(id: &str) -> Result<(), EnvError> {
    match Package::from_id(id) {
        Some((Package::DmControl, name)) => check_suite(id, name),
        Some((Package::Gymnasium, name)) => check_gymnasium(id, name),
        None => check_gymnasium(id, id),
    }
}

fn check_suite(id: &str, name: &str) -> Result<(), EnvError> {
    if is_task(name) {
        return Ok(());
    }
    // As in Shimmy's ids, and in the names that other programs use.
    let name = name.trim_start_matches("dm_control/").trim_end_matches("-v0");
    let likely = if name.contains('-') { name.into() } else { name.replacen(['_', '/', ' ', ':'], "-", 1) };
    let instead = if is_task(&likely) { &likely } else { "cartpole-swingup" };
    let hint = format!("hint: name a domain and a task of dm_control's suite, such as `{SUITE_PREFIX}{instead}`");
    Err(EnvError::Config(format!("`env.id` is `{id}`, which is not `dmc:DOMAIN-TASK`\n{hint}")))
}

/// Whether a name has the form of a task of the suite: DOMAIN-TASK, each part a Python name, as `ball_in_cup-catch`.
fn is_task(name: &str) -> bool {
    name.split_once('-').is_some_and(|(domain, task)| is_word(domain, "_") && is_word(task, "_"))
}

/// Returns the suite's id for the task that Gymnasium with Shimmy calls `dm_control/DOMAIN-TASK-v0`.
#[cfg(unix)]
pub(crate) fn suite_id_of_shimmy(name: &str) -> Option<String> {
    let (_, task) = name.split_once("dm_control/")?;
    let task = task.strip_suffix("-v0")?;
    is_task(task).then(|| format!("{SUITE_PREFIX}{task}"))
}

/// Checks an id of Gymnasium. ID is as in `gymnasium.envs.registration`: `[namespace/]name[-vN]`.
fn check_gymnasium(id: &str, name: &str) -> Result<(), EnvError> {
    let parts: Vec<&str> = name.split(':').collect();
    let well_formed = match parts[..] {
        [name] => is_name(name) && !is_file(name),
        [module, name] => is_module(module) && !is_file(module) && is_name(name),
        _ => false,
    };
    if well_formed {
        return Ok(());
    }
    let forms = "hint: write `gym:Hopper-v5` or `gym:my_module:MyEnv-v0`, for example; an ID has letters, digits, `_`, `-`, `.`, and at most one `/`, after a namespace; a MODULE is a dotted Python name";
    let hint = module_of_file(&parts).map_or(forms.into(), |module| {
        let name = parts.get(1).unwrap_or(&"ID");
        format!(
            "hint: name the module, `gym:{module}:{name}`; its folder must be the working directory or on PYTHONPATH"
        )
    });
    Err(EnvError::Config(format!("`env.id` is `{id}`, which is neither `gym:ID` nor `gym:MODULE:ID`\n{hint}")))
}

fn is_name(name: &str) -> bool {
    let (namespace, name) = name.split_once('/').unwrap_or(("none", name));
    is_word(namespace, "_-") && is_word(name, "_-.")
}

/// Whether a text is a module name. Dashes are allowed, because Python imports such modules if the name is given as
/// text.
fn is_module(module: &str) -> bool {
    module.split('.').all(|part| is_word(part, "_-"))
}

fn is_word(word: &str, more: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || more.contains(c))
}

fn is_file(part: &str) -> bool {
    part.ends_with(".py")
}

/// Returns the module in the file or folder that was given in place of a module.
fn module_of_file<'a>(parts: &[&'a str]) -> Option<&'a str> {
    let path = parts.first().copied().filter(|path| is_file(path) || (parts.len() == 2 && path.contains('/')))?;
    Path::new(path).file_stem()?.to_str().filter(|module| is_module(module))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EnvConfig;

    #[test]
    fn ids_that_gymnasium_can_look_up_pass() {
        for id in [
            "gym:Hopper-v5",
            "gym:Hopper",
            "gym:my-namespace/My.Env_2-v0",
            "gym:my_module:MyEnv-v0",
            "gym:pkg.sub-module.x:ns/Ümlaut-v12",
        ] {
            assert!(check(id).is_ok(), "{id}");
        }
    }

    #[test]
    fn ids_of_another_form_are_refused_before_a_process_starts() {
        for id in [
            "gym:",
            "gym::",
            "gym::Hopper-v5",
            "gym:module:",
            "gym:a:b:c",
            "gym:a b:c",
            "gym:Hopper v5",
            "gym:a//b-v0",
            "gym:a/b/c-v0",
            "gym:/b-v0",
            "gym:.module:It-v0",
            "gym:a..b:It-v0",
            "gym:Hopper-v5\n",
            "gym:../..:It-v0",
        ] {
            let problem = EnvConfig::new(id).problem().expect(id);
            let first = format!("`env.id` is `{id}`, which is neither `gym:ID` nor `gym:MODULE:ID`\nhint: write ");
            assert!(problem.starts_with(&first), "{problem}");
        }
    }

    #[test]
    fn a_task_of_the_suite_is_a_domain_and_a_task() {
        for id in ["dmc:cartpole-swingup", "dmc:ball_in_cup-catch", "dmc:humanoid_CMU-run", "dmc:lqr-lqr_2_1"] {
            assert!(check(id).is_ok(), "{id}");
        }
        for (id, instead) in [
            ("dmc:cartpole_swingup", "dmc:cartpole-swingup"),
            ("dmc:cartpole/swingup_sparse", "dmc:cartpole-swingup_sparse"),
            ("dmc:dm_control/walker-run-v0", "dmc:walker-run"),
            ("dmc:walker-run-v0", "dmc:walker-run"),
            ("dmc:", "dmc:cartpole-swingup"),
            ("dmc:-", "dmc:cartpole-swingup"),
            ("dmc:walker", "dmc:cartpole-swingup"),
            ("dmc:walker-run\n", "dmc:cartpole-swingup"),
            ("dmc:a-b-c", "dmc:cartpole-swingup"),
        ] {
            let problem = EnvConfig::new(id).problem().expect(id);
            let hint = format!("hint: name a domain and a task of dm_control's suite, such as `{instead}`");
            assert_eq!(problem, format!("`env.id` is `{id}`, which is not `dmc:DOMAIN-TASK`\n{hint}"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn shimmys_names_of_tasks_lead_to_the_suites() {
        for name in ["dm_control/walker-run-v0", "shimmy:dm_control/walker-run-v0"] {
            assert_eq!(suite_id_of_shimmy(name).as_deref(), Some("dmc:walker-run"));
        }
        for name in ["Hopper-v5", "dm_control/compat_env-v0", "dm_control/walker-run"] {
            assert_eq!(suite_id_of_shimmy(name), None, "{name}");
        }
    }

    #[test]
    fn for_a_file_its_module_is_named() {
        for (id, instead) in [
            ("gym:./hostile.py:Good-v0", "gym:hostile:Good-v0"),
            ("gym:/home/me/hostile.py:Good-v0", "gym:hostile:Good-v0"),
            ("gym:hostile.py:Good-v0", "gym:hostile:Good-v0"),
            ("gym:./envs:Good-v0", "gym:envs:Good-v0"),
            ("gym:../hostile.py", "gym:hostile:ID"),
        ] {
            let problem = EnvConfig::new(id).problem().expect(id);
            let hint = format!(
                "\nhint: name the module, `{instead}`; its folder must be the working directory or on PYTHONPATH"
            );
            assert!(problem.starts_with(&format!("`env.id` is `{id}`, ")) && problem.ends_with(&hint), "{problem}");
        }
    }
}
