//! The graphics adapters of this machine, and what to say where the one asked for is not among them.
//!
//! The runtime settles on the first graphics API that has a GPU, or else on the first that has any adapter. The search
//! here goes the same way, so that it finds what `device=wgpu` gets.

use std::fmt;

use cubecl::future::block_on;
use cubecl::wgpu::AutoGraphicsApi;
use cubecl::wgpu::wgpu::{
    AdapterInfo, Backend, DeviceType, Instance, InstanceDescriptor, PowerPreference, RequestAdapterOptions,
};

use super::{DeviceChoice, DeviceError};

const INSTALL: &str = "on Debian and Ubuntu the package `mesa-vulkan-drivers`, for AMD and Intel and for the processor in software; NVIDIA's driver brings its own";

/// One adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    name: String,
    kind: DeviceType,
    /// The graphics API, and the driver's name and version where it tells them.
    through: String,
}

impl Adapter {
    fn new(info: &AdapterInfo) -> Self {
        let api = match info.backend {
            Backend::Gl => "OpenGL".to_owned(),
            other => format!("{other:?}"),
        };
        let driver = [&*info.driver, &*info.driver_info].join(" ");
        let through = match driver.trim() {
            "" => api,
            driver => format!("{api}, driver {driver}"),
        };
        Self { name: info.name.clone(), kind: info.device_type, through }
    }

    /// The same for others.
    pub fn public(&self) -> super::Adapter {
        super::Adapter {
            name: self.name.clone(),
            kind: kind(self.kind),
            through: self.through.clone(),
            software: self.kind == DeviceType::Cpu,
            opengl: self.through.starts_with("OpenGL"),
        }
    }

    /// `name (kind)`.
    fn short(&self) -> String {
        format!("`{}` ({})", self.name, kind(self.kind))
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.name, kind(self.kind), self.through)
    }
}

fn kind(kind: DeviceType) -> &'static str {
    match kind {
        DeviceType::DiscreteGpu => "discrete GPU",
        DeviceType::IntegratedGpu => "integrated GPU",
        DeviceType::VirtualGpu => "virtual GPU",
        DeviceType::Cpu => "software",
        DeviceType::Other => "kind unknown",
    }
}

/// The adapters of the graphics API that is in force.
#[derive(Clone, Debug, Default)]
pub struct Adapters {
    all: Vec<Adapter>,
    /// The one that `wgpu` gets.
    default: Option<Adapter>,
}

impl Adapters {
    /// Asks wgpu. To be called by one thread at a time: the Vulkan loader crashes where instances come and go on several.
    pub fn find() -> Self {
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
                Self { all: infos.iter().map(Adapter::new).collect(), default: default.as_ref().map(Adapter::new) };
            if infos.iter().any(|info| info.device_type != DeviceType::Cpu) {
                return found;
            }
            if software.all.is_empty() {
                software = found;
            }
        }
        software
    }

    fn of_kind(&self, kind: DeviceType) -> Vec<&Adapter> {
        self.all.iter().filter(|adapter| adapter.kind == kind).collect()
    }

    /// How many words `wgpu:<n>` there are.
    pub fn discrete(&self) -> usize {
        self.of_kind(DeviceType::DiscreteGpu).len()
    }

    /// What stands behind a device.
    ///
    /// # Errors
    /// If nothing does: what there is instead, and what to do.
    pub fn behind(&self, device: DeviceChoice) -> Result<&Adapter, DeviceError> {
        let found = match device {
            DeviceChoice::WgpuIndex(n) => self.of_kind(DeviceType::DiscreteGpu).get(n).copied(),
            DeviceChoice::WgpuCpu => self.of_kind(DeviceType::Cpu).first().copied(),
            _ => self.default.as_ref(),
        };
        found.ok_or_else(|| {
            let (reason, hint) = self.why_not(device);
            DeviceError::NotFound { device, reason, hint }
        })
    }

    /// That the default adapter is a GPU.
    ///
    /// # Errors
    /// If it is none.
    #[cfg(any(test, feature = "vulkan"))]
    pub fn hardware(&self, device: DeviceChoice) -> Result<(), DeviceError> {
        match self.behind(device)? {
            software if software.kind == DeviceType::Cpu => Err(DeviceError::NotFound {
                device,
                reason: format!("it needs a GPU, and wgpu finds only {}", software.short()),
                hint: "use a build without the feature `vulkan` and `device=wgpu`, or `device=cpu`".into(),
            }),
            _ => Ok(()),
        }
    }

    /// The reason, and the hint.
    fn why_not(&self, device: DeviceChoice) -> (String, String) {
        let list = |adapters: &[&Adapter]| adapters.iter().map(|a| a.short()).collect::<Vec<_>>().join(", ");
        let others = list(&self.all.iter().collect::<Vec<_>>());
        let discrete = self.of_kind(DeviceType::DiscreteGpu);
        match device {
            _ if self.all.is_empty() => (
                "wgpu finds no graphics adapter".into(),
                format!("install a Vulkan driver ({INSTALL}), or use `device=cpu`"),
            ),
            DeviceChoice::WgpuIndex(_) if discrete.is_empty() => (
                format!("wgpu finds no discrete GPU, only {others}"),
                "use `device=wgpu` for what there is, or `device=cpu`".into(),
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
            _ => (format!("wgpu gives none of {others}"), "use `device=cpu`".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapters(kinds: &[DeviceType]) -> Adapters {
        let adapter = |(n, &kind)| Adapter { name: format!("card {n}"), kind, through: "Vulkan".into() };
        let all: Vec<_> = kinds.iter().enumerate().map(adapter).collect();
        Adapters { default: all.first().cloned(), all }
    }

    #[track_caller]
    fn message(adapters: &Adapters, device: &str) -> String {
        adapters.behind(device.parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn each_word_stands_for_an_adapter_of_its_kind() {
        use DeviceType::{Cpu, DiscreteGpu, IntegratedGpu};
        let machine = adapters(&[IntegratedGpu, DiscreteGpu, Cpu, DiscreteGpu]);
        for (device, card) in [("wgpu", 0), ("wgpu:0", 1), ("wgpu:1", 3), ("wgpu:cpu", 2)] {
            let behind = machine.behind(device.parse().unwrap()).unwrap();
            assert_eq!(behind.name, format!("card {card}"), "{device}");
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
