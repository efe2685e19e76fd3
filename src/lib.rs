//! Gaussian Spatial Transport: from a photo and points to a training loss.
#![deny(missing_docs, unsafe_code)]

mod annotations;
pub mod draw;
mod error;
mod grid;
mod image;
mod io;
pub mod kernel;
pub mod loss;
mod profile;
#[cfg(feature = "reference")]
pub mod reference;
pub mod splat;
#[cfg(feature = "proptest")]
pub mod strategies;
pub mod train;

pub use splatport_kernels as kernels;
#[cfg(feature = "vulkan")]
pub use splatport_kernels::Vulkan;
pub use splatport_kernels::{
    BFloat, Buffer, Device, Double, Gaussians, Half, HostReal, Precision, Real, Single, cubecl::Runtime,
};
#[cfg(feature = "cuda")]
pub use splatport_kernels::{Cuda, CudaRuntime};
#[cfg(feature = "wgpu")]
pub use splatport_kernels::{Wgpu, WgpuRuntime};

pub use crate::{
    annotations::{Annotations, Column},
    error::{Error, Result},
    grid::Grid,
    image::{Image, Pixels},
    io::{CsrTable, GaussianTable},
    kernel::{Certificate, Kernel, KernelRecipe},
    loss::{Batch, Loss, LossRecipe, Step},
    profile::Profile,
    splat::{Splat, SplatRecipe},
};

/// Starts the chain `Splat -> Kernel -> Loss` as a value that needs neither device nor image.
pub fn recipe() -> SplatRecipe {
    SplatRecipe::unbound()
}
