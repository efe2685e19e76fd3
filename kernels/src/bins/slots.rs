//! The lists transposed: the tiles of every Gaussian.

use cubecl::prelude::*;

use super::{COARSE, TILE, members::Lists};
use crate::{buffer::Buffer, device::Device, grid::Cells, real::Precision, scan};

pub(super) struct Slots<R: Runtime> {
    pub starts: Buffer<R, u32>,
    pub tiles: Buffer<R, u32>,
    pub owners: Buffer<R, u32>,
    pub of_members: Buffer<R, u32>,
}

/// Transposes the fine lists: the tiles of every Gaussian, grouped by coarse tile.
pub(super) fn slots<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    gaussians: usize,
    cells: &Cells,
    coarse: &Lists<R>,
    fine: &Lists<R>,
) -> Slots<R> {
    let pairs = fine.members.len();
    let (counts, tiles, owners) = (device.uninit(gaussians), device.uninit(pairs), device.uninit(pairs));
    let of_members = device.uninit(pairs);
    let (count, dim) = device.per_unit(gaussians);
    let visit = |starts: &Buffer<R, u32>, fill: bool| {
        let pyramid = PyramidLaunch::new(
            coarse.starts.arg(),
            coarse.members.arg(),
            fine.starts.arg(),
            fine.members.arg(),
            cells.columns.div_ceil(TILE),
            cells.rows.div_ceil(TILE),
        );
        let found = FoundLaunch::new(tiles.arg(), owners.arg(), of_members.arg());
        visit_tiles::launch::<R>(
            device.client(),
            count.clone(),
            dim,
            pyramid,
            starts.arg(),
            found,
            gaussians as u32,
            fill,
        );
    };
    if gaussians > 0 {
        visit(&counts, false);
    }
    let starts = scan::starts(device, &counts).starts;
    if gaussians > 0 {
        visit(&starts, true);
    }
    Slots { starts, tiles, owners, of_members }
}

/// Both levels of lists, and the tiles of the fine one.
#[derive(CubeType, CubeLaunch)]
struct Pyramid {
    coarse_starts: Array<u32>,
    coarse_members: Array<u32>,
    starts: Array<u32>,
    members: Array<u32>,
    across: u32,
    down: u32,
}

/// What is written of every slot.
#[derive(CubeType, CubeLaunch)]
struct Found {
    tiles: Array<u32>,
    owners: Array<u32>,
    of_members: Array<u32>,
}

/// Where `n` stands in the ascending `list[first .. end]`, or `end`.
#[cube]
pub(crate) fn position(list: &Array<u32>, first: u32, end: u32, n: u32) -> u32 {
    let mut low = first;
    let mut high = end;
    while low < high {
        let middle = (low + high) / 2u32;
        if list[middle as usize] < n {
            low = middle + 1u32;
        } else {
            high = middle;
        }
    }
    let mut found = end;
    if low < end {
        if list[low as usize] == n {
            found = low;
        }
    }
    found
}

/// One unit per Gaussian. Counts its tiles into `starts`, or (`fill`) writes them from `starts` on.
#[cube(launch)]
fn visit_tiles(pyramid: &Pyramid, starts: &mut Array<u32>, found: &mut Found, gaussians: u32, #[comptime] fill: bool) {
    let n = ABSOLUTE_POS as u32;
    if n < gaussians {
        let ratio = comptime!(COARSE / TILE);
        let coarse_across = pyramid.across.div_ceil(ratio);
        let mut at = 0u32;
        if comptime!(fill) {
            at = starts[n as usize];
        }
        for coarse in 0..coarse_across * pyramid.down.div_ceil(ratio) {
            let c = coarse as usize;
            let end = pyramid.coarse_starts[c + 1];
            if position(&pyramid.coarse_members, pyramid.coarse_starts[c], end, n) < end {
                let (column, row) = (coarse % coarse_across * ratio, coarse / coarse_across * ratio);
                for y in row..u32::min(row + ratio, pyramid.down) {
                    for x in column..u32::min(column + ratio, pyramid.across) {
                        let tile = y * pyramid.across + x;
                        let tile_end = pyramid.starts[tile as usize + 1];
                        let place = position(&pyramid.members, pyramid.starts[tile as usize], tile_end, n);
                        if place < tile_end {
                            if comptime!(fill) {
                                found.tiles[at as usize] = tile;
                                found.owners[at as usize] = n;
                                found.of_members[place as usize] = at;
                            }
                            at += 1u32;
                        }
                    }
                }
            }
        }
        if comptime!(!fill) {
            starts[n as usize] = at;
        }
    }
}
