//! Comparison of real episodes with imagined rollouts, for a run's newest checkpoint. The exploring policy plays real
//! episodes. The model imagines rollouts under the same policy from states of these episodes.
//!
//! The real continuation of a state is the rest of its episode. A state is used if its episode continues for the whole
//! horizon or terminates; rewards after a termination are 0. The confidence interval of the difference of discounted
//! returns treats each episode's mean as one sample, because the states of one episode are correlated.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use burn::tensor::Device;
use foresee_core::Stream;
use foresee_dyna::rollout::tensors::TaskDynamics;
use foresee_dyna::{Config, Run, checkpoint, evaluate};
use foresee_env::Tasks;
use foresee_nn::{Dynamics, ImaginedStep, StepDraws, ValueHeads, tensors};

use crate::report::interval;

/// Numbers of steps ahead in the rows of the table.
const ROWS: [usize; 8] = [1, 2, 5, 10, 20, 50, 100, 200];

/// A real episode.
struct Episode {
    /// Observations, `[steps, O]`.
    obs: Vec<f32>,
    reward: Vec<f32>,
    terminated: bool,
}

/// A state to imagine from, by its episode and step.
#[derive(Clone, Copy)]
struct Start {
    episode: usize,
    step: usize,
}

/// Means over all starts at one number of steps ahead.
#[derive(Clone, Copy, Default)]
struct StepMeans {
    reward: f64,
    alive: f64,
    /// Share of the live states outside the range of the run's real states.
    outside: f64,
}

/// Returns the table for the run in a folder.
pub(crate) fn table(run: &Path, episodes: usize, starts: usize, horizon: usize) -> anyhow::Result<String> {
    ensure!(
        episodes >= 2 && starts > 0 && horizon > 0,
        "`--episodes` must be at least 2, and `--starts` and `--horizon` at least 1"
    );
    let path = run.join("config.toml");
    ensure!(
        path.is_file(),
        "`{}` is not a run folder: it has no config.toml\nhint: give a folder such as runs/ENV/NAME/SEED-TIME",
        run.display()
    );
    let config: Config = foresee::config::load(&path, &[])?;
    let loaded = checkpoint::load(&run.join("checkpoints"))?;
    let run = Run::restore(&config, loaded.state)?;
    ensure!(
        run.model().is_some(),
        "this run has no model: its `algo` is `model_free`\nhint: give a run of `mbpo` or `dhmbpo`"
    );
    let device = config.device.open()?;

    let played = play(&run, &config, episodes, &device)?;
    let all: Vec<Start> = played.iter().enumerate().flat_map(|(episode, of)| of.starts(episode, horizon)).collect();
    ensure!(
        !all.is_empty(),
        "no real episode terminates or lasts {horizon} steps, so no state can be compared\nhint: lower --horizon"
    );
    let every = all.len().div_ceil(starts);
    let starts: Vec<Start> = all.into_iter().step_by(every).collect();

    let discount = run.agent().return_parameters().map_or(0.99, |parameters| parameters.discount);
    let (real, of_real) = real_continuations(&played, &starts, horizon, discount);
    let (imagined, of_model) = imagine(&run, &played, &starts, horizon, discount, &device);

    let mut out = String::new();
    let (step, count) = (run.env_step(), starts.len());
    writeln!(out, "`{}` at {step} real steps; {count} states of {episodes} real episodes\n", config.env.id)?;
    writeln!(out, "| steps ahead | real reward | imagined | real alive | imagined | imagined outside the data |")?;
    writeln!(out, "| ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for k in ROWS.into_iter().filter(|&k| k <= horizon) {
        let (real, imagined) = (real[k - 1], imagined[k - 1]);
        writeln!(
            out,
            "| {k} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} |",
            real.reward, imagined.reward, real.alive, imagined.alive, imagined.outside
        )?;
    }
    let differences: Vec<f64> = (0..episodes)
        .filter_map(|episode| {
            let of_episode = || starts.iter().enumerate().filter(move |(_, start)| start.episode == episode);
            let sum: f64 = of_episode().map(|(i, _)| of_model[i] - of_real[i]).sum();
            let count = of_episode().count();
            (count > 0).then(|| sum / count as f64)
        })
        .collect();
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
    let (difference, width) = interval(&differences)
        .context("fewer than two episodes have states to compare\nhint: raise --episodes or lower --horizon")?;
    writeln!(out, "\nDiscounted returns of {horizon} steps, discount {discount}, mean over states:\n")?;
    writeln!(out, "* real {:.2}, imagined {:.2}", mean(&of_real), mean(&of_model))?;
    let width = width.map_or_else(String::new, |width| format!(" ± {width:.2}"));
    writeln!(
        out,
        "* imagined − real, mean over {} episodes with its 95 % interval: {difference:.2}{width}",
        differences.len()
    )?;
    if let Some(values) = values(&run, &played, &starts, &device) {
        writeln!(out, "* value of the target critics: {:.2}", mean(&values))?;
    }
    Ok(out)
}

impl Episode {
    fn steps(&self) -> usize {
        self.reward.len()
    }

    /// Returns the states whose continuation over a horizon is known.
    fn starts(&self, episode: usize, horizon: usize) -> impl Iterator<Item = Start> {
        let known = if self.terminated { self.steps() } else { (self.steps() + 1).saturating_sub(horizon) };
        (0..known).map(move |step| Start { episode, step })
    }
}

/// Plays real episodes under sampled actions.
fn play(run: &Run, config: &Config, episodes: usize, device: &Device) -> anyhow::Result<Vec<Episode>> {
    let mut env = config.env.factory(&Tasks::default(), config.seed)()?;
    let actor = run.agent().actor();
    let (seeds, noise) = (Stream::new(config.seed, "bench/reset"), Stream::new(config.seed, "bench/act"));
    let mut played = Vec::new();
    for index in 0..episodes as u32 {
        let mut state = env.reset(Some(seeds.at(0, index).bits64()))?.obs;
        let mut episode = Episode { obs: Vec::new(), reward: Vec::new(), terminated: false };
        loop {
            let mut draws = noise.at(episode.steps() as u64, index);
            let normals: Vec<f32> = (0..actor.action_dim()).map(|_| draws.normal()).collect();
            let step = env.step(&actor.act(&state, 1, Some(&normals), device))?;
            episode.obs.extend_from_slice(&state);
            episode.reward.push(step.reward as f32);
            if step.terminated || step.truncated || episode.steps() == evaluate::MAX_EPISODE_STEPS as usize {
                episode.terminated = step.terminated;
                break;
            }
            state = step.obs;
        }
        played.push(episode);
    }
    Ok(played)
}

/// Returns the means of the real continuations by step, and the discounted return of every start, `[starts]`.
fn real_continuations(
    played: &[Episode],
    starts: &[Start],
    horizon: usize,
    discount: f64,
) -> (Vec<StepMeans>, Vec<f64>) {
    let (mut steps, mut returns) = (vec![StepMeans::default(); horizon], vec![0.0; starts.len()]);
    let share = 1.0 / starts.len() as f64;
    for (start, returned) in starts.iter().zip(&mut returns) {
        let episode = &played[start.episode];
        for (k, step) in steps.iter_mut().enumerate() {
            let Some(&reward) = episode.reward.get(start.step + k) else { break };
            let last = start.step + k + 1 == episode.steps();
            step.reward += share * f64::from(reward);
            step.alive += if last && episode.terminated { 0.0 } else { share };
            *returned += discount.powi(k as i32) * f64::from(reward);
        }
    }
    (steps, returns)
}

fn states(played: &[Episode], starts: &[Start]) -> Vec<f32> {
    let of_start = |start: &Start| {
        let episode = &played[start.episode];
        let width = episode.obs.len() / episode.steps();
        &episode.obs[start.step * width..(start.step + 1) * width]
    };
    starts.iter().flat_map(of_start).copied().collect()
}

/// Imagines from the starts. Returns the means of the imagined continuations by step, and the discounted return of
/// every start, `[starts]`.
fn imagine(
    run: &Run,
    played: &[Episode],
    starts: &[Start],
    horizon: usize,
    discount: f64,
    device: &Device,
) -> (Vec<StepMeans>, Vec<f64>) {
    let (model, actor) = (run.model().expect("a model"), run.agent().actor());
    let dynamics = TaskDynamics { model, termination: run.end_rule() };
    let (rows, seed) = (starts.len(), run.config().seed);
    let mut obs = states(played, starts);
    let width = obs.len() / rows;
    let range = run.replay().real.rows().range();
    let [action, noise, member] = ["action", "noise", "member"].map(|name| Stream::new(seed, &format!("bench/{name}")));
    let (mut steps, mut returns, mut alive) = (Vec::new(), vec![0.0; rows], vec![1.0_f32; rows]);
    for k in 0..horizon as u64 {
        let state = tensors::from_vec(obs, [rows, width], device);
        let normals = action.normals(k, rows, actor.action_dim());
        let act = actor.sample(state.clone(), tensors::from_vec(normals, [rows, actor.action_dim()], device));
        let columns = model.noise_width();
        let draws = StepDraws {
            words: (0..rows as u32).map(|row| member.at(k, row).bits()).collect(),
            noise: tensors::from_vec(noise.normals(k, rows, columns), [rows, columns], device),
        };
        let ImaginedStep { next_obs, reward, not_terminated } = dynamics.step(state, act, &draws);
        let [reward, continuation] = [reward, not_terminated].map(tensors::to_vec);
        obs = tensors::to_vec(next_obs);
        let (mut step, mut outside) = (StepMeans::default(), 0.0);
        for row in 0..rows {
            let earned = f64::from(alive[row] * reward[row]);
            returns[row] += discount.powi(k as i32) * earned;
            alive[row] *= continuation[row];
            step.reward += earned / rows as f64;
            step.alive += f64::from(alive[row]);
            let state = &obs[row * width..(row + 1) * width];
            let is_outside = state.iter().zip(&range).any(|(x, [low, high])| !(low..=high).contains(&x));
            outside += if is_outside { f64::from(alive[row]) } else { 0.0 };
        }
        step.outside = if step.alive > 0.0 { outside / step.alive } else { 0.0 };
        step.alive /= rows as f64;
        steps.push(step);
    }
    (steps, returns)
}

/// Returns the mean value of the target critics at every start, `[starts]`; `None` for an agent without critics.
fn values(run: &Run, played: &[Episode], starts: &[Start], device: &Device) -> Option<Vec<f64>> {
    let view = run.agent().values(ValueHeads::Target, false);
    if view.heads() == 0 {
        return None;
    }
    let states = states(played, starts);
    let width = states.len() / starts.len();
    let states = tensors::from_vec(states, [starts.len(), width], device);
    let means = tensors::to_vec(view.values(states).mean_dim(0));
    Some(means.into_iter().map(f64::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_a_state_is_the_rest_of_its_episode_and_nothing_after_its_end() {
        let episode = |reward: Vec<f32>, terminated| Episode { obs: vec![0.0; reward.len()], reward, terminated };
        let played = [episode(vec![1.0, 2.0, 4.0], true), episode(vec![8.0, 16.0], false)];
        let starts: Vec<(usize, usize)> = played
            .iter()
            .enumerate()
            .flat_map(|(i, episode)| episode.starts(i, 2))
            .map(|start| (start.episode, start.step))
            .collect();
        assert_eq!(starts, [(0, 0), (0, 1), (0, 2), (1, 0)]);
        let starts = starts.into_iter().map(|(episode, step)| Start { episode, step }).collect::<Vec<_>>();
        let (steps, returns) = real_continuations(&played, &starts, 2, 0.5);
        assert_eq!(returns, [2.0, 4.0, 4.0, 16.0]);
        assert_eq!(steps.iter().map(|step| step.reward).collect::<Vec<_>>(), [15.0 / 4.0, 22.0 / 4.0]);
        assert_eq!(steps.iter().map(|step| step.alive).collect::<Vec<_>>(), [0.75, 0.5]);
    }
}
