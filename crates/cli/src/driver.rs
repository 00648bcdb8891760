//! The loop around a run: it writes records, shows progress, saves checkpoints and handles signals. It does not affect
//! the training.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use foresee::nn::device;
use foresee::shell::quoted;
use foresee::{Record, Run, checkpoint, metrics};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::progress::{Progress, Status};
use crate::records::{Positions, Records};
use crate::run_dir::RunDir;
use crate::signals;

/// Number of checkpoints that are kept on disk: the newest, and one to fall back to.
const KEPT_CHECKPOINTS: usize = 2;

/// The exit code of a run that was ended by a signal.
pub(crate) const INTERRUPTED: u8 = 130;

/// The way in which training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The run is complete.
    Finished,
    /// A signal requested the stop, and the run is saved.
    Interrupted,
}

/// The data in a checkpoint besides the run's state.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckpointExtra {
    /// Lengths of the record files at the checkpoint.
    pub positions: Positions,
    /// Wall-clock seconds that the run took up to the checkpoint.
    pub wall_s: f64,
}

/// A run with its folder and its record files.
pub(crate) struct Driver {
    /// The run.
    pub run: Run,
    /// The run's folder.
    pub dir: RunDir,
    /// The run's record files.
    pub records: Records,
    /// Seconds that the run took before it was resumed.
    pub wall_s: f64,
    /// Number of real steps in the newest checkpoint.
    pub saved_step: u64,
}

impl Driver {
    /// Trains until the run is complete or a signal arrives.
    pub(crate) fn train(&mut self) -> Result<Ended, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        self.run.stop_by(Arc::clone(&stop));
        signals::stop_by_signals(&stop);
        let mut clock = Clock::new(&self.run, self.wall_s);
        let mut progress = Progress::new(self.run.config().training.env_steps, self.run.env_step());
        self.dir.write_manifest(&self.run, "running")?;
        if self.run.env_step() == 0 {
            // With this checkpoint, a run that is killed before its first interval ends can be resumed.
            self.checkpoint(self.wall_s)?;
        }
        let ended = self.train_in_slices(&stop, &mut clock, &mut progress);
        progress.finish();
        let status = match &ended {
            Ok(Ended::Finished) => "finished",
            Ok(Ended::Interrupted) => "interrupted",
            Err(_) => "failed",
        };
        self.wall_s = clock.wall_s();
        let written = self.dir.write_manifest(&self.run, status);
        let ended = ended.map_err(|failure| self.with_resume_command(failure))?;
        written.map(|()| ended)
    }

    /// Adds to a failure in the middle of a run the step of the newest checkpoint and the command that resumes the run.
    fn with_resume_command(&self, failure: Failure) -> Failure {
        let (message, overrides) = match failure {
            Failure::Input(_) => return failure,
            Failure::Run(message) => (message, String::new()),
            Failure::NoTerminationRule(message) => (message, " \"env.termination={…}\"".into()),
            Failure::Repeats { message, change } => (message, format!(" {change}")),
        };
        let stopped = if message.starts_with("at environment step ") { "training stopped " } else { "" };
        let dir = if self.dir.is_in_place() { quoted(self.dir.path()) } else { "DIR".into() };
        let step = self.saved_step;
        Failure::Run(format!(
            "{stopped}{message}\nthe run is saved up to environment step {step}\nto continue: foresee resume {dir}{overrides}"
        ))
    }

    fn train_in_slices(
        &mut self,
        stop: &AtomicBool,
        clock: &mut Clock,
        progress: &mut Progress,
    ) -> Result<Ended, Failure> {
        let every = self.run.config().training.checkpoint_every;
        let mut records: Vec<Record> = Vec::new();
        let (mut lost_at, mut unsaved) = (device_lost_at(), false);
        let mut rule_is_doubted = false;
        while !self.run.is_done() {
            if lost_at.is_some_and(|step| step <= self.run.env_step()) && device::lose(self.run.config().device) {
                lost_at = None;
            }
            let (phase, started) = (self.run.phase(), Instant::now());
            if let Err(error) = self.run.advance(&mut records) {
                // A turn that failed changes nothing.
                let changed = unsaved || phase != "act" || self.run.phase() != "act";
                if changed && error.keeps_run() {
                    // The first error is the one to report, and `saved_step` is right in any case.
                    let _ = self.save_records(&mut records).and_then(|()| self.checkpoint(clock.wall_s()));
                }
                return Err(match error.remedy(self.run.config()) {
                    Some(change) => Failure::Repeats { message: error.to_string(), change },
                    None => error.into(),
                });
            }
            unsaved = true;
            clock.add(phase, &records, started.elapsed().as_secs_f64());
            self.save_records(&mut records)?;
            let step = self.run.env_step();
            let (log, save) = (self.run.is_due(self.run.config().training.log_every), self.run.is_due(every));
            if log {
                let (wall_s, values) = clock.lap(&self.run);
                self.records.write_timing(step, wall_s, &values)?;
            }
            let [last_eval, best_eval] = self.run.evaluations();
            progress.update(&Status {
                env_step: self.run.env_step(),
                episodes: self.run.episodes(),
                last_eval,
                best_eval,
                imagined_steps: self.run.imagined_steps(),
                phase: self.run.phase(),
                evaluation: self.run.evaluation_progress(),
            });
            if !rule_is_doubted && let Some(contradiction) = self.run.contradicted_rule() {
                rule_is_doubted = true;
                progress.warn(&contradiction);
            }
            let interrupted = stop.load(Ordering::Relaxed) && !self.run.is_done();
            if save || interrupted || self.run.is_done() {
                self.checkpoint(clock.wall_s())?;
                unsaved = false;
            }
            if interrupted {
                return Ok(Ended::Interrupted);
            }
        }
        Ok(Ended::Finished)
    }

    /// Writes the records, and removes them from the list.
    fn save_records(&mut self, records: &mut Vec<Record>) -> Result<(), Failure> {
        records.drain(..).try_for_each(|record| Ok(self.records.write(&record)?))
    }

    fn checkpoint(&mut self, wall_s: f64) -> Result<(), Failure> {
        self.dir.check_place()?;
        self.records.sync()?;
        let extra = CheckpointExtra { positions: self.records.positions(), wall_s };
        let extra = serde_json::to_value(extra).expect("positions are plain numbers");
        let saved = checkpoint::save(
            &self.dir.checkpoints(),
            self.run.env_step(),
            &self.run.snapshot()?,
            &extra,
            KEPT_CHECKPOINTS,
        );
        if saved.is_err() {
            // A folder that is moved while a checkpoint is written is the cause.
            self.dir.check_place()?;
        }
        saved?;
        self.saved_step = self.run.env_step();
        Ok(())
    }
}

/// Measures wall-clock time for `timing.jsonl`, the event file, the final message and the checkpoints' `wall_s`.
/// Training does not depend on it.
struct Clock {
    started: Instant,
    before: f64,
    lap: (f64, u64, u64),
    /// Seconds of each phase since the last lap, by metric.
    phases: [(&'static str, f64); 5],
}

/// The metrics of the phases of a run, with 0 seconds each.
const PHASES: [(&str, f64); 5] = [
    (metrics::TIME_ACT, 0.0),
    (metrics::TIME_FIT, 0.0),
    (metrics::TIME_IMAGINE, 0.0),
    (metrics::TIME_UPDATE, 0.0),
    (metrics::TIME_EVALUATE, 0.0),
];

impl Clock {
    fn new(run: &Run, before: f64) -> Self {
        let lap = (before, run.env_step(), run.imagined_steps());
        Self { started: Instant::now(), before, lap, phases: PHASES }
    }

    fn wall_s(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// Adds the seconds of a slice to its phase. A slice whose records contain an evaluation counts as evaluation.
    fn add(&mut self, phase: &str, records: &[Record], seconds: f64) {
        let evaluated =
            records.iter().any(|record| record.values.iter().any(|(name, _)| *name == metrics::EVAL_RETURN));
        let metric = match phase {
            _ if evaluated => metrics::TIME_EVALUATE,
            "evaluate" => metrics::TIME_EVALUATE,
            "act" => metrics::TIME_ACT,
            "fit model" => metrics::TIME_FIT,
            "imagine" => metrics::TIME_IMAGINE,
            _ => metrics::TIME_UPDATE,
        };
        self.phases.iter_mut().filter(|(name, _)| *name == metric).for_each(|(_, sum)| *sum += seconds);
    }

    /// Returns the seconds since the start of the run. Also returns the speeds and the seconds of every phase since the
    /// last lap.
    fn lap(&mut self, run: &Run) -> (f64, Vec<(&'static str, f64)>) {
        let (now, real, imagined) = (self.wall_s(), run.env_step(), run.imagined_steps());
        let seconds = (now - self.lap.0).max(1e-9);
        let mut values = vec![
            (metrics::FPS, (real - self.lap.1) as f64 / seconds),
            (metrics::IMAGINED_FPS, (imagined - self.lap.2) as f64 / seconds),
        ];
        values.extend(std::mem::replace(&mut self.phases, PHASES).into_iter().filter(|&(_, seconds)| seconds > 0.0));
        values.extend(resident_mib().map(|mib| (metrics::RESIDENT_MIB, mib)));
        self.lap = (now, real, imagined);
        (now, values)
    }
}

/// Returns the real step at which a test makes the device fail.
fn device_lost_at() -> Option<u64> {
    std::env::var("FORESEE_TEST_DEVICE_LOST_AT").ok()?.parse().ok()
}

/// Returns the resident memory of this process in MiB, if the system reports it.
fn resident_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
