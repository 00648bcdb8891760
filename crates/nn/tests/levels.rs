//! Tests of every instruction level, forced in turn. A level applies to the whole process, so these tests have their
//! own process and run one at a time.

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::Device;
use common::recursion::{self, configs};
use common::{Case, Pass, Worst, all_of, bits, bits_of_state, distance};
use foresee_core::{State, Stream};
use foresee_nn::cpu::math;
use foresee_nn::cpu::simd::{self, Level, Simd, Task};
use foresee_nn::{Adam, AdamConfig, Parameters, tensors};

static LEVEL: Mutex<()> = Mutex::new(());

/// The right to force levels. When it ends, the machine's best level applies again.
struct LevelLock(#[allow(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl LevelLock {
    fn take() -> Self {
        Self(LEVEL.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn at<R>(&self, level: Level, f: impl FnOnce() -> R) -> R {
        simd::force(Some(level));
        assert_eq!(simd::level(), level);
        let result = f();
        simd::force(None);
        result
    }
}

impl Drop for LevelLock {
    fn drop(&mut self) {
        simd::force(None);
    }
}

fn levels() -> Vec<Level> {
    Level::ALL.into_iter().filter(|level| level.available()).collect()
}

/// The results of a case: its passes, and two fused steps with a target.
struct Results {
    pass: Pass,
    plain: Vec<f32>,
    stepped: Vec<f32>,
    unfused: Vec<f32>,
    target: Vec<f32>,
    moments: State,
}

impl Results {
    fn of(case: &Case) -> Self {
        let plain = tensors::to_vec(case.net.forward(case.input()));
        let pass = case.pass(true);
        let config = AdamConfig { decay: 0.1, eps: 1e-3, ..AdamConfig::new(1e-2) };
        let (mut net, mut target) = (case.net.clone(), vec![0.5; all_of(&case.net).len()]);
        let mut adam = Adam::new(config, &net);
        for _ in 0..2 {
            let tapes = case.tapes(0..case.shape().members, &[], false);
            let mut step = adam.fused(&mut net);
            assert!(step.apply(&tapes, Some((&mut target, 0.1))));
            step.finish();
        }
        let mut other = case.net.clone();
        let gradient = tensors::from_vec(pass.dw.clone(), other.slot().get().dims(), &Device::flex());
        assert_eq!(Adam::new(config, &other).step(&mut other, gradient), Some(true));
        let (stepped, unfused, moments) = (all_of(&net), all_of(&other), adam.save(&net));
        Self { pass, plain, stepped, unfused, target, moments }
    }

    fn arrays(&self) -> [(&'static str, &[f32]); 7] {
        [
            ("output", &self.pass.y),
            ("gradient at the input", &self.pass.dx),
            ("gradient at the parameters", &self.pass.dw),
            ("plain output", &self.plain),
            ("fused step", &self.stepped),
            ("step", &self.unfused),
            ("target", &self.target),
        ]
    }
}

#[test]
fn levels_that_fuse_agree_bit_for_bit_and_the_portable_one_closely() {
    let lock = LevelLock::take();
    let stream = Stream::new(51, "test/levels");
    let mut worst = Worst::new("portable against the best level", 4e-5);
    for number in 0..80 {
        let case = Case::new(&stream, number, &Device::flex());
        let results: Vec<(Level, Results)> =
            levels().into_iter().map(|level| (level, lock.at(level, || Results::of(&case)))).collect();
        let (_, best) = results.last().unwrap();
        for (level, found) in &results {
            for ((what, a), (_, b)) in found.arrays().into_iter().zip(best.arrays()) {
                let place = || format!("{what} at {}, case {number}: {}", level.name(), case.describe());
                if *level == Level::Portable {
                    worst.take(distance(a, b), place);
                } else {
                    assert_eq!(bits(a), bits(b), "{}", place());
                }
            }
            if *level != Level::Portable {
                assert_eq!(bits_of_state(&found.moments), bits_of_state(&best.moments));
            }
        }
    }
}

#[test]
fn every_level_agrees_with_tensor_operations() {
    let lock = LevelLock::take();
    let stream = Stream::new(52, "test/levels");
    for level in levels() {
        let mut worst = Worst::new(level.name(), 4e-5);
        for number in 0..80 {
            let case = Case::new(&stream, number, &Device::flex());
            let (fused, reference) = lock.at(level, || (case.pass(true), case.pass(false)));
            for (a, b) in [(&fused.y, &reference.y), (&fused.dx, &reference.dx), (&fused.dw, &reference.dw)] {
                worst.take(distance(a, b), || format!("case {number}: {}", case.describe()));
            }
        }
    }
}

#[test]
fn steps_at_every_level_follow_the_published_recursion() {
    let lock = LevelLock::take();
    let stream = Stream::new(53, "test/levels");
    for level in levels() {
        let mut worst = Worst::new(level.name(), 1.0);
        for (i, config) in configs().into_iter().enumerate() {
            for j in 0..3 {
                let case = Case::new(&stream, (i * 3 + j) * 7, &Device::flex());
                let shares = lock.at(level, || recursion::shares(&case, config));
                worst.take(shares[0].max(shares[1]), || format!("{config:?}, {}", case.describe()));
            }
        }
    }
}

struct Elementary(Vec<f32>, usize);

impl Task for Elementary {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self) -> Vec<f32> {
        let f =
            [math::exp::<S>, math::ln::<S>, math::ln_1p::<S>, math::softplus::<S>, math::sigmoid::<S>, math::tanh::<S>]
                [self.1];
        self.0.into_iter().map(f).collect()
    }
}

type Named = (&'static str, fn(f64) -> f64, [f32; 2], f64);

#[test]
fn elementary_functions_agree_with_f64() {
    let lock = LevelLock::take();
    let functions: [Named; 6] = [
        ("exp", f64::exp, [-86.0, 87.0], 0.0),
        ("ln", f64::ln, [1e-6, 1e6], 1e-7),
        ("ln_1p", f64::ln_1p, [0.0, 1.0], 0.0),
        ("softplus", |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), [-20.0, 60.0], 0.0),
        ("sigmoid", |x| 1.0 / (1.0 + (-x).exp()), [-80.0, 80.0], 0.0),
        ("tanh", f64::tanh, [-12.0, 12.0], 0.0),
    ];
    for (which, (name, f, [low, high], absolute)) in functions.iter().enumerate() {
        let n = 200_001;
        let mut xs: Vec<f32> = (0..n).map(|i| low + (high - low) * i as f32 / (n - 1) as f32).collect();
        xs.extend((0..200).map(|i| high * 0.9_f32.powi(i)));
        for level in levels() {
            let ys = lock.at(level, || simd::dispatch(Elementary(xs.clone(), which)));
            for (&x, y) in xs.iter().zip(ys) {
                let want = f(f64::from(x));
                let bound = 4e-7 * want.abs() + absolute + 1e-37;
                assert!((f64::from(y) - want).abs() <= bound, "{name}({x}) at {}: {y}, expected {want}", level.name());
            }
        }
    }
}
