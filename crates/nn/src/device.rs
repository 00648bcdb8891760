//! Which backend a run's tensors live on.
//!
//! `cpu` is Burn's Flex backend, `ndarray` the second, independent CPU backend for cross-checks, `wgpu[:n]` any GPU and
//! `wgpu:cpu` a software adapter. Devices are always constructed here, explicitly: `Device::default()` silently changes
//! with the enabled Cargo features.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A device as a config names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// Burn's Flex backend on the CPU.
    #[default]
    Cpu,
    /// Burn's ndarray backend on the CPU.
    NdArray,
    /// The default GPU.
    Wgpu,
    /// The `n`-th discrete GPU.
    WgpuIndex(usize),
    /// wgpu's software adapter.
    WgpuCpu,
}

/// Why a device cannot be had.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DeviceError {
    /// The word is none of the known ones.
    #[error("unknown device `{0}`\nhint: use `cpu`, `ndarray`, `wgpu`, `wgpu:<n>` or `wgpu:cpu`")]
    Unknown(String),
    /// The program was built without it.
    #[error(
        "device `{device}` is not in this build\nhint: build with `cargo build --release --features {feature}`, or use `device=cpu`"
    )]
    NotBuilt {
        /// The device asked for.
        device: DeviceChoice,
        /// The Cargo feature that brings it.
        feature: &'static str,
    },
    /// The machine has none.
    #[error("device `{device}` was not found on this machine: {reason}\nhint: use `device=cpu`")]
    NotFound {
        /// The device asked for.
        device: DeviceChoice,
        /// What was looked for.
        reason: String,
    },
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(word: &str) -> Result<Self, DeviceError> {
        match word {
            "cpu" => Ok(Self::Cpu),
            "ndarray" => Ok(Self::NdArray),
            "wgpu" => Ok(Self::Wgpu),
            "wgpu:cpu" => Ok(Self::WgpuCpu),
            _ => word
                .strip_prefix("wgpu:")
                .and_then(|n| n.parse().ok())
                .map(Self::WgpuIndex)
                .ok_or_else(|| DeviceError::Unknown(word.into())),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = DeviceError;

    fn try_from(word: String) -> Result<Self, DeviceError> {
        word.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::NdArray => f.write_str("ndarray"),
            Self::Wgpu => f.write_str("wgpu"),
            Self::WgpuIndex(n) => write!(f, "wgpu:{n}"),
            Self::WgpuCpu => f.write_str("wgpu:cpu"),
        }
    }
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// If this build or this machine lacks it.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::NdArray => open_ndarray(self),
            Self::Wgpu | Self::WgpuIndex(_) | Self::WgpuCpu => open_wgpu(self),
        }
    }
}

/// The GPU that tests run on, or nothing: then one line on standard error says which test was skipped and why.
///
/// # Panics
/// If there is none and `FORESEE_REQUIRE_WGPU=1`.
#[doc(hidden)]
#[must_use]
pub fn wgpu_of_test(test: &str) -> Option<Device> {
    use std::io::Write as _;
    match DeviceChoice::Wgpu.open() {
        Ok(device) => Some(device),
        Err(error) => {
            let why = error.to_string().replace('\n', "; ");
            let required = std::env::var_os("FORESEE_REQUIRE_WGPU").is_some_and(|value| value == "1");
            assert!(!required, "{test} needs a GPU, and FORESEE_REQUIRE_WGPU=1: {why}");
            // Past the test harness, which keeps what a passing test prints.
            let _ = writeln!(std::io::stderr(), "skipped {test}: {why}");
            None
        }
    }
}

#[cfg(feature = "ndarray")]
#[allow(clippy::unnecessary_wraps)]
fn open_ndarray(_: DeviceChoice) -> Result<Device, DeviceError> {
    // Deprecated upstream in favour of Flex; kept as the independent second opinion.
    #[allow(deprecated)]
    Ok(Device::ndarray())
}

#[cfg(not(feature = "ndarray"))]
fn open_ndarray(device: DeviceChoice) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { device, feature: "ndarray" })
}

#[cfg(feature = "wgpu")]
fn open_wgpu(device: DeviceChoice) -> Result<Device, DeviceError> {
    use burn::tensor::DeviceKind;
    let kind = match device {
        DeviceChoice::WgpuIndex(n) => DeviceKind::DiscreteGpu(n),
        DeviceChoice::WgpuCpu => DeviceKind::Cpu,
        _ => DeviceKind::DefaultDevice,
    };
    // The device is lazy, and a machine without an adapter panics at the first tensor.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let opened = std::panic::catch_unwind(|| {
        let device = Device::wgpu(kind);
        device.sync().map(|()| device)
    });
    std::panic::set_hook(hook);
    match opened {
        Ok(Ok(device)) => Ok(device),
        Ok(Err(error)) => Err(DeviceError::NotFound { device, reason: error.to_string() }),
        Err(_) => Err(DeviceError::NotFound { device, reason: "wgpu has no such adapter".into() }),
    }
}

#[cfg(not(feature = "wgpu"))]
fn open_wgpu(device: DeviceChoice) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { device, feature: "wgpu" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_words_round_trip() {
        for word in ["cpu", "ndarray", "wgpu", "wgpu:0", "wgpu:3", "wgpu:cpu"] {
            assert_eq!(word.parse::<DeviceChoice>().unwrap().to_string(), word);
        }
    }

    #[test]
    fn an_unknown_device_names_the_word_and_the_choices() {
        let message = "gpu".parse::<DeviceChoice>().unwrap_err().to_string();
        assert!(message.contains("`gpu`") && message.contains("wgpu:<n>"), "{message}");
    }

    #[cfg(not(feature = "wgpu"))]
    #[test]
    fn a_device_outside_the_build_says_how_to_get_it() {
        let message = DeviceChoice::Wgpu.open().unwrap_err().to_string();
        assert!(message.contains("--features wgpu"), "{message}");
    }
}
