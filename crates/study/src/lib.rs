//! Studies of decision-aware model learning on finite and closed-form problems.
//!
//! The studies test, one by one, the claims of a lecture: A. M. Farahmand, "Model-based RL & Decision-Aware Model
//! Learning". Its argument is that a model should be accurate where the agent's decisions depend on it. Comments and
//! sources call it "the lecture". `docs/studies/README.md` describes how to run a study and read its verdict.
//!
//! The modules in reading order:
//!
//! * [`mdp`]: finite Markov decision processes with exact planning.
//! * [`study`]: the parts of a study: claim, source, parameters, quantities, expectations.
//! * [`studies`]: one module for each study.
//! * [`runner`]: runs a study and writes its verdict and its figure.
//! * [`linear`], [`random`], [`statistics`], [`figure`]: matrices, random numbers, intervals and drawings.

pub mod figure;
pub mod linear;
pub mod mdp;
pub mod random;
pub mod runner;
pub mod statistics;
pub mod studies;
pub mod study;
