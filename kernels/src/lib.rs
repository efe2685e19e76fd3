//! The device computations of Splatport, written once in CubeCL and generic over the runtime and the float type.
//!
//! [`Device`] is where everything runs, [`Buffer`] a typed array on it, and [`Precision`] the types to compute with and
//! to store. [`Cells`] and [`Mosaic`] are the cells of one image and of a batch.
//!
//! | module | what |
//! |---|---|
//! | **Gaussians** | |
//! | [`gaussian`] | the Gaussian as device functions see it: a mean and the matrix that whitens a displacement |
//! | [`affine`] | Gaussians moved with their image: crops, flips, turns, resizes, any affine map |
//! | [`mixture`] | annotations whose density is a mixture of Gaussians |
//! | [`nearest`] | the Gaussians that are nearest to every cell by Mahalanobis distance |
//! | **Tiles** | |
//! | [`bins`] | which Gaussians matter for which tile |
//! | [`listed`] | how long these lists hold while the Gaussians move |
//! | [`rasterize`] | drawing Gaussians, tile by tile |
//! | **Fit** | |
//! | [`target`] | a fit's residual without any Gaussian: background minus photo |
//! | [`penalty`] | how residuals count, and their sums |
//! | [`evaluate`] | one look at a fit: the residual's penalty and the sums that every derivative is made of |
//! | [`moments`] | those sums over a Gaussian's pixels |
//! | [`gradient`] | derivatives of the reconstruction error by every parameter of every Gaussian |
//! | [`descent`] | an Adam step of the fit, with the paper's deformity loss |
//! | [`gauss_newton`] | Gauss-Newton for many overlapping Gaussians at once |
//! | [`clock`] | which steps of a fit count, decided on the device |
//! | **Kernel and loss** | |
//! | [`correspondence`] | posterior rows: which annotation a cell belongs to, as a sparse matrix |
//! | [`ownership`] | which column owns a cell |
//! | [`transport`] | carrying densities to annotations and values back |
//! | [`discrepancy`] | how far the transported mass is from the target |
//! | [`cost`] | the transport cost on a fixed kernel |
//! | [`plan`] | derivatives of a loss by the Gaussians that its transport kernel was made from |
//! | **Other losses** | |
//! | [`sinkhorn`] | entropic optimal transport from the cells' mass to the points, balanced or not |
//! | [`dm_count`] | DM-Count's loss around a transport solution |
//! | [`pseudo_density`] | densities painted from points, and the squared distance of a density from one |
//! | **Arrays** | |
//! | [`adam`] | Adam, for the fit's parameters and for the trainer's |
//! | [`arithmetic`] | arithmetic on whole arrays |
//! | [`reduce`] | sum and largest element, in a fixed order |
//! | [`scan`] | exclusive prefix sum of counts |
//! | [`relu`], [`softplus`] | maps from any number to a density, and their derivatives |
#![deny(missing_docs, unsafe_code)]
#![warn(clippy::undocumented_unsafe_blocks)]
// In device functions `&&` evaluates both sides, a branch on a compile-time value must stand alone, and there is no
// `is_multiple_of`.
#![allow(clippy::collapsible_if, clippy::manual_is_multiple_of)]

pub mod adam;
pub mod affine;
pub mod arithmetic;
mod backend;
pub mod bins;
mod buffer;
pub mod clock;
pub mod correspondence;
pub mod cost;
pub mod descent;
mod device;
pub mod discrepancy;
pub mod dm_count;
mod error;
pub mod evaluate;
pub mod gauss_newton;
pub mod gaussian;
pub mod gradient;
mod grid;
pub mod listed;
pub mod mixture;
pub mod moments;
pub mod nearest;
pub mod ownership;
pub mod penalty;
pub mod plan;
pub mod pseudo_density;
pub mod rasterize;
mod real;
pub mod reduce;
pub mod relu;
pub mod scan;
pub mod sinkhorn;
pub mod softplus;
pub mod target;
mod totals;
pub mod transport;

#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub use backend::*;
pub use buffer::Buffer;
pub use cubecl;
pub use device::{Device, Shape};
pub use error::{Error, Result};
pub use gaussian::Gaussians;
pub use grid::{Cells, Mosaic};
pub use real::{BFloat, Double, Fixed, Half, HostReal, Precision, Real, Single, Storage};

/// The README's example is a test too.
#[cfg(all(doctest, feature = "vulkan"))]
#[doc = include_str!("../README.md")]
struct Readme;
