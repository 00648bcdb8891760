//! The agent of `algo = "dhmbpo"` in a model: its form in host memory against tensors and autodiff, and its gradients
//! against finite differences of a second implementation in f64.

use std::f64::consts::PI;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use foresee_actor_critic::dhmbpo::{Draws, Sizes};
use foresee_actor_critic::policy::LEAST_STD;
use foresee_actor_critic::{Agent, BatchRef, Dhmbpo, DhmbpoConfig, StreamNoise, Update};
use foresee_core::state::{Array, Data};
use foresee_core::stream::below;
use foresee_core::termination::Bound;
use foresee_core::{Batch, State, Stream, Termination};
use foresee_dyna::rollout::tensors::TaskDynamics;
use foresee_nn::cpu::scalar;
use foresee_nn::device::wgpu_of_test;
use foresee_nn::{Dynamics, ImaginedStep, Mlp, Parameters, StepDraws, tensors};
use foresee_world_model::config::EnsembleConfig;
use foresee_world_model::normalizer::Normalizer;
use foresee_world_model::{Head, ModelConfig, ModelLoss, Trainer, loss};

/// A task's model and agent.
struct Case {
    model: Trainer,
    termination: Termination,
    agent: Dhmbpo,
    config: DhmbpoConfig,
    dims: [usize; 2],
    rows: usize,
}

/// State with every number of its f32 arrays moved a little.
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
    fn new(seed: u64, head: Head, dims: [usize; 2], hidden: [&[usize]; 2], rows: usize, config: DhmbpoConfig) -> Self {
        Self::on(&Device::flex(), seed, head, dims, hidden, rows, config)
    }

    fn on(
        device: &Device,
        seed: u64,
        head: Head,
        dims: [usize; 2],
        hidden: [&[usize]; 2],
        rows: usize,
        config: DhmbpoConfig,
    ) -> Self {
        let ensemble =
            EnsembleConfig { members: 4, elites: 3, hidden: hidden[1].to_vec(), ..EnsembleConfig::default() };
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
        agent.observe(&moments.iter().map(|x| 2.0 * x - 0.3).collect::<Vec<f32>>());
        let mut state = agent.save();
        for part in ["actor", "critic", "target"] {
            let own = state.part(part);
            state.nest(part, shaken(&own, seed + part.len() as u64, 0.15));
        }
        agent.load(state).expect("the same shapes");
        let bound = Bound { index: 0, low: -1.5, high: f32::INFINITY, closed: false };
        let termination = Termination { bounds: vec![bound], ..Termination::never() };
        Self { model, termination, agent, config, dims, rows }
    }

    fn batch(&self, update: u64) -> Batch {
        let mut batch = Batch::default();
        for obs in Stream::new(5, "test/starts").normals(update, self.rows, self.dims[0]).chunks(self.dims[0]) {
            batch.push(obs, &vec![0.0; self.dims[1]], 0.0, obs, false);
        }
        batch
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            rows: self.rows,
            horizon: self.config.horizon,
            action_dim: self.dims[1],
            noise_width: self.model.ensemble.noise_width(),
            critics: self.config.critics,
            subset: self.config.target_subset,
        }
    }
}

/// A model that does not say that it has a form on panels.
struct InTensors<'a>(TaskDynamics<'a>);

impl Dynamics for InTensors<'_> {
    fn noise_width(&self) -> usize {
        self.0.noise_width()
    }

    fn step(&self, obs: Tensor<2>, action: Tensor<2>, draws: &StepDraws) -> ImaginedStep {
        self.0.step(obs, action, draws)
    }
}

/// The largest difference of two arrays, as a share of the largest number.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    let largest = a.iter().chain(b).fold(0.0_f32, |most, x| most.max(x.abs()));
    let most = a.iter().zip(b).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    if largest == 0.0 { 0.0 } else { f64::from(most / largest) }
}

fn floats(array: &Array) -> &[f32] {
    match &array.data {
        Data::F32(values) => values,
        _ => &[],
    }
}

#[test]
fn the_form_in_host_memory_is_the_form_in_tensors() {
    type Sized = ([usize; 2], [&'static [usize]; 2], usize);
    let sizes: [Sized; 4] = [
        ([3, 1], [&[16, 16], &[24, 17]], 8),
        ([11, 3], [&[33, 20], &[40, 40, 40]], 300),
        ([1, 1], [&[5], &[7]], 1),
        ([5, 2], [&[64], &[31]], 129),
    ];
    for (seed, (dims, hidden, rows)) in (0..).zip(sizes) {
        for (head, horizon, critics, layer_norm, normalize) in [
            (Head::Gaussian, 5, 5, true, true),
            (Head::Deterministic, 2, 2, false, false),
            (Head::Gaussian, 1, 3, true, false),
        ] {
            let config = DhmbpoConfig {
                horizon,
                critics,
                layer_norm,
                normalize_observations: normalize,
                ..DhmbpoConfig::default()
            };
            let mut case = Case::new(seed, head, dims, hidden, rows, config);
            let dynamics = TaskDynamics { model: &case.model, termination: &case.termination };
            let mut other = case.agent.clone();
            for update in 0..4 {
                let batch = case.batch(update);
                let noise = StreamNoise { seed: 9, update };
                // The second one is of the critics alone.
                let given = |dynamics| Update {
                    batch: BatchRef::Host(&batch),
                    noise: &noise,
                    dynamics: Some(dynamics),
                    critic_only: update == 1,
                };
                case.agent.update(given(&dynamics));
                let in_tensors = InTensors(dynamics);
                other.update(given(&in_tensors));
                let what = format!("seed {seed}, {head:?}, H = {horizon}, update {update}");
                for ((name, got), (_, want)) in case.agent.report().iter().zip(other.report()) {
                    assert!(
                        (got - want).abs() <= 2e-5 * (0.1 + want.abs()),
                        "{what}: {name} is {got}, expected {want}"
                    );
                }
                let (mine, theirs) = (case.agent.save(), other.save());
                for ((name, mine), (_, theirs)) in mine.iter().zip(theirs.iter()) {
                    // A moment is an average of gradients; Adam moves a weight by its step size even for a tiny gradient.
                    let tolerance = if name.contains("moment") { 1e-4 } else { 3e-4 };
                    let apart = apart(floats(mine), floats(theirs));
                    assert!(apart <= tolerance, "{what}: {name} is {apart:.1e} apart");
                }
            }
        }
    }
}

#[test]
fn the_first_updates_on_a_gpu_are_those_of_the_processor() {
    let Some(gpu) = wgpu_of_test("the_first_updates_on_a_gpu_are_those_of_the_processor") else { return };
    let config = DhmbpoConfig::default();
    let [mut here, mut there] = [Device::flex(), gpu]
        .map(|device| Case::on(&device, 1, Head::Gaussian, [11, 3], [&[32, 32], &[24, 24]], 64, config.clone()));
    for update in 0..20 {
        let noise = StreamNoise { seed: 4, update };
        for case in [&mut here, &mut there] {
            let batch = case.batch(update);
            let dynamics = TaskDynamics { model: &case.model, termination: &case.termination };
            case.agent.update(Update {
                batch: BatchRef::Host(&batch),
                noise: &noise,
                dynamics: Some(&dynamics),
                critic_only: false,
            });
        }
        for ((name, got), (_, want)) in there.agent.report().iter().zip(here.agent.report()) {
            assert!((got - want).abs() <= 1e-4 * (0.1 + want.abs()), "update {update}: {name} {got}, expected {want}");
        }
    }
}

/// One network's output for one input, from parameters `[E, P]`.
fn forward(net: &Mlp, all: &[f32], member: usize, x: &[f64]) -> Vec<f64> {
    let width = net.layout().parameters();
    scalar::forward(net.layout(), &all[member * width..][..width], x)
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// What the second implementation knows.
struct Second<'a> {
    case: &'a Case,
    draws: Draws,
    starts: Vec<f32>,
    alpha: f64,
    /// What the networks see of observations.
    scale: Option<(Vec<f64>, Vec<f64>)>,
    weights: Vec<f32>,
    bounds: Vec<f32>,
}

/// A rollout of one row: its discounted soft rewards with masks, y without what continues it, the pair at its end with
/// mask and log-probability, and its first action.
struct Rolled {
    gain: f64,
    first_log_prob: f64,
    last: Vec<f64>,
    last_log_prob: f64,
    mask: f64,
    first: Vec<f64>,
}

impl Second<'_> {
    fn seen(&self, obs: &[f64]) -> Vec<f64> {
        match &self.scale {
            Some((mean, std)) => {
                obs.iter().zip(mean.iter().zip(std)).map(|(x, (mean, std))| (x - mean) / std).collect()
            }
            None => obs.to_vec(),
        }
    }

    fn act(&self, policy: &[f32], row: usize, k: usize, obs: &[f64]) -> (Vec<f64>, f64) {
        let heads = forward(self.case.agent.policy().net(), policy, 0, &self.seen(obs));
        let (actions, steps) = (self.case.dims[1], self.case.config.horizon + 1);
        let mut log_prob = 0.0;
        let action = (0..actions).map(|d| {
            let noise = f64::from(self.draws.action[(row * steps + k) * actions + d]);
            let std = softplus(heads[actions + d]) + LEAST_STD;
            let u = heads[d] + std * noise;
            log_prob += -0.5 * noise * noise - std.ln() - 0.5 * (2.0 * PI).ln();
            log_prob -= 2.0 * (std::f64::consts::LN_2 - u - softplus(-2.0 * u));
            u.tanh()
        });
        (action.collect(), log_prob)
    }

    fn roll(&self, policy: &[f32], row: usize) -> Rolled {
        let Case { model, termination, config, dims: [obs_dim, _], rows, .. } = self.case;
        let ensemble = &model.ensemble;
        let channels = obs_dim + 1;
        let width = ensemble.noise_width();
        let [means, stds] = ensemble.normalizer.moments();
        let mut obs: Vec<f64> = self.starts[row * obs_dim..][..*obs_dim].iter().map(|&x| f64::from(x)).collect();
        let (mut gain, mut mask, mut first) = (0.0, 1.0, None);
        for k in 0..config.horizon {
            let (action, log_prob) = self.act(policy, row, k, &obs);
            let pair = [obs.clone(), action.clone()].concat();
            let input: Vec<f64> = pair
                .iter()
                .zip(means.iter().zip(stds))
                .map(|(x, (&mean, &std))| (x - f64::from(mean)) / f64::from(std))
                .collect();
            let member = ensemble.elites[below(self.draws.words[k * rows + row], ensemble.elites.len())];
            let mut change = forward(&ensemble.net, &self.weights, member, &input);
            if width > 0 {
                let raw = change.split_off(channels);
                for (c, raw) in raw.into_iter().enumerate() {
                    let (low, high) = (f64::from(self.bounds[c]), f64::from(self.bounds[channels + c]));
                    let logvar = low + softplus(high - softplus(high - raw) - low);
                    let noise = f64::from(self.draws.model[(row * config.horizon + k) * width + c]);
                    change[c] += (0.5 * logvar).exp() * noise;
                }
            }
            gain += config.discount.powi(k as i32) * mask * (change[channels - 1] - self.alpha * log_prob);
            obs.iter_mut().zip(&change).for_each(|(x, change)| *x += change);
            let rounded: Vec<f32> = obs.iter().map(|&x| x as f32).collect();
            mask *= if termination.terminated(&rounded) { 0.0 } else { 1.0 };
            first.get_or_insert((action, log_prob));
        }
        let (action, last_log_prob) = self.act(policy, row, config.horizon, &obs);
        let (first, first_log_prob) = first.expect("at least one step");
        Rolled { gain, first_log_prob, last: [self.seen(&obs), action].concat(), last_log_prob, mask, first }
    }

    /// Values of one critic from its parameters, under bounds.
    fn value(&self, critics: &[f32], n: usize, pair: &[f64], [scale, shift]: [f64; 2]) -> f64 {
        scale * forward(self.case.agent.critic().net(), critics, n, pair)[0] + shift
    }

    /// The actor's loss of its parameters, under the critics after their step.
    fn actor_loss(&self, policy: &[f32], critics: &[f32], bounds: [f64; 2]) -> f64 {
        let config = &self.case.config;
        let objective = |row| {
            let Rolled { gain, last, last_log_prob, mask, .. } = self.roll(policy, row);
            let values = (0..config.critics).map(|n| self.value(critics, n, &last, bounds));
            let value = values.sum::<f64>() / config.critics as f64;
            gain + config.discount.powi(config.horizon as i32) * mask * (value - self.alpha * last_log_prob)
        };
        -(0..self.case.rows).map(objective).sum::<f64>() / self.case.rows as f64
    }

    /// The regression targets.
    fn targets(&self, policy: &[f32], targets: &[f32], bounds: [f64; 2]) -> Vec<f64> {
        let config = &self.case.config;
        let [low, high] = [bounds[1] - bounds[0], bounds[1] + bounds[0]];
        let of_row = |row| {
            let Rolled { gain, first_log_prob, last, last_log_prob, mask, .. } = self.roll(policy, row);
            let values = self.draws.subset.iter().map(|&n| self.value(targets, n, &last, bounds));
            let value = values.fold(f64::INFINITY, f64::min).min(high).max(low);
            let tail = config.discount.powi(config.horizon as i32) * mask * (value - self.alpha * last_log_prob);
            gain + self.alpha * first_log_prob + tail
        };
        (0..self.case.rows).map(of_row).collect()
    }

    /// The critics' loss of their parameters.
    fn critic_loss(&self, critics: &[f32], policy: &[f32], targets: &[f64], bounds: [f64; 2]) -> f64 {
        let obs_dim = self.case.dims[0];
        let of_row = |row: usize| {
            let obs: Vec<f64> = self.starts[row * obs_dim..][..obs_dim].iter().map(|&x| f64::from(x)).collect();
            let pair = [self.seen(&obs), self.roll(policy, row).first].concat();
            let errors = (0..self.case.config.critics).map(|n| self.value(critics, n, &pair, bounds) - targets[row]);
            errors.map(|error| error * error).sum::<f64>()
        };
        (0..self.case.rows).map(of_row).sum::<f64>() / self.case.rows as f64
    }
}

/// Central differences of a function at some parameters, one in `every`.
fn differences(parameters: &[f32], every: usize, f: impl Fn(&[f32]) -> f64) -> Vec<(usize, f64)> {
    let mut moved = parameters.to_vec();
    let mut found = Vec::new();
    for i in (0..parameters.len()).step_by(every) {
        let [up, down] = [1.0, -1.0].map(|sign| {
            moved[i] = parameters[i] + sign * 2.0_f32.powi(-11);
            (f(&moved), f64::from(moved[i]))
        });
        moved[i] = parameters[i];
        found.push((i, (up.0 - down.0) / (up.1 - down.1)));
    }
    found
}

/// The gradient of Adam's first step, `[E, P]`: a tenth of it is its first moment.
fn gradient(state: &State, adam: &str, net: &Mlp) -> Vec<f32> {
    let (members, width) = (net.members(), net.layout().parameters());
    let mut all = vec![0.0; members * width];
    for part in net.parts() {
        let name = format!("{adam}.{}.moment_1", part.name);
        let array = state.iter().find(|(path, _)| *path == name).expect("a moment a parameter").1;
        let size = part.shape[0] * part.shape[1];
        for (e, values) in floats(array).chunks(size).enumerate() {
            let to = &mut all[e * width + part.offset..][..size];
            to.iter_mut().zip(values).for_each(|(to, x)| *to = 10.0 * x);
        }
    }
    all
}

#[test]
fn gradients_through_one_to_five_model_steps_are_finite_differences_in_f64() {
    for horizon in 1..=5 {
        for (head, normalize) in [(Head::Gaussian, true), (Head::Deterministic, false)] {
            let config =
                DhmbpoConfig { horizon, critics: 3, normalize_observations: normalize, ..DhmbpoConfig::default() };
            let case = Case::new(horizon as u64, head, [3, 2], [&[6, 5], &[7, 6]], 6, config);
            let before = case.agent.clone();
            let (batch, noise) = (case.batch(0), StreamNoise { seed: 2, update: 0 });
            let dynamics = TaskDynamics { model: &case.model, termination: &case.termination };
            let mut after = case.agent.clone();
            after.update(Update {
                batch: BatchRef::Host(&batch),
                noise: &noise,
                dynamics: Some(&dynamics),
                critic_only: false,
            });

            let parameters = |net: &Mlp| tensors::to_vec(net.slot().get().clone());
            let mut draws = Draws::default();
            draws.fill(&noise, case.sizes());
            let f64s = |all: &[f32]| all.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
            let ensemble = &case.model.ensemble;
            let second = Second {
                case: &case,
                draws,
                starts: batch.obs.clone(),
                alpha: case.config.initial_temperature,
                scale: before.policy().scale().map(|scale| (f64s(&scale.mean), f64s(&scale.std))),
                weights: parameters(&ensemble.net),
                bounds: ensemble.bounds.as_ref().map_or(vec![], |b| tensors::to_vec(b.slot().get().clone())),
            };
            let (policy, critics) = (parameters(before.policy().net()), parameters(before.critic().net()));
            let bounds = after.bounds().scale_and_shift();
            let alive = (0..case.rows).filter(|&row| second.roll(&policy, row).mask > 0.0).count();
            assert!(alive > 0 && (horizon < 4 || alive < case.rows), "{alive} rows reach the horizon");

            let what = format!("H = {horizon}, {head:?}");
            let state = after.save();
            let check = |name: &str, got: &[f32], want: &[(usize, f64)]| {
                let largest = want.iter().fold(0.0_f64, |most, (_, g)| most.max(g.abs()));
                for &(i, want) in want {
                    let got = f64::from(got[i]);
                    assert!(
                        (got - want).abs() <= 2e-4 * largest,
                        "{what}: {name}[{i}] is {got}, expected {want}, largest {largest}"
                    );
                }
            };
            let updated = parameters(after.critic().net());
            let want = differences(&policy, 1, |policy| second.actor_loss(policy, &updated, bounds));
            check("actor", &gradient(&state, "actor_adam", before.policy().net()), &want);

            let target = floats_of(&before.save(), "target", before.critic().net());
            let targets = second.targets(&policy, &target, bounds);
            let mean = targets.iter().sum::<f64>() / case.rows as f64;
            let reported = after.report().iter().find(|(name, _)| *name == "train/target_value").unwrap().1;
            assert!((reported - mean).abs() < 1e-4 * (1.0 + mean.abs()), "{what}: target {reported}, expected {mean}");
            let want = differences(&critics, 3, |critics| second.critic_loss(critics, &policy, &targets, bounds));
            check("critic", &gradient(&state, "critic_adam", before.critic().net()), &want);
        }
    }
}

/// The saved parameters of a network, `[E, P]`.
fn floats_of(state: &State, path: &str, net: &Mlp) -> Vec<f32> {
    let (members, width) = (net.members(), net.layout().parameters());
    let mut all = vec![0.0; members * width];
    for part in net.parts() {
        let name = format!("{path}.{}", part.name);
        let array = state.iter().find(|(path, _)| *path == name).expect("an array a part").1;
        let size = part.shape[0] * part.shape[1];
        for (e, values) in floats(array).chunks(size).enumerate() {
            all[e * width + part.offset..][..size].copy_from_slice(values);
        }
    }
    all
}
