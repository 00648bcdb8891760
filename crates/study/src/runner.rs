//! Runs a study: its seeds in parallel, then `verdict.json` and `figure.svg` in the study's folder.
//!
//! The tier `report` also writes `seeds/SEED.json` as soon as a seed is finished. A further run reads these files and
//! runs only the missing seeds. Files of another set-up, or of another revision of the study, are refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::studies::STUDIES;
use crate::study::{
    Conclusion, Expectation, Finding, LEVEL, Parameter, Record, Settings, Study, Tier, findings, overall,
};

/// Why a study was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder has seeds that cannot be added to this run.
    #[error("{0}")]
    Input(String),
    /// A file could not be read or written.
    #[error("cannot use `{}`: {error}\nhint: check the permissions and the free disk space, or choose another folder by --out", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: std::io::Error,
    },
    /// A measured quantity is not a finite number.
    #[error(
        "the study `{study}` measured {value} as `{quantity}` with seed {seed}\nhint: the study cannot compute this set-up: choose parameters nearer to their defaults (`foresee study list`)"
    )]
    NotFinite {
        /// The study.
        study: &'static str,
        /// The seed.
        seed: u64,
        /// The quantity.
        quantity: String,
        /// The value.
        value: f64,
    },
}

/// The content of `verdict.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The study's name.
    pub study: &'static str,
    /// The study's revision.
    pub revision: u32,
    /// The version of this crate.
    pub version: &'static str,
    /// The claim.
    pub claim: &'static str,
    /// The source of the claim.
    pub source: &'static str,
    /// The tier.
    pub tier: Tier,
    /// The values of the parameters.
    pub parameters: BTreeMap<String, f64>,
    /// The seeds that were measured.
    pub seeds: Vec<u64>,
    /// The level of the intervals.
    pub level: f64,
    /// The conclusion over all quantities with an expectation.
    pub verdict: Conclusion,
    /// The quantities.
    pub findings: Vec<Finding>,
}

/// The content of `seeds/SEED.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Finished {
    study: String,
    revision: u32,
    parameters: BTreeMap<String, f64>,
    seed: u64,
    record: Record,
}

/// Runs the seeds of the tier, writes `verdict.json` and `figure.svg` into `folder`, and returns the verdict.
///
/// The result does not depend on the number of threads.
///
/// # Errors
/// A file that cannot be read or written, finished seeds of another set-up, or a quantity that is not finite.
pub fn run(study: &Study, settings: &Settings, tier: Tier, folder: &Path) -> Result<Verdict, RunError> {
    let kept = folder.join("seeds");
    create(folder)?;
    if tier == Tier::Report {
        create(&kept)?;
    }
    let seeds: Vec<u64> = (0..study.seeds(tier)).collect();
    let measure = |&seed: &u64| {
        let file = kept.join(format!("{seed}.json"));
        if tier == Tier::Report && file.exists() {
            return finished(study, settings, seed, &file);
        }
        let record = (study.run)(settings, seed);
        check_record(study, seed, &record)?;
        if tier == Tier::Report {
            let (study, revision) = (study.name.to_owned(), study.revision);
            let parameters = settings.values().clone();
            write_json(&file, &Finished { study, revision, parameters, seed, record: record.clone() })?;
        }
        Ok(record)
    };
    let records: Vec<Record> = seeds.par_iter().map(measure).collect::<Result<_, RunError>>()?;

    let findings = findings(study, &records);
    let verdict = Verdict {
        study: study.name,
        revision: study.revision,
        version: env!("CARGO_PKG_VERSION"),
        claim: study.claim,
        source: study.source,
        tier,
        parameters: settings.values().clone(),
        seeds,
        level: LEVEL,
        verdict: overall(&findings),
        findings,
    };
    write(&folder.join("figure.svg"), (study.figure)(settings, &records).svg().as_bytes())?;
    write_json(&folder.join("verdict.json"), &verdict)?;
    Ok(verdict)
}

/// The study called `name`.
///
/// # Errors
/// A message for the user, if there is none.
pub fn named(name: &str) -> Result<&'static Study, String> {
    let found = STUDIES.iter().find(|study| study.name == name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = STUDIES.iter().map(|study| study.name).collect();
        let likeness = |other: &str| strsim::jaro_winkler(other, name);
        let nearest = names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).expect("there are studies");
        let hint = if likeness(nearest) > 0.8 {
            format!("did you mean `{nearest}`?")
        } else {
            format!("the studies are {}", names.join(", "))
        };
        format!("there is no study `{name}`\nhint: {hint}")
    })
}

/// One line for each study, its parameters and its numbers of seeds.
#[must_use]
pub fn listed() -> String {
    let mut out = String::new();
    for study in STUDIES {
        let [smoke, quick, report] = study.seeds;
        writeln!(out, "{} (seeds: smoke {smoke}, quick {quick}, report {report})", study.name).expect("text");
        writeln!(out, "    {}", study.claim).expect("text");
        for Parameter { name, default, meaning, .. } in study.parameters {
            writeln!(out, "    {:<22} {meaning}", format!("{name}={default}")).expect("text");
        }
    }
    out
}

/// The verdict as lines of text: one for the study, then one for each quantity.
#[must_use]
pub fn summary(verdict: &Verdict) -> String {
    let word = |conclusion: Conclusion| format!("{conclusion:?}").to_lowercase();
    let mut out = format!("{}: {} ({} seeds)\n", verdict.study, word(verdict.verdict), verdict.seeds.len());
    for finding in &verdict.findings {
        let interval = finding.interval.map_or_else(String::new, |[low, high]| format!(" [{low:.4}, {high:.4}]"));
        let expected = match finding.expectation {
            Some(Expectation::AtLeast(bound)) => format!("; expected at least {bound}"),
            Some(Expectation::AtMost(bound)) => format!("; expected at most {bound}"),
            Some(Expectation::Within(low, high)) => format!("; expected from {low} to {high}"),
            None => String::new(),
        };
        let verdict = finding.verdict.map_or_else(String::new, |conclusion| format!(": {}", word(conclusion)));
        writeln!(out, "    {} = {:.4}{interval}{expected}{verdict}", finding.quantity, finding.estimate).expect("text");
    }
    out
}

/// Reads the record of a finished seed from its file.
///
/// # Errors
/// If the file has another seed, another study, revision or set-up, or a number that is not finite.
fn finished(study: &Study, settings: &Settings, seed: u64, file: &Path) -> Result<Record, RunError> {
    let text = fs::read(file).map_err(|error| RunError::Io { path: file.into(), error })?;
    let other = |what: String| {
        RunError::Input(format!(
            "`{}` {what}\nhint: choose another folder by --out, or remove the old one",
            file.display()
        ))
    };
    let found: Finished =
        serde_json::from_slice(&text).map_err(|error| other(format!("is not a finished seed: {error}")))?;
    if (found.study.as_str(), found.revision) != (study.name, study.revision) {
        return Err(other(format!(
            "belongs to `{}` revision {}, not to `{}` revision {}",
            found.study, found.revision, study.name, study.revision
        )));
    }
    if found.seed != seed {
        return Err(other(format!("is the record of seed {}", found.seed)));
    }
    if let Some((name, value)) =
        settings.values().iter().find(|&(name, value)| found.parameters.get(name) != Some(value))
    {
        let before = found.parameters.get(name).map_or_else(|| "no value".into(), ToString::to_string);
        return Err(other(format!("was measured with another set-up: {name} was {before}, and is {value} now")));
    }
    check_record(study, found.seed, &found.record)?;
    Ok(found.record)
}

fn check_record(study: &Study, seed: u64, record: &Record) -> Result<(), RunError> {
    for quantity in study.quantities {
        let value = record.values.get(quantity.name).copied().unwrap_or(f64::NAN);
        if !value.is_finite() {
            return Err(RunError::NotFinite { study: study.name, seed, quantity: quantity.name.into(), value });
        }
    }
    Ok(())
}

fn create(folder: &Path) -> Result<(), RunError> {
    fs::create_dir_all(folder).map_err(|error| RunError::Io { path: folder.into(), error })
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RunError> {
    let mut text = serde_json::to_vec_pretty(value).expect("numbers and texts");
    text.push(b'\n');
    write(path, &text)
}

/// Writes a file completely or not at all: under another name first.
fn write(path: &Path, content: &[u8]) -> Result<(), RunError> {
    let part = path.with_extension("part");
    let written = fs::write(&part, content).and_then(|()| fs::rename(&part, path));
    written.map_err(|error| RunError::Io { path: path.into(), error })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::figure::Figure;
    use crate::study::{Quantity, any_values};

    static RUNS: AtomicUsize = AtomicUsize::new(0);

    static TOY: Study = Study {
        name: "toy",
        revision: 2,
        claim: "The mean of the seeds is at least the bound.",
        source: "none",
        parameters: &[
            Parameter::real("shift", 0.0, [-1.0, 1e9], "what is added to the seed"),
            Parameter::count("draws", 3, [1, 9], "a number that changes nothing"),
        ],
        quantities: &[
            Quantity::expected("value", "seed plus shift", Expectation::AtLeast(0.0)),
            Quantity::reported("double", "twice the value"),
        ],
        seeds: [2, 3, 5],
        check: any_values,
        run: |settings, seed| {
            RUNS.fetch_add(1, Ordering::SeqCst);
            let mut record = Record::default();
            record.set("value", seed as f64 + settings.real("shift"));
            record.set("double", 2.0 * record.values["value"]);
            record
        },
        figure: |_, _| Figure { panels: Vec::new() },
    };

    #[test]
    fn a_report_keeps_its_seeds_and_refuses_those_of_another_set_up() {
        let folder = tempfile::tempdir().unwrap();
        let plain = Settings::new(&TOY, &[]).unwrap();
        let first = run(&TOY, &plain, Tier::Report, folder.path()).unwrap();
        // Mean of 0 … 4 is 2; the 0.975 quantile of t with four degrees of freedom is 2.776445, the deviation √2.5.
        let [low, high] = first.findings[0].interval.unwrap();
        let half = 2.776_445 * (2.5_f64 / 5.0).sqrt();
        assert!((low - (2.0 - half)).abs() < 1e-5 && (high - (2.0 + half)).abs() < 1e-5);
        assert_eq!((first.findings[0].verdict, first.verdict), (Some(Conclusion::Supported), Conclusion::Supported));
        assert_eq!(first.findings[1].verdict, None);
        let written = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let before = written("verdict.json");

        fs::remove_file(folder.path().join("seeds/3.json")).unwrap();
        let runs = RUNS.load(Ordering::SeqCst);
        run(&TOY, &plain, Tier::Report, folder.path()).unwrap();
        assert_eq!(RUNS.load(Ordering::SeqCst), runs + 1, "only the missing seed is run");
        assert_eq!(written("verdict.json"), before);

        let seed = |n: u64| folder.path().join(format!("seeds/{n}.json"));
        fs::copy(seed(3), seed(4)).unwrap();
        let message = run(&TOY, &plain, Tier::Report, folder.path()).unwrap_err().to_string();
        assert!(message.contains("4.json` is the record of seed 3\nhint: "), "{message}");
        fs::remove_file(seed(4)).unwrap();

        let shifted = Settings::new(&TOY, &["shift=0.5"]).unwrap();
        let message = run(&TOY, &shifted, Tier::Report, folder.path()).unwrap_err().to_string();
        assert!(message.contains("shift was 0, and is 0.5 now\nhint: choose another folder by --out"), "{message}");

        let infinite = Study { run: |_, _| Record::default(), ..TOY };
        let message = run(&infinite, &plain, Tier::Smoke, folder.path()).unwrap_err().to_string();
        assert!(message.contains("measured NaN as `value` with seed"), "{message}");
    }

    #[test]
    fn overrides_are_checked() {
        let message = |overrides: &[&str]| Settings::new(&TOY, overrides).unwrap_err();
        assert_eq!(message(&["shift"]), "`shift` is not an override\nhint: write NAME=VALUE, as in `shift=0`");
        assert_eq!(message(&["shfit=1"]), "the study `toy` has no parameter `shfit`\nhint: did you mean `shift`?");
        let range = "hint: draws (a number that changes nothing) is a whole number from 1 to 9";
        assert_eq!(message(&["draws=x"]), format!("draws=x is no number\n{range}"));
        for value in ["10", "1.5", "NaN"] {
            assert_eq!(
                message(&[&format!("draws={value}")]),
                format!("draws={value} is not a value that the study accepts\n{range}")
            );
        }
        assert_eq!(Settings::new(&TOY, &["shift=2"]).unwrap().real("shift"), 2.0);
    }
}
