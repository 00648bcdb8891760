//! The states of ordinary rollouts, from which a double-horizon agent starts, compared with
//! `dhmbpo_distribution_rollout` of `agents.json`: a rollout of the published code, with its networks and its draws.

use std::collections::BTreeMap;
use std::sync::Mutex;

use burn::tensor::{Device, Tensor};
use foresee_actor_critic::policy::{Policy, Spread};
use foresee_actor_critic::{Actor, Body};
use foresee_core::state::{Array, Data};
use foresee_core::termination::Bound;
use foresee_core::{State, StateError, Stream, Termination, Transition};
use foresee_dyna::replay::{ImaginedBuffer, RealBuffer};
use foresee_dyna::rollout::{Form, Rollout, RolloutContext};
use foresee_nn::{Activation, Init, Mlp, Parameters, Shape, StepDraws, ValueView, tensors};
use foresee_world_model::{Diverged, FitReport, FitRequest, ModelStep, TrainingRows, WorldModel};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value["data"].as_array().expect("numbers").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|x| x as f32).collect()
}

fn rows(all: Vec<f32>, width: usize) -> Tensor<2> {
    tensors::from_vec(all.clone(), [all.len() / width, width], &Device::flex())
}

/// Converts layers with `W` `[E, I, O]` and `b` `[E, O]`, or layers of a single network, to saved arrays.
fn layers(net: &Value) -> State {
    let mut state = State::new();
    for (i, layer) in net.as_array().expect("layers").iter().enumerate() {
        for (name, key, inner) in [("weight", "W", 2), ("bias", "b", 1)] {
            let sizes = layer[key]["shape"].as_array().expect("a shape");
            let mut shape: Vec<usize> = sizes.iter().map(|x| x.as_u64().expect("a size") as usize).collect();
            if shape.len() == inner {
                shape.insert(0, 1);
            }
            if inner == 1 {
                shape.insert(1, 1);
            }
            state.put(&format!("{name}.{i}"), Array::new(shape, Data::F32(floats(&layer[key]))));
        }
    }
    state
}

/// A map from the bits of a state to its row and step in the file. Our rollouts start from the file's rows in another
/// order, and from some of them several times.
#[derive(Default)]
struct RowsByState(Mutex<BTreeMap<Vec<u32>, (usize, usize)>>);

impl RowsByState {
    fn key(obs: &[f32]) -> Vec<u32> {
        obs.iter().map(|x| x.to_bits()).collect()
    }

    fn put(&self, obs: &[f32], row_and_step: (usize, usize)) {
        self.0.lock().expect("one thread").insert(Self::key(obs), row_and_step);
    }

    fn of(&self, obs: &[f32]) -> (usize, usize) {
        self.0.lock().expect("one thread")[&Self::key(obs)]
    }

    /// Returns the numbers of a tensor `[K, 8, W]` of the file at each of the states.
    fn draws(&self, obs: &Tensor<2>, all: &[f32], width: usize) -> Tensor<2> {
        let states = tensors::to_vec(obs.clone());
        let of_row = |obs: &[f32]| {
            let (row, step) = self.of(obs);
            all[(step * 8 + row) * width..][..width].to_vec()
        };
        rows(states.chunks(3).flat_map(of_row).collect(), width)
    }
}

struct FileActor<'a> {
    policy: &'a Policy,
    noise: Vec<f32>,
    rows_by_state: &'a RowsByState,
    scale: [Vec<f32>; 2],
}

impl Actor for FileActor<'_> {
    fn action_dim(&self) -> usize {
        2
    }

    fn sample(&self, obs: Tensor<2>, _: Tensor<2>) -> Tensor<2> {
        let noise = self.rows_by_state.draws(&obs, &self.noise, 2);
        let [mean, std] = self.scale.each_ref().map(|all| rows(all.clone(), 3));
        self.policy.sample((obs - mean) / std, noise).action
    }

    fn mean(&self, _: Tensor<2>) -> Tensor<2> {
        unreachable!("a rollout samples")
    }
}

/// The file's model: layer norms before the linear maps, one noise scale per channel, and normalised targets; the
/// reward is the first output.
struct FileModel<'a> {
    nets: &'a Value,
    net: Mlp,
    noise: Vec<f32>,
    members: Vec<f64>,
    rows_by_state: &'a RowsByState,
}

impl WorldModel for FileModel<'_> {
    fn begin_fit(&mut self, _: TrainingRows<'_>, _: FitRequest<'_>) {
        unreachable!("nothing is fitted")
    }

    fn advance_fit(&mut self, _: &dyn ValueView) -> Result<Option<FitReport>, Diverged> {
        unreachable!("nothing is fitted")
    }

    fn save_fit(&self) -> State {
        unreachable!("nothing is fitted")
    }

    fn resume_fit(&mut self, _: State, _: TrainingRows<'_>, _: &dyn ValueView) -> Result<(), StateError> {
        unreachable!("nothing is fitted")
    }

    fn noise_width(&self) -> usize {
        0
    }

    fn step(&self, obs: Tensor<2>, action: Tensor<2>, _: &StepDraws) -> ModelStep {
        let row = |name: &str| rows(floats(&self.nets[name]), floats(&self.nets[name]).len());
        let input = Tensor::cat(vec![(obs.clone() - row("obs_mean")) / row("obs_std"), action], 1);
        let all = self.net.forward(input.unsqueeze_dim(0));
        let (log_noise, states) = (floats(&self.nets["model_log_noise"]), tensors::to_vec(obs.clone()));
        let noise = self.rows_by_state.draws(&obs, &self.noise, 3);
        let out = states.chunks(3).enumerate().map(|(i, state)| {
            let (row, step) = self.rows_by_state.of(state);
            let member = self.members[step * 8 + row] as usize;
            let mean: Tensor<2> = all.clone().narrow(0, member, 1).narrow(1, i, 1).squeeze_dim(0);
            let spread = rows(log_noise[member * 4 + 1..member * 4 + 4].to_vec(), 3).exp();
            let of_obs = mean.clone().narrow(1, 1, 3) + spread * noise.clone().narrow(0, i, 1);
            Tensor::cat(vec![mean.narrow(1, 0, 1), of_obs], 1)
        });
        let out = Tensor::cat(out.collect(), 0) * row("target_std") + row("target_mean");
        let next_obs = obs + out.clone().narrow(1, 1, 3);
        for (state, next) in states.chunks(3).zip(tensors::to_vec(next_obs.clone()).chunks(3)) {
            let (row, step) = self.rows_by_state.of(state);
            self.rows_by_state.put(next, (row, step + 1));
        }
        ModelStep { next_obs, reward: out.narrow(1, 0, 1).squeeze_dim(1) }
    }

    fn save(&self) -> State {
        State::new()
    }

    fn load(&mut self, state: State) -> Result<(), StateError> {
        state.finish()
    }
}

#[test]
fn the_states_of_ordinary_rollouts_are_those_of_the_published_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/fixtures/agents.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("the fixtures")).expect("JSON");
    let (nets, entry) = (&file["entries"]["nets"]["inputs"], &file["entries"]["dhmbpo_distribution_rollout"]);
    let (inputs, outputs) = (&entry["inputs"], &entry["outputs"]);
    let device = Device::flex();
    let rows_by_state = RowsByState::default();

    let shape = Shape {
        members: 4,
        inputs: 5,
        hidden: vec![6; 3],
        outputs: 4,
        activation: Activation::Silu,
        layer_norm: false,
        normalized_features: false,
        hidden_norms: vec![0, -1, -2],
    };
    let mut net = Mlp::new(shape, Init::Kaiming, &Stream::new(0, "test"), &device);
    net.load(layers(&nets["model_layers"])).expect("the file's shapes");
    let body = Body { hidden: vec![6; 3], activation: Activation::Silu, ..Body::default() };
    let mut policy = Policy::new(&body, [3, 2], 0, &device).with_spread(Spread::Softplus);
    policy.load(layers(&nets["actor"])).expect("the file's shapes");
    let scale = ["obs_mean", "obs_std"].map(|name| floats(&nets[name]));
    let actor = FileActor {
        policy: &policy,
        noise: floats(&inputs["eps_action"]),
        rows_by_state: &rows_by_state,
        scale: scale.clone(),
    };
    let (noise, members) = (floats(&inputs["eps_model"]), numbers(&inputs["member_of_row"]));
    let model = FileModel { nets, net, noise, members, rows_by_state: &rows_by_state };
    let threshold = inputs["term_threshold"].as_f64().expect("a threshold") as f32;
    let bound = Bound { quantity: 0.into(), low: f32::NEG_INFINITY, high: threshold, closed: true };
    let termination = Termination { bounds: vec![bound], ..Termination::never() };

    let mut real = RealBuffer::new([3, 2], &device);
    let starts = floats(&inputs["raw_obs"]);
    for (row, obs) in starts.chunks(3).enumerate() {
        rows_by_state.put(obs, (row, 0));
        real.push(&Transition {
            obs: obs.to_vec(),
            action: vec![0.0; 2],
            reward: 0.0,
            next_obs: obs.to_vec(),
            terminated: false,
            truncated: false,
        });
    }
    let horizon = inputs["L"].as_u64().expect("a length") as usize;
    let mut buffer = ImaginedBuffer::new(usize::MAX, 3, 2);
    let mut rollout = Rollout::undrawn(100, horizon, 0);
    let context =
        RolloutContext { model: &model, actor: &actor, termination: (&termination).into(), seed: 3, device: &device };
    while !rollout.advance(Form::Tensors, &context, &real, &mut buffer) {}

    // The file contains every row once, step by step, including the last states. Our buffer contains the states in
    // which the policy acted, and their next states.
    let stored = buffer.rows();
    let normalized = |obs: &[f32]| -> Vec<f64> {
        let moments = scale[0].iter().zip(&scale[1]);
        obs.iter().zip(moments).map(|(x, (mean, std))| f64::from(x - mean) / f64::from(*std)).collect()
    };
    let mut states: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    for i in 0..stored.rows {
        let (obs, next) = (&stored.obs[i * 3..][..3], &stored.next_obs[i * 3..][..3]);
        let (row, step) = rows_by_state.of(obs);
        states.insert((step, row), normalized(obs));
        if stored.not_terminated[i] == 1.0 {
            states.insert((step + 1, row), normalized(next));
        }
    }
    let want = numbers(&outputs["stored"]);
    assert_eq!(states.len() as u64, outputs["count"].as_u64().expect("a count"));
    let largest = want.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    for ((row_and_step, got), want) in states.iter().zip(want.chunks(3)) {
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() <= 1e-5 * largest, "step and row {row_and_step:?}: {got}, expected {want}");
        }
    }
    assert!(states.len() < 8 * (horizon + 1), "some row ends early");
}
