//! Compares runs: prints the table, and writes the page, the numbers and the evaluations into a folder.
//!
//!     cargo run --release -p foresee-report --example report -- OUT [NAME=]RUN...

use std::fs;
use std::path::PathBuf;

use foresee_report::{Input, Options, compare, read};

#[expect(clippy::print_stdout, reason = "the output of the example")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = PathBuf::from(arguments.next().ok_or("usage: report OUT [NAME=]RUN...")?);
    let inputs: Vec<Input> = arguments.map(|argument| Input::parse(&argument)).collect();
    let report = compare(&read(&inputs)?, &Options::default())?;
    print!("{}", report.terminal(100));
    fs::create_dir_all(&out)?;
    fs::write(out.join("report.html"), report.html())?;
    fs::write(out.join("report.json"), report.json())?;
    fs::write(out.join("report.csv"), report.csv())?;
    Ok(())
}
