//! The cells of a density over an image.

use serde::{Deserialize, Serialize};
use splatport_kernels::Cells;

use crate::{CsrTable, Error, Image, Result};

/// Square cells of `stride` px over an image or a crop of it. Each cell is one entry of the density and one row of the
/// kernel.
///
/// Cell `(row, column)` is centered on `(left + (column + ½) stride, top + (row + ½) stride)` px of the whole image,
/// whose top-left pixel is centered on (0.5, 0.5). There are `ceil(width / stride) x ceil(height / stride)` cells, and
/// the last ones may reach over the edge. They are numbered row by row.
///
/// ```
/// use splatport::{Grid, Image};
///
/// let image = Image::from_u8(20, 10, 1, vec![0; 200])?;
/// let grid = Grid::strided(&image, 8);
/// assert_eq!((grid.columns(), grid.rows()), (3, 2));
/// assert_eq!(grid.centre(4), [12.0, 12.0]);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    image: [u32; 2],
    corner: [u32; 2],
    size: [u32; 2],
    stride: u32,
}

impl Grid {
    /// Cells of `stride` px over the whole image. A stride of 0 or a grid without cells is refused by the functions
    /// that take the grid.
    pub fn strided(image: &Image, stride: u32) -> Self {
        Self::over(image.width(), image.height(), stride)
    }

    /// Cells of `stride` px over an image of `width x height` px.
    pub fn over(width: u32, height: u32, stride: u32) -> Self {
        Self { image: [width, height], corner: [0, 0], size: [width, height], stride }
    }

    /// The cells of a crop: `width x height` px, whose upper left corner is pixel (`left`, `top`) of the whole image,
    /// whatever this grid covers. A crop that ends outside the image is refused by the functions that take the grid.
    pub fn crop(self, left: u32, top: u32, width: u32, height: u32) -> Self {
        Self { corner: [left, top], size: [width, height], ..self }
    }

    /// Number of cells in a row.
    pub fn columns(&self) -> u32 {
        self.size[0].div_ceil(self.stride.max(1))
    }

    /// Number of rows of cells.
    pub fn rows(&self) -> u32 {
        self.size[1].div_ceil(self.stride.max(1))
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.columns() as usize * self.rows() as usize
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Side of a cell, px.
    pub fn stride(&self) -> u32 {
        self.stride
    }

    /// Upper left corner, px.
    pub fn corner(&self) -> [u32; 2] {
        self.corner
    }

    /// Center of cell `index`, px.
    pub fn centre(&self, index: usize) -> [f64; 2] {
        self.cells().centre(index)
    }

    /// The cells of a stored kernel. If the sizes of the crop and of its image are not stored, both are taken to end
    /// with the last cells.
    pub(crate) fn stored(table: &CsrTable) -> Result<Self> {
        let (corner, cells) = ([table.left, table.top], [table.grid_width, table.grid_height]);
        let CsrTable { stride, size, image, .. } = *table;
        let mut grid = Self { image, corner: [0; 2], size, stride };
        for (axis, name) in ["left", "top"].into_iter().enumerate() {
            let (value, most) = (corner[axis], f64::from(u32::MAX));
            if value.fract() != 0.0 || !(0.0..=most).contains(&value) {
                return Err(Error::Option { name, value, why: "must be a whole number of px, 0 or more" });
            }
            let end = value + f64::from(cells[axis]) * f64::from(stride);
            grid.corner[axis] = value as u32;
            if size == [0, 0] {
                // In an image of the largest size, the last cell may reach over the edge.
                grid.size[axis] = end.min(most) as u32 - grid.corner[axis];
            }
            if image == [0, 0] {
                grid.image[axis] = grid.corner[axis].saturating_add(grid.size[axis]);
            }
            if stride > 0 && [grid.columns(), grid.rows()][axis] != cells[axis] {
                let (what, index, min) = ("end of the grid, axis", axis, 0.0);
                return Err(match size {
                    [0, 0] => Error::OutOfRange { what, index, value: end, min, max: most },
                    _ => Error::Length {
                        what: ["cells in a row of the stored size", "rows of cells of the stored size"][axis],
                        expected: cells[axis] as usize,
                        got: [grid.columns(), grid.rows()][axis] as usize,
                    },
                });
            }
        }
        grid.check(grid.image)?;
        Ok(grid)
    }

    /// Width and height of the area that the cells cover, px: the image, or a crop of it.
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// Width and height of the image that the cells lie on, px.
    pub fn image(&self) -> [u32; 2] {
        self.image
    }

    pub(crate) fn cells(&self) -> Cells {
        Cells {
            left: f64::from(self.corner[0]),
            top: f64::from(self.corner[1]),
            stride: f64::from(self.stride),
            columns: self.columns(),
            rows: self.rows(),
        }
    }

    /// Checks the grid when there is no image to compare it with.
    pub(crate) fn check_alone(&self) -> Result<()> {
        self.check(self.image)
    }

    /// Checks the grid against the size of the image that it must lie on.
    pub(crate) fn check(&self, image: [u32; 2]) -> Result<()> {
        if self.stride == 0 {
            return Err(Error::Option { name: "stride", value: 0.0, why: "must be at least 1" });
        }
        if self.is_empty() {
            return Err(Error::Empty { what: "grid" });
        }
        for (axis, size) in image.into_iter().enumerate() {
            if self.image[axis] != size {
                let (value, size) = (f64::from(self.image[axis]), f64::from(size));
                let what = "size of the grid's image, axis";
                return Err(Error::OutOfRange { what, index: axis, value, min: size, max: size });
            }
            let (first, last) = (f64::from(self.corner[axis]), f64::from(self.image[axis]));
            if first + f64::from(self.size[axis]) > last {
                let (value, max) = (first + f64::from(self.size[axis]), last);
                return Err(Error::OutOfRange { what: "end of the crop, axis", index: axis, value, min: 0.0, max });
            }
        }
        let (count, most) = (self.len() as u64, Cells::MOST as u64);
        if count > most {
            return Err(splatport_kernels::Error::TooLarge { what: "grid", count, most }.into());
        }
        Ok(())
    }
}
