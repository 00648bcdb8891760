//! A loss of one's own, selected by its name in a config: a squared error in which the reward counts more than an
//! observation entry.
//!
//! ```text
//! cargo run --release -p foresee --example own_loss
//! ```

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use foresee::loss::{LossInput, ModelLoss};
use foresee::tensor::Tensor;
use foresee::{Config, Kind, Parts, Run, config, metrics};
use serde::{Deserialize, Serialize};

/// The loss (Σ_d err_d² + weight · err_reward²) / (O + weight). Its fields are its keys in `[model.loss]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RewardFirst {
    /// Weight of the reward relative to one observation entry.
    weight: f64,
}

impl Default for RewardFirst {
    fn default() -> Self {
        Self { weight: 10.0 }
    }
}

impl ModelLoss for RewardFirst {
    /// The specification, `[E, B]`. It is the only required method, and works on every device.
    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
        let (err, reward) = input.errors();
        let entries = err.dims()[2] as f64 + self.weight;
        let obs = err.square().sum_dim(2).squeeze_dim::<2>(2);
        (obs + reward.mul_scalar(self.weight)).div_scalar(entries)
    }
}

/// The config of the run, which selects the loss by its name.
const CONFIG: &str = r#"
seed = 1
env.id = "Pendulum-v1"
training = { env_steps = 600, explore_steps = 200, updates_per_step = 1, eval_every = 600, eval_episodes = 2 }
agent = { hidden = [32, 32], batch = 32 }

[model]
ensemble = { members = 3, elites = 2, hidden = [64, 64] }
loss = { kind = "reward_first", weight = 5 }
fit = { every = 100, max_steps = 500 }

[rollout]
starts_per_step = 5
"#;

/// Trains a run and returns the holdout scores of its fits: the mean loss on transitions that were not trained on.
pub(crate) fn run(out: &mut impl Write) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut parts = Parts::default();
    parts.losses.add(Kind::new("reward_first", "squared error with a weight on the reward", |loss: RewardFirst| {
        if loss.weight > 0.0 {
            Ok(Arc::new(loss) as Arc<dyn ModelLoss>)
        } else {
            Err(format!("`model.loss.weight` is {}; it must be positive\nhint: the default is 10", loss.weight))
        }
    }));

    let config: Config = config::from_text(CONFIG, &[])?;
    let mut run = Run::begin(config.open_with(&parts)?)?;
    let mut records = Vec::new();
    while !run.is_done() {
        run.advance(&mut records)?;
    }

    writeln!(out, "{:>5} {:>15} {:>15}", "step", "own score", "squared error")?;
    let mut scores = Vec::new();
    for record in &records {
        let number = |name| record.values.iter().find(|(known, _)| *known == name).map(|&(_, value)| value);
        if let (Some(score), Some(mse)) = (number(metrics::MODEL_HOLDOUT_SCORE), number(metrics::MODEL_HOLDOUT_MSE)) {
            writeln!(out, "{:>5} {score:>15.5} {mse:>15.5}", record.env_step)?;
            scores.push(score);
        }
    }
    Ok(scores)
}

fn main() -> Result<(), Box<dyn Error>> {
    run(&mut std::io::stdout()).map(drop)
}
