//! The termination rules of MuJoCo's tasks, as rules on observations. They decide whether imagined states have
//! terminated, and need no library.
//!
//! Gymnasium 1.4.0's `*_v5.py` apply the same rules to the state in f64. The `terminated` flag of a real step is
//! decided on that state too, so episodes end where Gymnasium's do. If an entry is within its f32 rounding error of a
//! bound, the rule on the observation may differ. This is rare, because a fall crosses a bound by millimetres per step.
//!
//! The functions with arguments are the rules of tasks that Gymnasium makes with other ranges, or with an observation
//! that begins with the horizontal position. `first` is the number of position entries in front.

use foresee_core::Termination;
use foresee_core::termination::Bound;

const INF: f32 = f32::INFINITY;

fn open(index: usize, low: f32, high: f32) -> Bound {
    Bound { quantity: index.into(), low, high, closed: false }
}

fn closed(index: usize, low: f32, high: f32) -> Bound {
    Bound { quantity: index.into(), low, high, closed: true }
}

/// Returns the rule of InvertedPendulum: an episode continues while the pole is within 0.2 rad of upright.
#[must_use]
pub fn inverted_pendulum() -> Termination {
    Termination::outside(vec![closed(1, -0.2, 0.2)])
}

/// Returns the rule of Hopper: an episode continues while the height is above 0.7 m, the angle is within 0.2 rad, and
/// every entry after the height is between -100 and 100. Observed velocities are clipped to 10, those of the state are
/// not.
#[must_use]
pub fn hopper() -> Termination {
    hopper_with(0, [0.7, INF], [-0.2, 0.2], [-100.0, 100.0])
}

/// Returns the rule of Hopper with other ranges `[low, high]` of the height, of the angle, and of every entry after
/// the height.
pub(crate) fn hopper_with(first: usize, z: [f32; 2], angle: [f32; 2], state: [f32; 2]) -> Termination {
    let rest = (1..11).map(|index| open(first + index, state[0], state[1]));
    let posture = [open(first, z[0], z[1]), open(first + 1, angle[0], angle[1])];
    Termination::outside(posture.into_iter().chain(rest).collect())
}

/// Returns the rule of Walker2d: an episode continues while the height is between 0.8 and 2 m and the angle is within
/// 1 rad.
#[must_use]
pub fn walker2d() -> Termination {
    walker2d_with(0, [0.8, 2.0], [-1.0, 1.0])
}

/// Returns the rule of Walker2d with other ranges `[low, high]` of the height and of the angle.
pub(crate) fn walker2d_with(first: usize, z: [f32; 2], angle: [f32; 2]) -> Termination {
    let bounds = vec![open(first, z[0], z[1]), open(first + 1, angle[0], angle[1])];
    Termination { bounds, ..Termination::never() }
}

/// Returns the rule of Ant: an episode continues while the height is from 0.2 to 1 m. It applies to the full
/// observation and to MBPO's truncated one.
#[must_use]
pub fn ant() -> Termination {
    ant_with(0, [0.2, 1.0])
}

/// Returns the rule of Ant with another range `[low, high]` of the height.
pub(crate) fn ant_with(first: usize, z: [f32; 2]) -> Termination {
    Termination::outside(vec![closed(first, z[0], z[1])])
}

/// Returns the rule of Humanoid: an episode continues while the height is from 1 to 2 m. It applies to the full
/// observation and to MBPO's truncated one. Gymnasium, unlike this rule, terminates also at the bounds themselves.
#[must_use]
pub fn humanoid() -> Termination {
    humanoid_with(0, [1.0, 2.0])
}

/// Returns the rule of Humanoid with another range `[low, high]` of the height.
pub(crate) fn humanoid_with(first: usize, z: [f32; 2]) -> Termination {
    Termination { bounds: vec![closed(first, z[0], z[1])], ..Termination::never() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Returns rows (z, angle, two velocities) and whether 4kubo/erl_lib terminates there, for the task `name`.
    fn published(name: &str) -> Vec<(Vec<f32>, bool)> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/fixtures/agents.json");
        let file: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("the fixtures")).expect("JSON");
        let entry = &file["entries"]["termination"];
        let number = |x: &Value| match x {
            Value::Null => f32::NAN,
            Value::String(_) => f32::INFINITY,
            other => other.as_f64().expect("a number") as f32,
        };
        let rows = entry["inputs"]["rows"].as_array().expect("rows").iter();
        let ends = entry["outputs"][name].as_array().expect("ends").iter().map(|end| end.as_u64() == Some(1));
        rows.map(|row| row.as_array().expect("numbers").iter().map(number).collect()).zip(ends).collect()
    }

    #[test]
    fn episodes_end_where_the_published_rule_says_so() {
        let rows = published("hopper");
        assert!(rows.len() > 10);
        for (mut obs, ends) in rows {
            obs.resize(11, 0.0);
            assert_eq!(hopper().terminated(&[], &obs), ends, "{obs:?}");
        }
        // Their Walker2d also has bounds on velocities, which v5 does not have.
        for (mut obs, ends) in
            published("walker2d").into_iter().filter(|(obs, _)| obs[2..].iter().all(|x| x.abs() < 100.0))
        {
            obs.resize(17, 0.0);
            assert_eq!(walker2d().terminated(&[], &obs), ends, "{obs:?}");
        }
    }
}
