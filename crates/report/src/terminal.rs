//! The table for a terminal. Every group has two lines: values, and below them their intervals.

use crate::number::{self, counted};
use crate::report::{Report, TaskGroup, TaskReport};
use crate::stats::LEVEL;

/// The narrowest column of names that are longer than it.
const NARROWEST: usize = 20;
/// The most characters of the baseline's name in a header; a longer name is marked in its row.
const LONGEST_BASELINE: usize = 9;
/// The mark of the baseline.
const BASELINE: &str = "baseline";
/// Columns that are left out of a table that is too wide, in this order.
const LEAST_NEEDED: [&str; 4] = ["best", "seconds to", "last", "median"];
/// Space between columns.
const GAP: usize = 2;

/// The two lines of a cell.
type Cell = (String, String);

/// Returns the summary, a table per task, and the notes. Lines of tables are at most `width` columns wide, if the names
/// of groups can be shortened to that.
pub(crate) fn table(report: &Report, width: usize) -> String {
    let mut text = String::new();
    for sentence in &report.summary {
        push_wrapped(&mut text, sentence, "", width);
    }
    for task in &report.tasks {
        let title = format!(
            "{}: returns at {} steps; threshold {}",
            task.name,
            number::steps(task.step),
            number::rounded(task.threshold, task.threshold)
        );
        push_wrapped(&mut text, &format!("\n{title}"), "", width);
        push_table(&mut text, &of_task(report, task), width);
    }
    if !report.overall.is_empty() {
        let title = format!("\nOver {}: each task's returns scaled to 0 … 1", counted(report.tasks.len(), "task"));
        push_wrapped(&mut text, &title, "", width);
        push_table(&mut text, &over_tasks(report), width);
    }
    text.push('\n');
    let legend = format!(
        "In square brackets: {:.0} % intervals, by a stratified bootstrap over seeds. last, IQM: mean and interquartile \
         mean over seeds; best: mean over seeds of the best evaluation so far; {}to: median over seeds until the \
         threshold, and in parentheses the share of seeds that reach it.",
        LEVEL * 100.0,
        if report.comparisons.is_empty() { "" } else { "P(> X): probability that a run is above a run of X; " },
    );
    push_wrapped(&mut text, &legend, "", width);
    for note in &report.notes {
        push_wrapped(&mut text, &format!("note: {note}"), "  ", width);
    }
    text
}

/// Returns the rows of a task; the first one is the header.
fn of_task(report: &Report, task: &TaskReport) -> Vec<Vec<Cell>> {
    let compared = task.groups.iter().any(|group| group.improvement.is_some());
    let timed = task.groups.iter().any(|group| group.reach.seconds.is_some());
    let mut header = vec!["group", "seeds", "last", "best", "IQM"];
    let above = above_baseline(report);
    if compared {
        header.push(&above);
    }
    header.extend(["steps to", "seconds to"].iter().take(if timed { 2 } else { 1 }));
    let mut rows = vec![header.into_iter().map(|name| (name.to_owned(), String::new())).collect::<Vec<Cell>>()];
    let row = |group: &TaskGroup| {
        let seeds = group.seeds.len();
        let mut row = vec![
            (report.groups[group.group].clone(), String::new()),
            (seeds.to_string(), String::new()),
            number::estimate(&group.last, seeds),
            number::estimate(&group.best, seeds),
            number::estimate(&group.iqm, seeds),
        ];
        if compared {
            let fewer = seeds.min(task.of(report.baseline_group()).map_or(0, |baseline| baseline.seeds.len()));
            row.push(group.improvement.as_ref().map_or_else(
                || no_improvement(report, group.group),
                |improvement| number::probability(improvement, fewer),
            ));
        }
        row.push(reach(group, number::until(&group.reach.steps, seeds, number::short_steps)));
        if timed {
            let until = |until| number::until(until, seeds, number::seconds);
            row.push(group.reach.seconds.as_ref().map_or_else(Cell::default, until));
        }
        row
    };
    rows.extend(task.groups.iter().map(row));
    rows
}

/// Returns the steps to the threshold, and how many seeds reach it if not all do.
fn reach(group: &TaskGroup, (median, interval): Cell) -> Cell {
    let reach = &group.reach;
    if reach.seeds == reach.of {
        (median, interval)
    } else {
        (format!("{median} ({}/{})", reach.seeds, reach.of), interval)
    }
}

/// Returns the rows of the statistics over tasks; the first one is the header.
fn over_tasks(report: &Report) -> Vec<Vec<Cell>> {
    let header = ["group", "mean", "median", "IQM", "optimality gap", &above_baseline(report)];
    let mut rows = vec![header.map(|name| (name.to_owned(), String::new())).to_vec()];
    for overall in &report.overall {
        let comparison = report.comparisons.iter().find(|comparison| comparison.group == overall.group);
        let seeds = report.least_seeds(overall.group);
        rows.push(vec![
            (report.groups[overall.group].clone(), String::new()),
            number::probability(&overall.mean, seeds),
            number::probability(&overall.median, seeds),
            number::probability(&overall.iqm, seeds),
            number::probability(&overall.optimality_gap, seeds),
            comparison.map_or_else(
                || no_improvement(report, overall.group),
                |comparison| number::probability(&comparison.improvement, comparison.fewest_seeds()),
            ),
        ]);
    }
    rows
}

/// Returns the header of the probabilities of improvement.
fn above_baseline(report: &Report) -> String {
    let is_short = report.baseline.chars().count() <= LONGEST_BASELINE;
    format!("P(> {})", if is_short { &report.baseline } else { BASELINE })
}

/// Returns the cell of a group that is not compared with the baseline: a mark if it is the baseline.
fn no_improvement(report: &Report, group: usize) -> Cell {
    let is_baseline = report.groups[group] == report.baseline;
    (if is_baseline { BASELINE.to_owned() } else { String::new() }, String::new())
}

/// Adds a table. Names are aligned left, and numbers right; long names have two lines.
fn push_table(text: &mut String, rows: &[Vec<Cell>], width: usize) {
    let mut rows = rows.to_vec();
    for name in LEAST_NEEDED {
        let widths = widths(&rows);
        let least = widths[0].min(NARROWEST) + widths[1..].iter().map(|width| width + GAP).sum::<usize>();
        if least > width
            && let Some(column) = rows[0].iter().position(|cell| cell.0 == name)
        {
            rows.iter_mut().for_each(|row| _ = row.remove(column));
        }
    }
    let mut widths = widths(&rows);
    let others: usize = widths[1..].iter().map(|width| width + GAP).sum();
    widths[0] = widths[0].min(width.saturating_sub(others).max(NARROWEST));
    for (n, row) in rows.iter().enumerate() {
        let mut lines = [String::new(), String::new()];
        for (column, (upper, lower)) in row.iter().enumerate() {
            let cells = if column == 0 { in_two(upper, widths[0]) } else { (upper.clone(), lower.clone()) };
            for (line, cell) in lines.iter_mut().zip([cells.0, cells.1]) {
                if column == 0 {
                    line.push_str(&format!("{cell:<width$}", width = widths[0]));
                } else {
                    line.push_str(&format!("{cell:>width$}", width = widths[column] + GAP));
                }
            }
        }
        for line in lines.iter().map(|line| line.trim_end()).filter(|line| !line.is_empty()) {
            text.push_str(line);
            text.push('\n');
        }
        if n == 0 {
            let total = widths[0] + others;
            text.push_str(&"─".repeat(total));
            text.push('\n');
        }
    }
}

/// Returns the width of each column.
fn widths(rows: &[Vec<Cell>]) -> Vec<usize> {
    let length = |text: &str| text.chars().count();
    let widest = |column: usize| rows.iter().map(|row| length(&row[column].0).max(length(&row[column].1))).max();
    (0..rows[0].len()).map(|column| widest(column).unwrap_or(0)).collect()
}

/// Divides a name into two lines of at most `width` characters, after a comma if possible. Of a longer name, the middle is
/// left out.
fn in_two(name: &str, width: usize) -> Cell {
    if name.chars().count() <= width {
        return (name.to_owned(), String::new());
    }
    let at = name.char_indices().nth(width).map_or(name.len(), |(at, _)| at);
    let at = name[..at].rfind(", ").map_or(at, |comma| comma + 2);
    let (first, second) = (name[..at].trim_end().to_owned(), &name[at..]);
    let length = second.chars().count();
    if length <= width {
        return (first, second.to_owned());
    }
    (first, ['…'].into_iter().chain(second.chars().skip(length + 1 - width)).collect())
}

/// Adds a paragraph in lines of at most `width` characters. All lines after the first begin with `indent`.
fn push_wrapped(text: &mut String, paragraph: &str, indent: &str, width: usize) {
    let mut used = 0;
    for word in paragraph.split(' ') {
        let length = word.trim_start_matches('\n').chars().count();
        if used > 0 && used + 1 + length > width {
            text.push('\n');
            text.push_str(indent);
            used = indent.chars().count();
        } else if used > 0 {
            text.push(' ');
            used += 1;
        }
        text.push_str(word);
        used += length;
    }
    text.push('\n');
}
