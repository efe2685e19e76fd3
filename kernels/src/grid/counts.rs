//! What is numbered through a batch, image after image, and how device functions find the image of a number.

use cubecl::prelude::*;

use crate::bins::TILE;

/// Numbers per image in the table: what comes before it (as [`Count`] numbers them), then its columns and rows.
pub(super) const ROW: u32 = 7;
pub(super) const COLUMNS: u32 = 5;

/// What is numbered through a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Count {
    Cells = 0,
    Tiles = 1,
    /// Pairs of a coarse tile and a block of Gaussians.
    Roots = 2,
    Gaussians = 3,
    /// Bundles of tiles.
    Bundles = 4,
}

/// What is numbered in a [`Mosaic`](super::Mosaic), as device functions see it; for those that need not know where anything lies.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Counts {
    pub table: Array<u32>,
    pub images: u32,
}

#[cube]
impl Counts {
    /// What comes before the image; `image` may be the number of images.
    pub fn before(&self, image: u32, #[comptime] count: Count) -> u32 {
        self.table[(image * ROW + comptime!(count as u32)) as usize]
    }

    pub fn images(&self) -> u32 {
        self.images
    }

    pub fn total(&self, #[comptime] count: Count) -> u32 {
        self.before(self.images, count)
    }

    /// The image that has number `index`: the last one that does not start after it.
    pub fn holding(&self, index: u32, #[comptime] count: Count) -> u32 {
        let mut low = 0u32;
        let mut high = self.images;
        while low + 1u32 < high {
            let middle = (low + high) / 2u32;
            if self.before(middle, count) <= index {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Number of an annotation's column: every image's annotations come before its background.
    pub fn column(&self, annotation: u32, image: u32) -> u32 {
        annotation + image
    }

    /// Number of an image's background column.
    pub fn background(&self, image: u32) -> u32 {
        self.before(image + 1u32, Count::Gaussians) + image
    }

    /// Which cells tile `tile` of the batch has.
    pub fn corner(&self, tile: u32) -> Corner {
        let image = self.holding(tile, Count::Tiles);
        let size = (image * ROW + COLUMNS) as usize;
        let columns = self.table[size];
        let (local, across) = (tile - self.before(image, Count::Tiles), columns.div_ceil(TILE));
        Corner {
            image,
            first_cell: self.before(image, Count::Cells),
            columns,
            rows: self.table[size + 1],
            column: local % across * TILE,
            row: local / across * TILE,
        }
    }

    /// Groups before the image, where `size` elements of an image make one and every image has at least one.
    pub fn groups_before(&self, image: u32, #[comptime] count: Count, #[comptime] size: u32) -> u32 {
        self.before(image, count) / size + image
    }

    /// The image that has group `group`.
    pub fn holding_group(&self, group: u32, #[comptime] count: Count, #[comptime] size: u32) -> u32 {
        let mut low = 0u32;
        let mut high = self.images;
        while low + 1u32 < high {
            let middle = (low + high) / 2u32;
            if self.groups_before(middle, count, size) <= group {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// A tile, by its top-left cell, in a grid of `columns x rows` cells.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Corner {
    pub image: u32,
    /// First cell of the image.
    pub first_cell: u32,
    pub columns: u32,
    pub rows: u32,
    pub column: u32,
    pub row: u32,
}
