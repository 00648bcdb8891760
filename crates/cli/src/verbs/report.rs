//! `report`: compares runs over their seeds.

use std::fs;
use std::path::Path;

use console::Term;
use foresee_report::{Input, Options, Report, compare, read};

use super::{DONE, print_line};
use crate::cli::ReportArguments;
use crate::failure::Failure;

/// The width of the table if standard output is no terminal.
const WIDTH: u16 = 100;
/// The narrowest and the widest table.
const WIDTHS: (u16, u16) = (72, 140);

/// Prints the table, or the numbers in another form, and writes the page if a folder is given.
pub(super) fn report(arguments: &ReportArguments) -> Result<u8, Failure> {
    let inputs: Vec<Input> = arguments.runs.iter().map(|run| Input::parse(run)).collect();
    let options = Options {
        group_by: arguments.group_by.clone(),
        baseline: arguments.baseline.clone(),
        threshold: arguments.threshold,
        step: arguments.at,
        ..Options::default()
    };
    let report = compare(&read(&inputs)?, &options)?;
    if let Some(folder) = &arguments.out {
        write(&report, folder)?;
    }
    if arguments.json {
        print_line(report.json())?;
    } else if arguments.csv {
        print_line(report.csv().trim_end())?;
    } else {
        let width = Term::stdout().size_checked().map_or(WIDTH, |(_, columns)| columns).clamp(WIDTHS.0, WIDTHS.1);
        print_line(report.terminal(usize::from(width)).trim_end())?;
    }
    Ok(DONE)
}

/// Writes page and numbers, and says on standard error where the page is.
fn write(report: &Report, folder: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: &std::io::Error| {
        let path = path.display();
        Failure::Input(format!("cannot write to `{path}`: {error}\nhint: give another --out"))
    };
    fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    for (name, text) in
        [("report.html", report.html()), ("report.json", report.json() + "\n"), ("report.csv", report.csv())]
    {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| failed(&path, &error))?;
    }
    eprintln!("the page is {}", folder.join("report.html").display());
    Ok(())
}
