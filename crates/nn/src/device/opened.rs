//! Graphics devices that are set up: opening them, their adapters and limits, and ending a process that has used one.

#[cfg(feature = "wgpu")]
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;

use super::{Adapter, DeviceChoice};
#[cfg(feature = "wgpu")]
use super::{DeviceError, adapters};

/// The graphics devices that are set up. The lock also ensures that only one thread at a time sets up a device or
/// searches for adapters.
#[cfg(feature = "wgpu")]
pub(super) static OPENED: Mutex<Vec<(DeviceChoice, adapters::OpenedDevice)>> = Mutex::new(Vec::new());

#[cfg(feature = "wgpu")]
pub(super) fn open_wgpu(device: DeviceChoice) -> Result<Device, DeviceError> {
    use burn::tensor::DeviceKind;
    use burn::tensor::wgpu::WgpuBackend;
    let kind = match device {
        DeviceChoice::WgpuIndex(n) => DeviceKind::DiscreteGpu(n),
        DeviceChoice::WgpuCpu => DeviceKind::Cpu,
        _ => DeviceKind::DefaultDevice,
    };
    open_adapter(device, Device::wgpu(kind.clone()), kind, WgpuBackend::Auto)
}

/// Returns `opened`, after setting it up if this has not been done before.
#[cfg(feature = "wgpu")]
fn open_adapter(
    device: DeviceChoice,
    opened: Device,
    kind: burn::tensor::DeviceKind,
    api: burn::tensor::wgpu::WgpuBackend,
) -> Result<Device, DeviceError> {
    use burn::tensor::wgpu::WgpuInitError;
    let mut all = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = all.iter().find(|(word, _)| *word == device) {
        return known.usable(device).map(|()| opened);
    }
    if matches!(device, DeviceChoice::WgpuIndex(_)) {
        // A GPU that the config names by number is never replaced by another adapter.
        adapters::Adapters::find().adapter_of(device)?;
    }
    // If the setup were left to the first tensor, it would panic on a machine without an adapter.
    match Device::wgpu_options().device_kind(kind).graphics_api(api).init_with_setup() {
        Ok((_, setup)) => {
            let known = adapters::OpenedDevice::new(setup);
            let usable = known.usable(device);
            all.push((device, known));
            usable.map(|()| opened)
        }
        // A tensor has already set up the device.
        Err(WgpuInitError::Registration { .. }) => Ok(opened),
        Err(error) => {
            adapters::Adapters::find().adapter_of(device)?;
            let hint = "update its driver, or use `device=cpu`".into();
            Err(DeviceError::NotFound { device, reason: error.to_string(), hint })
        }
    }
}

/// The adapter of an opened device; `None` if the device does not use an adapter of a graphics API.
#[cfg(feature = "wgpu")]
#[must_use]
pub fn adapter(device: DeviceChoice) -> Option<Adapter> {
    let all = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().find(|(word, _)| *word == device).map(|(_, opened)| opened.adapter().clone())
}

/// The adapter of an opened device: always `None` in this build, which has no graphics API.
#[cfg(not(feature = "wgpu"))]
#[must_use]
pub fn adapter(_: DeviceChoice) -> Option<Adapter> {
    None
}

/// Size of the largest buffer that a kernel of this device can use, in bytes; `None` for the processor, which has no
/// such limit.
#[must_use]
pub fn largest_buffer(device: &Device) -> Option<u64> {
    #[cfg(feature = "wgpu")]
    if crate::cube::is_cube(device) {
        return Some(crate::cube::tensor::client(device).properties().memory.max_page_size);
    }
    let _ = device;
    None
}

/// Ends the process after writing out all of its output. If a graphics device was opened, the destructors of the
/// driver's globals are skipped, because those of Mesa crash while a queue is still at work.
pub fn end_process(code: u8) -> ! {
    use std::io::Write as _;
    let _ = (std::io::stdout().flush(), std::io::stderr().flush());
    #[cfg(all(feature = "wgpu", unix))]
    if !OPENED.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
        #[allow(unsafe_code, reason = "the C library's `_exit`")]
        {
            unsafe extern "C" {
                fn _exit(code: std::ffi::c_int) -> !;
            }
            // SAFETY: the declaration is that of the C library, and `_exit` only takes a number and does not return.
            unsafe { _exit(code.into()) }
        }
    }
    std::process::exit(code.into())
}

/// Makes an opened device fail, as a driver reset does. Returns whether the device was open. For tests.
#[doc(hidden)]
#[must_use]
pub fn lose(device: DeviceChoice) -> bool {
    #[cfg(feature = "wgpu")]
    if let Some((_, opened)) =
        OPENED.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|(word, _)| *word == device)
    {
        opened.lose();
        return true;
    }
    let _ = device;
    false
}

#[cfg(feature = "vulkan")]
pub(super) fn open_vulkan(device: DeviceChoice) -> Result<Device, DeviceError> {
    use burn::tensor::DeviceKind;
    use burn::tensor::wgpu::WgpuBackend;
    {
        let _one_at_a_time = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        // Mesa's software driver crashes the process on SPIR-V with shared memory, and a crash cannot be caught.
        adapters::Adapters::find().hardware(device)?;
    }
    open_adapter(device, Device::vulkan(DeviceKind::DefaultDevice), DeviceKind::DefaultDevice, WgpuBackend::Vulkan)
}
