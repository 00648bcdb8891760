//! A crate outside of foresee adds a loss and an environment, which work like the shipped ones.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use foresee::env::{EnvConfig, check_environment};
use foresee::loss::panel::Panel;
use foresee::loss::{LossInput, ModelLoss};
use foresee::model::Prediction;
use foresee::nn::cpu::{PANEL_ROWS, panels};
use foresee::nn::device::wgpu_of_test;
use foresee::nn::value_view::NoValues;
use foresee::tensor::{Device, Tensor, from_vec, to_vec};
use foresee::{Config, Run, Stream, checkpoint, config, metrics};
use outside::huber::{FusedHuber, Huber};
use outside::{hover, parts};

const CONFIG: &str = include_str!("../config.toml");
/// Members, rows and channels in the tests of the loss.
const E: usize = 2;
const B: usize = PANEL_ROWS - 3;
const C: usize = 3;

fn huber() -> Huber {
    Huber { delta: 0.7, channel_weights: vec![2.0, 0.5] }
}

fn random(name: &str, rows: usize) -> Vec<f32> {
    Stream::new(5, name).normals(0, rows, C)
}

/// Returns every row's loss `[E, B]`, and the gradient of their sum with respect to the mean `[E, B, C]`.
fn in_tensors(loss: &dyn ModelLoss, mean: &[f32], target: &[f32]) -> [Vec<f32>; 2] {
    let device = Device::flex();
    let mean = from_vec(mean.to_vec(), [E, B, C], &device).autodiff().require_grad();
    let input = LossInput {
        prediction: Prediction { mean: mean.clone(), logvar: None },
        target: from_vec(target.to_vec(), [1, B, C], &device),
        terms: None,
        state_offset: None,
        view: &NoValues,
    };
    let per_row = loss.per_row(&input);
    let gradient: Tensor<3> = mean.grad(&per_row.clone().sum().backward()).unwrap();
    [to_vec(per_row), to_vec(gradient)]
}

/// Computes a row's loss in f64 by its definition.
fn by_definition(huber: &Huber, mean: &[f64], target: &[f32]) -> f64 {
    let channel = |c: usize| {
        let a = (mean[c] - f64::from(target[c])).abs();
        let h = if a <= huber.delta { 0.5 * a * a } else { huber.delta * (a - 0.5 * huber.delta) };
        huber.weight(c) * h
    };
    (0..C).map(channel).sum::<f64>() / C as f64
}

#[track_caller]
fn assert_near(got: f32, want: f64, context: &str) {
    assert!((f64::from(got) - want).abs() <= 1e-6 + 1e-5 * want.abs(), "{context}: {got}, expected {want}");
}

#[test]
fn the_losss_gradient_is_that_of_finite_differences_of_its_definition() {
    let (huber, mean, target) = (huber(), random("mean", E * B), random("target", B));
    let [losses, gradients] = in_tensors(&huber, &mean, &target);
    for (i, mean) in mean.chunks_exact(C).enumerate() {
        let target = &target[i % B * C..][..C];
        let mean: Vec<f64> = mean.iter().map(|&x| f64::from(x)).collect();
        assert_near(losses[i], by_definition(&huber, &mean, target), &format!("row {i}"));
        for c in 0..C {
            let at = |step: f64| {
                let mut mean = mean.clone();
                mean[c] += step;
                by_definition(&huber, &mean, target)
            };
            let want = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert_near(gradients[i * C + c], want, &format!("row {i}, channel {c}"));
        }
    }
}

#[test]
fn the_panel_form_agrees_with_the_tensor_form() {
    let (loss, mean, target) = (FusedHuber(huber()), random("mean", E * B), random("target", B));
    let [losses, gradients] = in_tensors(&loss, &mean, &target);
    let packed = |rows: &[f32]| {
        let mut panel = vec![0.0; C * PANEL_ROWS];
        panels::pack(rows, C, &mut panel);
        panel
    };
    let target = packed(&target);
    for (member, mean) in mean.chunks_exact(B * C).enumerate() {
        let output = packed(mean);
        let panel = Panel {
            output: &output,
            target: &target,
            terms: &[],
            predicted: [&[], &[]],
            row_weights: None,
            bounds: None,
            units: None,
            channels: C,
            heads: 0,
            rows: B,
        };
        let fused = loss.panel().unwrap();
        let mut gradient = vec![0.0; C * PANEL_ROWS];
        let sum = fused.gradient(&panel, false, 1.0, &mut gradient, &mut []);
        let want: f64 = losses[member * B..][..B].iter().map(|&loss| f64::from(loss)).sum();
        assert_near(sum, want, "the sum of the losses");
        assert_near(fused.value(&panel, false), want, "their sum without a gradient");
        let mut rows = vec![0.0; C * PANEL_ROWS];
        panels::unpack(&gradient, C, &mut rows);
        for (got, &want) in rows.iter().zip(&gradients[member * B * C..][..B * C]) {
            assert_near(*got, f64::from(want), "the gradient");
        }
    }
}

#[test]
fn the_environment_keeps_every_rule() {
    let make = EnvConfig::new(hover::ID).factory(&parts().tasks, 0);
    check_environment(&*make).unwrap();
}

/// Held by tests that step the environment in this process, so that the count of steps is theirs.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Trains a run. Returns it, and the numbers of each metric in the order in which they were reported.
fn trained(overrides: &[&str], names: &[&str]) -> (Run, Vec<Vec<f64>>) {
    let config: Config = config::from_text(CONFIG, overrides).unwrap();
    let mut run = Run::begin(config.open_with(&parts()).unwrap()).unwrap();
    let mut records = Vec::new();
    while !run.is_done() {
        run.advance(&mut records).unwrap();
    }
    let numbers = |name: &&str| {
        let values = records.iter().flat_map(|record| &record.values);
        values.filter(|(known, _)| known == name).map(|&(_, value)| value).collect()
    };
    let numbers = names.iter().map(numbers).collect();
    (run, numbers)
}

#[test]
fn a_model_under_the_loss_learns_the_environment_with_and_without_the_panel_form() {
    let _guard = ONE_AT_A_TIME.lock();
    let names = [metrics::MODEL_HOLDOUT_SCORE, metrics::MODEL_HOLDOUT_MSE];
    let [plain, fused] = ["huber_by_channel", "fused_huber_by_channel"].map(|kind| {
        let (_, numbers) = trained(&[&format!("model.loss.kind={kind}")], &names);
        for (name, numbers) in names.iter().zip(&numbers) {
            let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
            assert!(numbers.len() == 5 && last < 0.5 * first, "{kind}, {name}: {numbers:?}");
        }
        numbers
    });
    // The first fits have equal rows and initial weights; later, rounding errors make the two runs different.
    assert!((plain[0][0] / fused[0][0] - 1.0).abs() < 0.05, "{plain:?}, {fused:?}");
}

#[test]
fn an_evaluation_is_of_the_own_environment() {
    let _guard = ONE_AT_A_TIME.lock();
    let (mut run, lengths) = trained(&["env.count=2"], &[metrics::EVAL_LENGTH]);
    assert_eq!(run.spec().id, hover::ID);
    assert!(lengths[0].len() == 3 && lengths[0].iter().all(|&length| length <= f64::from(hover::LIMIT)));
    let before = hover::STEPS.load(Ordering::Relaxed);
    let evaluation = run.evaluate(4).unwrap();
    let steps = hover::STEPS.load(Ordering::Relaxed) - before;
    assert_eq!((evaluation.mean_length() * 4.0).round() as u64, steps);
}

/// Starts the program in a folder.
fn start(folder: &Path, device: &str) -> Child {
    let device = format!("device={device}");
    Command::new(env!("CARGO_BIN_EXE_outside")).arg(folder).arg(device).spawn().unwrap()
}

/// Returns the checkpoints of a folder, the newest last.
fn checkpoints(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("step-")).collect();
    paths.sort();
    paths
}

/// Checks that a run that is killed in the middle and started again ends like one that is not.
fn killed_and_resumed(device: &str) {
    let place = tempfile::tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|name| place.path().join(name));
    assert!(start(&whole, device).wait().unwrap().success());

    let mut child = start(&killed, device);
    let since = Instant::now();
    // By then a model has been fitted twice, and the agent has been trained on imagined transitions.
    while checkpoints(&killed).last().is_none_or(|newest| newest < &killed.join("step-000000000140")) {
        assert!(since.elapsed() < Duration::from_secs(120), "no checkpoint came");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was over before it was killed");
    assert!(start(&killed, device).wait().unwrap().success());

    let [whole, killed] = [whole, killed].map(|folder| checkpoint::load(&folder).unwrap());
    assert_eq!(whole.extra, killed.extra, "reports on {device}");
    assert!(whole.state == killed.state, "states on {device}");
    let bytes = |loaded: &checkpoint::Loaded| std::fs::read(loaded.path.join("state.safetensors")).unwrap();
    assert!(bytes(&whole) == bytes(&killed), "files on {device}");
}

#[test]
fn a_run_that_is_killed_goes_on_byte_for_byte() {
    killed_and_resumed("cpu");
}

#[test]
fn a_run_on_a_gpu_learns_the_environment_and_goes_on_byte_for_byte() {
    if wgpu_of_test("a_run_on_a_gpu_learns_the_environment").is_none() {
        return;
    }
    let _guard = ONE_AT_A_TIME.lock();
    let names = [metrics::MODEL_HOLDOUT_MSE, metrics::EVAL_LENGTH];
    let (_, numbers) = trained(&["device=wgpu"], &names);
    let [errors, lengths] = &numbers[..] else { unreachable!() };
    assert!(errors[errors.len() - 1] < 0.5 * errors[0], "{errors:?}");
    assert!(lengths.len() == 3 && lengths.iter().all(|&length| length <= f64::from(hover::LIMIT)));
    killed_and_resumed("wgpu");
}

#[test]
fn a_key_of_the_loss_that_makes_no_sense_is_refused() {
    let config: Config = config::from_text(CONFIG, &["model.loss.delta=-1"]).unwrap();
    let error = config.open_with(&parts()).err().unwrap();
    assert!(error.to_string().starts_with("`model.loss.delta` is -1; it must be positive\nhint: "), "{error}");
}
