//! A stored table of either kind.

use std::path::Path;

use super::{CsrTable, GaussianTable, format};
use crate::error::{Error, Result};

/// The contents of a `.npz` or `.safetensors` file, whose kind is told from its arrays.
///
/// ```
/// use splatport::{GaussianTable, Table};
///
/// let path = std::env::temp_dir().join("splatport-doc-table.npz");
/// let gaussians = GaussianTable { channels: 1, width: 8, height: 8, ..GaussianTable::default() };
/// Table::Gaussians(gaussians.clone()).save(&path)?;
/// assert_eq!(Table::open(&path)?, Table::Gaussians(gaussians));
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Table {
    /// The Gaussians of a splat.
    Gaussians(GaussianTable),
    /// A transport kernel.
    Kernel(CsrTable),
}

impl Table {
    /// Reads a file of either kind.
    ///
    /// # Errors
    /// [`Error::Format`] if it holds neither; otherwise as [`GaussianTable::open`] and [`CsrTable::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let input = format::open(path)?;
        let (gaussians, kernel) = (input.has("means"), input.has("indptr"));
        // The file is closed before it is opened again.
        drop(input);
        match (gaussians, kernel) {
            (true, _) => GaussianTable::open(path).map(Self::Gaussians),
            (_, true) => CsrTable::open(path).map(Self::Kernel),
            _ => Err(Error::format(path, "neither Gaussians (array `means`) nor a kernel (array `indptr`)")),
        }
    }

    /// Writes a file, whole or not at all, in the format given by its extension.
    ///
    /// # Errors
    /// As [`GaussianTable::save`] and [`CsrTable::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        match self {
            Self::Gaussians(table) => table.save(path),
            Self::Kernel(table) => table.save(path),
        }
    }

    /// What the file was made from, in its writer's words.
    pub fn origin(&self) -> &str {
        match self {
            Self::Gaussians(table) => &table.origin,
            Self::Kernel(table) => &table.origin,
        }
    }
}
