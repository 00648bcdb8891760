//! Bounds that the config keys of several crates share, and the message for a value outside its bounds.

use core::fmt::Display;

/// Largest allowed width of a hidden layer. The weights between two layers of this width take 16 GiB.
pub const MAX_WIDTH: usize = 1 << 16;

/// Largest allowed number of rows in a batch. A larger number is assumed to be a typing error.
pub const MAX_BATCH: usize = 1 << 24;

/// A smaller standard deviation of an observation entry counts as zero: the model takes the entry for constant.
pub const CONSTANT_DEVIATION: f64 = 1e-5;

/// Smallest and largest size of a number that computations use in single precision. Products and quotients with factors
/// up to ten stay in the range of single precision.
pub const SINGLE: [f64; 2] = [1e-37, 1e37];

/// Number of characters from which on a number is written with an exponent.
const LONG_NUMBER: usize = 21;

/// Returns the message for a value that its key cannot have. `allowed` completes the sentence "it must be …". A number
/// with many digits is written with an exponent.
///
/// ```
/// let message = foresee_core::limits::refusal("agent.tau", 2, "above 0 and at most 1", 0.005);
/// assert_eq!(message, "`agent.tau` is 2; it must be above 0 and at most 1\nhint: the default is 0.005");
/// ```
#[must_use]
pub fn refusal(key: &str, value: impl Display, allowed: impl Display, default: impl Display) -> String {
    let mut value = value.to_string();
    if value.len() >= LONG_NUMBER
        && let Ok(number) = value.parse::<f64>()
    {
        value = format!("{number:e}");
    }
    format!("`{key}` is {value}; it must be {allowed}\nhint: the default is {default}")
}

/// Returns an error message unless the value of the key is positive, and usable in single precision.
#[must_use]
pub fn positive(key: &str, value: f64, default: f64) -> Option<String> {
    let allowed = match value {
        _ if value.is_nan() || value <= 0.0 => "positive",
        _ if value.is_infinite() => "finite",
        _ => return single(key, value, default),
    };
    Some(refusal(key, value, allowed, default))
}

/// Returns an error message unless the value of the key is 0 or more, and usable in single precision.
#[must_use]
pub fn not_negative(key: &str, value: f64, default: f64) -> Option<String> {
    let allowed = match value {
        0.0 => return None,
        _ if value.is_nan() || value < 0.0 => "at least 0",
        _ if value.is_infinite() => "finite",
        _ => return single(key, value, default),
    };
    Some(refusal(key, value, allowed, default))
}

/// Returns an error message unless the size of a value other than 0 is usable in single precision.
#[must_use]
pub fn single(key: &str, value: f64, default: impl Display) -> Option<String> {
    let [least, most] = SINGLE;
    let size = value.abs();
    let allowed = match size {
        0.0 => return None,
        _ if size < least => format!("{least:e} or larger, because computations use single precision"),
        _ if size > most => format!("at most {most:e} in size, because computations use single precision"),
        _ => return None,
    };
    Some(refusal(key, value, allowed, default))
}

/// Returns an error message if the value of the key is below 1 and becomes 1 in single precision.
#[must_use]
#[allow(clippy::float_cmp, reason = "whether rounding gives exactly 1")]
pub fn rounds_to_one(key: &str, value: f64) -> Option<String> {
    (value < 1.0 && value as f32 == 1.0).then(|| {
        format!(
            "`{key}` is {value}, which single precision rounds to 1\nhint: write 1, or at most {}",
            1.0 - f32::EPSILON / 2.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_checked_where_single_precision_ends() {
        let message =
            |value: &str, allowed: &str| Some(format!("`k` is {value}; it must be {allowed}\nhint: the default is 1"));
        let (small, large) = (
            "1e-37 or larger, because computations use single precision",
            "at most 1e37 in size, because computations use single precision",
        );
        for (value, want) in [
            (1e-37, None),
            (1e37, None),
            (1e-60, message("1e-60", small)),
            (1e60, message("1e60", large)),
            (f64::MIN_POSITIVE, message("2.2250738585072014e-308", small)),
            (f64::INFINITY, message("inf", "finite")),
        ] {
            assert_eq!((positive("k", value, 1.0), not_negative("k", value, 1.0)), (want.clone(), want), "{value}");
        }
        for (value, shown) in [(-1.0, "-1"), (f64::NAN, "NaN"), (-1e300, "-1e300")] {
            assert_eq!(positive("k", value, 1.0), message(shown, "positive"));
            assert_eq!(not_negative("k", value, 1.0), message(shown, "at least 0"));
        }
        assert_eq!((positive("k", 0.0, 1.0), not_negative("k", 0.0, 1.0)), (message("0", "positive"), None));
        assert_eq!((single("k", -3.0, 1), single("k", -1e60, 1)), (None, message("-1e60", large)));
    }

    #[test]
    fn a_number_that_is_rounded_to_one_is_told_the_next_one() {
        assert_eq!(rounds_to_one("k", 1.0), None);
        let largest = f64::from(1.0 - f32::EPSILON / 2.0);
        assert!(largest < 1.0 && rounds_to_one("k", largest).is_none());
        assert_eq!(
            rounds_to_one("k", 0.999_999_99).unwrap(),
            "`k` is 0.99999999, which single precision rounds to 1\nhint: write 1, or at most 0.99999994"
        );
    }

    #[test]
    fn a_whole_number_is_written_in_full() {
        assert!(refusal("k", u64::MAX, "less", 1).starts_with("`k` is 18446744073709551615; "));
    }
}
