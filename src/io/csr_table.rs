//! Files of transport kernels.

use std::path::Path;

use super::format::{self, Entry, Shaped, Values};
use crate::error::{Error, Result, check_finite, check_length};

/// A sparse matrix in compressed rows, with the settings it was built with; a file keeps every bit.
///
/// Row `r` has the values `data[indptr[r]..indptr[r + 1]]`; their columns are at the same positions of `indices`. The
/// arrays of the file have the names of the fields; besides, there are `shape` (`[rows, cols]`), `format` (`csr`) and
/// `version` ([`VERSION`](super::VERSION)), so that `scipy.sparse.load_npz` reads the matrix and `numpy.load` the rest,
/// without pickles. `data` is `f32` where that keeps every bit, otherwise `f64`. A safetensors file has the same arrays,
/// with texts as UTF-8 bytes of type `u8`; its metadata entry `crc32` is the CRC-32 of the bytes of all arrays in the
/// order of their names. The matrix may have no columns and no entries.
///
/// [`Kernel::table`](crate::Kernel::table) makes one, [`Kernel::from_table`](crate::Kernel::from_table) puts it back on
/// a device.
///
/// ```
/// use splatport::CsrTable;
///
/// let table = CsrTable {
///     rows: 2,
///     cols: 3,
///     indptr: vec![0, 2, 3],
///     indices: vec![0, 2, 1],
///     data: vec![0.25, 0.75, 1.0],
///     grid_width: 2,
///     grid_height: 1,
///     stride: 8,
///     ..CsrTable::default()
/// };
/// for name in ["splatport-doc-kernel.npz", "splatport-doc-kernel.safetensors"] {
///     let path = std::env::temp_dir().join(name);
///     table.save(&path)?;
///     assert_eq!(CsrTable::open(&path)?, table);
/// }
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CsrTable {
    /// The number of rows: `grid_width * grid_height` cells.
    pub rows: usize,
    /// The number of columns.
    pub cols: usize,
    /// Where every row begins, followed by the number of entries: `rows + 1` values, starting at 0 and never falling.
    pub indptr: Vec<u32>,
    /// The column of every entry, below `cols`.
    pub indices: Vec<u32>,
    /// The value of every entry.
    pub data: Vec<f64>,
    /// The largest L1 error of a row that is allowed for entries that are not stored.
    pub tau: f64,
    /// The largest mass that was found to be dropped from any row before the rest was scaled up to 1.
    pub worst_dropped: f64,
    /// An upper bound on the mass dropped from any row; may be infinite.
    pub bound: f64,
    /// An upper bound on the change of any single weight by storing, 0 to 1. In a mixture, whose weights are sums, it
    /// holds for each Gaussian's part.
    pub storage: f64,
    /// The profile the kernel was built with.
    pub profile: String,
    /// The side of a cell, px.
    pub stride: u32,
    /// The left edge of the grid, px.
    pub left: f64,
    /// The upper edge of the grid, px.
    pub top: f64,
    /// The number of cells in a row of the grid.
    pub grid_width: u32,
    /// The number of cells in a column of the grid.
    pub grid_height: u32,
    /// Width and height of the area that the cells cover, px: the image, or a crop of it. `[0, 0]` stands for an area
    /// that ends with the last cells.
    pub size: [u32; 2],
    /// Width and height of the image that the cells lie on, px. `[0, 0]` stands for one that ends with the area that
    /// they cover.
    pub image: [u32; 2],
    /// What the file was made from, in its writer's words; empty if nothing was given, and then not in the file.
    pub origin: String,
}

impl CsrTable {
    /// Writes a file, whole or not at all: `.npz` or `.safetensors`, by its extension. Equal tables give equal files.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::NotFinite`] or [`Error::OutOfRange`] if the table is inconsistent or holds an
    /// invalid value; [`Error::Format`] for another extension; [`Error::Write`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.check()?;
        let (shape, entries) = ([self.rows as u64, self.cols as u64], self.data.len());
        let mut arrays = vec![
            Entry::one("format", Values::Ascii(b"csr")),
            Entry::array("shape", &[2], &shape[..]),
            Entry::array("indptr", &[self.indptr.len()], &self.indptr[..]),
            Entry::array("indices", &[entries], &self.indices[..]),
            Entry::array("data", &[entries], &self.data[..]),
            Entry::one("tau", &self.tau),
            Entry::one("worst_dropped", &self.worst_dropped),
            Entry::one("bound", &self.bound),
            Entry::one("storage", &self.storage),
            Entry::one("profile", &self.profile[..]),
            Entry::one("stride", &self.stride),
            Entry::one("left", &self.left),
            Entry::one("top", &self.top),
            Entry::one("grid_width", &self.grid_width),
            Entry::one("grid_height", &self.grid_height),
            Entry::array("size", &[2], &self.size[..]),
            Entry::array("image", &[2], &self.image[..]),
        ];
        arrays.extend(format::origin(&self.origin));
        format::write(path.as_ref(), arrays)
    }

    /// Reads a file that [`save`](Self::save) or another program wrote: `.npz` or `.safetensors`, by its extension.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read; [`Error::Format`] for another extension or a wrong checksum, or
    /// naming the array that is missing, damaged or of another shape, type or version; [`Error::In`] around the error
    /// with which [`save`](Self::save) would reject the table.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut input = format::open(path)?;
        if input.ascii("format")? != b"csr" {
            return Err(input.wrong("format", "not `csr`"));
        }
        let shape = input.u32s("shape", &[Some(2)])?.values;
        let data = input.floats("data", &[None])?;
        let table = Self {
            rows: shape[0] as usize,
            cols: shape[1] as usize,
            indptr: input.u32s("indptr", &[Some(shape[0] as usize + 1)])?.values,
            indices: input.u32s("indices", &[Some(data.values.len())])?.values,
            data: data.values,
            tau: input.f64("tau")?,
            worst_dropped: input.f64("worst_dropped")?,
            bound: input.f64("bound")?,
            storage: input.f64("storage")?,
            profile: input.text("profile")?,
            stride: input.u32("stride")?,
            left: input.f64("left")?,
            top: input.f64("top")?,
            grid_width: input.u32("grid_width")?,
            grid_height: input.u32("grid_height")?,
            size: pair(input.u32s("size", &[Some(2)])?),
            image: pair(input.u32s("image", &[Some(2)])?),
            origin: input.origin()?,
        };
        table.check().map_err(|error| error.within(path))?;
        Ok(table)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let cells = (self.grid_width as usize).saturating_mul(self.grid_height as usize);
        check_length("rows", cells, self.rows)?;
        check_length("indptr", self.rows.saturating_add(1), self.indptr.len())?;
        check_length("indices", self.data.len(), self.indices.len())?;
        self.check_indptr()?;
        if let Some(index) = self.indices.iter().position(|&column| column as usize >= self.cols) {
            let max = self.cols as f64 - 1.0;
            return Err(outside("indices", index, self.indices[index], 0.0, max));
        }
        let scalars = [
            ("tau", self.tau),
            ("worst_dropped", self.worst_dropped),
            ("bound", self.bound),
            ("storage", self.storage),
            ("left", self.left),
            ("top", self.top),
        ];
        // A kernel without a bound stores an infinite one; nothing else may be infinite.
        let wrong = |(name, value): &(_, f64)| value.is_nan() || value.is_infinite() && *name != "bound";
        if let Some((what, value)) = scalars.into_iter().find(wrong) {
            return Err(Error::NotFinite { what, index: 0, value });
        }
        check_finite("data", 1, &self.data)
    }

    /// Checks that rows begin at 0, never run backwards and end with the last entry.
    fn check_indptr(&self) -> Result<()> {
        let entries = self.data.len();
        let mut least = 0;
        for (index, &start) in self.indptr.iter().enumerate() {
            let most = if index == 0 { 0 } else { entries };
            let least_here = if index == self.rows { entries } else { least };
            if (start as usize) < least_here || start as usize > most {
                return Err(outside("indptr", index, start, least_here as f64, most as f64));
            }
            least = start as usize;
        }
        Ok(())
    }
}

fn pair(array: Shaped<u32>) -> [u32; 2] {
    [array.values[0], array.values[1]]
}

fn outside(what: &'static str, index: usize, value: u32, min: f64, max: f64) -> Error {
    Error::OutOfRange { what, index, value: value.into(), min, max }
}
