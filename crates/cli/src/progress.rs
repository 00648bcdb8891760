//! Progress on stderr: a bar on a terminal, and an occasional line if stderr goes to a file.
//!
//! Training does not depend on the clock that is read here. No colours are used, so `NO_COLOR` needs no handling.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use foresee::evaluate::EvaluationProgress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time span of the mean speeds. It is longer than one model fit, so the estimated time left does not jump with the
/// phase.
const WINDOW: Duration = Duration::from_mins(2);

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
        let position = self.pace.samples.back().map(|sample| sample.1);
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

/// The speed of the run, measured over the last [`WINDOW`].
#[derive(Default)]
struct Pace {
    /// Time and environment steps of the first sample.
    first: Option<(Duration, u64)>,
    /// Time, environment steps and imagined steps of each sample.
    samples: VecDeque<(Duration, u64, u64)>,
}

impl Pace {
    fn observe(&mut self, now: Duration, env_step: u64, imagined_steps: u64) {
        // About a hundred samples are enough: the newest sample replaces the one before it until that one is far enough
        // from its predecessor.
        self.first.get_or_insert((now, env_step));
        let length = self.samples.len();
        if length > 1 && now.saturating_sub(self.samples[length - 2].0) < WINDOW / 100 {
            self.samples.pop_back();
        }
        self.samples.push_back((now, env_step, imagined_steps));
        while self.samples.len() > 2 && now.saturating_sub(self.samples[0].0) > WINDOW {
            self.samples.pop_front();
        }
    }

    /// Returns environment steps and imagined steps per second; `None` before one second has been measured.
    fn rates(&self) -> Option<(f64, f64)> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = last.0.saturating_sub(first.0).as_secs_f64();
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        (seconds >= 1.0).then(|| (rate(first.1, last.1), rate(first.2, last.2)))
    }
}

impl Pace {
    /// Returns environment steps per second since the first sample, with the time of evaluations; `None` before one
    /// second has been measured.
    fn mean(&self) -> Option<f64> {
        let ((began, from), (now, to, _)) = (self.first?, *self.samples.back()?);
        let seconds = now.saturating_sub(began).as_secs_f64();
        (seconds >= 1.0).then(|| to.saturating_sub(from) as f64 / seconds)
    }
}

fn percent(env_step: u64, total_steps: u64) -> String {
    format!("{:>3}% ", 100 * env_step.min(total_steps) / total_steps.max(1))
}

/// A status as text.
struct StatusText {
    steps: String,
    left: Option<String>,
    /// Episodes, evaluations, speeds.
    progress: String,
    phase: String,
}

impl StatusText {
    /// Returns the whole status in one line.
    fn line(&self) -> String {
        let parts = [Some(&self.steps), Some(&self.progress), self.left.as_ref()];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        format!("{} {}", parts.join(", "), self.phase)
    }

    /// Shows the status in the bar's two lines. The most important part is beside the bar, so it fits in 80 columns.
    fn show(self, bar: &ProgressBar) {
        let left = self.left.map_or_else(String::new, |left| format!(", {left}"));
        bar.set_prefix(format!("{}{left}", self.steps));
        bar.set_message(format!("{} {}", self.progress, self.phase));
    }
}

fn describe(status: &Status<'_>, total_steps: u64, pace: &Pace) -> StatusText {
    let episodes = if status.episodes == 1 { "episode" } else { "episodes" };
    let mut progress = vec![format!("{} {episodes}", short(status.episodes as f64))];
    match (status.last_eval, status.best_eval) {
        (Some(last), Some(best)) => progress.push(format!("eval {last:.1} (best {best:.1})")),
        (Some(last), None) => progress.push(format!("eval {last:.1}")),
        (None, _) => {}
    }
    let mut left = None;
    if let Some((real, imagined)) = pace.rates() {
        progress.push(format!("{} steps/s", short(real)));
        if imagined > 0.0 {
            progress.push(format!("{} imagined/s", short(imagined)));
        }
        // During a long evaluation no step is taken. The mean of the whole run contains evaluations.
        let pace = if status.evaluation.is_some() { pace.mean().unwrap_or(real) } else { real };
        if pace > 0.0 {
            let seconds = total_steps.saturating_sub(status.env_step) as f64 / pace;
            left = Some(format!("{} left", duration(seconds)));
        }
    }
    StatusText {
        steps: format!("{}/{} steps", short(status.env_step as f64), short(total_steps as f64)),
        left,
        progress: progress.join(", "),
        phase: match status.evaluation {
            Some(EvaluationProgress { finished, episodes, step }) => {
                let episode = (finished + 1).min(episodes);
                format!("[evaluating, episode {episode} of {episodes}, step {}]", short(f64::from(step)))
            }
            None => format!("[{}]", activity(status.phase)),
        },
    }
}

/// Returns the participle of a phase, such as `acting`.
fn activity(phase: &str) -> &str {
    match phase {
        "act" => "acting",
        "fit model" => "fitting the model",
        "imagine" => "imagining",
        "update" => "updating",
        other => other,
    }
}

/// Formats a number in about five characters: `950`, `9.5`, `12.3k`, `1.25M`.
fn short(value: f64) -> String {
    match value {
        v if v >= 999_500.0 => format!("{:.2}M", v / 1e6),
        v if v >= 9_999.5 => format!("{:.1}k", v / 1e3),
        v if v >= 10.0 || v.fract() == 0.0 => format!("{v:.0}"),
        v => format!("{v:.1}"),
    }
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
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

    fn status(env_step: u64, last_eval: Option<f64>) -> Status<'static> {
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

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_line_reads_as_intended() {
        let mut pace = Pace::default();
        pace.observe(seconds(0), 0, 0);
        pace.observe(seconds(40), 12_400, 1_000_000);
        let status = Status { best_eval: Some(-140.06), ..status(12_400, Some(-150.25)) };
        assert_eq!(
            describe(&status, 100_000, &pace).line(),
            "12.4k/100.0k steps, 62 episodes, eval -150.2 (best -140.1), 310 steps/s, 25.0k imagined/s, 4m 43s left [acting]"
        );
        assert_eq!(describe(&self::status(0, None), 500, &Pace::default()).line(), "0/500 steps, 0 episodes [acting]");
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

    #[test]
    fn the_pace_is_that_of_the_last_minutes() {
        let mut pace = Pace::default();
        for tenth in 0..20_000_u64 {
            // 100 steps per second for 1,000 s, then 10 per second.
            let env_step = if tenth < 10_000 { 10 * tenth } else { 90_000 + tenth };
            pace.observe(Duration::from_millis(100 * tenth), env_step, 0);
        }
        let (real, imagined) = pace.rates().unwrap();
        assert!((real - 10.0).abs() < 1e-9, "{real}");
        assert!(imagined.abs() < 1e-9);
        assert!(pace.samples.len() <= 200, "{}", pace.samples.len());
    }

    #[test]
    fn numbers_and_durations_stay_short() {
        let numbers = [0.0, 0.25, 9.5, 9_999.0, 9_999.9, 123_456.0, 999_499.0, 999_600.0].map(short);
        assert_eq!(numbers, ["0", "0.2", "9.5", "9999", "10.0k", "123.5k", "999.5k", "1.00M"]);
        assert_eq!([0.4, 59.6, 283.0, 7_260.0].map(duration), ["0s", "1m 00s", "4m 43s", "2h 01m"]);
    }
}
