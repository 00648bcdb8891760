//! Tests of the agent against numbers recorded from the published code in f64 (`assets/fixtures/agents.json`).

mod fixtures;
