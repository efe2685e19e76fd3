//! The lists transposed: the tiles of every Gaussian.

use cubecl::prelude::*;

use super::{
    COARSE, TILE,
    members::{Bound, Criterion, Lists, Request, blocks_of},
};
use crate::{
    buffer::Buffer,
    device::Device,
    gaussian::Frame,
    grid::{BLOCK, Count, Plots},
    real::{Precision, Quad, Real},
    scan,
};

pub(super) struct Slots<R: Runtime> {
    pub starts: Buffer<R, u32>,
    pub tiles: Buffer<R, u32>,
    pub owners: Buffer<R, u32>,
    pub of_members: Buffer<R, u32>,
}

/// Transposes the fine lists: the tiles of every Gaussian, grouped by coarse tile.
pub(super) fn slots<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    request: &Request<'_, R, P::Real>,
    coarse: &Lists<R>,
    fine: &Lists<R>,
) -> Slots<R> {
    let (gaussians, pairs) = (request.frames.len(), fine.members.len());
    let (counts, tiles, owners) = (device.uninit(gaussians), device.uninit(pairs), device.uninit(pairs));
    let of_members = device.uninit(pairs);
    let (count, dim) = device.per_unit(gaussians);
    let visit = |starts: &Buffer<R, u32>, fill: bool| {
        let pyramid = PyramidLaunch::new(
            request.frames.packed.arg(),
            coarse.starts.arg(),
            coarse.members.arg(),
            fine.starts.arg(),
            fine.members.arg(),
            request.mosaic.arg(),
        );
        let found = FoundLaunch::new(tiles.arg(), owners.arg(), of_members.arg());
        visit_tiles::launch::<P::Real, R>(
            device.client(),
            count.clone(),
            dim,
            pyramid,
            starts.arg(),
            found,
            request.criterion(),
            gaussians as u32,
            request.bound() == Bound::Within,
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

/// Both levels of lists.
#[derive(CubeType, CubeLaunch)]
struct Pyramid<F: Real> {
    frames: Array<Quad<F>>,
    coarse_starts: Array<u32>,
    coarse_members: Array<u32>,
    starts: Array<u32>,
    members: Array<u32>,
    plots: Plots<F>,
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
    // Lists for which there was no room end where their memory does.
    high = u32::min(high, list.len() as u32);
    while low < high {
        let middle = (low + high) / 2u32;
        if list[middle as usize] < n {
            low = middle + 1u32;
        } else {
            high = middle;
        }
    }
    let mut found = end;
    if low < u32::min(end, list.len() as u32) {
        if list[low as usize] == n {
            found = low;
        }
    }
    found
}

/// A range of tiles in one direction.
#[derive(CubeType, Clone, Copy)]
struct Span {
    first: u32,
    end: u32,
}

/// The tiles that `low .. high` (in cells, a cell of slack added) touches, of those of `cells` cells.
#[cube]
fn span<F: Real>(low: F, high: F, cells: u32) -> Span {
    let largest = F::cast_from(cells);
    let first = clamp(low - F::new(1.0), F::new(0.0), largest);
    let last = clamp(high + F::new(1.0), F::new(0.0), largest);
    Span {
        first: u32::cast_from(first) / TILE,
        end: u32::min(u32::cast_from(last) / TILE + 1u32, cells.div_ceil(TILE)),
    }
}

/// One unit per Gaussian. Counts its tiles into `starts`, or (`fill`) writes them from `starts` on. `within`: those lie in
/// the box of the ellipse.
#[cube(launch)]
fn visit_tiles<F: Real>(
    pyramid: &Pyramid<F>,
    starts: &mut Array<u32>,
    found: &mut Found,
    criterion: &Criterion<F>,
    gaussians: u32,
    #[comptime] within: bool,
    #[comptime] fill: bool,
) {
    let n = ABSOLUTE_POS as u32;
    if n < gaussians {
        let image = pyramid.plots.holding(n, Count::Gaussians);
        let lattice = pyramid.plots.lattice(image);
        let (across, coarse_across) = (lattice.across(TILE), lattice.across(COARSE));
        let mut columns = Span { first: 0u32.runtime(), end: across };
        let mut rows = Span { first: 0u32.runtime(), end: lattice.rows.div_ceil(TILE) };
        if comptime!(within) {
            let frame = Frame::load(&pyramid.frames, n);
            let half = frame.half_extent(criterion.range);
            let widen = F::new(1.0) + criterion.slack;
            let (x, y) = (half.x * widen + criterion.margin, half.y * widen + criterion.margin);
            let (left, top) = (frame.mean.x - lattice.left, frame.mean.y - lattice.top);
            let across = span::<F>((left - x) / lattice.stride, (left + x) / lattice.stride, lattice.columns);
            let down = span::<F>((top - y) / lattice.stride, (top + y) / lattice.stride, lattice.rows);
            columns.first = across.first;
            columns.end = across.end;
            rows.first = down.first;
            rows.end = down.end;
        }
        let blocks = blocks_of(&pyramid.plots, image);
        let block = (n - pyramid.plots.before(image, Count::Gaussians)) / BLOCK;
        let first_list = pyramid.plots.before(image, Count::Roots) + block;
        let first_tile = pyramid.plots.before(image, Count::Tiles);
        let ratio = comptime!(COARSE / TILE);
        let mut at = 0u32;
        if comptime!(fill) {
            at = starts[n as usize];
        }
        for down in rows.first / ratio..rows.end.div_ceil(ratio) {
            for right in columns.first / ratio..columns.end.div_ceil(ratio) {
                let list = (first_list + (down * coarse_across + right) * blocks) as usize;
                let end = pyramid.coarse_starts[list + 1];
                if position(&pyramid.coarse_members, pyramid.coarse_starts[list], end, n) < end {
                    for y in u32::max(down * ratio, rows.first)..u32::min((down + 1u32) * ratio, rows.end) {
                        for x in u32::max(right * ratio, columns.first)..u32::min((right + 1u32) * ratio, columns.end) {
                            let tile = first_tile + y * across + x;
                            let tile_end = pyramid.starts[tile as usize + 1];
                            let place = position(&pyramid.members, pyramid.starts[tile as usize], tile_end, n);
                            if place < tile_end {
                                if comptime!(fill) {
                                    if at < found.tiles.len() as u32 {
                                        found.tiles[at as usize] = tile;
                                        found.owners[at as usize] = n;
                                        found.of_members[place as usize] = at;
                                    }
                                }
                                at += 1u32;
                            }
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
