//! The effect of row weights on a loss and its gradient, for every loss and in both forms.

use super::*;

/// Takes one step on replay rows `[E, B]`. Returns the loss and the gradients of networks and bounds, without the terms
/// that pull the bounds together. (After the first step Adam's first moment is 0.1 g.)
fn one_step(config: &ModelConfig, weights: Option<&[f32]>, replay: &[u32], tensors: bool) -> (f64, Vec<f32>) {
    let rows = rows(80, 4);
    let mut trainer = trainer(config, tensors);
    let fit = trainer.begin(given(&rows, weights), &Sines, 0, 0);
    let width = trainer.ensemble.bounds.as_ref().map_or(0.0, |bounds| tensors::to_f32(bounds.width()));
    let loss = step(&mut trainer, &fit, replay);
    let mut gradients = first_gradients(trainer.net_adam.save(&trainer.ensemble.net), 0.0);
    if let (Some(adam), Some(bounds)) = (&trainer.bounds_adam, &trainer.ensemble.bounds) {
        gradients.extend(first_gradients(adam.save(bounds), loss::BOUNDS_WEIGHT as f32));
    }
    (loss - loss::BOUNDS_WEIGHT * f64::from(width), gradients)
}

fn first_gradients(mut adam: State, pull: f32) -> Vec<f32> {
    let names: Vec<String> = adam.iter().map(|(name, _)| name.to_owned()).collect();
    let mut gradients = Vec::new();
    for name in names.iter().filter(|name| name.ends_with("moment_1")) {
        let pull = if name.starts_with("min_") { -pull } else { pull };
        gradients.extend(adam.f32s(name).expect("a moment").1.iter().map(|moment| moment / 0.1 - pull));
    }
    gradients
}

fn given<'a>(rows: &'a Batch, weights: Option<&'a [f32]>) -> TrainingRows<'a> {
    weights.map_or(TrainingRows::from(rows), |weights| TrainingRows::weighted(rows, weights))
}

/// Returns weights of 1 for 80 rows, except for the rows in `others`.
fn weights(others: &[(u32, f32)]) -> Vec<f32> {
    let mut weights = vec![1.0; 80];
    others.iter().for_each(|&(row, weight)| weights[row as usize] = weight);
    weights
}

fn for_every_case(test: impl Fn(&str, &ModelConfig, bool)) {
    for (loss, head) in cases() {
        for tensors in [false, true] {
            let form = if tensors { "tensors" } else { "host" };
            test(&format!("{loss:?}, {head:?}, {form}"), &config(&loss, head, 64), tensors);
        }
    }
}

/// Compares the weighted rows with other rows without weights, the same rows for all members. Means over rows are
/// converted to sums.
fn assert_same_sums(weights: &[f32], weighted: &[u32], plain: &[u32]) {
    for_every_case(|what, config, tensors| {
        let sums = |weights: Option<&[f32]>, rows: &[u32]| {
            let (loss, gradients) = one_step(config, weights, &rows.repeat(3), tensors);
            let gradients: Vec<f32> = gradients.iter().map(|g| g * rows.len() as f32).collect();
            (loss * rows.len() as f64, gradients)
        };
        let (got, want) = (sums(Some(weights), weighted), sums(None, plain));
        assert!((got.0 - want.0).abs() <= 1e-5 * (1.0 + want.0.abs()), "{what}: loss {}, expected {}", got.0, want.0);
        assert!(want.1.iter().any(|g| g.abs() > 1e-3), "{what}: no gradient");
        assert_close(what, &got.1, &want.1, 2e-5);
    });
}

#[test]
fn a_weight_of_two_is_the_row_twice() {
    assert_same_sums(&weights(&[(7, 2.0)]), &[3, 7, 11], &[3, 7, 11, 7]);
}

#[test]
fn a_weight_of_zero_is_the_row_gone() {
    assert_same_sums(&weights(&[(7, 0.0)]), &[3, 7, 11], &[3, 11]);
}

#[test]
fn weights_of_one_change_no_bit() {
    for_every_case(|what, config, tensors| {
        let replay = (10..60).collect::<Vec<_>>().repeat(3);
        let step = |weights: Option<&[f32]>| one_step(config, weights, &replay, tensors);
        assert_eq!(step(Some(&weights(&[]))), step(None), "{what}");
    });
}

#[test]
fn the_holdout_score_counts_rows_by_their_weights_and_the_squared_error_beside_it_does_not() {
    for_every_case(|what, config, tensors| {
        let rows = rows(80, 4);
        let scores = |weights: Option<&[f32]>, holdout: Option<u32>| {
            let mut trainer = trainer(config, tensors);
            let mut fit = trainer.begin(given(&rows, weights), &Sines, 0, 0);
            if let Some(row) = holdout {
                fit.data.split.holdout = vec![row];
                if let FitRows::Tensors(data) = &mut fit.data.store {
                    data.hold_out(&[row]);
                }
            }
            let scores = trainer.holdout_scores(&fit.data, &Sines);
            (scores, trainer.channel_errors(&fit.data), fit.data.split.holdout)
        };
        let (plain, mse, holdout) = scores(None, None);
        let (row, n) = (holdout[2], holdout.len() as f64);
        let (heavier, mse_again, _) = scores(Some(&weights(&[(row, 3.5)])), None);
        let (alone, ..) = scores(None, Some(row));
        assert_eq!(mse_again, mse, "{what}");
        for ((got, plain), alone) in heavier.iter().zip(&plain).zip(alone) {
            let want = plain + 2.5 * alone / n;
            assert!((got - want).abs() <= 1e-5 * (1.0 + want), "{what}: {got}, expected {want}");
            assert!((got - plain).abs() > 1e-3 * want, "{what}: the weight counts");
        }
        assert_eq!(scores(Some(&weights(&[])), None).0, plain, "{what}: weights of one");
    });
}

#[test]
#[should_panic(expected = "a row's weight is NaN")]
fn a_weight_that_is_no_number_is_refused() {
    let _ = TrainingRows::weighted(&rows(80, 4), &weights(&[(5, f32::NAN)]));
}
