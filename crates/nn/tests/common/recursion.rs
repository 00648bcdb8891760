//! Adam's recursion as published, in f64.

use burn::tensor::Device;
use foresee_core::Stream;
use foresee_nn::{Adam, AdamConfig, Decay, Parameters, cpu, tensors};

use super::{Case, all_of, bits, bits_of_state, wide};

const STEPS: usize = 6;
const TAU: f32 = 0.05;

/// Several betas and epsilons, with both forms of decay and with none.
pub(crate) fn configs() -> Vec<AdamConfig> {
    let mut configs = Vec::new();
    for (beta_1, beta_2, eps) in [(0.9, 0.999, 1e-8), (0.9, 0.999, 1e-3), (0.0, 0.9, 1e-5), (0.5, 0.99, 1.0)] {
        for (decay, decay_form) in [(0.0, Decay::Decoupled), (0.3, Decay::Decoupled), (0.3, Decay::Coupled)] {
            configs.push(AdamConfig { lr: 3e-3, decay, decay_form, beta_1, beta_2, eps });
        }
    }
    configs
}

/// The recursion as published, with its own weights and moments, and a target that follows.
struct Recursion {
    config: AdamConfig,
    time: i32,
    theta: Vec<f64>,
    m: Vec<f64>,
    v: Vec<f64>,
    target: Vec<f64>,
    tau: f64,
    /// The error that f32 may cause in theta and in the target. Per step this is half a unit in the last place (a whole
    /// one for the target), 1e-6 of the step size, and the loss in the sum of gradient and coupled decay where the two
    /// cancel.
    allowed: [Vec<f64>; 2],
}

impl Recursion {
    fn new(config: AdamConfig, theta: &[f32], target: &[f32], tau: f64) -> Self {
        let zeros = vec![0.0; theta.len()];
        let (theta, target) = (wide(theta), wide(target));
        Self {
            config,
            time: 0,
            theta,
            m: zeros.clone(),
            v: zeros.clone(),
            target,
            tau,
            allowed: [zeros.clone(), zeros],
        }
    }

    fn step(&mut self, gradient: &[f32]) {
        let AdamConfig { lr, decay, decay_form, beta_1, beta_2, eps } = self.config;
        let (b1, b2) = (f64::from(beta_1), f64::from(beta_2));
        self.time += 1;
        for (i, &g) in gradient.iter().enumerate() {
            let mut g = f64::from(g);
            match decay_form {
                Decay::Coupled => g += decay * self.theta[i],
                Decay::Decoupled => self.theta[i] *= 1.0 - lr * decay,
            }
            self.m[i] = b1 * self.m[i] + (1.0 - b1) * g;
            self.v[i] = b2 * self.v[i] + (1.0 - b2) * g * g;
            let m_hat = self.m[i] / (1.0 - b1.powi(self.time));
            let v_hat = self.v[i] / (1.0 - b2.powi(self.time));
            self.theta[i] -= lr * m_hat / (v_hat.sqrt() + f64::from(eps));
            self.target[i] += self.tau * (self.theta[i] - self.target[i]);
            let cancelled = if decay_form == Decay::Coupled { decay * self.theta[i].abs() } else { 0.0 };
            let epsilon = f64::from(f32::EPSILON);
            let lost = lr * (1e-6 + 2.0 * epsilon * cancelled / (v_hat.sqrt() + f64::from(eps)));
            self.allowed[0][i] += epsilon / 2.0 * self.theta[i].abs() + lost;
            self.allowed[1][i] += epsilon * self.theta[i].abs().max(self.target[i].abs()) + lost;
        }
    }
}

/// The largest error, as a share of the error that f32 may cause.
fn lost(got: &[f32], want: &[f64], allowed: &[f64]) -> f64 {
    let errors = got.iter().zip(want).map(|(&got, want)| (f64::from(got) - want).abs());
    errors.zip(allowed).map(|(error, allowed)| error / allowed).fold(0.0, f64::max)
}

/// Makes several steps with gradients from tapes. Returns the shares of the error that f32 may cause, for weights and
/// target. Steps that get the same gradients as tensors must give the same bits.
pub(crate) fn shares(case: &Case, config: AdamConfig) -> [f64; 2] {
    let (layout, members, start) = (case.net.layout(), case.shape().members, all_of(&case.net));
    let mut target: Vec<f32> = Stream::new(62, "test/target").normals(0, 1, start.len());
    let mut recursion = Recursion::new(config, &start, &target, f64::from(TAU));
    let mut adam = Adam::new(config, &case.net);
    let (mut other, mut other_adam) = (case.net.clone(), adam.clone());
    let mut case = case.clone();
    for time in 0..STEPS {
        case.c.iter_mut().for_each(|c| *c *= if time % 2 == 0 { -0.7 } else { 1.3 });
        let tapes = case.tapes(0..members, &[], false);
        let mut gradient = vec![0.0; start.len()];
        cpu::gradients(layout, &tapes, &mut gradient);
        recursion.step(&gradient);
        let mut step = adam.fused(&mut case.net);
        assert!(step.apply(&tapes, Some((&mut target, TAU))));
        step.finish();
        let gradient = tensors::from_vec(gradient, other.slot().get().dims(), &Device::flex());
        assert_eq!(other_adam.step(&mut other, gradient), Some(true));
        assert_eq!(bits(&all_of(&case.net)), bits(&all_of(&other)), "{config:?}, {}", case.describe());
    }
    assert_eq!(bits_of_state(&adam.save(&case.net)), bits_of_state(&other_adam.save(&other)));

    let Recursion { theta, target: want, allowed, .. } = &recursion;
    let of_target = case.net.parts().into_iter().flat_map(|part| {
        (0..members)
            .map(move |member| member * layout.parameters() + part.offset)
            .map(move |at| at..at + part.shape[0] * part.shape[1])
    });
    // The numbers between the parts of a target are left unchanged.
    let of_target = of_target.map(|range| lost(&target[range.clone()], &want[range.clone()], &allowed[1][range]));
    [lost(&all_of(&case.net), theta, &allowed[0]), of_target.fold(0.0, f64::max)]
}
