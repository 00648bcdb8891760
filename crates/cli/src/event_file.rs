//! TensorBoard event files.
//!
//! The events are the types of `tensorboard-proto`, which `tensorboard-rs` also uses. The file is written here and not
//! by `tensorboard-rs`, because its writer opens files without `create_new`, so two writers in one second truncate each
//! other's file. It also flushes in another thread and panics on a full disk. A record is
//!
//! `length: u64 | masked CRC32C of the length: u32 | payload | masked CRC32C of the payload: u32`, little-endian,
//!
//! where `mask(c) = rotate_right(c, 15) + 0xa282ead8`. Every call passes its record on to the operating system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use protobuf::Message;
use protobuf::RepeatedField;
use tensorboard_proto::event::{Event, SessionLog_SessionStatus};
use tensorboard_proto::summary::{Summary, Summary_Value};
use tensorboard_proto::types::DataType;
use tensorboard_rs::summary::scalar;

const PREFIX: &str = "events.out.tfevents.";

/// An event file that is open for appending.
#[derive(Debug)]
pub(crate) struct EventFile {
    file: File,
    path: PathBuf,
    wall_time: f64,
}

impl EventFile {
    /// Opens a new file `events.out.tfevents.<unix seconds>.<host>.<pid>.<n>` in an existing directory.
    ///
    /// `wall_time` is in seconds since 1970. TensorBoard reads the files of a directory in the order of their names, so
    /// the seconds in the name are raised above those of the existing files. The first file of a directory also gets a
    /// session start, because TensorBoard treats only the second session start as a restart.
    ///
    /// # Errors
    /// If the file cannot be created or written.
    pub(crate) fn create(directory: &Path, wall_time: f64) -> io::Result<Self> {
        let latest = latest(directory)?;
        let seconds = latest.map_or(0, |latest| latest.saturating_add(1)).max(wall_time as u64);
        let (host, pid) = (host(), std::process::id());
        for n in 0_u32.. {
            let path = directory.join(format!("{PREFIX}{seconds:010}.{host}.{pid}.{n}"));
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => {
                    let mut events = Self { file, path, wall_time };
                    let mut version = Event::new();
                    version.set_wall_time(wall_time);
                    version.set_file_version("brain.Event:2".to_owned());
                    events.append(&version)?;
                    if latest.is_none() {
                        events.session_start(0)?;
                    }
                    return Ok(events);
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Returns the file's path.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes that the run continues after `step`. Readers then drop the later steps of earlier files.
    ///
    /// TensorBoard drops steps that are not less than the event's step. The event therefore has the step `step + 1`.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub(crate) fn restarted(&mut self, step: u64) -> io::Result<()> {
        self.session_start(step.saturating_add(1))
    }

    /// Writes one event with several scalars. TensorBoard stores them as `f32`.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub(crate) fn scalars(&mut self, step: u64, wall_time: f64, values: &[(&str, f64)]) -> io::Result<()> {
        self.wall_time = wall_time;
        let values = values.iter().flat_map(|&(tag, value)| scalar(tag, value as f32).take_value()).collect();
        self.summary(step, values)
    }

    /// Writes a text, which TensorBoard renders as Markdown under `tag`.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub(crate) fn text(&mut self, step: u64, tag: &str, text: &str) -> io::Result<()> {
        let mut value = Summary_Value::new();
        value.set_tag(tag.to_owned());
        value.mut_metadata().mut_plugin_data().set_plugin_name("text".to_owned());
        let tensor = value.mut_tensor();
        tensor.set_dtype(DataType::DT_STRING);
        tensor.mut_tensor_shape();
        tensor.set_string_val(RepeatedField::from_vec(vec![text.as_bytes().to_vec()]));
        self.summary(step, vec![value])
    }

    /// Flushes everything that was written to the disk, as `fsync` does.
    ///
    /// # Errors
    /// If the disk reports an error.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn session_start(&mut self, step: u64) -> io::Result<()> {
        let mut event = self.event(step);
        event.mut_session_log().set_status(SessionLog_SessionStatus::START);
        self.append(&event)
    }

    fn summary(&mut self, step: u64, values: Vec<Summary_Value>) -> io::Result<()> {
        let mut summary = Summary::new();
        summary.set_value(RepeatedField::from_vec(values));
        let mut event = self.event(step);
        event.set_summary(summary);
        self.append(&event)
    }

    /// Returns an event at the latest known time.
    fn event(&self, step: u64) -> Event {
        let mut event = Event::new();
        event.set_wall_time(self.wall_time);
        event.set_step(i64::try_from(step).unwrap_or(i64::MAX));
        event
    }

    fn append(&mut self, event: &Event) -> io::Result<()> {
        let payload = event.write_to_bytes().map_err(io::Error::other)?;
        self.file.write_all(&record(&payload))
    }
}

/// Returns a payload with its frame.
fn record(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(payload.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked_crc(&length).to_le_bytes());
    record.extend_from_slice(payload);
    record.extend_from_slice(&masked_crc(payload).to_le_bytes());
    record
}

/// Computes the checksum, masked so that a file of records can itself be a payload.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Returns the largest seconds in the names of a directory's event files.
fn latest(directory: &Path) -> io::Result<Option<u64>> {
    let mut latest = None;
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let seconds = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok());
        latest = latest.max(seconds);
    }
    Ok(latest)
}

/// Returns this machine's name, without characters that do not fit between dots in a file name.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .unwrap_or_default();
    let kept: String = name.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    if kept.is_empty() { "localhost".into() } else { kept }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Reads the events of a file. Panics if a checksum does not match.
    pub(crate) fn read(path: &Path) -> Vec<Event> {
        fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
            let (head, rest) = bytes.split_at(count);
            *bytes = rest;
            head
        }
        fn check(bytes: &[u8], stored: &[u8]) {
            let stored = u32::from_le_bytes(stored.try_into().unwrap());
            // Compares with a second implementation of the checksum.
            assert_eq!(stored, tensorboard_rs::masked_crc32c::masked_crc32c(bytes));
        }
        let bytes = fs::read(path).unwrap();
        let mut rest = &bytes[..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let length = take(&mut rest, 8);
            check(length, take(&mut rest, 4));
            let payload = take(&mut rest, u64::from_le_bytes(length.try_into().unwrap()) as usize);
            check(payload, take(&mut rest, 4));
            events.push(Event::parse_from_bytes(payload).unwrap());
        }
        events
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_checksum_of_nine_digits_is_the_published_one() {
        // CRC-32C's check value (RFC 3720 polynomial) over "123456789", unmasked.
        let unmasked = masked_crc(b"123456789").wrapping_sub(0xa282_ead8).rotate_left(15);
        assert_eq!(unmasked, 0xe306_9283);
    }

    #[test]
    fn records_are_framed_as_the_crate_named_for_it_frames_them() {
        for length in [0, 1, 7, 255, 70_000] {
            let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let mut theirs = Vec::new();
            tensorboard_rs::record_writer::RecordWriter::new(&mut theirs).write(&payload).unwrap();
            assert_eq!(record(&payload), theirs, "{length} bytes");
        }
    }

    #[test]
    fn what_is_written_reads_back_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(directory.path(), 1_700_000_000.5).unwrap();
        file.text(7, "config", "seed = 3").unwrap();
        file.scalars(200, 1_700_000_001.0, &[("episode/return", -1204.5), ("eval/mean_reward", f64::NAN)]).unwrap();
        file.sync().unwrap();
        let events = read(file.path());
        assert_eq!(events.len(), 4);
        assert_eq!((events[0].get_file_version(), events[0].get_wall_time()), ("brain.Event:2", 1_700_000_000.5));
        assert_eq!(events[1].get_session_log().get_status(), SessionLog_SessionStatus::START);
        assert_eq!(events[1].get_step(), 0);
        let text = &events[2].get_summary().get_value()[0];
        assert_eq!((text.get_tag(), text.get_metadata().get_plugin_data().get_plugin_name()), ("config", "text"));
        assert_eq!((events[2].get_step(), &text.get_tensor().get_string_val()[0][..]), (7, &b"seed = 3"[..]));
        assert_eq!((events[3].get_step(), events[3].get_wall_time()), (200, 1_700_000_001.0));
        let values = events[3].get_summary().get_value();
        assert_eq!((values[0].get_tag(), values[0].get_simple_value()), ("episode/return", -1204.5));
        assert_eq!(values[1].get_tag(), "eval/mean_reward");
        assert!(values[1].get_simple_value().is_nan());
    }

    #[test]
    fn a_restart_starts_the_next_step_in_a_file_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        drop(EventFile::create(directory.path(), 1_700_000_000.0).unwrap());
        let mut file = EventFile::create(directory.path(), 1_700_000_000.0).unwrap();
        file.restarted(150).unwrap();
        let events = read(file.path());
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].get_file_version(), "brain.Event:2");
        assert_eq!(events[1].get_session_log().get_status(), SessionLog_SessionStatus::START);
        assert_eq!(events[1].get_step(), 151);
    }

    #[test]
    fn files_opened_in_one_second_are_distinct_and_sort_by_age() {
        let directory = tempfile::tempdir().unwrap();
        // The clock stops, then goes backward.
        let times = [1_700_000_000.0, 1_700_000_000.0, 1_700_000_000.9, 5.0];
        let opened: Vec<_> = times
            .iter()
            .map(|&time| {
                let file = EventFile::create(directory.path(), time).unwrap();
                file.path().file_name().unwrap().to_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(names(directory.path()), opened);
        assert_eq!(opened.iter().collect::<BTreeSet<_>>().len(), times.len());
        assert!(opened[0].starts_with("events.out.tfevents.1700000000."));
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let error = EventFile::create(&directory.path().join("nowhere"), 0.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
