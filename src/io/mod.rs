//! Files: tables of Gaussians and transport kernels as `.npz`, written whole or not at all.

pub(crate) mod atomic;
mod csr_table;
mod gaussian_table;
pub(crate) mod npy;
mod npz;

pub use csr_table::CsrTable;
pub use gaussian_table::GaussianTable;

/// The version of the layout of both tables; a reader refuses any other.
pub const VERSION: u32 = 1;
