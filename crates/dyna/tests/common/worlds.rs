//! Random worlds for imagined rollouts.

use burn::tensor::Device;
use foresee_actor_critic::policy::Spread;
use foresee_actor_critic::{Body, Policy};
use foresee_core::state::Data;
use foresee_core::stream::Draws;
use foresee_core::termination::{Bound, Form, Quantity, Source, Target};
use foresee_core::{Batch, State, Stream, Termination};
use foresee_dyna::rollout::FusedContext;
use foresee_nn::Parameters;
use foresee_nn::host::is_host;
use foresee_world_model::Ensemble;
use foresee_world_model::config::{EnsembleConfig, Head, Predicted};
use foresee_world_model::normalizer::Normalizer;
use foresee_world_model::uncertainty::Measure;

/// A random model, actor and termination rule, and real rows to start from.
pub(crate) struct RandomWorld {
    pub ensemble: Ensemble,
    pub policy: Policy,
    pub termination: Termination,
    pub real: Batch,
    pub device: Device,
    pub measures: Vec<Measure>,
    pub seed: u64,
    /// Number of observation and action entries.
    pub dims: [usize; 2],
    pub starts: usize,
    pub horizon: usize,
    pub call: u64,
}

/// Returns a network's saved state, changed for a test: noise is added to its weights, so that no bias is 0, and its
/// log-variance bounds are −4 and −1, so that the variance has an effect.
pub(crate) fn shaken(state: &State, seed: u64, scale: f32) -> State {
    let mut shaken = state.clone();
    for (i, (name, _)) in state.iter().enumerate() {
        let mut array = shaken.take(name).expect("its own array");
        if let Data::F32(values) = &mut array.data {
            let noise = Stream::new(seed, "test/weights").normals(i as u64, values.len(), 1);
            match name {
                "bounds.min_logvar" => values.fill(-4.0),
                "bounds.max_logvar" => values.fill(-1.0),
                _ if name.starts_with("normalizer") => {}
                _ => values.iter_mut().zip(noise).for_each(|(x, noise)| *x += scale * noise),
            }
        }
        shaken.put(name, array);
    }
    shaken
}

fn pick<T: Clone>(draws: &mut Draws, from: &[T]) -> T {
    from[draws.below(from.len())].clone()
}

fn bound(draws: &mut Draws, obs_dim: usize, width: f32) -> Bound {
    let centre = 0.5 * draws.normal();
    let low = if draws.below(4) == 0 { f32::NEG_INFINITY } else { centre - width };
    Bound { quantity: draws.below(obs_dim).into(), low, high: centre + width, closed: draws.below(2) == 0 }
}

fn rule(draws: &mut Draws, obs_dim: usize) -> Termination {
    let some = |draws: &mut Draws, most: usize, width: f32| -> Vec<Bound> {
        (0..=draws.below(most)).map(|_| bound(draws, obs_dim, width)).collect()
    };
    match draws.below(4) {
        0 => Termination::never(),
        1 => Termination::outside(some(draws, 3, 2.5)),
        2 => Termination::inside(some(draws, 2, 0.4)),
        _ => Termination { bounds: some(draws, 2, 3.0), goal: some(draws, 2, 0.3), finite: draws.below(2) == 0 },
    }
}

/// Replaces some quantities of a rule by others: an entry before the step, a change, a distance.
fn vary(rule: &mut Termination, draws: &mut Draws, obs_dim: usize) {
    for bound in rule.bounds.iter_mut().chain(&mut rule.goal) {
        let source = pick(draws, &[Source::Next, Source::Previous, Source::Change]);
        let [from, to] = [0; 2].map(|_| draws.permutation(obs_dim)[..=draws.below(obs_dim)].to_vec());
        let form = match draws.below(4) {
            0 => Form::Entry(from[0]),
            1 => Form::Distance(from.clone(), Target::Point(from.iter().map(|_| draws.normal()).collect())),
            2 if from.len() == to.len() => Form::Distance(from, Target::Entries(to)),
            _ => continue,
        };
        bound.quantity = Quantity { source, form };
    }
}

/// Sizes of a world's networks: numbers of observation and action entries, widths of the actor, widths of the model.
pub(crate) type Sizes = ([usize; 2], Vec<usize>, Vec<usize>);

/// Returns world number `i`, with networks of one of these sizes.
pub(crate) fn random(i: u64, sizes: &[Sizes], device: &Device) -> RandomWorld {
    let mut draws = Stream::new(77, "test/world").at(i, 0);
    let (dims, actor, model) = pick(&mut draws, sizes);
    let members = pick(&mut draws, &[1, 7]);
    let head = pick(&mut draws, &[Head::Gaussian, Head::Deterministic]);
    let elites = 1 + draws.below(members.min(5));
    let seed = draws.bits64();
    // Kernels support only models that predict changes, and plain layers.
    let mut variants = Stream::new(78, "test/world").at(i, 0);
    let [direct, layer_norm] = [0; 2].map(|_| is_host(device) && variants.below(3) == 0);
    let predict = if direct { Predicted::NextObs } else { Predicted::Change };
    let shape = EnsembleConfig { members, elites, hidden: model, predict, layer_norm, ..EnsembleConfig::default() };
    let mut ensemble = Ensemble::new(&shape, head, dims, seed, device);
    ensemble.load(shaken(&ensemble.save(), seed, 0.05)).expect("the same shapes");
    ensemble.elites = draws.permutation(members)[..elites].to_vec();
    let [obs_dim, action_dim] = dims;
    let width = obs_dim + action_dim;
    let data: Vec<f32> = Stream::new(seed, "test/inputs").normals(0, 40, width).iter().map(|x| 1.3 * x + 0.3).collect();
    ensemble.normalizer = Normalizer::from_rows(&data, width);

    let normalized_features = draws.below(3) == 0;
    let agent = Body { hidden: actor, normalized_features, ..Body::default() };
    let spread = if is_host(device) { variants.below(3) } else { 0 };
    let spread = [Spread::Bounded, Spread::Softplus, Spread::Clipped][spread];
    let mut policy = Policy::new(&agent, dims, seed, device).with_spread(spread);
    policy.load(shaken(&policy.save(), seed, 0.05)).expect("the same shapes");

    let mut real = Batch::with_capacity(60, obs_dim, action_dim);
    for obs in Stream::new(seed, "test/real").normals(0, 60, obs_dim).chunks_exact(obs_dim) {
        real.push(obs, &vec![0.0; action_dim], 0.0, obs, false);
    }
    let mut measures: Vec<Measure> = Measure::ALL.iter().map(|(measure, _)| *measure).collect();
    measures.retain(|measure| measure.problem(head, members).is_none() && draws.below(2) == 0);
    let mut termination = rule(&mut draws, obs_dim);
    if is_host(device) {
        // Kernels support only bounds on entries of the next observation.
        vary(&mut termination, &mut variants, obs_dim);
    }
    RandomWorld {
        termination,
        starts: pick(&mut draws, &[1, 2, 3, 31, 32, 33, 64, 100, 257]),
        horizon: 1 + draws.below(25),
        call: draws.bits64() >> 40,
        ensemble,
        policy,
        real,
        device: device.clone(),
        measures,
        seed,
        dims,
    }
}

impl RandomWorld {
    /// Returns the inputs of the world's rollouts.
    pub(crate) fn context(&self) -> FusedContext<'_> {
        let Self { ensemble, policy, termination, device, measures, seed, .. } = self;
        FusedContext { ensemble, policy, termination: termination.into(), seed: *seed, device, measures }
    }

    /// Returns the step number that addresses the draws of imagined step `step`.
    pub(crate) fn draw_step(&self, step: usize) -> u64 {
        self.call * 65_536 + step as u64
    }

    /// Returns the state from which row `row_id` starts.
    pub(crate) fn start(&self, row_id: u32) -> Vec<f32> {
        let row = Stream::new(self.seed, "rollout/start").at(self.call, row_id).below(self.real.rows);
        self.real.obs[row * self.dims[0]..][..self.dims[0]].to_vec()
    }

    /// Returns the distance of a step's quantities from the nearest end of a bound of the termination rule.
    pub(crate) fn margin(&self, obs: &[f32], next_obs: &[f32]) -> f32 {
        let of_ends = |b: &Bound| [b.low, b.high].map(|end| (b.quantity.value(obs, next_obs) - end).abs());
        self.termination.all_bounds().flat_map(of_ends).fold(f32::INFINITY, f32::min)
    }
}
