//! What the graphics driver lists, and how CubeCL is asked for it.

use cubecl::future::block_on;
use cubecl_wgpu::{AutoGraphicsApi, GraphicsApi, WgpuDevice, WgpuRuntime};
use wgpu::{AdapterInfo, DeviceType};

use super::no_such;
use crate::{Device, Error, Result};

const KIND: &str = "Vulkan";

/// The variable by which CubeCL is told another default.
const OVERRIDE: &str = "CUBECL_WGPU_DEFAULT_DEVICE";

struct Adapter {
    name: String,
    device: WgpuDevice,
}

fn missing() -> Error {
    let hint = "install a GPU driver, or on Debian `apt-get install mesa-vulkan-drivers libvulkan1` for a software one";
    Error::NoDevice { kind: KIND, hint }
}

/// Names of all that CubeCL can be asked for.
pub(super) fn names() -> Vec<String> {
    adapters().into_iter().map(|adapter| adapter.name).collect()
}

/// The device with this index among the names.
pub(super) fn device(index: usize) -> Result<Device<WgpuRuntime>> {
    let mut adapters = adapters();
    match adapters.len() {
        0 => Err(missing()),
        count if index >= count => Err(no_such(KIND, index, count)),
        _ => {
            let Adapter { name, device } = adapters.swap_remove(index);
            Ok(Device::new(&device)?.named(name))
        }
    }
}

/// The default that CubeCL will take, looked at first: asked for what is not there it panics, and it ignores an override that it
/// does not understand.
pub(super) fn best() -> Result<Device<WgpuRuntime>> {
    let name = match std::env::var(OVERRIDE).ok().filter(|wanted| !wanted.is_empty()) {
        Some(wanted) => named(&wanted, adapters())?,
        None => preferred().ok_or_else(missing)?,
    };
    Ok(Device::new(&WgpuDevice::default())?.named(name))
}

/// Name of the adapter that the override means.
fn named(wanted: &str, adapters: Vec<Adapter>) -> Result<String> {
    if adapters.is_empty() {
        return Err(missing());
    }
    // `DiscreteGpu(1)` or `Cpu`: as the type prints itself.
    let names: Vec<String> = adapters.iter().map(|adapter| format!("{:?}", adapter.device)).collect();
    match names.iter().position(|name| name == wanted) {
        Some(at) => Ok(adapters[at].name.clone()),
        None => {
            Err(Error::NoSuchDevice { kind: KIND, wanted: format!("`{wanted}` ({OVERRIDE})"), known: names.join(", ") })
        }
    }
}

/// The adapters in the driver's order, by CubeCL's names: it counts GPUs of each sort, and knows one CPU.
fn adapters() -> Vec<Adapter> {
    let mut counts = [0; 3];
    let mut next = |sort: usize| {
        counts[sort] += 1;
        counts[sort] - 1
    };
    let mut adapters: Vec<Adapter> = Vec::new();
    for adapter in block_on(instance().enumerate_adapters(AutoGraphicsApi::backend().into())) {
        let info = adapter.get_info();
        let device = match info.device_type {
            DeviceType::DiscreteGpu => WgpuDevice::DiscreteGpu(next(0)),
            DeviceType::IntegratedGpu => WgpuDevice::IntegratedGpu(next(1)),
            DeviceType::VirtualGpu => WgpuDevice::VirtualGpu(next(2)),
            DeviceType::Cpu => WgpuDevice::Cpu,
            DeviceType::Other => continue,
        };
        if adapters.iter().all(|earlier| earlier.device != device) {
            adapters.push(Adapter { name: told(&info), device });
        }
    }
    adapters
}

/// The adapter that CubeCL takes by default.
fn preferred() -> Option<String> {
    let power_preference = wgpu::PowerPreference::HighPerformance;
    let options = wgpu::RequestAdapterOptions { power_preference, ..Default::default() };
    Some(told(&block_on(instance().request_adapter(&options)).ok()?.get_info()))
}

fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: AutoGraphicsApi::backend().into(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

/// An adapter as its driver calls it, with driver and compiler.
fn told(info: &AdapterInfo) -> String {
    let compiler = if cfg!(feature = "vulkan") { "SPIR-V" } else { "WGSL" };
    format!("{} ({} {}, {compiler})", info.name, info.driver, info.driver_info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_names_a_device_or_is_refused() {
        let adapters = || {
            [("first", WgpuDevice::DiscreteGpu(0)), ("second", WgpuDevice::DiscreteGpu(1)), ("third", WgpuDevice::Cpu)]
                .map(|(name, device)| Adapter { name: name.to_owned(), device })
                .into()
        };
        let named = |wanted| named(wanted, adapters()).map_err(|error| error.to_string());
        assert_eq!([named("DiscreteGpu(1)"), named("Cpu")], ["second", "third"].map(|name| Ok(name.to_owned())));
        let there = "there are DiscreteGpu(0), DiscreteGpu(1), Cpu";
        for wrong in ["DiscreteGpu(2)", "gpu"] {
            let sentence = format!("no Vulkan device `{wrong}` (CUBECL_WGPU_DEFAULT_DEVICE): {there}");
            assert_eq!(named(wrong), Err(sentence));
        }
        assert!(matches!(super::named("Cpu", Vec::new()), Err(Error::NoDevice { kind: "Vulkan", .. })));
    }
}
