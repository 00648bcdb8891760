//! MuJoCo's tasks against Gymnasium's own, and against themselves.
//!
//! Without MuJoCo these tests print on stderr that they are skipped. With `FORESEE_REQUIRE_MUJOCO=1` they fail instead.

/// Only on this platform: elsewhere MuJoCo is another build, with other last bits.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod replay;
mod resets;
mod versions;

use std::io::Write as _;

use foresee_core::Stream;
use foresee_env::mujoco::library::warnings;
use foresee_env::mujoco::model_file;
use foresee_env::test_support::mujoco_available;
use foresee_env::{EnvConfig, Environment, MujocoConfig, check_environment, make, make_unscaled};
use resets::RESETS;

const IDS: [&str; 6] =
    ["InvertedPendulum-v5", "Reacher-v5", "Swimmer-v5", "Hopper-v5", "Walker2d-v5", "HalfCheetah-v5"];

/// Returns positions and velocities, `[nq]` and `[nv]`.
fn physics(env: &dyn Environment) -> [Vec<f64>; 2] {
    let mut state = env.save();
    let paths: Vec<_> = state.iter().map(|(path, _)| path.to_owned()).collect();
    [".qpos", ".qvel"].map(|name| {
        let path = paths.iter().find(|path| path.ends_with(name)).expect("a simulation");
        state.f64s(path).expect("f64").1
    })
}

#[track_caller]
fn assert_bits(what: &str, got: &[f64], want: &[f64]) {
    let bits = |numbers: &[f64]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(got), bits(want), "{what}: {got:?}, recorded {want:?}");
}

#[test]
fn seeded_resets_and_the_resets_after_them_are_gymnasiums() {
    if !mujoco_available("seeded_resets_and_the_resets_after_them_are_gymnasiums") {
        return;
    }
    for (id, seed, want) in RESETS {
        let mut env = make(id).unwrap();
        let mut got = Vec::new();
        for seed in [Some(seed), None] {
            env.reset(seed).unwrap();
            got.extend(physics(env.as_ref()).concat());
        }
        assert_bits(&format!("{id}, seed {seed}"), &got, want);
    }
}

/// Takes steps under actions that depend only on the seed and the step, and resets after each end. Returns every
/// resulting bit.
fn future(env: &mut dyn Environment, seed: u64, steps: u64) -> Vec<u64> {
    let mut bits = Vec::new();
    for t in 0..steps {
        let action = env.spec().action_space.sample(&mut Stream::new(seed, "test/action").at(t, 0));
        let step = env.step(&action).unwrap();
        bits.push(step.reward.to_bits());
        bits.extend(physics(env).concat().into_iter().map(f64::to_bits));
        if step.terminated || step.truncated {
            env.reset(None).unwrap();
        }
    }
    bits
}

#[test]
fn an_episode_restored_in_the_middle_goes_on_bit_for_bit_and_needs_the_warm_start_for_it() {
    if !mujoco_available("an_episode_restored_in_the_middle_goes_on_bit_for_bit_and_needs_the_warm_start_for_it") {
        return;
    }
    for id in ["Walker2d-v5", "HalfCheetah-v5"] {
        let mut env = make(id).unwrap();
        env.reset(Some(3)).unwrap();
        // With feet on the floor, the constraint solver has work to do and starts from the last accelerations.
        future(env.as_mut(), 1, 120);
        let saved = env.save();
        let want = future(env.as_mut(), 2, 300);

        let mut other = make(id).unwrap();
        other.restore(saved.clone()).unwrap();
        assert!(future(other.as_mut(), 2, 300) == want, "{id}");

        let mut cold = saved;
        let path = cold.iter().map(|(path, _)| path).find(|path| path.ends_with(".warmstart")).unwrap().to_owned();
        let zeros = vec![0.0; cold.f64s(&path).unwrap().1.len()];
        cold.put(&path, zeros);
        other.restore(cold).unwrap();
        // The solver of the cheetah reaches the same bits from any start.
        assert_eq!(future(other.as_mut(), 2, 300) == want, id == "HalfCheetah-v5", "{id}, from a cold start");
    }
}

#[test]
fn threads_that_share_a_model_give_the_bits_of_one() {
    if !mujoco_available("threads_that_share_a_model_give_the_bits_of_one") {
        return;
    }
    let run = |seed| {
        let mut env = make("Hopper-v5").unwrap();
        env.reset(Some(seed)).unwrap();
        future(env.as_mut(), seed, 500)
    };
    let want: Vec<_> = (0..4).map(run).collect();
    let threads: Vec<_> = (0..4).map(|seed| std::thread::spawn(move || run(seed))).collect();
    let got: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(got == want);
}

#[test]
fn reachers_tip_is_where_its_joint_angles_put_it() {
    if !mujoco_available("reachers_tip_is_where_its_joint_angles_put_it") {
        return;
    }
    let mut env = make("Reacher-v5").unwrap();
    let off = |env: &dyn Environment, obs: &[f32]| {
        let [qpos, _] = physics(env);
        let (first, both) = (qpos[0], qpos[0] + qpos[1]);
        let tip = [0.1 * first.cos() + 0.11 * both.cos(), 0.1 * first.sin() + 0.11 * both.sin()];
        (0..2).map(|i| (tip[i] - qpos[2 + i] - f64::from(obs[8 + i])).abs()).fold(0.0, f64::max)
    };
    let mut farthest: f64 = 0.0;
    for seed in 0..20 {
        let obs = env.reset(Some(seed)).unwrap().obs;
        // Half a unit in the last place of an f32 below 0.5.
        assert!(off(env.as_ref(), &obs) < 1.5e-8 + 1e-12, "seed {seed}");
        for t in 0..50 {
            let action = env.spec().action_space.sample(&mut Stream::new(seed, "test/action").at(t, 0));
            let obs = env.step(&action).unwrap().obs;
            farthest = farthest.max(off(env.as_ref(), &obs));
        }
    }
    // Gymnasium, too, observes the tip at the last stage of RK4 and not at the end of the step.
    assert!(1e-3 < farthest && farthest < 4e-3, "{farthest:e}");
}

#[test]
fn what_mujoco_warns_of_is_kept_and_no_log_is_written() {
    if !mujoco_available("what_mujoco_warns_of_is_kept_and_no_log_is_written") {
        return;
    }
    let mut env = make("Hopper-v5").unwrap();
    env.reset(Some(0)).unwrap();
    let mut state = env.save();
    let path = state.iter().map(|(path, _)| path).find(|path| path.ends_with(".qvel")).unwrap().to_owned();
    state.take(&path).unwrap();
    state.put(&path, vec![1e12; 6]);
    env.restore(state).unwrap();
    let before = warnings().0;
    env.step(&[0.0; 3]).unwrap();
    let (count, last) = warnings();
    assert!(count > before && last.contains("QVEL"), "{count} warnings, the last `{last}`");
    assert!(!std::path::Path::new("MUJOCO_LOG.TXT").exists());
}

/// The test runs itself in a second process, which must die.
#[test]
fn an_error_deep_inside_mujoco_is_its_last_words_and_ends_the_process() {
    const TEST: &str = "an_error_deep_inside_mujoco_is_its_last_words_and_ends_the_process";
    const FOLDER: &str = "FORESEE_TEST_MODELS";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let mujoco = MujocoConfig { assets: Some(folder.into()), ..MujocoConfig::default() };
        let mut env = EnvConfig { mujoco, ..EnvConfig::new("Hopper-v5") }.make(0).unwrap();
        env.reset(Some(0)).unwrap();
        return;
    }
    if !mujoco_available(TEST) {
        return;
    }
    // A hopper model with too little memory for its own constraints.
    let folder = tempfile::tempdir().unwrap();
    let hopper = model_file(&MujocoConfig::default(), "hopper.xml").unwrap();
    let model = std::fs::read_to_string(hopper).unwrap();
    let small = model.replace("<worldbody>", r#"<size memory="2K"/><worldbody>"#);
    std::fs::write(folder.path().join("hopper.xml"), small).unwrap();

    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(FOLDER, folder.path())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&child.stderr);
    assert!(stderr.contains("MuJoCo failed: ") && stderr.contains("memory"), "{stderr}");
    assert!(stderr.contains("\nhint: ") && stderr.contains("<size memory=\"1M\"/>"), "{stderr}");
    assert_eq!(child.status.code(), Some(1), "{}: {stderr}", child.status);
    assert!(!folder.path().join("MUJOCO_LOG.TXT").exists());
}

#[test]
fn what_cannot_be_had_is_named_with_a_hint() {
    let problem = |library: &str, assets: Option<&str>| {
        let mujoco = MujocoConfig { library: Some(library.into()), assets: assets.map(Into::into) };
        EnvConfig { mujoco, ..EnvConfig::new("Hopper-v5") }.make(0).err().unwrap().to_string()
    };
    let install =
        r#"hint: run `pip install "gymnasium[mujoco]==1.4.0" mujoco==3.17.0` in an activated virtual environment"#;
    let nowhere = problem("/nowhere/libmujoco.so", None);
    assert!(nowhere.starts_with("MuJoCo's library /nowhere/libmujoco.so cannot be used: "), "{nowhere}");
    assert!(nowhere.ends_with(install), "{nowhere}");

    if mujoco_available("what_cannot_be_had_is_named_with_a_hint, of the models") {
        let mujoco = MujocoConfig { assets: Some("/nowhere".into()), ..MujocoConfig::default() };
        let error = EnvConfig { mujoco, ..EnvConfig::new("Hopper-v5") }.make(0).err().unwrap().to_string();
        let want = "Gymnasium's MuJoCo model hopper.xml was not found\n  searched: /nowhere, which has no hopper.xml\n";
        assert_eq!(error, format!("{want}{install}, or set `env.mujoco.assets` to its folder"));
    }
}

#[test]
fn a_folder_with_the_tasks_own_model_is_enough() {
    if !mujoco_available("a_folder_with_the_tasks_own_model_is_enough") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = model_file(&MujocoConfig::default(), "inverted_pendulum.xml").unwrap();
    std::fs::copy(model, folder.path().join("inverted_pendulum.xml")).unwrap();
    let problem = |id| {
        let mujoco = MujocoConfig { assets: Some(folder.path().into()), ..MujocoConfig::default() };
        EnvConfig { mujoco, ..EnvConfig::new(id) }.problem()
    };
    assert_eq!(problem("InvertedPendulum-v5"), None);
    assert!(problem("Hopper-v5").unwrap().contains("has no hopper.xml"));
}

/// The expected messages are those of Linux's loader. The test runs itself in a second process with another MUJOCO_LIB.
#[cfg(target_os = "linux")]
#[test]
fn why_a_library_cannot_be_used_is_told_in_the_loaders_words_and_with_who_named_it() {
    const TEST: &str = "why_a_library_cannot_be_used_is_told_in_the_loaders_words_and_with_who_named_it";
    const CHILD: &str = "FORESEE_TEST_LIBRARY";
    if std::env::var_os(CHILD).is_some() {
        let _ = writeln!(std::io::stderr(), "{}", make("Hopper-v5").err().unwrap());
        return;
    }
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for (path, reason) in [
        (text, "invalid ELF header"),
        ("/nowhere/it.so", "cannot open shared object file: No such file or directory"),
        (env!("CARGO_MANIFEST_DIR"), "cannot read file data: Is a directory"),
        ("libm.so.6", "undefined symbol: mj_version"),
    ] {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(CHILD, "1")
            .env("MUJOCO_LIB", path)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&child.stderr);
        let mujoco = MujocoConfig { library: Some(path.into()), ..MujocoConfig::default() };
        let of_config = EnvConfig { mujoco, ..EnvConfig::new("Hopper-v5") }.make(0).err().unwrap().to_string();
        for (message, name) in [(stderr.as_ref(), "MUJOCO_LIB"), (&of_config, "`env.mujoco.library`")] {
            let what = format!("MuJoCo's library {path} cannot be used: ");
            let first = message.lines().find(|line| line.starts_with(&what)).unwrap_or_else(|| panic!("{message}"));
            assert!(first.ends_with(&format!("{reason} (set by {name})")), "{message}");
        }
    }
}

#[test]
fn every_task_keeps_the_promises_of_an_environment() {
    if mujoco_available("every_task_keeps_the_promises_of_an_environment") {
        for id in IDS {
            check_environment(|| make(id)).unwrap();
            check_environment(|| make_unscaled(id)).unwrap();
        }
    }
}
