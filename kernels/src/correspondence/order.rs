//! In which order an annotation adds its entries.

use std::ops::Range;

use crate::{
    bins::{COARSE, TILE},
    grid::Cells,
};

/// The cells of a grid tile by tile, in the order in which the slots of an annotation follow one another: coarse tiles row by
/// row, in each of them tiles row by row, in each of those cells row by row. Who makes [`super::Transposed`] of known rows in
/// this order gets the sums, bit for bit, of a matrix that was built on the device.
///
/// ```
/// use splatport_kernels::{Cells, correspondence};
///
/// let tiles: Vec<Vec<u32>> = correspondence::tiles(Cells::pixels(10, 2)).map(Iterator::collect).collect();
/// assert_eq!(tiles[0], [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17]);
/// assert_eq!(tiles[1], [8, 9, 18, 19]);
/// ```
pub fn tiles(cells: Cells) -> impl Iterator<Item = impl Iterator<Item = u32>> {
    let whole = Area { columns: 0..cells.columns, rows: 0..cells.rows };
    let tiles = whole.split(COARSE).flat_map(|coarse| coarse.split(TILE));
    tiles.map(move |tile| tile.rows.flat_map(move |y| tile.columns.clone().map(move |x| y * cells.columns + x)))
}

/// A rectangle of cells.
#[derive(Clone)]
struct Area {
    columns: Range<u32>,
    rows: Range<u32>,
}

impl Area {
    /// Squares of `side` cells, row by row; the last ones may be cut off.
    fn split(self, side: u32) -> impl Iterator<Item = Self> {
        parts(self.rows, side).flat_map(move |rows| {
            parts(self.columns.clone(), side).map(move |columns| Self { columns, rows: rows.clone() })
        })
    }
}

fn parts(range: Range<u32>, side: u32) -> impl Iterator<Item = Range<u32>> {
    range.clone().step_by(side as usize).map(move |first| first..range.end.min(first.saturating_add(side)))
}
