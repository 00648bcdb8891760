//! The manifest of a checkpoint: its parts, with a length and a hash of each, and a hash of the manifest itself.
//!
//! The file is `{"blake3": "<hash of the body's text>", "manifest": <body>}` on four lines. Any JSON reader can read
//! it. The hash is over the bytes of the body in the file, not over a second rendering of it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use foresee_core::state::Array;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CheckpointError, disk, encoding};

/// The manifest's file name.
pub(super) const FILE: &str = "manifest.json";

/// Version of the format. Raised with every change that an older program would misread.
const FORMAT: u32 = 1;

const START: &str = "{\n\"blake3\": \"";
const MIDDLE: &str = "\",\n\"manifest\": ";
const END: &str = "\n}\n";

/// The body of `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The [`FORMAT`] of the program that wrote the manifest.
    format: u32,
    /// The step under which the checkpoint was saved.
    pub step: u64,
    /// Lengths and hashes of the files beside the manifest.
    pub files: BTreeMap<String, FileEntry>,
    /// The arrays that are stored as segments.
    pub arrays: BTreeMap<String, BigArray>,
    /// Data of the caller.
    pub extra: Value,
}

/// The expected length and hash of a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FileEntry {
    bytes: u64,
    blake3: String,
}

/// The type, the shape and the segments of a big array.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BigArray {
    /// The type's name, as in safetensors.
    pub kind: String,
    /// The array's shape.
    pub shape: Vec<usize>,
    /// Hashes of the array's segments in order. Their lengths follow from type and shape.
    pub segments: Vec<String>,
}

impl FileEntry {
    /// Returns the entry of a file with these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, blake3: blake3::hash(bytes).to_string() }
    }

    /// Checks the bytes of a file. The error continues a sentence that starts with the file's name.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() as u64 != self.bytes {
            return Err(format!("has {} bytes, expected {}", bytes.len(), self.bytes));
        }
        if *blake3::hash(bytes).to_hex() != *self.blake3 {
            return Err("is damaged: its hash differs from the manifest's".into());
        }
        Ok(())
    }
}

impl BigArray {
    /// Returns the entry of an array stored in these segments.
    pub(super) fn new(array: &Array, segments: Vec<String>) -> Self {
        Self { kind: encoding::kind(&array.data).to_string(), shape: array.shape.clone(), segments }
    }
}

impl Manifest {
    /// Returns a manifest without files and arrays.
    pub(super) fn new(step: u64, extra: Value) -> Self {
        Self { format: FORMAT, step, files: BTreeMap::new(), arrays: BTreeMap::new(), extra }
    }

    /// Returns the text of `manifest.json`.
    pub(super) fn to_text(&self) -> String {
        let body = serde_json::to_string_pretty(self).expect("string keys and finite numbers");
        format!("{START}{}{MIDDLE}{body}{END}", blake3::hash(body.as_bytes()))
    }

    /// Reads the manifest of a checkpoint. If it is missing, damaged or foreign, the checkpoint counts as damaged. Any
    /// other I/O error may be temporary, and is returned as such.
    pub(super) fn read(directory: &Path) -> Result<Self, CheckpointError> {
        let damaged = |why: String| CheckpointError::Damaged { path: directory.to_owned(), why };
        let bytes = match disk::read(&directory.join(FILE)) {
            Err(CheckpointError::Io { source, .. })
                if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Err(damaged(format!("it has no {FILE}")));
            }
            other => other?,
        };
        Self::parse(&bytes).map_err(|why| damaged(format!("{FILE} {why}")))
    }

    /// Parses a manifest. The error continues a sentence that starts with the file's name.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (hash, body) = core::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.strip_prefix(START)?.strip_suffix(END)?.split_once(MIDDLE))
            .ok_or("does not have the form of a checkpoint's manifest")?;
        if *blake3::hash(body.as_bytes()).to_hex() != *hash {
            return Err("is damaged: its contents do not have the hash that it stores".into());
        }
        let value: Value = serde_json::from_str(body).map_err(|e| format!("is not valid: {e}"))?;
        match value.get("format").and_then(Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => return Err(format!("has format {format}, but this version reads format {FORMAT}")),
            None => return Err("has no key `format`".into()),
        }
        serde_json::from_value(value).map_err(|e| format!("is not valid: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_plain_json_that_reads_back() {
        let text = Manifest::new(7, serde_json::json!({"config": "a.toml", "best": 0.1})).to_text();
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["manifest"]["step"], 7);
        let back = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!((back.step, back.extra["best"].as_f64()), (7, Some(0.1)));
    }

    #[test]
    fn every_flipped_bit_of_a_manifest_is_noticed() {
        let text = Manifest::new(7, Value::Null).to_text().into_bytes();
        for position in 0..text.len() {
            for bit in 0..8 {
                let mut damaged = text.clone();
                damaged[position] ^= 1 << bit;
                assert!(Manifest::parse(&damaged).is_err(), "bit {bit} of byte {position}");
            }
        }
    }

    #[test]
    fn another_format_is_named() {
        let body = "{\"format\":2,\"later\":true}";
        let text = format!("{START}{}{MIDDLE}{body}{END}", blake3::hash(body.as_bytes()));
        assert_eq!(Manifest::parse(text.as_bytes()).unwrap_err(), "has format 2, but this version reads format 1");
    }
}
