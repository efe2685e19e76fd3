//! The runtimes that ship with the crate, behind features of the same names.

#[cfg(any(feature = "wgpu", feature = "cuda"))]
use crate::{Device, Result};

/// A device reached through `wgpu`: Vulkan on Linux and Windows, Metal on macOS.
#[cfg(feature = "wgpu")]
pub use cubecl_wgpu::WgpuRuntime;

/// An NVIDIA device reached through CUDA; the driver and NVRTC are loaded at run time.
#[cfg(feature = "cuda")]
pub use cubecl_cuda::CudaRuntime;

/// Vulkan devices; device functions are compiled to SPIR-V.
#[cfg(feature = "vulkan")]
#[derive(Debug, Clone, Copy)]
pub struct Vulkan;

#[cfg(feature = "vulkan")]
impl Vulkan {
    /// The fastest Vulkan device: a GPU if there is one, else a software driver such as Mesa's lavapipe.
    ///
    /// `CUBECL_WGPU_DEFAULT_DEVICE`, `DiscreteGpu(1)` or `Cpu` for example, overrides the choice.
    ///
    /// # Errors
    /// [`crate::Error::NoDevice`] without a Vulkan driver, [`crate::Error::UnsupportedFloat`] when the device fails the
    /// self-check.
    pub fn best() -> Result<Device<WgpuRuntime>> {
        best_wgpu()
    }
}

/// Devices through `wgpu` with its portable shader language: device functions are compiled to WGSL, unless the feature
/// `vulkan` is on too, which replaces the compiler by SPIR-V's.
#[cfg(feature = "wgpu")]
#[derive(Debug, Clone, Copy)]
pub struct Wgpu;

#[cfg(feature = "wgpu")]
impl Wgpu {
    /// The fastest device; see `Vulkan::best`.
    ///
    /// # Errors
    /// [`crate::Error::NoDevice`] without a driver, [`crate::Error::UnsupportedFloat`] when the device fails the
    /// self-check.
    pub fn best() -> Result<Device<WgpuRuntime>> {
        best_wgpu()
    }
}

#[cfg(feature = "wgpu")]
fn best_wgpu() -> Result<Device<WgpuRuntime>> {
    use cubecl_wgpu::WgpuDevice;

    let missing = || crate::Error::NoDevice {
        kind: "Vulkan",
        hint: "install a GPU driver, or on Debian `apt-get install mesa-vulkan-drivers libvulkan1` for a software one",
    };
    // Asking CubeCL for a client without an adapter, or with an override that names none, panics: look first.
    let name = adapter_name().ok_or_else(missing)?;
    let device = std::panic::catch_unwind(|| Device::new(&WgpuDevice::default())).map_err(|_| missing())??;
    Ok(device.named(name))
}

/// The adapter that CubeCL will choose, as its driver calls it.
#[cfg(feature = "wgpu")]
fn adapter_name() -> Option<String> {
    use cubecl_wgpu::{AutoGraphicsApi, GraphicsApi};

    let backends = AutoGraphicsApi::backend().into();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let power_preference = wgpu::PowerPreference::HighPerformance;
    let options = wgpu::RequestAdapterOptions { power_preference, ..Default::default() };
    let info = cubecl::future::block_on(instance.request_adapter(&options)).ok()?.get_info();
    let compiler = if cfg!(feature = "vulkan") { "SPIR-V" } else { "WGSL" };
    let chosen = std::env::var("CUBECL_WGPU_DEFAULT_DEVICE").unwrap_or(info.name);
    Some(format!("{chosen} ({} {}, {compiler})", info.driver, info.driver_info))
}

/// CUDA devices.
#[cfg(feature = "cuda")]
#[derive(Debug, Clone, Copy)]
pub struct Cuda;

#[cfg(feature = "cuda")]
impl Cuda {
    /// The CUDA device with this index.
    ///
    /// # Errors
    /// [`crate::Error::NoDevice`] without the driver or such a device.
    pub fn device(index: usize) -> Result<Device<CudaRuntime>> {
        if index >= Self::count()? {
            return Err(Self::missing());
        }
        Device::new(&cubecl_cuda::CudaDevice::new(index))
    }

    /// All CUDA devices, in the order of their indices.
    ///
    /// # Errors
    /// [`crate::Error::NoDevice`] without the driver or any device.
    pub fn all() -> Result<Vec<Device<CudaRuntime>>> {
        match Self::count()? {
            0 => Err(Self::missing()),
            count => (0..count).map(|index| Device::new(&cubecl_cuda::CudaDevice::new(index))).collect(),
        }
    }

    fn count() -> Result<usize> {
        use cubecl::Runtime;

        // cudarc loads the driver lazily and panics where there is none.
        std::panic::catch_unwind(|| CudaRuntime::enumerate_all_devices(&()).len()).map_err(|_| Self::missing())
    }

    fn missing() -> crate::Error {
        crate::Error::NoDevice { kind: "CUDA", hint: "it needs an NVIDIA driver and libnvrtc on the library path" }
    }
}
