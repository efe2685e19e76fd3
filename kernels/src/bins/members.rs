//! Lists of one level from those of the level above: count, scan, fill.

use cubecl::prelude::*;

use super::{COARSE, Rule};
use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    gaussian::{Area, Frame, Frames, bound_slack},
    grid::{Cells, Lattice},
    real::{Precision, Real, real},
    scan,
};

/// Tile `t` holds `members[starts[t] .. starts[t + 1]]`.
pub(super) struct Lists<R: Runtime> {
    pub starts: Buffer<R, u32>,
    pub members: Buffer<R, u32>,
}

fn tiles_of(cells: &Cells, side: u32) -> usize {
    cells.columns.div_ceil(side) as usize * cells.rows.div_ceil(side) as usize
}

/// A rule, as far as it changes the compiled function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Bound {
    Within,
    Nearest,
    Posterior,
}

pub(super) struct Request<'a, R: Runtime, F: Real> {
    pub frames: &'a Frames<R, F>,
    pub cells: &'a Cells,
    pub rule: Rule,
    pub margin: f64,
}

impl<R: Runtime, F: Real> Request<'_, R, F> {
    /// Lists for tiles of `side` cells from the lists of the level above (`root`: one list with every Gaussian).
    pub fn lists<P: Precision<Real = F>>(
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
