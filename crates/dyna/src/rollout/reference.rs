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
//! o' = o + Δ, or Δ itself if the model predicts next observations; terminated by the task's rule at o'.
//!
//! Networks are evaluated in f64. The stored numbers a, r and o' are rounded to f32, and the next step starts from the
//! rounded o'.

use foresee_actor_critic::policy::{CLIPPED, LEAST_STD, LOG_STD, Spread};
use foresee_nn::cpu::scalar;
use foresee_world_model::config::Predicted;

use super::World;

/// The result of one imagined step of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
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

/// Computes the step of the row at `lane` from `obs` `[O]`, under the actor's action. `clock` addresses its draws.
#[must_use]
pub fn step(world: &World<'_>, clock: u64, lane: u32, obs: &[f32]) -> Step {
    let inputs: Vec<f64> = obs.iter().map(|&x| f64::from(x)).collect();
    let actor = world.actor();
    let heads = scalar::forward(actor.layout, actor.member(0), &inputs);
    let (mu, raw) = heads.split_at(world.action_dim());
    let mut draws = world.streams.action.at(clock, lane);
    let sample = |(mu, raw): (&f64, &f64)| {
        let std = match world.spread {
            Spread::Bounded => (LOG_STD[0] + 0.5 * (LOG_STD[1] - LOG_STD[0]) * (raw.tanh() + 1.0)).exp(),
            Spread::Softplus => raw.exp().ln_1p() + LEAST_STD,
            Spread::Clipped => raw.clamp(CLIPPED[0], CLIPPED[1]).exp(),
        };
        (mu + std * f64::from(draws.normal())).tanh() as f32
    };
    let action: Vec<f32> = mu.iter().zip(raw).map(sample).collect();
    step_under(world, clock, lane, obs, &action)
}

/// Computes the step of the row at `lane` from `obs` `[O]`, under a given action `[A]`. `clock` addresses its draws.
#[must_use]
pub fn step_under(world: &World<'_>, clock: u64, lane: u32, obs: &[f32], action: &[f32]) -> Step {
    let channels = obs.len() + 1;
    let obs: Vec<f64> = obs.iter().map(|&x| f64::from(x)).collect();

    // A new member is drawn for every row and step.
    let member = world.elites[world.streams.elite.at(clock, lane).below(world.elites.len())];

    // Prediction.
    let [means, stds] = world.normalizer.moments();
    let pair = obs.iter().copied().chain(action.iter().map(|&x| f64::from(x)));
    let input: Vec<f64> =
        pair.zip(means.iter().zip(stds)).map(|(x, (&mean, &std))| (x - f64::from(mean)) / f64::from(std)).collect();
    let (mean, logvar) = predict(world, member, &input);
    let mut delta = mean;
    if let Some(logvar) = logvar {
        let mut draws = world.streams.noise.at(clock, lane);
        delta.iter_mut().zip(logvar).for_each(|(x, lv)| *x += (0.5 * lv).exp() * f64::from(draws.normal()));
    }

    // Next state, reward, termination.
    let base = |x: &f64| if world.predicted == Predicted::Change { *x } else { 0.0 };
    let next_obs: Vec<f32> = obs.iter().zip(&delta).map(|(x, d)| (base(x) + d) as f32).collect();
    Step {
        reward: delta[channels - 1] as f32,
        terminated: world.termination.terminated(&next_obs),
        uncertainty: uncertainty(world, &input),
        action: action.to_vec(),
        member,
        next_obs,
    }
}

/// Returns a member's mean `[O + 1]` for a normalised input `[O + A]` and, if the head is Gaussian, its log-variance
/// `[O + 1]`.
fn predict(world: &World<'_>, member: usize, input: &[f64]) -> (Vec<f64>, Option<Vec<f64>>) {
    let mut out = scalar::forward(world.model.layout, world.model.member(member), input);
    let Some([low, high]) = world.logvar_bounds() else { return (out, None) };
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
fn uncertainty(world: &World<'_>, input: &[f64]) -> Vec<f32> {
    if world.measures.is_empty() {
        return vec![];
    }
    let (mut means, mut logvars) = (vec![], vec![]);
    for member in 0..world.model.layout.shape().members {
        let (mean, logvar) = predict(world, member, input);
        means.extend(mean.into_iter().map(|x| x as f32));
        logvars.extend(logvar.into_iter().flatten().map(|x| x as f32));
    }
    let logvars = (!logvars.is_empty()).then_some(logvars.as_slice());
    world.measures.iter().map(|measure| measure.of(&means, logvars, world.obs_dim() + 1)).collect()
}
