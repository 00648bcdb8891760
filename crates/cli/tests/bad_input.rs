//! Bad input gives one message that names the value and the correction, and exit code 2. No file is written.

mod common;

use common::{Place, TINY};

/// Checks that `check`, and `train` with and without a folder, refuse the input with this message and leave no files.
#[track_caller]
fn refused(place: &Place, config: &str, overrides: &[&str], message: &str) {
    for verb in [&["check"][..], &["train"], &["train", "--run-dir", "run"], &["train", "--run-dir", "new/run"]] {
        let arguments = [verb, &[config], overrides].concat();
        assert_eq!(place.refuses(&arguments), message, "{arguments:?}");
    }
}

/// Checks that a config with the line `good` replaced by `bad` is refused with this message.
#[track_caller]
fn refused_line(good: &str, bad: &str, message: &str) {
    let place = Place::new();
    assert_eq!(TINY.matches(good).count(), 1, "{good}");
    place.write("bad.toml", &TINY.replacen(good, bad, 1));
    refused(&place, "bad.toml", &[], &format!("bad.toml: {message}"));
}

#[track_caller]
fn refused_override(text: &str, message: &str) {
    refused(&Place::new(), "tiny.toml", &[text], message);
}

#[test]
fn a_missing_file_is_refused_with_the_nearest_one() {
    refused(&Place::new(), "tinny.toml", &[], "tinny.toml: no such file\nhint: did you mean `tiny.toml`?");
    refused(&Place::new(), "nowhere/a.toml", &[], "nowhere/a.toml: no such file\nhint: give the path of a TOML file");
}

#[test]
fn an_empty_file_is_refused() {
    let place = Place::new();
    place.write("empty.toml", "\n");
    let message = "empty.toml: the file is empty\nhint: start from a copy of one of the configs in `configs/`";
    refused(&place, "empty.toml", &[], message);
    refused(&place, "empty.toml", &["env.id=Pendulum-v1"], message);
}

#[test]
fn a_path_that_is_no_file_is_refused() {
    let message = ".: this is a folder, not a config file\nhint: give a file in it, such as `tiny.toml`";
    refused(&Place::new(), ".", &[], message);
    let message = "tiny.toml/a.toml: the file cannot be read: Not a directory (os error 20)\n\
                   hint: check the path and the permissions of the file";
    refused(&Place::new(), "tiny.toml/a.toml", &[], message);
}

#[test]
fn a_syntax_error_is_refused_with_its_line() {
    let what = "line 2, column 8: string values must be quoted, expected literal string\n  seed = seven";
    refused_line("seed = 7", "seed = seven", &format!("{what}\nhint: put a string in quotes: `\"seven\"`"));
    let hint = "hint: correct the TOML syntax in this line; https://toml.io describes it";
    refused_line("seed = 7", "seed 7", &format!("line 2, column 6: key with no value, expected `=`\n  seed 7\n{hint}"));
}

#[test]
fn a_wrong_type_is_refused_with_what_is_expected() {
    let whole = "expected a whole number, 0 or more";
    let hint = "hint: the meaning of `seed`: Seed of all random streams of the run; its default is `0`";
    refused_line("seed = 7", "seed = -7", &format!("`seed` is the integer `-7`, {whole}\n{hint}"));
    let hint = "hint: the meaning of `training.env_steps`: Number of real environment steps of the run, exploration \
                included, in all environments together; its default is `100000`";
    let what = format!("`training.env_steps` is the number `1.5`, {whole}\n{hint}");
    refused_line("env_steps = 120", "env_steps = 1.5", &what);
    let hint = "hint: the meaning of `agent.batch`: Number of rows in a batch, real and imagined together; its default is \
                `256`";
    refused_line("batch = 16", "batch = \"big\"", &format!("`agent.batch` is the string \"big\", {whole}\n{hint}"));
    let schedule = "expected a number, or four numbers [from, to, start, end]\n\
                    hint: the meaning of `rollout.horizon`: Number of imagined steps of a rollout: a number, or \
                    `[from, to, start, end]` over real steps; its default is `1.0`";
    refused_line("[1, 3, 40, 100]", "\"long\"", &format!("`rollout.horizon` is the string \"long\", {schedule}"));
    refused_line("[1, 3, 40, 100]", "[1, 3]", &format!("`rollout.horizon` is an array, {schedule}"));
    let parameter = "expected a number, or two numbers [low, high]\n\
                     hint: the meaning of `env.family.mass`: Factor on every mass; its default is `1.0`";
    let text = "env.family.mass=heavy";
    refused_override(text, &format!("override `{text}`: `env.family.mass` is the string \"heavy\", {parameter}"));
    let text = "env.family.delay=1.5";
    let steps = "expected a whole number, or two whole numbers [low, high]\n\
                 hint: the meaning of `env.family.delay`: Delay of the actions, in frames (steps of the task itself); its \
                 default is `0`";
    refused_override(text, &format!("override `{text}`: `env.family.delay` is the number `1.5`, {steps}"));
    refused_override(
        "agent.hidden=16",
        "override `agent.hidden=16`: `agent.hidden` is the integer `16`, expected an array\nhint: write `[16]`",
    );
}

#[test]
fn a_missing_key_is_refused_with_where_to_add_it() {
    let hint = "hint: add `id = …` under `[env]`, or give the override `env.id=…`";
    refused_line("id = \"Pendulum-v1\"", "", &format!("`env.id` is missing\n{hint}"));
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let keys = "`every`, `batch`, `lr`, `decay`, `decay_form`, `holdout`, `stopping`, `patience`, `threshold`, `min_steps`, \
                `max_steps`, `first_max_steps`, `max_epochs`, `snapshot`";
    let hint = format!("hint: did you mean `max_steps`? valid keys here: {keys}");
    refused_line("max_steps = 30", "max_step = 30", &format!("unknown key `model.fit.max_step`\n{hint}"));
    let text = "model.fit.max_step=30";
    refused_override(text, &format!("override `{text}`: unknown key `model.fit.max_step`\n{hint}"));
    let hint = "hint: did you mean `mass`? valid keys here: `mass`, `length`, `gravity`, `delay`, `sensor_noise`";
    let text = "env.family.mas=2";
    refused_override(text, &format!("override `{text}`: unknown key `env.family.mas`\n{hint}"));
}

#[test]
fn an_unknown_choice_is_refused_with_the_nearest_one() {
    let listed = Place::new().succeeds(&["list", "losses"]);
    let names = listed.lines().map(|line| format!("`{}`", line.split_whitespace().next().expect("a name")));
    refused_override(
        "model.loss.kind=vagran",
        &format!(
            "override `model.loss.kind=vagran`: `model.loss.kind` cannot be `vagran`\n\
             hint: did you mean `vagram`? valid values here: {}",
            names.collect::<Vec<_>>().join(", ")
        ),
    );
    refused_override(
        "algo=ddpg",
        "override `algo=ddpg`: `algo` cannot be `ddpg`\nhint: valid values here: `mbpo`, `model_free`, `dhmbpo`",
    );
}

#[test]
fn a_malformed_override_is_refused() {
    let plain = "write `key=value` without spaces, such as `model.loss.kind=vagram`";
    let empty =
        "write `seed=value` without spaces; leave the override out for the default; an empty text is 'seed=\"\"'";
    for (text, what, hint) in [
        ("seed", "there is no `=`", plain),
        ("=", "a part of the key is empty", plain),
        ("seed=", "there is no value after `=`", empty),
        ("agent..batch=3", "a part of the key is empty", plain),
    ] {
        refused_override(text, &format!("override `{text}`: {what}\nhint: {hint}"));
    }
}

#[test]
fn a_value_that_looks_like_another_one_becomes_no_string() {
    let text_itself = |text: &str| format!("for the text itself, write '{text}'");
    for (text, message) in [
        (
            "env.gym.kwargs={mode=hard}",
            "`{mode=hard}` looks like a table, but is not valid TOML\n\
             hint: strings inside a table need quotes: write 'env.gym.kwargs={ mode = \"hard\" }'"
                .to_owned(),
        ),
        (
            "env.gym.kwargs.g=None",
            format!(
                "`None` is not a TOML value\n\
                 hint: TOML has no null; leave the key out instead; {}",
                text_itself("env.gym.kwargs.g=\"None\"")
            ),
        ),
        (
            "seed=9223372036854775808",
            "the number `9223372036854775808` is too large\nhint: a whole number is at most 9223372036854775807".into(),
        ),
        (
            "agent.hidden=64,64",
            "`64,64` looks like a list, but is not valid TOML\nhint: write 'agent.hidden=[64, 64]'".into(),
        ),
        (
            "agent.learn_temperature=False",
            format!(
                "`False` looks like a boolean, but is not valid TOML\n\
                 hint: write `agent.learn_temperature=false`; {}",
                text_itself("agent.learn_temperature=\"False\"")
            ),
        ),
        (
            "training.env_steps=1e5",
            "`training.env_steps` is the number `100000.0`, expected a whole number, 0 or more\nhint: write `100000`"
                .into(),
        ),
    ] {
        refused_override(text, &format!("override `{text}`: {message}"));
    }
}

#[test]
fn an_impossible_pair_is_refused() {
    for (text, message) in [
        (
            "model.ensemble.elites=4",
            "`model.ensemble.elites` is 4; it must be 1 to 3, the value of `model.ensemble.members`\n\
             hint: lower it, or raise `model.ensemble.members`",
        ),
        (
            "model={loss={kind='mle'}, head='deterministic'}",
            "`model.loss.kind` is `mle`, but `model.head` is `deterministic`\n\
             hint: set `model.head = \"gaussian\"` or `\"homoscedastic\"`, or leave the key out, because a likelihood needs a variance",
        ),
        (
            "model.fit.min_steps=31",
            "`model.fit.min_steps` is 31, but `model.fit.max_steps` is 30\n\
             hint: raise `model.fit.max_steps` or lower `model.fit.min_steps`",
        ),
        (
            "rollout.horizon=[1, 3, 100, 40]",
            "`rollout.horizon` changes from step 100 to step 40; both must be finite, and the second not below the first\nhint: the four numbers are [from, to, start, end]",
        ),
    ] {
        refused_override(text, &format!("override `{text}`: {message}"));
    }
}

#[test]
fn a_run_that_trains_nothing_is_refused() {
    let message = "`training.explore_steps` is 5000, but `training.env_steps` is 120, so nothing is trained\n\
                   hint: lower `training.explore_steps`, for example to 12, or raise `training.env_steps` above 5000";
    refused_override("training.explore_steps=5000", &format!("override `training.explore_steps=5000`: {message}"));
    refused_line("explore_steps = 40\n", "", message);
    // The override is at fault that shortens the run.
    refused_override(
        "training.env_steps=20",
        "override `training.env_steps=20`: `training.explore_steps` is 40, but `training.env_steps` is 20, so nothing is trained\n\
         hint: lower `training.explore_steps`, for example to 2, or raise `training.env_steps` above 40",
    );
    let blocks = "`double_horizon.block` is 1000, and no multiple of it is between `training.explore_steps`, 40, and `training.env_steps`, 120, so nothing is trained\n\
                  hint: lower `double_horizon.block`, or raise `training.env_steps`";
    refused_line("threads = 1", "algo = \"dhmbpo\"", blocks);
}

#[test]
fn a_setting_that_is_most_likely_a_mistake_is_one_warning_of_check_and_of_train() {
    let place = Place::new();
    for (overrides, warning) in [
        (
            &["model.fit.every=200"][..],
            "`model.fit.every` is 200, and no multiple of it is between `training.explore_steps`, 40, and `training.env_steps`, 120: no model is fitted, and the agent learns from real transitions only\n\
             hint: lower `model.fit.every`, raise `training.env_steps`, or set `algo = \"model_free\"`",
        ),
        (
            &["rollout.real_ratio=1"],
            "`rollout.real_ratio` is 1 during the whole run, so the agent never learns from imagined transitions\n\
             hint: lower it, or set `algo = \"model_free\"`",
        ),
        (
            &["training.env_steps=40", "rollout.real_ratio=0.5"],
            "`training.explore_steps` and `training.env_steps` are both 40, so training follows the last step only\n\
             hint: lower `training.explore_steps`, or raise `training.env_steps`",
        ),
    ] {
        for (number, verb) in [&["check"][..], &["train", "--run-dir"]].into_iter().enumerate() {
            let folder = format!("run-{}", overrides[0]);
            let folder = if number == 1 { vec![folder.as_str()] } else { vec![] };
            let output = place.run(&[verb, &folder[..], &["tiny.toml"], overrides].concat());
            let stderr = common::text(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{stderr}");
            assert!(stderr.starts_with(&format!("warning: {warning}\n")), "{verb:?}: {stderr}");
            assert_eq!(stderr.matches("warning: ").count(), 1, "{stderr}");
        }
    }
    let output = place.run(&["check", "tiny.toml"]);
    assert_eq!(common::text(&output.stderr), "");
}

/// The case of 100 million imagined transitions, 3.6 GB, in 3 GB of address space.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_outgrows_the_memory_is_refused_before_its_first_step() {
    use std::process::Command;
    let place = Place::new();
    let run = |verb: &str| {
        let keys = "rollout.horizon=1000 rollout.starts_per_step=400 rollout.retain_epochs=10 model.fit.every=250 \
                    training.epoch_length=1000 training.env_steps=300 training.explore_steps=250";
        let script = format!("ulimit -v 3000000; exec \"$0\" {verb} tiny.toml {keys}");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_foresee")]).current_dir(place.path(""));
        command.output().unwrap()
    };
    let message = "`rollout.starts_per_step` is 400; it must be at most 341 on this machine: 100000000 imagined and 300 real transitions need 3.6 GB, and this process may use 3.1 GB (the limit on address space, `ulimit -v`)\n\
                   hint: lower it, `rollout.horizon` or `rollout.retain_epochs`, or use a machine with more memory\n";
    let train = run("train --run-dir run");
    assert_eq!(train.status.code(), Some(2), "{}", common::text(&train.stderr));
    assert_eq!(common::text(&train.stderr), format!("error: override `rollout.starts_per_step=400`: {message}"));
    assert!(!place.path("run").exists());
    let check = run("check");
    assert_eq!(check.status.code(), Some(0), "{}", common::text(&check.stderr));
    assert_eq!(common::text(&check.stderr), format!("warning: on this machine `train` refuses this config: {message}"));
}

#[test]
fn a_message_names_the_override_or_the_file_that_set_the_key() {
    let place = Place::new();
    let first = |arguments: &[&str]| place.refuses(arguments).lines().next().unwrap().to_owned();
    // The key of the file is impossible because of the override's.
    assert_eq!(
        first(&["check", "tiny.toml", "seed=3", "model.ensemble.members=1"]),
        "override `model.ensemble.members=1`: `model.ensemble.elites` is 2; it must be 1 to 1, the value of `model.ensemble.members`"
    );
    place.write("bad.toml", &TINY.replacen("elites = 2", "elites = 4", 1));
    assert_eq!(
        first(&["check", "bad.toml", "seed=3", "model.ensemble.hidden=[8]"]),
        "bad.toml: `model.ensemble.elites` is 4; it must be 1 to 3, the value of `model.ensemble.members`"
    );
    place.write("bad.toml", &TINY.replacen("Pendulum-v1", "Pendulum-v9", 1));
    assert_eq!(first(&["check", "bad.toml", "seed=3"]), "bad.toml: `env.id`: unknown environment `Pendulum-v9`");
}

#[test]
fn a_key_of_another_program_or_section_is_answered_with_ours() {
    for (key, text, answer) in [
        ("agent.gamma", "agent.gamma=0.9", "did you mean `discount`? valid keys here: "),
        ("agent.env_steps", "agent.env_steps=500", "did you mean `training.env_steps`? valid keys here: "),
        ("train", "train.env_steps=500", "did you mean `training`? valid keys here: "),
    ] {
        let message = Place::new().refuses(&["check", "tiny.toml", text]);
        let start = format!("override `{text}`: unknown key `{key}`\nhint: {answer}");
        assert!(message.starts_with(&start), "{message}");
    }
}

#[test]
fn an_option_that_is_a_key_is_answered_with_the_override() {
    let message = Place::new().refuses(&["train", "tiny.toml", "--seed", "3"]);
    assert!(message.contains("tip: write seed=3\n") && !message.contains("as a value"), "{message}");
}

#[test]
fn an_impossible_value_is_refused() {
    for (text, message) in [
        ("training.eval_episodes=0", "`training.eval_episodes` is 0; it must be 1 to 100000\nhint: the default is 20"),
        ("env.distractors=1000", "`env.distractors` is 1000; it must be at most 256\nhint: the default is 0"),
        (
            "env.family.length=[1.2, 0.8]",
            "`env.family.length` is [1.2, 0.8]; it must be 0.001 to 1000, or [low, high] in this range\nhint: the default is 1",
        ),
        (
            "env.family.sensor_noise=-0.1",
            "`env.family.sensor_noise` is -0.1; it must be 0 to 1000, or [low, high] in this range\nhint: the default is 0",
        ),
        ("rollout.horizon=0", "`rollout.horizon` is 0; it must be 1 to 1000 imagined steps\nhint: the default is 1"),
        (
            "rollout.horizon=[1, 5000, 0, 100]",
            "`rollout.horizon` is 5000 at its end; it must be 1 to 1000 imagined steps\nhint: the default is 1",
        ),
        (
            "rollout.real_ratio=1.5",
            "`rollout.real_ratio` is 1.5; it must be 0 to 1, a share of the batch\nhint: the default is 0.05",
        ),
        (
            "agent.hidden=[]",
            "`agent.hidden` is []; it must be a list of at least one layer width, each from 1 to 65536\nhint: the default is [256, 256]",
        ),
        (
            "agent.hidden=[1000000000]",
            "`agent.hidden` is [1000000000]; it must be a list of at least one layer width, each from 1 to 65536\nhint: the default is [256, 256]",
        ),
        (
            "agent.batch=100000000000",
            "`agent.batch` is 100000000000; it must be 1 to 16777216\nhint: the default is 256",
        ),
        (
            "model.ensemble.hidden=[0]",
            "`model.ensemble.hidden` is [0]; it must be a list of layer widths, each from 1 to 65536\nhint: the default is [200, 200, 200, 200]",
        ),
        (
            "training.eval_episodes=100000000000",
            "`training.eval_episodes` is 100000000000; it must be 1 to 100000\nhint: the default is 20",
        ),
        (
            "threads=100000000",
            "`threads` is 100000000; it must be 0 to 4096\nhint: the default is 0, one thread per core",
        ),
        (
            "rollout.starts_per_step=9223372036854775807",
            "the imagined buffer has a capacity of 1106804644422573096840 rows; it must be below 4294967296\nhint: lower `rollout.starts_per_step`, `rollout.horizon`, `rollout.retain_epochs`, `training.epoch_length` or `model.fit.every`",
        ),
        (
            "agent.critic_lr=1e60",
            "`agent.critic_lr` is 1e60; it must be at most 1e37 in size, because computations use single precision\nhint: the default is 0.0003",
        ),
        (
            "agent.discount=0.99999999",
            "`agent.discount` is 0.99999999, which single precision rounds to 1\nhint: write 1, or at most 0.99999994",
        ),
        ("agent.tau=nan", "`agent.tau` is NaN; it must be above 0 and at most 1\nhint: the default is 0.005"),
    ] {
        refused_override(text, &format!("override `{text}`: {message}"));
    }
}

#[test]
fn an_unknown_environment_is_refused_with_the_nearest_ones() {
    let message = "unknown environment `Pendulum-v9`\nhint: the nearest known ids are `Pendulum-v1`";
    let place = Place::new();
    for verb in [&["check"][..], &["train"], &["train", "--run-dir", "run"]] {
        let found = place.refuses(&[verb, &["tiny.toml", "env.id=Pendulum-v9"]].concat());
        assert!(found.starts_with(&format!("override `env.id=Pendulum-v9`: `env.id`: {message}")), "{found}");
    }
}

#[test]
fn an_unknown_device_is_refused_with_the_known_ones() {
    let hint = "hint: use `cpu`, `ndarray`, `wgpu`, `wgpu:<n>`, `wgpu:cpu` or `vulkan`";
    refused_line("threads = 1", "device = \"gpu\"", &format!("`device`: unknown device `gpu`\n{hint}"));
    refused_override("device=tpu", &format!("override `device=tpu`: `device`: unknown device `tpu`\n{hint}"));
}

#[test]
fn a_device_that_the_build_lacks_is_refused_with_how_to_get_it() {
    let lacking = [("ndarray", "ndarray", cfg!(feature = "ndarray")), ("wgpu:0", "wgpu", cfg!(feature = "wgpu"))];
    for (device, feature, _) in lacking.into_iter().filter(|(.., built)| !built) {
        let hint = format!("hint: build with `cargo build --release --features {feature}`, or use `device=cpu`");
        let message = format!("override `device={device}`: device `{device}` is not in this build\n{hint}");
        refused_override(&format!("device={device}"), &message);
    }
}

#[test]
fn an_unknown_verb_or_a_verb_without_its_argument_is_refused() {
    for arguments in [&["tarin", "tiny.toml"][..], &["train"], &["eval", "run", "--episodes", "0"], &["list", "gpus"]] {
        let message = Place::new().refuses(arguments);
        assert!(message.contains("'--help'"), "{message}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_argument_that_is_not_unicode_is_refused_and_a_path_may_be_any() {
    let place = Place::new();
    // `\377` is no UTF-8 in any position.
    for arguments in [
        "train tiny.toml \"env.id=$x\"",
        "check tiny.toml \"$x=1\"",
        "check-env \"$x\"",
        "list \"$x\"",
        "report \"$x\"",
    ] {
        let output = place.shell(&format!("x=$(printf 'r\\377'); foresee {arguments}"));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {stderr}");
        // `list` answers with the possible values.
        let what =
            if arguments.starts_with("list") { "value '" } else { "UTF-8 was detected in one or more arguments\n" };
        assert!(stderr.starts_with(&format!("error: invalid {what}")), "{stderr}");
    }
    let output = place.shell(
        "x=$(printf 'r\\377'); foresee train tiny.toml training.env_steps=41 --run-dir \"$x\" && foresee eval \"$x\"",
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\nmean return "));
}

#[test]
fn every_key_refuses_values_that_it_cannot_have_with_its_name_and_a_hint() {
    let place = Place::new();
    let list = place.succeeds(&["list", "keys"]);
    assert!(list.lines().count() > 130, "{list}");
    for line in list.lines() {
        let key = line.split_whitespace().next().unwrap();
        // The keys of other agents and losses are allowed, and not read.
        let is_read = !line.contains("(with kind = ") || line.contains("(with kind = sac)");
        for value in ["1979-05-27", "[[[1]]]"].iter().take(if is_read { 2 } else { 1 }) {
            let change = format!("{key}={value}");
            let message = place.refuses(&["train", "tiny.toml", &change, "--run-dir", "run"]);
            let name = key.rsplit('.').next().unwrap();
            let (what, hint) = message.split_once("\nhint: ").unwrap_or_else(|| panic!("no hint: {message}"));
            assert!(
                what.contains(&change) && what.replace(&change, "").contains(name) && !hint.is_empty(),
                "{message}"
            );
        }
    }
}
