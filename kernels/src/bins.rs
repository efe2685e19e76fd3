//! Which Gaussians matter for which tile.
//!
//! A tile is `TILE x TILE` cells; `COARSE x COARSE` tiles make a coarse tile. A Gaussian is kept for a tile unless a bound
//! over the box of its cell centres proves that it cannot matter there. The coarse lists are made from all Gaussians and the
//! fine ones from the coarse, by the same functions: count, scan, fill. Lists are ascending, so nothing depends on the order
//! in which units run. The transposed lists (the tiles of a Gaussian) are found by binary search in them.

mod members;
mod slots;

use cubecl::prelude::*;

pub(crate) use self::slots::position;
use self::{
    members::{Lists, Request},
    slots::slots,
};

use crate::{Result, buffer::Buffer, device::Device, gaussian::Frames, grid::Cells, real::Precision};

/// Cells along the side of a tile.
pub(crate) const TILE: u32 = 8;
/// Cells along the side of a coarse tile.
const COARSE: u32 = 64;

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
pub struct Bins<R: Runtime> {
    pub(crate) cells: Cells,
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

impl<R: Runtime> Bins<R> {
    /// Number of (tile, Gaussian) pairs.
    pub fn pairs(&self) -> usize {
        self.members.len()
    }

    /// Number of tiles.
    pub fn tiles(&self) -> usize {
        self.tile_starts.len() - 1
    }
}

/// Builds the lists. `margin` (px) widens every tile, for Gaussians that may move before the next build.
///
/// # Errors
/// [`crate::Error::TooLarge`] when there are more pairs than a 32-bit index can address.
pub fn bins<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    cells: Cells,
    rule: Rule,
    margin: f64,
) -> Result<Bins<R>> {
    let everything = Lists { starts: device.upload(&[0, frames.len() as u32]), members: device.uninit(0) };
    let request = Request { frames, cells: &cells, rule, margin };
    let coarse = request.lists(device, &everything, COARSE, true)?;
    let fine = request.lists(device, &coarse, TILE, false)?;
    let slots = slots(device, frames.len(), &cells, &coarse, &fine);
    Ok(Bins {
        cells,
        tile_starts: fine.starts,
        members: fine.members,
        slot_starts: slots.starts,
        slot_tiles: slots.tiles,
        slot_owners: slots.owners,
        member_slots: slots.of_members,
    })
}
