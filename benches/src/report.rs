//! Learning results as a table and as curves.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use plotters::prelude::*;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The colours of Okabe and Ito, which colour-blind readers can distinguish.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// The results of one run.
#[derive(Debug, PartialEq)]
pub(crate) struct Curve {
    /// Seed of the run.
    pub seed: u64,
    /// Hash of the config.
    pub config: String,
    /// Seconds that the run took.
    pub seconds: f64,
    /// Pairs of real step and mean return.
    pub points: Vec<(u64, f64)>,
}

/// The runs of one config and method.
pub(crate) struct Group {
    /// Name of the config.
    pub name: String,
    /// Name of the method.
    pub method: String,
    /// The runs, ordered by seed.
    pub curves: Vec<Curve>,
}

impl Curve {
    /// Returns the run as a file: a line about its origin, then a line per evaluation.
    pub(crate) fn to_csv(&self, made: &str) -> String {
        let mut text = format!("# {made}; config {}; {:.0} s\nenv_step,mean_return\n", self.config, self.seconds);
        self.points.iter().for_each(|(step, value)| writeln!(text, "{step},{value}").expect("a string grows"));
        text
    }

    /// Reads a file that [`Curve::to_csv`] wrote.
    pub(crate) fn from_csv(seed: u64, text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines();
        let head = lines.next().context("the file is empty")?;
        let mut parts = head.rsplit("; ");
        let seconds = parts.next().and_then(|last| last.strip_suffix(" s")?.parse().ok());
        let config = parts.next().and_then(|part| part.strip_prefix("config "));
        let (Some(seconds), Some(config)) = (seconds, config) else {
            bail!("the first line is `{head}`; it must end with `config HASH; N s`");
        };
        let points = lines.skip(1).map(|line| {
            // Files of `wanted.py` have further columns.
            let mut columns = line.split(',');
            let pair = columns.next().zip(columns.next());
            let (step, value) = pair.with_context(|| format!("the line `{line}` does not begin with two numbers"))?;
            Ok((step.parse()?, value.parse()?))
        });
        Ok(Self { seed, config: config.into(), seconds, points: points.collect::<anyhow::Result<_>>()? })
    }

    fn at(&self, step: u64) -> Option<f64> {
        self.points.iter().find(|point| point.0 == step).map(|point| point.1)
    }
}

impl Group {
    fn steps(&self) -> BTreeSet<u64> {
        self.curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.0)).collect()
    }

    /// Returns the mean over the seeds that have this step and, if there are two, half the width of its 95 % interval
    /// by Student's t.
    fn mean(&self, step: u64) -> Option<(f64, Option<f64>)> {
        let values: Vec<f64> = self.curves.iter().filter_map(|curve| curve.at(step)).collect();
        interval(&values)
    }
}

/// Returns the mean and, if there are two values, half the width of its 95 % interval by Student's t.
pub(crate) fn interval(values: &[f64]) -> Option<(f64, Option<f64>)> {
    let n = values.len() as f64;
    if values.is_empty() {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let half = (values.len() > 1).then(|| {
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let t = StudentsT::new(0.0, 1.0, n - 1.0).expect("a positive number of degrees of freedom");
        t.inverse_cdf(0.975) * (variance / n).sqrt()
    });
    Some((mean, half))
}

/// Returns a Markdown table with a row per run, and per group a row of means with 95 % intervals. Columns are the steps
/// `at`, or all steps.
pub(crate) fn table(groups: &[Group], at: &[u64]) -> String {
    let all: BTreeSet<u64> = groups.iter().flat_map(Group::steps).collect();
    let steps: Vec<u64> = if at.is_empty() { all.into_iter().collect() } else { at.to_vec() };
    let row = |first: [&str; 3], cells: &dyn Fn(u64) -> String, last: &str| {
        let cells: Vec<String> = steps.iter().map(|&step| cells(step)).collect();
        format!("| {} | {} | {last} |\n", first.join(" | "), cells.join(" | "))
    };
    let mut text = row(["config", "method", "seed"], &|step| step.to_string(), "s");
    text += &row(["---"; 3], &|_| "---".into(), "---");
    for group in groups {
        for curve in &group.curves {
            let cell = |step| curve.at(step).map_or_else(String::new, |value| format!("{value:.0}"));
            let first = [&*group.name, &group.method, &curve.seed.to_string()];
            text += &row(first, &cell, &format!("{:.0}", curve.seconds));
        }
        let cell = |step| match group.mean(step) {
            Some((mean, Some(half))) => format!("**{mean:.0} ± {half:.0}**"),
            Some((mean, None)) => format!("**{mean:.0}**"),
            None => String::new(),
        };
        text += &row([&group.name, &group.method, "mean"], &cell, "");
    }
    text
}

/// Draws an SVG: for each group its mean with the 95 % interval as an area, and every run as a thin line.
pub(crate) fn plot(groups: &[Group], file: &Path) -> anyhow::Result<()> {
    let points = || groups.iter().flat_map(|group| &group.curves).flat_map(|curve| &curve.points);
    let last = points()
        .map(|point| point.0)
        .max()
        .context("no evaluation of these runs is stored, so there is no curve to draw")?;
    let (low, high) = points().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| (low.min(p.1), high.max(p.1)));
    let margin = 0.05 * (high - low).max(1.0);
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw `{}`: {error}", file.display());
    let root = SVGBackend::new(file, (800, 500)).into_drawing_area();
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .margin_right(30)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0..last, low - margin..high + margin)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .x_desc("real environment steps")
        .y_desc("mean return of an evaluation")
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.1))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()
        .map_err(|error| failed(&error))?;
    for (i, group) in groups.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let means: Vec<(u64, f64, f64)> = group
            .steps()
            .into_iter()
            .filter_map(|step| group.mean(step).map(|(mean, half)| (step, mean, half.unwrap_or(0.0))))
            .collect();
        let clamp = |x: f64| x.clamp(low - margin, high + margin);
        let upper = means.iter().map(|&(step, mean, half)| (step, clamp(mean + half)));
        let lower = means.iter().rev().map(|&(step, mean, half)| (step, clamp(mean - half)));
        let band = Polygon::new(upper.chain(lower).collect::<Vec<_>>(), colour.mix(0.15).filled());
        chart.draw_series([band]).map_err(|error| failed(&error))?;
        for curve in &group.curves {
            let thin = LineSeries::new(curve.points.iter().copied(), colour.mix(0.4));
            chart.draw_series(thin).map_err(|error| failed(&error))?;
        }
        let line = LineSeries::new(means.iter().map(|&(step, mean, _)| (step, mean)), colour.stroke_width(3));
        chart
            .draw_series(line)
            .map_err(|error| failed(&error))?
            .label(format!("{} {}, {} seeds", group.name, group.method, group.curves.len()))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(3)));
    }
    let legend = SeriesLabelPosition::LowerRight;
    let mut labels = chart.configure_series_labels();
    labels.position(legend).background_style(WHITE.mix(0.8)).draw().map_err(|error| failed(&error))?;
    drop(labels);
    drop(chart);
    root.present().map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_comes_back_from_its_file() {
        let curve = Curve { seed: 3, config: "0123".into(), seconds: 12.0, points: vec![(500, -1.25), (1000, 1e-3)] };
        assert_eq!(Curve::from_csv(3, &curve.to_csv("a machine; commit abc")).unwrap(), curve);
        assert!(Curve::from_csv(0, "# no seconds\nenv_step,mean_return\n").is_err());
    }

    #[test]
    fn the_interval_is_students() {
        // The mean is 3.2 and the variance 3.7. Printed tables have t = 2.776445 for 4 degrees of freedom.
        let (mean, half) = interval(&[1.0, 2.0, 3.0, 4.0, 6.0]).unwrap();
        let half = half.unwrap();
        assert!((mean - 3.2).abs() < 1e-12 && (half - 2.388_388).abs() < 1e-6, "{mean} {half}");
        assert_eq!(interval(&[5.0]), Some((5.0, None)));
        assert_eq!(interval(&[]), None);
    }
}
