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
    use cubecl::Runtime;
    use cubecl_wgpu::{AutoGraphicsApi, GraphicsApi, WgpuDevice};

    // Asking for a client without an adapter panics inside CubeCL: look first.
    if WgpuRuntime::enumerate_all_devices(&AutoGraphicsApi::backend()).is_empty() {
        return Err(crate::Error::NoDevice {
            kind: "Vulkan",
            hint: "install a GPU driver, or on Debian `apt-get install mesa-vulkan-drivers libvulkan1` for a software one",
        });
    }
    Device::new(&WgpuDevice::default())
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
        use cubecl::Runtime;

        let missing = || crate::Error::NoDevice {
            kind: "CUDA",
            hint: "it needs an NVIDIA driver and libnvrtc on the library path",
        };
        // cudarc loads the driver lazily and panics where there is none.
        let count = std::panic::catch_unwind(|| CudaRuntime::enumerate_all_devices(&()).len()).map_err(|_| missing())?;
        if index >= count {
            return Err(missing());
        }
        Device::new(&cubecl_cuda::CudaDevice::new(index))
    }
}
