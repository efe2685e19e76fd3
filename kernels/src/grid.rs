//! A grid of cells over an image, and the tiles that cover it.

mod counts;
mod mosaic;

use cubecl::prelude::*;

pub use self::mosaic::Mosaic;
pub(crate) use self::{
    counts::{Count, Counts},
    mosaic::{BLOCK, BUNDLE, Place, Plots},
};
use crate::{
    gaussian::{Area, Point},
    real::Real,
};

/// The cells of a density: `columns x rows` squares of `stride` px whose top-left corner is at (`left`, `top`).
///
/// Cell `(row, column)` is centered on `(left + (column + ½) stride, top + (row + ½) stride)`, in px of the image whose
/// top-left pixel is centered on (0.5, 0.5). Cells are numbered row by row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cells {
    /// Left edge, px.
    pub left: f64,
    /// Top edge, px.
    pub top: f64,
    /// Side of a cell, px.
    pub stride: f64,
    /// The number of cells in a row.
    pub columns: u32,
    /// The number of rows.
    pub rows: u32,
}

impl Cells {
    /// The most cells of a batch: a cell holds up to three values and a tile one value per pixel and channel, all
    /// addressed by 32-bit indices.
    pub const MOST: usize = u32::MAX as usize / 4;

    /// One cell per pixel of an image.
    pub fn pixels(width: u32, height: u32) -> Self {
        Self { left: 0.0, top: 0.0, stride: 1.0, columns: width, rows: height }
    }

    /// The number of cells.
    pub fn len(&self) -> usize {
        self.columns as usize * self.rows as usize
    }

    /// Whether there are no cells.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The center of cell `index`, px; if there is no column, of the first that there would be.
    pub fn centre(&self, index: usize) -> [f64; 2] {
        let columns = self.columns.max(1) as usize;
        let (row, column) = (index / columns, index % columns);
        [self.left + (column as f64 + 0.5) * self.stride, self.top + (row as f64 + 0.5) * self.stride]
    }
}

/// [`Cells`] as device functions see them.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Lattice<F: Real> {
    pub left: F,
    pub top: F,
    pub stride: F,
    pub columns: u32,
    pub rows: u32,
}

#[cube]
impl<F: Real> Lattice<F> {
    pub fn centre(&self, column: u32, row: u32) -> Point<F> {
        let half = F::new(0.5);
        Point::<F> {
            x: self.left + (F::cast_from(column) + half) * self.stride,
            y: self.top + (F::cast_from(row) + half) * self.stride,
        }
    }

    /// Tiles of `side` cells in a row.
    pub fn across(&self, #[comptime] side: u32) -> u32 {
        self.columns.div_ceil(side)
    }

    /// The box spanned by the cell centers of the grid's tile `tile` of `side` cells.
    pub fn area(&self, tile: u32, #[comptime] side: u32) -> Area<F> {
        let across = self.across(side);
        let (column, row) = ((tile % across) * side, (tile / across) * side);
        Area::<F> {
            low: self.centre(column, row),
            high: self.centre(u32::min(column + side, self.columns) - 1u32, u32::min(row + side, self.rows) - 1u32),
        }
    }
}
