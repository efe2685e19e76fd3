//! Gaussian Spatial Transport: from a photo and points to a training loss.
//!
//! The three stages are finished types, each made from the one before:
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
//! The same chain as a value, without device or image, starts at [`recipe`]. A minimal [`train::Trainer`] stands on top.
//!
//! Many images go together: [`SplatRecipe::fit_all`] fits them in shared launches, [`Kernel::of_all`] builds their kernels,
//! [`Splat::through`] a [`View`] moves Gaussians with a crop that was flipped or resized, [`Splat::through_all`] those of a batch.
//!
//! Where things are: [`splat`], [`kernel`] and [`loss`] hold the stages with their options, [`train`] the trainer, [`draw`] the
//! pictures, [`evaluation`] the scores of a density, [`losses`] the losses that it is compared with, [`kernels`] the device operations one by one, for code that wants
//! them without the stages. [`Profile`] names three complete sets of options. Everything is generic over the [`Runtime`] and the [`Precision`] of the [`Device`] it is given.
//! The features `reference` and `proptest` add the f64 oracle and the strategies that the library is tested with.
//! The feature `data` adds data sets in folders, synthetic crowds and figures, and augmentation, all on the host. The feature
//! `burn` makes every loss a differentiable operation on Burn tensors, and adds networks and their trainer. The feature `hdf5` reads
//! and writes the Gaussians of the authors' code.
//!
//! One coordinate rule: x right, y down, px, **the centre of the top-left pixel is (0.5, 0.5)**. One column rule: the background
//! is the last.
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
#[cfg(feature = "vulkan")]
pub use splatport_kernels::Vulkan;
pub use splatport_kernels::{
    BFloat, Buffer, Device, Double, Fixed, Gaussians, Half, HostReal, Precision, Real, Single, Storage, cubecl::Runtime,
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
    io::{CsrTable, DensityTable, GaussianTable, Table, VERSION, write_whole},
    kernel::{Certificate, Kernel, KernelRecipe},
    loss::{Discrepancy, Loss, LossRecipe, Step},
    profile::Profile,
    splat::{Splat, SplatRecipe},
    view::View,
};

/// Starts the chain `Splat -> Kernel -> Loss` as a value that needs neither device nor image; see [`LossRecipe`].
pub fn recipe() -> SplatRecipe {
    SplatRecipe::unbound()
}

/// The README's examples are tests too.
#[cfg(all(doctest, feature = "vulkan"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// So are those of the page about the losses.
#[cfg(all(doctest, feature = "vulkan"))]
#[doc = include_str!("../docs/losses.md")]
struct Losses;
