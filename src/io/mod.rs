//! Files: tables of Gaussians and transport kernels as `.npz` or safetensors, written whole or not at all.

pub(crate) mod atomic;
mod csr_table;
mod format;
mod gaussian_table;
#[cfg(feature = "data")]
pub(crate) mod mat;
pub(crate) mod npy;
mod npz;
pub(crate) mod safetensors;

pub use csr_table::CsrTable;
pub use gaussian_table::GaussianTable;

/// The version of the layout of both tables; a reader refuses any other.
pub const VERSION: u32 = 1;
