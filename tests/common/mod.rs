//! The device of the tests: CUDA with the feature `cuda`, else SPIR-V with `vulkan`, else WGSL.

use std::sync::OnceLock;

use splatport::Device;

#[cfg(not(any(feature = "cuda", feature = "wgpu")))]
compile_error!("these tests run on a device: they need the feature `vulkan`, `wgpu` or `cuda`");

#[cfg(feature = "cuda")]
pub type R = splatport::CudaRuntime;
#[cfg(not(feature = "cuda"))]
pub type R = splatport::WgpuRuntime;

/// One device for all tests of the process.
pub fn device() -> &'static Device<R> {
    static DEVICE: OnceLock<Device<R>> = OnceLock::new();
    DEVICE.get_or_init(|| {
        #[cfg(feature = "cuda")]
        let found = splatport::Cuda::device(0);
        #[cfg(not(feature = "cuda"))]
        let found = splatport::Wgpu::best();
        found.expect("a device")
    })
}
