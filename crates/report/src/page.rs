//! The page: one HTML file that needs no network and no scripts.
//!
//! It is legible from a width of 360 pixels on, in light and dark mode. Groups differ by colour and dash pattern, and
//! lines are labelled at their ends.

mod chart;
mod style;

use std::fmt::Write;

use crate::number::{self, counted};
use crate::report::{CurvePoint, Report, TaskGroup, TaskReport};
use crate::stats::{LEAST_SEEDS, LEVEL};
use chart::{Axis, Chart, Dot, Line};

/// Characters of the longest name that is written at the end of a line. If a name is longer, all lines have letters.
const LONGEST_LABEL: usize = 9;

/// Returns the page.
pub(crate) fn html(report: &Report) -> String {
    let mut body = String::new();
    summary(report, &mut body);
    legend(report, &mut body);
    for task in &report.tasks {
        of_task(report, task, &mut body);
    }
    over_tasks(report, &mut body);
    profile(report, &mut body);
    differences(report, &mut body);
    notes(report, &mut body);
    let title = title(report);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>{}</style>\n</head>\n\
         <body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        style::STYLE
    )
}

fn title(report: &Report) -> String {
    let tasks: Vec<&str> = report.tasks.iter().map(|task| task.name.as_str()).collect();
    let groups = report.groups.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    escaped(&format!("{groups}: {}", if tasks.len() > 2 { counted(tasks.len(), "task") } else { tasks.join(", ") }))
}

fn summary(report: &Report, body: &mut String) {
    let mut sentences = report.summary.iter();
    let first = sentences.next().map_or_else(String::new, |sentence| marked(sentence));
    _ = writeln!(body, "<h1>{first}</h1>");
    for sentence in sentences {
        _ = writeln!(body, "<p class=\"lead\">{}</p>", marked(sentence));
    }
    let compared = !report.comparisons.is_empty();
    let p = "P is the probability that a run of the first has a higher return than a run of the second. ";
    let several = "Each interval is that of one comparison: of twenty comparisons of equal groups, about one shows a \
                   difference by chance, and about two with five seeds. ";
    _ = writeln!(
        body,
        "<p class=\"aside\">{}{}In brackets and shaded: {:.0} % intervals over seeds, by a stratified bootstrap with {} \
         resamples. An order is claimed from {LEAST_SEEDS} seeds a group on, if P = 0.5 is outside the interval.</p>",
        if compared { p } else { "" },
        if report.comparisons.len() > 1 { several } else { "" },
        LEVEL * 100.0,
        number::steps(report.resamples as u64),
    );
}

/// Lists the groups with their colours, dash patterns and labels.
fn legend(report: &Report, body: &mut String) {
    body.push_str("<ul class=\"legend\">\n");
    for (group, name) in report.groups.iter().enumerate() {
        let label = label(report, group);
        let letter = if &label == name { String::new() } else { format!("<b>{label}</b> ") };
        let runs = report.runs.iter().filter(|run| run.group == group).count();
        _ = writeln!(
            body,
            "<li>{}{letter}<code>{}</code> {}</li>",
            chart::swatch(group),
            escaped(name),
            counted(runs, "run")
        );
    }
    body.push_str("</ul>\n");
}

/// Returns the label of a group in drawings: its name, or a letter if names are long.
fn label(report: &Report, group: usize) -> String {
    if report.groups.iter().all(|name| name.chars().count() <= LONGEST_LABEL) {
        return report.groups[group].clone();
    }
    let letter = char::from(b'A' + (group % 26) as u8);
    if group < 26 { letter.into() } else { format!("{letter}{}", group / 26) }
}

fn of_task(report: &Report, task: &TaskReport, body: &mut String) {
    _ = writeln!(body, "<section>\n<h2>{}</h2>\n<div class=\"charts\">", escaped(&task.name));
    curves(report, task, false, body);
    if task.groups.iter().any(|group| group.curve.points.iter().any(|point| point.seconds.is_some())) {
        curves(report, task, true, body);
    }
    body.push_str("</div>\n<div class=\"charts\">\n");
    scores(report, task, body);
    improvements(report, task, body);
    body.push_str("</div>\n");
    task_table(report, task, body);
    body.push_str("</section>\n");
}

/// Draws the learning curves of a task by steps or by seconds.
fn curves(report: &Report, task: &TaskReport, by_seconds: bool, body: &mut String) {
    let x = |point: &CurvePoint| if by_seconds { point.seconds } else { Some(point.step as f64) };
    let mut lines = Vec::new();
    for group in &task.groups {
        for run in report.runs.iter().filter(|run| run.group == group.group && run.task == task.name) {
            let points = run
                .evaluations
                .iter()
                .filter_map(|&(step, value, seconds)| Some((if by_seconds { seconds? } else { step as f64 }, value)));
            let title = format!("{}, seed {}", report.groups[group.group], run.seed);
            lines.push(Line::thin(group.group, points.collect(), title));
        }
    }
    for group in &task.groups {
        let most = group.curve.points.iter().map(|point| point.seeds).max().unwrap_or(0);
        // The mean of fewer runs jumps where a run ends, so the thick line is drawn where all runs have values.
        let points = group.curve.points.iter().filter(|point| point.seeds == most);
        let points = points.filter_map(|point| Some((x(point)?, point.iqm))).collect();
        lines.push(Line::thick(group.group, points, label(report, group.group)));
    }
    let unit = Unit::of(task, by_seconds);
    let caption = if by_seconds {
        "Return by seconds of wall time: thick, the interquartile mean over seeds; thin, each seed. Seconds compare only \
         between runs on equal machines."
    } else {
        "Return by real environment steps: thick, the interquartile mean over seeds; thin, each seed."
    };
    let chart = Chart {
        x: Axis::from_zero(unit.name, unit.factor),
        y: Axis::of("return"),
        lines,
        level: Some((task.threshold, "threshold".into())),
        caption: caption.into(),
        in_steps: false,
    };
    body.push_str(&chart.svg());
}

/// The unit of a horizontal axis.
struct Unit {
    name: &'static str,
    /// Number of steps or seconds in one unit.
    factor: f64,
}

impl Unit {
    fn of(task: &TaskReport, by_seconds: bool) -> Self {
        let points = || task.groups.iter().flat_map(|group| &group.curve.points);
        let most = if by_seconds {
            points().filter_map(|point| point.seconds).fold(0.0, f64::max)
        } else {
            points().map(|point| point.step as f64).fold(0.0, f64::max)
        };
        let (name, factor) = match (by_seconds, most) {
            (true, most) if most >= 7200.0 => ("hours", 3600.0),
            (true, most) if most >= 300.0 => ("minutes", 60.0),
            (true, _) => ("seconds", 1.0),
            (false, most) if most >= 2e6 => ("million steps", 1e6),
            (false, most) if most >= 10_000.0 => ("thousand steps", 1e3),
            (false, _) => ("steps", 1.0),
        };
        Self { name, factor }
    }
}

/// Draws each group's mean and IQM with their intervals, and the score of every seed.
fn scores(report: &Report, task: &TaskReport, body: &mut String) {
    let dots = task.groups.iter().map(|group| Dot {
        group: group.group,
        label: label(report, group.group),
        estimate: group.iqm,
        values: group.scores.clone(),
    });
    let caption = format!(
        "Return at {} steps: interquartile mean with its interval, and each seed as a small circle.",
        number::steps(task.step)
    );
    body.push_str(&chart::dots(&dots.collect::<Vec<_>>(), None, "return", &caption));
}

/// Draws each group's probability of improvement over the baseline.
fn improvements(report: &Report, task: &TaskReport, body: &mut String) {
    let dots: Vec<Dot> = task
        .groups
        .iter()
        .filter_map(|group| {
            let (label, estimate) = (label(report, group.group), group.improvement?);
            Some(Dot { group: group.group, label, estimate, values: Vec::new() })
        })
        .collect();
    if dots.is_empty() {
        return;
    }
    let caption = format!("P(above <code>{}</code>): 0.5 is no difference.", escaped(&report.baseline));
    body.push_str(&chart::dots(&dots, Some((0.0, 1.0, 0.5)), "probability", &caption));
}

/// Returns the header of the probabilities of improvement, with the label of the baseline.
fn above_baseline(report: &Report) -> String {
    format!("P(above {})", label(report, report.baseline_group()))
}

/// A cell of a table: a value and its interval.
type Cell = (String, String);

fn task_table(report: &Report, task: &TaskReport, body: &mut String) {
    let compared = task.groups.iter().any(|group| group.improvement.is_some());
    let timed = task.groups.iter().any(|group| group.reach.seconds.is_some());
    let threshold = number::rounded(task.threshold, task.threshold);
    let mut header = vec!["group".to_owned(), "seeds".into(), "mean".into(), "IQM".into(), "best".into()];
    if compared {
        header.push(above_baseline(report));
        header.push("difference by seed".into());
    }
    header.push(format!("steps to {threshold}"));
    if timed {
        header.push(format!("time to {threshold}"));
    }
    let rows = task.groups.iter().map(|group| {
        let seeds = group.seeds.len();
        let mut row = vec![(seeds.to_string(), String::new())];
        row.extend([group.last, group.iqm, group.best].iter().map(|estimate| number::estimate(estimate, seeds)));
        if compared {
            let fewer = seeds.min(task.of(report.baseline_group()).map_or(0, |baseline| baseline.seeds.len()));
            let probability = |improvement| number::probability(improvement, fewer);
            row.push(group.improvement.as_ref().map_or_else(Cell::default, probability));
            row.push(group.paired.as_ref().map_or_else(Cell::default, |paired| {
                let (value, interval) = number::estimate(&paired.difference, paired.seeds);
                let pairs = counted(paired.seeds, "pair");
                (
                    value,
                    if paired.seeds == seeds { interval } else { format!("{interval} {pairs}").trim_start().into() },
                )
            }));
        }
        row.push(reached(group));
        if timed {
            let until = |until| number::until(until, seeds, number::seconds);
            row.push(group.reach.seconds.as_ref().map_or_else(Cell::default, until));
        }
        (group.group, row)
    });
    table(report, &header, &rows.collect::<Vec<_>>(), body);
    _ = writeln!(
        body,
        "<p class=\"aside\">Returns at {} steps; best: mean over seeds of the best evaluation up to there, which is higher \
         than what another run would reach. Steps and time: median over seeds until the first evaluation of at least \
         {threshold}; a seed that does not reach it counts as later than all others (never).</p>",
        number::steps(task.step)
    );
}

fn reached(group: &TaskGroup) -> Cell {
    let (median, interval) = number::until(&group.reach.steps, group.seeds.len(), |steps| number::steps(steps as u64));
    let all = group.reach.seeds == group.reach.of;
    let of = format!("{} of {}", group.reach.seeds, counted(group.reach.of, "seed"));
    (median, if all { interval } else { format!("{interval} {of}").trim_start().to_owned() })
}

fn over_tasks(report: &Report, body: &mut String) {
    if report.overall.is_empty() {
        return;
    }
    let count = counted(report.tasks.len(), "task");
    _ = writeln!(body, "<section>\n<h2>Over {count}</h2>");
    let improvement = above_baseline(report);
    let header = ["group", "mean", "median", "IQM", "optimality gap", &improvement].map(str::to_owned);
    let rows = report.overall.iter().map(|overall| {
        let comparison = report.comparisons.iter().find(|comparison| comparison.group == overall.group);
        let seeds = report.least_seeds(overall.group);
        let statistics = [overall.mean, overall.median, overall.iqm, overall.optimality_gap];
        let mut row: Vec<Cell> = statistics.iter().map(|estimate| number::probability(estimate, seeds)).collect();
        row.push(comparison.map_or_else(Cell::default, |comparison| {
            number::probability(&comparison.improvement, comparison.fewest_seeds())
        }));
        (overall.group, row)
    });
    table(report, &header, &rows.collect::<Vec<_>>(), body);
    body.push_str(
        "<p class=\"aside\">On each task, 0 is the lowest and 1 the highest return of all compared runs. Groups without runs \
         on some task are not in this table.</p>\n</section>\n",
    );
}

fn profile(report: &Report, body: &mut String) {
    let lines = report.profiles.groups.iter().map(|(group, shares)| {
        let points = report.profiles.thresholds.iter().copied().zip(shares.iter().copied()).collect();
        Line::thick(*group, points, label(report, *group))
    });
    let lines: Vec<Line> = lines.collect();
    let seeds = report.tasks.iter().flat_map(|task| task.groups.iter().map(|group| group.seeds.len())).max();
    if lines.is_empty() || seeds.unwrap_or(0) < 2 {
        return;
    }
    let one = report.tasks.len() == 1;
    let caption = "Share of runs whose return is above the value on the horizontal axis. A higher line is better.";
    let chart = Chart {
        x: Axis::of(if one { "return" } else { "scaled return" }),
        y: Axis::share("share of runs"),
        lines,
        level: None,
        caption: caption.into(),
        in_steps: true,
    };
    _ = write!(
        body,
        "<section>\n<h2>Performance profile</h2>\n<div class=\"charts\">{}</div>\n</section>\n",
        chart.svg()
    );
}

fn differences(report: &Report, body: &mut String) {
    if report.groups.len() < 2 {
        return;
    }
    body.push_str("<section>\n<h2>What differs between the configs</h2>\n");
    if report.differences.is_empty() {
        body.push_str("<p>No key differs, or the runs have no configs.</p>\n</section>\n");
        return;
    }
    body.push_str("<div class=\"scroll\"><table class=\"configs\">\n<thead><tr><th>key</th>");
    for name in &report.groups {
        _ = write!(body, "<th><code>{}</code></th>", escaped(name));
    }
    body.push_str("</tr></thead>\n<tbody>\n");
    for difference in &report.differences {
        // A break is allowed after each dot of a long key.
        let key = escaped(&difference.key).replace('.', ".<wbr>");
        _ = write!(body, "<tr><th scope=\"row\"><code>{key}</code></th>");
        for value in &difference.values {
            _ = write!(body, "<td><code>{}</code></td>", escaped(value));
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</tbody>\n</table></div>\n");
    body.push_str(
        "<p class=\"aside\">All keys with different values are listed: those that were set, and those that another key \
         brings with it, such as the head that belongs to a loss. <code>unset</code>: the config does not have the key.</p>\n\
         </section>\n",
    );
}

fn notes(report: &Report, body: &mut String) {
    if !report.notes.is_empty() {
        body.push_str("<section>\n<h2>Notes</h2>\n<ul class=\"notes\">\n");
        for note in &report.notes {
            _ = writeln!(body, "<li>{}</li>", marked(note));
        }
        body.push_str("</ul>\n</section>\n");
    }
    _ = writeln!(body, "<section>\n<h2>Runs</h2>\n<details><summary>{}</summary>", counted(report.runs.len(), "run"));
    body.push_str("<ul class=\"notes\">\n");
    for run in &report.runs {
        let name = escaped(&report.groups[run.group]);
        let path = escaped(&run.path.display().to_string());
        _ = writeln!(
            body,
            "<li><code>{name}</code>, {}, seed {}: <code>{path}</code></li>",
            escaped(&run.task),
            run.seed
        );
    }
    body.push_str("</ul>\n</details>\n</section>\n");
}

/// Writes a table with a row per group. On narrow screens each row is shown as a card.
fn table(report: &Report, header: &[String], rows: &[(usize, Vec<Cell>)], body: &mut String) {
    body.push_str("<div class=\"scroll\"><table class=\"numbers\">\n<thead><tr>");
    for name in header {
        _ = write!(body, "<th>{}</th>", minus(name));
    }
    body.push_str("</tr></thead>\n<tbody>\n");
    for (group, cells) in rows {
        let name = escaped(&report.groups[*group]);
        _ = write!(body, "<tr><th scope=\"row\">{}<code>{name}</code></th>", chart::swatch(*group));
        for ((value, interval), name) in cells.iter().zip(&header[1..]) {
            let interval =
                if interval.is_empty() { String::new() } else { format!("<small>{}</small>", minus(interval)) };
            _ = write!(body, "<td data-name=\"{}\"><span>{}</span>{interval}</td>", minus(name), minus(value));
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</tbody>\n</table></div>\n");
}

/// Returns a text for HTML, with minus signs in place of the hyphens that begin a number.
fn minus(text: &str) -> String {
    let mut marked = String::new();
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let begins = c == '-' && !before.is_alphanumeric() && rest.peek().is_some_and(char::is_ascii_digit);
        marked.push(if begins { '−' } else { c });
        before = c;
    }
    escaped(&marked)
}

/// Returns a text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns a text for HTML. Names in backticks become code.
fn marked(text: &str) -> String {
    let parts = escaped(text);
    let parts = parts.split('`').enumerate();
    parts.map(|(n, part)| if n % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() }).collect()
}
