//! The graphics adapters of this machine, and the messages for a device that has none.
//!
//! The runtime chooses the first graphics API that has a GPU, or else the first one that has any adapter. The search in
//! this module follows the same order, so that it finds the adapter that `device=wgpu` gets.

use burn::tensor::wgpu::WgpuSetup;
use cubecl::future::block_on;
use cubecl::wgpu::AutoGraphicsApi;
use cubecl::wgpu::wgpu::{
    AdapterInfo, Backend, DeviceType, Instance, InstanceDescriptor, Limits, PowerPreference, RequestAdapterOptions,
};

use super::{Adapter, DeviceChoice, DeviceError};

const INSTALL: &str = "on Debian and Ubuntu `mesa-vulkan-drivers`, for AMD and Intel GPUs and for the software adapter; NVIDIA's driver includes its own";

/// Number of storage buffers of the kernel that has the most: the step of a rollout, including its sizes.
const BINDINGS: u32 = 16;
/// Number of threads in a cube.
const THREADS: u32 = 256;
/// Bytes of shared memory that the kernels of sums and sorts use; every WebGPU device has at least that many.
const SHARED: u32 = 16 << 10;

impl From<&AdapterInfo> for Adapter {
    fn from(info: &AdapterInfo) -> Self {
        let opengl = info.backend == Backend::Gl;
        let api = if opengl { "OpenGL".to_owned() } else { format!("{:?}", info.backend) };
        let driver = [&*info.driver, &*info.driver_info].join(" ");
        let api = match driver.trim() {
            "" => api,
            driver => format!("{api}, driver {driver}"),
        };
        let software = info.device_type == DeviceType::Cpu;
        Self { name: info.name.clone(), kind: kind(info.device_type), api, software, opengl }
    }
}

/// Formats an adapter as `name (kind)`.
fn short(adapter: &Adapter) -> String {
    format!("`{}` ({})", adapter.name, adapter.kind)
}

const DISCRETE: &str = "discrete GPU";
const SOFTWARE: &str = "software";

fn kind(kind: DeviceType) -> &'static str {
    match kind {
        DeviceType::DiscreteGpu => DISCRETE,
        DeviceType::IntegratedGpu => "integrated GPU",
        DeviceType::VirtualGpu => "virtual GPU",
        DeviceType::Cpu => SOFTWARE,
        DeviceType::Other => "kind unknown",
    }
}

/// A device that is set up.
#[derive(Debug)]
pub(super) struct OpenedDevice {
    adapter: Adapter,
    setup: WgpuSetup,
}

impl OpenedDevice {
    pub(super) fn new(setup: WgpuSetup) -> Self {
        Self { adapter: Adapter::from(&setup.adapter.get_info()), setup }
    }

    pub(super) fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// Checks that the kernels run on the device.
    ///
    /// # Errors
    /// If one of its limits is too low.
    pub(super) fn usable(&self, device: DeviceChoice) -> Result<(), DeviceError> {
        match low_limit(&self.setup.device.limits()) {
            Some(limit) => Err(DeviceError::TooSmall { device, adapter: self.adapter.to_string(), limit }),
            None => Ok(()),
        }
    }

    /// Makes the device fail.
    pub(super) fn lose(&self) {
        self.setup.device.destroy();
    }
}

/// Describes the first limit that is too low for the kernels.
fn low_limit(limits: &Limits) -> Option<String> {
    let bounds = [
        ("storage buffers per kernel", limits.max_storage_buffers_per_shader_stage, BINDINGS),
        ("threads per workgroup", limits.max_compute_invocations_per_workgroup, THREADS),
        ("threads along a workgroup's first axis", limits.max_compute_workgroup_size_x, THREADS),
        ("bytes of shared memory per workgroup", limits.max_compute_workgroup_storage_size, SHARED),
    ];
    let too_low = bounds.into_iter().find(|&(_, has, needs)| has < needs);
    too_low.map(|(what, has, needs)| format!("it has {has} {what}, and the kernels need {needs}"))
}

/// The adapters of the graphics API that the runtime chooses.
#[derive(Clone, Debug, Default)]
pub(super) struct Adapters {
    all: Vec<Adapter>,
    /// The adapter that `device=wgpu` gets.
    default: Option<Adapter>,
}

impl Adapters {
    /// Queries wgpu. Only one thread at a time may call this: the Vulkan loader crashes if several threads create and
    /// drop instances.
    pub(super) fn find() -> Self {
        let mut software = Self::default();
        for api in AutoGraphicsApi::chain() {
            let instance = Instance::new(InstanceDescriptor {
                backends: api.into(),
                ..InstanceDescriptor::new_without_display_handle()
            });
            let infos: Vec<_> =
                block_on(instance.enumerate_adapters(api.into())).iter().map(|adapter| adapter.get_info()).collect();
            let request = RequestAdapterOptions {
                power_preference: PowerPreference::HighPerformance,
                ..RequestAdapterOptions::default()
            };
            let default = block_on(instance.request_adapter(&request)).ok().map(|adapter| adapter.get_info());
            let found =
                Self { all: infos.iter().map(Adapter::from).collect(), default: default.as_ref().map(Adapter::from) };
            if infos.iter().any(|info| info.device_type != DeviceType::Cpu) {
                return found;
            }
            if software.all.is_empty() {
                software = found;
            }
        }
        software
    }

    fn of_kind(&self, kind: &str) -> Vec<&Adapter> {
        self.all.iter().filter(|adapter| adapter.kind == kind).collect()
    }

    /// Number of discrete GPUs, each of which has a word `wgpu:<n>`.
    pub(super) fn discrete(&self) -> usize {
        self.of_kind(DISCRETE).len()
    }

    /// The adapter of a device.
    ///
    /// # Errors
    /// If there is none; the error lists the existing adapters and gives advice.
    pub(super) fn adapter_of(&self, device: DeviceChoice) -> Result<&Adapter, DeviceError> {
        let found = match device {
            DeviceChoice::WgpuIndex(n) => self.of_kind(DISCRETE).get(n).copied(),
            DeviceChoice::WgpuCpu => self.of_kind(SOFTWARE).first().copied(),
            _ => self.default.as_ref(),
        };
        match found {
            Some(adapter) if adapter.opengl && matches!(device, DeviceChoice::WgpuIndex(_)) => {
                let reason =
                    format!("{} is available through OpenGL only, because no Vulkan driver was found", short(adapter));
                let hint =
                    "install the GPU's Vulkan driver, or use `device=wgpu`, which uses OpenGL with a warning".into();
                Err(DeviceError::NotFound { device, reason, hint })
            }
            Some(adapter) => Ok(adapter),
            None => {
                let (reason, hint) = self.why_not(device);
                Err(DeviceError::NotFound { device, reason, hint })
            }
        }
    }

    /// Checks that the default adapter is a GPU.
    ///
    /// # Errors
    /// If it is not.
    #[cfg(any(test, feature = "vulkan"))]
    pub(super) fn hardware(&self, device: DeviceChoice) -> Result<(), DeviceError> {
        match self.adapter_of(device)? {
            adapter if adapter.software => Err(DeviceError::NotFound {
                device,
                reason: format!("it needs a GPU, and wgpu finds only {}", short(adapter)),
                hint: "use `device=cpu`, or build without the feature `vulkan` and use `device=wgpu`".into(),
            }),
            _ => Ok(()),
        }
    }

    /// The reason why a device has no adapter, and a hint.
    fn why_not(&self, device: DeviceChoice) -> (String, String) {
        let list = |adapters: &[&Adapter]| adapters.iter().map(|a| short(a)).collect::<Vec<_>>().join(", ");
        let others = list(&self.all.iter().collect::<Vec<_>>());
        let discrete = self.of_kind(DISCRETE);
        match device {
            _ if self.all.is_empty() => (
                "wgpu finds no graphics adapter".into(),
                format!("install a Vulkan driver ({INSTALL}), or use `device=cpu`"),
            ),
            DeviceChoice::WgpuIndex(_) if discrete.is_empty() => (
                format!("wgpu finds no discrete GPU, only {others}"),
                "use `device=wgpu` for one of these, or `device=cpu`".into(),
            ),
            DeviceChoice::WgpuIndex(_) => {
                let (count, last) = (discrete.len(), discrete.len() - 1);
                let gpus = if count == 1 { "discrete GPU" } else { "discrete GPUs" };
                let words = if last == 0 { "`wgpu:0`".into() } else { format!("`wgpu:0` to `wgpu:{last}`") };
                (format!("wgpu finds {count} {gpus}: {}", list(&discrete)), format!("use {words}"))
            }
            DeviceChoice::WgpuCpu => (
                format!("wgpu finds no software adapter, only {others}"),
                format!("use `device=wgpu`, or install a software driver ({INSTALL})"),
            ),
            _ => (format!("wgpu can use none of the adapters that it finds: {others}"), "use `device=cpu`".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapters(kinds: &[DeviceType]) -> Adapters {
        let adapter = |(n, &of): (usize, &DeviceType)| Adapter {
            name: format!("card {n}"),
            kind: kind(of),
            api: "Vulkan".into(),
            software: of == DeviceType::Cpu,
            opengl: false,
        };
        let all: Vec<_> = kinds.iter().enumerate().map(adapter).collect();
        Adapters { default: all.first().cloned(), all }
    }

    #[track_caller]
    fn message(adapters: &Adapters, device: &str) -> String {
        adapters.adapter_of(device.parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn each_word_stands_for_an_adapter_of_its_kind() {
        use DeviceType::{Cpu, DiscreteGpu, IntegratedGpu};
        let machine = adapters(&[IntegratedGpu, DiscreteGpu, Cpu, DiscreteGpu]);
        for (device, card) in [("wgpu", 0), ("wgpu:0", 1), ("wgpu:1", 3), ("wgpu:cpu", 2)] {
            let adapter = machine.adapter_of(device.parse().unwrap()).unwrap();
            assert_eq!(adapter.name, format!("card {card}"), "{device}");
        }
    }

    #[test]
    fn an_index_that_is_too_large_is_told_how_many_there_are() {
        use DeviceType::{Cpu, DiscreteGpu, IntegratedGpu};
        let message_of = |kinds: &[DeviceType]| message(&adapters(kinds), "wgpu:2");
        assert_eq!(
            message_of(&[DiscreteGpu, Cpu, DiscreteGpu]),
            "device `wgpu:2` was not found on this machine: wgpu finds 2 discrete GPUs: `card 0` (discrete GPU), `card 2` (discrete GPU)\nhint: use `wgpu:0` to `wgpu:1`"
        );
        assert!(message_of(&[DiscreteGpu]).contains("finds 1 discrete GPU:"), "{}", message_of(&[DiscreteGpu]));
        let message = message_of(&[IntegratedGpu]);
        assert!(
            message.contains("no discrete GPU, only `card 0` (integrated GPU)\nhint: use `device=wgpu`"),
            "{message}"
        );
    }

    #[test]
    fn vulkan_is_refused_on_a_software_adapter() {
        use DeviceType::{Cpu, IntegratedGpu};
        let device: DeviceChoice = "vulkan".parse().unwrap();
        assert_eq!(adapters(&[IntegratedGpu, Cpu]).hardware(device), Ok(()));
        let message = adapters(&[Cpu]).hardware(device).unwrap_err().to_string();
        assert!(message.contains("needs a GPU") && message.contains("`card 0` (software)\nhint: "), "{message}");
        assert!(adapters(&[]).hardware(device).is_err());
    }

    #[test]
    fn a_gpu_that_is_named_is_not_taken_through_opengl_and_the_default_is_with_a_warning() {
        let mut found = adapters(&[DeviceType::DiscreteGpu]);
        found.all[0].opengl = true;
        found.default = found.all.first().cloned();
        let message = message(&found, "wgpu:0");
        assert!(
            message.contains("`card 0` (discrete GPU) is available through OpenGL only")
                && message.contains("\nhint: "),
            "{message}"
        );
        let device = DeviceChoice::Wgpu;
        let adapter = found.adapter_of(device).expect("the default");
        assert!(adapter.warning(device).expect("a warning").contains("falls back to OpenGL"));
    }

    #[test]
    fn a_software_adapter_is_told_of_unless_it_was_asked_for() {
        let found = adapters(&[DeviceType::Cpu]);
        let warning = found.all[0].warning(DeviceChoice::Wgpu).expect("a warning");
        assert!(warning.contains("card 0") && warning.contains("\nhint: "), "{warning}");
        assert_eq!(found.all[0].warning(DeviceChoice::WgpuCpu), None);
        assert_eq!(adapters(&[DeviceType::DiscreteGpu]).all[0].warning(DeviceChoice::Wgpu), None);
    }

    #[test]
    fn the_first_bound_that_is_too_low_is_named() {
        let enough = Limits { max_storage_buffers_per_shader_stage: BINDINGS, ..Limits::default() };
        assert_eq!(low_limit(&enough), None);
        // The limits that WebGPU guarantees on every device.
        let message = low_limit(&Limits::default()).expect("too few buffers");
        assert_eq!(message, "it has 8 storage buffers per kernel, and the kernels need 16");
        let limits = Limits { max_compute_invocations_per_workgroup: 128, ..enough };
        let message = low_limit(&limits).expect("too few threads");
        assert_eq!(message, "it has 128 threads per workgroup, and the kernels need 256");
    }

    #[test]
    fn a_machine_without_adapters_is_told_what_to_install() {
        for device in ["wgpu", "wgpu:0", "wgpu:cpu"] {
            let message = message(&Adapters::default(), device);
            assert!(message.contains("no graphics adapter\nhint: install a Vulkan driver"), "{message}");
            assert!(message.contains("mesa-vulkan-drivers") && message.contains("device=cpu"), "{message}");
        }
        let message = message(&adapters(&[DeviceType::DiscreteGpu]), "wgpu:cpu");
        assert!(message.contains("no software adapter") && message.contains("mesa-vulkan-drivers"), "{message}");
    }
}
