//! Additional observation entries that have nothing to do with the task but can be predicted. A model that must be
//! right in every entry spends capacity on them.
//!
//! This is the experiment of VaGraM (Voelcker et al., "Value Gradient weighted Model-Based Reinforcement Learning",
//! ICLR 2022), with the settings that it used (uncorrelated, not linear, switching). n entries s are appended to the
//! observation, which becomes (o, s). Every step changes them by
//!
//! * s ← M s, M ~ N(0, 1) entry by entry, `[n, n]`. The columns of M that would read the task's observation are zero;
//! * s ← s + 0.1 sin(R s), R = N(0, 10)² entry by entry (a standard deviation of 10, squared), `[n, n]`;
//! * s_i ← c_i where |s_i| > 20, c ~ N(0, 1) fixed, `[n]`.
//!
//! A reset draws s ~ N(0, 0.1) (a standard deviation of 0.1) and applies one such change. Rewards and ends of episodes
//! are the task's own.
//!
//! M, R and c are drawn from the stream `env/distractors` of the run's seed, so that training and evaluation have the
//! same dynamics. (In the reference code each environment draws its own, which is a mistake there.) The s of a reset is
//! drawn from the stream `env/distractors/reset` of the reset's seed.

use foresee_core::{State, StateError, Stream};

use super::resets::ResetCounter;
use crate::environment::{Environment, Physics, Reset, Spec, Step};
use crate::error::EnvError;
use crate::space::BoxSpace;

/// Largest absolute value of an entry; beyond it the entry is replaced by its c.
const SWITCH: f64 = 20.0;
/// Weight of the sine.
const SINE_WEIGHT: f64 = 0.1;
/// Standard deviation of s at a reset.
const RESET_DEVIATION: f64 = 0.1;
/// Standard deviation of the numbers whose squares are R.
const SINE_DEVIATION: f64 = 10.0;

/// The matrices M and R and the vector c for n entries.
#[derive(Clone, Debug, PartialEq)]
struct Dynamics {
    /// M, `[n, n]`
    linear: Vec<f64>,
    /// R, `[n, n]`
    sine: Vec<f64>,
    /// c, `[n]`
    switched: Vec<f64>,
}

impl Dynamics {
    /// Draws the dynamics of a run. They depend on the run's seed alone.
    fn for_run(n: usize, seed: u64) -> Self {
        let stream = Stream::new(seed, "env/distractors");
        let normals = |step, rows| stream.normals(step, rows, n).into_iter().map(f64::from);
        Self {
            linear: normals(0, n).collect(),
            sine: normals(1, n).map(|x| (SINE_DEVIATION * x) * (SINE_DEVIATION * x)).collect(),
            switched: normals(2, 1).collect(),
        }
    }

    /// Returns s after a step, `[n]`.
    fn advance(&self, s: &[f64]) -> Vec<f64> {
        let s = product(&self.linear, s);
        let waves = product(&self.sine, &s);
        let moved = s.iter().zip(waves).map(|(s, wave)| s + SINE_WEIGHT * wave.sin());
        moved.zip(&self.switched).map(|(s, &c)| if s.abs() > SWITCH { c } else { s }).collect()
    }
}

/// Multiplies a matrix `[n, n]` by a vector `[n]`.
fn product(matrix: &[f64], s: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(s.len()).map(|row| row.iter().zip(s).map(|(m, s)| m * s).sum()).collect()
}

/// A task with distracting entries at the end of its observation.
pub struct Distractors {
    inner: Box<dyn Environment>,
    spec: Spec,
    dynamics: Dynamics,
    resets: ResetCounter,
    /// s, `[n]`
    s: Vec<f64>,
}

impl Distractors {
    /// Appends `n` entries with the dynamics of the run with this `seed`.
    #[track_caller]
    #[must_use]
    pub fn new(inner: Box<dyn Environment>, n: usize, seed: u64) -> Self {
        assert!(n > 0, "no distractors");
        let BoxSpace { mut low, mut high } = inner.spec().observation_space.clone();
        low.extend(vec![-SWITCH as f32; n]);
        high.extend(vec![SWITCH as f32; n]);
        // The termination rule refers to entries by their index, and the task's entries come first.
        let spec = Spec { observation_space: BoxSpace::new(low, high), ..inner.spec().clone() };
        Self { inner, spec, dynamics: Dynamics::for_run(n, seed), resets: ResetCounter::default(), s: vec![0.0; n] }
    }

    fn extended(&self, mut obs: Vec<f32>) -> Vec<f32> {
        obs.extend(self.s.iter().map(|&s| s as f32));
        obs
    }

    /// Reads the arrays that [`Distractors::save`] wrote, without those of the inner environment.
    fn read(&self, mut state: State) -> Result<(ResetCounter, Vec<f64>), StateError> {
        let resets = ResetCounter::restored(&mut state)?;
        let s = state.f64s("distractors")?.1;
        if s.len() != self.s.len() || s.iter().any(|s| !s.is_finite()) {
            let expected = format!("{} finite numbers", self.s.len());
            return Err(StateError::Mismatch { path: "distractors".into(), found: format!("{s:?}"), expected });
        }
        state.finish()?;
        Ok((resets, s))
    }
}

impl Environment for Distractors {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        let Reset { obs, info } = self.inner.reset(seed)?;
        self.resets = self.resets.next(seed);
        let mut draws = self.resets.draws("env/distractors/reset");
        let drawn: Vec<f64> = self.s.iter().map(|_| RESET_DEVIATION * f64::from(draws.normal())).collect();
        self.s = self.dynamics.advance(&drawn);
        Ok(Reset { obs: self.extended(obs), info })
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let step = self.inner.step(action)?;
        self.s = self.dynamics.advance(&self.s);
        Ok(Step { obs: self.extended(step.obs), ..step })
    }

    /// Arrays: `distractors` f64 `[n]`; `resets` u64 `[2]`, the last seed and the number of resets since then;
    /// `inner.*`. M, R and c are not saved, because the run's seed determines them.
    fn save(&self) -> State {
        let mut state = State::new();
        state.put("distractors", self.s.clone());
        self.resets.save(&mut state);
        state.nest("inner", self.inner.save());
        state
    }

    fn restore(&mut self, mut state: State) -> Result<(), EnvError> {
        let inner = state.part("inner");
        let (resets, s) = self.read(state).map_err(EnvError::bad_state(&self.spec.id))?;
        self.inner.restore(inner)?;
        (self.resets, self.s) = (resets, s);
        Ok(())
    }

    fn set_physics(&mut self, physics: Physics) -> Result<(), EnvError> {
        self.inner.set_physics(physics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_close(got: &[f64], want: &[f64]) {
        let close = got.len() == want.len() && got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-15);
        assert!(close, "{got:?}, expected {want:?}");
    }

    #[test]
    fn one_step_is_the_linear_map_then_the_sine_of_its_image() {
        let linear = vec![1.0, 2.0, 0.5, -1.0];
        let sine = vec![1.0, 0.0, 2.0, 4.0];
        let dynamics = Dynamics { linear, sine, switched: vec![7.0, 8.0] };
        // M s = (0.3 + 0.2, 0.15 − 0.1) = (0.5, 0.05); R M s = (0.5, 1 + 0.2).
        let want = [0.5 + 0.1 * 0.479_425_538_604_203, 0.05 + 0.1 * 0.932_039_085_967_226_3];
        assert_close(&dynamics.advance(&[0.3, 0.1]), &want);
    }

    #[test]
    fn an_entry_beyond_20_is_put_back_and_no_other() {
        let linear = vec![1.0, 0.0, 0.0, 1.0];
        let dynamics = Dynamics { linear, sine: vec![0.0; 4], switched: vec![-0.5, 0.25] };
        for (s, want) in [
            ([20.5, 3.0], [-0.5, 3.0]),
            ([1.0, -20.5], [1.0, 0.25]),
            ([20.0, -20.0], [20.0, -20.0]),
            ([-99.0, 99.0], [-0.5, 0.25]),
        ] {
            assert_close(&dynamics.advance(&s), &want);
        }
    }

    #[test]
    fn the_drawn_matrices_have_their_distributions() {
        let n = 200;
        let Dynamics { linear, sine, switched } = Dynamics::for_run(n, 5);
        assert_eq!([linear.len(), sine.len(), switched.len()], [n * n, n * n, n]);
        let count = (n * n) as f64;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let squares = |values: &[f64]| mean(&values.iter().map(|x| x * x).collect::<Vec<_>>());
        // Five standard errors. For x ~ N(0, 1), the standard deviation of x is 1 and that of x² is √2.
        assert!(mean(&linear).abs() < 5.0 / count.sqrt());
        assert!((squares(&linear) - 1.0).abs() < 5.0 * (2.0 / count).sqrt());
        assert!((squares(&switched) - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt());
        // For (10 x)²: mean 100, standard deviation 100 √2.
        assert!(sine.iter().all(|&r| r >= 0.0));
        assert!((mean(&sine) - 100.0).abs() < 5.0 * 100.0 * (2.0 / count).sqrt(), "{}", mean(&sine));
        // M and R are drawn independently: the correlation of M² with R.
        let products: Vec<f64> = linear.iter().zip(&sine).map(|(m, r)| (m * m - 1.0) * (r / 100.0 - 1.0)).collect();
        assert!(mean(&products).abs() < 5.0 * 2.0 / count.sqrt(), "{}", mean(&products));
    }

    #[test]
    fn a_run_has_one_set_of_matrices_and_another_run_another() {
        assert_eq!(Dynamics::for_run(4, 3), Dynamics::for_run(4, 3));
        assert_ne!(Dynamics::for_run(4, 3), Dynamics::for_run(4, 4));
    }
}
