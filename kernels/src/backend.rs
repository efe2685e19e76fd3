//! The runtimes that ship with the crate, behind features of the same names.

#[cfg(feature = "wgpu")]
mod adapters;

#[cfg(any(feature = "wgpu", feature = "cuda"))]
use crate::{Device, Error, Result};

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
    /// The environment variable `CUBECL_WGPU_DEFAULT_DEVICE`, for example `DiscreteGpu(1)` or `Cpu`, overrides the
    /// choice.
    ///
    /// # Errors
    /// [`Error::NoDevice`] without a Vulkan driver, [`Error::NoSuchDevice`] when the variable names a device that does
    /// not exist, [`Error::UnsupportedFloat`] when the device fails the self-check, [`Error::Device`].
    pub fn best() -> Result<Device<WgpuRuntime>> {
        adapters::best()
    }

    /// The names of all Vulkan devices, in the driver's order; empty without a driver.
    pub fn names() -> Vec<String> {
        adapters::names()
    }

    /// The device with this index in [`names`](Self::names).
    ///
    /// To CubeCL this is a different device from [`best`](Self::best), even if both are the same hardware: arrays of
    /// one cannot be used with the other.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] with the number of devices; otherwise as [`best`](Self::best).
    pub fn device(index: usize) -> Result<Device<WgpuRuntime>> {
        adapters::device(index)
    }
}

/// Devices through `wgpu` with its portable shader language: device functions are compiled to WGSL, unless the feature
/// `vulkan` is also on, which replaces the compiler with that for SPIR-V.
#[cfg(feature = "wgpu")]
#[derive(Debug, Clone, Copy)]
pub struct Wgpu;

#[cfg(feature = "wgpu")]
impl Wgpu {
    /// The fastest device; see `Vulkan::best`.
    ///
    /// # Errors
    /// As `Vulkan::best`.
    pub fn best() -> Result<Device<WgpuRuntime>> {
        adapters::best()
    }

    /// The names of all devices; see `Vulkan::names`.
    pub fn names() -> Vec<String> {
        adapters::names()
    }

    /// The device with this index in [`names`](Self::names); see `Vulkan::device`.
    ///
    /// # Errors
    /// As `Vulkan::device`.
    pub fn device(index: usize) -> Result<Device<WgpuRuntime>> {
        adapters::device(index)
    }
}

/// The error for a device that does not exist.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn no_such(kind: &'static str, index: usize, count: usize) -> Error {
    Error::NoSuchDevice { kind, wanted: index.to_string(), known: format!("{count}, numbered from 0") }
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
    /// [`Error::NoDevice`] without a driver or without any device, [`Error::NoSuchDevice`] with the number of devices,
    /// [`Error::UnsupportedFloat`], [`Error::Device`].
    pub fn device(index: usize) -> Result<Device<CudaRuntime>> {
        match Self::count()? {
            count if index >= count => Err(no_such("CUDA", index, count)),
            _ => Device::new(&cubecl_cuda::CudaDevice::new(index)),
        }
    }

    /// All CUDA devices, in the order of their indices.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    pub fn all() -> Result<Vec<Device<CudaRuntime>>> {
        (0..Self::count()?).map(Self::device).collect()
    }

    /// The number of devices, at least one.
    fn count() -> Result<usize> {
        use cubecl::Runtime;

        let hint = "it needs an NVIDIA driver and libnvrtc on the library path";
        // cudarc loads the driver lazily and panics where there is none.
        match std::panic::catch_unwind(|| CudaRuntime::enumerate_all_devices(&()).len()) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(Error::NoDevice { kind: "CUDA", hint }),
        }
    }
}
