//! The protocol on the socket between this program and `child.py`.
//!
//! A frame is the length of its body (u32), one byte for its kind, and the body. Every number is little-endian. Actions
//! are sent as f32; observations and rewards as f64, which represents f32 and f64 exactly.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use crate::config::kwargs::Kwargs;
use crate::config::python_id::Package;
use crate::environment::Info;

/// The version of the protocol that `child.py` must report.
const VERSION: u32 = 1;
/// Number of bytes before the body.
pub(super) const HEADER_BYTES: usize = 5;
/// Largest number of bytes in a body. No observation is larger, so a longer frame is an error.
pub(super) const MAX_BODY_BYTES: usize = 1 << 28;

const TERMINATED: u8 = 1;
const TRUNCATED: u8 = 2;
/// The flag of each known kind of generator in an answer, and its number of words.
const GENERATORS: [(u8, usize); 2] = [(PCG64_FLAG, PCG64_WORDS), (MT19937_FLAG, MT19937_WORDS)];
const PCG64_FLAG: u8 = 4;
const MT19937_FLAG: u8 = 8;

/// Number of words of a numpy PCG64: state and increment, high word first, whether half a word is left over, and that
/// half word.
pub(super) const PCG64_WORDS: usize = 6;
/// Number of words of a `RandomState`, numpy's older generator, which is an MT19937: its key of 624 half words, its
/// position, whether a Gaussian number is left over, and that number.
pub(super) const MT19937_WORDS: usize = 315;

/// The state of a generator. The number of words tells the kind.
pub(super) type Generator = Vec<u64>;

/// The generator from which a reset draws.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ResetSource {
    /// A new generator with this seed.
    Seed(u64),
    /// The current generator.
    Current,
    /// A saved generator.
    Saved(Generator),
}

/// The environment's description of itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hello {
    /// Number of steps until truncation.
    pub(super) limit: Option<u32>,
    /// Id with version of a task of Gymnasium itself; `None` for any other environment.
    pub(super) task: Option<String>,
    pub(super) versions: BTreeMap<String, String>,
    /// Low and high ends of the observation space, `[O]` each.
    pub(super) observations: [Vec<f64>; 2],
    /// Low and high ends of the action space, `[A]` each.
    pub(super) actions: [Vec<f64>; 2],
}

/// The answer to a reset or a step. After a reset the reward is 0 and no flag is set.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    /// The observation, `[O]`.
    pub(super) obs: Vec<f64>,
    pub(super) reward: f64,
    pub(super) terminated: bool,
    pub(super) truncated: bool,
    pub(super) info: Info,
    /// The generator before a reset without a seed; `None` if it is of an unknown kind.
    pub(super) generator: Option<Generator>,
}

/// An error that the child process reports.
#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) kind: String,
    pub(super) text: String,
    pub(super) detail: String,
    /// For an exception that arose in an installed package: the package, and the versions that it runs with.
    #[serde(default)]
    pub(super) package: String,
}

/// The reason that a body cannot be read.
pub(super) type Unreadable = String;

pub(super) fn make_request(from: Package, name: &str, kwargs: &Kwargs) -> Vec<u8> {
    let (from, name) = (json!(from.name()), json!(name));
    frame(b'M', format!("{{\"from\":{from},\"name\":{name},\"kwargs\":{}}}", kwargs.to_json()).as_bytes())
}

pub(super) fn reset_request(source: ResetSource) -> Vec<u8> {
    let (kind, words) = match source {
        ResetSource::Seed(seed) => (b's', vec![seed]),
        ResetSource::Current => (b'-', Vec::new()),
        ResetSource::Saved(words) => (b'g', words),
    };
    let body: Vec<u8> = [kind].into_iter().chain(words.into_iter().flat_map(u64::to_le_bytes)).collect();
    frame(b'R', &body)
}

/// Returns the request of a step under an action `[A]`.
pub(super) fn step_request(action: &[f32]) -> Vec<u8> {
    let body: Vec<u8> = action.iter().flat_map(|x| x.to_le_bytes()).collect();
    frame(b'S', &body)
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER_BYTES + body.len());
    frame.extend((body.len() as u32).to_le_bytes());
    frame.push(kind);
    frame.extend(body);
    frame
}

impl Hello {
    pub(super) fn read(body: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Text {
            protocol: u32,
            limit: Option<u32>,
            task: Option<String>,
            versions: BTreeMap<String, String>,
            obs_dim: usize,
            action_dim: usize,
        }
        let mut body = Body(body);
        let length = body.u32()? as usize;
        let text: Text = parse_json(body.bytes(length)?)?;
        if text.protocol != VERSION {
            return Err(format!(
                "it uses version {} of the protocol, but this program uses version {VERSION}",
                text.protocol
            ));
        }
        let observations = [body.f64s(text.obs_dim)?, body.f64s(text.obs_dim)?];
        let actions = [body.f64s(text.action_dim)?, body.f64s(text.action_dim)?];
        body.finish()?;
        Ok(Self { limit: text.limit, task: text.task, versions: text.versions, observations, actions })
    }
}

impl Answer {
    /// Reads the answer of an environment with `dim` observation entries. `names` holds the names of the scalars: those
    /// of the last answer, which are replaced by those of this answer.
    pub(super) fn read(body: &[u8], dim: usize, names: &mut Vec<String>) -> Result<Self, Unreadable> {
        let mut body = Body(body);
        let reward = f64::from_le_bytes(body.array()?);
        let [flags] = body.array()?;
        let scalars = u16::from_le_bytes(body.array()?);
        let length = body.u32()? as usize;
        if length > 0 {
            *names = parse_json(body.bytes(length)?)?;
        }
        if names.len() != usize::from(scalars) {
            return Err(format!("it has {scalars} scalars, but {} names", names.len()));
        }
        let values = body.f64s(names.len())?;
        let words = GENERATORS.iter().find(|(flag, _)| flags & flag != 0).map(|(_, words)| body.u64s(*words));
        let generator = words.transpose()?;
        let obs = body.f64s(dim)?;
        body.finish()?;
        let info = names.iter().cloned().zip(values).collect();
        let [terminated, truncated] = [TERMINATED, TRUNCATED].map(|flag| flags & flag != 0);
        Ok(Self { obs, reward, terminated, truncated, info, generator })
    }
}

impl Failure {
    pub(super) fn read(body: &[u8]) -> Result<Self, Unreadable> {
        parse_json(body)
    }
}

fn parse_json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

/// The unread part of a body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64s(&mut self, count: usize) -> Result<Vec<u64>, Unreadable> {
        let bytes = self.bytes(count.checked_mul(8).ok_or("it ends too early")?)?;
        let (words, _) = bytes.as_chunks();
        Ok(words.iter().map(|&bytes| u64::from_le_bytes(bytes)).collect())
    }

    fn f64s(&mut self, count: usize) -> Result<Vec<f64>, Unreadable> {
        Ok(self.u64s(count)?.into_iter().map(f64::from_bits).collect())
    }

    fn finish(self) -> Result<(), Unreadable> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} bytes too many", self.0.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs an answer as `child.py` does.
    fn packed(names: &str, values: &[f64], flags: u8, words: &[u64], obs: &[f64]) -> Vec<u8> {
        let mut body = 0.1_f64.to_le_bytes().to_vec();
        body.push(flags);
        body.extend((values.len() as u16).to_le_bytes());
        body.extend((names.len() as u32).to_le_bytes());
        body.extend(names.as_bytes());
        body.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        body.extend(words.iter().flat_map(|x| x.to_le_bytes()));
        body.extend(obs.iter().flat_map(|x| x.to_le_bytes()));
        body
    }

    #[test]
    fn names_of_scalars_hold_until_others_are_sent() {
        let mut names = Vec::new();
        let first = packed(r#"["x","y"]"#, &[1.0, 2.0], TERMINATED, &[], &[3.0, f64::MIN_POSITIVE]);
        let answer = Answer::read(&first, 2, &mut names).unwrap();
        assert_eq!(answer.info, Info::from([("x".into(), 1.0), ("y".into(), 2.0)]));
        assert_eq!((answer.reward, answer.terminated, answer.truncated), (0.1, true, false));
        assert_eq!((answer.obs, answer.generator), (vec![3.0, f64::MIN_POSITIVE], None));

        let second = packed("", &[5.0, 6.0], TRUNCATED | PCG64_FLAG, &[1, 2, 3, 4, 5, 6], &[0.0]);
        let answer = Answer::read(&second, 1, &mut names).unwrap();
        assert_eq!(answer.info, Info::from([("x".into(), 5.0), ("y".into(), 6.0)]));
        assert_eq!((answer.terminated, answer.truncated), (false, true));
        assert_eq!(answer.generator, Some(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(
            Answer::read(&packed("", &[], 0, &[], &[]), 0, &mut names).unwrap_err(),
            "it has 0 scalars, but 2 names"
        );
    }

    #[test]
    fn a_body_of_another_length_is_no_answer() {
        let whole = packed(r#"["x"]"#, &[1.0], PCG64_FLAG, &[0; 6], &[3.0]);
        for length in 0..whole.len() {
            assert!(Answer::read(&whole[..length], 1, &mut Vec::new()).is_err(), "{length}");
        }
        let error = Answer::read(&[&whole[..], &[0]].concat(), 1, &mut Vec::new()).unwrap_err();
        assert_eq!(error, "1 bytes too many");
    }

    #[test]
    fn another_version_of_the_protocol_is_refused() {
        let hello = |version: u32, dim: usize| {
            let versions = json!({ "python": "3.11.7" });
            let text =
                json!({ "protocol": version, "limit": 5, "versions": versions, "obs_dim": dim, "action_dim": 0 });
            let text = text.to_string();
            let ends = [f64::NEG_INFINITY, f64::INFINITY].map(f64::to_le_bytes).concat();
            [&(text.len() as u32).to_le_bytes()[..], text.as_bytes(), &ends].concat()
        };
        let read = Hello::read(&hello(1, 1)).unwrap();
        assert_eq!((read.limit, read.observations), (Some(5), [vec![f64::NEG_INFINITY], vec![f64::INFINITY]]));
        assert_eq!(
            Hello::read(&hello(2, 1)).unwrap_err(),
            "it uses version 2 of the protocol, but this program uses version 1"
        );
        assert_eq!(Hello::read(&hello(1, 2)).unwrap_err(), "it ends too early");
        assert_eq!(Hello::read(&hello(1, usize::MAX)).unwrap_err(), "it ends too early");
    }

    #[test]
    fn requests_are_frames() {
        assert_eq!(step_request(&[1.0]), [4, 0, 0, 0, b'S', 0, 0, 128, 63]);
        assert_eq!(reset_request(ResetSource::Current), [1, 0, 0, 0, b'R', b'-']);
        assert_eq!(reset_request(ResetSource::Seed(258)), [9, 0, 0, 0, b'R', b's', 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(reset_request(ResetSource::Saved(vec![0; 6])).len(), HEADER_BYTES + 1 + 48);
    }
}
