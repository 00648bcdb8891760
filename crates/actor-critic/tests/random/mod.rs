//! Random batches.

use foresee_core::{Batch, Stream};

/// Batch number `step` with `rows` rows, and the noise at its next_obs and at its obs, `[B, A]` each.
pub fn batch([obs, action]: [usize; 2], rows: usize, step: u64) -> (Batch, [Vec<f32>; 2]) {
    let normals = |name, columns| Stream::new(7, name).normals(step, rows, columns);
    let batch = Batch {
        rows,
        obs: normals("obs", obs),
        action: normals("action", action).into_iter().map(f32::tanh).collect(),
        reward: normals("reward", 1),
        next_obs: normals("next_obs", obs),
        not_terminated: normals("ends", 1).into_iter().map(|x| if x > 1.5 { 0.0 } else { 1.0 }).collect(),
    };
    (batch, [normals("noise_next", action), normals("noise", action)])
}
