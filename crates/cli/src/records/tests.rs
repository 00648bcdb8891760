//! The contents of the record files, and a check that a resumed run writes the same bytes.

use super::*;
use crate::event_file;

const FILES: [&str; 3] = ["metrics.jsonl", "timing.jsonl", "results.csv"];

fn record(env_step: u64) -> Record {
    let mut values = vec![("episode/return", -1204.5 / env_step as f64), ("model/loss", 0.1)];
    if env_step.is_multiple_of(400) {
        values.extend([("eval/mean_reward", -300.25), ("eval/std_reward", 12.0), ("eval/episodes", 20.0)]);
    }
    Record { env_step, values }
}

fn advance(records: &mut Records, steps: impl Iterator<Item = u64>) {
    for step in steps {
        records.write(&record(step)).unwrap();
        records.write_timing(step, step as f64 / 7.0, &[("time/fps", 7.0)]).unwrap();
    }
}

fn contents(directory: &Path) -> [String; 3] {
    FILES.map(|file| fs::read_to_string(directory.join(file)).unwrap())
}

/// Returns the metric values of all event files, one list per file.
fn events(directory: &Path) -> Vec<Vec<(i64, String, f32)>> {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("events"));
    paths.sort();
    let values = |path: &PathBuf| {
        let events = event_file::tests::read(path);
        let values = events.iter().flat_map(|event| {
            let values = event.get_summary().get_value().iter();
            values.map(|value| (event.get_step(), value.get_tag().to_owned(), value.get_simple_value()))
        });
        values.collect()
    };
    paths.iter().map(values).collect()
}

#[test]
fn where_a_step_has_several_frames_they_are_counted_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut records = Records::create(directory.path(), 2).unwrap();
    records.write(&Record { env_step: 200, values: vec![("x", 0.5)] }).unwrap();
    records.write(&Record { env_step: 400, values: vec![("eval/mean_reward", 7.0)] }).unwrap();
    let [metrics, _, results] = contents(directory.path());
    assert_eq!(
        metrics,
        "{\"env_step\":200,\"env/frames\":400.0,\"x\":0.5}\n\
         {\"env_step\":400,\"env/frames\":800.0,\"eval/mean_reward\":7.0}\n"
    );
    assert_eq!(
        results,
        "env_step,episode_reward,episode_reward_std,episode_length,episodes,frames\n\
         400,7.0,,,,800.0\n"
    );
    let tags: Vec<_> = events(directory.path()).concat().into_iter().map(|(step, tag, _)| (step, tag)).collect();
    assert_eq!(tags[..2], [(200, "env/frames".into()), (200, "x".into())]);
}

#[test]
fn the_files_read_as_documented() {
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("runs/a");
    let mut records = Records::create(&run, 1).unwrap();
    let values = vec![("b", -1204.5), ("a", f64::NAN), ("c", f64::INFINITY), ("d", f64::NEG_INFINITY), ("e", 1e-300)];
    records.write(&Record { env_step: 200, values }).unwrap();
    let values = vec![("eval/mean_ep_length", 200.0), ("x", 0.1), ("eval/mean_reward", f64::NAN)];
    records.write(&Record { env_step: 400, values }).unwrap();
    records.write_timing(400, 2.5, &[("time/fps", 160.0)]).unwrap();
    let [metrics, timing, results] = contents(&run);
    assert_eq!(
        metrics,
        "{\"env_step\":200,\"b\":-1204.5,\"a\":\"NaN\",\"c\":\"inf\",\"d\":\"-inf\",\"e\":1e-300}\n\
         {\"env_step\":400,\"eval/mean_ep_length\":200.0,\"x\":0.1,\"eval/mean_reward\":\"NaN\"}\n"
    );
    assert_eq!(timing, "{\"env_step\":400,\"wall_s\":2.5,\"time/fps\":160.0}\n");
    assert_eq!(
        results,
        "env_step,episode_reward,episode_reward_std,episode_length,episodes\n\
         400,NaN,,200.0,\n"
    );
    let events = events(&run).concat();
    let tags: Vec<_> = events.iter().map(|(step, tag, _)| (*step, tag.as_str())).collect();
    let first = [(200, "b"), (200, "a"), (200, "c"), (200, "d"), (200, "e")];
    let second = [(400, metrics::EVAL_LENGTH), (400, "x"), (400, metrics::EVAL_RETURN), (400, "time/fps")];
    assert_eq!(tags, [&first[..], &second[..]].concat());
}

#[test]
fn every_number_reads_back_as_itself() {
    for bits in (0..20_000_u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
        let value = f64::from_bits(bits);
        let line = json_line(1, None, core::iter::once(("x", value)));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        let back = match &json["x"] {
            serde_json::Value::String(text) => text.parse().unwrap(),
            number => number.as_f64().unwrap(),
        };
        assert!(back.to_bits() == bits || (back.is_nan() && value.is_nan()), "{value:?} became {back:?}");
    }
}

#[test]
fn a_run_cut_and_resumed_has_the_files_of_one_that_was_not() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    advance(&mut Records::create(whole.path(), 1).unwrap(), (200..=2000).step_by(200));
    let mut records = Records::create(cut.path(), 1).unwrap();
    advance(&mut records, (200..=800).step_by(200));
    records.sync().unwrap();
    let positions = records.positions();
    let json = serde_json::to_string(&positions).unwrap();
    advance(&mut records, (1000..=1400).step_by(200));
    drop(records);
    // Simulates a process that was killed in the middle of writing its last lines.
    for file in FILES {
        let half = b"{\"env_step\":1600,\"rollo";
        OpenOptions::new().append(true).open(cut.path().join(file)).unwrap().write_all(half).unwrap();
    }
    let mut records = Records::resume(cut.path(), &serde_json::from_str(&json).unwrap(), 800, 1).unwrap();
    assert_eq!(records.positions(), positions);
    advance(&mut records, (1000..=2000).step_by(200));
    assert_eq!(contents(cut.path()), contents(whole.path()));
    let [first, second] = &events(cut.path())[..] else { panic!("expected two event files") };
    assert_eq!(first.last().unwrap().0, 1400);
    let kept = first.iter().filter(|(step, ..)| *step <= 800).chain(second).cloned().collect::<Vec<_>>();
    assert_eq!(kept, events(whole.path()).concat());
}

#[test]
fn a_run_killed_at_once_resumes_from_its_header() {
    let directory = tempfile::tempdir().unwrap();
    let positions = Records::create(directory.path(), 1).unwrap().positions();
    assert_eq!((positions.metrics, positions.timing), (0, 0));
    let before = contents(directory.path());
    drop(Records::resume(directory.path(), &positions, 0, 1).unwrap());
    assert_eq!(contents(directory.path()), before);
}

#[test]
fn files_that_do_not_fit_the_checkpoint_are_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut records = Records::create(directory.path(), 1).unwrap();
    advance(&mut records, (200..=800).step_by(200));
    let positions = records.positions();
    let before = contents(directory.path());
    let results = directory.path().join("results.csv");
    let refusal = |positions| Records::resume(directory.path(), &positions, 800, 1).unwrap_err().to_string();
    assert_eq!(
        refusal(Positions { metrics: 0, results: positions.results + 1, ..positions }),
        format!(
            "cannot resume: `{}` has {} bytes, fewer than the {} it had at the checkpoint\n\
             hint: restore this file from a copy of the run folder, or start a new run",
            results.display(),
            positions.results,
            positions.results + 1,
        )
    );
    let inside = refusal(Positions { metrics: 0, results: positions.results - 1, ..positions });
    assert!(inside.contains("differs from the checkpoint: no line ends at byte"), "{inside}");
    assert_eq!(contents(directory.path()), before);
    fs::remove_file(&results).unwrap();
    assert!(refusal(positions).starts_with(&format!("cannot resume: `{}` is missing", results.display())));
}

#[test]
fn a_folder_with_records_is_not_written_over() {
    let directory = tempfile::tempdir().unwrap();
    advance(&mut Records::create(directory.path(), 1).unwrap(), 200..201);
    let before = contents(directory.path());
    assert!(Records::create(directory.path(), 1).unwrap_err().to_string().starts_with("cannot create `"));
    assert_eq!(contents(directory.path()), before);
}
