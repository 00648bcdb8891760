//! The update on a GPU: the computations of [`super::host`] as kernels, without autodiff and without waiting for the
//! device.
//!
//! The sections are those of [`super::by_tensors`]. Nine kernel launches train the critics, fourteen train the actor
//! and the temperature, and one moves the targets.

#![allow(unsafe_code, reason = "kernels are launched without bound checks, each launch with its argument")]

mod kernels;

use cubecl::prelude::{CubeCount, CubeDim};
use foresee_nn::cube::{CubeTensor, backward, buffer, elementwise, empty, forward, infer, reshape, tensor};
use foresee_nn::{Adam, Parameters};

use super::losses::Losses;
use super::{NOISE, NOISE_NEXT, Sac, Turns};
use crate::batch::TensorBatch;
use crate::noise::Noise;

/// Takes an optimiser step with a gradient `[E, 1, P]`.
fn step(adam: &mut Adam, parameters: &mut impl Parameters, gradient: CubeTensor) {
    adam.step(parameters, tensor(gradient));
}

/// Reshapes rows `[B, columns]` to `[1, B, columns]`, which is broadcast to every ensemble member.
fn for_all(rows: &CubeTensor) -> CubeTensor {
    let shape = rows.meta.shape();
    reshape(rows.clone(), &[1, shape[0], shape[1]])
}

impl Sac {
    /// Makes one update of an agent on a GPU, and returns its losses. The batch must have at least one row.
    #[track_caller]
    pub(super) fn update_device(&mut self, batch: &TensorBatch, noise: &dyn Noise, turns: Turns) -> Losses {
        let dims = self.dims();
        let rows = batch.rows();
        let of_stream = |name| noise.normals(name, [rows, dims[1]], &self.device());
        let noise_next = of_stream(NOISE_NEXT);
        let noise = turns.actor.then(|| of_stream(NOISE));
        let found = [batch.obs.dims(), batch.next_obs.dims(), batch.action.dims(), noise_next.dims()];
        let [of_obs, of_action] = dims.map(|columns| [rows, columns]);
        assert_eq!(found, [of_obs, of_obs, of_action, of_action], "numbers of {rows} rows");
        assert!(noise.as_ref().is_none_or(|noise| noise.dims() == of_action), "noise of {rows} rows");
        assert_eq!(batch.not_terminated.dims(), [rows], "numbers of {rows} rows");
        let critics = self.critic.members();
        let [obs, next_obs, action] = [&batch.obs, &batch.next_obs, &batch.action].map(|values| buffer(values.clone()));
        let [reward, not_terminated] = [&batch.reward, &batch.not_terminated].map(|values| buffer(values.clone()));
        let log_temperature = buffer(self.log_temperature.0.get().clone());
        let client = obs.client.clone();
        let width = dims[0] + dims[1];
        let row = |columns: usize| empty(&obs, &[rows, columns]);
        let of_critics = || empty(&obs, &[critics, rows, 1]);

        // Critic.
        let heads = infer(&self.policy.net, for_all(&next_obs));
        let (joined_next, joined, log_prob) = (row(width), row(width), row(1));
        let (cubes, threads) = elementwise(rows * width);
        // SAFETY, for this and all launches below: threads beyond the last number or row do nothing, and the shapes
        // were asserted.
        unsafe {
            kernels::next_actions::launch_unchecked(
                &client,
                cubes,
                threads,
                heads.into_buffer_arg(),
                buffer(noise_next).into_buffer_arg(),
                next_obs.into_buffer_arg(),
                obs.clone().into_buffer_arg(),
                action.into_buffer_arg(),
                joined_next.clone().into_buffer_arg(),
                log_prob.clone().into_buffer_arg(),
                joined.clone().into_buffer_arg(),
                dims,
            );
        }
        let target_q = infer(&self.target.net, for_all(&joined_next));
        let (q, saved) = forward(&self.critic.net, for_all(&joined));
        let (y, squares, gradient) = (row(1), row(1), of_critics());
        let (cubes, threads) = elementwise(rows);
        unsafe {
            kernels::fit_target::launch_unchecked(
                &client,
                cubes,
                threads,
                target_q.into_buffer_arg(),
                q.into_buffer_arg(),
                reward.into_buffer_arg(),
                not_terminated.into_buffer_arg(),
                log_prob.into_buffer_arg(),
                log_temperature.clone().into_buffer_arg(),
                y.clone().into_buffer_arg(),
                squares.clone().into_buffer_arg(),
                gradient.clone().into_buffer_arg(),
                self.config.discount as f32,
                critics,
            );
        }
        let [_, gradient] = backward(saved, gradient, [false, true]);
        step(&mut self.critic_adam, &mut self.critic, gradient.expect("asked for"));

        // Actor and temperature.
        let means = empty(&obs, &[4]);
        if let Some(noise) = noise {
            let (heads, saved) = forward(&self.policy.net, for_all(&obs));
            let noise = buffer(noise);
            let (joined, log_prob) = (row(width), row(1));
            let (cubes, threads) = elementwise(rows * width);
            unsafe {
                kernels::own_actions::launch_unchecked(
                    &client,
                    cubes,
                    threads,
                    heads.clone().into_buffer_arg(),
                    noise.clone().into_buffer_arg(),
                    obs.clone().into_buffer_arg(),
                    joined.clone().into_buffer_arg(),
                    log_prob.clone().into_buffer_arg(),
                    dims,
                );
            }
            let (q, of_joined) = forward(&self.critic.net, for_all(&joined));
            let (loss, gradient) = (row(1), of_critics());
            let (cubes, threads) = elementwise(rows);
            unsafe {
                kernels::actor_loss::launch_unchecked(
                    &client,
                    cubes,
                    threads,
                    q.into_buffer_arg(),
                    log_prob.clone().into_buffer_arg(),
                    log_temperature.clone().into_buffer_arg(),
                    loss.clone().into_buffer_arg(),
                    gradient.clone().into_buffer_arg(),
                    critics,
                );
            }
            // The critics are constants here, because no gradient of their weights is computed.
            let [by_joined, _] = backward(of_joined, gradient, [true, false]);
            let gradient = empty(&obs, &[1, rows, 2 * dims[1]]);
            let (cubes, threads) = elementwise(rows * dims[1]);
            unsafe {
                kernels::by_heads::launch_unchecked(
                    &client,
                    cubes,
                    threads,
                    heads.into_buffer_arg(),
                    noise.into_buffer_arg(),
                    joined.into_buffer_arg(),
                    by_joined.expect("asked for").into_buffer_arg(),
                    log_temperature.clone().into_buffer_arg(),
                    gradient.clone().into_buffer_arg(),
                    dims,
                );
            }
            let [_, gradient] = backward(saved, gradient, [false, true]);
            step(&mut self.actor_adam, &mut self.policy, gradient.expect("asked for"));

            let by_log_temperature = empty(&obs, &[1, 1, 1]);
            unsafe {
                kernels::all_means::launch_unchecked(
                    &client,
                    CubeCount::Static(1, 1, 1),
                    CubeDim::new_1d(kernels::THREADS as u32),
                    squares.into_buffer_arg(),
                    y.into_buffer_arg(),
                    loss.into_buffer_arg(),
                    log_prob.into_buffer_arg(),
                    log_temperature.into_buffer_arg(),
                    means.clone().into_buffer_arg(),
                    by_log_temperature.clone().into_buffer_arg(),
                    self.target_entropy as f32,
                );
            }
            if self.config.learn_temperature {
                step(&mut self.temperature_adam, &mut self.log_temperature, by_log_temperature);
            }
        } else {
            unsafe {
                kernels::critic_means::launch_unchecked(
                    &client,
                    CubeCount::Static(1, 1, 1),
                    CubeDim::new_1d(kernels::THREADS as u32),
                    squares.into_buffer_arg(),
                    y.into_buffer_arg(),
                    means.clone().into_buffer_arg(),
                );
            }
        }

        // Targets.
        if turns.target {
            self.target.polyak(&self.critic, self.config.tau);
        }
        Losses::Means { all: tensor(means), actor: turns.actor }
    }
}
