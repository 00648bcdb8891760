//! Recorded episodes of Gymnasium. The folder is `FORESEE_ENV_TRACES`, or else `assets/env_traces`, whose README
//! describes the origin of the files.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use flate2::read::GzDecoder;
use serde_json::Value;

/// Reads the header of a task's file and the lines after it.
pub(crate) fn trace(id: &str) -> (Value, Vec<Value>) {
    let folder = std::env::var_os("FORESEE_ENV_TRACES")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/env_traces")), PathBuf::from);
    let path = folder.join(format!("{id}.jsonl.gz"));
    let file = std::fs::File::open(&path)
        .unwrap_or_else(|error| panic!("{}: {error}\nhint: point FORESEE_ENV_TRACES at the traces", path.display()));
    let mut lines = BufReader::new(GzDecoder::new(file))
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.expect("a whole gzip file")).expect("a JSON object a line"));
    let header = lines.next().expect("a header");
    assert_eq!(header["kind"], "header");
    assert_eq!(header["env_id"], id);
    (header, lines.collect())
}

/// Returns the numbers of a list.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|x| x.as_f64().expect("a number")).collect()
}
