//! The memory of a run's buffers at their largest, and the memory that this process may use.
//!
//! Only buffers that grow with the run are counted: the real transitions, and the imagined ones in host memory. A run
//! that does not fit is refused before its first step. Networks, the program itself and copies that exist for a moment
//! are not counted, so a run that is not refused may still need more than the machine has.

use std::fmt;
use std::fs;
use std::path::Path;

use foresee_nn::device::DeviceChoice;

use crate::config::{Algo, Config};
use crate::setup::{Problem, Setup};

/// Largest number of fits that are simulated; a longer run is assumed to fill its imagined buffer.
const MOST_FITS: u64 = 1_000_000;
/// Bytes of a real transition besides its numbers: whether it was cut, its environment and its episode.
const REAL_EXTRA: u128 = 1 + 8 + 8;

/// A limit on the memory of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Number of bytes.
    pub bytes: u64,
    /// The cause of the limit.
    pub source: &'static str,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", gigabytes(u128::from(self.bytes)), self.source)
    }
}

/// Returns the limits on the memory of this process that the system reports; empty if it reports none, as systems other
/// than Linux do.
#[must_use]
pub fn limits() -> Vec<Limit> {
    let read = |path: &Path| fs::read_to_string(path).ok();
    limits_by(&read)
}

/// Returns the limits in the files that `read` returns.
fn limits_by(read: &dyn Fn(&Path) -> Option<String>) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut add = |bytes: Option<u64>, source| limits.extend(bytes.map(|bytes| Limit { bytes, source }));
    let meminfo = read(Path::new("/proc/meminfo")).unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"));
    add(total.and_then(|kib| Some(kib.trim().parse::<u64>().ok()? * 1024)), "the memory of this machine");
    // "Max address space  soft  hard  bytes".
    let own = read(Path::new("/proc/self/limits")).unwrap_or_default();
    let space = own.lines().find_map(|line| line.strip_prefix("Max address space")?.split_whitespace().next());
    add(space.and_then(|soft| soft.parse().ok()), "the limit on address space, `ulimit -v`");
    // "0::/path" of version 2, "5:memory:/path" of version 1. The limits of the groups above hold too.
    for line in read(Path::new("/proc/self/cgroup")).unwrap_or_default().lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for above in Path::new(group.trim_start_matches('/')).ancestors() {
            let text = read(&Path::new(root).join(above).join(file)).unwrap_or_default();
            add(text.trim().parse().ok(), "the limit of this container or cgroup");
        }
    }
    limits
}

impl Setup {
    /// Checks that the run's buffers at their largest fit the smallest of the limits. Only host memory is counted.
    ///
    /// # Errors
    /// If they do not fit: names the key to lower and the number that fits.
    pub fn check_memory(&self, limits: &[Limit]) -> Result<(), Problem> {
        let spec = self.env.spec();
        let dims = [spec.observation_space.dim(), spec.action_space.dim()];
        let smallest = limits.iter().min_by_key(|limit| limit.bytes);
        smallest
            .and_then(|limit| self.config.problem_of_memory(dims, limit))
            .map_or(Ok(()), |problem| Err(problem.into()))
    }
}

impl Config {
    /// Returns an error message if the buffers need more than the limit, for observations and actions of `[O, A]`
    /// entries.
    fn problem_of_memory(&self, [obs_dim, action_dim]: [usize; 2], limit: &Limit) -> Option<String> {
        let of_row = 4 * (2 * obs_dim as u128 + action_dim as u128 + 2);
        let most = u128::from(limit.bytes);
        let real = u128::from(self.training.env_steps).saturating_mul(of_row + REAL_EXTRA);
        if real > most {
            let fits = most / (of_row + REAL_EXTRA);
            return Some(format!(
                "`training.env_steps` is {}; it must be at most {fits} on this machine: the real transitions need {}, and this process may use {limit}\nhint: lower it, or use a machine with more memory",
                self.training.env_steps,
                gigabytes(real)
            ));
        }
        let imagined = self.most_imagined_rows();
        let all = real.saturating_add(imagined.saturating_mul(of_row));
        if all <= most {
            return None;
        }
        // The smallest value that the key accepts, and the other keys that make the buffers smaller.
        let (key, value, least, others) = match self.algo {
            Algo::Dhmbpo => {
                let blocks = &self.double_horizon;
                ("double_horizon.pool", blocks.pool, blocks.rollouts, "")
            }
            _ => {
                let others = "`rollout.horizon` or `rollout.retain_epochs`";
                ("rollout.starts_per_step", self.rollout.starts_per_step, 1, others)
            }
        };
        let with = |value: usize| {
            let mut config = self.clone();
            match self.algo {
                Algo::Dhmbpo => config.double_horizon.pool = value,
                _ => config.rollout.starts_per_step = value,
            }
            config.most_imagined_rows().saturating_mul(of_row) <= most - real
        };
        let (mut fits, mut too_many) = (0, value);
        while too_many - fits > 1 {
            let middle = fits + (too_many - fits) / 2;
            if with(middle) {
                fits = middle;
            } else {
                too_many = middle;
            }
        }
        let (allowed, hint) = match (fits >= least, others) {
            (true, "") => (format!("it must be at most {fits} on this machine"), "lower it".to_owned()),
            (true, _) => (format!("it must be at most {fits} on this machine"), format!("lower it, {others}")),
            (false, "") => {
                let hint = "lower `training.env_steps`, or both `double_horizon.pool` and `double_horizon.rollouts`";
                ("no value fits".to_owned(), hint.to_owned())
            }
            (false, _) => ("no value fits".to_owned(), format!("lower {others}, or `training.env_steps`")),
        };
        Some(format!(
            "`{key}` is {value}; {allowed}: {imagined} imagined and {} real transitions need {}, and this process may use {limit}\nhint: {hint}, or use a machine with more memory",
            self.training.env_steps,
            gigabytes(all)
        ))
    }

    /// Largest number of imagined rows in host memory during the run, if no rollout terminates.
    fn most_imagined_rows(&self) -> u128 {
        if !matches!(self.device, DeviceChoice::Cpu | DeviceChoice::NdArray) {
            return 0;
        }
        let (explore, steps, every) = (self.training.explore_steps, self.training.env_steps, self.fit_every().max(1));
        let first = explore.max(1).div_ceil(every);
        let fits = (steps / every + 1).saturating_sub(first);
        match self.algo {
            Algo::ModelFree => 0,
            Algo::Dhmbpo => {
                let blocks = &self.double_horizon;
                let updates = u128::from(blocks.block) * u128::from(self.updates_per_step());
                let refills = updates.saturating_mul(blocks.first_block.into()) / u128::from(blocks.refill_every) + 1;
                let of_refill = u128::from(blocks.refill) + blocks.rollouts as u128 * blocks.horizon as u128;
                let all = refills.saturating_mul(of_refill).saturating_mul(fits.into());
                all.min(blocks.pool as u128)
            }
            Algo::Mbpo => {
                let capacity = |step| self.rollout.capacity(step, every, self.training.epoch_length) as u128;
                if fits > MOST_FITS {
                    return capacity(explore).max(capacity(steps));
                }
                let starts = self.rollout.starts_per_step as u128 * u128::from(every);
                let (mut rows, mut most) = (0_u128, 0);
                for step in (first..first + fits).map(|fit| fit * every) {
                    let added = starts * self.rollout.horizon.floor(step) as u128;
                    rows = (rows + added).min(capacity(step));
                    most = most.max(rows);
                }
                most
            }
        }
    }
}

/// Formats a number of bytes in gigabytes.
fn gigabytes(bytes: u128) -> String {
    format!("{:.1} GB", bytes as f64 * 1e-9)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::schedule::Schedule;

    const HUMANOID: ([usize; 2], &str) = ([45, 17], include_str!("../../../configs/mujoco/humanoid.toml"));

    fn limit(bytes: u64) -> Limit {
        Limit { bytes, source: "a test" }
    }

    #[test]
    fn the_limits_are_those_of_machine_process_and_groups() {
        let files: BTreeMap<PathBuf, &str> = [
            ("/proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\n"),
            ("/proc/self/limits", "Limit  Soft Limit  Hard Limit  Units\nMax address space         3072000000           unlimited            bytes\n"),
            ("/proc/self/cgroup", "5:cpu,memory:/docker/a\n0::/user/job\n1:cpu:/x\n"),
            ("/sys/fs/cgroup/user/job/memory.max", "max\n"),
            ("/sys/fs/cgroup/user/memory.max", "5000000000\n"),
            ("/sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", "4000000000\n"),
        ]
        .map(|(path, text)| (path.into(), text))
        .into();
        let found = limits_by(&|path| files.get(path).map(|&text| text.to_owned()));
        let bytes: Vec<u64> = found.iter().map(|limit| limit.bytes).collect();
        assert_eq!(bytes, [16_384_000_000, 3_072_000_000, 4_000_000_000, 5_000_000_000]);
        assert_eq!(limits_by(&|_| None), []);
        assert_eq!(
            limits_by(&|_| Some("Max address space  unlimited  unlimited  bytes".into())),
            [],
            "no limit is none"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_reports_the_memory_of_the_machine() {
        assert!(limits().iter().any(|limit| limit.source == "the memory of this machine" && limit.bytes > 1 << 28));
    }

    #[test]
    fn the_published_settings_of_humanoid_need_22_gigabytes_and_the_number_that_fits_does_fit() {
        let (dims, text) = HUMANOID;
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(config.most_imagined_rows(), 50_000_000);
        assert_eq!(config.problem_of_memory(dims, &limit(23_000_000_000)), None);
        let message = config.problem_of_memory(dims, &limit(16_000_000_000)).expect("21.9 GB do not fit");
        assert!(
            message.starts_with("`rollout.starts_per_step` is 400; it must be at most ")
                && message.contains(" on this machine: 50000000 imagined and 300000 real transitions need 21.9 GB, and this process may use 16.0 GB (a test)\nhint: lower it, "),
            "{message}"
        );
        let fits: usize = message.split("at most ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let with = |starts| {
            let mut config = config.clone();
            config.rollout.starts_per_step = starts;
            config.problem_of_memory(dims, &limit(16_000_000_000))
        };
        assert_eq!((with(fits), with(fits + 1).is_some()), (None, true), "{fits} starts");
        assert_eq!(Problem::from(message).keys, ["rollout", "starts_per_step"]);
    }

    #[test]
    fn a_short_run_does_not_fill_its_buffer_and_a_shrinking_horizon_counts_where_it_is_longest() {
        let mut config: Config = serde_json::from_str(r#"{"env": {"id": "Pendulum-v1"}}"#).unwrap();
        (config.training.explore_steps, config.training.env_steps, config.model.fit.every) = (250, 300, 250);
        (config.rollout.horizon, config.rollout.retain_epochs) = (Schedule::Constant(1000.0), 10);
        // One fit, at step 250: 400 · 250 rollouts of 1,000 steps.
        assert_eq!(config.most_imagined_rows(), 100_000_000);
        // Pendulum has rows of 2·3 + 1 + 2 numbers.
        assert!(config.problem_of_memory([3, 1], &limit(3_072_000_000)).is_some());
        assert_eq!(config.problem_of_memory([3, 1], &limit(3_700_000_000)), None);

        config.training.env_steps = 10_000;
        (config.rollout.horizon, config.rollout.retain_epochs) = (Schedule::Linear([4.0, 1.0, 1000.0, 9000.0]), 1);
        // An epoch of 1,000 steps has four fits.
        assert_eq!(config.most_imagined_rows(), 4 * 400 * 1000);
        config.algo = Algo::ModelFree;
        assert_eq!(config.most_imagined_rows(), 0);
    }

    #[test]
    fn real_rows_and_the_pool_count_too() {
        let mut config: Config =
            serde_json::from_str(r#"{"env": {"id": "Pendulum-v1"}, "algo": "model_free"}"#).unwrap();
        config.training.env_steps = 1_000_000;
        assert_eq!(config.problem_of_memory([3, 1], &limit(53_000_000)), None);
        let message = config.problem_of_memory([3, 1], &limit(5_300_000)).unwrap();
        assert!(message.starts_with("`training.env_steps` is 1000000; it must be at most 100000 on"), "{message}");

        config.algo = Algo::Dhmbpo;
        config.training.env_steps = 10_000;
        assert_eq!(config.most_imagined_rows(), 51_200);
        config.double_horizon.pool = 1 << 31;
        let rows = config.most_imagined_rows();
        assert!((51_200..1 << 31).contains(&rows), "{rows} rows are imagined in the whole run");
        let message = config.problem_of_memory([3, 1], &limit(5_300_000)).unwrap();
        assert!(message.starts_with("`double_horizon.pool` is 2147483648; it must be at most "), "{message}");

        // The real rows need 530,000 bytes, and each imagined row 36. A pool has at least 256 rows.
        let message = config.problem_of_memory([3, 1], &limit(530_000 + 36 * 255)).unwrap();
        assert!(
            message.starts_with("`double_horizon.pool` is 2147483648; no value fits: ")
                && message.contains("\nhint: lower `training.env_steps`, or both `double_horizon.pool` and "),
            "{message}"
        );
        config.algo = Algo::Mbpo;
        let message = config.problem_of_memory([3, 1], &limit(530_036)).unwrap();
        assert!(
            message.starts_with("`rollout.starts_per_step` is 400; no value fits: ")
                && message.contains(
                    "\nhint: lower `rollout.horizon` or `rollout.retain_epochs`, or `training.env_steps`, or use "
                ),
            "{message}"
        );
    }
}
