//! When imagined states of Gymnasium's own tasks have terminated, as a rule on the observation.
//!
//! Sources: `is_healthy` and `terminated` in `gymnasium/envs/mujoco/*_v5.py` and `classic_control/*.py`, Gymnasium
//! 1.4.0. `InvertedDoublePendulum-v5` ends by the height of its tip, which is no bound on single entries.

use foresee_core::Termination;
use foresee_core::termination::Bound;

const INF: f32 = f32::INFINITY;

/// The rule of a task of this id, as `gymnasium.make(name)` gives it without further arguments.
pub(super) fn termination(name: &str) -> Option<Termination> {
    let between = |index, low, high| Bound { index, low, high, closed: false };
    let entries = |indices: core::ops::Range<usize>| {
        indices.map(|index| Bound { index, low: -100.0, high: 100.0, closed: false })
    };
    let rule = match name {
        "Pendulum-v1" | "Reacher-v5" | "Swimmer-v5" | "HalfCheetah-v5" => Termination::never(),
        "MountainCarContinuous-v0" => {
            let at_least = |index, low| Bound { index, low, high: INF, closed: true };
            Termination::inside(vec![at_least(0, 0.45), at_least(1, 0.0)])
        }
        "InvertedPendulum-v5" => Termination::outside(vec![Bound { index: 1, low: -0.2, high: 0.2, closed: true }]),
        // Height z, angle, and every later entry of the state.
        "Hopper-v5" => {
            let mut bounds = vec![between(0, 0.7, INF), between(1, -0.2, 0.2)];
            bounds.extend(entries(2..11));
            Termination::outside(bounds)
        }
        "Walker2d-v5" => Termination::outside(vec![between(0, 0.8, 2.0), between(1, -1.0, 1.0)]),
        "Ant-v5" => Termination::outside(vec![Bound { index: 0, low: 0.2, high: 1.0, closed: true }]),
        "Humanoid-v5" => Termination::outside(vec![between(0, 1.0, 2.0)]),
        _ => return None,
    };
    Some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_inside_where_gymnasium_compares_with_or_equal() {
        let ends = |name: &str, dim: usize, index: usize, x: f32| {
            // All else upright and in the middle.
            let mut obs = vec![0.0; dim];
            obs[0] = 0.9;
            if name == "Humanoid-v5" {
                obs[0] = 1.4;
            }
            if name == "Hopper-v5" || name == "Walker2d-v5" {
                obs[0] = 1.25;
            }
            obs[index] = x;
            termination(name).unwrap().terminated(&obs)
        };
        for (name, dim, index, low, high, inside) in [
            ("Ant-v5", 27, 0, 0.2, 1.0, true),
            ("Humanoid-v5", 45, 0, 1.0, 2.0, false),
            ("Walker2d-v5", 17, 0, 0.8, 2.0, false),
            ("Walker2d-v5", 17, 1, -1.0, 1.0, false),
            ("Hopper-v5", 11, 1, -0.2, 0.2, false),
            ("Hopper-v5", 11, 4, -100.0, 100.0, false),
            ("InvertedPendulum-v5", 4, 1, -0.2, 0.2, true),
        ] {
            let middle = f32::midpoint(low, high);
            assert!(!ends(name, dim, index, middle), "{name}");
            for (end, beyond) in [(low, low - 0.01), (high, high + 0.01)] {
                assert_eq!(ends(name, dim, index, end), !inside, "{name}, {end}");
                assert!(ends(name, dim, index, beyond), "{name}, {beyond}");
            }
            assert!(ends(name, dim, dim - 1, f32::NAN), "{name}");
        }
        assert!(ends("Hopper-v5", 11, 0, 0.7) && !ends("Hopper-v5", 11, 0, 9.0));
        assert!(!termination("Pendulum-v1").unwrap().terminated(&[f32::NAN; 3]));
        assert_eq!(termination("InvertedDoublePendulum-v5"), None);
    }
}
