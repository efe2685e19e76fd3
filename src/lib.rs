//! Gaussian Spatial Transport: from a photo and points to a training loss.
//!
//! There are three stages, each a type that is made from the one before:
//!
//! | stage | type | made by | what it is |
//! |---|---|---|---|
//! | 1 | [`Splat`] | [`Splat::of`] | 2-D Gaussians, one bound to each annotation, fitted to the photo |
//! | 2 | [`Kernel`] | [`Splat::kernel`] | sparse matrix: how much of every cell belongs to every annotation |
//! | 3 | [`Loss`] | [`Kernel::loss`] | `sum_n abs((K'z)_n - t_n)` of a density `z`, with its gradient |
//!
//! ```
//! use splatport::{Annotations, Grid, Image, Splat, Vulkan};
//!
//! let device = Vulkan::best()?;
//! let image = Image::from_u8(32, 32, 1, vec![0; 32 * 32])?;
//! let points = Annotations::new(vec![[10.0, 12.0], [22.5, 20.5]])?;
//!
//! let splat = Splat::of(&image, &points).fit(&device)?;
//! let kernel = splat.kernel(Grid::strided(&image, 4)).build()?;
//! let loss = kernel.loss();
//!
//! let empty = device.upload(&[0.0f32; 8 * 8]);
//! let step = loss.evaluate(&empty)?;
//! // Nothing arrives at either annotation, so every cell that belongs to one should gain mass.
//! assert_eq!(step.value()?, 2.0);
//! assert!(step.gradient().read()?.iter().all(|slope| *slope <= 0.0));
//! # Ok::<(), splatport::Error>(())
//! ```
//!
//! [`recipe`] starts the same chain as a value, without device or image. On top is a minimal [`train::Trainer`].
//!
//! Many images can be processed together: [`SplatRecipe::fit_all`] fits them in shared launches, and [`Kernel::of_all`]
//! builds their kernels. [`Splat::through`] a [`View`] moves Gaussians with a crop that was flipped or resized, and
//! [`Splat::through_all`] does so for a batch.
//!
//! # Where things are
//!
//! | in | what |
//! |---|---|
//! | the root | inputs ([`Image`], [`Annotations`], [`Grid`], [`View`]), stages and their recipes, [`Device`]s and [`Precision`]s, tables for files ([`GaussianTable`], [`CsrTable`], [`DensityTable`]), [`Error`] |
//! | [`splat`], [`kernel`], [`mod@loss`] | options and reports of the three stages; [`Profile`] names three complete sets of options |
//! | [`train`] | the trainer and its `DensityModel` |
//! | [`losses`] | the losses that the method is compared with |
//! | [`evaluation`] | scores of a density: counts, peaks, joints |
//! | [`draw`] | pictures |
//! | [`kernels`] | the single device operations, for code that wants them without the stages; may change with every version |
//!
//! | feature | adds |
//! |---|---|
//! | `vulkan` (default) | Vulkan through SPIR-V; implies `wgpu` |
//! | `wgpu` | Vulkan through WGSL, which more drivers accept |
//! | `cuda` | CUDA: builds without a toolkit, needs the driver and NVRTC at run time |
//! | `data` | readers for data sets in folders, synthetic crowds and figures, augmentation; all on the host |
//! | `burn` | every loss as a differentiable operation on Burn tensors, networks and their trainer |
//! | `hdf5` | reading and writing the Gaussians of the authors' code |
//! | `reference`, `proptest` | the f64 oracle, and the strategies that the library is tested with (these need the oracle) |
//! | `cli` | the command line `splatport` |
//!
//! Everything is generic over the [`Runtime`] and the [`Precision`] of the [`Device`] it is given. Devices, buffers and
//! stages can be sent to other threads and shared with them.
//!
//! There is one coordinate rule: px, x right, y down, **the center of the top-left pixel is (0.5, 0.5)**. And one
//! column rule: the background is the last column.
#![deny(missing_docs, unsafe_code)]

mod annotations;
#[cfg(feature = "burn")]
pub mod burn;
#[cfg(feature = "data")]
pub mod data;
pub mod draw;
mod error;
pub mod evaluation;
mod grid;
mod image;
mod io;
pub mod kernel;
pub mod loss;
pub mod losses;
mod profile;
#[cfg(feature = "reference")]
pub mod reference;
pub mod splat;
#[cfg(feature = "proptest")]
pub mod strategies;
pub mod train;
mod view;

pub use splatport_kernels as kernels;

// Devices.
#[cfg(feature = "vulkan")]
pub use splatport_kernels::Vulkan;
pub use splatport_kernels::{
    BFloat, Buffer, Device, Double, Fixed, Gaussians, Half, HostReal, Precision, Real, Single, Storage, cubecl::Runtime,
};
#[cfg(feature = "cuda")]
pub use splatport_kernels::{Cuda, CudaRuntime};
#[cfg(feature = "wgpu")]
pub use splatport_kernels::{Wgpu, WgpuRuntime};

// Inputs.
pub use crate::{
    annotations::{Annotations, Column},
    grid::Grid,
    image::{Image, Pixels},
    profile::Profile,
    view::View,
};

// Stages.
pub use crate::{
    kernel::{Certificate, Kernel, KernelRecipe},
    loss::{Discrepancy, Loss, LossRecipe, Step},
    splat::{Splat, SplatRecipe},
};

// Files and errors.
pub use crate::{
    error::{Error, Result},
    io::{CsrTable, DensityTable, GaussianTable, Table, VERSION, write_whole},
};

/// Starts the chain `Splat -> Kernel -> Loss` as a value that needs neither device nor image. See [`LossRecipe`].
pub fn recipe() -> SplatRecipe {
    SplatRecipe::unbound()
}

/// The README's examples are tests too.
#[cfg(all(doctest, feature = "vulkan"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// So are the examples of the page about the losses.
#[cfg(all(doctest, feature = "vulkan"))]
#[doc = include_str!("../docs/losses.md")]
struct Losses;
