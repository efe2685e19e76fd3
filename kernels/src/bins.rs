//! Finds which Gaussians matter for which tile.
//!
//! A tile is `TILE x TILE` cells; `COARSE x COARSE` cells make a coarse tile. A Gaussian is kept for a tile unless a
//! bound over the box of the tile's cell centers proves that it cannot matter there. The coarse lists are made from all
//! Gaussians of the image, one block of them per unit, and the fine lists from the coarse ones, by the same functions:
//! count, scan, fill. Lists are ascending, so nothing depends on the order in which units run. The transposed lists
//! (the tiles of a Gaussian) are found by binary search in them. Images of one coarse tile take a shortcut to the same
//! lists (`bins/small.rs`).

mod criterion;
mod members;
mod slots;
mod small;

use cubecl::prelude::*;

pub(crate) use self::slots::position;
use self::{members::Request, slots::slots, small::is_small};

use crate::{
    Error, Result,
    buffer::Buffer,
    device::{Device, Shape},
    gaussian::Frames,
    grid::{Cells, Count, Mosaic},
    real::{HostReal, Precision, Real},
    scan::addressable,
};

/// Cells along the side of a tile.
pub(crate) const TILE: u32 = 8;
/// Cells along the side of a coarse tile.
pub(crate) const COARSE: u32 = 64;

/// The rule by which a Gaussian matters for a tile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Some cell is within this squared Mahalanobis distance.
    Within(f64),
    /// It is one of this many nearest Gaussians of some cell.
    Nearest(u32),
    /// It is the nearest Gaussian of some cell (the background's weight depends on that one), or it is not among those
    /// that together have at most the share `dropped` of the posterior of any cell.
    Posterior {
        /// The share, above 0.
        dropped: f64,
    },
}

impl Rule {
    /// How far an image's Gaussians may stay below what is reached: squared distance or, of a posterior, nats.
    fn range<F: Real>(self, gaussians: usize) -> f64 {
        match self {
            Self::Within(limit) => limit,
            Self::Nearest(_) => 0.0,
            // Each of those left out weighs exp(-range) or less. Widened by the rounding of two logits of size up to
            // twice the range.
            Self::Posterior { dropped } => {
                let range = (gaussians.max(1) as f64 / dropped).ln().clamp(0.0, FARTHEST);
                range * (1.0 + 800.0 * F::EPSILON.cast_to_f64())
            }
        }
    }
}

/// Nats below which nothing weighs anything: `exp` of minus this is 0 in every float, times whatever number of
/// Gaussians.
const FARTHEST: f64 = 1e4;

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
    /// Members of the tile that has most.
    pub(crate) longest: u32,
}

impl<R: Runtime, F: Real> Bins<R, F> {
    /// The grids.
    pub fn mosaic(&self) -> &Mosaic<R, F> {
        &self.mosaic
    }

    /// The number of (tile, Gaussian) pairs.
    pub fn pairs(&self) -> usize {
        self.members.len()
    }

    /// The size in device memory, bytes.
    pub fn bytes(&self) -> usize {
        let lists = [&self.tile_starts, &self.members, &self.slot_starts];
        let slots = [&self.slot_tiles, &self.slot_owners, &self.member_slots];
        lists.iter().chain(&slots).map(|buffer| buffer.bytes()).sum()
    }

    /// The pairs that there are, of what there was room for.
    fn first(self, pairs: usize) -> Self {
        Self {
            members: self.members.first(pairs),
            slot_tiles: self.slot_tiles.first(pairs),
            slot_owners: self.slot_owners.first(pairs),
            member_slots: self.member_slots.first(pairs),
            ..self
        }
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

/// How many elements there is room for when lists are made; it grows to what was needed. If it is kept from one build
/// to the next, a build reads back nothing but its size.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    coarse: usize,
    fine: usize,
}

impl Room {
    /// A first guess, for Gaussians that reach a few coarse tiles; whether there was none before.
    pub(crate) fn guess(&mut self, gaussians: usize) -> bool {
        let first = self.coarse == 0;
        if first {
            *self = Self { coarse: roomy(4 * gaussians), fine: roomy(48 * gaussians) };
        }
        first
    }

    /// How many (tile, Gaussian) pairs there is room for.
    pub fn pairs(&self) -> usize {
        self.fine
    }

    /// After a build with so many pairs: what follows runs over the room, so there should not be much more of it.
    pub(crate) fn settle(&mut self, pairs: usize, first: bool) {
        self.fine = settled(self.fine, pairs, first);
    }
}

/// Added to what was needed.
const SLACK: f64 = 1.25;

/// What there should be room for, given what was needed.
pub(crate) fn roomy(needed: usize) -> usize {
    (needed as f64 * SLACK) as usize + 64
}

/// The room after a build that needed so much. A guess is dropped at once. What was needed before goes slowly, by a
/// sixteenth a build, so that batches that differ do not take turns in finding too little.
pub(crate) fn settled(room: usize, needed: usize, guessed: bool) -> usize {
    if guessed { roomy(needed) } else { roomy(needed).max(room - room / 16) }
}

/// Numbers that a build reads back together.
const TOTALS: usize = 6;
/// Where among them totals go that nobody asks for.
pub(crate) const UNASKED: u32 = 5;

/// Lists that were made without knowing whether there was room; see [`Draft::check`].
pub(crate) struct Draft<R: Runtime, F: Real> {
    pub bins: Bins<R, F>,
    /// Lengths of coarse lists, of fine lists, of the longest; the fourth place is free; most candidates of a fine
    /// list; see [`UNASKED`].
    pub totals: Buffer<R, u32>,
}

/// Longest list that a device which runs units one after the other can go through four times, as the most thorough
/// operation does: software Vulkan silently ends a unit's loops after 65535 rounds in all.
const LONGEST: u32 = 16_000;

impl<R: Runtime, F: Real> Draft<R, F> {
    /// Whether all lists had room; else `room` grows. `totals` are [`Draft::totals`], read.
    pub fn fits<P: Precision<Real = F>>(&self, device: &Device<R, P>, totals: &[u32], room: &mut Room) -> Result<bool> {
        let coarse = addressable(totals[0], "tile lists")?;
        if coarse > room.coarse {
            // Fine lists of coarse ones that were cut short mean nothing.
            room.coarse = roomy(coarse);
            return Ok(false);
        }
        device.check_rounds("Gaussians that matter for one tile of 64 x 64 cells", totals[4])?;
        if device.shape() == Shape::Gathered && totals[2] > LONGEST {
            return Err(Error::Count {
                what: "Gaussians that matter for one tile",
                value: totals[2],
                min: 0,
                max: LONGEST,
            });
        }
        let fine = addressable(totals[1], "tile lists")?;
        if fine > room.fine {
            room.fine = roomy(fine);
            return Ok(false);
        }
        Ok(true)
    }
}

/// Makes lists with the room that there is. `floor` is minus a logit that every cell of an image is known to reach (the
/// background's), `[images]`, if there is one.
pub(crate) fn draft<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    mosaic: &Mosaic<R, P::Real>,
    (rule, margin): (Rule, f64),
    floor: Option<&Buffer<R, P::Real>>,
    room: Room,
) -> Result<Draft<R, P::Real>> {
    frames.packed.expect("frames", mosaic.total(Count::Gaussians) * crate::gaussian::FRAME)?;
    let ranges: Vec<f64> = mosaic.images().iter().map(|&(_, gaussians)| rule.range::<P::Real>(gaussians)).collect();
    let request = Request { frames, mosaic, rule, ranges: device.upload_f64(&ranges), margin, floor };
    let totals = device.filled(0, TOTALS);
    let (fine, slots) = if mosaic.images().iter().all(is_small) {
        small::lists(device, &request, room.fine, &totals)?
    } else {
        let coarse = request.lists(device, None, room.coarse, &totals)?;
        let fine = request.lists(device, Some(&coarse), room.fine, &totals)?;
        let slots = slots(device, &request, &coarse, &fine);
        (fine, slots)
    };
    let bins = Bins {
        mosaic: mosaic.clone(),
        tile_starts: fine.starts,
        members: fine.members,
        slot_starts: slots.starts,
        slot_tiles: slots.tiles,
        slot_owners: slots.owners,
        member_slots: slots.of_members,
        longest: 0,
    };
    Ok(Draft { bins, totals })
}

/// Builds the lists of one grid.
///
/// # Errors
/// [`crate::Error::TooLarge`] when there are more pairs than a 32-bit index can address, [`crate::Error::NoRoom`] when
/// the device has no buffer for them.
pub fn bins<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    cells: Cells,
    rule: Rule,
) -> Result<Bins<R, P::Real>> {
    let mosaic = Mosaic::new(device, &[(cells, frames.len())])?;
    bins_of_batch(device, frames, &mosaic, (rule, 0.0), &mut Room::default())
}

/// Builds the lists of many grids. The margin (px) widens every tile, to allow for Gaussians that move before the next
/// build.
///
/// # Errors
/// [`crate::Error::Length`] when the mosaic has other numbers of Gaussians; otherwise as [`bins`].
pub fn bins_of_batch<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    mosaic: &Mosaic<R, P::Real>,
    (rule, margin): (Rule, f64),
    room: &mut Room,
) -> Result<Bins<R, P::Real>> {
    room.guess(frames.len());
    loop {
        let draft = draft(device, frames, mosaic, (rule, margin), None, *room)?;
        let totals = draft.totals.read()?;
        if draft.fits(device, &totals, room)? {
            return Ok(Bins { longest: totals[2], ..draft.bins.first(totals[1] as usize) });
        }
    }
}
