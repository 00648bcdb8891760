use super::*;

const DIMS: [usize; 2] = [2, 1];

/// Whether a step of the toy world ends its episode: where the first entry grows by more than the action allows while
/// the second one is large.
fn ends(obs: &[f32], action: &[f32], next: &[f32]) -> bool {
    next[0] - obs[0] > 0.3 * (1.0 + action[0]) && obs[1] > 0.5
}

/// Steps of the toy world, of which about one in twenty ends its episode.
fn world(rows: usize, seed: u64) -> Batch {
    let normals = |name: &str| Stream::new(seed, name).normals(0, rows, 2);
    let (starts, changes) = (normals("toy/obs"), normals("toy/change"));
    let actions = Stream::new(seed, "toy/action").uniforms(0, rows, 1);
    let mut batch = Batch::with_capacity(rows, 2, 1);
    for ((obs, change), action) in starts.chunks_exact(2).zip(changes.chunks_exact(2)).zip(actions) {
        let next: Vec<f32> = obs.iter().zip(change).map(|(x, change)| x + 0.3 * change).collect();
        batch.push(obs, &[action], 0.0, &next, ends(obs, &[action], &next));
    }
    batch
}

fn untrained() -> LearnedEnds {
    LearnedEnds::new(DIMS, 0.2, 3, &Device::flex())
}

/// Makes a whole training call, and returns its errors.
fn train(classifier: &mut LearnedEnds, rows: &Batch, call: u64) -> Vec<(&'static str, f64)> {
    classifier.begin(rows);
    loop {
        assert!(classifier.is_training());
        if let Some(errors) = classifier.advance(rows, call) {
            assert!(!classifier.is_training());
            return errors;
        }
    }
}

/// Parts of row `row`: (o, a, o').
fn parts(rows: &Batch, row: usize) -> [&[f32]; 3] {
    [&rows.obs[2 * row..][..2], &rows.action[row..][..1], &rows.next_obs[2 * row..][..2]]
}

/// The log-odds of every row in f64.
fn logits(classifier: &LearnedEnds, rows: &Batch) -> Vec<f64> {
    let host = classifier.on_host();
    let of_row = |row| {
        let [obs, action, next] = parts(rows, row);
        host.logit(obs, action, next)
    };
    (0..rows.rows).map(of_row).collect()
}

fn flags(rows: &Batch) -> Vec<bool> {
    rows.not_terminated.iter().map(|&x| x == 0.0).collect()
}

#[test]
fn a_rule_of_state_action_and_next_state_is_learned() {
    let rows = world(6000, 0);
    let share = flags(&rows).iter().filter(|&&ended| ended).count() as f64 / 6000.0;
    assert!((0.03..0.08).contains(&share), "{share} of the steps end");
    let mut classifier = untrained();
    let errors = train(&mut classifier, &rows, 0);
    let of = |name| errors.iter().find(|error| error.0 == name).expect(name).1;
    assert!(of(metrics::ENDS_LOG_LOSS) < 0.35, "{errors:?}");
    assert!(of(metrics::ENDS_MISSED) < 0.25 && of(metrics::ENDS_INVENTED) < 0.35, "{errors:?}");

    // Rows that training never had.
    let fresh = world(4000, 1);
    let (found, real) = (logits(&classifier, &fresh), flags(&fresh));
    let wrong = found.iter().zip(&real).filter(|(z, real)| (**z > 0.0) != **real).count() as f64 / 4000.0;
    assert!(wrong < 0.025, "{wrong} of the fresh steps are misjudged, and {share} end");
}

#[test]
fn the_errors_are_those_of_the_held_out_rows() {
    let rows = world(1500, 5);
    let mut classifier = untrained();
    let errors = train(&mut classifier, &rows, 2);
    let held_out = classifier.split(&rows).held_out;
    assert!((200..400).contains(&held_out.len()), "{} of 1500 rows", held_out.len());
    let (z, real) = (logits(&classifier, &rows), flags(&rows));
    let of =
        |ended: bool| -> Vec<f64> { held_out.iter().filter(|&&row| real[row] == ended).map(|&row| z[row]).collect() };
    let [others, ends] = [of(false), of(true)];
    let mean = |losses: Vec<f64>| losses.iter().sum::<f64>() / losses.len() as f64;
    let loss = |z: &[f64], sign: f64| mean(z.iter().map(|z| (1.0 + (sign * z).exp()).ln()).collect());
    let missed = ends.iter().filter(|z| **z <= 0.0).count() as f64;
    let invented = others.iter().filter(|z| **z > 0.0).count() as f64;
    let want = [
        (metrics::ENDS_LOG_LOSS, 0.5 * (loss(&others, 1.0) + loss(&ends, -1.0))),
        (metrics::ENDS_MISSED, missed / ends.len() as f64),
        (metrics::ENDS_INVENTED, invented / (invented + ends.len() as f64 - missed)),
    ];
    assert_eq!(errors.len(), 3);
    for ((name, found), (expected, value)) in errors.into_iter().zip(want) {
        assert!(name == expected && (found - value).abs() < 1e-4, "{name} {found}, expected {expected} {value}");
    }
}

#[test]
fn held_out_rows_stay_held_out_as_rows_are_added() {
    let classifier = untrained();
    let [few, many] = [300, 900].map(|rows| classifier.split(&world(rows, 0)));
    assert!(many.held_out.starts_with(&few.held_out) && many.held_out.len() > few.held_out.len());
    let mut all = [many.ends, many.others, many.held_out].concat();
    all.sort_unstable();
    assert_eq!(all, (0..900).collect::<Vec<_>>());
}

#[test]
fn nothing_ends_before_an_end_was_trained_on() {
    let mut rows = world(200, 0);
    rows.not_terminated.fill(1.0);
    let mut classifier = untrained();
    classifier.begin(&rows);
    assert!(!classifier.is_training());
    assert!(logits(&classifier, &rows).iter().all(|&z| z == f64::NEG_INFINITY));
    let columns = |values: &[f32], width: usize| tensors::from_vec(values.to_vec(), [200, width], &Device::flex());
    let continues =
        classifier.not_terminated(columns(&rows.obs, 2), columns(&rows.action, 1), columns(&rows.next_obs, 2));
    assert_eq!(tensors::to_vec(continues), [1.0; 200]);

    // The only end is a row that is held out.
    let held_out = classifier.split(&rows).held_out[0];
    rows.not_terminated[held_out] = 0.0;
    classifier.begin(&rows);
    assert!(!classifier.is_training());
}

#[test]
fn where_every_step_ends_every_step_is_found_to_end() {
    let mut rows = world(100, 0);
    rows.not_terminated.fill(0.0);
    let mut classifier = untrained();
    train(&mut classifier, &rows, 0);
    assert!(logits(&classifier, &rows).iter().all(|&z| z > 0.0));
}

#[test]
fn tensors_and_panels_decide_as_the_network_in_f64() {
    let mut classifier = untrained();
    train(&mut classifier, &world(1000, 0), 0);
    let rows = world(320, 9);
    let z = logits(&classifier, &rows);
    let columns = |values: &[f32], width: usize| tensors::from_vec(values.to_vec(), [320, width], &Device::flex());
    let in_tensors =
        classifier.not_terminated(columns(&rows.obs, 2), columns(&rows.action, 1), columns(&rows.next_obs, 2));
    let in_tensors = tensors::to_vec(in_tensors);
    let (host, mut buffers) = (classifier.on_host(), PanelBuffers::default());
    let ended = z.iter().filter(|&&z| z > 0.0).count();
    assert!((5..100).contains(&ended), "{ended} of 320");
    for panel in 0..10 {
        let from = panel * PANEL_ROWS;
        let pack = |all: &[f32], width: usize| {
            let mut panel = vec![0.0; width * PANEL_ROWS];
            cpu::panels::pack(&all[from * width..][..PANEL_ROWS * width], width, &mut panel);
            panel
        };
        let [obs, action, next] = [pack(&rows.obs, 2), pack(&rows.action, 1), pack(&rows.next_obs, 2)];
        let on_panel = host.not_terminated_on_panel([&obs, &action, &next], &mut buffers);
        for (j, continues) in on_panel.into_iter().enumerate() {
            let row = from + j;
            if z[row].abs() > 1e-3 {
                let want = if z[row] > 0.0 { 0.0 } else { 1.0 };
                assert_eq!([continues, in_tensors[row]], [want; 2], "row {row}, log-odds {}", z[row]);
            }
        }
    }
}

#[test]
fn a_training_that_is_saved_and_loaded_goes_on_bit_for_bit() {
    let rows = world(800, 2);
    let mut whole = untrained();
    let errors = train(&mut whole, &rows, 0);
    let mut cut = untrained();
    cut.begin(&rows);
    let found = loop {
        let mut next = LearnedEnds::new(DIMS, 0.2, 3, &Device::flex());
        next.load(cut.save()).expect("its own state");
        cut = next;
        if let Some(errors) = cut.advance(&rows, 0) {
            break errors;
        }
    };
    assert_eq!(found, errors);
    assert!(cut.save().iter().eq(whole.save().iter()));

    // The second call is shorter, and goes on from the first.
    whole.begin(&rows);
    assert_eq!((whole.left, cut.left), (STEPS, 0));
    let mut other = LearnedEnds::new([3, 1], 0.2, 3, &Device::flex());
    assert!(other.load(cut.save()).is_err(), "a state of other sizes");
}

#[test]
fn the_cross_entropy_is_its_closed_form_and_finite_far_out() {
    let tensor = |values: [f32; 5]| tensors::from_vec::<3>(values.to_vec(), [1, 5, 1], &Device::flex());
    let found =
        tensors::to_vec(cross_entropy(tensor([0.0, 2.0, 2.0, 200.0, -200.0]), tensor([1.0, 1.0, 0.0, 0.0, 0.0])));
    let want = [std::f32::consts::LN_2, (-2.0_f32).exp().ln_1p(), 2.0_f32.exp().ln_1p(), 200.0, 0.0];
    for (found, want) in found.iter().zip(want) {
        assert!((found - want).abs() < 1e-5, "{found}, expected {want}");
    }
}
