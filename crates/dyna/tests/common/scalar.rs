//! Networks as plain f64 loops over saved parameters: a second implementation that shares no code with the first.

use foresee_core::State;

use super::{array, numbers};

/// One ensemble member of a saved network.
pub(crate) struct Net {
    /// Weights `[I, O]` and biases `[O]`, in order.
    layers: Vec<(Vec<f64>, Vec<f64>)>,
    activation: fn(f64) -> f64,
}

impl Net {
    /// Returns a member of the network whose arrays are named `{path}weight.0`, `{path}bias.0`, ….
    pub(crate) fn new(state: &State, path: &str, member: usize, activation: fn(f64) -> f64) -> Self {
        let count = state.iter().filter(|(name, _)| name.starts_with(&format!("{path}weight."))).count();
        let part = |name: String| {
            let size: usize = array(state, &name).shape[1..].iter().product();
            numbers(state, &name)[member * size..(member + 1) * size].to_vec()
        };
        let layers = (0..count).map(|i| (part(format!("{path}weight.{i}")), part(format!("{path}bias.{i}"))));
        Self { layers: layers.collect(), activation }
    }

    /// Returns the output for one input.
    pub(crate) fn forward(&self, input: &[f64]) -> Vec<f64> {
        let mut x = input.to_vec();
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            let mut y = bias.clone();
            for (row, x) in weight.chunks_exact(bias.len()).zip(&x) {
                y.iter_mut().zip(row).for_each(|(y, w)| *y += w * x);
            }
            if i + 1 < self.layers.len() {
                y.iter_mut().for_each(|y| *y = (self.activation)(*y));
            }
            x = y;
        }
        x
    }
}

/// Returns x σ(x).
pub(crate) fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// Returns max(x, 0).
pub(crate) fn relu(x: f64) -> f64 {
    x.max(0.0)
}

/// Returns ln(1 + eˣ), for x at which eˣ does not overflow.
pub(crate) fn softplus(x: f64) -> f64 {
    x.exp().ln_1p()
}

/// Returns a saved actor's action tanh(mu + σ noise), which for noise 0 is its mean action tanh(mu).
pub(crate) fn action(actor: &Net, obs: &[f32], noise: &[f32]) -> Vec<f64> {
    let obs: Vec<f64> = obs.iter().map(|&x| f64::from(x)).collect();
    let out = actor.forward(&obs);
    let (mu, raw) = out.split_at(noise.len());
    let log_std = |raw: f64| -5.0 + 3.5 * (raw.tanh() + 1.0);
    let u = mu.iter().zip(raw).zip(noise).map(|((mu, &raw), &noise)| mu + log_std(raw).exp() * f64::from(noise));
    u.map(f64::tanh).collect()
}

/// Returns the prediction (delta, reward) of a saved ensemble's member for (obs, action), with noise if the head is
/// Gaussian.
pub(crate) fn predict(ensemble: &State, member: usize, inputs: &[f32], noise: &[f32]) -> Vec<f64> {
    let (mean, std) = (numbers(ensemble, "normalizer.mean"), numbers(ensemble, "normalizer.std"));
    let normalized = inputs.iter().zip(mean.iter().zip(std)).map(|(&x, (mean, std))| (f64::from(x) - mean) / std);
    let out = Net::new(ensemble, "net.", member, silu).forward(&normalized.collect::<Vec<_>>());
    let channels = noise.len();
    if out.len() == channels {
        return out;
    }
    let (min, max) = (numbers(ensemble, "bounds.min_logvar"), numbers(ensemble, "bounds.max_logvar"));
    let (mean, raw) = out.split_at(channels);
    let std = |c: usize| {
        let below = max[c] - softplus(max[c] - raw[c]);
        (0.5 * (min[c] + softplus(below - min[c]))).exp()
    };
    (0..channels).map(|c| mean[c] + std(c) * f64::from(noise[c])).collect()
}

/// Asserts equality up to the project's tolerance for f32 against f64.
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}: numbers");
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(got) - want).abs() <= 1e-4 * want.abs() + 1e-5, "{what}[{i}]: {got}, expected {want}");
    }
}
