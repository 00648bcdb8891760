//! One imagined step of one row, written as plainly as possible: the specification of every other form.
//!
//! | symbol | meaning |
//! |---|---|
//! | o, a | observation `[O]`, action `[A]` |
//! | ε, ζ | standard normals `[A]`, `[O + 1]` |
//! | m | the ensemble member that predicts, drawn from the elites for this row and step |
//!
//! (mu, raw) = actor(o); log σ = −5 + 3.5 (tanh raw + 1) or another [`Spread`]; a = tanh(mu + σ ε);
//! (mean, lv) = model_m((o, a) normalised); lv softly clamped; (Δ, r) = mean + exp(lv / 2) ζ, or the mean alone;
//! o' = o + Δ, or Δ itself if the model predicts next observations; terminated by the task's rule for the step from o to o', or by a
//! classifier of the step, in f64 ([`LearnedEnds`](crate::ends::LearnedEnds)).
//!
//! Networks are evaluated in f64. The stored numbers a, r and o' are rounded to f32, and the next step starts from the
//! rounded o'.

use foresee_actor_critic::policy::{CLIPPED_LOG_STD, LOG_STD_BOUNDS, LOG_STD_HALF_RANGE, MIN_STD, Spread};
use foresee_nn::cpu::scalar;
use foresee_world_model::config::Predicted;

use super::HostContext;

/// The result of one imagined step of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceStep {
    /// `[A]`
    pub action: Vec<f32>,
    /// Index of the ensemble member that predicted the step.
    pub member: usize,
    /// Reward.
    pub reward: f32,
    /// `[O]`
    pub next_obs: Vec<f32>,
    /// Whether the episode terminates at `next_obs`.
    pub terminated: bool,
    /// Measures of uncertainty at (obs, action), one number each.
    pub uncertainty: Vec<f32>,
}

/// Computes the step of the row with id `row_id` from `obs` `[O]`, under the actor's action. `draw_step` and `row_id`
/// address its draws.
#[must_use]
pub fn step(host: &HostContext<'_>, draw_step: u64, row_id: u32, obs: &[f32]) -> ReferenceStep {
    let inputs: Vec<f64> = obs.iter().map(|&x| f64::from(x)).collect();
    let actor = host.actor();
    let actor_output = scalar::forward(actor.layout, actor.member(0), &inputs);
    let (mu, raw) = actor_output.split_at(host.action_dim());
    let mut draws = host.streams.action.at(draw_step, row_id);
    let sample = |(mu, raw): (&f64, &f64)| {
        let std = match host.spread {
            Spread::Bounded => (LOG_STD_BOUNDS[0] + LOG_STD_HALF_RANGE * (raw.tanh() + 1.0)).exp(),
            Spread::Softplus => raw.exp().ln_1p() + MIN_STD,
            Spread::Clipped => raw.clamp(CLIPPED_LOG_STD[0], CLIPPED_LOG_STD[1]).exp(),
        };
        (mu + std * f64::from(draws.normal())).tanh() as f32
    };
    let action: Vec<f32> = mu.iter().zip(raw).map(sample).collect();
    step_under(host, draw_step, row_id, obs, &action)
}

/// Computes the step of the row with id `row_id` from `obs` `[O]`, under a given action `[A]`. `draw_step` and `row_id`
/// address its draws.
#[must_use]
pub fn step_under(host: &HostContext<'_>, draw_step: u64, row_id: u32, obs: &[f32], action: &[f32]) -> ReferenceStep {
    let (before, channels) = (obs, obs.len() + 1);
    let obs: Vec<f64> = before.iter().map(|&x| f64::from(x)).collect();

    // A new member is drawn for every row and step.
    let member = host.elites[host.streams.elite.at(draw_step, row_id).below(host.elites.len())];

    // Prediction.
    let [means, stds] = host.normalizer.moments();
    let pair = obs.iter().copied().chain(action.iter().map(|&x| f64::from(x)));
    let input: Vec<f64> =
        pair.zip(means.iter().zip(stds)).map(|(x, (&mean, &std))| (x - f64::from(mean)) / f64::from(std)).collect();
    let (mean, logvar) = predict(host, member, &input);
    let mut delta = mean;
    if let Some(logvar) = logvar {
        let mut draws = host.streams.noise.at(draw_step, row_id);
        delta.iter_mut().zip(logvar).for_each(|(x, lv)| *x += (0.5 * lv).exp() * f64::from(draws.normal()));
    }

    // Next state, reward, termination.
    let base = |x: &f64| if host.predicted == Predicted::Change { *x } else { 0.0 };
    let next_obs: Vec<f32> = obs.iter().zip(&delta).map(|(x, d)| (base(x) + d) as f32).collect();
    ReferenceStep {
        reward: delta[channels - 1] as f32,
        terminated: host.termination.terminated(before, action, &next_obs),
        uncertainty: uncertainty(host, &input),
        action: action.to_vec(),
        member,
        next_obs,
    }
}

/// Returns a member's mean `[O + 1]` for a normalised input `[O + A]` and, if the head is Gaussian, its log-variance
/// `[O + 1]`.
fn predict(host: &HostContext<'_>, member: usize, input: &[f64]) -> (Vec<f64>, Option<Vec<f64>>) {
    let mut out = scalar::forward(host.model.layout, host.model.member(member), input);
    let Some([low, high]) = host.logvar_bounds() else { return (out, None) };
    let raw = out.split_off(low.len());
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let clamp = |(raw, (&low, &high)): (f64, (&f32, &f32))| {
        let (low, high) = (f64::from(low), f64::from(high));
        low + softplus(high - softplus(high - raw) - low)
    };
    let logvar = raw.into_iter().zip(low.iter().zip(high)).map(clamp).collect();
    (out, Some(logvar))
}

/// Returns the measures of uncertainty of all members' predictions.
fn uncertainty(host: &HostContext<'_>, input: &[f64]) -> Vec<f32> {
    if host.measures.is_empty() {
        return vec![];
    }
    let (mut means, mut logvars) = (vec![], vec![]);
    for member in 0..host.model.layout.shape().members {
        let (mean, logvar) = predict(host, member, input);
        means.extend(mean.into_iter().map(|x| x as f32));
        logvars.extend(logvar.into_iter().flatten().map(|x| x as f32));
    }
    let logvars = (!logvars.is_empty()).then_some(logvars.as_slice());
    host.measures.iter().map(|measure| measure.of(&means, logvars, host.obs_dim() + 1)).collect()
}
