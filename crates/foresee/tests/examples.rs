//! Every example runs and has the result that it documents.

#[allow(dead_code, reason = "its `main`")]
#[path = "../examples/load_policy.rs"]
mod load_policy;
#[allow(dead_code, reason = "its `main`")]
#[path = "../examples/own_agent.rs"]
mod own_agent;
#[allow(dead_code, reason = "its `main`")]
#[path = "../examples/own_env.rs"]
mod own_env;
#[allow(dead_code, reason = "its `main`")]
#[path = "../examples/own_loop.rs"]
mod own_loop;
#[allow(dead_code, reason = "its `main`")]
#[path = "../examples/own_loss.rs"]
mod own_loss;

/// Returns an example's result, and its output for the message of a failure.
fn outcome<T>(example: impl FnOnce(&mut Vec<u8>) -> Result<T, Box<dyn std::error::Error>>) -> (T, String) {
    let mut out = Vec::new();
    let outcome = example(&mut out);
    let text = String::from_utf8(out).unwrap();
    (outcome.unwrap_or_else(|error| panic!("{error}\n{text}")), text)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn under_a_loss_of_ones_own_the_holdout_score_falls() {
    let (scores, text) = outcome(own_loss::run);
    assert!(scores.len() == 5 && scores[4] < 0.5 * scores[0], "{text}");
}

#[test]
fn in_an_environment_of_ones_own_an_agent_learns_to_stay() {
    let (lengths, text) = outcome(own_env::run);
    let (first, last) = (lengths[0], lengths[lengths.len() - 1]);
    assert!(first < 60.0 && last > 90.0, "{text}");
}

#[test]
fn an_agent_of_ones_own_swings_the_pendulum_up_through_the_model() {
    let (returns, text) = outcome(own_agent::run);
    assert!(returns[returns.len() - 1] > -400.0, "{text}");
}

#[test]
fn a_loop_of_ones_own_learns_to_swing_the_pendulum_up() {
    let (returns, text) = outcome(own_loop::run);
    assert!(returns.len() == 8 && mean(&returns[5..]) > -400.0, "{text}");
}

#[test]
fn a_checkpoints_actor_plays_as_the_run_says_it_does() {
    let folder = tempfile::tempdir().unwrap();
    load_policy::train(folder.path()).unwrap();
    let (returns, text) = outcome(|out| load_policy::play(folder.path(), 5, out));
    assert!(mean(&returns) > -400.0, "{text}");
}
