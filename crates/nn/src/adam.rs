//! Adam, one step over a structure's parameters (Kingma and Ba, 2015), with weight decay coupled (L2 in the gradient)
//! or decoupled (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).
//!
//! The update of each tensor is Burn's own; the moments are kept here, in the order of the parameters, so that they are
//! saved under the parameters' names and not under Burn's random ids.

use burn::optim::{AdaptiveMomentumState, Optimizer};
use burn::tensor::Tensor;
use foresee_core::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::parameters::{self, Parameters};

/// How weight decay enters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// θ ← θ (1 − lr · decay), apart from the gradient: it means the same whatever the scale of the loss.
    #[default]
    Decoupled,
    /// g ← g + decay · θ, as the reference code has it.
    Coupled,
}

/// The optimiser's constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// Step size.
    pub lr: f64,
    /// Weight decay, on weights and biases alike.
    pub decay: f64,
    /// How the decay enters.
    pub decay_form: Decay,
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
}

impl AdamConfig {
    /// Adam without decay, with the usual constants 0.9, 0.999 and 1e-8.
    #[must_use]
    pub fn new(lr: f64) -> Self {
        Self { lr, decay: 0.0, decay_form: Decay::default(), beta_1: 0.9, beta_2: 0.999, eps: 1e-8 }
    }
}

/// The optimiser with its moments.
#[derive(Clone)]
pub struct Adam {
    config: AdamConfig,
    rule: burn::optim::Adam,
    /// One a parameter; `None` before its first step.
    moments: Vec<Option<AdaptiveMomentumState<3>>>,
}

impl std::fmt::Debug for Adam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adam").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Adam {
    /// An optimiser for a structure of `parameters` parameters.
    #[must_use]
    pub fn new(config: AdamConfig, parameters: &impl Parameters) -> Self {
        let rule = burn::optim::AdamConfig::new()
            .with_beta_1(config.beta_1)
            .with_beta_2(config.beta_2)
            .with_epsilon(config.eps)
            .build();
        Self { config, rule, moments: vec![None; parameters.parameters().len()] }
    }

    /// One step. `gradients` are in the order of the parameters and outside autodiff.
    #[track_caller]
    pub fn step(&mut self, parameters: &mut impl Parameters, gradients: Vec<Tensor<3>>) {
        assert_eq!(gradients.len(), self.moments.len(), "one gradient a parameter");
        let AdamConfig { lr, decay, decay_form, .. } = self.config;
        let all = parameters.parameters_mut().into_iter().zip(gradients).zip(&mut self.moments);
        for ((parameter, gradient), moments) in all {
            // Taking the tensor out leaves the optimiser its only owner, so that it can work in place.
            let mut value = std::mem::replace(parameter, gradient.clone());
            let mut gradient = gradient;
            if decay > 0.0 {
                match decay_form {
                    Decay::Decoupled => value = value.mul_scalar(1.0 - lr * decay),
                    Decay::Coupled => gradient = gradient + value.clone().mul_scalar(decay),
                }
            }
            let state = moments.take().map(burn::optim::AdamState::new);
            let (value, state) = self.rule.step(lr, value, gradient, state);
            *parameter = value;
            *moments = state.map(|state| state.momentum);
        }
    }

    /// Forgets the moments of member `member`.
    pub fn reset_member(&mut self, member: usize) {
        for moments in self.moments.iter_mut().flatten() {
            for moment in [&mut moments.moment_1, &mut moments.moment_2] {
                let [_, rows, columns] = moment.dims();
                let zeros = Tensor::zeros([1, rows, columns], &moment.device());
                *moment = moment.clone().slice_assign([member..member + 1, 0..rows, 0..columns], zeros);
            }
        }
    }

    /// The moments and step counts as arrays, under the parameters' names.
    #[must_use]
    pub fn save(&self, parameters: &impl Parameters) -> State {
        let mut state = State::new();
        for ((name, _), moments) in parameters.parameters().into_iter().zip(&self.moments) {
            if let Some(moments) = moments {
                state.put(&format!("{name}.time"), moments.time as u64);
                state.put(&format!("{name}.moment_1"), parameters::to_array(&moments.moment_1));
                state.put(&format!("{name}.moment_2"), parameters::to_array(&moments.moment_2));
            }
        }
        state
    }

    /// Reads the moments back.
    ///
    /// # Errors
    /// If an array has another shape, is missing or left over.
    pub fn load(&mut self, parameters: &impl Parameters, mut state: State) -> Result<(), StateError> {
        for ((name, parameter), moments) in parameters.parameters().into_iter().zip(&mut self.moments) {
            let mut part = state.part(&name);
            *moments = if part.is_empty() {
                None
            } else {
                let time = part.u64("time")? as usize;
                let moment_1 = parameters::from_state(&mut part, "moment_1", parameter)?;
                let moment_2 = parameters::from_state(&mut part, "moment_2", parameter)?;
                part.finish()?;
                Some(AdaptiveMomentumState::new(time, moment_1, moment_2))
            };
        }
        state.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors;
    use burn::tensor::Device;

    #[derive(Clone)]
    struct One(Tensor<3>);

    impl Parameters for One {
        fn parameters(&self) -> Vec<(String, &Tensor<3>)> {
            vec![("one".into(), &self.0)]
        }

        fn parameters_mut(&mut self) -> Vec<&mut Tensor<3>> {
            vec![&mut self.0]
        }
    }

    fn one(value: f32) -> One {
        One(tensors::from_vec(vec![value], [1, 1, 1], &Device::flex()))
    }

    /// The published recursion in f64.
    fn by_hand(config: AdamConfig, start: f64, gradients: &[f64]) -> f64 {
        let (mut theta, mut m, mut v) = (start, 0.0, 0.0);
        let (b1, b2) = (f64::from(config.beta_1), f64::from(config.beta_2));
        for (t, &g) in gradients.iter().enumerate() {
            let g = match config.decay_form {
                Decay::Coupled => g + config.decay * theta,
                Decay::Decoupled => {
                    theta *= 1.0 - config.lr * config.decay;
                    g
                }
            };
            m = b1 * m + (1.0 - b1) * g;
            v = b2 * v + (1.0 - b2) * g * g;
            let t = t as i32 + 1;
            let (m_hat, v_hat) = (m / (1.0 - b1.powi(t)), v / (1.0 - b2.powi(t)));
            theta -= config.lr * m_hat / (v_hat.sqrt() + f64::from(config.eps));
        }
        theta
    }

    #[test]
    fn it_follows_the_published_recursion_in_both_forms_of_decay() {
        let gradients = [0.3, -1.0, 0.01, 2.5, 0.0, -0.7];
        for decay_form in [Decay::Decoupled, Decay::Coupled] {
            let config = AdamConfig { decay: 0.3, decay_form, eps: 1e-3, ..AdamConfig::new(0.01) };
            let mut theta = one(0.5);
            let mut adam = Adam::new(config, &theta);
            for &g in &gradients {
                adam.step(&mut theta, vec![one(g as f32).0]);
            }
            let got = f64::from(tensors::to_f32(theta.0));
            let want = by_hand(config, 0.5, &gradients);
            assert!((got - want).abs() < 1e-6, "{decay_form:?}: {got}, expected {want}");
        }
    }

    #[test]
    fn a_member_whose_moments_hold_a_nan_recovers_after_a_reset_and_alone() {
        let pair = |a: f32, b: f32| tensors::from_vec(vec![a, b], [2, 1, 1], &Device::flex());
        let mut theta = One(pair(1.0, 1.0));
        let mut adam = Adam::new(AdamConfig::new(0.1), &theta);
        adam.step(&mut theta, vec![pair(f32::NAN, 1.0)]);
        theta.0 = pair(1.0, 1.0);
        let before = adam.save(&theta);
        adam.reset_member(0);
        let mut after = adam.save(&theta);
        let moments = after.f32s("one.moment_1").unwrap().1;
        assert_eq!((moments[0], moments[1]), (0.0, before.clone().f32s("one.moment_1").unwrap().1[1]));
        adam.step(&mut theta, vec![pair(1.0, 1.0)]);
        assert!(tensors::to_vec(theta.0).iter().all(|x| x.is_finite()));
    }

    #[test]
    fn a_restored_optimiser_goes_on_bit_for_bit() {
        let run = |cut: bool| {
            let mut theta = one(0.5);
            let mut adam = Adam::new(AdamConfig::new(0.01), &theta);
            for step in 0..6_u8 {
                if cut && step == 3 {
                    let saved = adam.save(&theta);
                    adam = Adam::new(AdamConfig::new(0.01), &theta);
                    adam.load(&theta, saved).unwrap();
                }
                adam.step(&mut theta, vec![one(f32::from(step) - 2.2).0]);
            }
            tensors::to_f32(theta.0).to_bits()
        };
        assert_eq!(run(false), run(true));
    }
}
