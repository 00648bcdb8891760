//! The exact messages of `load`, and the values in the typed config.

use std::fs;

use serde::Deserialize;

use super::*;

mod mutated;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    seed: u64,
    #[serde(default)]
    agent: Agent,
    #[serde(default)]
    model: Model,
    env: Option<Env>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Env {
    #[serde(rename = "id")]
    _id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Agent {
    learning_rate: f64,
    hidden: Vec<usize>,
}

impl Default for Agent {
    fn default() -> Self {
        Self { learning_rate: 3e-4, hidden: vec![64, 64] }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Model {
    loss: Loss,
    fit: Option<Fit>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Loss {
    kind: Kind,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Mle,
    Mse,
    Vagram,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase", deny_unknown_fields)]
enum Fit {
    Steps {
        #[serde(rename = "count")]
        _count: u32,
    },
    Epochs {
        #[serde(rename = "patience")]
        _patience: u32,
    },
}

const GOOD: &str = "seed = 3\n[agent]\nlearning_rate = 1\n";

fn with<T>(text: &str, overrides: &[&str], check: impl FnOnce(Result<Config, ConfigError>, &str) -> T) -> T {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.toml");
    fs::write(&path, text).unwrap();
    check(load(&path, overrides), path.to_str().unwrap())
}

#[track_caller]
fn accepts(text: &str, overrides: &[&str]) -> Config {
    with(text, overrides, |result, _| result.unwrap_or_else(|e| panic!("{e}")))
}

/// Checks a message in which the file's path is replaced by `a.toml`.
#[track_caller]
fn refuses(text: &str, overrides: &[&str], message: &str) {
    let found = with(text, overrides, |result, path| result.unwrap_err().to_string().replace(path, "a.toml"));
    assert_eq!(found, message);
}

#[test]
fn a_config_has_the_files_values_and_else_defaults() {
    let config = accepts(GOOD, &[]);
    assert_eq!((config.seed, config.agent.learning_rate), (3, 1.0));
    assert_eq!((config.agent.hidden, config.model.loss.kind), (vec![64, 64], Kind::Mle));
    assert!(config.env.is_none());
}

/// Returns the notes about a config, and its typed form.
fn read_with_notes(text: &str, overrides: &[&str]) -> (Vec<String>, super::Config) {
    let source = Source::text(text, overrides).unwrap();
    (source.notes().to_vec(), source.typed().unwrap())
}

#[test]
fn a_value_of_an_older_version_is_understood_with_a_note_under_the_name_of_who_wrote_it() {
    let note_of = |writer: &str| {
        vec![format!(
            "{writer}: `algo = \"sac\"` is now `algo = \"model_free\"`; the agent is chosen by `agent.kind`, by default `sac`"
        )]
    };
    let (old, new) = ("algo = 'sac'\nenv.id = 'Pendulum-v1'", "algo = 'model_free'\nenv.id = 'Pendulum-v1'");
    assert_eq!(read_with_notes(new, &[]).0, [""; 0]);
    assert_eq!(read_with_notes(old, &["algo=mbpo"]).0, [""; 0]);
    assert_eq!(read_with_notes(old, &[]), (note_of("config"), read_with_notes(new, &[]).1));
    let overridden = read_with_notes(new, &["algo=mbpo", "algo=sac"]);
    assert_eq!(overridden, (note_of("override `algo=sac`"), read_with_notes(new, &[]).1));
}

const OLD_KEYS: &str = "env.id = 'Pendulum-v1'\nagent = { actor_every = 2, target_every = 3 }\nrollout.retain = 4";

#[test]
fn a_key_of_an_older_version_is_understood_in_the_file_and_in_overrides() {
    let agent = "agent = { policy_delay = 2, target_update_interval = 3 }";
    let new = format!("env.id = 'Pendulum-v1'\n{agent}\nrollout.retain_epochs = 4");
    let (notes, want) = read_with_notes(&new, &[]);
    assert_eq!(notes, [""; 0]);
    assert_eq!(want.rollout.retain_epochs, 4);

    let renamed = [
        "`agent.actor_every` is now `agent.policy_delay`",
        "`agent.target_every` is now `agent.target_update_interval`",
        "`rollout.retain` is now `rollout.retain_epochs`",
    ];
    assert_eq!(read_with_notes(OLD_KEYS, &[]), (vec![format!("config: {}", renamed.join(", "))], want.clone()));

    // Old and new names replace each other's values, in either direction.
    let bare = "env.id = 'Pendulum-v1'";
    for overrides in [
        &["agent.actor_every=2", "agent.target_every=3", "rollout.retain=4"][..],
        &["agent={actor_every=2, target_every=3}", "rollout={retain=4}"],
        &["agent={policy_delay=9}", "agent.target_every=3", "agent.actor_every=2", "rollout.retain_epochs=4"],
    ] {
        assert_eq!(read_with_notes(bare, overrides).1, want, "{overrides:?}");
    }
    let (_, config) = read_with_notes(OLD_KEYS, &["agent.policy_delay=5", "rollout.retain_epochs=6"]);
    assert_eq!((config.agent.keys["policy_delay"].as_integer(), config.rollout.retain_epochs), (Some(5), 6));
    let (notes, config) = read_with_notes(&new, &["agent.actor_every=5", "rollout.retain=6"]);
    assert_eq!((config.agent.keys["policy_delay"].as_integer(), config.rollout.retain_epochs), (Some(5), 6));
    let note_of = |text: &str, renamed: &str| format!("override `{text}`: {renamed}");
    assert_eq!(notes, [note_of("agent.actor_every=5", renamed[0]), note_of("rollout.retain=6", renamed[2])]);

    // A renamed key is in one note only.
    assert_eq!(read_with_notes(OLD_KEYS, &["rollout.retain=6", "rollout.retain=7"]).0.len(), 1);
}

#[test]
fn a_key_under_both_of_its_names_is_refused() {
    let message = |origin: &str| {
        format!(
            "{origin}: `rollout.retain` and `rollout.retain_epochs` are both set\n\
             hint: `rollout.retain` is the old name of `rollout.retain_epochs`: keep `rollout.retain_epochs` alone"
        )
    };
    let both = "rollout = {retain = 1, retain_epochs = 2}";
    let error = |text: &str, overrides: &[&str]| Source::text(text, overrides).unwrap_err().to_string();
    assert_eq!(error(both, &[]), message("config"));
    assert_eq!(error(both, &["rollout.retain=3"]), message("config"));
    let text = "rollout={retain=1, retain_epochs=2}";
    assert_eq!(error("env.id = 'Pendulum-v1'", &[text]), message(&format!("override `{text}`")));
}

/// Returns the error of a config whose keys can be read and do not fit together.
#[track_caller]
fn impossible(text: &str, overrides: &[&str]) -> ConfigError {
    let source = Source::text(text, overrides).unwrap();
    let problem = source.typed::<super::Config>().unwrap().open().err().expect("an impossible config");
    source.blame(&problem)
}

#[test]
fn an_impossible_config_is_refused_under_the_name_of_who_wrote_the_key() {
    let text = "env.id = 'Pendulum-v1'\nagent.kind = 'sac'\nmodel.ensemble = { members = 3, elites = 2 }";
    let error = impossible(text, &["agent.kind=sacc"]).to_string();
    let hint = "did you mean `sac`? valid values here: ";
    let start = format!("override `agent.kind=sacc`: `agent.kind` cannot be `sacc`\nhint: {hint}");
    assert!(error.starts_with(&start), "{error}");
    for (overrides, origin) in [
        (&["env.id=Ant-v5x"][..], "override `env.id=Ant-v5x`"),
        (&["training.eval_episodes=0"], "override `training.eval_episodes=0`"),
        (&["training.eval_episodes=0", "training.eval_every=5"], "override `training.eval_episodes=0`"),
        (&["training={eval_episodes=0}", "seed=3"], "override `training={eval_episodes=0}`"),
        (&["model.ensemble.elites=4"], "override `model.ensemble.elites=4`"),
        // The message begins with the key of the file, which the override made impossible.
        (&["model.ensemble.members=1", "seed=3"], "override `model.ensemble.members=1`"),
        (&["env.count=7", "training.log_every=5"], "override `env.count=7`"),
    ] {
        let error = impossible(text, overrides);
        assert_eq!(error.origin, origin, "{error}");
    }
    for (text, overrides) in [
        ("env.id = 'Ant-v5x'", &["seed=3"][..]),
        ("env.id = 'Pendulum-v1'\ntraining.eval_episodes = 0", &["training.eval_every=5"]),
        ("env.id = 'Pendulum-v1'\nmodel.ensemble = { members = 3, elites = 4 }", &["agent.batch=8"]),
        // A valid key in the hint about an unknown one is not at fault.
        ("env.id = 'Pendulum-v1'\nagent.discout = 0.9", &["agent.batch=8", "agent.discount=0.9"]),
    ] {
        let error = impossible(text, overrides);
        assert_eq!(error.origin, "config", "{error}");
    }
}

#[test]
fn the_value_of_a_key_can_be_blamed_on_who_wrote_it() {
    let source = Source::text("env.id = 'Pendulum-v1'\ndevice = 'wgpu'", &["seed=3"]).unwrap();
    assert_eq!(source.blame_key("device", &"no adapter").to_string(), "config: no adapter");
    let source = Source::text("env.id = 'Pendulum-v1'", &["device=wgpu"]).unwrap();
    let error = source.blame_key("device", &"no adapter\nhint: use another");
    assert_eq!(error.to_string(), "override `device=wgpu`: no adapter\nhint: use another");
}

/// Checks that an unknown key is answered with another key, before the list of valid ones.
#[track_caller]
fn answers(unknown: &str, hint: &str) {
    let text = format!("{unknown}=1");
    let source = Source::text("env.id = 'Pendulum-v1'", &[&text]).unwrap();
    let error = match source.typed::<super::Config>() {
        Err(error) => error,
        Ok(config) => source.blame(&config.open().err().expect("an unknown key")),
    };
    assert_eq!(
        (error.origin.as_str(), error.what.as_str()),
        (&*format!("override `{text}`"), &*format!("unknown key `{unknown}`"))
    );
    let found = error.hint.expect("a hint");
    assert!(found.starts_with(&format!("{hint}valid keys here: `")), "{unknown}: {found}");
}

#[test]
fn a_key_of_another_program_is_answered_with_ours() {
    for (unknown, hint) in [
        ("agent.gamma", "did you mean `discount`? "),
        ("agent.batch_size", "did you mean `batch`? "),
        ("model.fit.batch_size", "did you mean `batch`? "),
        ("agent.learning_rate", "did you mean `critic_lr`, `actor_lr` or `temperature_lr`? "),
        ("model.lr", "did you mean `model.fit.lr`? "),
        ("agent.alpha", "did you mean `initial_temperature`? "),
        ("agent.ent_coef", "did you mean `initial_temperature`? "),
        ("agent.polyak", "did you mean `tau`, which is 1 − polyak? "),
        ("agent.policy_freq", "did you mean `policy_delay`? "),
        ("agent.net_arch", "did you mean `hidden`? "),
        ("model.ensemble.hidden_sizes", "did you mean `hidden`? "),
        ("training.total_timesteps", "did you mean `env_steps`? "),
        ("training.learning_starts", "did you mean `explore_steps`? "),
        ("training.gradient_steps", "did you mean `updates_per_step`? "),
        ("training.utd", "did you mean `updates_per_step`? "),
        ("env.num_envs", "did you mean `count`? "),
        ("model.num_ensemble", "did you mean `model.ensemble.members`? "),
        (
            "agent.buffer_size",
            "did you mean `rollout.retain_epochs` or `double_horizon.pool` (these bound the imagined data; all real transitions are kept)? ",
        ),
    ] {
        answers(unknown, hint);
    }
    let error = from_text::<super::Config>("env.id = 'Pendulum-v1'\n[train]\nenv_steps = 5", &[]).unwrap_err();
    assert!(
        error.to_string().starts_with("config: unknown key `train`\nhint: did you mean `training`? valid keys"),
        "{error}"
    );
}

#[test]
fn a_key_in_the_wrong_section_is_answered_with_its_section() {
    for (unknown, hint) in [
        ("agent.env_steps", "did you mean `training.env_steps`? "),
        ("env_steps", "did you mean `training.env_steps`? "),
        ("training.batch", "did you mean `agent.batch` or `model.fit.batch`? "),
        ("rollout.tau", "did you mean `agent.tau`? "),
        ("training.seed", "did you mean `seed`? "),
        ("model.members", "did you mean `model.ensemble.members`? "),
    ] {
        answers(unknown, hint);
    }
    // `check-env` reads `[env]` alone.
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct EnvOnly {
        #[serde(rename = "env")]
        _env: EnvConfig,
    }
    let hint = |text: &str| from_text::<EnvOnly>("env.id = 'Pendulum-v1'", &[text]).unwrap_err().hint.unwrap();
    assert_eq!(hint("count=2"), "did you mean `env.count`? valid keys here: `env`");
    assert_eq!(hint("env_steps=2"), "valid keys here: `env`");
}

#[test]
fn overrides_win_and_later_ones_win_over_earlier_ones() {
    let config = accepts(
        GOOD,
        &["model.loss.kind=mse", "agent.hidden = [8]", "seed=5", "model.loss.kind=vagram", "agent.learning_rate=1e-4"],
    );
    assert_eq!((config.seed, config.agent.learning_rate), (5, 1e-4));
    assert_eq!((config.agent.hidden, config.model.loss.kind), (vec![8], Kind::Vagram));
}

#[test]
fn overrides_may_be_quoted_strings_tables_or_hold_equal_signs() {
    let id = |text: &str| accepts(GOOD, &[text]).env.unwrap()._id;
    assert_eq!(id("env.id=Pendulum-v1"), "Pendulum-v1");
    assert_eq!(id("env.id=\"7\""), "7");
    assert_eq!(id("env={id = 'a=b'}"), "a=b");
    assert_eq!(id("env.id=a=b"), "a=b");
}

#[test]
fn a_missing_file_is_named_with_the_nearest_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pendulm.toml");
    let error = || load::<Config>(&path, &[]).unwrap_err().to_string();
    assert_eq!(error(), format!("{}: no such file\nhint: give the path of a TOML file", path.display()));
    let near = directory.path().join("pendulum.toml");
    fs::write(&near, GOOD).unwrap();
    assert_eq!(error(), format!("{}: no such file\nhint: did you mean `{}`?", path.display(), near.display()));
}

#[test]
fn a_directory_is_not_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let error = || load::<Config>(path, &[]).unwrap_err().to_string();
    let what = format!("{}: this is a folder, not a config file\nhint: ", path.display());
    assert_eq!(error(), format!("{what}give a config file"));
    fs::write(path.join("b.toml"), GOOD).unwrap();
    assert_eq!(error(), format!("{what}give a file in it, such as `{}`", path.join("b.toml").display()));
}

#[test]
fn an_empty_file_is_an_error() {
    for text in ["", " \n\t\n"] {
        refuses(
            text,
            &["seed=3"],
            "a.toml: the file is empty\nhint: start from a copy of one of the configs in `configs/`",
        );
    }
}

#[test]
fn bytes_that_are_no_text_are_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.toml");
    fs::write(&path, [0xff, 0xfe]).unwrap();
    let error = load::<Config>(&path, &[]).unwrap_err();
    assert_eq!(error.what, "the file is not text in UTF-8");
}

#[test]
fn a_syntax_error_has_its_line() {
    let hint = "\nhint: correct the TOML syntax in this line; https://toml.io describes it";
    let what = "a.toml: line 3, column 17: string values must be quoted, expected literal string\n";
    refuses(
        "seed = 3\n[agent]\nlearning_rate = slow\n",
        &[],
        &format!("{what}  learning_rate = slow\nhint: put a string in quotes: `\"slow\"`"),
    );
    refuses(
        "seed = 3\nseed\n",
        &[],
        &format!("a.toml: line 2, column 5: key with no value, expected `=`\n  seed{hint}"),
    );
    refuses("seed = 3\nseed = 4\n", &[], &format!("a.toml: line 2, column 1: duplicate key\n  seed = 4{hint}"));
}

#[test]
fn a_wrong_type_names_the_key_the_value_and_what_is_expected() {
    let seed = "the meaning of `seed`: Seed of all random streams of the run; its default is `0`";
    let hidden =
        "the meaning of `agent.hidden`: Widths of the hidden layers of actor and critics; its default is `[256, 256]`";
    let agent =
        "the meaning of `agent`: The section `[agent]`: the agent's name, the size of its batches, and its own keys";
    let loss = "the meaning of `model.loss.kind`: Name of the loss; its default is `\"vagram\"`";
    for (text, message, hint) in [
        ("seed = -1", "`seed` is the integer `-1`, expected a whole number, 0 or more", seed),
        ("seed = 1.5", "`seed` is the number `1.5`, expected a whole number, 0 or more", seed),
        (
            "seed = 3\nagent.hidden = [64, true]",
            "`agent.hidden[1]` is the boolean `true`, expected a whole number, 0 or more",
            hidden,
        ),
        (
            "seed = 3\nenv.id = 1",
            "`env.id` is the integer `1`, expected a string",
            "the meaning of `env.id`: Id of the environment; `foresee list envs` shows the ids",
        ),
        ("seed = 3\nmodel.loss.kind = 3", "`model.loss.kind` is the integer `3`, expected a string", loss),
        ("seed = 3\nmodel.loss.kind = {}", "`model.loss.kind` is a table, expected a string", loss),
        ("seed = 3\nagent = 3", "`agent` is the integer `3`, expected a table", agent),
    ] {
        refuses(text, &[], &format!("a.toml: {message}\nhint: {hint}"));
    }
    for (text, message) in [
        ("seed = []", "`seed` is an array, expected a whole number, 0 or more\nhint: write one value, not a list"),
        ("seed = 1e3", "`seed` is the number `1000.0`, expected a whole number, 0 or more\nhint: write `1000`"),
        (
            "seed = '3'",
            "`seed` is the string \"3\", expected a whole number, 0 or more\nhint: leave the quotes out: `3`",
        ),
        ("seed = 3\nagent.learning_rate = 'fast'", "`agent.learning_rate` is the string \"fast\", expected a number"),
        ("seed = 3\nagent.hidden = 64", "`agent.hidden` is the integer `64`, expected an array\nhint: write `[64]`"),
    ] {
        refuses(text, &[], &format!("a.toml: {message}"));
    }
}

#[test]
fn a_wrong_type_in_an_override_names_the_override() {
    refuses(
        GOOD,
        &["seed=4", "agent.learning_rate=.5"],
        "override `agent.learning_rate=.5`: `.5` looks like a number, but is not valid TOML\n\
         hint: write `agent.learning_rate=0.5`; for the text itself, write 'agent.learning_rate=\".5\"'",
    );
    refuses(
        GOOD,
        &["agent.hidden=[64"],
        "override `agent.hidden=[64`: `[64` looks like a list, but is not valid TOML\n\
         hint: close the list with `]`; a shell splits words at spaces and removes quotes, so put '…' around the override",
    );
    refuses(
        "seed = 3\n",
        &["agent=fast"],
        "override `agent=fast`: `agent` is the string \"fast\", expected a table\n\
         hint: the meaning of `agent`: The section `[agent]`: the agent's name, the size of its batches, and its own keys",
    );
}

#[test]
fn a_value_of_a_file_that_is_not_valid_toml_has_a_hint() {
    for (line, message, hint) in [
        ("flag = False", "column 8: invalid boolean, expected `false`", "write `false`"),
        ("rate = .5 # fast", "column 8: invalid mantissa, expected digits", "write `0.5`"),
        ("rate = 5.", "column 10: invalid fraction, expected digits", "write `5.0`"),
        ("hidden = 64,64", "column 12: unexpected key or value, expected newline, `#`", "write `[64, 64]`"),
        (
            "kwargs = {mode=hard}",
            "column 16: string values must be quoted, expected literal string",
            "write `{ mode = \"hard\" }`",
        ),
        (
            "seed = 9223372036854775808",
            "column 8: u64 value was too large",
            "a whole number is at most 9223372036854775807",
        ),
    ] {
        refuses(line, &[], &format!("a.toml: line 1, {message}\n  {line}\nhint: {hint}"));
    }
    let error = with("goal = None", &[], |result, _| result.unwrap_err());
    assert_eq!(error.hint.as_deref(), Some("TOML has no null; leave the key out instead"));
}

#[test]
fn a_date_is_refused_and_becomes_no_string() {
    let message = |place: &str, found: &str| {
        format!("{place} is the date `{found}`, but no key is a date\nhint: write it as a string, in quotes")
    };
    refuses("seed = 3\n[env]\nid = 2024-01-31\n", &[], &message("a.toml: `env.id`", "2024-01-31"));
    let text = "env={id = \"a\", at = [1, {time = 07:32:00}]}";
    refuses(GOOD, &["seed=4", text], &message(&format!("override `{text}`: `env.at.1.time`"), "07:32:00"));
    assert_eq!(accepts(GOOD, &["env.id=\"2024-01-31\""]).env.unwrap()._id, "2024-01-31");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_name() {
    refuses(
        "seed = 3\n[agent]\nlearning_rat = 1\n",
        &["seed=4"],
        "a.toml: unknown key `agent.learning_rat`\n\
         hint: did you mean `learning_rate`? valid keys here: `learning_rate`, `hidden`",
    );
    refuses(
        "seed = 3\n[optimiser]\nlr = 1\n",
        &[],
        "a.toml: unknown key `optimiser`\nhint: valid keys here: `seed`, `agent`, `model`, `env`",
    );
}

#[test]
fn an_unknown_key_in_an_override_names_the_override() {
    let hint = "hint: did you mean `learning_rate`? valid keys here: `learning_rate`, `hidden`";
    for text in ["agent.learning_rat=1", "agent={learning_rat=1}"] {
        refuses(GOOD, &["seed=4", text], &format!("override `{text}`: unknown key `agent.learning_rat`\n{hint}"));
    }
    refuses(
        GOOD,
        &["agnet.learning_rate=1"],
        "override `agnet.learning_rate=1`: unknown key `agnet`\n\
         hint: did you mean `agent`? valid keys here: `seed`, `agent`, `model`, `env`",
    );
}

#[test]
fn a_key_of_another_variant_is_unknown() {
    refuses(
        "seed = 3\n[model.fit]\nby = 'steps'\ncount = 3\npatience = 4\n",
        &[],
        "a.toml: unknown key `model.fit.patience`\nhint: valid keys here: `count`",
    );
}

#[test]
fn an_unknown_variant_is_refused_with_the_nearest_name() {
    let text = "`model.loss.kind` cannot be `vagran`\n\
                hint: did you mean `vagram`? valid values here: `mle`, `mse`, `vagram`";
    refuses("seed = 3\nmodel.loss.kind = 'vagran'", &[], &format!("a.toml: {text}"));
    refuses(GOOD, &["model.loss.kind=vagran"], &format!("override `model.loss.kind=vagran`: {text}"));
    refuses(
        "seed = 3\nmodel.fit.by = 'time'",
        &[],
        "a.toml: `model.fit.by` cannot be `time`\nhint: valid values here: `steps`, `epochs`",
    );
}

#[test]
fn a_missing_key_is_named_with_its_section() {
    refuses(
        "[agent]\nlearning_rate = 1",
        &[],
        "a.toml: `seed` is missing\nhint: add `seed = …` at the top, or give the override `seed=…`",
    );
    refuses(
        "seed = 3\n[env]\n",
        &[],
        "a.toml: `env.id` is missing\nhint: add `id = …` under `[env]`, or give the override `env.id=…`",
    );
    refuses(
        GOOD,
        &["model.fit.by=steps"],
        "override `model.fit.by=steps`: `model.fit.count` is missing\n\
         hint: add `count = …` under `[model.fit]`, or give the override `model.fit.count=…`",
    );
}
