//! Bounds of the values, computed from the rewards of imagined steps.
//!
//! Let x be the values r − α log π of all rows and steps of an update, including steps after a termination, and γ the
//! discount. The new bounds are two quantiles of x divided by 1 − γ. The first update's bounds are taken unchanged;
//! later ones enter with a rate. Critics are Q = (high + low)/2 + (high − low)/2 · net, and the value at the end of a
//! target's rollout is clipped to the bounds.

use foresee_core::{State, StateError};

/// The current bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueBounds {
    low: f64,
    high: f64,
    /// False until the first update, which replaces the initial bounds.
    set: bool,
}

impl Default for ValueBounds {
    /// The bounds −1 and 1, used until the first update.
    fn default() -> Self {
        Self { low: -1.0, high: 1.0, set: false }
    }
}

impl ValueBounds {
    /// Returns bounds that an update has set before.
    #[must_use]
    pub fn known(low: f64, high: f64) -> Self {
        Self { low, high, set: true }
    }

    /// Moves the bounds towards those of an update's `values`. Sorts `values`.
    pub fn follow(&mut self, values: &mut [f32], quantiles: [f64; 2], rate: f64, discount: f64) {
        values.sort_unstable_by(f32::total_cmp);
        let [low, high] = quantiles.map(|q| quantile(values, q) / (1.0 - discount));
        let rate = if self.set { rate } else { 1.0 };
        self.low += rate * (low - self.low);
        self.high += rate * (high - self.high);
        self.set = true;
    }

    /// The lower and the upper bound.
    #[must_use]
    pub fn ends(self) -> [f64; 2] {
        [self.low, self.high]
    }

    /// Returns half the distance between the bounds, and their middle: the scale and the shift of the critics' outputs.
    #[must_use]
    pub fn scale_and_shift(self) -> [f64; 2] {
        [0.5 * (self.high - self.low), 0.5 * (self.low + self.high)]
    }

    /// Returns the bounds as arrays.
    #[must_use]
    pub fn save(self) -> State {
        let mut state = State::new();
        state.put("ends", self.ends().to_vec());
        state.put("set", u64::from(self.set));
        state
    }

    /// Returns the bounds that were saved.
    ///
    /// # Errors
    /// If an array is missing, has another shape, or is unknown.
    pub fn restore(mut state: State) -> Result<Self, StateError> {
        let (shape, ends) = state.f64s("ends")?;
        let [low, high] = ends[..] else {
            return Err(StateError::Mismatch {
                path: "ends".into(),
                found: format!("of shape {shape:?}"),
                expected: "shape [2]".into(),
            });
        };
        let bounds = Self { low, high, set: state.u64("set")? != 0 };
        state.finish()?;
        Ok(bounds)
    }
}

/// Returns a quantile of sorted numbers, interpolated between neighbours.
fn quantile(sorted: &[f32], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let [low, high] = [below, (below + 1).min(sorted.len() - 1)].map(|i| f64::from(sorted[i]));
    low + (position - below as f64) * (high - low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!([0.0, 1.0].map(|q| quantile(&[1.0, 2.0, 4.0], q)), [1.0, 4.0]);
        assert_eq!(quantile(&[7.0], 0.3), 7.0);
    }

    #[test]
    fn bounds_come_back_as_they_were() {
        let mut bounds = ValueBounds::default();
        assert_eq!(ValueBounds::restore(bounds.save()), Ok(bounds));
        bounds.follow(&mut [1.0, 3.0, 2.0], [0.0, 1.0], 0.1, 0.5);
        assert_eq!((bounds.ends(), bounds.scale_and_shift()), ([2.0, 6.0], [2.0, 4.0]));
        bounds.follow(&mut [2.0], [0.0, 1.0], 0.25, 0.5);
        assert_eq!(bounds.ends(), [2.5, 5.5]);
        assert_eq!(ValueBounds::restore(bounds.save()), Ok(bounds));
    }
}
