//! Graphics devices that are set up: opening them, their adapters and bounds, and the end of a process that used one.

#[cfg(feature = "wgpu")]
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;

use super::{Adapter, DeviceChoice};
#[cfg(feature = "wgpu")]
use super::{DeviceError, adapters};

/// Graphics devices are set up, and adapters looked for, by one thread at a time; holds those that are set up.
#[cfg(feature = "wgpu")]
pub(super) static OPENED: Mutex<Vec<(DeviceChoice, adapters::Opened)>> = Mutex::new(Vec::new());

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

/// `opened`, set up first if nobody has done so.
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
        // A GPU that is named is not replaced by another adapter.
        adapters::Adapters::find().behind(device)?;
    }
    // Left to the first tensor, the setup would panic where there is no adapter.
    match Device::wgpu_options().device_kind(kind).graphics_api(api).init_with_setup() {
        Ok((_, setup)) => {
            let known = adapters::Opened::new(setup);
            let usable = known.usable(device);
            all.push((device, known));
            usable.map(|()| opened)
        }
        // Somebody's tensor came first.
        Err(WgpuInitError::Registration { .. }) => Ok(opened),
        Err(error) => {
            adapters::Adapters::find().behind(device)?;
            let hint = "update its driver, or use `device=cpu`".into();
            Err(DeviceError::NotFound { device, reason: error.to_string(), hint })
        }
    }
}

/// What a device that was opened runs on; nothing where that is no adapter of a graphics API.
#[cfg(feature = "wgpu")]
#[must_use]
pub fn adapter(device: DeviceChoice) -> Option<Adapter> {
    let all = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().find(|(word, _)| *word == device).map(|(_, opened)| opened.adapter().clone())
}

/// What a device that was opened runs on: in this build never an adapter of a graphics API.
#[cfg(not(feature = "wgpu"))]
#[must_use]
pub fn adapter(_: DeviceChoice) -> Option<Adapter> {
    None
}

/// The largest buffer that a kernel of this device can be given, in bytes; nothing for the processor, which has no such
/// bound.
#[must_use]
pub fn largest_buffer(device: &Device) -> Option<u64> {
    #[cfg(feature = "wgpu")]
    if crate::cube::is_cube(device) {
        return Some(crate::cube::tensor::client(device).properties().memory.max_page_size);
    }
    let _ = device;
    None
}

/// Ends the process, all of its output written. Where a graphics device was opened, destructors of the driver's own globals
/// are left out: Mesa's crash while a queue is still at work.
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
            // SAFETY: it takes a number and does not return.
            unsafe { _exit(code.into()) }
        }
    }
    std::process::exit(code.into())
}

/// Loses a device that was opened, as a driver that is reset does; whether there was one. For tests.
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
        // Mesa's software driver crashes on SPIR-V with shared memory, which nobody can catch.
        adapters::Adapters::find().hardware(device)?;
    }
    open_adapter(device, Device::vulkan(DeviceKind::DefaultDevice), DeviceKind::DefaultDevice, WgpuBackend::Vulkan)
}
