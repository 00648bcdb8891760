//! The agent against recorded numbers of the published code, executed in f64 (`assets/fixtures/agents.json`).

mod fixtures;
