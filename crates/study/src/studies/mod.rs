//! The studies.

pub mod calibration;
pub mod dyna;
pub mod paml;
pub mod probability_metrics;
pub mod simulation_lemma;
pub mod vaml_gaussian;
pub mod vaml_walk;

use crate::study::Study;

/// All studies, in the order in which the lecture comes to their subjects.
pub static STUDIES: [&Study; 7] = [
    &dyna::STUDY,
    &simulation_lemma::STUDY,
    &vaml_gaussian::STUDY,
    &vaml_walk::STUDY,
    &paml::STUDY,
    &probability_metrics::STUDY,
    &calibration::STUDY,
];
