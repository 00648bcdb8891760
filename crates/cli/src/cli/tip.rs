//! The tip about an unknown option: the override that was probably meant.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use foresee::config::suggestions;

/// Replaces clap's tip about an unknown option, which is to pass it as a value, by the override that was probably
/// meant.
pub(super) fn with_override_tip(mut error: clap::Error, arguments: &[String]) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => option.clone(),
        _ => return error,
    };
    error.remove(ContextKind::Suggested);
    let tip = override_tip(&option, arguments).filter(|_| error.get(ContextKind::SuggestedArg).is_none());
    if let Some(tip) = tip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Returns the tip about an unknown option, such as `write seed=3` for `--seed 3`, if the command takes overrides.
fn override_tip(option: &str, arguments: &[String]) -> Option<String> {
    let command = arguments.first()?.as_str();
    if !["train", "resume", "check", "check-env", "sweep"].contains(&command) {
        return None;
    }
    let mut keys = suggestions(option.trim_start_matches('-'));
    if command == "check-env" {
        keys.retain(|key| key.starts_with("env."));
    }
    let after = |at: usize| arguments.get(at + 1).filter(|next| !next.starts_with('-') && !next.contains('='));
    let value = arguments.iter().enumerate().find_map(|(at, argument)| match argument.strip_prefix(option)? {
        "" => after(at).map(String::as_str),
        rest => rest.strip_prefix('='),
    });
    let value = value.unwrap_or("VALUE");
    let overrides: Vec<String> = keys.iter().map(|key| format!("{key}={value}")).collect();
    Some(if overrides.is_empty() {
        "set keys of the config by KEY=VALUE, without dashes; `foresee list keys` prints the keys".into()
    } else {
        format!("write {}", overrides.join(" or "))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn an_option_that_is_a_key_is_answered_with_its_override() {
        let message = |arguments: &[&str]| {
            let error = Cli::try_parse_from([&["foresee"][..], arguments].concat()).expect_err("an unknown option");
            let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
            with_override_tip(error, &arguments).to_string()
        };
        for (arguments, tip) in [
            (&["train", "a.toml", "--seed", "3"][..], "write seed=3"),
            (&["train", "a.toml", "--seed=3"], "write seed=3"),
            (&["sweep", "a.toml", "--seed", "0..3"], "write seed=0..3"),
            (&["resume", "run", "--env-steps", "5000"], "write training.env_steps=5000"),
            (&["check", "a.toml", "--gamma", "--seed"], "write agent.discount=VALUE"),
            (&["train", "a.toml", "--batch", "64"], "write agent.batch=64 or model.fit.batch=64"),
            (&["check-env", "Pendulum-v1", "--num-envs", "2"], "write env.count=2"),
            (
                &["check-env", "Pendulum-v1", "--seed", "2"],
                "set keys of the config by KEY=VALUE, without dashes; `foresee list keys` prints the keys",
            ),
            (
                &["train", "a.toml", "--fast"],
                "set keys of the config by KEY=VALUE, without dashes; `foresee list keys` prints the keys",
            ),
        ] {
            let message = message(arguments);
            assert!(message.contains(&format!("tip: {tip}\n")), "{arguments:?}: {message}");
            assert_eq!(message.matches("tip: ").count(), 1, "{message}");
        }
        let message = message(&["eval", "run", "--seed", "3"]);
        assert!(message.contains("'--seed'") && !message.contains("tip: "), "{message}");
    }
}
