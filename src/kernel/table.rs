//! A kernel's matrix on the host.

use splatport_kernels::{Precision, Storage, correspondence::Dropped, cubecl::Runtime};

use super::Kernel;
use crate::{CsrTable, Error, Grid, Result};

impl<R: Runtime, P: Precision> Kernel<R, P> {
    /// Copies the matrix to the host. The background is its last column, and the weights keep every bit, except that
    /// those of a [mixture](crate::Splat::mixed) are summed by annotation. [`Kernel::from_table`] puts it back.
    ///
    /// # Errors
    /// [`Error::Length`] for a kernel of many images, for which there is [`tables`](Kernel::tables); [`Error::Device`].
    pub fn table(&self) -> Result<CsrTable> {
        if self.parts.len() != 1 {
            return Err(Error::Length { what: "images of a kernel for one table", expected: 1, got: self.parts.len() });
        }
        Ok(self.tables()?.remove(0))
    }

    /// Copies the matrices of all images to the host. Each equals the [`table`](Kernel::table) of its image alone, bit
    /// for bit.
    ///
    /// ```
    /// use splatport::{Annotations, Grid, Kernel, Splat, Vulkan};
    ///
    /// let device = Vulkan::best()?;
    /// let points = Annotations::new(vec![[10.0, 12.0], [22.5, 20.5]])?;
    /// let (large, none) = (Splat::round(&device, &points, [32, 32], 4.0)?, Annotations::new(Vec::new())?);
    /// let images = [(&large, Grid::over(32, 32, 4)), (&Splat::round(&device, &none, [20, 8], 4.0)?, Grid::over(20, 8, 4))];
    ///
    /// let kernel = Kernel::of_all(&device, &images, splatport::Profile::Recommended.kernel())?;
    /// assert_eq!(kernel.tables()?[0], large.kernel(Grid::over(32, 32, 4)).build()?.table()?);
    /// assert_eq!(kernel.certificates()?[1].entries, 0); // all of the empty image is background
    /// # Ok::<(), splatport::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn tables(&self) -> Result<Vec<CsrTable>> {
        let (starts, columns) = self.entries.row_starts.read_with(&self.entries.columns)?;
        let (weights, background) = self.entries.weights.read_with(&self.entries.background)?;
        let (mut row, mut column) = (0, 0);
        let mut tables = Vec::with_capacity(self.parts.len());
        for (&(annotations, grid), &dropped) in self.parts.iter().zip(&self.entries.dropped) {
            let mut table = self.empty_table(annotations, grid, dropped);
            for (at, behind) in (row..).zip(&background[row..row + grid.len()]) {
                let entries = starts[at] as usize..starts[at + 1] as usize;
                let names = columns[entries.clone()].iter().map(|name| name - column);
                add_row(&mut table, names.zip(&weights[entries]), behind);
            }
            row += grid.len();
            column += annotations as u32;
            tables.push(table);
        }
        Ok(tables)
    }

    /// The table of an image, without rows yet.
    fn empty_table(&self, annotations: usize, grid: Grid, dropped: Dropped) -> CsrTable {
        CsrTable {
            tau: self.tau,
            worst_dropped: dropped.worst,
            bound: dropped.bound,
            storage: self.storage,
            profile: self.profile.name().to_owned(),
            ..without_rows(annotations, grid)
        }
    }
}

/// A table of a kernel of these columns and cells that has no rows yet.
pub(crate) fn without_rows(annotations: usize, grid: Grid) -> CsrTable {
    CsrTable {
        rows: grid.len(),
        cols: annotations + 1,
        indptr: vec![0],
        stride: grid.stride(),
        left: f64::from(grid.corner()[0]),
        top: f64::from(grid.corner()[1]),
        grid_width: grid.columns(),
        grid_height: grid.rows(),
        size: grid.size(),
        image: grid.image(),
        ..CsrTable::default()
    }
}

/// Adds a row of annotations and weights, followed by the background.
fn add_row<'a, W: Storage + 'a>(table: &mut CsrTable, entries: impl Iterator<Item = (u32, &'a W)>, background: &W) {
    let first = table.indices.len();
    for (name, weight) in entries {
        let weight = in_table(weight);
        // In a mixture, entries of one annotation follow one another.
        match table.indices[first..].last() {
            Some(&last) if last == name => {
                let sum = table.data.last_mut().expect("as many as indices");
                *sum = rounded::<W>(*sum + weight);
            }
            _ => {
                table.indices.push(name);
                table.data.push(weight);
            }
        }
    }
    if background.value() > 0.0 {
        table.indices.push(table.cols as u32 - 1);
        table.data.push(in_table(background));
    }
    table.indptr.push(table.data.len() as u32);
}

/// A stored weight as a table has it.
pub(super) fn in_table<W: Storage>(stored: &W) -> f64 {
    rounded::<W>(stored.value())
}

/// A value of a table whose kernel stores `W`: an `f32` unless `W` is wider, so that the table's file is not twice as
/// long. That is exact for floats; fixed point comes back from it.
pub(crate) fn rounded<W>(value: f64) -> f64 {
    if size_of::<W>() > size_of::<f32>() { value } else { f64::from(value as f32) }
}
