//! Studies of decision-aware model learning on finite and closed-form problems.
//!
//! A lecture's argument for models that are right where decisions need them, step by step, each step with exact oracles.
//! The modules in reading order:
//!
//! * [`mdp`]: finite Markov decision processes with exact planning.
//! * [`study`]: what a study is: claim, source, parameters, quantities, expectations.
//! * [`studies`]: the studies.
//! * [`runner`]: runs a study and writes its verdict and its figure.
//! * [`figure`], [`linear`], [`random`], [`statistics`]: what the others are computed and drawn with.

pub mod figure;
pub mod linear;
pub mod mdp;
pub mod random;
pub mod runner;
pub mod statistics;
pub mod studies;
pub mod study;
