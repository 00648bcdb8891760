//! Imagined rollouts, timed: actor 2×256, 7 Gaussian members of 4×200, 11 observations, 3 actions, a member drawn anew for
//! every row and step, transitions into the imagined buffer.

use burn::tensor::Device;
use foresee_actor_critic::{AgentConfig, Sac};
use foresee_core::Termination;
use foresee_dyna::replay::ImaginedBuffer;
use foresee_dyna::rollout::{Imagination, Rollout};
use foresee_world_model::Ensemble;
use foresee_world_model::config::{EnsembleConfig, Head};

use crate::compute::{ACT, OBS, Timing, batch, time};

/// Weights of the networks that a transition passes through: the actor and one member.
const WEIGHTS: usize = OBS * 256 + 256 * 256 + 256 * 2 * ACT + (OBS + ACT) * 200 + 3 * 200 * 200 + 200 * 2 * (OBS + 1);

/// Rollouts of `horizon` steps from `starts` states.
pub fn run(device: &Device, [starts, horizon]: [usize; 2], seconds: f64) -> Timing {
    let real = batch(starts);
    let agent = Sac::new(&AgentConfig { hidden: vec![256, 256], ..AgentConfig::default() }, [OBS, ACT], 0, device);
    let shape = EnsembleConfig { members: 7, elites: 7, hidden: vec![200; 4] };
    let ensemble = Ensemble::new(&shape, Head::Gaussian, [OBS, ACT], 0, device);
    let imagination = Imagination {
        ensemble: &ensemble,
        policy: agent.policy(),
        termination: &Termination::never(),
        seed: 0,
        device,
        measures: &[],
    };
    let mut buffer = ImaginedBuffer::new(starts * horizon, OBS, ACT);
    let mut call = 0;
    let ms = time(seconds, 5, 1.0, || {
        let mut rollout = Rollout::new(&real, starts, horizon, 0, call);
        while !rollout.advance(&imagination, &mut buffer) {}
        call += 1;
    });
    let transitions = (starts * horizon) as f64;
    Timing { ms, flops: Some(2.0 * WEIGHTS as f64 * transitions), transitions: Some(transitions) }
}
