//! A classifier of steps, for tasks whose termination rule nobody knows: z(o, a, o'), the log-odds that the step from o
//! under a to o' ends the episode. An imagined step ends where z > 0, that is where its probability 1 / (1 + e⁻ᶻ) is
//! above one half.
//!
//! The network has two hidden layers of 128 units. Its inputs are o, a, o' and o' − o, scaled to zero mean and unit
//! standard deviation over all real rows, as the inputs of the model are. The difference adds no information, but a rule
//! on a small change would otherwise be hard to learn.
//!
//! Before each fit of the model, the classifier is trained further by the binary cross-entropy
//! w (max(z, 0) − y z + ln(1 + e^{−|z|})) with Adam. Ends are rare, with a share π of the rows, so half of the rows of a
//! batch are drawn from the ends (y = 1) and half from the others (y = 0). With equal weights, one of a hundred other
//! rows that is mistaken for an end would add more ends than there are; with weights that undo the sampling, the
//! boundary would lie among the ends. The weights are between the two: those of the other rows are larger by the factor
//! √((1 − π) / π).
//!
//! A row of the replay buffer is held out, or not, for the whole run. The split of the model's fit differs from call to
//! call, so a network that is trained further would have seen its holdout before.

#[cfg(test)]
mod tests;

use burn::tensor::{Device, Tensor};
use foresee_core::{Batch, State, StateError, Stream};
use foresee_nn::cpu::panels::PerRow;
use foresee_nn::cpu::{self, Layout, PANEL_ROWS, Scratch, scalar};
use foresee_nn::host::HostTensor;
use foresee_nn::{Activation, Adam, AdamConfig, Init, Mlp, Parameters as _, Shape, tensors};
use foresee_world_model::normalizer::Normalizer;

use crate::metrics;

/// Widths of the hidden layers.
const HIDDEN: [usize; 2] = [128, 128];
/// Number of rows in a batch; half of them are ends.
const BATCH: usize = 256;
/// Number of gradient steps of the first training call that has an end among its rows.
const FIRST_STEPS: u64 = 2000;
/// Number of gradient steps of every later training call.
const STEPS: u64 = 400;
/// Number of gradient steps in one slice, which takes well under a second.
const STEPS_A_SLICE: u64 = 100;
/// Step size of Adam.
const LR: f64 = 1e-3;
/// Decoupled weight decay. It bounds the log-odds where the ends can be separated from the other rows without error.
const DECAY: f64 = 1e-2;
/// Number of held-out rows that are evaluated together.
const ROWS_PER_PASS: usize = 4096;

/// A classifier of steps: whether they end their episode.
#[derive(Clone, Debug)]
pub struct LearnedEnds {
    /// One network from (o, a, o', o' − o), normalised, to the log-odds, `[1, B, 3 O + A] -> [1, B, 1]`.
    net: Mlp,
    adam: Adam,
    /// The scaling of the inputs, `[3 O + A]`.
    normalizer: Normalizer,
    /// Whether there was an end among the rows of a training call. Without one, no step ends.
    trained: bool,
    /// Number of gradient steps that the training call in progress has still to make.
    left: u64,
    /// Share of the rows that are held out.
    holdout: f64,
    seed: u64,
    /// Number of entries of observations and actions, `[O, A]`.
    dims: [usize; 2],
    device: Device,
}

/// The rows of the replay buffer, by their use in training.
#[derive(Debug, Default)]
struct Rows {
    /// Training rows that end an episode.
    ends: Vec<usize>,
    /// Training rows that do not.
    others: Vec<usize>,
    /// Rows that are never trained on.
    held_out: Vec<usize>,
}

impl LearnedEnds {
    /// Returns an untrained classifier for observations and actions of `[O, A]` entries. `holdout` is the share of the
    /// real rows that it is never trained on.
    #[must_use]
    pub fn new(dims: [usize; 2], holdout: f64, seed: u64, device: &Device) -> Self {
        let inputs = 3 * dims[0] + dims[1];
        let shape = Shape {
            members: 1,
            inputs,
            hidden: HIDDEN.to_vec(),
            outputs: 1,
            activation: Activation::Silu,
            layer_norm: false,
            normalized_features: false,
            hidden_norms: Vec::new(),
        };
        let net = Mlp::new(shape, Init::Kaiming, &Stream::new(seed, "ends/init"), device);
        Self {
            adam: Adam::new(AdamConfig { decay: DECAY, ..AdamConfig::new(LR) }, &net),
            net,
            normalizer: Normalizer::identity(inputs),
            trained: false,
            left: 0,
            holdout,
            seed,
            dims,
            device: device.clone(),
        }
    }

    /// Begins a training call on all real rows. Nothing is trained while no training row is an end.
    pub fn begin(&mut self, rows: &Batch) {
        if self.split(rows).ends.is_empty() {
            return;
        }
        let all: Vec<usize> = (0..rows.rows).collect();
        self.normalizer = Normalizer::from_rows(&self.raw_inputs(rows, &all), self.inputs());
        self.left = if self.trained { STEPS } else { FIRST_STEPS };
        self.trained = true;
    }

    /// Whether a training call is in progress.
    #[must_use]
    pub fn is_training(&self) -> bool {
        self.left > 0
    }

    /// Makes some gradient steps of training call number `call`, on the rows with which it began. After the last one,
    /// returns the errors on the held-out rows, by the names of their metrics.
    pub fn advance(&mut self, rows: &Batch, call: u64) -> Option<Vec<(&'static str, f64)>> {
        let split = self.split(rows);
        for _ in 0..STEPS_A_SLICE.min(self.left) {
            self.step(rows, &split, call);
            self.left -= 1;
        }
        (self.left == 0).then(|| self.errors(rows, &split.held_out))
    }

    /// Number of inputs of the network.
    fn inputs(&self) -> usize {
        3 * self.dims[0] + self.dims[1]
    }

    /// Divides the rows. A row is held out by its number alone.
    fn split(&self, rows: &Batch) -> Rows {
        let stream = Stream::new(self.seed, "ends/holdout");
        let mut split = Rows::default();
        for (row, &continues) in rows.not_terminated.iter().take(rows.rows).enumerate() {
            let of = match (f64::from(stream.at(row as u64, 0).uniform()) < self.holdout, continues == 0.0) {
                (true, _) => &mut split.held_out,
                (false, true) => &mut split.ends,
                (false, false) => &mut split.others,
            };
            of.push(row);
        }
        split
    }

    /// Returns (o, a, o', o' − o) of some rows, `[rows, 3 O + A]`, not normalised.
    fn raw_inputs(&self, rows: &Batch, chosen: &[usize]) -> Vec<f32> {
        let [obs_dim, action_dim] = self.dims;
        let mut all = Vec::with_capacity(chosen.len() * self.inputs());
        for &row in chosen {
            let part = |width: usize| row * width..(row + 1) * width;
            let (obs, next) = (&rows.obs[part(obs_dim)], &rows.next_obs[part(obs_dim)]);
            all.extend_from_slice(obs);
            all.extend_from_slice(&rows.action[part(action_dim)]);
            all.extend_from_slice(next);
            all.extend(next.iter().zip(obs).map(|(next, obs)| next - obs));
        }
        all
    }

    /// Returns the normalised inputs of some rows, `[1, rows, 3 O + A]`.
    fn input_rows(&self, rows: &Batch, chosen: &[usize]) -> Tensor<3> {
        let mut inputs = self.raw_inputs(rows, chosen);
        self.normalizer.apply_rows(&mut inputs);
        tensors::from_vec(inputs, [1, chosen.len(), self.inputs()], &self.device)
    }

    /// Takes one gradient step on a batch that the call and the number of remaining steps address.
    fn step(&mut self, rows: &Batch, split: &Rows, call: u64) {
        let Rows { ends, others, .. } = split;
        let stream = Stream::new(self.seed, "ends/batch");
        let address = (call << 16) | self.left;
        // Where every step ends its episode, all rows of a batch are ends.
        let of_ends = if others.is_empty() { BATCH } else { BATCH / 2 };
        let chosen: Vec<usize> = (0..BATCH)
            .map(|i| {
                let from = if i < of_ends { ends } else { others };
                from[stream.at(address, i as u32).below(from.len())]
            })
            .collect();
        let ratio = (others.len() as f32 / ends.len() as f32).sqrt();
        let [of_end, of_other] =
            if others.is_empty() { [1.0, 0.0] } else { [1.0, ratio].map(|w| 2.0 * w / (1.0 + ratio)) };
        let column = |end: f32, other: f32| {
            let values = (0..BATCH).map(|i| if i < of_ends { end } else { other }).collect();
            tensors::from_vec::<3>(values, [1, BATCH, 1], &self.device).autodiff()
        };
        let (ended, weight) = (column(1.0, 0.0), column(of_end, of_other));

        let net = self.net.tracked();
        let z = net.forward(self.input_rows(rows, &chosen).autodiff());
        let loss = (cross_entropy(z, ended) * weight).mean();
        let mut gradients = loss.backward();
        let gradient = net.gradient(&mut gradients);
        drop(net);
        self.adam.step(&mut self.net, gradient);
    }

    /// Returns the errors on these rows, by the names of their metrics. A number without rows to take it from is left
    /// out.
    fn errors(&self, rows: &Batch, held_out: &[usize]) -> Vec<(&'static str, f64)> {
        let mut z = Vec::with_capacity(held_out.len());
        for chosen in held_out.chunks(ROWS_PER_PASS) {
            z.extend(tensors::to_vec(self.net.forward(self.input_rows(rows, chosen))));
        }
        // Number of rows, sum of the losses, and number of ends by the classifier: of the other rows, and of the ends.
        let mut of = [(0_u64, 0.0_f64, 0_u64); 2];
        for (&row, z) in held_out.iter().zip(z) {
            let ended = rows.not_terminated[row] == 0.0;
            let (count, loss, by_classifier) = &mut of[usize::from(ended)];
            let z = f64::from(z);
            *count += 1;
            *loss += z.max(0.0) - if ended { z } else { 0.0 } + (-z.abs()).exp().ln_1p();
            *by_classifier += u64::from(z > 0.0);
        }
        let means: Vec<f64> = of.iter().filter(|of| of.0 > 0).map(|of| of.1 / of.0 as f64).collect();
        let [(_, _, invented), (real, _, found)] = of;
        [
            (metrics::ENDS_LOG_LOSS, means.iter().sum::<f64>(), means.len() as u64),
            (metrics::ENDS_MISSED, (real - found) as f64, real),
            (metrics::ENDS_INVENTED, invented as f64, found + invented),
        ]
        .into_iter()
        .filter(|share| share.2 > 0)
        .map(|(name, part, whole)| (name, part / whole as f64))
        .collect()
    }

    /// Returns 1 for steps from `obs` `[B, O]` under `action` `[B, A]` to `next_obs` `[B, O]` after which an episode
    /// continues, and 0 for those that end it, `[B]`.
    #[must_use]
    pub fn not_terminated(&self, obs: Tensor<2>, action: Tensor<2>, next_obs: Tensor<2>) -> Tensor<1> {
        let (rows, device) = (obs.dims()[0], obs.device());
        if !self.trained {
            return Tensor::ones([rows], &device);
        }
        let change = next_obs.clone() - obs.clone();
        let inputs = Tensor::cat(vec![obs, action, next_obs, change], 1);
        let [mean, std] =
            self.normalizer.moments().map(|numbers| tensors::from_vec(numbers.to_vec(), [1, numbers.len()], &device));
        let z = self.net.forward(((inputs - mean) / std).unsqueeze_dim(0));
        z.greater_elem(0.0).bool_not().float().reshape([rows])
    }

    /// Returns the classifier in host memory.
    #[must_use]
    pub fn on_host(&self) -> HostClassifier<'_> {
        HostClassifier {
            layout: self.net.layout(),
            weights: HostTensor::read(self.net.slot().get().clone()),
            normalizer: &self.normalizer,
            trained: self.trained,
        }
    }

    /// Returns the classifier, its optimiser and the progress of its training as arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.nest("net", self.net.save());
        state.nest("adam", self.adam.save(&self.net));
        state.nest("normalizer", self.normalizer.save());
        state.put("trained", u64::from(self.trained));
        state.put("left", self.left);
        state
    }

    /// Restores the state that [`LearnedEnds::save`] returned.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    pub fn load(&mut self, mut state: State) -> Result<(), StateError> {
        self.net.load(state.part("net"))?;
        self.adam.load(&self.net, state.part("adam"))?;
        let normalizer = Normalizer::restore(state.part("normalizer"))?;
        let [found, expected] = [normalizer.moments()[0].len(), self.inputs()];
        if found != expected {
            return Err(StateError::Mismatch {
                path: "normalizer.mean".into(),
                found: format!("of {found} inputs"),
                expected: format!("{expected} inputs"),
            });
        }
        self.normalizer = normalizer;
        self.trained = state.u64("trained")? != 0;
        self.left = state.u64("left")?;
        state.finish()
    }
}

/// Returns the cross-entropy of log-odds `z` and labels `y`, entry by entry: max(z, 0) − y z + ln(1 + e^{−|z|}).
fn cross_entropy(z: Tensor<3>, y: Tensor<3>) -> Tensor<3> {
    z.clone().clamp_min(0.0) - z.clone() * y + z.abs().neg().exp().log1p()
}

/// [`LearnedEnds`] in host memory.
#[derive(Debug)]
pub struct HostClassifier<'a> {
    layout: &'a Layout,
    /// Weights, `[1, P]`.
    weights: HostTensor,
    normalizer: &'a Normalizer,
    trained: bool,
}

/// Buffers for a classifier's decision about a panel.
#[derive(Debug, Default)]
pub struct PanelBuffers {
    change: Vec<f32>,
    input: Vec<f32>,
    scratch: Scratch,
}

impl HostClassifier<'_> {
    /// Returns the log-odds of a step from `obs` `[O]` under `action` `[A]` to `next_obs` `[O]`, with the network in
    /// f64; negative infinity before the first training.
    #[must_use]
    pub fn logit(&self, obs: &[f32], action: &[f32], next_obs: &[f32]) -> f64 {
        if !self.trained {
            return f64::NEG_INFINITY;
        }
        let change = next_obs.iter().zip(obs).map(|(next, obs)| next - obs);
        let inputs = obs.iter().chain(action).chain(next_obs).copied().chain(change);
        let [mean, std] = self.normalizer.moments();
        let scaled = inputs.zip(mean.iter().zip(std)).map(|(x, (&mean, &std))| f64::from((x - mean) / std));
        scalar::forward(self.layout, self.layout.member(self.weights.get(), 0), &scaled.collect::<Vec<_>>())[0]
    }

    /// Returns 0 for the rows of a panel of steps that end their episode and 1 for the others. The panels of
    /// observations, actions and next observations are `[O]`, `[A]` and `[O]`.
    #[must_use]
    pub fn not_terminated_on_panel(&self, [obs, action, next]: [&[f32]; 3], buffers: &mut PanelBuffers) -> PerRow {
        if !self.trained {
            return [1.0; PANEL_ROWS];
        }
        let PanelBuffers { change, input, scratch } = buffers;
        change.clear();
        change.extend(next.iter().zip(obs).map(|(next, obs)| next - obs));
        input.resize(self.normalizer.moments()[0].len() * PANEL_ROWS, 0.0);
        self.normalizer.apply_panel([obs, action, next, &*change], input);
        let mut z = [0.0; PANEL_ROWS];
        cpu::infer(self.layout, self.layout.member(self.weights.get(), 0), input, &mut z, scratch);
        z.map(|z| if z > 0.0 { 0.0 } else { 1.0 })
    }
}
