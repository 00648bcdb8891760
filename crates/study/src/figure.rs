//! Figures as SVG: panels side by side with lines, bands and markers, legible on light and on dark pages.
//!
//! Colours are those of Okabe and Ito ("Color Universal Design", 2008), which readers with colour blindness can tell
//! apart; every series has a marker of its own too. The page's colour scheme chooses the ground and the ink.

use std::fmt::Write;

use crate::statistics::{interval, mean};
use crate::study::{LEVEL, Record};

/// The scale of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences have equal lengths.
    Linear,
    /// Equal ratios have equal lengths. Values at or below zero are not drawn.
    Log,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// The measured quantity, with its unit.
    pub label: String,
    /// The scale.
    pub scale: Scale,
    /// The names of the positions 0, 1, 2, …, instead of numbers.
    pub names: Vec<String>,
}

impl Axis {
    /// A linear axis.
    #[must_use]
    pub fn linear(label: &str) -> Self {
        Self { label: label.into(), scale: Scale::Linear, names: Vec::new() }
    }

    /// A logarithmic axis.
    #[must_use]
    pub fn log(label: &str) -> Self {
        Self { scale: Scale::Log, ..Self::linear(label) }
    }

    /// An axis whose positions 0, 1, 2, … have names.
    #[must_use]
    pub fn named(label: &str, names: &[&str]) -> Self {
        Self { names: names.iter().map(|&name| name.into()).collect(), ..Self::linear(label) }
    }
}

/// A point with the interval of its height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The position.
    pub x: f64,
    /// The height.
    pub y: f64,
    /// The lower and the upper end of the interval.
    pub band: [f64; 2],
}

/// A line with its band.
#[derive(Clone, Debug)]
pub struct Series {
    /// The name in the legend.
    pub name: String,
    /// The points from left to right.
    pub points: Vec<Point>,
}

impl Series {
    /// The mean over seeds of the curve called `curve`, with Student's interval of the mean.
    #[must_use]
    pub fn of(records: &[Record], curve: &str, name: &str) -> Self {
        let curves: Vec<&Vec<[f64; 2]>> = records.iter().filter_map(|record| record.curves.get(curve)).collect();
        let length = curves.iter().map(|points| points.len()).min().unwrap_or(0);
        let points = (0..length).map(|i| {
            let heights: Vec<f64> = curves.iter().map(|points| points[i][1]).collect();
            let y = mean(&heights);
            Point { x: curves[0][i][0], y, band: interval(&heights, LEVEL).unwrap_or([y, y]) }
        });
        Self { name: name.into(), points: points.collect() }
    }

    /// A line through exact points, without a band.
    #[must_use]
    pub fn exact(name: &str, points: &[[f64; 2]]) -> Self {
        Self { name: name.into(), points: points.iter().map(|&[x, y]| Point { x, y, band: [y, y] }).collect() }
    }
}

/// One coordinate system.
#[derive(Clone, Debug)]
pub struct Panel {
    /// The title above it.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
}

/// Panels side by side.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The panels from left to right.
    pub panels: Vec<Panel>,
}

const WIDTH: f64 = 440.0;
const TOP: f64 = 40.0;
const PLOT: [f64; 2] = [340.0, 240.0];
const LEFT: f64 = 78.0;
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a7f00"];
const STYLE: &str = "svg{--ground:#fff;--ink:#222;--grid:#ddd}\
@media (prefers-color-scheme:dark){svg{--ground:#16181c;--ink:#e4e4e4;--grid:#3a3d44}}\
.ground{fill:#fff;fill:var(--ground)}\
text{font-family:sans-serif;font-size:12px;fill:#222;fill:var(--ink)}\
.title{font-size:13px;font-weight:bold}\
.frame{fill:none;stroke:#222;stroke:var(--ink)}\
.grid{stroke:#ddd;stroke:var(--grid)}";

impl Figure {
    /// The figure as an SVG document.
    #[must_use]
    pub fn svg(&self) -> String {
        let rows = self.panels.iter().map(|panel| panel.series.len()).max().unwrap_or(0);
        let names =
            self.panels.iter().flat_map(|panel| &panel.x.names).map(|name| name.chars().count()).max().unwrap_or(0);
        let below = if names > 0 { 26.0 + 4.6 * names as f64 } else { 44.0 };
        let height = TOP + PLOT[1] + below + 18.0 * rows as f64 + 12.0;
        let width = WIDTH * self.panels.len() as f64;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
             {height}\"><style>{STYLE}</style><rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n"
        );
        for (i, panel) in self.panels.iter().enumerate() {
            write!(out, "<g transform=\"translate({} {TOP})\">", WIDTH * i as f64 + LEFT).expect("text");
            panel.draw(&mut out, below);
            out += "</g>\n";
        }
        out + "</svg>\n"
    }
}

/// A linear map of an axis' values, or of their logarithms, to positions in the drawing.
struct Span {
    scale: Scale,
    low: f64,
    high: f64,
    length: f64,
}

impl Span {
    fn of(axis: &Axis, values: impl Iterator<Item = f64>, length: f64) -> Self {
        let inner = |value: f64| if axis.scale == Scale::Log { value.log10() } else { value };
        let drawn = values.map(inner).filter(|value| value.is_finite());
        let (mut low, mut high) = drawn.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let margin = if high > low { 0.05 * (high - low) } else { 0.5 };
        let margin = if axis.names.is_empty() { margin } else { 0.4 };
        Self { scale: axis.scale, low: low - margin, high: high + margin, length }
    }

    fn at(&self, value: f64) -> Option<f64> {
        let inner = if self.scale == Scale::Log { value.log10() } else { value };
        let share = (inner - self.low) / (self.high - self.low);
        inner.is_finite().then_some(share.clamp(0.0, 1.0) * self.length)
    }

    /// The positions of the ticks, with their labels.
    fn ticks(&self) -> Vec<(f64, String)> {
        let range = self.high - self.low;
        if self.scale == Scale::Log && range > 0.3 {
            let step = (range / 6.0).ceil().max(1.0);
            let multiples: &[f64] = match range {
                ..0.9 => &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0],
                0.9..1.6 => &[1.0, 2.0, 5.0],
                _ => &[1.0],
            };
            let mut ticks = Vec::new();
            let mut decade = (self.low / step).floor() * step;
            while decade <= self.high {
                for factor in multiples {
                    let inner = decade + factor.log10();
                    if (self.low..=self.high).contains(&inner) {
                        ticks.push((10.0_f64.powf(inner), number(10.0_f64.powf(inner))));
                    }
                }
                decade += step;
            }
            return ticks;
        }
        let rough = range / 5.0;
        let power = 10.0_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        let step = step.expect("ten times the power of ten below is larger");
        let mut ticks = Vec::new();
        let mut inner = (self.low / step).ceil() * step;
        while inner <= self.high + 1e-9 * range {
            let inner_clean = if inner.abs() < 1e-9 * step { 0.0 } else { inner };
            let value = if self.scale == Scale::Log { 10.0_f64.powf(inner_clean) } else { inner_clean };
            ticks.push((value, number(value)));
            inner += step;
        }
        ticks
    }
}

/// A short form of a number: at most three significant digits, and powers of ten outside of [0.001, 100,000).
fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(0.000_999..99_999.5).contains(&size) {
        let text = format!("{value:.1e}");
        return text.replace(".0e", "e");
    }
    let digits = if size >= 100.0 || size == 0.0 { 0 } else { 2 - size.log10().floor() as i32 };
    let text = format!("{value:.*}", digits.max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Panel {
    fn draw(&self, out: &mut String, below: f64) {
        let [width, height] = PLOT;
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Span::of(&self.x, points().map(|point| point.x), width);
        let heights = points().flat_map(|point| [point.y, point.band[0], point.band[1]]);
        // A band that reaches zero or below does not stretch a logarithmic axis.
        let y = Span::of(&self.y, heights, height);
        self.draw_frame(out, &x, &y, below);
        for (i, series) in self.series.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            draw_series(out, series, &x, &y, colour, i);
            let legend = height + below + 14.0 + 18.0 * i as f64;
            marker(out, 8.0, legend - 4.0, colour, i);
            write!(out, "<text x=\"20\" y=\"{legend}\">{}</text>", escaped(&series.name)).expect("text");
        }
    }

    fn draw_frame(&self, out: &mut String, x: &Span, y: &Span, below: f64) {
        let [width, height] = PLOT;
        let mut add = |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("text");
        for (value, label) in y.ticks() {
            let at = height - y.at(value).expect("a tick is drawn");
            add(format_args!("<line class=\"grid\" x1=\"0\" x2=\"{width}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"));
            add(format_args!("<text x=\"-6\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", at + 4.0));
        }
        if self.x.names.is_empty() {
            for (value, label) in x.ticks() {
                let at = x.at(value).expect("a tick is drawn");
                add(format_args!("<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{height}\"/>"));
                add(format_args!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", height + 16.0));
            }
        } else {
            for (i, name) in self.x.names.iter().enumerate() {
                let at = x.at(i as f64).expect("a tick is drawn");
                let top = height + 14.0;
                add(format_args!(
                    "<text x=\"{at:.1}\" y=\"{top}\" text-anchor=\"end\" transform=\"rotate(-35 {at:.1} {top})\">{}</text>",
                    escaped(name)
                ));
            }
        }
        add(format_args!("<rect class=\"frame\" width=\"{width}\" height=\"{height}\"/>"));
        add(format_args!("<text class=\"title\" x=\"0\" y=\"-14\">{}</text>", escaped(&self.title)));
        add(format_args!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            width / 2.0,
            height + below - 8.0,
            escaped(&self.x.label)
        ));
        let middle = height / 2.0;
        add(format_args!(
            "<text x=\"-58\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 -58 {middle})\">{}</text>",
            escaped(&self.y.label)
        ));
    }
}

fn draw_series(out: &mut String, series: &Series, x: &Span, y: &Span, colour: &str, kind: usize) {
    let height = PLOT[1];
    let placed = |point: &Point| Some((x.at(point.x)?, height - y.at(point.y)?));
    let line: Vec<(f64, f64)> = series.points.iter().filter_map(placed).collect();
    let path =
        |points: &[(f64, f64)]| points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ");
    // The lower end of a band at or below zero is drawn at the bottom of a logarithmic axis.
    let ends = |point: &Point| {
        let at = x.at(point.x)?;
        Some(((at, height - y.at(point.band[1])?), (at, height - y.at(point.band[0]).unwrap_or(0.0))))
    };
    let (mut band, lower): (Vec<_>, Vec<_>) = series.points.iter().filter_map(ends).unzip();
    if series.points.iter().any(|point| point.band[0] < point.band[1]) {
        if line.len() == 1 || series.points.len() < 8 {
            for ((at, top), (_, bottom)) in band.iter().zip(&lower) {
                write!(out, "<path d=\"M{at:.1} {top:.1}V{bottom:.1}\" stroke=\"{colour}\" stroke-width=\"1.5\"/>")
                    .expect("text");
            }
        } else {
            band.extend(lower.iter().rev());
            write!(out, "<polygon points=\"{}\" fill=\"{colour}\" opacity=\"0.2\"/>", path(&band)).expect("text");
        }
    }
    write!(out, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", path(&line))
        .expect("text");
    let every = line.len().div_ceil(12).max(1);
    line.iter().step_by(every).for_each(|&(x, y)| marker(out, x, y, colour, kind));
}

fn marker(out: &mut String, x: f64, y: f64, colour: &str, kind: usize) {
    match kind % 4 {
        0 => write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>"),
        1 => {
            write!(out, "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\" fill=\"{colour}\"/>", x - 4.0, y - 4.0)
        }
        2 => write!(out, "<path d=\"M{x:.1} {:.1}l5 9h-10z\" fill=\"{colour}\"/>", y - 5.0),
        _ => write!(out, "<path d=\"M{x:.1} {:.1}l5 5-5 5-5-5z\" fill=\"{colour}\"/>", y - 5.0),
    }
    .expect("text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (1000.0, "1000"),
            (0.001, "0.001"),
            (1e-5, "1e-5"),
            (2.5e6, "2.5e6"),
            (-3.0, "-3"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn ticks_are_round_numbers_inside_of_the_axis() {
        let labels = |axis: Axis, ends: [f64; 2]| -> Vec<String> {
            Span::of(&axis, ends.into_iter(), 100.0).ticks().into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(labels(Axis::linear(""), [0.0, 10.0]), ["0", "5", "10"]);
        assert_eq!(labels(Axis::log(""), [1.0, 1000.0]), ["1", "10", "100", "1000"]);
        assert_eq!(labels(Axis::log(""), [10.0, 100.0]), ["10", "20", "50", "100"]);
    }

    #[test]
    fn a_series_has_the_mean_and_the_interval_of_its_seeds() {
        let records: Vec<Record> = [1.0, 2.0, 3.0]
            .map(|y| {
                let mut record = Record::default();
                record.point("error", 5.0, y);
                record
            })
            .into();
        let series = Series::of(&records, "error", "MLE");
        assert_eq!((series.points[0].x, series.points[0].y), (5.0, 2.0));
        // The 0.975 quantile of t with two degrees of freedom is 4.302653.
        assert!((series.points[0].band[1] - (2.0 + 4.302_653 / 3.0_f64.sqrt())).abs() < 1e-5);
    }
}
