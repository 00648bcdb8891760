//! Compares the optimiser with the published recursion.

use super::*;
use crate::cpu::Part;
use crate::tensors;
use burn::tensor::Device;

#[derive(Clone)]
struct One(TensorSlot);

impl Parameters for One {
    fn slot(&self) -> &TensorSlot {
        &self.0
    }

    fn slot_mut(&mut self) -> &mut TensorSlot {
        &mut self.0
    }

    fn parts(&self) -> Vec<Part> {
        vec![Part { name: "one".into(), offset: 0, shape: [1, 1] }]
    }
}

fn one(value: f32) -> One {
    One(TensorSlot::new(tensors::from_vec(vec![value], [1, 1, 1], &Device::flex())))
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
            adam.step(&mut theta, one(g as f32).0.take());
        }
        let got = f64::from(tensors::to_f32(theta.0.take()));
        let want = by_hand(config, 0.5, &gradients);
        assert!((got - want).abs() < 1e-6, "{decay_form:?}: {got}, expected {want}");
    }
}

#[test]
fn a_member_whose_moments_hold_a_nan_recovers_after_a_reset_and_alone() {
    let pair = |a: f32, b: f32| tensors::from_vec(vec![a, b], [2, 1, 1], &Device::flex());
    let mut theta = One(TensorSlot::new(pair(1.0, 1.0)));
    let mut adam = Adam::new(AdamConfig::new(0.1), &theta);
    adam.step(&mut theta, pair(f32::NAN, 1.0));
    theta.0.put(pair(1.0, 1.0));
    let before = adam.save(&theta);
    adam.reset_member(0);
    let mut after = adam.save(&theta);
    let moments = after.f32s("one.moment_1").unwrap().1;
    assert_eq!((moments[0], moments[1]), (0.0, before.clone().f32s("one.moment_1").unwrap().1[1]));
    adam.step(&mut theta, pair(1.0, 1.0));
    assert!(tensors::to_vec(theta.0.take()).iter().all(|x| x.is_finite()));
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
            adam.step(&mut theta, one(f32::from(step) - 2.2).0.take());
        }
        tensors::to_f32(theta.0.take()).to_bits()
    };
    assert_eq!(run(false), run(true));
}
