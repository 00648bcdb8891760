//! Oracles for equations of motion of two coordinates without friction, under any factors on their physics: the energy
//! is constant without an action, the power of an action is force times velocity, and a change of units changes
//! nothing.
//!
//! The last one needs no equation. Where lengths are λ, gravity γ and masses μ times as large, times are √(λ/γ) times
//! as long, forces are μ γ times and torques μ γ λ times as large, and nothing else differs.

use foresee_core::Stream;

use crate::environment::Physics;

const FACTORS: [Physics; 3] = [
    Physics { mass: 1.0, length: 1.0, gravity: 1.0 },
    Physics { mass: 2.0, length: 0.5, gravity: 1.5 },
    Physics { mass: 0.3, length: 1.7, gravity: 0.6 },
];

/// Equations of motion, with their known properties.
pub(super) struct Motion {
    /// Returns the state after `dt` s under an action in N or N m.
    pub integrate: fn([f64; 4], f64, f64, Physics) -> [f64; 4],
    /// Returns the total energy in J, computed from positions and velocities of the parts.
    pub energy: fn([f64; 4], Physics) -> f64,
    /// Index of the state entry that is the velocity along the action.
    pub driven: usize,
    /// Powers of length and of time in the unit of each state entry.
    pub units: [[i32; 2]; 4],
    /// Power of length in the unit of the action, relative to a force.
    pub lever: i32,
}

impl Motion {
    /// Checks the order of the integration. Without an action, the largest error of the energy over √(λ/γ) s must fall
    /// as dt to the power `order` when `steps` is doubled.
    #[track_caller]
    pub(super) fn keeps_energy(&self, start: [f64; 4], order: f64, steps: u32) {
        for factors in FACTORS {
            let error = |steps: u32| {
                let dt = (factors.length / factors.gravity).sqrt() / f64::from(steps);
                let mut state = start;
                let errors = (0..steps).map(|_| {
                    state = (self.integrate)(state, 0.0, dt, factors);
                    ((self.energy)(state, factors) - (self.energy)(start, factors)).abs()
                });
                errors.fold(0.0, f64::max)
            };
            let (coarse, fine) = (error(steps), error(2 * steps));
            let found = (coarse / fine).log2();
            assert!((found - order).abs() < 0.1, "{factors:?}: {coarse} J, then {fine} J: order {found}");
        }
    }

    /// Checks dE/dt = action · velocity by a central difference.
    #[track_caller]
    pub(super) fn has_the_power_of_its_action(&self) {
        self.for_many(|state, action, factors| {
            let dt = 1e-6;
            let energy = |dt: f64| (self.energy)((self.integrate)(state, action, dt, factors), factors);
            let (power, want) = ((energy(dt) - energy(-dt)) / (2.0 * dt), action * state[self.driven]);
            // Rounding contributes 1e-16 · 100 J / 1e-6 s.
            assert!((power - want).abs() < 1e-6, "{factors:?}, {state:?}: {power} W, expected {want} W");
        });
    }

    /// Checks that a step with factors is the step without factors in other units.
    #[track_caller]
    pub(super) fn depends_on_no_units(&self) {
        self.for_many(|state, action, factors| {
            let Physics { mass, length, gravity } = factors;
            let time = (length / gravity).sqrt();
            let scaled = |state: [f64; 4]| -> [f64; 4] {
                core::array::from_fn(|i| state[i] * length.powi(self.units[i][0]) * time.powi(self.units[i][1]))
            };
            let action_unit = mass * gravity * length.powi(self.lever);
            let dt = 0.05;
            let want = scaled((self.integrate)(state, action, dt, Physics::default()));
            let got = (self.integrate)(scaled(state), action * action_unit, dt * time, factors);
            for (got, want) in got.into_iter().zip(want) {
                assert!((got - want).abs() < 1e-12 * (1.0 + want.abs()), "{factors:?}, {state:?}: {got}, {want}");
            }
        });
    }

    /// Calls a check with random states and actions, with each of the factors.
    fn for_many(&self, check: impl Fn([f64; 4], f64, Physics)) {
        for numbers in Stream::new(0, "test/motion").normals(0, 100, 5).chunks_exact(5) {
            let [state @ .., action] = core::array::from_fn::<f64, 5, _>(|i| 2.0 * f64::from(numbers[i]));
            for factors in FACTORS {
                check(state, action, factors);
            }
        }
    }
}
