//! Adam over a structure's parameters (Kingma and Ba, 2015), with weight decay that is coupled (L2 in the gradient) or
//! decoupled (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).
//!
//! This module stores the moments, as one tensor each, so that they are saved under the parameters' names and not under
//! Burn's random ids. In host memory, a step is one pass over weights, gradients and moments, or part of the pass that
//! computes the gradients ([`Adam::fused`]). On a GPU it is one kernel launch. On other backends it is Burn's own rule.

use burn::optim::{AdaptiveMomentumState, Optimizer};
use burn::tensor::Tensor;
use foresee_core::{State, StateError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cpu::{self, AdamRule, Piece, Tapes, Weights};
use crate::host::{self, HostTensor, TensorSlot};
use crate::mlp::Mlp;
use crate::parameters::{self, Parameters};

/// The form of weight decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// θ ← θ (1 − lr · decay), separate from the gradient: its strength does not depend on the scale of the loss.
    #[default]
    Decoupled,
    /// g ← g + decay · θ, as in the reference code.
    Coupled,
}

/// The optimiser's constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// Step size.
    pub lr: f64,
    /// Weight decay; it applies to weights and biases.
    pub decay: f64,
    /// The form of weight decay.
    pub decay_form: Decay,
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Number added to the square root of the second moment.
    pub eps: f32,
}

impl AdamConfig {
    /// Adam without decay, with the usual constants 0.9, 0.999 and 1e-8.
    #[must_use]
    pub fn new(lr: f64) -> Self {
        Self { lr, decay: 0.0, decay_form: Decay::default(), beta_1: 0.9, beta_2: 0.999, eps: 1e-8 }
    }

    /// The constants of step number `time`; the first step has number 1.
    fn rule(&self, time: u64) -> AdamRule {
        let power = |beta: f32| f64::from(beta).powi(i32::try_from(time).unwrap_or(i32::MAX));
        let decoupled = self.decay_form == Decay::Decoupled;
        AdamRule {
            step: (self.lr / (1.0 - power(self.beta_1))) as f32,
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            correction_2: (1.0 / (1.0 - power(self.beta_2))) as f32,
            eps: self.eps,
            shrink: if decoupled { (self.lr * self.decay) as f32 } else { 0.0 },
            coupled: if decoupled { 0.0 } else { self.decay as f32 },
        }
    }
}

/// The optimiser with its moments.
#[derive(Clone, Debug)]
pub struct Adam {
    config: AdamConfig,
    /// Number of steps taken.
    time: u64,
    moment_1: TensorSlot,
    moment_2: TensorSlot,
    /// The bias corrections of the next steps, on a GPU.
    #[cfg(feature = "wgpu")]
    corrections: crate::cube::StepTable,
}

impl Adam {
    /// Creates an optimiser for a structure's parameters.
    #[must_use]
    pub fn new(config: AdamConfig, parameters: &impl Parameters) -> Self {
        let zeros = || TensorSlot::new(parameters.slot().get().zeros_like());
        Self {
            config,
            time: 0,
            moment_1: zeros(),
            moment_2: zeros(),
            #[cfg(feature = "wgpu")]
            corrections: crate::cube::StepTable::default(),
        }
    }

    /// Makes one step with a gradient `[E, 1, P]` outside autodiff. Returns whether the gradient was finite if that is
    /// known without extra cost, which is the case in host memory.
    #[track_caller]
    pub fn step(&mut self, parameters: &mut impl Parameters, gradient: Tensor<3>) -> Option<bool> {
        let slot = parameters.slot_mut();
        assert_eq!(slot.get().dims(), gradient.dims(), "one gradient per parameter");
        if host::is_host(&gradient.device()) {
            return Some(self.step_host(parameters, HostTensor::of(gradient).get()));
        }
        self.time += 1;
        #[cfg(feature = "wgpu")]
        if crate::cube::is_cube(&gradient.device()) {
            let old = [slot.take(), self.moment_1.take(), self.moment_2.take()];
            let now = (self.time, |time| self.config.rule(time));
            let [value, moment_1, moment_2] = crate::cube::adam_step(now, &mut self.corrections, old, gradient);
            slot.put(value);
            self.moment_1.put(moment_1);
            self.moment_2.put(moment_2);
            return None;
        }
        let AdamConfig { lr, decay, decay_form, beta_1, beta_2, eps } = self.config;
        let (mut value, mut gradient) = (slot.take(), gradient);
        if decay > 0.0 {
            match decay_form {
                Decay::Decoupled => value = value.mul_scalar(1.0 - lr * decay),
                Decay::Coupled => gradient = gradient + value.clone().mul_scalar(decay),
            }
        }
        let rule = burn::optim::AdamConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(eps).build();
        // Burn's rule has no state before its first step.
        let state = (self.time > 1).then(|| {
            let (m, v) = (self.moment_1.take(), self.moment_2.take());
            burn::optim::AdamState::new(AdaptiveMomentumState::new(self.time as usize - 1, m, v))
        });
        let (value, state) = rule.step(lr, value, gradient, state);
        slot.put(value);
        if let Some(state) = state {
            self.moment_1.put(state.momentum.moment_1);
            self.moment_2.put(state.momentum.moment_2);
        }
        None
    }

    /// Makes one step with the gradient of all members, `[E · P]`, in host memory. Returns whether the gradient was
    /// finite.
    pub fn step_host(&mut self, parameters: &mut impl Parameters, gradient: &[f32]) -> bool {
        self.time += 1;
        let rule = self.config.rule(self.time);
        let Self { moment_1, moment_2, .. } = self;
        parameters.slot_mut().lend(|w| moment_1.lend(|m| moment_2.lend(|v| cpu::adam(rule, w, gradient, m, v))))
    }

    /// Begins a step in host memory whose gradients come from tapes, for some members at a time or for all together.
    #[must_use]
    pub fn fused<'a>(&'a mut self, net: &'a mut Mlp) -> FusedStep<'a> {
        self.time += 1;
        FusedStep {
            rule: self.config.rule(self.time),
            layout: net.layout().clone(),
            parameters: HostTensor::of(net.slot_mut().take()),
            moment_1: HostTensor::of(self.moment_1.take()),
            moment_2: HostTensor::of(self.moment_2.take()),
            adam: self,
            net,
        }
    }

    /// Clears all moments and the step count, as in a new optimiser of the same parameters.
    pub fn reset(&mut self) {
        self.time = 0;
        for slot in [&mut self.moment_1, &mut self.moment_2] {
            let moment = slot.take();
            slot.put(moment.zeros_like());
        }
        #[cfg(feature = "wgpu")]
        {
            self.corrections = crate::cube::StepTable::default();
        }
    }

    /// Clears the moments of member `member`.
    pub fn reset_member(&mut self, member: usize) {
        for slot in [&mut self.moment_1, &mut self.moment_2] {
            let moment = slot.take();
            let [_, rows, columns] = moment.dims();
            let zeros = Tensor::zeros([1, rows, columns], &moment.device());
            slot.put(moment.slice_assign([member..member + 1, 0..rows, 0..columns], zeros));
        }
    }

    /// Saves the moments, under the parameters' names, and the step count.
    #[must_use]
    pub fn save(&self, parameters: &impl Parameters) -> State {
        let mut state = State::new();
        let parts = parameters.parts();
        state.put("time", self.time);
        parameters::save_parts(&mut state, &parts, self.moment_1.get(), ".moment_1");
        parameters::save_parts(&mut state, &parts, self.moment_2.get(), ".moment_2");
        state
    }

    /// Reads the moments and the step count back.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    pub fn load(&mut self, parameters: &impl Parameters, mut state: State) -> Result<(), StateError> {
        let parts = parameters.parts();
        let time = state.u64("time")?;
        let moment_1 = parameters::load_parts(&mut state, &parts, self.moment_1.get(), ".moment_1")?;
        let moment_2 = parameters::load_parts(&mut state, &parts, self.moment_2.get(), ".moment_2")?;
        self.time = time;
        self.moment_1.put(moment_1);
        self.moment_2.put(moment_2);
        state.finish()
    }
}

/// A step in progress: it holds weights and moments until [`FusedStep::finish`].
pub struct FusedStep<'a> {
    rule: AdamRule,
    layout: std::sync::Arc<cpu::Layout>,
    parameters: HostTensor,
    moment_1: HostTensor,
    moment_2: HostTensor,
    adam: &'a mut Adam,
    net: &'a mut Mlp,
}

impl FusedStep<'_> {
    /// The current weights of one member, `[P]`.
    #[must_use]
    pub fn member(&self, member: usize) -> &[f32] {
        self.layout.member(self.parameters.get(), member)
    }

    /// Updates the members that have tapes in `tapes`. Each member may be updated once per step. `target` holds target
    /// weights and the rate at which they follow. Returns whether all gradients were finite.
    pub fn apply<T: Tapes + ?Sized>(&mut self, tapes: &T, target: Option<(&mut [f32], f32)>) -> bool {
        let weights = Weights {
            parameters: self.parameters.get_mut(),
            moment_1: self.moment_1.get_mut(),
            moment_2: self.moment_2.get_mut(),
            target,
        };
        cpu::step(&self.layout, tapes, self.rule, weights)
    }

    /// Updates all members, with one thread per member ([`cpu::train()`]). `target` holds target weights and the rate
    /// at which they follow. Returns whether all gradients were finite.
    pub fn train<P: Piece, R: Send>(
        &mut self,
        pieces: &mut Vec<P>,
        results: &mut [R],
        target: Option<(&mut [f32], f32)>,
        new: impl Fn() -> P,
        work: impl Fn(usize, usize, &mut P, &mut R, &[f32]) + Sync,
    ) -> bool {
        let weights = Weights {
            parameters: self.parameters.get_mut(),
            moment_1: self.moment_1.get_mut(),
            moment_2: self.moment_2.get_mut(),
            target,
        };
        cpu::train(&self.layout, self.rule, weights, pieces, results, new, work)
    }

    /// Returns weights and moments to their owners.
    pub fn finish(self) {
        self.net.slot_mut().put(self.parameters.into_tensor());
        self.adam.moment_1.put(self.moment_1.into_tensor());
        self.adam.moment_2.put(self.moment_2.into_tensor());
    }
}

#[cfg(test)]
mod tests;
