//! The learned noise of a homoscedastic head: one log-variance per channel, which is a bias of the last layer without
//! weights.
//!
//! A gradient step moves all parameters of the network. This code then sets the weights of the log-variance back to
//! zero and multiplies the move of its biases by [`LOGVAR_STEP_FACTOR`]. (With the network's step size of 1e-3 a
//! log-variance would need thousands of steps to settle, and a training call has hundreds.)

use burn::tensor::Tensor;
use foresee_nn::host::is_host;
use foresee_nn::{Mlp, Parameters};

/// Factor on the steps of a log-variance, relative to those of a weight.
const LOGVAR_STEP_FACTOR: f32 = 10.0;

/// The positions of the log-variance's parameters among the parameters of a member.
#[derive(Clone, Debug)]
pub(super) struct LearnedNoise {
    /// `weight` and `bias` are the offsets of the last layer's weight `[I, 2C]` and bias `[2C]`; `inputs` is `I`.
    weight: usize,
    bias: usize,
    inputs: usize,
    /// Number of channels, `C`.
    channels: usize,
    /// Number of parameters of a member, `P`.
    row: usize,
}

/// The biases of the log-variance before a step.
#[allow(clippy::large_enum_variant, reason = "one a step, on the stack")]
pub(super) enum LogvarBiases {
    /// `[E, C]`, in host memory.
    Host(Vec<f32>),
    /// `[E, 1, C]`
    Device(Tensor<3>),
}

impl LearnedNoise {
    /// Returns the positions for a network with a mean and a log-variance per channel.
    pub(super) fn new(net: &Mlp) -> Self {
        let parts = net.parts();
        let last = |name: &str| parts.iter().rfind(|part| part.name.starts_with(name)).expect("a last layer");
        let (weight, bias) = (last("weight"), last("bias"));
        Self {
            weight: weight.offset,
            bias: bias.offset,
            inputs: weight.shape[0],
            channels: bias.shape[1] / 2,
            row: net.layout().parameters(),
        }
    }

    /// Returns the biases of the log-variance before a step.
    pub(super) fn before(&self, net: &mut Mlp) -> LogvarBiases {
        let logvar_bias = self.bias + self.channels;
        if is_host(&net.slot().get().device()) {
            return LogvarBiases::Host(net.slot_mut().lend(|all| {
                all.chunks_exact(self.row)
                    .flat_map(|row| &row[logvar_bias..logvar_bias + self.channels])
                    .copied()
                    .collect()
            }));
        }
        LogvarBiases::Device(net.slot().get().clone().narrow(2, logvar_bias, self.channels))
    }

    /// Corrects the step that was taken since `before`: enlarges the moves of the log-variances and sets their weights
    /// to 0.
    pub(super) fn after(&self, net: &mut Mlp, before: LogvarBiases) {
        let Self { weight, bias, inputs, channels, row } = *self;
        let logvar_bias = bias + channels;
        match before {
            LogvarBiases::Host(before) => net.slot_mut().lend(|all| {
                for (row, before) in all.chunks_exact_mut(row).zip(before.chunks_exact(channels)) {
                    for (bias, before) in row[logvar_bias..logvar_bias + channels].iter_mut().zip(before) {
                        *bias = before + LOGVAR_STEP_FACTOR * (*bias - before);
                    }
                    for weights in row[weight..weight + 2 * inputs * channels].chunks_exact_mut(2 * channels) {
                        weights[channels..].fill(0.0);
                    }
                }
            }),
            LogvarBiases::Device(before) => {
                let all = net.slot_mut().take();
                let members = all.dims()[0];
                let moved = all.clone().narrow(2, logvar_bias, channels);
                let further = before.clone() + (moved - before).mul_scalar(LOGVAR_STEP_FACTOR);
                let weights = all.clone().narrow(2, weight, 2 * inputs * channels);
                let weights = weights.reshape([members, inputs, 2 * channels]);
                let zeros = Tensor::zeros([members, inputs, channels], &weights.device());
                let weights = weights.slice_assign([0..members, 0..inputs, channels..2 * channels], zeros);
                let weights = weights.reshape([members, 1, 2 * inputs * channels]);
                let all = all.slice_assign([0..members, 0..1, logvar_bias..logvar_bias + channels], further);
                let of_weight = weight..weight + 2 * inputs * channels;
                net.slot_mut().put(all.slice_assign([0..members, 0..1, of_weight], weights));
            }
        }
    }
}
