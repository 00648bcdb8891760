//! The kernels that a workload launches on a GPU: their number and their times.
//!
//! Every launch is enclosed by two timestamps of the device, which are read after the iteration. Kernels run one after
//! another as usual. But launches are submitted one at a time, so the whole iteration is slower than a timed one. On a
//! device without timestamps the host's clock around each launch is used, and the table mentions it.

use anyhow::ensure;
use foresee_nn::device::DeviceChoice;
use foresee_nn::host;

use crate::compute::{Repeat, Workload, timing};
use crate::machine;

/// Observes one iteration of every workload, and prints its kernels as a Markdown table.
///
/// # Errors
/// If the device is unavailable or not a GPU.
#[allow(clippy::print_stdout)]
pub(crate) fn run(workloads: &[Workload], choice: DeviceChoice, seconds: f64) -> anyhow::Result<()> {
    ensure!(
        !host::is_host(&choice.open()?),
        "`kernels` observes launches on a GPU, and `{choice}` is not a GPU\nhint: use `--device wgpu`"
    );
    let steps = if seconds > 0.0 { 20 } else { 1 };
    for &workload in workloads {
        let observed = observed::ObservedLaunches::new();
        let plain = timing(workload, choice, Repeat::For(seconds))?.ms.median;
        timing(workload, choice, Repeat::Observed(&observed, steps))?;
        println!(
            "## `{}`\n\ncommit {}; {plain:.3} ms per step when not observed; {}",
            workload.name(),
            machine::commit(),
            observed.table()
        );
    }
    Ok(())
}

#[cfg(feature = "wgpu")]
mod observed {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;
    use std::sync::{Arc, Mutex, PoisonError};

    use cubecl::config::{TypeNameFormatLevel, type_name_format};
    use cubecl::future::block_on;
    use cubecl::logging::{Duration, LaunchObservation, LaunchObserver, ProfileDuration, TimingMethod, TimingRequest};

    use crate::compute::Observer;

    /// A launch: the kernel and its time, which may not have been read yet.
    enum Launch {
        Unread(&'static str, ProfileDuration),
        Read(&'static str, Duration, TimingMethod),
    }

    /// The launches in order.
    #[derive(Default)]
    struct Launches(Mutex<Vec<Launch>>);

    impl Launches {
        fn push(&self, launch: Launch) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(launch);
        }
    }

    impl LaunchObserver for Launches {
        fn launched(&self, _: &'static str) {}

        fn timing(&self) -> TimingRequest {
            TimingRequest::Deferred
        }

        fn profiled(&self, kernel: &'static str, profile: ProfileDuration) {
            self.push(Launch::Unread(kernel, profile));
        }

        fn timed(&self, kernel: &'static str, duration: Duration, method: TimingMethod) {
            self.push(Launch::Read(kernel, duration, method));
        }
    }

    /// Number and total time of one kernel's launches.
    #[derive(Clone, Copy, Default)]
    struct Sum {
        launches: f64,
        microseconds: f64,
    }

    /// The launches of one iteration.
    #[derive(Default)]
    pub(super) struct ObservedLaunches {
        launches: Arc<Launches>,
        steps: Mutex<f64>,
    }

    impl Observer for ObservedLaunches {
        fn observe(&self, steps: f64, iteration: &mut dyn FnMut()) {
            *self.steps.lock().unwrap_or_else(PoisonError::into_inner) = steps;
            let _observation = LaunchObservation::new(self.launches.clone());
            iteration();
        }
    }

    impl ObservedLaunches {
        /// An observer without launches so far.
        pub(super) fn new() -> Self {
            Self::default()
        }

        /// Returns a table of kernels per step, ordered by decreasing time.
        pub(super) fn table(self) -> String {
            let steps = *self.steps.lock().unwrap_or_else(PoisonError::into_inner);
            let launches = std::mem::take(&mut *self.launches.0.lock().unwrap_or_else(PoisonError::into_inner));
            let (mut kernels, mut all) = (BTreeMap::<String, Sum>::new(), Sum::default());
            let (mut by_device, mut unread) = (0, 0);
            for launch in launches {
                let (kernel, method, duration) = match launch {
                    Launch::Read(kernel, duration, method) => (kernel, method, Some(duration)),
                    Launch::Unread(kernel, profile) => {
                        let method = profile.timing_method();
                        (kernel, method, block_on(profile.resolve()).map(|ticks| ticks.duration()))
                    }
                };
                by_device += usize::from(matches!(method, TimingMethod::Device));
                unread += usize::from(duration.is_none());
                let microseconds = duration.map_or(0.0, |duration| duration.as_secs_f64() * 1e6);
                let kernel = type_name_format(kernel, TypeNameFormatLevel::Balanced);
                for sum in [kernels.entry(kernel).or_default(), &mut all] {
                    sum.launches += 1.0 / steps;
                    sum.microseconds += microseconds / steps;
                }
            }
            let clock = if by_device > 0 { "the device's clock" } else { "the host's clock" };
            let mut text = format!(
                "{steps} steps observed, {clock}, {by_device} launches timed by the device, {unread} without a time\n\n"
            );
            text += "| kernel | launches per step | us per launch | us per step | share |\n|---|---:|---:|---:|---:|\n";
            let mut kernels: Vec<_> = kernels.into_iter().collect();
            kernels.sort_by(|a, b| b.1.microseconds.total_cmp(&a.1.microseconds));
            kernels.push(("all".into(), all));
            for (kernel, Sum { launches, microseconds }) in kernels {
                let (each, share) = (microseconds / launches, 100.0 * microseconds / all.microseconds);
                let _ = writeln!(text, "| `{kernel}` | {launches:.2} | {each:.2} | {microseconds:.1} | {share:.0} % |");
            }
            text
        }
    }
}

/// The observer without the feature `wgpu`, where no GPU can be opened and nothing is observed.
#[cfg(not(feature = "wgpu"))]
mod observed {
    pub(super) struct ObservedLaunches;

    impl crate::compute::Observer for ObservedLaunches {
        fn observe(&self, _: f64, iteration: &mut dyn FnMut()) {
            iteration();
        }
    }

    impl ObservedLaunches {
        pub(super) fn new() -> Self {
            Self
        }

        pub(super) fn table(self) -> String {
            String::new()
        }
    }
}
