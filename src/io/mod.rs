//! Reads and writes tables of Gaussians and transport kernels as `.npz` or safetensors files, whole or not at all.

pub(crate) mod atomic;
mod csr_table;
mod density_table;
pub(crate) mod format;
mod gaussian_table;
#[cfg(feature = "data")]
pub(crate) mod mat;
pub(crate) mod npy;
mod npz;
#[cfg(feature = "hdf5")]
mod params;
pub(crate) mod safetensors;
mod table;

pub use atomic::write as write_whole;
pub use csr_table::CsrTable;
pub use density_table::DensityTable;
pub use gaussian_table::GaussianTable;
pub use table::Table;

/// The version of the layout of both tables; readers reject any other.
pub const VERSION: u32 = 1;
