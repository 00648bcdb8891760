//! The workloads for the CPU and for GPUs, and the whole run. Each function sets a workload up and times its iteration.

use std::time::Instant;

use anyhow::ensure;
use burn::tensor::{Device, Tensor};
use foresee_actor_critic::preparation::RealTransitions;
use foresee_actor_critic::{
    Agent, BatchRef, Dhmbpo, DhmbpoConfig, Noise, Sac, SacConfig, StreamNoise, TensorBatch, Update,
};
use foresee_core::{Batch, Stream, Termination};
use foresee_dyna::rollout::tensors::TaskDynamics;
use foresee_dyna::{Config, Run};
use foresee_nn::cpu::{self, Activation, Layout, Scratch, Shape};
use foresee_nn::device::DeviceChoice;
use foresee_nn::{ValueHeads, host, tensors};
use foresee_world_model::config::{EnsembleConfig, FitConfig, LossConfig};
use foresee_world_model::{ModelConfig, Trainer, loss};

use crate::compute::{Milliseconds, Repeat, Timing, steps_per_iteration, time, wait};

/// Number of entries of an observation, `O`.
pub(crate) const OBS: usize = 11;
/// Number of entries of an action, `A`.
pub(crate) const ACT: usize = 3;
/// Number of rows of a batch, `B`.
const ROWS: usize = 256;
/// Number of rows of a training call: 16 are held out, and the others fill 39 batches of 256.
const REPLAY: usize = 10_000;
const HOLDOUT: f64 = 0.0016;
const EPOCHS: usize = 10;

fn normals(name: &str, rows: usize, columns: usize) -> Vec<f32> {
    Stream::new(0, name).normals(0, rows, columns)
}

/// Returns a batch of `rows` random transitions that do not terminate.
pub(crate) fn batch(rows: usize) -> Batch {
    Batch {
        rows,
        obs: normals("obs", rows, OBS),
        action: normals("action", rows, ACT).into_iter().map(f32::tanh).collect(),
        reward: normals("reward", rows, 1),
        next_obs: normals("next_obs", rows, OBS),
        not_terminated: vec![1.0; rows],
    }
}

/// Computes C ← A B for row-major matrices, `[m, k]` times `[k, n]`.
fn product([m, n, k]: [usize; 3], a: &[f32], b: &[f32], c: &mut [f32], parallel: gemm::Parallelism) {
    assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n, "row-major matrices");
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    let [of_a, of_b, of_c] = [k, n, n].map(|row| row as isize);
    #[allow(unsafe_code, reason = "the `gemm` crate takes pointers")]
    // SAFETY: the pointers are those of slices with m·k, k·n and m·n numbers, as asserted above. Columns have stride 1
    // and rows the stride of a row-major matrix, so every index is inside its slice. `c` is borrowed mutably, so it
    // overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(m, n, k, c, 1, of_c, false, a, 1, of_a, b, 1, of_b, 0.0, 1.0, false, false, false, parallel);
    }
}

/// Times square products of two sizes, and returns the faster one.
pub(crate) fn sgemm(repeat: Repeat) -> Timing {
    let half = match repeat {
        Repeat::For(seconds) => Repeat::For(seconds / 2.0),
        observed @ Repeat::Observed(..) => observed,
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

/// Number of rows and width of the layer.
const LAYER: [usize; 2] = [256, 200];

/// Times one layer on one thread, by the register tiles of [`cpu::infer`].
pub(crate) fn layer(repeat: Repeat) -> Timing {
    let [rows, width] = LAYER;
    let shape = Shape {
        members: 1,
        inputs: width,
        hidden: vec![],
        outputs: width,
        activation: Activation::Identity,
        layer_norm: false,
        normalized_features: false,
        hidden_norms: vec![],
    };
    let layout = Layout::new(shape);
    let (weights, x) = (normals("weights", layout.parameters(), 1), normals("x", rows, width));
    let (mut y, mut scratch) = (vec![0.0; rows * width], Scratch::default());
    let ms = time(repeat, 50, 1.0, || cpu::infer(&layout, &weights, &x, &mut y, &mut scratch));
    Timing { ms, flops: Some((2 * rows * width * width) as f64), transitions: None }
}

/// Times the matrix product of one layer on one thread, by the `gemm` crate.
pub(crate) fn layer_gemm(repeat: Repeat) -> Timing {
    let [rows, width] = LAYER;
    let (weights, x, mut y) = (normals("weights", width, width), normals("x", rows, width), vec![0.0; rows * width]);
    let ms = time(repeat, 50, 1.0, || product([rows, width, width], &x, &weights, &mut y, gemm::Parallelism::None));
    Timing { ms, flops: Some((2 * rows * width * width) as f64), transitions: None }
}

/// Returns the operations of a gradient step of the ensemble: forward, and backward without the gradient of the inputs.
fn model_flops(outputs: usize) -> f64 {
    let weights = (OBS + ACT) * 200 + 3 * 200 * 200 + 200 * outputs;
    (2 * ROWS * 7 * (3 * weights - (OBS + ACT) * 200)) as f64
}

/// Returns the operations of `model_step`.
pub(crate) fn flops_of_a_model_step() -> f64 {
    model_flops(2 * (OBS + 1))
}

/// Returns a trainer under the given loss.
fn trainer(loss: &str, device: &Device) -> anyhow::Result<Trainer> {
    let config = ModelConfig {
        loss: LossConfig { add_mse_until: 0, ..LossConfig::named(loss) },
        fit: FitConfig { holdout: HOLDOUT, batch: ROWS, decay: 1e-5, ..FitConfig::default() },
        ..ModelConfig::default()
    };
    let loss = config.loss.choose(&loss::shipped())?.0;
    Ok(Trainer::new(&config, loss, [OBS, ACT], 0, device))
}

/// Times a gradient step of the ensemble under the Gaussian likelihood.
pub(crate) fn model_step(device: &Device, repeat: Repeat) -> anyhow::Result<Timing> {
    let agent = Sac::new(&SacConfig::default(), [OBS, ACT], 0, device);
    let mut trainer = trainer("mle", device)?;
    let view = agent.values(ValueHeads::All, false);
    let mut fit = trainer.begin(&batch(REPLAY), &*view, 0, 0);
    let steps = steps_per_iteration(device, repeat);
    let ms = time(repeat, 50 / steps, steps as f64, || {
        (0..steps).for_each(|_| drop(trainer.gradient_step(&mut fit, &*view)));
        wait(device);
    });
    Ok(Timing { ms, flops: Some(flops_of_a_model_step()), transitions: None })
}

/// Times a training call under VaGraM, begun with value gradients, per gradient step.
pub(crate) fn vagram_step(device: &Device, repeat: Repeat) -> anyhow::Result<Timing> {
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

/// Fixed normals for every update, so that drawing them is not timed.
struct FixedNoise {
    /// Name of each stream, with its normals on the device and in host memory.
    normals: [(&'static str, Tensor<2>, Vec<f32>); 2],
}

impl FixedNoise {
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

impl Noise for FixedNoise {
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

/// Times an update of SAC.
pub(crate) fn sac_update(device: &Device, repeat: Repeat) -> Timing {
    let mut agent = Sac::new(&SacConfig::default(), [OBS, ACT], 0, device);
    let (batch, noise) = (batch(ROWS), FixedNoise::new(agent.noise_streams(), device));
    let updates = steps_per_iteration(device, repeat);
    let ms = if host::is_host(device) {
        time(repeat, 50, 1.0, || {
            agent.update(Update { batch: BatchRef::Host(&batch), noise: &noise, dynamics: None, critic_only: false });
        })
    } else {
        // As in a run, the batch and its noise are already on the device.
        let batch = TensorBatch::new(&batch, [OBS, ACT], device);
        time(repeat, 50 / updates, updates as f64, || {
            for _ in 0..updates {
                agent.update(Update {
                    batch: BatchRef::Device(&batch),
                    noise: &noise,
                    dynamics: None,
                    critic_only: false,
                });
            }
            wait(device);
        })
    };
    let actor = OBS * 256 + 256 * 256 + 256 * 2 * ACT;
    let critic = (OBS + ACT) * 256 + 256 * 256 + 256;
    // The actor runs once at s' and is trained at s. The two critics run at s', are trained at s, and propagate the
    // actor's gradient.
    let flops = (2 * ROWS * (actor * (1 + 3) + 2 * critic * (1 + 3 + 2))) as f64;
    Timing { ms, flops: Some(flops), transitions: None }
}

/// Returns the number of weights of a network with layers `[inputs, …, outputs]`.
fn weights(widths: &[usize]) -> usize {
    widths.windows(2).map(|pair| pair[0] * pair[1]).sum()
}

/// Times an update of DHMBPO, or with `critic_only` an update of its critics alone.
pub(crate) fn dh_update(device: &Device, repeat: Repeat, critic_only: bool) -> anyhow::Result<Timing> {
    let config = DhmbpoConfig::default();
    let mut agent = Dhmbpo::new(&config, [OBS, ACT], 0, device);
    agent.observe(RealTransitions { obs: &normals("observed", 1000, OBS), ..RealTransitions::default() });
    let ensemble = EnsembleConfig { members: 8, elites: 8, ..EnsembleConfig::default() };
    let config_of_model = ModelConfig { ensemble, loss: LossConfig::named("mle"), ..ModelConfig::default() };
    let loss = config_of_model.loss.choose(&loss::shipped())?.0;
    let model = Trainer::new(&config_of_model, loss, [OBS, ACT], 0, device);
    let termination = Termination::never();
    let dynamics = TaskDynamics { model: &model, termination: (&termination).into() };
    let batch = batch(ROWS);
    let mut update = 0;
    let ms = time(repeat, 20, 1.0, || {
        let noise = StreamNoise { seed: 0, update };
        let batch = BatchRef::Host(&batch);
        agent.update(Update { batch, noise: &noise, dynamics: Some(&dynamics), critic_only });
        wait(device);
        update += 1;
    });
    let (horizon, critics) = (config.horizon, config.critics);
    let actor = weights(&[OBS, 256, 256, 2 * ACT]);
    let (critic, model) =
        (weights(&[OBS + ACT, 256, 256, 1]), weights(&[OBS + ACT, 200, 200, 200, 200, 2 * (OBS + 1)]));
    // Actor and model forward; some target critics at the end; all critics forward and backward at the start.
    let forward = actor * (horizon + 1) + model * horizon + critic * (config.target_subset + critics * 3);
    // The critics at the end forward and back to their inputs; the model back to its inputs; the actor back to weights
    // and inputs.
    let backward = critic * critics * 2 + model * horizon + actor * (horizon + 1) * 2;
    let flops = (2 * ROWS * (forward + if critic_only { 0 } else { backward })) as f64;
    Ok(Timing { ms, flops: Some(flops), transitions: None })
}

/// Times a whole run of MBPO on Pendulum, per real step.
pub(crate) fn pendulum_mbpo(device: DeviceChoice) -> anyhow::Result<Timing> {
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
