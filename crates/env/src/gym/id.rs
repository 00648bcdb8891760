//! The form of ids of environments in Python: `gym:ID` or `gym:MODULE:ID`.
//!
//! `gymnasium.make` splits an id of another form, or imports a part of it, with exceptions that look like those of an
//! environment.

use std::path::Path;

use crate::error::EnvError;

/// What ids of environments in Python begin with.
pub const PREFIX: &str = "gym:";

/// Checks that an id has one of the two forms. An ID is as in `gymnasium.envs.registration`: `[namespace/]name[-vN]`.
pub(crate) fn check(id: &str) -> Result<(), EnvError> {
    let parts: Vec<&str> = id.strip_prefix(PREFIX).unwrap_or(id).split(':').collect();
    let well_formed = match parts[..] {
        [name] => is_name(name) && !is_file(name),
        [module, name] => is_module(module) && !is_file(module) && is_name(name),
        _ => false,
    };
    if well_formed {
        return Ok(());
    }
    let forms = "hint: such as `gym:Hopper-v5` or `gym:my_module:MyEnv-v0`: in an ID are letters, digits, `_`, `-`, `.`, and one `/` after a namespace; a MODULE is a dotted Python name";
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

/// Python imports names with a dash too, if they are given as text.
fn is_module(module: &str) -> bool {
    module.split('.').all(|part| is_word(part, "_-"))
}

fn is_word(word: &str, more: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || more.contains(c))
}

fn is_file(part: &str) -> bool {
    part.ends_with(".py")
}

/// The module in the file, or in the folder, that stands in a module's place.
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
            let first = format!("`env.id` is `{id}`, which is neither `gym:ID` nor `gym:MODULE:ID`\nhint: such as ");
            assert!(problem.starts_with(&first), "{problem}");
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
