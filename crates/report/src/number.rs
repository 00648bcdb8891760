//! Numbers as text for readers.

use crate::report::Until;
use crate::stats::Estimate;

/// Returns a number with as many decimals as numbers of the size of `scale` need, and commas between thousands.
pub(crate) fn rounded(value: f64, scale: f64) -> String {
    let decimals = match scale.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        size if size >= 0.01 => 3,
        0.0 => 0,
        _ => return format!("{value:.1e}"),
    };
    fixed(value, decimals)
}

/// Returns a number with this many decimals, and commas between thousands.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let sign = if digits.bytes().all(|byte| byte == b'0' || byte == b'.') { "" } else { sign };
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    format!("{sign}{}{rest}", with_commas(whole))
}

/// Returns the largest absolute value of an estimate, which decides on its decimals.
fn scale(estimate: &Estimate) -> f64 {
    estimate.value.abs().max(estimate.low.abs()).max(estimate.high.abs())
}

/// Returns the value of an estimate from this number of seeds, and its interval, such as `[-170, -140]`.
///
/// One seed has no interval: all of its resamples are equal, so the ends would be the value itself.
pub(crate) fn estimate(estimate: &Estimate, seeds: usize) -> (String, String) {
    let scale = scale(estimate);
    let number = |value| rounded(value, scale);
    (number(estimate.value), interval(number(estimate.low), number(estimate.high), seeds))
}

/// Returns a probability with two decimals, and its interval, such as `[0.85, 1.00]`. `seeds` is the smaller number of
/// seeds of the two groups; with one seed there is no interval.
pub(crate) fn probability(estimate: &Estimate, seeds: usize) -> (String, String) {
    let number = |value| format!("{value:.2}");
    (number(estimate.value), interval(number(estimate.low), number(estimate.high), seeds))
}

/// Returns an interval as text; empty for one seed.
fn interval(low: String, high: String, seeds: usize) -> String {
    if seeds > 1 { format!("[{low}, {high}]") } else { String::new() }
}

/// Returns a number of steps with commas between thousands.
pub(crate) fn steps(steps: u64) -> String {
    with_commas(&steps.to_string())
}

/// Returns a number of steps in at most five characters where they are enough: `950`, `12,000`, `250 k`, `1.25 M`.
pub(crate) fn short_steps(count: f64) -> String {
    match count {
        n if n >= 1e6 => format!("{} M", (n / 1e4).round() / 100.0),
        n if n >= 1e5 => format!("{} k", (n / 1e2).round() / 10.0),
        n => steps(n as u64),
    }
}

/// Returns a duration, such as `41 s`, `12 min` or `3.2 h`.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Returns the median of a number of steps or seconds over this number of seeds, and its interval. A number after the
/// compared step is `never`. One seed has no interval.
pub(crate) fn until(until: &Until, seeds: usize, show: impl Fn(f64) -> String) -> (String, String) {
    let end = |number: Option<f64>| number.map_or_else(|| "never".to_owned(), &show);
    match (until.median, until.low) {
        (None, None) => ("never".into(), String::new()),
        _ => (end(until.median), interval(end(until.low), end(until.high), seeds)),
    }
}

/// Returns a count with its noun: `1 seed`, `10 seeds`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn with_commas(digits: &str) -> String {
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_decimals_of_their_scale() {
        for (value, scale, want) in [
            (-1234.5678, 1234.5, "-1,235"),
            (0.4, 1234.0, "0"),
            (-0.4, 1234.0, "0"),
            (12.345, 12.0, "12.3"),
            (1.234, 9.0, "1.23"),
            (0.05, 0.08, "0.050"),
            (0.00012, 0.00012, "1.2e-4"),
            (0.0, 0.0, "0"),
            (1_000_000.0, 1e6, "1,000,000"),
        ] {
            assert_eq!(rounded(value, scale), want);
        }
    }

    #[test]
    fn steps_are_short_from_a_hundred_thousand_on() {
        let texts = [950.0, 12_000.0, 250_000.0, 123_456.0, 1_250_000.0, 2e6].map(short_steps);
        assert_eq!(texts, ["950", "12,000", "250 k", "123.5 k", "1.25 M", "2 M"]);
    }

    #[test]
    fn durations_have_units() {
        assert_eq!([1.24, 41.0, 600.0, 11_520.0].map(seconds), ["1.2 s", "41 s", "10 min", "3.2 h"]);
    }
}
