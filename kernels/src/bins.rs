//! Which Gaussians matter for which tile.
//!
//! A tile is `TILE x TILE` cells; `COARSE x COARSE` tiles make a coarse tile. A Gaussian is kept for a tile unless a bound
//! over the box of its cell centres proves that it cannot matter there. The coarse lists are made from all Gaussians and the
//! fine ones from the coarse, by the same functions: count, scan, fill. Lists are ascending, so nothing depends on the order
//! in which units run. The transposed lists (the tiles of a Gaussian) are found by binary search in them.

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    gaussian::{Area, Frame, Frames, bound_slack},
    grid::{Cells, Lattice},
    real::{Precision, Real, real},
    scan,
};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Bound {
    Within,
    Nearest,
    Posterior,
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

fn tiles_of(cells: &Cells, side: u32) -> usize {
    cells.columns.div_ceil(side) as usize * cells.rows.div_ceil(side) as usize
}

struct Lists<R: Runtime> {
    starts: Buffer<R, u32>,
    members: Buffer<R, u32>,
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
    })
}

struct Request<'a, R: Runtime, F: Real> {
    frames: &'a Frames<R, F>,
    cells: &'a Cells,
    rule: Rule,
    margin: f64,
}

impl<R: Runtime, F: Real> Request<'_, R, F> {
    /// Lists for tiles of `side` cells from the lists of the level above (`root`: one list with every Gaussian).
    fn lists<P: Precision<Real = F>>(
        &self,
        device: &Device<R, P>,
        parent: &Lists<R>,
        side: u32,
        root: bool,
    ) -> Result<Lists<R>> {
        let tiles = tiles_of(self.cells, side);
        let (counts, best) = (device.uninit(tiles), device.uninit::<F>(2 * tiles));
        let (count, dim) = device.per_unit(tiles);
        count_members::launch::<F, R>(
            device.client(),
            count.clone(),
            dim,
            self.source(parent),
            counts.arg(),
            best.arg(),
            self.criterion(),
            side,
            root,
            self.bound(),
        );
        let starts = scan::starts(device, &counts);
        let members = device.uninit(starts.total("tile lists")?);
        if !members.is_empty() {
            fill_members::launch::<F, R>(
                device.client(),
                count,
                dim,
                self.source(parent),
                starts.starts.arg(),
                members.arg(),
                best.arg(),
                self.criterion(),
                side,
                root,
                self.bound(),
            );
        }
        Ok(Lists { starts: starts.starts, members })
    }

    fn source(&self, parent: &Lists<R>) -> SourceLaunch<F, R> {
        SourceLaunch::new(self.frames.packed.arg(), parent.starts.arg(), parent.members.arg(), self.cells.launch())
    }

    fn bound(&self) -> Bound {
        match self.rule {
            Rule::Within(_) => Bound::Within,
            Rule::Nearest => Bound::Nearest,
            Rule::Posterior { .. } => Bound::Posterior,
        }
    }

    fn criterion(&self) -> CriterionLaunch<F, R> {
        let (range, floor) = match self.rule {
            Rule::Within(limit) => (real(limit), F::min_value()),
            Rule::Nearest => (real(0.0), F::min_value()),
            Rule::Posterior { range, floor } => (real(range), floor.map_or(F::min_value(), real)),
        };
        CriterionLaunch::new(range, floor, bound_slack(), real(self.margin))
    }
}

#[derive(CubeType, CubeLaunch)]
struct Source<F: Real> {
    frames: Array<F>,
    starts: Array<u32>,
    members: Array<u32>,
    lattice: Lattice<F>,
}

#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Criterion<F: Real> {
    /// A Gaussian is kept when the best it can reach is within `range` of what is surely reached.
    range: F,
    floor: F,
    slack: F,
    margin: F,
}

#[cube]
impl<F: Real> Criterion<F> {
    fn widen(&self, area: Area<F>) -> Area<F> {
        let mut wide = area;
        wide.low.x -= self.margin;
        wide.low.y -= self.margin;
        wide.high.x += self.margin;
        wide.high.y += self.margin;
        wide
    }

    /// What this Gaussian reaches at every cell of the box.
    fn surely(&self, frame: &Frame<F>, area: Area<F>) -> Reach<F> {
        Reach::of(frame, frame.farthest_in(area) * (F::new(1.0) + self.slack))
    }

    /// The most this Gaussian reaches at any cell of the box.
    fn at_best(&self, frame: &Frame<F>, area: Area<F>) -> Reach<F> {
        Reach::of(frame, frame.nearest_in(area) * (F::new(1.0) - self.slack))
    }

    fn keeps(&self, frame: &Frame<F>, area: Area<F>, reached: &Reach<F>, #[comptime] bound: Bound) -> bool {
        let reach = self.at_best(frame, area);
        match comptime!(bound) {
            Bound::Within => reach.nearness + self.range >= F::new(0.0),
            Bound::Nearest => reach.nearness >= reached.nearness,
            Bound::Posterior => reach.nearness >= reached.nearness || reach.logit + self.range >= reached.logit,
        }
    }
}

/// How near a Gaussian comes (minus its squared Mahalanobis distance), and its log density there.
#[derive(CubeType, Clone, Copy)]
struct Reach<F: Real> {
    nearness: F,
    logit: F,
}

#[cube]
impl<F: Real> Reach<F> {
    fn of(frame: &Frame<F>, mahalanobis_sq: F) -> Reach<F> {
        Reach::<F> {
            nearness: F::new(0.0) - mahalanobis_sq,
            logit: frame.log_normaliser - mahalanobis_sq / F::new(2.0),
        }
    }
}

/// The parent's list of a tile: its range, and how to read it.
#[cube]
fn parent_of<F: Real>(source: &Source<F>, tile: u32, #[comptime] side: u32, #[comptime] root: bool) -> u32 {
    if comptime!(root) {
        0u32.runtime()
    } else {
        let across = source.lattice.across(side);
        let ratio = comptime!(COARSE / side);
        (tile / across / ratio) * source.lattice.across(COARSE) + tile % across / ratio
    }
}

#[cube]
fn member<F: Real>(source: &Source<F>, at: u32, #[comptime] root: bool) -> u32 {
    if comptime!(root) { at } else { source.members[at as usize] }
}

#[cube(launch)]
fn count_members<F: Real>(
    source: &Source<F>,
    counts: &mut Array<u32>,
    best: &mut Array<F>,
    criterion: &Criterion<F>,
    #[comptime] side: u32,
    #[comptime] root: bool,
    #[comptime] bound: Bound,
) {
    if ABSOLUTE_POS < counts.len() {
        let tile = ABSOLUTE_POS as u32;
        let area = criterion.widen(source.lattice.area(tile, side));
        let parent = parent_of(source, tile, side, root) as usize;
        let (first, end) = (source.starts[parent], source.starts[parent + 1]);
        let mut reached = Reach::<F> { nearness: F::min_value(), logit: criterion.floor };
        if comptime!(bound != Bound::Within) {
            for at in first..end {
                let frame = Frame::load(&source.frames, member(source, at, root));
                let surely = criterion.surely(&frame, area);
                reached.nearness = max(reached.nearness, surely.nearness);
                reached.logit = max(reached.logit, surely.logit);
            }
        }
        let mut kept = 0u32;
        for at in first..end {
            let frame = Frame::load(&source.frames, member(source, at, root));
            if criterion.keeps(&frame, area, &reached, bound) {
                kept += 1u32;
            }
        }
        counts[ABSOLUTE_POS] = kept;
        best[2 * ABSOLUTE_POS] = reached.nearness;
        best[2 * ABSOLUTE_POS + 1] = reached.logit;
    }
}

#[cube(launch)]
fn fill_members<F: Real>(
    source: &Source<F>,
    starts: &Array<u32>,
    members: &mut Array<u32>,
    best: &Array<F>,
    criterion: &Criterion<F>,
    #[comptime] side: u32,
    #[comptime] root: bool,
    #[comptime] bound: Bound,
) {
    if 2 * ABSOLUTE_POS < best.len() {
        let tile = ABSOLUTE_POS as u32;
        let area = criterion.widen(source.lattice.area(tile, side));
        let parent = parent_of(source, tile, side, root) as usize;
        let reached = Reach::<F> { nearness: best[2 * ABSOLUTE_POS], logit: best[2 * ABSOLUTE_POS + 1] };
        let mut at = starts[ABSOLUTE_POS];
        for from in source.starts[parent]..source.starts[parent + 1] {
            let n = member(source, from, root);
            let frame = Frame::load(&source.frames, n);
            if criterion.keeps(&frame, area, &reached, bound) {
                members[at as usize] = n;
                at += 1u32;
            }
        }
    }
}

struct Slots<R: Runtime> {
    starts: Buffer<R, u32>,
    tiles: Buffer<R, u32>,
    owners: Buffer<R, u32>,
}

/// Transposes the fine lists: the tiles of every Gaussian, grouped by coarse tile.
fn slots<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    gaussians: usize,
    cells: &Cells,
    coarse: &Lists<R>,
    fine: &Lists<R>,
) -> Slots<R> {
    let pairs = fine.members.len();
    let (counts, tiles, owners) = (device.uninit(gaussians), device.uninit(pairs), device.uninit(pairs));
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
        let (starts, tiles, owners) = (starts.arg(), tiles.arg(), owners.arg());
        visit_tiles::launch::<R>(
            device.client(),
            count.clone(),
            dim,
            pyramid,
            starts,
            tiles,
            owners,
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
    Slots { starts, tiles, owners }
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
fn visit_tiles(
    pyramid: &Pyramid,
    starts: &mut Array<u32>,
    tiles: &mut Array<u32>,
    owners: &mut Array<u32>,
    gaussians: u32,
    #[comptime] fill: bool,
) {
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
                        if position(&pyramid.members, pyramid.starts[tile as usize], tile_end, n) < tile_end {
                            if comptime!(fill) {
                                tiles[at as usize] = tile;
                                owners[at as usize] = n;
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
