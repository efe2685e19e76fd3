//! The device functions of Splatport, written once in CubeCL and generic over runtime and float type.
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
