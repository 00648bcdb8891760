//! When MuJoCo's tasks terminate, as rules on observations: what an imagined state has instead of a simulator. They need
//! no library.
//!
//! Gymnasium 1.4.0's `*_v5.py` say the same of the state in f64, and a step's `terminated` is decided there, so that
//! episodes end where Gymnasium's do. Where an entry lies within its rounding to f32 of a bound, the rule on the
//! observation may say otherwise, which is rare: a fall crosses a bound by millimetres a step.

use foresee_core::Termination;
use foresee_core::termination::Bound;

const INF: f32 = f32::INFINITY;

fn open(index: usize, low: f32, high: f32) -> Bound {
    Bound { index, low, high, closed: false }
}

fn closed(index: usize, low: f32, high: f32) -> Bound {
    Bound { index, low, high, closed: true }
}

/// The pole within 0.2 rad of upright.
#[must_use]
pub fn inverted_pendulum() -> Termination {
    Termination::outside(vec![closed(1, -0.2, 0.2)])
}

/// Height above 0.7 m, angle within 0.2 rad, every entry after the height within 100 on both sides. The observation clips
/// velocities to 10, the state does not.
#[must_use]
pub fn hopper() -> Termination {
    let rest = (1..11).map(|index| open(index, -100.0, 100.0));
    Termination::outside([open(0, 0.7, INF), open(1, -0.2, 0.2)].into_iter().chain(rest).collect())
}

/// Height between 0.8 and 2 m, angle within 1 rad.
#[must_use]
pub fn walker2d() -> Termination {
    Termination { bounds: vec![open(0, 0.8, 2.0), open(1, -1.0, 1.0)], ..Termination::never() }
}

/// Height from 0.2 to 1 m, of the full observation and of MBPO's truncated one alike.
#[must_use]
pub fn ant() -> Termination {
    Termination::outside(vec![closed(0, 0.2, 1.0)])
}

/// Height from 1 to 2 m, of the full observation and of MBPO's truncated one alike; Gymnasium ends at the bounds
/// themselves too.
#[must_use]
pub fn humanoid() -> Termination {
    Termination { bounds: vec![closed(0, 1.0, 2.0)], ..Termination::never() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Rows (z, angle, two velocities) and what 4kubo/erl_lib says of them for `name`.
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
        // Their Walker2d has bounds on velocities besides, which v5 has not.
        for (mut obs, ends) in
            published("walker2d").into_iter().filter(|(obs, _)| obs[2..].iter().all(|x| x.abs() < 100.0))
        {
            obs.resize(17, 0.0);
            assert_eq!(walker2d().terminated(&obs), ends, "{obs:?}");
        }
    }
}
