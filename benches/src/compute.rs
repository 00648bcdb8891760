//! How fast the parts are. The workloads are those of `benches/peers`, whose README has them in full.
//!
//! | workload | one iteration |
//! |---|---|
//! | `sgemm` | a square product, n = 1024 or 2048, by the `gemm` crate: this program's share in finding the peak |
//! | `layer`, `layer_gemm` | 256 rows through one 200×200 layer on one thread: by our register tiles, and by the `gemm` crate's product alone |
//! | `model_step` | gradient step of 7 members, 14→200×4→24, 256 rows each, Gaussian likelihood, Adam with decay |
//! | `vagram_step` | gradient step of 7 deterministic members with exact value gradients of four heads: a training call of 10,000 rows and 10 epochs over its gradient steps |
//! | `sac_update` | one update: 256 rows, 11 observations, 3 actions, actor and twin critics 2×256, temperature, targets |
//! | `rollout_10k_5`, `rollout_100k_1` | imagined rollouts of 5 steps from 10,000 states, of 1 step from 100,000 ([`crate::rollout`]); `rollout_100k_5` if named |
//! | `pendulum_mbpo` | a real step of a whole run, start-up included |
//! | `launch`, `launch_scalar` | one of many launches of a tiny kernel on a GPU, its argument the same or another every time ([`crate::launch`]) |

use std::time::Instant;

use anyhow::ensure;
use burn::tensor::{Device, Tensor};
use clap::ValueEnum;
use foresee_actor_critic::{Agent, BatchRef, Noise, Sac, SacConfig, TensorBatch, Update};
use foresee_core::{Batch, Stream};
use foresee_dyna::{Config, Run};
use foresee_nn::cpu::{self, Activation, Layout, Scratch, Shape};
use foresee_nn::device::DeviceChoice;
use foresee_nn::{ValueHeads, host, tensors};
use foresee_world_model::config::{FitConfig, LossConfig};
use foresee_world_model::{ModelConfig, Trainer, loss};
use serde_json::json;

use crate::{launch, machine, rollout};

pub const OBS: usize = 11;
pub const ACT: usize = 3;
const ROWS: usize = 256;
/// Rows of a training call; 16 of them are held out, and 39 batches of 256 are left.
const REPLAY: usize = 10_000;
const HOLDOUT: f64 = 0.0016;
const EPOCHS: usize = 10;

/// What can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Workload {
    /// Square matrix products
    Sgemm,
    /// One layer, one thread, by our register tiles
    Layer,
    /// The product of that layer by the gemm crate
    LayerGemm,
    /// The ensemble's gradient step under the likelihood
    ModelStep,
    /// The ensemble's gradient step under VaGraM
    VagramStep,
    /// One update of SAC
    SacUpdate,
    /// Imagined rollouts, 10,000 states by 5 steps
    #[value(name = "rollout_10k_5")]
    Rollout10k5,
    /// Imagined rollouts, 100,000 states by 1 step
    #[value(name = "rollout_100k_1")]
    Rollout100k1,
    /// Imagined rollouts, 100,000 states by 5 steps: for GPUs
    #[value(name = "rollout_100k_5")]
    Rollout100k5,
    /// A whole run of MBPO on Pendulum: minutes
    PendulumMbpo,
    /// Launches of a tiny kernel: for GPUs
    Launch,
    /// Launches of a tiny kernel, each with an argument of its own: for GPUs
    LaunchScalar,
}

impl Workload {
    /// What is timed if nothing is named: all but the whole run.
    pub const PARTS: [Self; 8] = [
        Self::Sgemm,
        Self::Layer,
        Self::LayerGemm,
        Self::ModelStep,
        Self::VagramStep,
        Self::SacUpdate,
        Self::Rollout10k5,
        Self::Rollout100k1,
    ];

    /// The word that names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgemm => "sgemm",
            Self::Layer => "layer",
            Self::LayerGemm => "layer_gemm",
            Self::ModelStep => "model_step",
            Self::VagramStep => "vagram_step",
            Self::SacUpdate => "sac_update",
            Self::Rollout10k5 => "rollout_10k_5",
            Self::Rollout100k1 => "rollout_100k_1",
            Self::Rollout100k5 => "rollout_100k_5",
            Self::PendulumMbpo => "pendulum_mbpo",
            Self::Launch => "launch",
            Self::LaunchScalar => "launch_scalar",
        }
    }
}

/// Milliseconds an iteration.
#[derive(Clone, Copy)]
pub struct Milliseconds {
    fastest: f64,
    p10: f64,
    pub median: f64,
    p90: f64,
}

/// Milliseconds an iteration, and what it computes.
pub struct Timing {
    pub ms: Milliseconds,
    /// Floating-point operations of an iteration, where they are counted.
    pub flops: Option<f64>,
    /// Imagined transitions of an iteration.
    pub transitions: Option<f64>,
}

impl Timing {
    /// GFLOP/s at the median.
    pub fn gflops(&self) -> Option<f64> {
        self.flops.map(|flops| flops / self.ms.median / 1e6)
    }

    /// GFLOP/s of the fastest iteration: what counts for a peak.
    fn best_gflops(&self) -> Option<f64> {
        self.flops.map(|flops| flops / self.ms.fastest / 1e6)
    }
}

/// Times workloads and prints them. The peak, GFLOP/s, is `peak` if given, else the fastest `sgemm` of this run.
#[allow(clippy::print_stdout)]
pub fn run(
    workloads: &[Workload],
    choice: DeviceChoice,
    as_json: bool,
    seconds: f64,
    peak: Option<f64>,
) -> anyhow::Result<()> {
    let threads = rayon::current_num_threads();
    choice.open()?;
    let adapter = machine::adapter_of(choice);
    if !as_json {
        if let Some((adapter, _)) = &adapter {
            println!("{adapter}");
        }
        println!("{}; commit {}; {threads} threads; {}", machine::describe(), machine::commit(), machine::simd());
        println!(
            "{:<14} {:>10} {:>10} {:>10} {:>9} {:>6}",
            "workload", "median ms", "p10 ms", "p90 ms", "GFLOP/s", "peak"
        );
    }
    let mut peak = peak;
    for &workload in workloads {
        let timing = timing(workload, choice, Repeat::For(seconds))?;
        if workload == Workload::Sgemm {
            peak = Some(peak.unwrap_or(0.0).max(timing.best_gflops().unwrap_or(0.0)));
        }
        let gflops = if workload == Workload::Sgemm { timing.best_gflops() } else { timing.gflops() };
        let share = gflops.zip(peak).map(|(gflops, peak)| gflops / peak);
        let (name, Milliseconds { fastest, p10, median, p90 }) = (workload.name(), timing.ms);
        if as_json {
            let mut line = json!({
                "workload": name, "median_ms": median, "p10_ms": p10, "p90_ms": p90, "min_ms": fastest,
                "device": choice, "threads": threads, "gflops": gflops, "peak_share": share,
                "commit": machine::commit(),
            });
            if let Some((_, adapter)) = &adapter {
                line["adapter"] = adapter.clone();
            }
            if let Some(transitions) = timing.transitions {
                line["transitions_per_s"] = json!(1e3 * transitions / median);
            }
            if workload == Workload::PendulumMbpo {
                line["peak_rss_mb"] = json!(machine::peak_rss_mb());
            }
            println!("{line}");
        } else {
            let gflops = gflops.map_or_else(String::new, |gflops| format!("{gflops:.1}"));
            let share = share.map_or_else(String::new, |share| format!("{:.0} %", 100.0 * share));
            println!("{name:<14} {median:>10.3} {p10:>10.3} {p90:>10.3} {gflops:>9} {share:>6}");
        }
    }
    Ok(())
}

/// Times one workload.
///
/// # Errors
/// If there is no such device, or the workload is the processor's or a GPU's alone.
pub fn timing(workload: Workload, choice: DeviceChoice, repeat: Repeat) -> anyhow::Result<Timing> {
    let (name, cpu) = (workload.name(), choice == DeviceChoice::Cpu);
    ensure!(
        cpu || !matches!(workload, Workload::Sgemm | Workload::Layer | Workload::LayerGemm),
        "`{name}` is timed on the processor alone\nhint: leave `--device` out, or name another workload"
    );
    let device = choice.open()?;
    ensure!(
        !host::is_host(&device) || !matches!(workload, Workload::Launch | Workload::LaunchScalar),
        "`{name}` is timed on a GPU alone, and `{choice}` is none\nhint: `--device wgpu`, or another workload"
    );
    Ok(match workload {
        Workload::Sgemm => sgemm(repeat),
        Workload::Layer => layer(repeat),
        Workload::LayerGemm => layer_gemm(repeat),
        Workload::ModelStep => model_step(&device, repeat)?,
        Workload::VagramStep => vagram_step(&device, repeat)?,
        Workload::SacUpdate => sac_update(&device, repeat),
        Workload::Rollout10k5 => rollout::run(&device, [10_000, 5], repeat),
        Workload::Rollout100k1 => rollout::run(&device, [100_000, 1], repeat),
        Workload::Rollout100k5 => rollout::run(&device, [100_000, 5], repeat),
        Workload::PendulumMbpo => pendulum_mbpo(choice)?,
        Workload::Launch => launch::run(&device, false, repeat),
        Workload::LaunchScalar => launch::run(&device, true, repeat),
    })
}

/// How often an iteration is repeated.
#[derive(Clone, Copy)]
pub enum Repeat<'a> {
    /// As often as so many seconds allow; for 0 just once, and cold.
    For(f64),
    /// Once to warm up, and once while something watches; so many steps an iteration where a device is waited for.
    Watched(&'a dyn Watch, usize),
}

/// What watches an iteration.
pub trait Watch {
    /// Runs the iteration, which is so many steps.
    fn watch(&self, steps: f64, iteration: &mut dyn FnMut());
}

/// Times an iteration; milliseconds are divided by `per`, the steps that it is.
pub fn time(repeat: Repeat, at_least: usize, per: f64, mut iteration: impl FnMut()) -> Milliseconds {
    let (seconds, at_least) = match repeat {
        Repeat::For(seconds) if seconds > 0.0 => (seconds, at_least),
        Repeat::For(_) => (0.0, 1),
        Repeat::Watched(watch, _) => {
            iteration();
            let started = Instant::now();
            watch.watch(per, &mut iteration);
            let ms = started.elapsed().as_secs_f64() * 1e3 / per;
            return Milliseconds { fastest: ms, p10: ms, median: ms, p90: ms };
        }
    };
    let warm_up = Instant::now();
    while seconds > 0.0 && warm_up.elapsed().as_secs_f64() < 0.2 {
        iteration();
    }
    let (started, mut times) = (Instant::now(), Vec::new());
    while times.len() < at_least || started.elapsed().as_secs_f64() < seconds {
        let one = Instant::now();
        iteration();
        times.push(one.elapsed().as_secs_f64() * 1e3 / per);
    }
    times.sort_unstable_by(f64::total_cmp);
    let [fastest, p10, median, p90] =
        [0.0, 0.1, 0.5, 0.9].map(|q| times[(q * (times.len() - 1) as f64).round() as usize]);
    Milliseconds { fastest, p10, median, p90 }
}

/// Steps that are timed as one iteration: a device that works behind the host's back is waited for at their end.
fn together(device: &Device, repeat: Repeat) -> usize {
    match repeat {
        _ if host::is_host(device) => 1,
        Repeat::For(seconds) => {
            if seconds > 0.0 {
                20
            } else {
                1
            }
        }
        Repeat::Watched(_, steps) => steps,
    }
}

/// Waits for a device that works behind the host's back.
pub fn wait(device: &Device) {
    if !host::is_host(device) {
        device.sync().expect("a device that answers");
    }
}

fn normals(name: &str, rows: usize, columns: usize) -> Vec<f32> {
    Stream::new(0, name).normals(0, rows, columns)
}

pub fn batch(rows: usize) -> Batch {
    Batch {
        rows,
        obs: normals("obs", rows, OBS),
        action: normals("action", rows, ACT).into_iter().map(f32::tanh).collect(),
        reward: normals("reward", rows, 1),
        next_obs: normals("next_obs", rows, OBS),
        not_terminated: vec![1.0; rows],
    }
}

/// C ← A B, row-major, `[m, k]` by `[k, n]`.
fn product([m, n, k]: [usize; 3], a: &[f32], b: &[f32], c: &mut [f32], parallel: gemm::Parallelism) {
    assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n, "row-major matrices");
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    let [of_a, of_b, of_c] = [k, n, n].map(|row| row as isize);
    // Safety: the matrices have these sizes.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(m, n, k, c, 1, of_c, false, a, 1, of_a, b, 1, of_b, 0.0, 1.0, false, false, false, parallel);
    }
}

/// The faster of two sizes.
fn sgemm(repeat: Repeat) -> Timing {
    let half = match repeat {
        Repeat::For(seconds) => Repeat::For(seconds / 2.0),
        watched @ Repeat::Watched(..) => watched,
    };
    let of_size = |n: usize| {
        let (a, b, mut c) = (normals("a", n, n), normals("b", n, n), vec![0.0_f32; n * n]);
        let parallel = gemm::Parallelism::Rayon(rayon::current_num_threads());
        let ms = time(half, 5, 1.0, || product([n; 3], &a, &b, &mut c, parallel));
        Timing { ms, flops: Some(2.0 * (n as f64).powi(3)), transitions: None }
    };
    let [small, large] = [1024, 2048].map(of_size);
    if small.best_gflops() > large.best_gflops() { small } else { large }
}

/// Rows and width of the layer.
const LAYER: [usize; 2] = [256, 200];

fn layer(repeat: Repeat) -> Timing {
    let [rows, width] = LAYER;
    let shape = Shape {
        members: 1,
        inputs: width,
        hidden: vec![],
        outputs: width,
        activation: Activation::Identity,
        layer_norm: false,
        normalized_features: false,
    };
    let layout = Layout::new(shape);
    let (weights, x) = (normals("weights", layout.parameters(), 1), normals("x", rows, width));
    let (mut y, mut scratch) = (vec![0.0; rows * width], Scratch::default());
    let ms = time(repeat, 50, 1.0, || cpu::infer(&layout, &weights, &x, &mut y, &mut scratch));
    Timing { ms, flops: Some((2 * rows * width * width) as f64), transitions: None }
}

fn layer_gemm(repeat: Repeat) -> Timing {
    let [rows, width] = LAYER;
    let (weights, x, mut y) = (normals("weights", width, width), normals("x", rows, width), vec![0.0; rows * width]);
    let ms = time(repeat, 50, 1.0, || product([rows, width, width], &x, &weights, &mut y, gemm::Parallelism::None));
    Timing { ms, flops: Some((2 * rows * width * width) as f64), transitions: None }
}

/// Operations of a gradient step of the ensemble: forward, and backward less the first layer's input gradient.
fn model_flops(outputs: usize) -> f64 {
    let weights = (OBS + ACT) * 200 + 3 * 200 * 200 + 200 * outputs;
    (2 * ROWS * 7 * (3 * weights - (OBS + ACT) * 200)) as f64
}

/// Operations of `model_step`.
pub fn flops_of_a_model_step() -> f64 {
    model_flops(2 * (OBS + 1))
}

/// A trainer under a loss, and its configuration.
fn trainer(loss: &str, device: &Device) -> anyhow::Result<Trainer> {
    let config = ModelConfig {
        loss: LossConfig { add_mse_until: 0, ..LossConfig::named(loss) },
        fit: FitConfig { holdout: HOLDOUT, batch: ROWS, decay: 1e-5, ..FitConfig::default() },
        ..ModelConfig::default()
    };
    let loss = config.loss.choose(&loss::shipped())?.0;
    Ok(Trainer::new(&config, loss, [OBS, ACT], 0, device))
}

fn model_step(device: &Device, repeat: Repeat) -> anyhow::Result<Timing> {
    let agent = Sac::new(&SacConfig::default(), [OBS, ACT], 0, device);
    let mut trainer = trainer("mle", device)?;
    let view = agent.values(ValueHeads::All, false);
    let mut fit = trainer.begin(&batch(REPLAY), &*view, 0, 0);
    let steps = together(device, repeat);
    let ms = time(repeat, 50 / steps, steps as f64, || {
        (0..steps).for_each(|_| drop(trainer.gradient_step(&mut fit, &*view)));
        wait(device);
    });
    Ok(Timing { ms, flops: Some(flops_of_a_model_step()), transitions: None })
}

fn vagram_step(device: &Device, repeat: Repeat) -> anyhow::Result<Timing> {
    let agent = Sac::new(&SacConfig::default(), [OBS, ACT], 0, device);
    let mut trainer = trainer("vagram", device)?;
    let (rows, steps) = (batch(REPLAY), EPOCHS * (REPLAY / ROWS));
    let mut call = 0;
    let ms = time(repeat, 3, steps as f64, || {
        let view = agent.values(ValueHeads::All, false);
        let mut fit = trainer.begin(&rows, &*view, call, 0);
        (0..steps).for_each(|_| drop(trainer.gradient_step(&mut fit, &*view)));
        wait(device);
        call += 1;
    });
    Ok(Timing { ms, flops: Some(model_flops(OBS + 1)), transitions: None })
}

/// Fixed normals for every update, so that the timing leaves out their drawing.
struct Drawn {
    /// By stream: on the device, and in host memory.
    normals: [(&'static str, Tensor<2>, Vec<f32>); 2],
}

impl Drawn {
    fn new(streams: &[&'static str], device: &Device) -> Self {
        let of = |stream: &'static str, name: &str| {
            let normals = normals(name, ROWS, ACT);
            (stream, tensors::from_vec(normals.clone(), [ROWS, ACT], device), normals)
        };
        Self { normals: [of(streams[0], "noise_next"), of(streams[1], "noise")] }
    }

    fn of(&self, name: &str) -> &(&'static str, Tensor<2>, Vec<f32>) {
        self.normals.iter().find(|(stream, ..)| *stream == name).expect("a stream that SAC draws")
    }
}

impl Noise for Drawn {
    fn normals(&self, name: &'static str, _: [usize; 2], _: &Device) -> Tensor<2> {
        self.of(name).1.clone()
    }

    fn normals_into(&self, name: &'static str, _: [usize; 2], out: &mut Vec<f32>) {
        out.clone_from(&self.of(name).2);
    }

    fn words(&self, _: &'static str, rows: usize) -> Vec<u32> {
        vec![0; rows]
    }
}

fn sac_update(device: &Device, repeat: Repeat) -> Timing {
    let mut agent = Sac::new(&SacConfig::default(), [OBS, ACT], 0, device);
    let (batch, noise) = (batch(ROWS), Drawn::new(agent.noise_streams(), device));
    let updates = together(device, repeat);
    let ms = if host::is_host(device) {
        time(repeat, 50, 1.0, || {
            agent.update(Update { batch: BatchRef::Host(&batch), noise: &noise, dynamics: None });
        })
    } else {
        // As in a run: the batch and its noise are on the device already.
        let batch = TensorBatch::new(&batch, [OBS, ACT], device);
        time(repeat, 50 / updates, updates as f64, || {
            for _ in 0..updates {
                agent.update(Update { batch: BatchRef::Device(&batch), noise: &noise, dynamics: None });
            }
            wait(device);
        })
    };
    let actor = OBS * 256 + 256 * 256 + 256 * 2 * ACT;
    let critic = (OBS + ACT) * 256 + 256 * 256 + 256;
    // The actor once at s' and trained at s; two critics at s', trained at s, and passed through.
    let flops = (2 * ROWS * (actor * (1 + 3) + 2 * critic * (1 + 3 + 2))) as f64;
    Timing { ms, flops: Some(flops), transitions: None }
}

fn pendulum_mbpo(device: DeviceChoice) -> anyhow::Result<Timing> {
    let started = Instant::now();
    let config = Config { device, ..toml::from_str(include_str!("pendulum_mbpo.toml"))? };
    let (mut run, mut records) = (Run::new(&config)?, Vec::new());
    while !run.is_done() {
        run.advance(&mut records)?;
        records.clear();
    }
    ensure!(run.env_step() == config.training.env_steps, "the run ended at step {}", run.env_step());
    let ms = started.elapsed().as_secs_f64() * 1e3 / config.training.env_steps as f64;
    Ok(Timing { ms: Milliseconds { fastest: ms, p10: ms, median: ms, p90: ms }, flops: None, transitions: None })
}
