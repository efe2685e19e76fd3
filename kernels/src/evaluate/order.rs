//! The order in which tiles are looked at: those that a Gaussian reaches first.

use cubecl::prelude::*;

use crate::{Result, bins::Bins, buffer::Buffer, device::Device, real::Precision, scan};

/// Tiles of a unit, whose places it gives one after the other.
const GROUP: u32 = 64;
/// Lengths of lists that are told apart; longer ones count as the longest.
const LENGTHS: u32 = 32;

pub(super) struct Order<R: Runtime> {
    /// Tiles.
    pub tiles: Buffer<R, u32>,
    /// The place of every tile.
    pub ranks: Buffer<R, u32>,
    /// How many a Gaussian reaches.
    pub covered: usize,
}

impl<R: Runtime> Order<R> {
    /// As tiles follow one another, or `by_length` of their lists, the longest first.
    pub fn new<P: Precision>(device: &Device<R, P>, bins: &Bins<R, P::Real>, by_length: bool) -> Result<Self> {
        let tiles = bins.tiles();
        let groups = tiles.div_ceil(GROUP as usize);
        let kinds = if by_length { LENGTHS } else { 2 };
        let counts = device.uninit(groups * kinds as usize);
        let (cubes, dim) = device.per_unit(groups);
        let (cubes, client) = (|| cubes.clone(), device.client());
        count_kinds::launch::<R>(client, cubes(), dim, bins.tile_starts.arg(), counts.arg(), groups as u32, kinds);
        let starts = scan::starts(device, &counts).starts;
        let order = Self { tiles: device.uninit(tiles), ranks: device.uninit(tiles), covered: 0 };
        let covered = device.uninit(1);
        place::launch::<R>(
            client,
            cubes(),
            dim,
            bins.tile_starts.arg(),
            starts.arg(),
            order.tiles.arg(),
            order.ranks.arg(),
            covered.arg(),
            groups as u32,
            kinds,
        );
        Ok(Self { covered: scan::addressable(covered.read_one()?, "covered tiles")?, ..order })
    }
}

/// The last kind has no list.
#[cube]
fn kind_of(starts: &Array<u32>, tile: u32, #[comptime] kinds: u32) -> u32 {
    let length = starts[tile as usize + 1] - starts[tile as usize];
    kinds - 1u32 - min(length, kinds - 1u32)
}

/// How many tiles of every kind a group has: `[kinds, groups]`.
#[cube(launch)]
fn count_kinds(starts: &Array<u32>, counts: &mut Array<u32>, groups: u32, #[comptime] kinds: u32) {
    let group = ABSOLUTE_POS as u32;
    if group < groups {
        for kind in 0..kinds {
            counts[(kind * groups + group) as usize] = 0u32;
        }
        let tiles = starts.len() as u32 - 1u32;
        for tile in group * GROUP..min((group + 1u32) * GROUP, tiles) {
            let at = kind_of(starts, tile, kinds) * groups + group;
            counts[at as usize] += 1u32;
        }
    }
}

/// `next` are the places of each group's first tile of every kind; each is the next one's when its tile is placed.
#[cube(launch)]
fn place(
    starts: &Array<u32>,
    next: &mut Array<u32>,
    order: &mut Array<u32>,
    ranks: &mut Array<u32>,
    covered: &mut Array<u32>,
    groups: u32,
    #[comptime] kinds: u32,
) {
    let group = ABSOLUTE_POS as u32;
    if group < groups {
        if group == 0u32 {
            covered[0] = next[((kinds - 1u32) * groups) as usize];
        }
        for tile in group * GROUP..min((group + 1u32) * GROUP, order.len() as u32) {
            let at = (kind_of(starts, tile, kinds) * groups + group) as usize;
            let rank = next[at];
            next[at] = rank + 1u32;
            order[rank as usize] = tile;
            ranks[tile as usize] = rank;
        }
    }
}
