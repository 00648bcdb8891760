//! Means, intervals and slopes.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// The mean. It is NaN of no values.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The unbiased variance. It is NaN of fewer than two values.
#[must_use]
pub fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
}

/// The value that the share `share` of the sorted values does not exceed, by linear interpolation.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    if below == above { below } else { below + (above - below) * at.fract() }
}

/// The ends of Student's interval of the mean at this level, such as 0.95, or `None` of fewer than two values.
#[must_use]
pub fn interval(values: &[f64], level: f64) -> Option<[f64; 2]> {
    if values.len() < 2 {
        return None;
    }
    let degrees = values.len() as f64 - 1.0;
    let quantile =
        StudentsT::new(0.0, 1.0, degrees).expect("degrees of freedom above zero").inverse_cdf(0.5 + level / 2.0);
    let half = quantile * (variance(values) / values.len() as f64).sqrt();
    Some([mean(values) - half, mean(values) + half])
}

/// The slope of the least-squares line through points `[x, y]`.
#[must_use]
pub fn slope(points: &[[f64; 2]]) -> f64 {
    let (xs, ys): (Vec<f64>, Vec<f64>) = points.iter().map(|&[x, y]| (x, y)).unzip();
    let (x_mean, y_mean) = (mean(&xs), mean(&ys));
    let covariance: f64 = points.iter().map(|[x, y]| (x - x_mean) * (y - y_mean)).sum();
    covariance / xs.iter().map(|x| (x - x_mean).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_table() {
        // Mean 3, variance 2.5, n = 5; the 0.975 quantile of t with 4 degrees of freedom is 2.776445.
        let [low, high] = interval(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.95).unwrap();
        let half = 2.776_445 * (2.5_f64 / 5.0).sqrt();
        assert!((low - (3.0 - half)).abs() < 1e-5 && (high - (3.0 + half)).abs() < 1e-5);
        assert_eq!(interval(&[1.0], 0.95), None);
        assert_eq!(interval(&[2.0, 2.0], 0.95), Some([2.0, 2.0]));
    }

    #[test]
    fn quantiles_and_slopes_of_small_sets() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!([0.0, 0.5, 1.0].map(|share| quantile(&values, share)), [1.0, 2.5, 4.0]);
        assert!((slope(&[[0.0, 1.0], [1.0, 3.0], [2.0, 5.0]]) - 2.0).abs() < 1e-12);
    }
}
