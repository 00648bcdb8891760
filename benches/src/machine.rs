//! The machine and the commit that the numbers were measured on.

use std::process::Command;

use anyhow::Context as _;
use foresee_nn::device::{self, DeviceChoice};
use serde_json::{Value, json};

/// Returns the name of the processor and the number of cores.
pub(crate) fn describe() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{}, {cores} cores", model.unwrap_or("unknown processor"))
}

/// Returns the commit of the working tree, with `+` if it was changed since. The environment variable `FORESEE_COMMIT`
/// overrides it, for programs that run outside of their tree.
pub(crate) fn commit() -> String {
    if let Some(commit) = std::env::var("FORESEE_COMMIT").ok().filter(|commit| !commit.is_empty()) {
        return commit;
    }
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    git(&["rev-parse", "--short", "HEAD"]).map_or("unknown".into(), |commit| commit + if dirty { "+" } else { "" })
}

/// The name of the instruction set in use.
pub(crate) fn simd() -> &'static str {
    foresee_nn::cpu::simd::level().name()
}

/// The largest resident memory of this process so far, MB; `None` if the system does not report it.
pub(crate) fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// Returns the graphics adapter of an opened device, as a line and as JSON.
pub(crate) fn adapter_of(choice: DeviceChoice) -> Option<(String, Value)> {
    device::adapter(choice).map(|adapter| {
        let (api, driver) = adapter.api.split_once(", driver ").unwrap_or((&adapter.api, ""));
        let json = json!({
            "name": adapter.name, "kind": adapter.kind, "api": api, "driver": driver, "software": adapter.software,
        });
        (adapter.to_string(), json)
    })
}

/// Prints the graphics adapter of a device as a JSON object, first alone and then with the device's limits.
///
/// # Errors
/// If there is no graphics adapter.
#[allow(clippy::print_stdout)]
pub(crate) fn adapter(choice: DeviceChoice) -> anyhow::Result<()> {
    let device = choice.open()?;
    let (_, mut json) = adapter_of(choice)
        .with_context(|| format!("device `{choice}` has no graphics adapter\nhint: use `--device wgpu`"))?;
    // Printed before the first kernel, which may fail.
    println!("{json}");
    json["limits"] = json!(limits(&device));
    println!("{json}");
    Ok(())
}

/// Returns the limits of a device's kernels and memory, and the clock that times it, in one line.
#[cfg(feature = "wgpu")]
fn limits(device: &burn::tensor::Device) -> String {
    let client = foresee_nn::cube::tensor::empty(&[1], device).client;
    let properties = client.properties();
    format!("{:?}; {:?}; timed by {:?}", properties.hardware, properties.memory, properties.timing_method)
}

#[cfg(not(feature = "wgpu"))]
fn limits(_: &burn::tensor::Device) -> String {
    String::new()
}
