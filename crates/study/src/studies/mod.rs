//! The studies.

pub mod calibration;
pub mod probability_metrics;
pub mod simulation_lemma;

use crate::study::Study;

/// All studies, in the order in which the lecture comes to their subjects.
pub static STUDIES: [&Study; 3] = [&simulation_lemma::STUDY, &probability_metrics::STUDY, &calibration::STUDY];
