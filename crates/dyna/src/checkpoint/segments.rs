//! Big arrays in segments of fixed size, each stored once under the hash of its bytes. A buffer that only grows keeps
//! its earlier segments. A checkpoint of it therefore writes only new segments and the last, partly filled one.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use foresee_core::state::Data;

use super::{CheckpointError, disk, encoding, names};

/// Name of the directory of segments in the checkpoint root.
pub(super) const DIRECTORY: &str = "segments";

/// Number of bytes per segment. It is small enough that a partly filled last segment is cheap, and large enough that a
/// gigabyte is a thousand files.
const PIECE: usize = 1 << 20;

/// Stores the segments of an array and returns their hashes in order.
///
/// An existing segment is compared byte by byte. Otherwise one damaged segment would make every later checkpoint
/// unusable.
pub(super) fn write(root: &Path, data: &Data) -> Result<Vec<String>, CheckpointError> {
    let directory = root.join(DIRECTORY);
    disk::create_dir(&directory)?;
    let mut hashes = Vec::new();
    encoding::pieces(data, PIECE, |piece| {
        let hash = blake3::hash(piece).to_string();
        let path = directory.join(&hash);
        if !disk::read(&path).is_ok_and(|stored| stored == piece) {
            let temporary = directory.join(format!("{}{hash}", names::TEMPORARY));
            disk::write(&temporary, piece)?;
            disk::rename(&temporary, &path)?;
        }
        hashes.push(hash);
        Ok(())
    })?;
    disk::sync_dir(&directory)?;
    Ok(hashes)
}

/// Returns the bytes of the given segments. The error describes what is wrong with one of them.
pub(super) fn read(root: &Path, hashes: &[String]) -> Result<Vec<u8>, String> {
    let mut all = Vec::with_capacity(hashes.len() * PIECE);
    for hash in hashes {
        // A name that is not a hash could be a path outside the directory.
        blake3::Hash::from_hex(hash).map_err(|_| format!("segment `{hash}` is not a hash"))?;
        let path = root.join(DIRECTORY).join(hash);
        let start = all.len();
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut all)) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(format!("the file `{DIRECTORY}/{hash}` is missing"));
            }
            Err(e) => return Err(super::without_hint(&disk::at("read", &path)(e))),
            Ok(_) => {}
        }
        if *blake3::hash(&all[start..]).to_hex() != **hash {
            return Err(format!("the file `{DIRECTORY}/{hash}` is damaged: its hash differs from its name"));
        }
    }
    Ok(all)
}

/// Removes all segments except the used ones.
pub(super) fn retain(root: &Path, used: &BTreeSet<String>) -> Result<(), CheckpointError> {
    let directory = root.join(DIRECTORY);
    for name in disk::names(&directory)? {
        if !used.contains(&name) {
            disk::remove_file(&directory.join(name))?;
        }
    }
    Ok(())
}
