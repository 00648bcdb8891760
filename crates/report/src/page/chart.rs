//! Drawings as SVG: curves with bands, and rows of estimates with their intervals.
//!
//! Coordinates are those of a view of 400 units; a page shows it 330 to 560 pixels wide, so a text of 12 units is
//! legible everywhere.

use std::fmt::Write;

use crate::number;
use crate::stats::Estimate;

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 270.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// Average width of a character.
const CHARACTER: f64 = 6.8;
/// Height of a row of estimates.
const ROW: f64 = 34.0;
/// Smallest vertical distance of two labels.
const LABEL: f64 = 13.0;
const COLOURS: usize = 7;
/// Dash patterns; groups of equal colours have different ones.
const DASHES: [&str; 5] = ["", "7 3", "2 3", "9 3 2 3", "5 2"];

/// An axis.
pub(super) struct Axis {
    label: String,
    /// Number of data units in a unit of the axis.
    factor: f64,
    /// Limits that do not depend on the data.
    fixed: (Option<f64>, Option<f64>),
}

impl Axis {
    /// An axis over the range of the data.
    pub(super) fn of(label: &str) -> Self {
        Self { label: label.into(), factor: 1.0, fixed: (None, None) }
    }

    /// An axis that begins at 0, in units of `factor`.
    pub(super) fn from_zero(label: &str, factor: f64) -> Self {
        Self { label: label.into(), factor, fixed: (Some(0.0), None) }
    }

    /// An axis from 0 to 1.
    pub(super) fn share(label: &str) -> Self {
        Self { label: label.into(), factor: 1.0, fixed: (Some(0.0), Some(1.0)) }
    }
}

/// A line of a chart.
pub(super) struct Line {
    group: usize,
    points: Vec<(f64, Estimate)>,
    /// A label at the end of a thick line, or the hint of a thin one.
    text: String,
    thick: bool,
}

impl Line {
    /// A run.
    pub(super) fn thin(group: usize, points: Vec<(f64, f64)>, text: String) -> Self {
        let points = points.into_iter().map(|(x, value)| (x, Estimate { value, low: value, high: value })).collect();
        Self { group, points, text, thick: false }
    }

    /// A group with its interval.
    pub(super) fn thick(group: usize, points: Vec<(f64, Estimate)>, text: String) -> Self {
        Self { group, points, text, thick: true }
    }
}

/// Lines over two axes.
pub(super) struct Chart {
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
    /// A horizontal line with its name.
    pub level: Option<(f64, String)>,
    /// Text below the drawing, in HTML.
    pub caption: String,
    /// Whether lines are constant between points.
    pub in_steps: bool,
}

/// A map of a range of numbers to a range of coordinates.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let share = (value.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        self.from + share * (self.to - self.from)
    }
}

impl Chart {
    /// Returns the drawing as a figure; empty if there is nothing to draw.
    pub(super) fn svg(&self) -> String {
        if self.lines.iter().all(|line| line.points.is_empty()) {
            return String::new();
        }
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let values = points().flat_map(|(_, estimate)| [estimate.low, estimate.high, estimate.value]);
        let values = values.chain(self.level.iter().map(|(value, _)| *value));
        let (x_low, x_high) = limits(points().map(|(x, _)| *x), self.x.fixed, 0.0);
        let (y_low, y_high) = limits(values, self.y.fixed, 0.04);
        let y_ticks = ticks(y_low, y_high, 5);
        let numbers = y_ticks.iter().map(|&tick| number_of_tick(tick, &y_ticks).chars().count()).max().unwrap_or(1);
        let names = self.lines.iter().filter(|line| line.thick).map(|line| line.text.chars().count()).max();
        let left = 26.0 + CHARACTER * numbers as f64;
        let right = WIDTH - 12.0 - CHARACTER * 1.08 * names.unwrap_or(0) as f64;
        let x = Scale { low: x_low, high: x_high, from: left, to: right };
        let y = Scale { low: y_low, high: y_high, from: HEIGHT - BOTTOM, to: TOP };
        let mut svg = String::new();
        self.axes(&x, &y, &y_ticks, &mut svg);
        for line in &self.lines {
            self.line(line, &x, &y, &mut svg);
        }
        self.labels(&x, &y, &mut svg);
        figure(&svg, HEIGHT, &self.caption)
    }

    fn axes(&self, x: &Scale, y: &Scale, y_ticks: &[f64], svg: &mut String) {
        for &tick in y_ticks {
            let at = y.at(tick);
            _ = write!(svg, r#"<path class="grid" d="M{:.1} {at:.1}H{:.1}"/>"#, x.from, x.to);
            let number = number_of_tick(tick, y_ticks);
            _ = write!(
                svg,
                r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{number}</text>"#,
                x.from - 6.0,
                at + 4.0
            );
        }
        let x_ticks = ticks(x.low / self.x.factor, x.high / self.x.factor, 5);
        for &tick in &x_ticks {
            let at = x.at(tick * self.x.factor);
            _ = write!(svg, r#"<path class="grid" d="M{at:.1} {:.1}v4"/>"#, y.from);
            let number = number_of_tick(tick, &x_ticks);
            _ = write!(
                svg,
                r#"<text class="tick" x="{at:.1}" y="{:.1}" text-anchor="middle">{number}</text>"#,
                y.from + 17.0
            );
        }
        let middle = (x.from + x.to) / 2.0;
        _ = write!(
            svg,
            r#"<text class="tick" x="{middle:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            HEIGHT - 6.0,
            self.x.label
        );
        let middle = (y.from + y.to) / 2.0;
        _ = write!(
            svg,
            r#"<text class="tick" transform="translate(12 {middle:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
            self.y.label
        );
        if let Some((value, _)) = &self.level {
            let at = y.at(*value);
            _ = write!(svg, r#"<path class="level" d="M{:.1} {at:.1}H{:.1}"/>"#, x.from, x.to);
        }
    }

    fn line(&self, line: &Line, x: &Scale, y: &Scale, svg: &mut String) {
        let colour = line.group % COLOURS;
        let path = |of: &dyn Fn(&Estimate) -> f64, backward: bool| {
            let mut places: Vec<(f64, f64)> =
                line.points.iter().map(|(at, estimate)| (x.at(*at), y.at(of(estimate)))).collect();
            if self.in_steps {
                // The share above a threshold stays until the next one.
                let corners = places.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]).collect::<Vec<_>>();
                places = corners.into_iter().chain(places.last().copied()).collect();
            }
            if backward {
                places.reverse();
            }
            places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
        };
        let middle = path(&|estimate| estimate.value, false);
        if !line.thick {
            let title = super::escaped(&line.text);
            _ = write!(
                svg,
                r#"<polyline points="{middle}" fill="none" stroke="var(--c{colour})" stroke-opacity=".3"><title>{title}</title></polyline>"#
            );
            return;
        }
        let (low, high) = (path(&|estimate| estimate.low, false), path(&|estimate| estimate.high, true));
        _ = write!(svg, r#"<polygon points="{low} {high}" fill="var(--c{colour})" fill-opacity=".16"/>"#);
        _ = write!(
            svg,
            r#"<polyline points="{middle}" fill="none" stroke="var(--c{colour})" stroke-width="2.4" stroke-linejoin="round"{}/>"#,
            dash(line.group)
        );
    }

    /// Writes the name of the level, and the names at the ends of thick lines, moved apart where lines end close to each other.
    fn labels(&self, x: &Scale, y: &Scale, svg: &mut String) {
        if let Some((value, name)) = &self.level {
            let at = y.at(*value);
            _ = write!(svg, r#"<text class="tick name" x="{:.1}" y="{:.1}">{name}</text>"#, x.from + 4.0, at - 4.0);
        }
        let ends = self.lines.iter().filter(|line| line.thick);
        let mut ends: Vec<(f64, f64, &Line)> = ends
            .filter_map(|line| line.points.last().map(|(at, estimate)| (y.at(estimate.value), x.at(*at), line)))
            .collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut places: Vec<f64> = ends.iter().map(|end| end.0).collect();
        for n in 1..places.len() {
            places[n] = places[n].max(places[n - 1] + LABEL);
        }
        // Labels that are now below the axis move up, and push the others before them.
        for n in (0..places.len()).rev() {
            let lowest = places.get(n + 1).map_or(y.from, |next| next - LABEL);
            places[n] = places[n].min(lowest);
        }
        for ((_, at, line), place) in ends.iter().zip(places) {
            _ = write!(
                svg,
                r#"<text class="halo" style="fill:var(--c{})" x="{:.1}" y="{:.1}">{}</text>"#,
                line.group % COLOURS,
                at + 5.0,
                place + 4.0,
                super::escaped(&line.text)
            );
        }
    }
}

/// A row with an estimate.
pub(super) struct Dot {
    pub group: usize,
    pub label: String,
    pub estimate: Estimate,
    /// The values of the seeds.
    pub values: Vec<f64>,
}

/// Draws a row per estimate over one axis. `fixed` are its limits and a marked value.
pub(super) fn dots(rows: &[Dot], fixed: Option<(f64, f64, f64)>, label: &str, caption: &str) -> String {
    let height = 8.0 + ROW * rows.len() as f64 + BOTTOM;
    let values = rows.iter().flat_map(|row| row.values.iter().copied().chain([row.estimate.low, row.estimate.high]));
    let (low, high) = match fixed {
        Some((low, high, _)) => (low, high),
        None => limits(values, (None, None), 0.05),
    };
    let names = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
    let x = Scale { low, high, from: 22.0 + CHARACTER * 1.08 * names as f64, to: WIDTH - 16.0 };
    let (mut svg, bottom) = (String::new(), height - BOTTOM);
    let all = ticks(low, high, 5);
    for &tick in &all {
        let at = x.at(tick);
        _ = write!(svg, r#"<path class="grid" d="M{at:.1} 8V{bottom:.1}"/>"#);
        let number = number_of_tick(tick, &all);
        _ = write!(
            svg,
            r#"<text class="tick" x="{at:.1}" y="{:.1}" text-anchor="middle">{number}</text>"#,
            bottom + 16.0
        );
    }
    if let Some((.., marked)) = fixed {
        _ = write!(svg, r#"<path class="level" d="M{:.1} 8V{bottom:.1}"/>"#, x.at(marked));
    }
    let middle = (x.from + x.to) / 2.0;
    _ = write!(
        svg,
        r#"<text class="tick" x="{middle:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
        height - 6.0
    );
    for (n, row) in rows.iter().enumerate() {
        let (y, colour) = (8.0 + ROW * (n as f64 + 0.5), row.group % COLOURS);
        let name = super::escaped(&row.label);
        _ = write!(svg, r#"<text class="halo" style="fill:var(--c{colour})" x="4" y="{:.1}">{name}</text>"#, y + 4.0);
        for &value in &row.values {
            _ = write!(
                svg,
                r#"<circle cx="{:.1}" cy="{:.1}" r="2.6" fill="none" stroke="var(--c{colour})" stroke-opacity=".75"/>"#,
                x.at(value),
                y + 9.0
            );
        }
        let (from, at, to) = (x.at(row.estimate.low), x.at(row.estimate.value), x.at(row.estimate.high));
        let dash = dash(row.group);
        _ = write!(svg, r#"<path d="M{from:.1} {y:.1}H{to:.1}" stroke="var(--c{colour})" stroke-width="3"{dash}/>"#);
        for end in [from, to] {
            _ = write!(svg, r#"<path d="M{end:.1} {:.1}v8" stroke="var(--c{colour})" stroke-width="2"/>"#, y - 4.0);
        }
        _ = write!(svg, r#"<circle cx="{at:.1}" cy="{y:.1}" r="5" fill="var(--c{colour})"/>"#);
    }
    figure(&svg, height, caption)
}

/// Returns a short piece of a group's line, for legends.
pub(super) fn swatch(group: usize) -> String {
    format!(
        r#"<svg class="swatch" viewBox="0 0 34 12" aria-hidden="true"><path d="M1 6H33" stroke="var(--c{})" stroke-width="3"{}/></svg>"#,
        group % COLOURS,
        dash(group)
    )
}

fn dash(group: usize) -> String {
    match DASHES[group % DASHES.len()] {
        "" => String::new(),
        dash => format!(r#" stroke-dasharray="{dash}""#),
    }
}

fn figure(svg: &str, height: f64, caption: &str) -> String {
    format!(
        "<figure><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">{svg}</svg>\n\
         <figcaption>{caption}</figcaption></figure>\n"
    )
}

/// Returns the limits of an axis: those of the values with a margin, unless they are fixed.
fn limits(values: impl Iterator<Item = f64>, fixed: (Option<f64>, Option<f64>), margin: f64) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let span = if high > low { high - low } else { low.abs().max(1.0) };
    let low = fixed.0.unwrap_or(low - margin * span);
    let high = fixed.1.unwrap_or(high + margin * span);
    if high > low { (low, high) } else { (low, low + span) }
}

/// Returns at most `most` round numbers between two others: multiples of 1, 2 or 5 times a power of ten.
fn ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let power = 10_f64.powf(((high - low) / most as f64).log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0, 20.0].map(|k| k * power).into_iter().find(|step| (high - low) / step <= most as f64);
    let step = step.unwrap_or(20.0 * power);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

/// Returns the number at a tick, with the decimals that the distance of ticks needs.
fn number_of_tick(tick: f64, all: &[f64]) -> String {
    let distance = all.get(1).map_or(tick.abs(), |second| second - all[0]);
    let decimals = if distance > 0.0 { (-(distance.log10() + 1e-9).floor()).clamp(0.0, 6.0) } else { 0.0 };
    number::fixed(tick, decimals as usize).replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_with_enough_decimals() {
        for (low, high, want) in [
            (0.0, 3000.0, "0 1,000 2,000 3,000"),
            (-1234.0, 20.0, "−1,000 −500 0"),
            (0.0, 1.0, "0.0 0.2 0.4 0.6 0.8 1.0"),
            (0.011, 0.032, "0.015 0.020 0.025 0.030"),
            (0.0, 2.5, "0.0 0.5 1.0 1.5 2.0 2.5"),
        ] {
            let ticks = ticks(low, high, 5);
            let texts: Vec<String> = ticks.iter().map(|&tick| number_of_tick(tick, &ticks)).collect();
            assert_eq!(texts.join(" "), want);
        }
    }

    #[test]
    fn limits_of_equal_values_are_apart() {
        assert_eq!(limits([3.0, 3.0].into_iter(), (None, None), 0.5), (1.5, 4.5));
        assert_eq!(limits([0.0].into_iter(), (Some(0.0), None), 0.0), (0.0, 1.0));
        assert_eq!(limits([7.0, 9.0].into_iter(), (Some(0.0), Some(1.0)), 0.5), (0.0, 1.0));
    }
}
