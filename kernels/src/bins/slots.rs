//! The lists transposed: the tiles of every Gaussian.

use cubecl::prelude::*;

use super::{
    COARSE, TILE,
    criterion::{Bound, Criteria},
    members::{Lists, Request, blocks_of},
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

/// Transposes the fine lists: the tiles of every Gaussian, grouped by coarse tile. First the coarse tiles of every Gaussian,
/// then the tiles of every such pair: no unit looks at more than these, however far a Gaussian reaches. (Software Vulkan leaves
/// the loops of a unit after 65535 rounds in all, without a word.)
pub(super) fn slots<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    request: &Request<'_, R, P::Real>,
    coarse: &Lists<R>,
    fine: &Lists<R>,
) -> Slots<R> {
    let (gaussians, pairs) = (request.frames.len(), fine.members.len());
    let transposing = Transposing { device, request, coarse, fine };
    let roots = [device.uninit(coarse.members.len()), device.uninit(coarse.members.len())];
    let root_starts = transposing.scanned(gaussians, |starts, fill| transposing.visit_roots(starts, &roots, fill));
    let starts = device.uninit(gaussians + 1);
    let slots =
        Slots { starts, tiles: device.uninit(pairs), owners: device.uninit(pairs), of_members: device.uninit(pairs) };
    let starts_of_roots = transposing.scanned(coarse.members.len(), |starts, fill| {
        transposing.visit_tiles((&root_starts, &roots), starts, &slots, fill);
    });
    let (cubes, dim) = device.per_unit(gaussians + 1);
    let client = device.client();
    start_gaussians::launch::<R>(client, cubes, dim, root_starts.arg(), starts_of_roots.arg(), slots.starts.arg());
    slots
}

struct Transposing<'a, R: Runtime, P: Precision> {
    device: &'a Device<R, P>,
    request: &'a Request<'a, R, P::Real>,
    coarse: &'a Lists<R>,
    fine: &'a Lists<R>,
}

impl<R: Runtime, P: Precision> Transposing<'_, R, P> {
    /// Counts with `visit`, adds up, fills with `visit`; gives the starts.
    fn scanned(&self, units: usize, visit: impl Fn(&Buffer<R, u32>, bool)) -> Buffer<R, u32> {
        let counts = self.device.uninit(units);
        if units > 0 {
            visit(&counts, false);
        }
        let starts = scan::starts(self.device, &counts).starts;
        if units > 0 {
            visit(&starts, true);
        }
        starts
    }

    fn pyramid(&self) -> PyramidLaunch<P::Real, R> {
        PyramidLaunch::new(
            self.request.frames.packed.arg(),
            self.coarse.starts.arg(),
            self.coarse.members.arg(),
            self.fine.starts.arg(),
            self.fine.members.arg(),
            self.request.mosaic.arg(),
        )
    }

    fn visit_roots(&self, starts: &Buffer<R, u32>, [tiles, owners]: &[Buffer<R, u32>; 2], fill: bool) {
        let gaussians = self.request.frames.len();
        let (cubes, dim) = self.device.per_unit(gaussians);
        visit_roots::launch::<P::Real, R>(
            self.device.client(),
            cubes,
            dim,
            self.pyramid(),
            starts.arg(),
            tiles.arg(),
            owners.arg(),
            self.request.criteria(),
            gaussians as u32,
            self.request.bound() == Bound::Within,
            fill,
        );
    }

    fn visit_tiles(
        &self,
        (root_starts, [tiles, owners]): (&Buffer<R, u32>, &[Buffer<R, u32>; 2]),
        starts: &Buffer<R, u32>,
        slots: &Slots<R>,
        fill: bool,
    ) {
        let (cubes, dim) = self.device.per_unit(self.coarse.members.len());
        visit_tiles::launch::<P::Real, R>(
            self.device.client(),
            cubes,
            dim,
            self.pyramid(),
            RootsLaunch::new(root_starts.arg(), tiles.arg(), owners.arg()),
            starts.arg(),
            FoundLaunch::new(slots.tiles.arg(), slots.owners.arg(), slots.of_members.arg()),
            self.request.criteria(),
            self.request.frames.len() as u32,
            self.coarse.members.len() as u32,
            self.request.bound() == Bound::Within,
            fill,
        );
    }
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

/// The coarse tiles of every Gaussian, numbered in their image.
#[derive(CubeType, CubeLaunch)]
struct Roots {
    starts: Array<u32>,
    tiles: Array<u32>,
    owners: Array<u32>,
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

/// The tiles that a Gaussian may be listed in.
#[derive(CubeType, Clone, Copy)]
struct Reach {
    columns: Span,
    rows: Span,
}

/// `within`: those in the box of the ellipse, else all of the image.
#[cube]
fn reach<F: Real>(pyramid: &Pyramid<F>, criteria: &Criteria<F>, n: u32, image: u32, #[comptime] within: bool) -> Reach {
    let lattice = pyramid.plots.lattice(image);
    let mut columns = Span { first: 0u32.runtime(), end: lattice.across(TILE) };
    let mut rows = Span { first: 0u32.runtime(), end: lattice.rows.div_ceil(TILE) };
    if comptime!(within) {
        let frame = Frame::load(&pyramid.frames, n);
        let criterion = criteria.of(image);
        let half = frame.half_extent(criterion.range);
        let widen = F::new(1.0) + criterion.slack;
        let (x, y) = (half.x * widen + criteria.margin, half.y * widen + criteria.margin);
        let (left, top) = (frame.mean.x - lattice.left, frame.mean.y - lattice.top);
        let across = span::<F>((left - x) / lattice.stride, (left + x) / lattice.stride, lattice.columns);
        let down = span::<F>((top - y) / lattice.stride, (top + y) / lattice.stride, lattice.rows);
        columns.first = across.first;
        columns.end = across.end;
        rows.first = down.first;
        rows.end = down.end;
    }
    Reach { columns, rows }
}

/// One unit per Gaussian. Counts its coarse tiles into `starts`, or (`fill`) writes them from `starts` on.
#[cube(launch)]
fn visit_roots<F: Real>(
    pyramid: &Pyramid<F>,
    starts: &mut Array<u32>,
    tiles: &mut Array<u32>,
    owners: &mut Array<u32>,
    criteria: &Criteria<F>,
    gaussians: u32,
    #[comptime] within: bool,
    #[comptime] fill: bool,
) {
    let n = ABSOLUTE_POS as u32;
    if n < gaussians {
        let image = pyramid.plots.holding(n, Count::Gaussians);
        let across = pyramid.plots.lattice(image).across(COARSE);
        let reach = reach::<F>(pyramid, criteria, n, image, within);
        let blocks = blocks_of(&pyramid.plots, image);
        let block = (n - pyramid.plots.before(image, Count::Gaussians)) / BLOCK;
        let first_list = pyramid.plots.before(image, Count::Roots) + block;
        let ratio = comptime!(COARSE / TILE);
        let mut at = 0u32;
        if comptime!(fill) {
            at = starts[n as usize];
        }
        for down in reach.rows.first / ratio..reach.rows.end.div_ceil(ratio) {
            for right in reach.columns.first / ratio..reach.columns.end.div_ceil(ratio) {
                let tile = down * across + right;
                let list = (first_list + tile * blocks) as usize;
                let end = pyramid.coarse_starts[list + 1];
                if position(&pyramid.coarse_members, pyramid.coarse_starts[list], end, n) < end {
                    if comptime!(fill) {
                        if at < tiles.len() as u32 {
                            tiles[at as usize] = tile;
                            owners[at as usize] = n;
                        }
                    }
                    at += 1u32;
                }
            }
        }
        if comptime!(!fill) {
            starts[n as usize] = at;
        }
    }
}

/// One unit per coarse tile of a Gaussian. Counts the Gaussian's tiles in it into `starts`, or (`fill`) writes them from
/// `starts` on.
#[cube(launch)]
fn visit_tiles<F: Real>(
    pyramid: &Pyramid<F>,
    roots: &Roots,
    starts: &mut Array<u32>,
    found: &mut Found,
    criteria: &Criteria<F>,
    gaussians: u32,
    units: u32,
    #[comptime] within: bool,
    #[comptime] fill: bool,
) {
    let root = ABSOLUTE_POS as u32;
    if root < units {
        let mut at = 0u32;
        if comptime!(fill) {
            at = starts[root as usize];
        }
        // A coarse list may hold a Gaussian whose box ends before it.
        if root < u32::min(roots.starts[gaussians as usize], roots.tiles.len() as u32) {
            let n = roots.owners[root as usize];
            let image = pyramid.plots.holding(n, Count::Gaussians);
            let lattice = pyramid.plots.lattice(image);
            let across = lattice.across(TILE);
            let reach = reach::<F>(pyramid, criteria, n, image, within);
            let (rows, columns) = (reach.rows, reach.columns);
            let first_tile = pyramid.plots.before(image, Count::Tiles);
            let ratio = comptime!(COARSE / TILE);
            let coarse_across = lattice.across(COARSE);
            let local = roots.tiles[root as usize];
            let (down, right) = (local / coarse_across, local % coarse_across);
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
        if comptime!(!fill) {
            starts[root as usize] = at;
        }
    }
}

/// Where the slots of every Gaussian start, from where those of its coarse tiles do.
#[cube(launch)]
fn start_gaussians(root_starts: &Array<u32>, starts_of_roots: &Array<u32>, starts: &mut Array<u32>) {
    if ABSOLUTE_POS < starts.len() {
        starts[ABSOLUTE_POS] = starts_of_roots[root_starts[ABSOLUTE_POS] as usize];
    }
}
