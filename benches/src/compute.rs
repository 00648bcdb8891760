//! Timing of the fixed workloads. They are those of `benches/peers`, whose README describes them in full.
//!
//! | workload | one iteration |
//! |---|---|
//! | `sgemm` | a square product, n = 1024 or 2048, by the `gemm` crate: this program's contribution to the peak |
//! | `layer`, `layer_gemm` | 256 rows through one 200×200 layer on one thread: by our register tiles, and by the `gemm` crate's product alone |
//! | `model_step` | a gradient step of 7 members, 14→200×4→24, 256 rows each, Gaussian likelihood, Adam with decay |
//! | `vagram_step` | a gradient step of 7 deterministic members with exact value gradients of four heads: a training call of 10,000 rows and 10 epochs, divided by its number of gradient steps |
//! | `sac_update` | one update: 256 rows, 11 observations, 3 actions, actor and twin critics 2×256, temperature, targets |
//! | `dh_update`, `dh_critic_update` | one update of DHMBPO through 5 steps of 8 Gaussian members 4×200: 256 rows, actor and 5 critics 2×256, draws included; the update of the critics alone |
//! | `rollout_10k_5`, `rollout_100k_1` | imagined rollouts of 5 steps from 10,000 states, and of 1 step from 100,000 ([`crate::rollout`]); also `rollout_100k_5`, if named |
//! | `pendulum_mbpo` | a real step of a whole run, start-up included |
//! | `launch`, `launch_scalar` | one of many launches of a tiny kernel on a GPU, with a constant or with a changing argument ([`crate::launch`]) |

use std::time::Instant;

use anyhow::ensure;
use burn::tensor::Device;
use clap::ValueEnum;
use foresee_nn::device::DeviceChoice;
use foresee_nn::host;
use serde_json::json;

use crate::{launch, machine, rollout, workloads};

/// The workloads that can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// Square matrix products
    Sgemm,
    /// One layer, one thread, by our register tiles
    Layer,
    /// The product of such a layer by the gemm crate
    LayerGemm,
    /// The ensemble's gradient step under the likelihood
    ModelStep,
    /// The ensemble's gradient step under VaGraM
    VagramStep,
    /// One update of SAC
    SacUpdate,
    /// One update of DHMBPO
    DhUpdate,
    /// One update of DHMBPO's critics alone
    DhCriticUpdate,
    /// Imagined rollouts, 10,000 states by 5 steps
    #[value(name = "rollout_10k_5")]
    Rollout10k5,
    /// Imagined rollouts, 100,000 states by 1 step
    #[value(name = "rollout_100k_1")]
    Rollout100k1,
    /// Imagined rollouts, 100,000 states by 5 steps: for GPUs
    #[value(name = "rollout_100k_5")]
    Rollout100k5,
    /// A whole run of MBPO on Pendulum, which takes minutes
    PendulumMbpo,
    /// Launches of a tiny kernel: for GPUs
    Launch,
    /// Launches of a tiny kernel, each with another argument: for GPUs
    LaunchScalar,
}

impl Workload {
    /// The workloads that are timed if none is named: all but the whole run and those for GPUs.
    pub(crate) const PARTS: [Self; 10] = [
        Self::Sgemm,
        Self::Layer,
        Self::LayerGemm,
        Self::ModelStep,
        Self::VagramStep,
        Self::SacUpdate,
        Self::DhUpdate,
        Self::DhCriticUpdate,
        Self::Rollout10k5,
        Self::Rollout100k1,
    ];

    /// The workload's name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sgemm => "sgemm",
            Self::Layer => "layer",
            Self::LayerGemm => "layer_gemm",
            Self::ModelStep => "model_step",
            Self::VagramStep => "vagram_step",
            Self::SacUpdate => "sac_update",
            Self::DhUpdate => "dh_update",
            Self::DhCriticUpdate => "dh_critic_update",
            Self::Rollout10k5 => "rollout_10k_5",
            Self::Rollout100k1 => "rollout_100k_1",
            Self::Rollout100k5 => "rollout_100k_5",
            Self::PendulumMbpo => "pendulum_mbpo",
            Self::Launch => "launch",
            Self::LaunchScalar => "launch_scalar",
        }
    }
}

/// Percentiles of the time of an iteration, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Milliseconds {
    /// Time of the fastest iteration.
    pub fastest: f64,
    /// 10th percentile.
    pub p10: f64,
    /// Median.
    pub median: f64,
    /// 90th percentile.
    pub p90: f64,
}

/// The time of an iteration, and the amount of its work.
pub(crate) struct Timing {
    /// Time of an iteration.
    pub ms: Milliseconds,
    /// Floating-point operations of an iteration, if they are counted.
    pub flops: Option<f64>,
    /// Imagined transitions of an iteration, if there are any.
    pub transitions: Option<f64>,
}

impl Timing {
    /// GFLOP/s of the median iteration.
    pub(crate) fn gflops(&self) -> Option<f64> {
        self.flops.map(|flops| flops / self.ms.median / 1e6)
    }

    /// GFLOP/s of the fastest iteration, which counts for a peak.
    pub(crate) fn best_gflops(&self) -> Option<f64> {
        self.flops.map(|flops| flops / self.ms.fastest / 1e6)
    }
}

/// Times workloads and prints the results. The peak, in GFLOP/s, is the fastest `sgemm` of this run, or `peak` if it is
/// given and larger.
#[allow(clippy::print_stdout)]
pub(crate) fn run(
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
/// If the device is unavailable, or the workload is only for the CPU or only for a GPU and the device is not.
pub(crate) fn timing(workload: Workload, choice: DeviceChoice, repeat: Repeat) -> anyhow::Result<Timing> {
    let (name, cpu) = (workload.name(), choice == DeviceChoice::Cpu);
    ensure!(
        cpu || !matches!(workload, Workload::Sgemm | Workload::Layer | Workload::LayerGemm),
        "workload `{name}` runs only on the CPU\nhint: leave `--device` out, or choose another workload"
    );
    let device = choice.open()?;
    ensure!(
        !host::is_host(&device) || !matches!(workload, Workload::Launch | Workload::LaunchScalar),
        "workload `{name}` runs only on a GPU, and `{choice}` is not a GPU\nhint: use `--device wgpu`, or choose another workload"
    );
    Ok(match workload {
        Workload::Sgemm => workloads::sgemm(repeat),
        Workload::Layer => workloads::layer(repeat),
        Workload::LayerGemm => workloads::layer_gemm(repeat),
        Workload::ModelStep => workloads::model_step(&device, repeat)?,
        Workload::VagramStep => workloads::vagram_step(&device, repeat)?,
        Workload::SacUpdate => workloads::sac_update(&device, repeat),
        Workload::DhUpdate => workloads::dh_update(&device, repeat, false)?,
        Workload::DhCriticUpdate => workloads::dh_update(&device, repeat, true)?,
        Workload::Rollout10k5 => rollout::run(&device, [10_000, 5], repeat),
        Workload::Rollout100k1 => rollout::run(&device, [100_000, 1], repeat),
        Workload::Rollout100k5 => rollout::run(&device, [100_000, 5], repeat),
        Workload::PendulumMbpo => workloads::pendulum_mbpo(choice)?,
        Workload::Launch => launch::run(&device, false, repeat),
        Workload::LaunchScalar => launch::run(&device, true, repeat),
    })
}

/// The number of repetitions of an iteration.
#[derive(Clone, Copy)]
pub(crate) enum Repeat<'a> {
    /// Repetitions for this number of seconds; 0 for a single iteration without warm-up.
    For(f64),
    /// One iteration for warm-up, and one under an observer. On a device that works asynchronously an iteration has
    /// this number of steps.
    Observed(&'a dyn Observer, usize),
}

/// An observer of one iteration.
pub(crate) trait Observer {
    /// Runs the iteration, which consists of `steps` steps.
    fn observe(&self, steps: f64, iteration: &mut dyn FnMut());
}

/// Times an iteration. Milliseconds are divided by `per`, its number of steps.
pub(crate) fn time(repeat: Repeat, at_least: usize, per: f64, mut iteration: impl FnMut()) -> Milliseconds {
    let (seconds, at_least) = match repeat {
        Repeat::For(seconds) if seconds > 0.0 => (seconds, at_least),
        Repeat::For(_) => (0.0, 1),
        Repeat::Observed(observer, _) => {
            iteration();
            let started = Instant::now();
            observer.observe(per, &mut iteration);
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

/// Returns the number of steps to time as one iteration. On a device that works asynchronously, the host waits at the
/// end of an iteration.
pub(crate) fn steps_per_iteration(device: &Device, repeat: Repeat) -> usize {
    match repeat {
        _ if host::is_host(device) => 1,
        Repeat::For(seconds) => {
            if seconds > 0.0 {
                20
            } else {
                1
            }
        }
        Repeat::Observed(_, steps) => steps,
    }
}

/// Waits for a device that works asynchronously.
pub(crate) fn wait(device: &Device) {
    if !host::is_host(device) {
        device.sync().expect("a device that answers");
    }
}
