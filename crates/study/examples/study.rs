//! Runs studies without the program: `study list`, `study run NAME [NAME=VALUE …] [--tier T] [--out DIR]`,
//! `study run --all [--tier T] [--out DIR]`. Each study writes into a folder of its name in DIR (`studies` by default).

#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use foresee_study::runner::{self, RunError};
use foresee_study::studies::STUDIES;
use foresee_study::study::{Settings, Study, Tier};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match command(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            eprintln!("error: {message}");
            ExitCode::from(code)
        }
    }
}

/// Runs the command. A failure has an exit code: 2 for bad input, 1 for a failed run.
fn command(arguments: &[String]) -> Result<(), (u8, String)> {
    let bad = |message: String| (2, message);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut rest = match words.split_first() {
        Some((&"run", rest)) => rest,
        Some((&"list", [])) => {
            print!("{}", runner::listed());
            return Ok(());
        }
        _ => return Err(bad("no command\nhint: `list`, `run NAME` or `run --all`".into())),
    };
    let (mut tier, mut out, mut all, mut plain) = (Tier::Quick, PathBuf::from("studies"), false, Vec::new());
    while let Some((&word, after)) = rest.split_first() {
        rest = after;
        let mut value = || -> Result<&str, (u8, String)> {
            let (&value, after) =
                rest.split_first().ok_or_else(|| bad(format!("{word} has no value\nhint: {word} VALUE")))?;
            rest = after;
            Ok(value)
        };
        match word {
            "--all" => all = true,
            "--tier" => tier = Tier::named(value()?).map_err(bad)?,
            "--out" => out = value()?.into(),
            _ => plain.push(word),
        }
    }
    let (chosen, overrides): (Vec<&Study>, &[&str]) = if all {
        (STUDIES.to_vec(), &plain)
    } else {
        let (name, overrides) =
            plain.split_first().ok_or_else(|| bad("no study\nhint: `run NAME` or `run --all`".into()))?;
        (vec![runner::named(name).map_err(bad)?], overrides)
    };
    for study in chosen {
        let settings = Settings::new(study, overrides).map_err(bad)?;
        let begun = Instant::now();
        let verdict = runner::run(study, &settings, tier, &out.join(study.name)).map_err(|error| match error {
            RunError::Input(_) => bad(error.to_string()),
            RunError::Io { .. } | RunError::NotFinite { .. } => (1, error.to_string()),
        })?;
        print!("{}", runner::summary(&verdict));
        eprintln!("    {:.1} s, written to {}", begun.elapsed().as_secs_f64(), out.join(study.name).display());
    }
    Ok(())
}
