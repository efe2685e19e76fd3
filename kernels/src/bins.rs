//! Which Gaussians matter for which tile.
//!
//! A tile is `TILE x TILE` cells; `COARSE x COARSE` cells make a coarse tile. A Gaussian is kept for a tile unless a bound
//! over the box of its cell centres proves that it cannot matter there. The coarse lists are made from all Gaussians of the
//! image, a block of them a unit, and the fine ones from the coarse, by the same functions: count, scan, fill. Lists are
//! ascending, so nothing depends on the order in which units run. The transposed lists (the tiles of a Gaussian) are found
//! by binary search in them.

mod members;
mod slots;

use cubecl::prelude::*;

pub(crate) use self::slots::position;
use self::{members::Request, slots::slots};

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    gaussian::Frames,
    grid::{Cells, Count, Mosaic},
    real::{Precision, Real},
};

/// Cells along the side of a tile.
pub(crate) const TILE: u32 = 8;
/// Cells along the side of a coarse tile.
pub(crate) const COARSE: u32 = 64;

/// What makes a Gaussian matter for a tile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Some cell is within this squared Mahalanobis distance.
    Within(f64),
    /// It is the nearest Gaussian of some cell.
    Nearest,
    /// It is the nearest Gaussian of some cell (the background's weight depends on it), or its log density comes within
    /// `range` of the best logit of some cell. `floor` is a logit that every cell is known to reach (the background's), if
    /// there is one.
    Posterior {
        /// Width of the range, in nats.
        range: f64,
        /// See above.
        floor: Option<f64>,
    },
}

/// Lists of Gaussians per tile and of tiles per Gaussian.
#[derive(Debug)]
pub struct Bins<R: Runtime, F: Real> {
    pub(crate) mosaic: Mosaic<R, F>,
    /// Tile `t` holds `members[tile_starts[t] .. tile_starts[t + 1]]`.
    pub(crate) tile_starts: Buffer<R, u32>,
    pub(crate) members: Buffer<R, u32>,
    /// Gaussian `n` reaches `slot_tiles[slot_starts[n] .. slot_starts[n + 1]]`: its slots.
    pub(crate) slot_starts: Buffer<R, u32>,
    pub(crate) slot_tiles: Buffer<R, u32>,
    /// The Gaussian of every slot.
    pub(crate) slot_owners: Buffer<R, u32>,
    /// The slot of every member of a tile.
    pub(crate) member_slots: Buffer<R, u32>,
}

impl<R: Runtime, F: Real> Bins<R, F> {
    /// The grids.
    pub fn mosaic(&self) -> &Mosaic<R, F> {
        &self.mosaic
    }

    /// Number of (tile, Gaussian) pairs.
    pub fn pairs(&self) -> usize {
        self.members.len()
    }

    /// Bytes of device memory.
    pub fn bytes(&self) -> usize {
        let lists = [&self.tile_starts, &self.members, &self.slot_starts];
        let slots = [&self.slot_tiles, &self.slot_owners, &self.member_slots];
        lists.iter().chain(&slots).map(|buffer| buffer.bytes()).sum()
    }

    /// Number of tiles.
    pub fn tiles(&self) -> usize {
        self.mosaic.total(Count::Tiles)
    }

    /// Number of cells.
    pub fn cells(&self) -> usize {
        self.mosaic.total(Count::Cells)
    }
}

/// Builds the lists of one grid.
///
/// # Errors
/// [`crate::Error::TooLarge`] when there are more pairs than a 32-bit index can address.
pub fn bins<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    cells: Cells,
    rule: Rule,
) -> Result<Bins<R, P::Real>> {
    let mosaic = Mosaic::new(device, &[(cells, frames.len())])?;
    bins_of_batch(device, frames, &mosaic, rule, 0.0)
}

/// Builds the lists of many grids. `margin` (px) widens every tile, for Gaussians that may move before the next build.
///
/// # Errors
/// [`crate::Error::Length`] when the mosaic counts other Gaussians; [`crate::Error::TooLarge`] when there are more pairs than
/// a 32-bit index can address.
pub fn bins_of_batch<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    mosaic: &Mosaic<R, P::Real>,
    rule: Rule,
    margin: f64,
) -> Result<Bins<R, P::Real>> {
    frames.packed.expect("frames", mosaic.total(Count::Gaussians) * crate::gaussian::FRAME)?;
    let request = Request { frames, mosaic, rule, margin };
    let coarse = request.lists(device, None)?;
    let fine = request.lists(device, Some(&coarse))?;
    let slots = slots(device, &request, &coarse, &fine);
    Ok(Bins {
        mosaic: mosaic.clone(),
        tile_starts: fine.starts,
        members: fine.members,
        slot_starts: slots.starts,
        slot_tiles: slots.tiles,
        slot_owners: slots.owners,
        member_slots: slots.of_members,
    })
}
