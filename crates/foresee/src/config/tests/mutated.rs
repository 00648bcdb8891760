//! Mistakes at random: configs and overrides with one change each. What is refused is refused with its key, and what is
//! accepted means what it says.

use std::panic::{AssertUnwindSafe, catch_unwind};

use toml::{Table, Value};

use super::super::{Config, ConfigError, Source};

/// The keys of a run, by section.
const KEYS: &[(&str, &str, &str)] = &[
    ("", "seed", "7"),
    ("", "threads", "1"),
    ("", "algo", "\"mbpo\""),
    ("env", "id", "\"Pendulum-v1\""),
    ("env", "distractors", "2"),
    ("training", "env_steps", "120"),
    ("training", "explore_steps", "40"),
    ("training", "updates_per_step", "2"),
    ("training", "epoch_length", "40"),
    ("training", "eval_every", "40"),
    ("training", "eval_episodes", "2"),
    ("training", "log_every", "10"),
    ("training", "checkpoint_every", "20"),
    ("agent", "kind", "\"sac\""),
    ("agent", "hidden", "[16, 16]"),
    ("agent", "batch", "16"),
    ("agent", "critic_lr", "1e-3"),
    ("agent", "discount", "0.98"),
    ("agent", "tau", "0.01"),
    ("agent", "learn_temperature", "true"),
    ("model", "kind", "\"ensemble\""),
    ("model", "head", "\"gaussian\""),
    ("model.ensemble", "members", "3"),
    ("model.ensemble", "elites", "2"),
    ("model.ensemble", "normalize_targets", "false"),
    ("model.loss", "kind", "\"mle\""),
    ("model.loss", "add_mse_until", "40"),
    ("model.fit", "every", "20"),
    ("model.fit", "lr", "1e-3"),
    ("model.fit", "decay", "1e-4"),
    ("model.fit", "holdout", "0.2"),
    ("model.fit", "max_steps", "30"),
    ("rollout", "starts_per_step", "5"),
    ("rollout", "horizon", "3"),
    ("rollout", "real_ratio", "0.5"),
    ("rollout", "retain_epochs", "1"),
];

/// A small generator of whole numbers (Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % count as u64) as usize
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

fn dotted(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// Returns the config with the line of key number `changed` replaced.
fn text_with(changed: usize, line: &str) -> String {
    let mut lines = vec![];
    let mut section = "";
    for (number, (of, key, value)) in KEYS.iter().enumerate() {
        if *of != section {
            section = *of;
            lines.push(format!("[{section}]"));
        }
        lines.push(if number == changed { line.to_owned() } else { format!("{key} = {value}") });
    }
    lines.join("\n")
}

/// Returns another spelling of a key: a letter is dropped, doubled or swapped with the next.
fn misspelt(key: &str, numbers: &mut Numbers) -> String {
    let mut letters: Vec<char> = key.chars().collect();
    let at = numbers.below(letters.len() - 1);
    match numbers.below(3) {
        0 => _ = letters.remove(at),
        1 => letters.insert(at, letters[at]),
        _ if letters[at] != letters[at + 1] => letters.swap(at, at + 1),
        _ => letters.push('x'),
    }
    letters.into_iter().collect()
}

/// Returns another value: of another type, sign or size, or another word.
fn changed_value(value: &str, numbers: &mut Numbers) -> String {
    let of_type =
        ["\"word\"", "true", "[1, 2]", "{ a = 1 }", "3", "0.5", "-1", "nan", "inf", "[]", "\"\"", "1979-05-27"];
    match (numbers.below(4), value.parse::<f64>()) {
        (0, Ok(_)) => format!("-{value}"),
        (1, Ok(number)) => {
            let factor: f64 =
                numbers.of(&["0", "0.5", "2", "10", "1e3", "1e9", "1e17", "1e60", "1e-60"]).parse().unwrap();
            let scaled = number * factor;
            if value.contains(['.', 'e']) || scaled > 9e18 || scaled.fract() != 0.0 {
                format!("{scaled:e}")
            } else {
                format!("{scaled:.0}")
            }
        }
        // Most keys accept a value of about this size.
        (2, Ok(number)) => format!("{}", 2.0 * number),
        _ => numbers.of(&of_type).to_owned(),
    }
}

/// Loads and opens a config as `train` does. The environment is made, and nothing is trained.
fn opened(text: &str, overrides: &[&str]) -> Result<Config, ConfigError> {
    let source = Source::text(text, overrides)?;
    let setup = source.typed::<Config>()?.open().map_err(|problem| source.blame(&problem))?;
    match setup.config.problem_of_length() {
        Some(problem) => Err(source.blame(&problem.into())),
        None => Ok(setup.config),
    }
}

/// Returns the value of a key in a config as it is written.
fn written(config: &Config, path: &str) -> Option<Value> {
    let tree = Value::Table(Table::try_from(config).expect("a config that came from TOML"));
    path.split('.').try_fold(&tree, |value, key| value.get(key)).cloned()
}

/// Whether a config has this value; a whole number is a number too.
fn same(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Float(found), Value::Integer(wanted)) => *found == *wanted as f64,
        (Value::Float(found), Value::Float(wanted)) => found == wanted || found.is_nan() && wanted.is_nan(),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| same(found, wanted))
        }
        _ => found == wanted,
    }
}

/// Checks the outcome of a config with one change: the value `value` of the key `path`, which is called `name`.
fn check(text: &str, overrides: &[&str], [path, name, value]: [&str; 3]) -> bool {
    let show = || format!("{overrides:?} {path} = {value} (`{name}`)");
    let outcome = catch_unwind(AssertUnwindSafe(|| opened(text, overrides))).unwrap_or_else(|_| panic!("{}", show()));
    match outcome {
        Ok(config) => {
            let wanted: Value = value.parse().unwrap_or_else(|_| Value::String(value.to_owned()));
            let found = written(&config, path);
            // A table of a key with defaults has more keys, and a key may be left out of a written config.
            let compared = found.filter(|found| !found.is_table());
            assert!(compared.is_none_or(|found| same(&found, &wanted)), "accepted as another value: {}", show());
            assert_eq!(path.rsplit('.').next(), Some(name), "a wrong name is accepted: {}", show());
            true
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains(name) || message.contains(": line "), "no key: {}: {message}", show());
            let known = error.origin == "config" || overrides.iter().any(|text| error.origin.contains(text));
            assert!(known && !error.what.is_empty() && message.len() < 2000, "{}: {message}", show());
            assert!(message.contains("\nhint: "), "no hint: {}: {message}", show());
            assert!(!message.contains("invalid type") && !message.contains("expected one of"), "raw: {message}");
            assert!(!message.lines().any(|line| line.contains("00000000000000000000000")), "digits: {message}");
            false
        }
    }
}

#[test]
fn two_hundred_mutated_configs_are_refused_with_their_key_or_mean_what_they_say() {
    let mut numbers = Numbers(1);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..200 {
        let at = numbers.below(KEYS.len());
        let (section, key, value) = KEYS[at];
        let path = dotted(section, key);
        let is_accepted = match numbers.below(8) {
            0 => {
                let name = misspelt(key, &mut numbers);
                check(&text_with(at, &format!("{name} = {value}")), &[], [&path, &name, value])
            }
            1 => {
                let twice = format!("{key} = {value}\n{key} = {value}");
                let error = opened(&text_with(at, &twice), &[]).expect_err("two keys of one name");
                assert!(error.what.contains("duplicate key"), "{error}");
                false
            }
            2 => {
                // A dropped key has its default, or is named.
                match opened(&text_with(at, ""), &[]) {
                    Ok(_) => true,
                    Err(error) => {
                        assert!(error.to_string().contains('`') && error.hint.is_some(), "{path}: {error}");
                        false
                    }
                }
            }
            3 => {
                let text = text_with(at, &format!("{key} = {value}"));
                let end = 1 + numbers.below(text.len() - 1);
                match opened(&text[..end], &[]) {
                    Ok(_) => true,
                    Err(error) => {
                        assert!(!error.what.is_empty(), "{}", &text[..end]);
                        false
                    }
                }
            }
            _ => {
                let value = changed_value(value, &mut numbers);
                check(&text_with(at, &format!("{key} = {value}")), &[], [&path, key, &value])
            }
        };
        *(if is_accepted { &mut accepted } else { &mut refused }) += 1;
    }
    assert!(accepted > 8 && refused > 80, "{accepted} accepted, {refused} refused");
}

#[test]
fn two_hundred_mutated_overrides_are_refused_with_their_key_or_mean_what_they_say() {
    let text = text_with(KEYS.len(), "");
    assert!(opened(&text, &[]).is_ok(), "without a change");
    let mut numbers = Numbers(2);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..200 {
        let (section, key, value) = KEYS[numbers.below(KEYS.len())];
        let path = dotted(section, key);
        let (path, name, value) = match numbers.below(6) {
            0 => {
                let name = misspelt(key, &mut numbers);
                (dotted(section, &name), name, value.to_owned())
            }
            1 => {
                let other = numbers.of(&["env.gym", "training", "agent", "model.fit", "nowhere"]);
                let known = KEYS.iter().any(|(section, of, _)| *section == other && *of == key);
                if known || other == section {
                    continue;
                }
                (dotted(other, key), key.to_owned(), value.to_owned())
            }
            2 => {
                let habits = ["None", "False", "True", ".5", "5.", "1,2", "{a=b}", "[1", "\"x", "1_0", "word", "=3"];
                (path, key.to_owned(), numbers.of(&habits).to_owned())
            }
            _ => (path, key.to_owned(), changed_value(value, &mut numbers)),
        };
        let change = format!("{path}={value}");
        // A wrong section is a wrong path, under which nothing is written.
        let is_known = KEYS.iter().any(|(section, key, _)| dotted(section, key) == path);
        let is_accepted = check(&text, &[&change], [&path, &name, &value]);
        assert!(is_known || !is_accepted || path.starts_with("agent.") || path.starts_with("model.fit."), "{change}");
        *(if is_accepted { &mut accepted } else { &mut refused }) += 1;
    }
    assert!(accepted > 8 && refused > 80, "{accepted} accepted, {refused} refused");
}
