//! The backend that a run's tensors use.
//!
//! `cpu` is Burn's Flex backend. `ndarray` is a second, independent CPU backend for cross-checks. `wgpu[:n]` is any
//! GPU, and `wgpu:cpu` is a software adapter. `vulkan` is a GPU whose kernels are built by another compiler. Devices
//! are always constructed in this module, explicitly: the meaning of `Device::default()` silently changes with the
//! enabled Cargo features.

#[cfg(feature = "wgpu")]
mod adapters;
pub mod failure;
mod opened;

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use failure::{DeviceFailure, guarded};
#[doc(hidden)]
pub use opened::lose;
#[cfg(feature = "vulkan")]
use opened::open_vulkan;
#[cfg(feature = "wgpu")]
use opened::open_wgpu;
pub use opened::{adapter, end_process, largest_buffer};

/// An adapter of a graphics API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// The name that it reports.
    pub name: String,
    /// `discrete GPU`, `integrated GPU`, `virtual GPU`, `software` or `kind unknown`.
    pub kind: &'static str,
    /// The graphics API, with the driver's name and version if the driver reports them.
    pub api: String,
    /// True for a software implementation that runs on the processor: [`Adapter::warning`] reports it.
    pub software: bool,
    /// True if OpenGL drives it: [`Adapter::warning`] reports it.
    pub opengl: bool,
}

impl Adapter {
    /// The warning for a user of `device` if the adapter is not the expected hardware: it is a software adapter, or no
    /// driver of a newer graphics API than OpenGL was found.
    #[must_use]
    pub fn warning(&self, device: DeviceChoice) -> Option<String> {
        match self {
            _ if device == DeviceChoice::WgpuCpu => None,
            Self { software: true, .. } => Some(format!(
                "`device={device}` found no GPU and uses a software adapter, which is much slower than `device=cpu`: {self}\nhint: use `device=cpu`, or install the Vulkan driver of your GPU; `foresee list devices` lists the devices that are found"
            )),
            Self { opengl: true, .. } => Some(format!(
                "`device={device}` falls back to OpenGL, because no Vulkan driver was found: {self}\nhint: install the GPU's Vulkan driver"
            )),
            _ => None,
        }
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.name, self.kind, self.api)
    }
}

/// A device, as named in a config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// The default GPU through Vulkan, with kernels compiled to SPIR-V.
    Vulkan,
    /// An NVIDIA GPU through CUDA. The name is known, but no build supports it yet.
    Cuda,
}

/// Errors of opening a device.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DeviceError {
    /// The word is not the name of a device.
    #[error("unknown device `{0}`\nhint: use `cpu`, `ndarray`, `wgpu`, `wgpu:<n>`, `wgpu:cpu` or `vulkan`")]
    Unknown(String),
    /// The program was built without the device.
    #[error(
        "device `{device}` is not in this build\nhint: build with `cargo build --release --features {feature}`, or use `device=cpu`"
    )]
    NotBuilt {
        /// The requested device.
        device: DeviceChoice,
        /// The Cargo feature that provides it.
        feature: &'static str,
    },
    /// The device exists, but one of its limits is too low for the kernels.
    #[error("device `{device}` ({adapter}) cannot run the kernels: {limit}\nhint: use another GPU, or `device=cpu`")]
    TooSmall {
        /// The requested device.
        device: DeviceChoice,
        /// Description of its adapter.
        adapter: String,
        /// Description of the first limit that is too low.
        limit: String,
    },
    /// No build supports the device.
    #[error(
        "device `{0}` is not supported by any build yet\nhint: use `device=wgpu` for an NVIDIA GPU, or `device=cpu`"
    )]
    NotSupported(DeviceChoice),
    /// The machine does not have the device.
    #[error("device `{device}` was not found on this machine: {reason}\nhint: {hint}")]
    NotFound {
        /// The requested device.
        device: DeviceChoice,
        /// The reason, with the devices that the machine has.
        reason: String,
        /// Advice to the user.
        hint: String,
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
            "vulkan" => Ok(Self::Vulkan),
            "cuda" => Ok(Self::Cuda),
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
            Self::Vulkan => f.write_str("vulkan"),
            Self::Cuda => f.write_str("cuda"),
        }
    }
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// If this build or this machine does not have it.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::NdArray => open_ndarray(self),
            Self::Wgpu | Self::WgpuIndex(_) | Self::WgpuCpu => open_wgpu(self),
            Self::Vulkan => open_vulkan(self),
            Self::Cuda => Err(DeviceError::NotSupported(self)),
        }
    }
}

/// Lists every word that `device` accepts, with a description of its device on this machine or the error of opening it.
#[must_use]
pub fn list() -> Vec<(String, Result<String, DeviceError>)> {
    let mut words = vec![
        (DeviceChoice::Cpu, Ok(processor())),
        (
            DeviceChoice::NdArray,
            open_ndarray(DeviceChoice::NdArray)
                .map(|_| "the processor, through Burn's ndarray backend, to cross-check results".into()),
        ),
    ];
    words.extend(list_wgpu());
    let vulkan = DeviceChoice::Vulkan;
    words.push((vulkan, vulkan.open().map(|_| "the GPU of `wgpu`, kernels compiled to SPIR-V".into())));
    words.push((DeviceChoice::Cuda, Err(DeviceError::NotSupported(DeviceChoice::Cuda))));
    let word = |device| match device {
        // If there is no such GPU, the general form of the word.
        (DeviceChoice::WgpuIndex(_), Err(error)) => ("wgpu:<n>".into(), Err(error)),
        (device, description) => (device.to_string(), description),
    };
    words.into_iter().map(word).collect()
}

fn processor() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("the processor, {threads} threads, {}", crate::cpu::simd::level().name())
}

#[cfg(feature = "wgpu")]
fn list_wgpu() -> Vec<(DeviceChoice, Result<String, DeviceError>)> {
    let _one_at_a_time = opened::OPENED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let adapters = adapters::Adapters::find();
    let indices = (0..adapters.discrete().max(1)).map(DeviceChoice::WgpuIndex);
    [DeviceChoice::Wgpu]
        .into_iter()
        .chain(indices)
        .chain([DeviceChoice::WgpuCpu])
        .map(|device| (device, adapters.adapter_of(device).map(ToString::to_string)))
        .collect()
}

#[cfg(not(feature = "wgpu"))]
fn list_wgpu() -> Vec<(DeviceChoice, Result<String, DeviceError>)> {
    [DeviceChoice::Wgpu, DeviceChoice::WgpuIndex(0), DeviceChoice::WgpuCpu]
        .map(|device| (device, open_wgpu(device).map(|_| String::new())))
        .into()
}

/// Opens the GPU that tests run on. Without a GPU it returns `None`, and writes the name of the skipped test and the
/// reason to standard error.
///
/// # Panics
/// If there is no GPU and `FORESEE_REQUIRE_WGPU=1`.
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
            // Written to standard error directly, since the test harness captures the printed output of a passing test.
            let _ = writeln!(std::io::stderr(), "skipped {test}: {why}");
            None
        }
    }
}

#[cfg(feature = "ndarray")]
#[allow(clippy::unnecessary_wraps)]
fn open_ndarray(_: DeviceChoice) -> Result<Device, DeviceError> {
    // Deprecated upstream in favour of Flex; kept as an independent implementation for cross-checks.
    #[allow(deprecated)]
    Ok(Device::ndarray())
}

#[cfg(not(feature = "ndarray"))]
fn open_ndarray(device: DeviceChoice) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { device, feature: "ndarray" })
}

#[cfg(not(feature = "vulkan"))]
fn open_vulkan(device: DeviceChoice) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt { device, feature: "vulkan" })
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
        for word in ["cpu", "ndarray", "wgpu", "wgpu:0", "wgpu:3", "wgpu:cpu", "vulkan", "cuda"] {
            assert_eq!(word.parse::<DeviceChoice>().unwrap().to_string(), word);
        }
    }

    #[test]
    fn an_unknown_device_names_the_word_and_the_choices() {
        let message = "gpu".parse::<DeviceChoice>().unwrap_err().to_string();
        assert!(message.contains("`gpu`") && message.contains("wgpu:<n>"), "{message}");
    }

    #[test]
    fn every_listed_word_but_the_general_one_is_a_device() {
        let listed = list();
        let words: Vec<_> = listed.iter().map(|(word, _)| &**word).collect();
        assert!(["cpu", "ndarray", "wgpu", "wgpu:cpu"].iter().all(|word| words.contains(word)), "{words:?}");
        for (word, description) in &listed {
            match description {
                Ok(text) => {
                    assert!(word.parse::<DeviceChoice>().is_ok_and(|device| device.open().is_ok()), "{word}: {text}");
                }
                Err(error) => assert!(error.to_string().contains("\nhint: "), "{word}: {error}"),
            }
        }
    }

    #[cfg(feature = "wgpu")]
    #[test]
    fn a_device_that_is_not_there_leaves_the_others_usable() {
        let message = DeviceChoice::WgpuIndex(40).open().unwrap_err().to_string();
        assert!(message.starts_with("device `wgpu:40` was not found on this machine: wgpu finds "), "{message}");
        let Some(device) = wgpu_of_test("a_device_that_is_not_there_leaves_the_others_usable") else { return };
        // Another thread that opens the device gets the same one.
        let again = std::thread::spawn(|| DeviceChoice::Wgpu.open().unwrap()).join().unwrap();
        assert_eq!(device, again);
        let sum = burn::tensor::Tensor::<1>::ones([3], &device).sum();
        assert_eq!(crate::tensors::to_vec(sum), [3.0]);
    }

    #[cfg(not(feature = "wgpu"))]
    #[test]
    fn a_device_outside_the_build_says_how_to_get_it() {
        let message = DeviceChoice::Wgpu.open().unwrap_err().to_string();
        assert!(message.contains("--features wgpu"), "{message}");
    }
}
