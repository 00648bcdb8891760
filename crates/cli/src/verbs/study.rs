//! `study`: lists and runs the studies of `foresee_study`.

use std::path::Path;

use foresee_study::runner::{self, RunError};
use foresee_study::studies::STUDIES;
use foresee_study::study::{Settings, Study, Tier};

use super::{DONE, print_line};
use crate::cli::StudyVerb;
use crate::failure::Failure;

/// Lists the studies, or runs one or all of them and prints their verdicts.
pub(super) fn study(verb: StudyVerb) -> Result<u8, Failure> {
    match verb {
        StudyVerb::List => print_line(runner::listed().trim_end())?,
        StudyVerb::Run { name, parameters, tier, out, .. } => {
            let tier = Tier::named(&tier).map_err(Failure::Input)?;
            let chosen: Vec<&Study> = match &name {
                Some(name) => vec![runner::named(name).map_err(Failure::Input)?],
                None => STUDIES.to_vec(),
            };
            chosen.into_iter().try_for_each(|study| run(study, &super::texts(&parameters), tier, &out))?;
        }
    }
    Ok(DONE)
}

/// Runs a study in the folder of its name in `out`.
fn run(study: &Study, parameters: &[&str], tier: Tier, out: &Path) -> Result<(), Failure> {
    let settings = Settings::new(study, parameters).map_err(Failure::Input)?;
    let folder = out.join(study.name);
    let verdict = runner::run(study, &settings, tier, &folder).map_err(|error| match error {
        RunError::Input(message) => Failure::Input(message),
        RunError::Io { .. } | RunError::NotFinite { .. } => Failure::Run(error.to_string()),
    })?;
    print_line(runner::summary(&verdict).trim_end())?;
    eprintln!("written to {}", folder.display());
    Ok(())
}
