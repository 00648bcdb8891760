//! The agent of `algo = "dhmbpo"` with a model of a task, both with random weights.

use std::sync::Arc;

use burn::tensor::Device;
use foresee_actor_critic::dhmbpo::UpdateSizes;
use foresee_actor_critic::preparation::RealTransitions;
use foresee_actor_critic::{Agent, Dhmbpo, DhmbpoConfig};
use foresee_core::state::{Array, Data};
use foresee_core::termination::Bound;
use foresee_core::{Batch, State, Stream, Termination};
use foresee_nn::Parameters;
use foresee_world_model::config::{EnsembleConfig, Predicted};
use foresee_world_model::normalizer::Normalizer;
use foresee_world_model::{Head, ModelConfig, ModelLoss, Trainer, loss};

/// A task's model, its termination rule, and an agent.
pub(crate) struct Case {
    pub model: Trainer,
    pub termination: Termination,
    pub agent: Dhmbpo,
    pub config: DhmbpoConfig,
    pub dims: [usize; 2],
    pub rows: usize,
}

/// Returns the state with a little noise added to every number of its f32 arrays.
fn shaken(state: &State, seed: u64, width: f32) -> State {
    let mut out = State::new();
    for (i, (name, array)) in state.iter().enumerate() {
        let data = match &array.data {
            Data::F32(values) => {
                let noise = Stream::new(seed, "test/shaken").normals(i as u64, values.len(), 1);
                Data::F32(values.iter().zip(noise).map(|(x, z)| x + width * z).collect())
            }
            other => other.clone(),
        };
        out.put(name, Array::new(array.shape.clone(), data));
    }
    out
}

impl Case {
    /// Returns a case in host memory. `hidden` are the hidden layers of the agent and of the model.
    pub(crate) fn new(
        seed: u64,
        head: Head,
        dims: [usize; 2],
        hidden: [&[usize]; 2],
        rows: usize,
        config: DhmbpoConfig,
    ) -> Self {
        Self::on(&Device::flex(), seed, head, dims, hidden, rows, config)
    }

    /// Returns a case on a device. `hidden` are the hidden layers of the agent and of the model.
    pub(crate) fn on(
        device: &Device,
        seed: u64,
        head: Head,
        dims: [usize; 2],
        hidden: [&[usize]; 2],
        rows: usize,
        config: DhmbpoConfig,
    ) -> Self {
        let ensemble = EnsembleConfig {
            members: 4,
            elites: 3,
            hidden: hidden[1].to_vec(),
            predict: if seed % 4 == 3 { Predicted::NextObs } else { Predicted::Change },
            layer_norm: seed % 4 == 2,
            ..EnsembleConfig::default()
        };
        let of_model = ModelConfig { head: Some(head), ensemble, ..ModelConfig::default() };
        let loss: Arc<dyn ModelLoss> = Arc::new(loss::mse::Mse {});
        let mut model = Trainer::new(&of_model, loss, dims, seed, device);
        let moved = shaken(&model.ensemble.net.save(), seed, 0.2);
        model.ensemble.net.load(moved).expect("the same shapes");
        let width = dims[0] + dims[1];
        let data: Vec<f32> =
            Stream::new(seed, "test/inputs").normals(0, 40, width).iter().map(|x| 1.7 * x + 0.4).collect();
        model.ensemble.normalizer = Normalizer::from_rows(&data, width);
        model.ensemble.elites = vec![2, 0, 3];

        let config = DhmbpoConfig { hidden: hidden[0].to_vec(), ..config };
        let mut agent = Dhmbpo::new(&config, dims, seed, device);
        let moments = Stream::new(seed, "test/observed").normals(0, 50, dims[0]);
        let obs: Vec<f32> = moments.iter().map(|x| 2.0 * x - 0.3).collect();
        agent.observe(RealTransitions { obs: &obs, ..RealTransitions::default() });
        let mut state = agent.save();
        for part in ["actor", "critic", "target"] {
            let own = state.part(part);
            state.nest(part, shaken(&own, seed + part.len() as u64, 0.15));
        }
        agent.load(state).expect("the same shapes");
        let bound = Bound { quantity: 0.into(), low: -1.5, high: f32::INFINITY, closed: false };
        let termination = Termination { bounds: vec![bound], ..Termination::never() };
        Self { model, termination, agent, config, dims, rows }
    }

    /// Returns a batch of states to start from.
    pub(crate) fn batch(&self, update: u64) -> Batch {
        let mut batch = Batch::default();
        for obs in Stream::new(5, "test/starts").normals(update, self.rows, self.dims[0]).chunks(self.dims[0]) {
            batch.push(obs, &vec![0.0; self.dims[1]], 0.0, obs, false);
        }
        batch
    }

    /// Returns the sizes of an update.
    pub(crate) fn sizes(&self) -> UpdateSizes {
        UpdateSizes {
            rows: self.rows,
            horizon: self.config.horizon,
            action_dim: self.dims[1],
            noise_width: self.model.ensemble.noise_width(),
            critics: self.config.critics,
            subset: self.config.target_subset,
        }
    }
}

/// Returns the numbers of an f32 array; empty for another type.
pub(crate) fn floats(array: &Array) -> &[f32] {
    match &array.data {
        Data::F32(values) => values,
        _ => &[],
    }
}
