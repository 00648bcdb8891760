//! The interchange columns: one row per evaluation and metric.

use crate::read::{COLUMNS, RETURN, SECONDS};
use crate::report::Report;

/// Returns the rows of all runs. `exp_name` is the name of the group.
pub(crate) fn csv(report: &Report) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |record: [&str; 6]| writer.write_record(record).expect("a vector grows");
    write(COLUMNS);
    for run in &report.runs {
        let seed = run.seed.to_string();
        let mut row = |metric: &str, step: u64, value: f64| {
            write([&report.groups[run.group], &run.task, &seed, metric, &step.to_string(), &value.to_string()]);
        };
        for &(step, value, seconds) in &run.evaluations {
            row(RETURN, step, value);
            if let Some(seconds) = seconds {
                row(SECONDS, step, seconds);
            }
        }
    }
    String::from_utf8(writer.into_inner().expect("a vector grows")).expect("texts are UTF-8")
}
