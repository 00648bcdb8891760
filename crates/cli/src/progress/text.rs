//! The status of a run as text.

use foresee::evaluate::EvaluationProgress;
use indicatif::ProgressBar;

use super::Status;
use super::pace::Pace;

/// A status as text.
pub(super) struct StatusText {
    steps: String,
    left: Option<String>,
    /// Episodes, evaluations, speeds.
    progress: String,
    phase: String,
}

impl StatusText {
    /// Returns the whole status in one line.
    pub(super) fn line(&self) -> String {
        let parts = [Some(&self.steps), Some(&self.progress), self.left.as_ref()];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        format!("{} {}", parts.join(", "), self.phase)
    }

    /// Shows the status in the bar's two lines. The most important part is beside the bar, so it fits in 80 columns.
    pub(super) fn show(self, bar: &ProgressBar) {
        let left = self.left.map_or_else(String::new, |left| format!(", {left}"));
        bar.set_prefix(format!("{}{left}", self.steps));
        bar.set_message(format!("{} {}", self.progress, self.phase));
    }
}

/// Returns a status as text.
pub(super) fn describe(status: &Status<'_>, total_steps: u64, pace: &Pace) -> StatusText {
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

/// Returns the share of the steps that are taken, such as ` 50% `.
pub(super) fn percent(env_step: u64, total_steps: u64) -> String {
    format!("{:>3}% ", 100 * env_step.min(total_steps) / total_steps.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::{seconds, status};

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
    fn numbers_and_durations_stay_short() {
        let numbers = [0.0, 0.25, 9.5, 9_999.0, 9_999.9, 123_456.0, 999_499.0, 999_600.0].map(short);
        assert_eq!(numbers, ["0", "0.2", "9.5", "9999", "10.0k", "123.5k", "999.5k", "1.00M"]);
        assert_eq!([0.4, 59.6, 283.0, 7_260.0].map(duration), ["0s", "1m 00s", "4m 43s", "2h 01m"]);
    }
}
