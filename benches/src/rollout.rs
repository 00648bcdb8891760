//! Timing of imagined rollouts on the CPU or on a GPU: actor 2×256, 7 Gaussian members of 4×200, 11 observations, 3
//! actions. A member is drawn anew for every row and step, and transitions are written to the imagined buffer.

use burn::tensor::Device;
use foresee_actor_critic::{Sac, SacConfig};
use foresee_core::{Termination, Transition};
use foresee_dyna::replay::{ImaginedBuffer, RealBuffer};
use foresee_dyna::rollout::{Form, FusedContext, Rollout};
use foresee_world_model::Ensemble;
use foresee_world_model::config::{EnsembleConfig, Head};

use crate::compute::{Repeat, Timing, time};
use crate::workloads::{ACT, OBS, batch};

/// Number of weights that a transition passes through: those of the actor and of one member.
const WEIGHTS: usize = OBS * 256 + 256 * 256 + 256 * 2 * ACT + (OBS + ACT) * 200 + 3 * 200 * 200 + 200 * 2 * (OBS + 1);

/// Times rollouts of `horizon` steps from `starts` states.
pub(crate) fn run(device: &Device, [starts, horizon]: [usize; 2], repeat: Repeat) -> Timing {
    let real = real(starts, device);
    let agent = Sac::new(&SacConfig { hidden: vec![256, 256], ..SacConfig::default() }, [OBS, ACT], 0, device);
    let shape = EnsembleConfig { members: 7, elites: 7, hidden: vec![200; 4], ..EnsembleConfig::default() };
    let ensemble = Ensemble::new(&shape, Head::Gaussian, [OBS, ACT], 0, device);
    let never = Termination::never();
    let context = FusedContext {
        ensemble: &ensemble,
        policy: agent.policy(),
        termination: (&never).into(),
        seed: 0,
        device,
        measures: &[],
    };
    let mut buffer = ImaginedBuffer::on(starts * horizon, [OBS, ACT], device);
    let form = Form::fused(device);
    let mut call = 0;
    let ms = time(repeat, 5, 1.0, || {
        let mut rollout = Rollout::new(real.rows(), starts, horizon, 0, call);
        while !rollout.advance_fused(form, &context, &real, &mut buffer) {}
        call += 1;
    });
    let transitions = (starts * horizon) as f64;
    Timing { ms, flops: Some(2.0 * WEIGHTS as f64 * transitions), transitions: Some(transitions) }
}

/// Returns a real buffer of `rows` rows, sent to the device in one call.
fn real(rows: usize, device: &Device) -> RealBuffer {
    let batch = batch(rows);
    let mut real = RealBuffer::new([OBS, ACT], &Device::flex());
    for row in 0..rows {
        real.push(&Transition {
            obs: batch.obs[row * OBS..][..OBS].to_vec(),
            action: batch.action[row * ACT..][..ACT].to_vec(),
            reward: batch.reward[row],
            next_obs: batch.next_obs[row * OBS..][..OBS].to_vec(),
            terminated: false,
            truncated: false,
        });
    }
    RealBuffer::restore(real.save(), [OBS, ACT], 1, device).expect("a buffer takes its own state")
}
