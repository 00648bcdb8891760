//! The termination rules of MuJoCo's tasks, as rules on observations. They decide whether imagined states have
//! terminated, and need no library.
//!
//! Gymnasium 1.4.0's `*_v5.py` apply the same rules to the state in f64. The `terminated` flag of a real step is
//! decided on that state too, so episodes end where Gymnasium's do. If an entry is within its f32 rounding error of a
//! bound, the rule on the observation may differ. This is rare, because a fall crosses a bound by millimetres per step.

use foresee_core::Termination;
use foresee_core::termination::Bound;

const INF: f32 = f32::INFINITY;

fn open(index: usize, low: f32, high: f32) -> Bound {
    Bound { index, low, high, closed: false }
}

fn closed(index: usize, low: f32, high: f32) -> Bound {
    Bound { index, low, high, closed: true }
}

/// The angle of the pole is within 0.2 rad of upright.
#[must_use]
pub fn inverted_pendulum() -> Termination {
    Termination::outside(vec![closed(1, -0.2, 0.2)])
}

/// The height is above 0.7 m, the angle is within 0.2 rad, and every entry after the height is between -100 and 100.
/// The observation clips velocities to 10, the state does not.
#[must_use]
pub fn hopper() -> Termination {
    let rest = (1..11).map(|index| open(index, -100.0, 100.0));
    Termination::outside([open(0, 0.7, INF), open(1, -0.2, 0.2)].into_iter().chain(rest).collect())
}

/// The height is between 0.8 and 2 m, and the angle is within 1 rad.
#[must_use]
pub fn walker2d() -> Termination {
    Termination { bounds: vec![open(0, 0.8, 2.0), open(1, -1.0, 1.0)], ..Termination::never() }
}

/// The height is from 0.2 to 1 m. The rule fits the full observation and MBPO's truncated one.
#[must_use]
pub fn ant() -> Termination {
    Termination::outside(vec![closed(0, 0.2, 1.0)])
}

/// The height is from 1 to 2 m. The rule fits the full observation and MBPO's truncated one. Gymnasium, unlike this
/// rule, terminates also at the bounds themselves.
#[must_use]
pub fn humanoid() -> Termination {
    Termination { bounds: vec![closed(0, 1.0, 2.0)], ..Termination::never() }
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
            assert_eq!(hopper().terminated(&obs), ends, "{obs:?}");
        }
        // Their Walker2d also has bounds on velocities, which v5 does not have.
        for (mut obs, ends) in
            published("walker2d").into_iter().filter(|(obs, _)| obs[2..].iter().all(|x| x.abs() < 100.0))
        {
            obs.resize(17, 0.0);
            assert_eq!(walker2d().terminated(&obs), ends, "{obs:?}");
        }
    }
}
