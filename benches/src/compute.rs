//! How fast the parts are.
//!
//! | workload | one iteration |
//! |---|---|
//! | `model_step` | gradient step of 7 members, 14→200×4→24, 256 rows each, Gaussian likelihood, Adam with decay |
//! | `vagram_step` | the same with a deterministic head and value gradients of four heads, kept by replay row |
//! | `sac_update` | one update: 256 rows, 11 observations, 3 actions, actor and twin critics 2×256, temperature, targets |

use std::time::Instant;

use burn::tensor::Device;
use foresee_actor_critic::{AgentConfig, Sac, TensorBatch};
use foresee_core::{Batch, Stream};
use foresee_nn::device::DeviceChoice;
use foresee_nn::tensors;
use foresee_world_model::config::LossConfig;
use foresee_world_model::{LossKind, ModelConfig, Trainer};
use serde_json::json;

use crate::machine;

const OBS: usize = 11;
const ACT: usize = 3;
const ROWS: usize = 256;

/// One iteration, with all that it needs.
type Workload = Box<dyn FnMut()>;

/// Times all workloads and prints them.
#[allow(clippy::print_stdout)]
pub fn run(as_json: bool, seconds: f64) -> anyhow::Result<()> {
    let device = DeviceChoice::Cpu.open()?;
    if !as_json {
        println!("{}; commit {}; {} threads", machine::describe(), machine::commit(), rayon::current_num_threads());
        println!("{:<14} {:>10} {:>10} {:>10}", "workload", "median ms", "p10 ms", "p90 ms");
    }
    let workloads: [(&str, Workload); 3] = [
        ("model_step", model_step(LossKind::Mle, &device)),
        ("vagram_step", model_step(LossKind::Vagram, &device)),
        ("sac_update", sac_update(&device)),
    ];
    for (name, mut iteration) in workloads {
        let [p10, median, p90] = time(&mut iteration, seconds);
        if as_json {
            let threads = rayon::current_num_threads();
            println!(
                "{}",
                json!({"workload": name, "median_ms": median, "p10_ms": p10, "p90_ms": p90, "threads": threads})
            );
        } else {
            println!("{name:<14} {median:>10.3} {p10:>10.3} {p90:>10.3}");
        }
    }
    Ok(())
}

/// The 10th, 50th and 90th percentile of an iteration, ms.
fn time(iteration: &mut dyn FnMut(), seconds: f64) -> [f64; 3] {
    (0..10).for_each(|_| iteration());
    let (started, mut times) = (Instant::now(), Vec::new());
    while times.len() < 50 || started.elapsed().as_secs_f64() < seconds {
        let one = Instant::now();
        iteration();
        times.push(one.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_unstable_by(f64::total_cmp);
    [0.1, 0.5, 0.9].map(|q| times[(q * (times.len() - 1) as f64).round() as usize])
}

fn normals(name: &str, rows: usize, columns: usize) -> Vec<f32> {
    Stream::new(0, name).normals(0, rows, columns)
}

/// Gradient steps of a training call that never stops, one an iteration.
fn model_step(kind: LossKind, device: &Device) -> Workload {
    let config = ModelConfig { loss: LossConfig { kind, ..LossConfig::default() }, ..ModelConfig::default() };
    let n = 10_000;
    let rows = Batch {
        rows: n,
        obs: normals("obs", n, OBS),
        action: normals("action", n, ACT),
        reward: normals("reward", n, 1),
        next_obs: normals("next_obs", n, OBS),
        not_terminated: vec![1.0; n],
    };
    let agent = Sac::new(&AgentConfig::default(), [OBS, ACT], 0, device);
    let mut trainer = Trainer::new(&config, [OBS, ACT], 0, device);
    let mut fit = trainer.begin(&rows, &agent.values(), 0, u64::MAX);
    Box::new(move || {
        let _ = trainer.gradient_step(&mut fit);
    })
}

fn sac_update(device: &Device) -> Workload {
    let mut agent = Sac::new(&AgentConfig::default(), [OBS, ACT], 0, device);
    let tensor = |name: &str, columns: usize| tensors::from_vec(normals(name, ROWS, columns), [ROWS, columns], device);
    let batch = TensorBatch {
        obs: tensor("obs", OBS),
        action: tensor("action", ACT).tanh(),
        reward: tensor("reward", 1).reshape([ROWS]),
        next_obs: tensor("next_obs", OBS),
        not_terminated: tensors::from_vec(vec![1.0; ROWS], [ROWS], device),
    };
    let (noise_next, noise) = (tensor("noise_next", ACT), tensor("noise", ACT));
    Box::new(move || {
        let _ = agent.update(&batch, noise_next.clone(), noise.clone());
    })
}
