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

use super::losses::SacLosses;
use super::{Due, NOISE, NOISE_NEXT, Sac};
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

/// The buffers of a batch, all of asserted lengths.
struct BatchBuffers {
    /// Number of rows, `B`, at least 1.
    rows: usize,
    /// `[O, A]`
    dims: [usize; 2],
    /// `[B, O]`
    obs: CubeTensor,
    /// `[B, O]`
    next_obs: CubeTensor,
    /// `[B, A]`
    action: CubeTensor,
    /// `[B]`
    reward: CubeTensor,
    /// `[B]`
    not_terminated: CubeTensor,
}

impl BatchBuffers {
    /// Returns the buffers of a batch with observations and actions of `dims` entries.
    ///
    /// # Panics
    /// If an array of the batch has another shape than `dims` and its number of rows say.
    #[track_caller]
    fn new(batch: &TensorBatch, dims: [usize; 2]) -> Self {
        let rows = batch.rows();
        let [of_obs, of_action] = dims.map(|columns| [rows, columns]);
        let found = [batch.obs.dims(), batch.next_obs.dims(), batch.action.dims()];
        assert_eq!(found, [of_obs, of_obs, of_action], "numbers of {rows} rows");
        assert_eq!(batch.not_terminated.dims(), [rows], "numbers of {rows} rows");
        let [obs, next_obs, action] = [&batch.obs, &batch.next_obs, &batch.action].map(|values| buffer(values.clone()));
        let [reward, not_terminated] = [&batch.reward, &batch.not_terminated].map(|values| buffer(values.clone()));
        Self { rows, dims, obs, next_obs, action, reward, not_terminated }
    }

    /// Creates a buffer of `columns` numbers per row, with unspecified numbers.
    fn row(&self, columns: usize) -> CubeTensor {
        empty(&self.obs, &[self.rows, columns])
    }

    /// Creates a buffer of one number per critic and row, `[N, B, 1]`, with unspecified numbers.
    fn per_critic(&self, critics: usize) -> CubeTensor {
        empty(&self.obs, &[critics, self.rows, 1])
    }
}

/// The results of the critics' step that its report needs, `[B, 1]` each.
struct CriticErrors {
    y: CubeTensor,
    /// Σ_n (Q_n − y)².
    squares: CubeTensor,
}

impl Sac {
    /// Makes one update of an agent on a GPU, and returns its losses. The batch must have at least one row.
    #[track_caller]
    pub(super) fn update_device(&mut self, batch: &TensorBatch, noise: &dyn Noise, due: Due) -> SacLosses {
        let dims = self.dims();
        let of_action = [batch.rows(), dims[1]];
        let normals = |name| {
            let normals = noise.normals(name, of_action, &self.device());
            assert_eq!(normals.dims(), of_action, "normals of the stream `{name}`");
            normals
        };
        let noise_next = normals(NOISE_NEXT);
        let noise = due.actor.then(|| normals(NOISE));
        let batch = BatchBuffers::new(batch, dims);

        let errors = self.train_critics(&batch, buffer(noise_next));
        let means = empty(&batch.obs, &[4]);
        if let Some(noise) = noise {
            self.train_actor(&batch, buffer(noise), errors, &means);
        } else {
            let CriticErrors { y, squares } = errors;
            // SAFETY: the kernel reads `squares` and `y` below their lengths, and writes entries 0 and 1 of `means`,
            // `[4]`, which no other buffer shares. It has the one cube of `THREADS` threads that it is written for.
            unsafe {
                kernels::critic_means::launch_unchecked(
                    &batch.obs.client,
                    CubeCount::Static(1, 1, 1),
                    CubeDim::new_1d(kernels::THREADS as u32),
                    squares.into_buffer_arg(),
                    y.into_buffer_arg(),
                    means.clone().into_buffer_arg(),
                );
            }
        }

        // Targets.
        if due.target {
            self.target.polyak(&self.critic, self.config.tau);
        }
        SacLosses::Means { all: tensor(means), actor: due.actor }
    }

    /// Takes the critics' step. `noise` are the normals `[B, A]` at next observations.
    fn train_critics(&mut self, batch: &BatchBuffers, noise: CubeTensor) -> CriticErrors {
        let &BatchBuffers { rows, dims, .. } = batch;
        let (client, critics, width) = (&batch.obs.client, self.critic.members(), dims[0] + dims[1]);
        let log_temperature = buffer(self.log_temperature.0.get().clone());
        let policy_output = infer(&self.policy.net, for_all(&batch.next_obs));
        let (next_critic_input, critic_input, log_prob) = (batch.row(width), batch.row(width), batch.row(1));
        let (cubes, threads) = elementwise(rows * width);
        // SAFETY: a thread whose index is not below B (O + A), the length of `critic_input`, does nothing. All others
        // have a row below B and a column below O + A, so they read within `policy_output`, `[1, B, 2A]`, the noise and
        // the batch, whose shapes are asserted. They write their own entry of the three new buffers.
        unsafe {
            kernels::next_actions::launch_unchecked(
                client,
                cubes,
                threads,
                policy_output.into_buffer_arg(),
                noise.into_buffer_arg(),
                batch.next_obs.clone().into_buffer_arg(),
                batch.obs.clone().into_buffer_arg(),
                batch.action.clone().into_buffer_arg(),
                next_critic_input.clone().into_buffer_arg(),
                log_prob.clone().into_buffer_arg(),
                critic_input.clone().into_buffer_arg(),
                dims,
            );
        }
        let target_q = infer(&self.target.net, for_all(&next_critic_input));
        let (q, saved) = forward(&self.critic.net, for_all(&critic_input));
        let (y, squares, gradient) = (batch.row(1), batch.row(1), batch.per_critic(critics));
        let (cubes, threads) = elementwise(rows);
        // SAFETY: a thread whose index is not below B, the length of `y`, does nothing. All others read their row of
        // `reward`, `not_terminated` and `log_prob`, `[B]` each, and of `target_q` and `q`, `[N, B, 1]` each, because
        // there are as many targets as critics, and the one number of `log_temperature`. They write their row of the
        // three new buffers.
        unsafe {
            kernels::critic_loss::launch_unchecked(
                client,
                cubes,
                threads,
                target_q.into_buffer_arg(),
                q.into_buffer_arg(),
                batch.reward.clone().into_buffer_arg(),
                batch.not_terminated.clone().into_buffer_arg(),
                log_prob.into_buffer_arg(),
                log_temperature.into_buffer_arg(),
                y.clone().into_buffer_arg(),
                squares.clone().into_buffer_arg(),
                gradient.clone().into_buffer_arg(),
                self.config.discount as f32,
                critics,
            );
        }
        let [_, gradient] = backward(saved, gradient, [false, true]);
        step(&mut self.critic_adam, &mut self.critic, gradient.expect("a requested gradient"));
        CriticErrors { y, squares }
    }

    /// Takes the steps of actor and temperature, and writes the means of all losses to `means`, `[4]`. `noise` are the
    /// normals `[B, A]` at observations.
    fn train_actor(&mut self, batch: &BatchBuffers, noise: CubeTensor, errors: CriticErrors, means: &CubeTensor) {
        let &BatchBuffers { rows, dims, .. } = batch;
        let (client, critics, width) = (&batch.obs.client, self.critic.members(), dims[0] + dims[1]);
        let log_temperature = buffer(self.log_temperature.0.get().clone());
        let (policy_output, saved) = forward(&self.policy.net, for_all(&batch.obs));
        let (critic_input, log_prob) = (batch.row(width), batch.row(1));
        let (cubes, threads) = elementwise(rows * width);
        // SAFETY: a thread whose index is not below B (O + A), the length of `critic_input`, does nothing. All others
        // have a row below B and a column below O + A, so they read within `policy_output`, `[1, B, 2A]`, the noise and
        // the observations, whose shapes are asserted. They write their own entry of the two new buffers.
        unsafe {
            kernels::current_actions::launch_unchecked(
                client,
                cubes,
                threads,
                policy_output.clone().into_buffer_arg(),
                noise.clone().into_buffer_arg(),
                batch.obs.clone().into_buffer_arg(),
                critic_input.clone().into_buffer_arg(),
                log_prob.clone().into_buffer_arg(),
                dims,
            );
        }
        let (q, saved_of_critics) = forward(&self.critic.net, for_all(&critic_input));
        let (loss, gradient) = (batch.row(1), batch.per_critic(critics));
        let (cubes, threads) = elementwise(rows);
        // SAFETY: a thread whose index is not below B, the length of `loss`, does nothing. All others read their row of
        // `q`, `[N, B, 1]`, and `log_prob`, `[B]`, and the one number of `log_temperature`. They write their row of the
        // two new buffers.
        unsafe {
            kernels::actor_loss::launch_unchecked(
                client,
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
        let [grad_critic_input, _] = backward(saved_of_critics, gradient, [true, false]);
        let gradient = empty(&batch.obs, &[1, rows, 2 * dims[1]]);
        let (cubes, threads) = elementwise(rows * dims[1]);
        // SAFETY: a thread whose index is not below B A, the length of the noise, does nothing. All others have a row
        // below B and an entry below A, so they read within `policy_output`, `[1, B, 2A]`, and the critics' inputs and
        // their gradient, `[B, O + A]` each. They write their own two entries of the new `gradient`, `[1, B, 2A]`.
        unsafe {
            kernels::grad_policy_output::launch_unchecked(
                client,
                cubes,
                threads,
                policy_output.into_buffer_arg(),
                noise.into_buffer_arg(),
                critic_input.into_buffer_arg(),
                grad_critic_input.expect("a requested gradient").into_buffer_arg(),
                log_temperature.clone().into_buffer_arg(),
                gradient.clone().into_buffer_arg(),
                dims,
            );
        }
        let [_, gradient] = backward(saved, gradient, [false, true]);
        step(&mut self.actor_adam, &mut self.policy, gradient.expect("a requested gradient"));

        let grad_log_temperature = empty(&batch.obs, &[1, 1, 1]);
        // SAFETY: the kernel reads its four arrays of numbers below their lengths and the one number of
        // `log_temperature`. It writes entries 0 to 3 of `means`, `[4]`, and the one number of `grad_log_temperature`,
        // which no other buffer shares. It has the one cube of `THREADS` threads that it is written for.
        unsafe {
            kernels::all_means::launch_unchecked(
                client,
                CubeCount::Static(1, 1, 1),
                CubeDim::new_1d(kernels::THREADS as u32),
                errors.squares.into_buffer_arg(),
                errors.y.into_buffer_arg(),
                loss.into_buffer_arg(),
                log_prob.into_buffer_arg(),
                log_temperature.into_buffer_arg(),
                means.clone().into_buffer_arg(),
                grad_log_temperature.clone().into_buffer_arg(),
                self.target_entropy as f32,
            );
        }
        if self.config.learn_temperature {
            step(&mut self.temperature_adam, &mut self.log_temperature, grad_log_temperature);
        }
    }
}
