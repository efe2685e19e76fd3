//! What is numbered through a batch, image after image, and how device functions find the image of a number.

use cubecl::prelude::*;

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
