//! Progress on stderr: a bar on a terminal, and an occasional line if stderr goes to a file.
//!
//! Training does not depend on the clock that is read here. No colours are used, so `NO_COLOR` needs no handling.
//!
//! * `pace`: the speed of the run over the last minutes.
//! * `text`: a status as text.

mod pace;
mod text;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use foresee::evaluate::EvaluationProgress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use pace::Pace;
use text::{StatusText, describe, percent};

/// Shortest time between two redraws of the bar.
const REDRAW: Duration = Duration::from_millis(100);

/// Without a terminal, a line is printed when both this time and this share of the run have passed since the last line,
/// and after every evaluation. During an evaluation a line is printed whenever this time has passed.
const LINE_INTERVAL: (Duration, f64) = (Duration::from_secs(10), 0.05);

/// The progress of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Status<'a> {
    /// Number of real environment steps taken.
    pub env_step: u64,
    /// Number of training episodes ended.
    pub episodes: u64,
    /// Mean return of the last evaluation.
    pub last_eval: Option<f64>,
    /// Mean return of the best evaluation.
    pub best_eval: Option<f64>,
    /// Number of steps imagined in the world model.
    pub imagined_steps: u64,
    /// The current phase, as [`foresee::Run::phase`] names it.
    pub phase: &'a str,
    /// The evaluation in progress.
    pub evaluation: Option<EvaluationProgress>,
}

enum Output {
    Bar(ProgressBar),
    Lines(Box<dyn Write + Send>),
}

/// Shows the progress of a run.
pub(crate) struct Progress {
    output: Output,
    total_steps: u64,
    started: Instant,
    pace: Pace,
    shown: Shown,
    /// The time at which the evaluation in progress began.
    evaluating_since: Option<Duration>,
    /// The latest status as text, if it has not been shown.
    pending: Option<StatusText>,
}

/// The contents of the last line or redraw.
struct Shown {
    at: Duration,
    env_step: u64,
    eval: Option<f64>,
}

impl Progress {
    /// Starts to show a run of `total_steps` environment steps. `start_step` of them were taken before.
    #[must_use]
    pub(crate) fn new(total_steps: u64, start_step: u64) -> Self {
        let target = ProgressDrawTarget::stderr();
        if target.is_hidden() {
            return Self::with_output(Output::Lines(Box::new(io::stderr())), total_steps, start_step);
        }
        let style =
            ProgressStyle::with_template("{bar:30} {percent:>3}%  {prefix}\n{wide_msg}").expect("a valid template");
        let bar = ProgressBar::with_draw_target(Some(total_steps), target).with_style(style).with_position(start_step);
        Self::with_output(Output::Bar(bar), total_steps, start_step)
    }

    fn with_output(output: Output, total_steps: u64, start_step: u64) -> Self {
        let shown = Shown { at: Duration::ZERO, env_step: start_step, eval: None };
        Self {
            output,
            total_steps,
            started: Instant::now(),
            pace: Pace::default(),
            shown,
            evaluating_since: None,
            pending: None,
        }
    }

    /// Records the progress of the run, and shows it if an update is due.
    pub(crate) fn update(&mut self, status: &Status<'_>) {
        self.update_at(self.started.elapsed(), status);
    }

    fn update_at(&mut self, now: Duration, status: &Status<'_>) {
        self.pace.observe(now, status.env_step, status.imagined_steps);
        let since = now.saturating_sub(self.shown.at);
        self.evaluating_since = status.evaluation.and(self.evaluating_since.or(Some(now)));
        let evaluates = self.evaluating_since.is_some_and(|began| now.saturating_sub(began) >= LINE_INTERVAL.0);
        let share = (status.env_step.saturating_sub(self.shown.env_step)) as f64 / self.total_steps.max(1) as f64;
        let evaluated = status.last_eval.map(f64::to_bits) != self.shown.eval.map(f64::to_bits);
        let due = match self.output {
            Output::Bar(_) => since >= REDRAW,
            Output::Lines(_) => since >= LINE_INTERVAL.0 && (share >= LINE_INTERVAL.1 || evaluates),
        };
        let text = describe(status, self.total_steps, &self.pace);
        if !(due || evaluated) {
            self.pending = Some(text);
            return;
        }
        self.shown = Shown { at: now, env_step: status.env_step, eval: status.last_eval };
        self.pending = None;
        match &mut self.output {
            Output::Bar(bar) => {
                bar.set_position(status.env_step);
                text.show(bar);
            }
            Output::Lines(lines) => print(lines, &percent(status.env_step, self.total_steps), &text.line()),
        }
    }

    /// Prints a warning above the bar or between the lines.
    pub(crate) fn warn(&mut self, warning: &str) {
        match &mut self.output {
            Output::Bar(bar) => bar.suspend(|| eprintln!("warning: {warning}")),
            Output::Lines(lines) => print(lines, "warning: ", warning),
        }
    }

    /// Shows the last status and leaves it on the screen.
    pub(crate) fn finish(&mut self) {
        let position = self.pace.last_step();
        match (&mut self.output, self.pending.take()) {
            (Output::Bar(bar), text) => {
                bar.set_position(position.unwrap_or(self.shown.env_step));
                text.into_iter().for_each(|text| text.show(bar));
                bar.abandon();
            }
            (Output::Lines(lines), Some(text)) => {
                print(lines, &percent(position.unwrap_or(0), self.total_steps), &text.line());
            }
            (Output::Lines(_), None) => {}
        }
    }
}

/// Prints a line. Errors are ignored, because a closed stderr is no reason to stop a run.
fn print(output: &mut dyn Write, start: &str, line: &str) {
    let _ = writeln!(output, "{start}{line}");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn lines(&self) -> Vec<String> {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
        }
    }

    fn plain(total_steps: u64, start_step: u64) -> (Progress, Sink) {
        let sink = Sink::default();
        (Progress::with_output(Output::Lines(Box::new(sink.clone())), total_steps, start_step), sink)
    }

    /// The status after this number of steps, while the agent acts.
    pub(super) fn status(env_step: u64, last_eval: Option<f64>) -> Status<'static> {
        let imagined_steps = 100 * env_step;
        Status {
            env_step,
            episodes: env_step / 200,
            last_eval,
            best_eval: last_eval,
            imagined_steps,
            phase: "act",
            evaluation: None,
        }
    }

    /// A time in seconds.
    pub(super) const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn without_a_terminal_lines_wait_for_ten_seconds_and_five_percent() {
        let (mut progress, sink) = plain(1000, 0);
        for second in 0..=40 {
            // Fast first, then slow: 20 steps per second, then one.
            progress.update_at(seconds(second), &status(if second <= 20 { 20 * second } else { 380 + second }, None));
        }
        let shown: Vec<_> = sink.lines().iter().map(|line| line[..4].trim().to_owned()).collect();
        assert_eq!(shown, ["20%", "40%"]);
    }

    #[test]
    fn an_evaluation_is_a_line_at_once_and_once() {
        let (mut progress, sink) = plain(1000, 500);
        progress.update_at(seconds(1), &status(501, None));
        progress.update_at(seconds(1), &status(502, Some(-3.0)));
        progress.update_at(seconds(1), &status(503, Some(-3.0)));
        progress.update_at(seconds(1), &status(504, Some(f64::NAN)));
        progress.update_at(seconds(1), &status(505, Some(f64::NAN)));
        let lines = sink.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0], " 50% 502/1000 steps, 2 episodes, eval -3.0 (best -3.0) [acting]");
    }

    #[test]
    fn a_long_evaluation_is_a_line_every_ten_seconds_and_counts_in_the_time_left() {
        let (mut progress, sink) = plain(1000, 0);
        progress.update_at(seconds(0), &status(0, None));
        progress.update_at(seconds(10), &status(100, None));
        for second in 10..=400 {
            let evaluation = EvaluationProgress { finished: 0, episodes: 20, step: 100 * (second as u32 - 10) };
            progress.update_at(
                seconds(second),
                &Status { phase: "evaluate", evaluation: Some(evaluation), ..status(100, None) },
            );
        }
        let lines = sink.lines();
        assert_eq!(lines.len(), 1 + 39, "{lines:?}");
        assert!(lines[1].ends_with("3m 00s left [evaluating, episode 1 of 20, step 1000]"), "{}", lines[1]);
        // 100 steps in 400 s.
        let last = lines.last().unwrap();
        assert!(last.ends_with("0 steps/s, 1h 00m left [evaluating, episode 1 of 20, step 39.0k]"), "{last}");
        // A short one is no line of its own.
        let (mut progress, sink) = plain(1000, 0);
        progress.update_at(seconds(60), &status(1, None));
        let evaluation = Some(EvaluationProgress { finished: 3, episodes: 20, step: 7 });
        progress.update_at(seconds(61), &Status { evaluation, ..status(1, None) });
        assert_eq!(sink.lines(), [""; 0]);
    }

    #[test]
    fn the_end_is_shown_once() {
        let (mut progress, sink) = plain(1000, 0);
        progress.update_at(seconds(1), &status(1000, None));
        progress.finish();
        progress.finish();
        assert_eq!(sink.lines(), ["100% 1000/1000 steps, 5 episodes [acting]"]);
    }
}
