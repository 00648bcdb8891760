//! `outside FOLDER [KEY=VALUE...]`: trains a run in a folder, from its newest checkpoint if there is one. A checkpoint
//! is saved after every real step that ends an interval. It holds everything that the run has reported, besides its
//! state.

use std::error::Error;
use std::path::Path;

use foresee::{Config, Run, checkpoint, config};
use serde_json::{Value, json};

const CONFIG: &str = include_str!("../config.toml");

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (folder, overrides) = args.split_first().ok_or("usage: outside FOLDER [KEY=VALUE...]")?;
    let folder = Path::new(folder);
    let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
    let config: Config = config::from_text(CONFIG, &overrides)?;
    let every = config.training.checkpoint_every;
    let setup = config.open_with(&outside::parts())?;

    let (mut run, mut reported) = match checkpoint::load(folder) {
        Ok(loaded) => {
            let Value::Array(reported) = loaded.extra else { return Err("another program's checkpoint".into()) };
            (Run::resume(setup, loaded.state)?, reported)
        }
        Err(checkpoint::CheckpointError::NoCheckpoint(_)) => (Run::begin(setup)?, Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut records = Vec::new();
    while !run.is_done() {
        run.advance(&mut records)?;
        for record in records.drain(..) {
            let values: Vec<Value> = record.values.iter().map(|(name, value)| json!([name, value])).collect();
            reported.push(json!([record.env_step, values]));
        }
        if run.is_due(every) || run.is_done() {
            checkpoint::save(folder, run.env_step(), &run.snapshot()?, &Value::Array(reported.clone()), 2)?;
        }
    }
    Ok(())
}
