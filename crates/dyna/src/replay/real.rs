//! The buffer of all real transitions, in the order in which they happened.
//!
//! The rows are stored in host memory, for checkpoints, the normaliser and the model's training. A device that runs
//! kernels has a mirror of them, to which each new row is copied.

use std::collections::BTreeMap;

use burn::tensor::Device;
use foresee_core::state::{Array, Data};
use foresee_core::{Batch, State, StateError, Transition};

use foresee_world_model::TrainingRows;

use super::{DeviceRows, Sequences};

/// An append-only buffer. Its saved arrays only grow at their ends, so that a checkpoint stores only new rows.
#[derive(Debug, Default)]
pub struct RealBuffer {
    rows: Batch,
    /// 1 for a row at which a time limit cut the episode, else 0, `[rows]`.
    truncated: Vec<u8>,
    /// The environment of each row, `[rows]`.
    env: Vec<u64>,
    /// The episode of each row, numbered over all environments in the order of their first rows, `[rows]`.
    episode: Vec<u64>,
    /// Number of the current episode of each environment, if that episode has rows.
    open: BTreeMap<u64, u64>,
    /// Number of episodes begun so far, which is also the number of the next episode.
    begun: u64,
    /// Size of the largest entry of all observations, before and after a step.
    largest: f32,
    /// A copy of the rows on the device, with room for more.
    mirror: Option<DeviceRows>,
}

/// Capacity of a new mirror, in rows.
const FIRST_ROOM: usize = 1024;

impl RealBuffer {
    /// An empty buffer for observations and actions of `[O, A]` entries, with a mirror if the device runs kernels.
    #[must_use]
    pub fn new(dims: [usize; 2], device: &Device) -> Self {
        Self { mirror: DeviceRows::new(FIRST_ROOM, dims, device), ..Self::default() }
    }

    /// Appends a transition of environment 0, for runs with a single environment.
    pub fn push(&mut self, t: &Transition) {
        self.push_from(0, t);
    }

    /// Appends a transition of environment `env`.
    pub fn push_from(&mut self, env: usize, t: &Transition) {
        self.assign_episode(env as u64, t.terminated || t.truncated);
        self.rows.push(&t.obs, &t.action, t.reward, &t.next_obs, t.terminated);
        self.largest = self.largest.max(largest_of(&t.obs)).max(largest_of(&t.next_obs));
        self.truncated.push(u8::from(t.truncated));
        let Some(mirror) = &mut self.mirror else { return };
        let last = self.rows.rows - 1;
        if last == mirror.capacity() {
            mirror.resize(2 * last, 0, last);
        }
        mirror.write(last, &self.rows, last..last + 1);
    }

    /// Assigns an episode number to the next row.
    fn assign_episode(&mut self, env: u64, ends: bool) {
        let begun = &mut self.begun;
        let episode = *self.open.entry(env).or_insert_with(|| {
            *begun += 1;
            *begun - 1
        });
        if ends {
            self.open.remove(&env);
        }
        self.env.push(env);
        self.episode.push(episode);
    }

    /// Makes the next transition of an environment begin a new episode, although no stored row ended the last one. Used
    /// when an environment was lost and reset.
    pub fn cut_episode(&mut self, env: usize) {
        self.open.remove(&(env as u64));
    }

    /// Whether the episode ended with this row, by termination or by a time limit.
    #[must_use]
    pub fn ends(&self, row: usize) -> bool {
        self.rows.not_terminated[row] == 0.0 || self.truncated[row] != 0
    }

    /// The environment of each row, `[rows]`.
    #[must_use]
    pub fn envs(&self) -> &[u64] {
        &self.env
    }

    /// The episode of each row, `[rows]`, numbered over all environments in the order of their first rows.
    #[must_use]
    pub fn episodes(&self) -> &[u64] {
        &self.episode
    }

    /// Returns the rows as sequences within their episodes.
    #[must_use]
    pub fn sequences(&self) -> Sequences {
        Sequences::new(&self.episode)
    }

    /// Returns the rows of the last `count` episodes that ended, or of fewer if there are fewer. The latest episode is
    /// first; rows of an episode are in order. Rows before number `from` are left out.
    #[must_use]
    pub fn last_episodes(&self, count: usize, from: usize) -> Vec<Vec<usize>> {
        let last: Vec<usize> = (from..self.rows.rows).rev().filter(|&row| self.ends(row)).take(count).collect();
        let position: BTreeMap<u64, usize> = last.iter().enumerate().map(|(i, &row)| (self.episode[row], i)).collect();
        let mut episodes = vec![Vec::new(); last.len()];
        for row in from..self.rows.rows {
            if let Some(&i) = position.get(&self.episode[row]) {
                episodes[i].push(row);
            }
        }
        episodes
    }

    /// Returns all rows, for a fit of the model.
    #[must_use]
    pub fn training_rows(&self) -> TrainingRows<'_> {
        TrainingRows::from(&self.rows).on_device(self.mirror.as_ref().map(DeviceRows::transitions))
    }

    /// The copy of the rows on the device, if there is one.
    #[must_use]
    pub fn mirror(&self) -> Option<&DeviceRows> {
        self.mirror.as_ref()
    }

    /// Size of the largest entry of all observations, before and after a step; 0 without rows.
    #[must_use]
    pub fn largest_entry(&self) -> f32 {
        self.largest
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> &Batch {
        &self.rows
    }

    /// Returns the buffer as arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = save_rows(&self.rows);
        state.put("truncated", self.truncated.clone());
        state.put("env", self.env.clone());
        state.put("episode", self.episode.clone());
        state.put("open.env", self.open.keys().copied().collect::<Vec<_>>());
        state.put("open.episode", self.open.values().copied().collect::<Vec<_>>());
        state
    }

    /// Restores a buffer from arrays. Arrays of older versions have no episodes; their rows are assigned to `envs`
    /// environments in turn.
    ///
    /// # Errors
    /// If an array is missing, has another width, or is unknown.
    pub fn restore(mut state: State, dims: [usize; 2], envs: usize, device: &Device) -> Result<Self, StateError> {
        let truncated = state.u8s("truncated")?.1;
        let has_episodes = state.iter().any(|(name, _)| name == "episode");
        let mut origins = Vec::new();
        if has_episodes {
            for name in ["env", "episode", "open.env", "open.episode"] {
                origins.push(state.u64s(name)?.1);
            }
        }
        let rows = restore_rows(state, dims)?;
        let largest = largest_of(&rows.obs).max(largest_of(&rows.next_obs));
        let mut buffer = Self { truncated, largest, ..Self::default() };
        if let Ok([env, episode, open_env, open_episode]) = <[Vec<u64>; 4]>::try_from(origins) {
            buffer.begun = episode.iter().max().map_or(0, |last| last + 1);
            (buffer.env, buffer.episode) = (env, episode);
            buffer.open = open_env.into_iter().zip(open_episode).collect();
        } else {
            for row in 0..rows.rows {
                let cut = buffer.truncated.get(row).is_some_and(|&cut| cut != 0);
                buffer.assign_episode((row % envs.max(1)) as u64, cut || rows.not_terminated[row] == 0.0);
            }
        }
        let lengths =
            [("truncated", buffer.truncated.len()), ("env", buffer.env.len()), ("episode", buffer.episode.len())];
        if let Some((name, found)) = lengths.into_iter().find(|&(_, length)| length != rows.rows) {
            return Err(StateError::Mismatch {
                path: name.into(),
                found: format!("{found} numbers"),
                expected: format!("{} rows", rows.rows),
            });
        }
        let mut mirror = DeviceRows::new(rows.rows.next_power_of_two().max(FIRST_ROOM), dims, device);
        if let Some(mirror) = &mut mirror {
            mirror.write(0, &rows, 0..rows.rows);
        }
        Ok(Self { rows, mirror, ..buffer })
    }
}

/// Returns the size of the largest number.
fn largest_of(numbers: &[f32]) -> f32 {
    numbers.iter().fold(0.0, |largest, x| largest.max(x.abs()))
}

/// Returns rows as arrays `[rows, width]`.
pub(super) fn save_rows(rows: &Batch) -> State {
    let mut state = State::new();
    let n = rows.rows;
    let fields = [
        ("obs", &rows.obs),
        ("action", &rows.action),
        ("reward", &rows.reward),
        ("next_obs", &rows.next_obs),
        ("not_terminated", &rows.not_terminated),
    ];
    for (name, values) in fields {
        let width = values.len().checked_div(n).unwrap_or(0);
        state.put(name, Array::new(vec![n, width], Data::F32(values.clone())));
    }
    state
}

/// Restores rows of observations and actions of `[O, A]` entries from arrays `[rows, width]`, which must have equal
/// numbers of rows.
pub(super) fn restore_rows(mut state: State, [obs_dim, action_dim]: [usize; 2]) -> Result<Batch, StateError> {
    let mut rows = None;
    let mut field = |name: &str, width: usize| -> Result<Vec<f32>, StateError> {
        let (shape, values) = state.f32s(name)?;
        let expected = *rows.get_or_insert(shape.first().copied().unwrap_or(0));
        if shape.len() != 2 || shape[0] != expected || values.len() != expected * width {
            return Err(StateError::Mismatch {
                path: name.into(),
                found: format!("of shape {shape:?}"),
                expected: format!("{expected} rows of {width}"),
            });
        }
        Ok(values)
    };
    let (obs, action, reward) = (field("obs", obs_dim)?, field("action", action_dim)?, field("reward", 1)?);
    let (next_obs, not_terminated) = (field("next_obs", obs_dim)?, field("not_terminated", 1)?);
    let rows = rows.unwrap_or(0);
    state.finish()?;
    Ok(Batch { rows, obs, action, reward, next_obs, not_terminated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_buffer_with_a_row_too_few_in_one_array_is_refused() {
        let mut buffer = RealBuffer::default();
        for x in [1.0, 2.0] {
            buffer.push(&Transition {
                obs: vec![x],
                action: vec![x],
                reward: x,
                next_obs: vec![x],
                terminated: false,
                truncated: x == 2.0,
            });
        }
        let restore = |state| RealBuffer::restore(state, [1, 1], 1, &Device::flex());
        let restored = restore(buffer.save()).unwrap();
        assert_eq!((restored.rows, restored.truncated), (buffer.rows.clone(), buffer.truncated.clone()));
        for name in ["obs", "action", "reward", "next_obs", "not_terminated"] {
            let mut state = buffer.save();
            state.take(name).unwrap();
            state.put(name, Array::new(vec![1, 1], Data::F32(vec![1.0])));
            assert!(restore(state).is_err(), "{name}");
        }
    }

    /// Returns transitions of three environments in turn, whose episodes have different lengths.
    fn interleaved(steps: usize) -> RealBuffer {
        let mut buffer = RealBuffer::default();
        for step in 0..steps {
            for (env, length) in [(0, 3), (1, 5), (2, usize::MAX)] {
                let ends = (step + 1) % length == 0;
                let x = (10 * env + step) as f32;
                buffer.push_from(
                    env,
                    &Transition {
                        obs: vec![x],
                        action: vec![0.0],
                        reward: 0.0,
                        next_obs: vec![x + 1.0],
                        terminated: ends && env == 0,
                        truncated: ends && env == 1,
                    },
                );
            }
        }
        buffer
    }

    #[test]
    fn sequences_are_the_successive_rows_of_one_episode() {
        let buffer = interleaved(8);
        let sequences = buffer.sequences();
        // Brute force: a row is followed by its environment's next row, unless an episode ended between them.
        let ends = |row: usize| buffer.ends(row);
        for length in 1..=6 {
            let chain = |start: usize| -> Option<Vec<usize>> {
                let rows: Vec<usize> = (0..length).map(|k| start + 3 * k).collect();
                (rows[length - 1] < 24 && !rows[..length - 1].iter().any(|&row| ends(row))).then_some(rows)
            };
            let want: Vec<usize> = (0..24).filter(|&start| chain(start).is_some()).collect();
            assert_eq!(sequences.starts(length), want, "length {length}");
            for start in want {
                assert_eq!(sequences.rows(start, length).collect::<Vec<_>>(), chain(start).expect("a chain"));
            }
        }
        assert_eq!(sequences.rows(0, 100).count(), 3, "an episode's end ends its sequence");
    }

    #[test]
    fn the_last_episodes_are_those_that_ended_and_only_rows_that_are_asked_for() {
        let buffer = interleaved(8);
        // Environment 0 has the rows 0, 3, …, 21, in episodes of 3 rows. Environment 1 has the rows 1, 4, …, 22; its
        // first episode has 5 rows.
        assert_eq!(buffer.last_episodes(5, 0), [vec![9, 12, 15], vec![1, 4, 7, 10, 13], vec![0, 3, 6]]);
        assert_eq!(buffer.last_episodes(2, 5), [vec![9, 12, 15], vec![7, 10, 13]]);
        assert_eq!(buffer.last_episodes(2, 16), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn episodes_are_numbered_by_their_first_rows_and_survive_saving_and_a_lost_environment() {
        let mut buffer = interleaved(4);
        assert_eq!(buffer.episodes(), [0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 1, 2]);
        assert_eq!(buffer.envs()[9..], [0, 1, 2]);
        let restore = |state| RealBuffer::restore(state, [1, 1], 3, &Device::flex()).unwrap();
        // Removes the arrays that older versions did not have.
        let mut old = buffer.save();
        for name in ["env", "episode", "open.env", "open.episode"] {
            old.take(name).unwrap();
        }
        assert_eq!(restore(old).save(), buffer.save());
        buffer.cut_episode(2);
        let mut restored = restore(buffer.save());
        let next = Transition {
            obs: vec![0.0],
            action: vec![0.0],
            reward: 0.0,
            next_obs: vec![0.0],
            terminated: false,
            truncated: false,
        };
        for env in 0..3 {
            restored.push_from(env, &next);
        }
        assert_eq!(restored.episodes()[12..], [3, 1, 4]);
    }
}
