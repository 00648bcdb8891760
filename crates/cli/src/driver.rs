//! The loop around a run: records, progress, checkpoints, signals. Nothing here reaches into the training.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use foresee::nn::device;
use foresee::{Record, Run, checkpoint, metrics};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::progress::{Progress, Status};
use crate::records::{Positions, Records};
use crate::run_dir::RunDir;

/// Checkpoints that stay on disk: the newest, and one to fall back to.
const KEEP: usize = 2;

/// The exit code of a run that a signal ended.
pub const INTERRUPTED: u8 = 130;

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The run is complete.
    Finished,
    /// A signal asked to stop; the run is saved.
    Interrupted,
}

/// What a checkpoint stores beside the run itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Beside {
    /// How far the record files went.
    pub positions: Positions,
    /// Seconds of wall clock that the run took up to here.
    pub wall_s: f64,
}

/// A run with everything that surrounds it.
pub struct Driver {
    /// The run.
    pub run: Run,
    /// Its folder.
    pub dir: RunDir,
    /// Its record files.
    pub records: Records,
    /// Seconds that the run took before it was resumed.
    pub wall_s: f64,
    /// Real steps in the newest checkpoint.
    pub saved: u64,
}

impl Driver {
    /// Trains until the run is complete or a signal comes.
    pub fn train(&mut self) -> Result<Ended, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        self.run.stop_by(Arc::clone(&stop));
        let flag = Arc::clone(&stop);
        // A handler that is there already is this one's elder: a second run in one process, as in tests.
        let _ = ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::Relaxed) {
                // Asked twice: an environment may hang until its time limit. What checkpoints hold stays.
                exit_at_once(INTERRUPTED);
            }
        });
        let mut clock = Clock::new(&self.run, self.wall_s);
        let mut progress = Progress::new(self.run.config().training.env_steps, self.run.env_step());
        self.dir.write_manifest(&self.run, "running")?;
        if self.run.env_step() == 0 {
            // A run that is killed before its first clock can still be resumed.
            self.checkpoint(self.wall_s)?;
        }
        let ended = self.slices(&stop, &mut clock, &mut progress);
        progress.finish();
        let status = match &ended {
            Ok(Ended::Finished) => "finished",
            Ok(Ended::Interrupted) => "interrupted",
            Err(_) => "failed",
        };
        self.wall_s = clock.wall_s();
        let written = self.dir.write_manifest(&self.run, status);
        let ended = ended.map_err(|failure| self.with_the_way_back(failure))?;
        written.map(|()| ended)
    }

    /// A failure in the middle of a run, with where the run is and how it goes on.
    fn with_the_way_back(&self, failure: Failure) -> Failure {
        let Failure::Run(message) = failure else { return failure };
        let (dir, step) = (self.dir.path().display(), self.saved);
        Failure::Run(format!("{message}\nthe run is saved up to environment step {step}\ngo on: foresee resume {dir}"))
    }

    fn slices(&mut self, stop: &AtomicBool, clock: &mut Clock, progress: &mut Progress) -> Result<Ended, Failure> {
        let every = self.run.config().training.checkpoint_every;
        let mut fresh: Vec<Record> = Vec::new();
        let mut lost_at = device_lost_at();
        while !self.run.is_done() {
            if lost_at.is_some_and(|step| step <= self.run.env_step()) && device::lose(self.run.config().device) {
                lost_at = None;
            }
            let (phase, begun) = (self.run.phase(), Instant::now());
            self.run.advance(&mut fresh)?;
            clock.took(phase, &fresh, begun.elapsed().as_secs_f64());
            for record in fresh.drain(..) {
                self.records.write(&record)?;
            }
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
            });
            let interrupted = stop.load(Ordering::Relaxed) && !self.run.is_done();
            if save || interrupted || self.run.is_done() {
                self.checkpoint(clock.wall_s())?;
            }
            if interrupted {
                return Ok(Ended::Interrupted);
            }
        }
        Ok(Ended::Finished)
    }

    fn checkpoint(&mut self, wall_s: f64) -> Result<(), Failure> {
        self.records.sync()?;
        let beside = Beside { positions: self.records.positions(), wall_s };
        let beside = serde_json::to_value(beside).expect("positions are plain numbers");
        checkpoint::save(&self.dir.checkpoints(), self.run.env_step(), &self.run.snapshot()?, &beside, KEEP)?;
        self.saved = self.run.env_step();
        Ok(())
    }
}

/// The wall clock; its readings go to `timing.jsonl` and nowhere else.
struct Clock {
    started: Instant,
    before: f64,
    lap: (f64, u64, u64),
    /// Seconds of this lap, a metric a phase.
    phases: [(&'static str, f64); 5],
}

/// The phases of a run, each with the seconds that it took.
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

    /// A slice of a phase took so many seconds, and reported these records.
    fn took(&mut self, phase: &str, records: &[Record], seconds: f64) {
        let evaluated =
            records.iter().any(|record| record.values.iter().any(|(name, _)| *name == metrics::EVAL_RETURN));
        let metric = match phase {
            _ if evaluated => metrics::TIME_EVALUATE,
            "act" => metrics::TIME_ACT,
            "fit model" => metrics::TIME_FIT,
            "imagine" => metrics::TIME_IMAGINE,
            _ => metrics::TIME_UPDATE,
        };
        self.phases.iter_mut().filter(|(name, _)| *name == metric).for_each(|(_, sum)| *sum += seconds);
    }

    /// Seconds since the start of the run; speeds, and seconds of every phase, since the last lap.
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

/// The real step from which on a test has taken the device away.
fn device_lost_at() -> Option<u64> {
    std::env::var("FORESEE_TEST_DEVICE_LOST_AT").ok()?.parse().ok()
}

/// Ends the process in whatever it is doing, without destructors.
fn exit_at_once(code: u8) -> ! {
    #[cfg(unix)]
    #[allow(unsafe_code, reason = "the C library's `_exit`")]
    // SAFETY: it takes a number and does not return.
    unsafe {
        libc::_exit(code.into())
    }
    #[cfg(not(unix))]
    std::process::exit(code.into())
}

/// Resident memory of this process in MiB, where the system tells.
fn resident_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
