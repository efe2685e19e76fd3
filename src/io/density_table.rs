//! Files of densities, or of other values per cell.

use std::fs;
use std::io::Write;
use std::path::Path;

use npyz::WriterBuilder;

use super::{atomic, npy::Array};
use crate::error::{Error, Result, check_finite, check_length};

/// One value per cell of a grid, `[rows, columns]`: a density (mass per cell) or a gradient.
///
/// The file is a NumPy array `.npy` with two axes, rows first. It is written as `f32` and read from any number type.
///
/// ```
/// use splatport::DensityTable;
///
/// let density = DensityTable { rows: 1, columns: 2, values: vec![0.25, 1.5] };
/// let path = std::env::temp_dir().join("splatport-doc-density.npy");
/// density.save(&path)?;
/// assert_eq!(DensityTable::open(&path)?, density);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DensityTable {
    /// The number of cells in a column of the grid.
    pub rows: usize,
    /// The number of cells in a row of the grid.
    pub columns: usize,
    /// The values, row by row.
    pub values: Vec<f32>,
}

impl DensityTable {
    /// Writes a `.npy` file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::NotFinite`] if the table is inconsistent or not finite; [`Error::Write`] if the
    /// file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.check()?;
        let shape = [self.rows as u64, self.columns as u64];
        atomic::write(path.as_ref(), |file| {
            let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut *file).begin_nd()?;
            writer.extend(self.values.iter().copied())?;
            writer.finish()?;
            Ok(file.flush()?)
        })
    }

    /// Reads a `.npy` file.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read, [`Error::Format`] if it is not an array of numbers with two axes,
    /// [`Error::In`] around [`Error::NotFinite`], which names the cell.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|error| Error::read(path, error))?;
        let table = Self::parse(&bytes).map_err(|reason| Error::format(path, reason))?;
        table.check().map_err(|error| error.within(path))?;
        Ok(table)
    }

    fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let array = Array::parse(bytes)?;
        let &[rows, columns] = array.shape() else {
            return Err(format!("shape {:?}, expected [rows, columns]", array.shape()));
        };
        let (rows, columns) = (rows as usize, columns as usize);
        let values: Vec<f32> = array.to_f64()?.into_iter().map(|value| value as f32).collect();
        let by_row = |at: usize| values[at % columns * rows + at / columns];
        let values = match array.is_column_major() {
            true => (0..values.len()).map(by_row).collect(),
            false => values,
        };
        Ok(Self { rows, columns, values })
    }

    fn check(&self) -> Result<()> {
        check_length("values", self.rows.saturating_mul(self.columns), self.values.len())?;
        check_finite("values", 1, &self.values)
    }
}
