//! How often a report claims an order of two groups that do not differ, by the number of seeds.
//!
//!     cargo run --release -p foresee-report --example false_claims
//!
//! Both groups have scores from one normal distribution. The probability of improvement depends on the order of the
//! scores alone, so the shares hold for every continuous distribution.

use foresee_core::Stream;
use foresee_report::stats::{Drawn, Scores, improvement};

/// Number of comparisons of each number of seeds.
const TRIALS: u64 = 4_000;
/// Number of bootstrap resamples of a comparison.
const RESAMPLES: usize = 1_000;

#[expect(clippy::print_stdout, reason = "the output of the example")]
fn main() {
    println!("seeds  share of false claims");
    for seeds in [3, 4, 5, 7, 10, 20] {
        let claims = (0..TRIALS).filter(|&trial| {
            let draws = Stream::new(1, "report/false-claims").normals(trial, 2, seeds);
            let (x, y) = draws.split_at(seeds);
            let scores = |draws: &[f32]| Scores::new(&[draws.iter().copied().map(f64::from).collect()]);
            let p = improvement(&scores(x), &scores(y), RESAMPLES, &Drawn::new(trial));
            p.low > 0.5 || p.high < 0.5
        });
        println!("{seeds:>5}  {:.3}", claims.count() as f64 / TRIALS as f64);
    }
}
