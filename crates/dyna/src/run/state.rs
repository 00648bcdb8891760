//! Saving and restoring a run.

use burn::tensor::Device;
use foresee_core::{State, StateError};
use foresee_nn::device::guarded;
use foresee_world_model::config::TerminationSource;
use foresee_world_model::{Head, ModelConfig};
use serde::Serialize;
use toml::Value;

use super::{Counters, Ends, Phase, Run, RunError, on_device, terminations};
use crate::config::{Algo, Config};
use crate::replay::RealBuffer;
use crate::rollout::Rollout;
use crate::setup::Setup;

/// The saved state of a run: named arrays in host memory. It contains no device and no random generator.
pub type RunState = State;

const ACT: u64 = 0;
const FIT: u64 = 1;
const IMAGINE: u64 = 2;
const UPDATE: u64 = 3;

impl Run {
    /// Returns the state from which the run continues bit for bit: networks and moments, buffers, environments,
    /// counters, phase. Random streams have no state.
    ///
    /// # Errors
    /// If the device failed.
    pub fn snapshot(&self) -> Result<RunState, RunError> {
        guarded(&self.device, || self.save()).map_err(|failure| self.failed(failure))
    }

    fn save(&self) -> RunState {
        let mut state = State::new();
        state.nest("agent", self.agent.save());
        if let Some(model) = &self.model {
            state.nest("model", model.save());
        }
        if let Some(ends) = &self.ends {
            state.nest("ends", ends.save());
        }
        state.nest("replay.real", self.replay.real.save());
        state.nest("replay.imagined", self.replay.imagined.save());
        self.experience.save(&mut state);
        state.nest("controller", self.controller.save());
        state.nest("counters", self.counters.save(self.clock.now));
        state.nest("phase", self.save_phase());
        state.put("env_id", self.config.env.id.as_bytes().to_vec());
        state.put("seed", self.config.seed);
        state.put("count", self.clock.turn);
        state.put("model_fingerprint", fingerprint(&self.config));
        if self.config.algo == Algo::Dhmbpo {
            state.put("algo", self.config.algo.name().as_bytes().to_vec());
        }
        let evals = [self.last_eval, self.best_eval];
        state.put("evaluations", evals.map(|eval| eval.unwrap_or(f64::NAN)).to_vec());
        state
    }

    /// Restores a run from a snapshot, under its configuration and with the shipped parts. For other parts use
    /// [`Run::resume`].
    ///
    /// # Errors
    /// If the configuration is impossible, or the state does not belong to one of its runs.
    pub fn restore(config: &Config, state: RunState) -> Result<Self, RunError> {
        Self::resume(config.clone().open()?, state)
    }

    /// Restores a run from a snapshot, as [`Run::restore`] does, under a configuration that is already checked.
    ///
    /// # Errors
    /// As [`Run::restore`].
    pub fn resume(setup: Setup, state: RunState) -> Result<Self, RunError> {
        on_device(setup, |setup, device| Self::resume_on(setup, device, state))
    }

    fn resume_on(setup: Setup, device: Device, mut state: RunState) -> Result<Self, RunError> {
        let config = setup.config.clone();
        let seed = state.u64("seed")?;
        if seed != config.seed {
            return Err(RunError::Config(format!(
                "`seed` is {}, but the run began with {seed}\nhint: leave `seed` out, or start a new run with it",
                config.seed
            )));
        }
        let id = state.u8s("env_id")?.1;
        if id != config.env.id.as_bytes() {
            return Err(RunError::Config(format!(
                "`env.id` is `{}`, but the run began with `{}`\nhint: leave `env.id` out, or start a new run with it",
                config.env.id,
                String::from_utf8_lossy(&id)
            )));
        }
        let count = state.u64("count")?;
        if count != config.env.count as u64 {
            return Err(RunError::Config(format!(
                "`env.count` is {}, but the run began with {count}\nhint: leave `env.count` out, or start a new run with it",
                config.env.count
            )));
        }
        let mut run = Self::prepare(setup, device)?;
        let same_model = state.u64("model_fingerprint")? == fingerprint(&config);
        let has = |start: &str| state.iter().any(|(name, _)| name.starts_with(start));
        // Only states of `dhmbpo` contain the algorithm's name.
        let begun_with = match (has("algo"), has("model.")) {
            (true, _) => {
                state.u8s("algo")?;
                Algo::Dhmbpo
            }
            (false, true) => Algo::Mbpo,
            (false, false) => Algo::ModelFree,
        };
        if config.algo != begun_with {
            let begun_with = begun_with.name();
            return Err(RunError::Config(format!(
                "`algo` is `{}`, but the run began with `{begun_with}`\nhint: leave `algo` out, or start a new run with it",
                config.algo.name()
            )));
        }
        let other = |section| move |error| RunError::OtherPart { section, error };
        run.agent.load(state.part("agent")).map_err(other("agent"))?;
        if let Some(model) = &mut run.model {
            model.load(state.part("model")).map_err(other("model"))?;
        }
        // A run may go on with a learned end that it did not have, or with a rule in place of it.
        let ends = state.part("ends");
        if let Some(learned) = run.ends.as_mut().filter(|_| !ends.is_empty()) {
            learned.load(ends).map_err(other("model"))?;
        }
        let dims = run.dims();
        run.replay.real = RealBuffer::restore(state.part("replay.real"), dims, config.env.count, &run.device)?;
        run.replay.imagined.load(state.part("replay.imagined"))?;
        (run.counters, run.clock.now) = Counters::restore(state.part("counters"))?;
        if let Some(error) = run.missing_rule() {
            return Err(error);
        }
        run.experience.restore(&mut state, run.clock.now, config.seed, &mut run.replay.real)?;
        run.controller.load(state.part("controller"))?;
        run.experience.restarted().iter().for_each(|&env| run.controller.begin(env));
        let mut phase = state.part("phase");
        let kind = phase.u64("kind")?;
        if kind == FIT && !same_model {
            // A run of this length ends with the updates after the fit.
            let (now, end) = (run.clock.now, config.training.env_steps);
            return Err(RunError::Config(format!(
                "this checkpoint was saved during a fit of the model, so `[model]` cannot change yet\nhint: first run `foresee resume RUN training.env_steps={now}`, which ends the fit; then resume with your changes and `training.env_steps={end}`"
            )));
        }
        run.phase = run.restore_phase(kind, phase)?;
        let evals = state.f64s("evaluations")?.1;
        let known = |i: usize| evals.get(i).copied().filter(|eval| !eval.is_nan());
        (run.last_eval, run.best_eval) = (known(0), known(1));
        state.finish()?;
        Ok(run)
    }

    /// Returns the error of a run with a model that has seen its task terminate and has no rule for it.
    fn missing_rule(&self) -> Option<RunError> {
        let spec = self.spec();
        if self.config.algo == Algo::ModelFree || spec.termination.is_some() || self.ends.is_some() {
            return None;
        }
        let (rows, [obs_dim, _]) = (self.replay.real.rows(), self.dims());
        let row = rows.not_terminated.iter().rposition(|&alive| alive == 0.0)?;
        Some(terminations::missing_rule(spec, &rows.next_obs[row * obs_dim..(row + 1) * obs_dim], self.clock.now))
    }

    fn save_phase(&self) -> State {
        let mut state = State::new();
        let kind = match &self.phase {
            Phase::Act => ACT,
            Phase::Fit => {
                state.nest("fit", self.model.as_ref().expect("a fit has a model").save_fit());
                FIT
            }
            Phase::Imagine { rollout, gathered, done } => {
                state.nest("rollout", rollout.save());
                if self.config.algo == Algo::Dhmbpo {
                    state.put("gathered", *gathered);
                    state.put("done", *done);
                }
                IMAGINE
            }
            Phase::Update(done) => {
                state.put("done", *done);
                UPDATE
            }
        };
        state.put("kind", kind);
        state
    }

    fn restore_phase(&mut self, kind: u64, mut state: State) -> Result<Phase, StateError> {
        let phase = match (kind, &mut self.model) {
            (ACT, _) => Phase::Act,
            (FIT, Some(model)) => {
                let loss = &self.config.model.loss;
                let view = self.agent.values(loss.heads, loss.through_policy);
                let mut fit = state.part("fit");
                if fit.iter().any(|(name, _)| name == "real_step") {
                    // Older versions counted from the start of the run.
                    let real_step = fit.u64("real_step")?;
                    fit.put("learning_step", real_step.saturating_sub(self.config.training.explore_steps));
                }
                model.resume_fit(fit, self.replay.real.training_rows(), &*view)?;
                Phase::Fit
            }
            (IMAGINE, Some(_)) => {
                let rollout = Rollout::restore(state.part("rollout"))?;
                let [gathered, done] = match self.config.algo {
                    Algo::Dhmbpo => [state.u64("gathered")?, state.u64("done")?],
                    _ => [0, 0],
                };
                Phase::Imagine { rollout, gathered, done }
            }
            (UPDATE, _) => Phase::Update(state.u64("done")?),
            _ => {
                return Err(StateError::Mismatch {
                    path: "phase.kind".into(),
                    found: kind.to_string(),
                    expected: "a phase of this algorithm".into(),
                });
            }
        };
        state.finish()?;
        Ok(phase)
    }
}

/// Returns a hash of everything that a half-done fit depends on: all of `[model]`, with the head and the loss's keys in
/// force.
///
/// The hashed text has the format of the first version, so that runs of older versions are recognised. There VaGraM's
/// keys were beside those of every loss, and `add_mse_until` counted from the start of the run.
fn fingerprint(config: &Config) -> u64 {
    #[derive(Serialize)]
    struct Loss<'a> {
        kind: &'a str,
        form: Value,
        clip_quantile: Value,
        heads: foresee_nn::ValueHeads,
        through_policy: bool,
        add_mse_until: u64,
        #[serde(skip_serializing_if = "toml::Table::is_empty")]
        others: toml::Table,
    }
    #[derive(Serialize)]
    struct Model<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        kind: Option<&'a str>,
        #[serde(skip_serializing_if = "TerminationSource::is_rule")]
        termination: TerminationSource,
        head: Head,
        ensemble: &'a foresee_world_model::config::EnsembleConfig,
        loss: Loss<'a>,
        fit: &'a foresee_world_model::config::FitConfig,
        #[serde(skip_serializing_if = "toml::Table::is_empty")]
        own: &'a toml::Table,
    }
    let ModelConfig { kind, termination, head, ensemble, loss, fit, own } = &config.model;
    let mut others = loss.keys.clone();
    let mut first = |key: &str, default: Value| others.remove(key).unwrap_or(default);
    let text = serde_json::to_vec(&Model {
        kind: (kind != foresee_world_model::config::ENSEMBLE).then_some(kind),
        termination: *termination,
        head: head.unwrap_or(if loss.kind == "mle" { Head::Gaussian } else { Head::Deterministic }),
        ensemble,
        loss: Loss {
            form: first("form", "bounded".into()),
            clip_quantile: first("clip_quantile", 0.95.into()),
            kind: &loss.kind,
            heads: loss.heads,
            through_policy: loss.through_policy,
            add_mse_until: config.training.explore_steps.saturating_add(loss.add_mse_until),
            others,
        },
        fit,
        own,
    })
    .expect("a config is plain data");
    let hash = blake3::hash(&text);
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes"))
}

impl Ends {
    /// Reads the array `ends` u64 `[3]`: real, missed and invented ones.
    fn restore(state: &mut State) -> Result<Self, StateError> {
        match state.u64s("ends")?.1[..] {
            [real, missed, invented] if missed <= real => Ok(Self { real, missed, invented }),
            ref found => Err(StateError::Mismatch {
                path: "counters.ends".into(),
                found: format!("{found:?}"),
                expected: "numbers of real, missed and invented ends".into(),
            }),
        }
    }
}

impl Counters {
    /// Returns the counters and the time of the clock as arrays.
    fn save(&self, now: u64) -> State {
        let mut state = State::new();
        state.put("env_step", now);
        state.put("episodes", self.episodes);
        state.put("fits", self.fits);
        if self.rollouts != self.fits {
            state.put("rollouts", self.rollouts);
        }
        state.put("imagined_steps", self.imagined_steps);
        state.put("mismatches", self.mismatches);
        if self.ends != Ends::default() {
            state.put("ends", vec![self.ends.real, self.ends.missed, self.ends.invented]);
        }
        state
    }

    /// Restores the counters, and returns them with the time of the clock.
    pub(super) fn restore(mut state: State) -> Result<(Self, u64), StateError> {
        let now = state.u64("env_step")?;
        let fits = state.u64("fits")?;
        let [many, counts_ends] = ["rollouts", "ends"].map(|array| state.iter().any(|(name, _)| name == array));
        let counters = Self {
            episodes: state.u64("episodes")?,
            fits,
            rollouts: if many { state.u64("rollouts")? } else { fits },
            imagined_steps: state.u64("imagined_steps")?,
            mismatches: state.u64("mismatches")?,
            // Older versions did not count the ends.
            ends: if counts_ends { Ends::restore(&mut state)? } else { Ends::default() },
        };
        state.finish()?;
        Ok((counters, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_come_back_also_from_states_of_versions_that_did_not_count_the_ends() {
        let ends = Ends { real: 7, missed: 2, invented: 3 };
        let counters = Counters { episodes: 9, fits: 4, rollouts: 4, imagined_steps: 60, mismatches: 5, ends };
        let (restored, now) = Counters::restore(counters.save(120)).unwrap();
        assert_eq!((restored, now), (counters, 120));

        let older = || -> State {
            let saved = counters.save(120);
            let arrays = saved.iter().filter(|(name, _)| *name != "ends");
            arrays.map(|(name, array)| (name.to_owned(), array.clone())).collect()
        };
        let (restored, _) = Counters::restore(older()).unwrap();
        assert_eq!(restored, Counters { ends: Ends::default(), ..counters });

        let mut other = older();
        other.put("ends", vec![1_u64, 2, 3]);
        assert!(matches!(Counters::restore(other), Err(StateError::Mismatch { .. })), "more missed than real ends");
    }
}
