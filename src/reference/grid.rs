//! The grid of a density's cells, and their centers.
//!
//! ```
//! use splatport::reference::grid::Grid;
//!
//! let grid = Grid::over(20, 9, 8.0_f64);
//! assert_eq!((grid.rows, grid.cols), (2, 3)); // the last cells reach over the edge
//! assert_eq!(grid.centres()[4], [12.0, 12.0]);
//! ```

use super::{Scalar, count, real};

/// A density's grid of square cells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid<T> {
    /// The number of rows.
    pub rows: usize,
    /// The number of columns.
    pub cols: usize,
    /// x of the left edge, px (of a crop; 0 for the whole image).
    pub left: T,
    /// y of the top edge, px.
    pub top: T,
    /// Side of a cell, px.
    pub stride: T,
}

impl<T: Scalar> Grid<T> {
    /// The grid over a whole `width` x `height` px image: ceil(height/stride) x ceil(width/stride) cells.
    ///
    /// # Panics
    /// If `stride` is not positive and finite.
    pub fn over(width: usize, height: usize, stride: T) -> Self {
        let cells = |size: usize| match (count::<T>(size) / stride).ceil().to_usize() {
            Some(cells) if stride > T::zero() && stride.is_finite() => cells,
            _ => panic!("stride must be positive and finite"),
        };
        Self { rows: cells(height), cols: cells(width), left: T::zero(), top: T::zero(), stride }
    }

    /// Center (left + (col + 1/2) stride, top + (row + 1/2) stride) of every cell, px, row by row.
    pub fn centres(&self) -> Vec<[T; 2]> {
        let at = |start: T, index: usize| start + (count::<T>(index) + real(0.5)) * self.stride;
        let row = |row| (0..self.cols).map(move |col| [at(self.left, col), at(self.top, row)]);
        (0..self.rows).flat_map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stride_one_gives_pixel_centres_and_crops_shift() {
        let grid = Grid::over(2, 2, 1.0_f64);
        assert_eq!(grid.centres(), [[0.5, 0.5], [1.5, 0.5], [0.5, 1.5], [1.5, 1.5]]);
        let crop = Grid { left: 10.0, top: -3.0, stride: 4.0, ..grid };
        assert_eq!(crop.centres(), [[12.0, -1.0], [16.0, -1.0], [12.0, 3.0], [16.0, 3.0]]);
    }

    #[test]
    fn exact_strides_do_not_overhang() {
        let grid = Grid::over(64, 8, 8.0_f32);
        assert_eq!((grid.rows, grid.cols), (1, 8));
        assert_eq!(Grid::over(0, 5, 8.0_f64).centres().len(), 0);
    }
}
