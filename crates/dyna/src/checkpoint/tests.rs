use std::fs;

use foresee_core::state::{Array, Data};
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// Returns a state with one big array, which starts with the numbers 0, 1, …, `steps` − 1 and is 0 elsewhere.
fn state(steps: u64) -> State {
    let mut state = State::new();
    state.put("agent.weight", Array::new(vec![2, 3], Data::F32(vec![1.0, -0.0, f32::MIN_POSITIVE, 3.5, 0.1, 1e30])));
    state.put("env.time", 0.1_f64 + steps as f64);
    state.put("counters.steps", steps);
    let mut buffer = vec![0.0_f32; 1_500_000];
    buffer[..steps as usize].iter_mut().enumerate().for_each(|(i, x)| *x = i as f32);
    state.put("replay.obs", Array::new(vec![500_000, 3], Data::F32(buffer)));
    state
}

fn root() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn entries(path: &Path) -> Vec<String> {
    disk::names(path).unwrap()
}

fn segment_count(root: &Path) -> usize {
    entries(&root.join(segments::DIRECTORY)).len()
}

/// Saves two checkpoints, of steps 1 and 2, and returns the path of the second.
fn two_checkpoints(root: &Path) -> PathBuf {
    save(root, 1, &state(1), &json!({"run": "first"}), 2).unwrap();
    save(root, 2, &state(2), &json!({"run": "second"}), 2).unwrap()
}

/// Asserts that the first of [`two_checkpoints`] is loaded, and returns the reason why the second was skipped.
fn falls_back(root: &Path) -> String {
    let loaded = load(root).unwrap();
    assert_eq!((loaded.step, &loaded.extra), (1, &json!({"run": "first"})));
    assert_eq!(loaded.state, state(1));
    let [(path, why)] = &loaded.skipped[..] else { panic!("expected one skipped: {:?}", loaded.skipped) };
    assert!(path.starts_with(root));
    why.clone()
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Returns the path of the segment that only the second checkpoint uses.
fn newest_segment(root: &Path) -> PathBuf {
    let segments = |step: u64| {
        let name = Name { step, revision: 0 }.to_string();
        Manifest::read(&root.join(name)).unwrap().arrays.remove("replay.obs").unwrap().segments
    };
    let (first, second) = (segments(1), segments(2));
    root.join(segments::DIRECTORY).join(second.into_iter().find(|segment| !first.contains(segment)).unwrap())
}

#[test]
fn every_type_and_shape_comes_back_bit_for_bit() {
    let mut state = State::new();
    state.put("f32", Array::new(vec![2, 1, 2], Data::F32(vec![-0.0, f32::INFINITY, 1e-45, 0.1])));
    state.put("f64", vec![f64::MAX, -0.0, 5e-324]);
    state.put("u64", vec![u64::MAX, 0, 1 << 53]);
    state.put("u8", vec![0_u8, 255]);
    state.put("number", 7_u64);
    state.put("flag", 1_u8);
    state.put("empty", Vec::<f64>::new());
    state.put("empty rows", Array::new(vec![0, 17], Data::F32(vec![])));
    state.put("empty columns", Array::new(vec![3, 0], Data::U8(vec![])));
    state.put("big.f64", (0..600_000).map(|i| 1.0 / f64::from(i)).collect::<Vec<_>>());
    state.put("big.u64", (0..600_000_u64).map(|i| i << 40).collect::<Vec<_>>());
    state.put("big.u8", (0..5_000_001_u32).map(|i| (i % 251) as u8).collect::<Vec<_>>());
    let root = root();
    let extra = json!({"positions": {"metrics": 12}, "best": 0.1});
    let path = save(root.path(), 1000, &state, &extra, 1).unwrap();
    assert_eq!(path, root.path().join("step-000000001000"));
    for loaded in [load(root.path()).unwrap(), load_dir(&path).unwrap()] {
        assert_eq!((loaded.step, &loaded.extra, loaded.skipped.len()), (1000, &extra, 0));
        assert_eq!(loaded.state, state);
        let bits = |state: &State| match &state.clone().take("f32").unwrap().data {
            Data::F32(values) => values.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(bits(&loaded.state), bits(&state));
    }
}

#[test]
fn nan_keeps_its_payload() {
    let nan = f32::from_bits(0x7fc0_1234);
    let mut state = State::new();
    state.put("nan", nan);
    let root = root();
    save(root.path(), 0, &state, &Value::Null, 1).unwrap();
    assert_eq!(load(root.path()).unwrap().state.f32("nan").unwrap().to_bits(), nan.to_bits());
}

#[test]
fn equal_states_give_equal_files() {
    let (one, two) = (root(), root());
    let mut reversed: Vec<_> = state(5).iter().map(|(name, array)| (name.to_owned(), array.clone())).collect();
    reversed.reverse();
    let first = save(one.path(), 5, &state(5), &json!({"a": 1, "b": 2}), 1).unwrap();
    let second = save(two.path(), 5, &reversed.into_iter().collect(), &json!({"a": 1, "b": 2}), 1).unwrap();
    for file in [STATE_FILE, manifest::FILE] {
        assert_eq!(fs::read(first.join(file)).unwrap(), fs::read(second.join(file)).unwrap(), "{file}");
    }
}

#[test]
fn an_empty_folder_and_no_folder_have_no_checkpoint() {
    let root = root();
    for path in [root.path().to_owned(), root.path().join("nowhere")] {
        let error = load(&path).unwrap_err();
        let text = format!(
            "there is no checkpoint in `{}`\nhint: copy the run's folder `checkpoints` here, or start a new run",
            path.display()
        );
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_truncated_file_is_skipped() {
    let root = root();
    let file = two_checkpoints(root.path()).join(STATE_FILE);
    let length = fs::metadata(&file).unwrap().len();
    fs::File::options().write(true).open(file).unwrap().set_len(length - 1).unwrap();
    assert_eq!(falls_back(root.path()), format!("state.safetensors has {} bytes, expected {length}", length - 1));
}

#[test]
fn a_flipped_byte_is_skipped() {
    let root = root();
    flip(&two_checkpoints(root.path()).join(STATE_FILE));
    assert_eq!(falls_back(root.path()), "state.safetensors is damaged: its hash differs from the manifest's");
}

#[test]
fn a_missing_file_is_skipped() {
    let root = root();
    fs::remove_file(two_checkpoints(root.path()).join(STATE_FILE)).unwrap();
    let why = falls_back(root.path());
    assert!(why.starts_with("cannot read `") && why.contains("state.safetensors"), "{why}");
}

#[test]
fn a_missing_segment_is_skipped() {
    let root = root();
    two_checkpoints(root.path());
    let segment = newest_segment(root.path());
    fs::remove_file(&segment).unwrap();
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert_eq!(falls_back(root.path()), format!("`replay.obs`: the file `segments/{name}` is missing"));
}

#[test]
fn a_damaged_segment_is_skipped_and_the_next_save_mends_it() {
    let root = root();
    two_checkpoints(root.path());
    let segment = newest_segment(root.path());
    flip(&segment);
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert_eq!(
        falls_back(root.path()),
        format!("`replay.obs`: the file `segments/{name}` is damaged: its hash differs from its name")
    );
    save(root.path(), 2, &state(2), &Value::Null, 2).unwrap();
    assert_eq!(load(root.path()).unwrap().state, state(2));
}

#[test]
fn a_missing_manifest_is_skipped() {
    let root = root();
    fs::remove_file(two_checkpoints(root.path()).join(manifest::FILE)).unwrap();
    assert_eq!(falls_back(root.path()), "it has no manifest.json");
}

#[test]
fn a_garbage_manifest_is_skipped() {
    for (garbage, expected) in [
        (&b""[..], "manifest.json does not have the form of a checkpoint's manifest"),
        (&b"{}\n"[..], "manifest.json does not have the form of a checkpoint's manifest"),
        (&[0xff, 0, 7][..], "manifest.json does not have the form of a checkpoint's manifest"),
    ] {
        let root = root();
        fs::write(two_checkpoints(root.path()).join(manifest::FILE), garbage).unwrap();
        assert_eq!(falls_back(root.path()), expected);
    }
    let root = root();
    flip(&two_checkpoints(root.path()).join(manifest::FILE));
    assert_eq!(falls_back(root.path()), "manifest.json is damaged: its contents do not have the hash that it stores");
}

#[test]
fn an_unfinished_save_is_skipped_and_the_next_save_removes_it() {
    let root = root();
    let second = two_checkpoints(root.path());
    fs::rename(second, root.path().join(".tmp-step-000000000002")).unwrap();
    assert_eq!(falls_back(root.path()), "an unfinished save; the next save removes it");
    save(root.path(), 3, &state(3), &Value::Null, 2).unwrap();
    assert_eq!(entries(root.path()), ["segments", "step-000000000001", "step-000000000003"]);
    assert!(load(root.path()).unwrap().skipped.is_empty());
}

#[test]
fn damage_everywhere_is_an_error_that_lists_it() {
    let root = root();
    let second = two_checkpoints(root.path());
    let first = root.path().join("step-000000000001");
    fs::remove_file(first.join(manifest::FILE)).unwrap();
    flip(&second.join(STATE_FILE));
    let text = format!(
        "every checkpoint in `{}` is damaged:\n  `{}`: state.safetensors is damaged: its hash differs from the manifest's\n  `{}`: it has no \
         manifest.json\nhint: restore the folder from a copy, or start a new run",
        root.path().display(),
        second.display(),
        first.display(),
    );
    assert_eq!(load(root.path()).unwrap_err().to_string(), text);
    assert!(load_dir(&first).unwrap_err().to_string().ends_with("it has no manifest.json\nhint: `checkpoint::load` on the folder above loads the newest checkpoint that is intact"));
}

#[test]
fn a_growing_buffer_costs_its_new_pieces_and_old_pieces_go_with_their_checkpoint() {
    let root = root();
    let buffer = |rows: usize| {
        let mut state = State::new();
        state.put("replay", (0..rows).map(|i| i as f32).collect::<Vec<_>>());
        state
    };
    let mebi = 1 << 18;
    save(root.path(), 1, &buffer(4 * mebi), &Value::Null, 2).unwrap();
    assert_eq!(segment_count(root.path()), 4);
    save(root.path(), 2, &buffer(5 * mebi + 1), &Value::Null, 2).unwrap();
    assert_eq!(segment_count(root.path()), 6);
    save(root.path(), 3, &buffer(6 * mebi), &Value::Null, 2).unwrap();
    assert_eq!(segment_count(root.path()), 7);
    assert_eq!(load_dir(&root.path().join("step-000000000002")).unwrap().state, buffer(5 * mebi + 1));
    // The partly filled segment belonged to step 2 alone.
    save(root.path(), 4, &buffer(6 * mebi), &Value::Null, 2).unwrap();
    assert_eq!(segment_count(root.path()), 6);
    assert_eq!(entries(root.path()), ["segments", "step-000000000003", "step-000000000004"]);
    // An array below [`BIG`] has no segments.
    save(root.path(), 5, &buffer(4 * mebi - 1), &Value::Null, 1).unwrap();
    assert_eq!(segment_count(root.path()), 0);
    assert_eq!(load(root.path()).unwrap().state, buffer(4 * mebi - 1));
}

#[test]
fn a_failed_save_leaves_the_previous_checkpoint_in_place() {
    let root = root();
    let mut small = State::new();
    small.put("x", 1_u64);
    save(root.path(), 1, &small, &Value::Null, 1).unwrap();
    fs::write(root.path().join(segments::DIRECTORY), "in the way").unwrap();
    let error = save(root.path(), 2, &state(2), &Value::Null, 1).unwrap_err();
    assert!(error.to_string().starts_with("cannot create `"), "{error}");
    assert_eq!(entries(root.path()), ["segments", "step-000000000001"]);
    assert_eq!(load(root.path()).unwrap().state, small);
}

#[test]
fn a_step_saved_again_gets_a_new_name_and_replaces_the_first() {
    let root = root();
    let mut paths = Vec::new();
    for revision in 0..3 {
        paths.push(save(root.path(), 7, &state(7), &json!(revision), 2).unwrap());
        assert_eq!(load(root.path()).unwrap().extra, json!(revision));
    }
    let names: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["step-000000000007", "step-000000000007-1", "step-000000000007-2"]);
    assert_eq!(entries(root.path()), ["segments", "step-000000000007-2"]);
}

#[test]
fn a_run_set_back_keeps_what_it_saves() {
    let root = root();
    flip(&two_checkpoints(root.path()).join(STATE_FILE));
    save(root.path(), 1, &state(1), &json!("again"), 1).unwrap();
    assert_eq!(entries(root.path()), ["segments", "step-000000000001-1", "step-000000000002"]);
    assert_eq!(load(root.path()).unwrap().extra, json!("again"));
    save(root.path(), 2, &state(2), &json!("mended"), 1).unwrap();
    assert_eq!(entries(root.path()), ["segments", "step-000000000002-1"]);
}
