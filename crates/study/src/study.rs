//! The parts of a study: a claim, its source, a set-up with numbers that can be changed, and measured quantities. A
//! quantity can have an expectation, which is written in the code before any run.
//!
//! A run of one seed gives a [`Record`]. Records of several seeds give an estimate and an interval of each quantity, and
//! these, with the expectation, a [`Conclusion`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::figure::Figure;
use crate::statistics::{interval, mean};

/// The level of every interval over seeds.
pub const LEVEL: f64 = 0.95;

/// A number of a set-up that a user can change.
#[derive(Debug)]
pub struct Parameter {
    /// The name in `NAME=VALUE`.
    pub name: &'static str,
    /// The value of an unchanged set-up.
    pub default: f64,
    /// The smallest and the largest value that the study accepts.
    pub range: [f64; 2],
    /// Whether the value is a whole number.
    pub whole: bool,
    /// The meaning, with its unit.
    pub meaning: &'static str,
}

impl Parameter {
    /// A whole number in this range.
    #[must_use]
    pub const fn count(name: &'static str, default: u32, range: [u32; 2], meaning: &'static str) -> Self {
        Self { name, default: default as f64, range: [range[0] as f64, range[1] as f64], whole: true, meaning }
    }

    /// A real number in this range.
    #[must_use]
    pub const fn real(name: &'static str, default: f64, range: [f64; 2], meaning: &'static str) -> Self {
        Self { name, default, range, whole: false, meaning }
    }
}

/// The values of a study's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    values: BTreeMap<String, f64>,
}

impl Settings {
    /// The defaults of a study, changed by overrides of the form `NAME=VALUE`.
    ///
    /// # Errors
    /// A message for the user: a parameter that does not exist, a value that is no number or out of its range, or values
    /// that do not fit together.
    pub fn new(study: &Study, overrides: &[&str]) -> Result<Self, String> {
        let defaults = study.parameters.iter().map(|parameter| (parameter.name.to_owned(), parameter.default));
        let mut settings = Self { values: defaults.collect() };
        for &text in overrides {
            let (name, value) = text.split_once('=').ok_or_else(|| {
                format!("`{text}` is not an override\nhint: write NAME=VALUE, as in {}", example(study))
            })?;
            let parameter = study.parameters.iter().find(|parameter| parameter.name == name);
            let parameter = parameter.ok_or_else(|| unknown(study, name))?;
            settings.values.insert(name.to_owned(), parsed(parameter, value)?);
        }
        (study.check)(&settings)?;
        Ok(settings)
    }

    /// The value of the parameter called `name`.
    ///
    /// # Panics
    /// If the study has no such parameter.
    #[must_use]
    pub fn real(&self, name: &str) -> f64 {
        *self.values.get(name).unwrap_or_else(|| panic!("the study has no parameter `{name}`"))
    }

    /// The value of a parameter that is a whole number.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.real(name) as usize
    }

    /// All values by name.
    #[must_use]
    pub fn values(&self) -> &BTreeMap<String, f64> {
        &self.values
    }
}

fn example(study: &Study) -> String {
    let of = |parameter: &Parameter| format!("`{}={}`", parameter.name, parameter.default);
    study.parameters.first().map_or_else(|| "`draws=100`".into(), of)
}

fn unknown(study: &Study, name: &str) -> String {
    let names: Vec<&str> = study.parameters.iter().map(|parameter| parameter.name).collect();
    let nearest = names.iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    let hint = match nearest {
        Some(nearest) if strsim::jaro_winkler(nearest, name) > 0.8 => format!("did you mean `{nearest}`?"),
        _ => format!("its parameters are {}", names.join(", ")),
    };
    format!("the study `{}` has no parameter `{name}`\nhint: {hint}", study.name)
}

fn parsed(parameter: &Parameter, text: &str) -> Result<f64, String> {
    let Parameter { name, range: [low, high], whole, meaning, .. } = parameter;
    let kind = if *whole { "a whole number" } else { "a number" };
    let hint = format!("{name} ({meaning}) is {kind} from {low} to {high}");
    let value: f64 = text.parse().map_err(|_| format!("{name}={text} is no number\nhint: {hint}"))?;
    if !(*low..=*high).contains(&value) || (*whole && value.fract() != 0.0) {
        return Err(format!("{name}={text} is not a value that the study accepts\nhint: {hint}"));
    }
    Ok(value)
}

/// How many seeds a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Few seeds: all studies together take at most two minutes.
    Smoke,
    /// All studies together take at most two hours on two cores.
    Quick,
    /// Many seeds. Finished seeds are kept in the study's folder, and a further run adds the missing ones.
    Report,
}

impl Tier {
    /// All tiers with their names.
    pub const NAMES: [(&str, Self); 3] = [("smoke", Self::Smoke), ("quick", Self::Quick), ("report", Self::Report)];

    /// The tier called `name`.
    ///
    /// # Errors
    /// A message for the user, if there is none.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, tier)| *tier)
            .ok_or_else(|| format!("there is no tier `{name}`\nhint: the tiers are smoke, quick and report"))
    }
}

/// The values of a quantity that agree with the claim. The bound is the smallest effect that counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// The quantity is this number or more.
    AtLeast(f64),
    /// The quantity is this number or less.
    AtMost(f64),
    /// The quantity lies between these numbers, ends included: no effect that counts in either direction.
    Within(f64, f64),
}

/// The conclusion about an expectation from the interval over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conclusion {
    /// The whole interval fulfils the expectation.
    Supported,
    /// No point of the interval fulfils the expectation.
    Contradicted,
    /// The interval has points of both kinds, or there is only one seed.
    Undecided,
}

impl Expectation {
    /// The conclusion from an interval, which is `None` of one seed.
    #[must_use]
    pub fn conclude(self, interval: Option<[f64; 2]>) -> Conclusion {
        let Some([low, high]) = interval else { return Conclusion::Undecided };
        let (from, to) = match self {
            Self::AtLeast(bound) => (bound, f64::INFINITY),
            Self::AtMost(bound) => (f64::NEG_INFINITY, bound),
            Self::Within(from, to) => (from, to),
        };
        if from <= low && high <= to {
            Conclusion::Supported
        } else if high < from || to < low {
            Conclusion::Contradicted
        } else {
            Conclusion::Undecided
        }
    }
}

/// A number that each seed measures.
#[derive(Debug)]
pub struct Quantity {
    /// The name in a record.
    pub name: &'static str,
    /// The meaning, with its unit.
    pub meaning: &'static str,
    /// The values that agree with the claim; `None` if the quantity is only reported.
    pub expectation: Option<Expectation>,
}

impl Quantity {
    /// A quantity about which the claim says something.
    #[must_use]
    pub const fn expected(name: &'static str, meaning: &'static str, expectation: Expectation) -> Self {
        Self { name, meaning, expectation: Some(expectation) }
    }

    /// A quantity that is reported without an expectation.
    #[must_use]
    pub const fn reported(name: &'static str, meaning: &'static str) -> Self {
        Self { name, meaning, expectation: None }
    }
}

/// The measurements of one seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The value of each quantity.
    pub values: BTreeMap<String, f64>,
    /// Points `[x, y]` of each curve for the figure. The `x` are the same for all seeds.
    pub curves: BTreeMap<String, Vec<[f64; 2]>>,
}

impl Record {
    /// Adds the value of a quantity.
    pub fn set(&mut self, name: &str, value: f64) {
        self.values.insert(name.to_owned(), value);
    }

    /// Adds a point to a curve.
    pub fn point(&mut self, curve: &str, x: f64, y: f64) {
        self.curves.entry(curve.to_owned()).or_default().push([x, y]);
    }
}

/// A study.
#[derive(Debug)]
pub struct Study {
    /// The name on the command line and of the page in `docs/studies`.
    pub name: &'static str,
    /// A number that is raised when a change of the code changes what a seed measures.
    pub revision: u32,
    /// The claim, in one or two sentences.
    pub claim: &'static str,
    /// Where the claim comes from.
    pub source: &'static str,
    /// The numbers that a user can change.
    pub parameters: &'static [Parameter],
    /// The measured quantities.
    pub quantities: &'static [Quantity],
    /// The numbers of seeds of the tiers smoke, quick and report.
    pub seeds: [u64; 3],
    /// Checks that the values fit together. The message says which do not, with a line `hint: `.
    pub check: fn(&Settings) -> Result<(), String>,
    /// Measures everything for one seed. The result depends on the settings and the seed alone.
    pub run: fn(&Settings, u64) -> Record,
    /// Draws the records of all seeds.
    pub figure: fn(&Settings, &[Record]) -> Figure,
}

impl Study {
    /// The number of seeds of a tier.
    #[must_use]
    pub fn seeds(&self, tier: Tier) -> u64 {
        self.seeds[tier as usize]
    }
}

/// A check that accepts all values.
///
/// # Errors
/// Never.
pub fn any_values(_: &Settings) -> Result<(), String> {
    Ok(())
}

/// The estimate of a quantity over seeds, and the conclusion.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The quantity's name.
    pub quantity: &'static str,
    /// The quantity's meaning.
    pub meaning: &'static str,
    /// The mean over seeds.
    pub estimate: f64,
    /// Student's interval of the mean at [`LEVEL`], or `None` of one seed.
    pub interval: Option<[f64; 2]>,
    /// The values that agree with the claim, if it says something about the quantity.
    pub expectation: Option<Expectation>,
    /// Whether the seeds support it.
    pub verdict: Option<Conclusion>,
}

/// The findings of a study from the records of its seeds.
#[must_use]
pub fn findings(study: &Study, records: &[Record]) -> Vec<Finding> {
    let find = |quantity: &Quantity| {
        let values: Vec<f64> = records.iter().map(|record| record.values[quantity.name]).collect();
        let interval = interval(&values, LEVEL);
        Finding {
            quantity: quantity.name,
            meaning: quantity.meaning,
            estimate: mean(&values),
            interval,
            expectation: quantity.expectation,
            verdict: quantity.expectation.map(|expectation| expectation.conclude(interval)),
        }
    };
    study.quantities.iter().map(find).collect()
}

/// The conclusion of the whole study: contradicted if any expectation is, supported if all are.
#[must_use]
pub fn overall(findings: &[Finding]) -> Conclusion {
    let verdicts: Vec<Conclusion> = findings.iter().filter_map(|finding| finding.verdict).collect();
    if verdicts.contains(&Conclusion::Contradicted) {
        Conclusion::Contradicted
    } else if verdicts.iter().all(|&verdict| verdict == Conclusion::Supported) {
        Conclusion::Supported
    } else {
        Conclusion::Undecided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conclusion_needs_the_whole_interval() {
        use Conclusion::{Contradicted, Supported, Undecided};
        for (expectation, interval, conclusion) in [
            (Expectation::AtLeast(1.0), Some([1.0, 2.0]), Supported),
            (Expectation::AtLeast(1.0), Some([0.5, 2.0]), Undecided),
            (Expectation::AtLeast(1.0), Some([0.5, 0.9]), Contradicted),
            (Expectation::AtLeast(1.0), None, Undecided),
            (Expectation::AtMost(0.0), Some([0.0, 0.0]), Supported),
            (Expectation::AtMost(0.0), Some([-1.0, 0.1]), Undecided),
            (Expectation::AtMost(0.0), Some([0.1, 0.2]), Contradicted),
            (Expectation::Within(-1.0, 1.0), Some([-0.5, 1.0]), Supported),
            (Expectation::Within(-1.0, 1.0), Some([-2.0, 2.0]), Undecided),
            (Expectation::Within(-1.0, 1.0), Some([1.5, 2.0]), Contradicted),
        ] {
            assert_eq!(expectation.conclude(interval), conclusion, "{expectation:?} {interval:?}");
        }
    }
}
