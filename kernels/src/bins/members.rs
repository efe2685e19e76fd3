//! Lists of one level from those of the level above: count, scan, fill.

use cubecl::prelude::*;

use super::{
    COARSE, Rule, TILE,
    criterion::{Bound, Criteria, CriteriaLaunch, Reach},
    small::is_small_image,
};
use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    gaussian::{Area, Frame, Frames, bound_slack},
    grid::{BLOCK, Count, Mosaic, Plots},
    real::{Precision, Quad, Real, real},
    scan::{Of, starts_of},
};

/// List `l` is `members[starts[l] .. starts[l + 1]]`: one per tile, or per coarse tile and block of Gaussians.
pub(super) struct Lists<R: Runtime> {
    pub starts: Buffer<R, u32>,
    pub members: Buffer<R, u32>,
}

/// Whether lists are made from whole blocks of Gaussians, for coarse tiles, or from those lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Level {
    Coarse,
    Fine,
}

pub(super) struct Request<'a, R: Runtime, F: Real> {
    pub frames: &'a Frames<R, F>,
    pub mosaic: &'a Mosaic<R, F>,
    pub rule: Rule,
    /// [`Rule::range`] of every image.
    pub ranges: Buffer<R, F>,
    pub margin: f64,
    /// Minus a logit that every cell of an image reaches, `[images]`.
    pub floor: Option<&'a Buffer<R, F>>,
}

impl<R: Runtime, F: Real> Request<'_, R, F> {
    /// Lists for tiles from those for coarse tiles, or these; as much of them as there is room for. Among `totals` the level's is
    /// written, the third raised to the length of the longest list (the coarse ones, a block of Gaussians each, are short), and the
    /// fifth to the most candidates of any.
    pub fn lists<P: Precision<Real = F>>(
        &self,
        device: &Device<R, P>,
        parent: Option<&Lists<R>>,
        room: usize,
        totals: &Buffer<R, u32>,
    ) -> Result<Lists<R>> {
        let (level, count) = match parent {
            None => (Level::Coarse, Count::Roots),
            Some(_) => (Level::Fine, Count::Tiles),
        };
        let lists = self.mosaic.total(count);
        let (counts, best) = (device.uninit(lists), device.uninit::<F>(2 * lists));
        if lists == 0 {
            let starts = starts_of(device, (&counts, Of::Counts), (totals, level as u32));
            return Ok(Lists { starts, members: device.uninit(0) });
        }
        let (cubes, dim) = device.per_unit(lists);
        if self.bound() != Bound::Within {
            find_best::launch::<F, R>(
                device.client(),
                cubes.clone(),
                dim,
                self.source(parent),
                self.floor.unwrap_or(&self.frames.packed).arg(),
                best.arg(),
                self.criteria(),
                level,
                self.bound(),
                self.floor.is_some(),
            );
        }
        let visit = |starts: &Buffer<R, u32>, members: &Buffer<R, u32>, fill: bool| {
            visit_members::launch::<F, R>(
                device.client(),
                cubes.clone(),
                dim,
                self.source(parent),
                best.arg(),
                starts.arg(),
                members.arg(),
                totals.arg(),
                self.criteria(),
                level,
                self.bound(),
                fill,
            );
        };
        visit(&counts, &device.uninit(0), false);
        let starts = starts_of(device, (&counts, Of::Counts), (totals, level as u32));
        let members = device.room("tile lists", room)?;
        if room > 0 {
            visit(&starts, &members, true);
        }
        Ok(Lists { starts, members })
    }

    fn source(&self, parent: Option<&Lists<R>>) -> SourceLaunch<F, R> {
        let (starts, members) = match parent {
            Some(lists) => (lists.starts.arg(), lists.members.arg()),
            // Never read: the coarse lists are made of whole blocks.
            None => (self.mosaic.table().arg(), self.mosaic.table().arg()),
        };
        SourceLaunch::new(self.frames.packed.arg(), starts, members, self.mosaic.arg())
    }

    pub fn bound(&self) -> Bound {
        match self.rule {
            Rule::Within(_) => Bound::Within,
            Rule::Nearest(count) => Bound::Nearest(count),
            Rule::Posterior { .. } => Bound::Posterior,
        }
    }

    pub fn criteria(&self) -> CriteriaLaunch<F, R> {
        CriteriaLaunch::new(self.ranges.arg(), bound_slack(), real(self.margin))
    }
}

#[derive(CubeType, CubeLaunch)]
struct Source<F: Real> {
    frames: Array<Quad<F>>,
    starts: Array<u32>,
    members: Array<u32>,
    plots: Plots<F>,
}

/// The candidates of a list, and the lists that together belong to its tile.
#[derive(CubeType, Clone, Copy)]
struct Candidates<F: Real> {
    image: u32,
    area: Area<F>,
    first: u32,
    end: u32,
    first_list: u32,
    lists: u32,
}

#[cube]
impl<F: Real> Source<F> {
    fn candidates(&self, list: u32, criteria: &Criteria<F>, #[comptime] level: Level) -> Candidates<F> {
        match comptime!(level) {
            Level::Coarse => {
                let image = self.plots.holding(list, Count::Roots);
                let blocks = blocks_of(&self.plots, image);
                let local = list - self.plots.before(image, Count::Roots);
                let end = self.plots.before(image + 1u32, Count::Gaussians);
                let first = self.plots.before(image, Count::Gaussians) + local % blocks * BLOCK;
                Candidates::<F> {
                    image,
                    area: criteria.widen(self.plots.lattice(image).area(local / blocks, COARSE)),
                    first,
                    end: u32::min(first + BLOCK, end),
                    first_list: list - local % blocks,
                    lists: blocks,
                }
            }
            Level::Fine => {
                let place = self.plots.place(list);
                let blocks = blocks_of(&self.plots, place.image);
                let parent = place.row / COARSE * place.lattice.across(COARSE) + place.column / COARSE;
                let lists = self.plots.before(place.image, Count::Roots) + parent * blocks;
                let local = list - self.plots.before(place.image, Count::Tiles);
                Candidates::<F> {
                    image: place.image,
                    area: criteria.widen(place.lattice.area(local, TILE)),
                    first: self.starts[lists as usize],
                    end: self.starts[(lists + blocks) as usize],
                    first_list: list,
                    lists: 1u32.runtime(),
                }
            }
        }
    }

    fn member(&self, at: u32, #[comptime] level: Level) -> u32 {
        match comptime!(level) {
            Level::Coarse => at,
            Level::Fine => self.members[at as usize],
        }
    }
}

/// Blocks of Gaussians of an image.
#[cube]
pub(super) fn blocks_of<F: Real>(plots: &Plots<F>, image: u32) -> u32 {
    let gaussians = plots.before(image + 1u32, Count::Gaussians) - plots.before(image, Count::Gaussians);
    u32::max(gaussians.div_ceil(BLOCK), 1u32)
}

/// What a list's candidates reach at every cell of its tile; of those that count as near, the last.
#[cube(launch)]
fn find_best<F: Real>(
    source: &Source<F>,
    floor: &Array<F>,
    best: &mut Array<F>,
    criteria: &Criteria<F>,
    #[comptime] level: Level,
    #[comptime] bound: Bound,
    #[comptime] has_floor: bool,
) {
    if 2 * ABSOLUTE_POS < best.len() {
        let candidates = source.candidates(ABSOLUTE_POS as u32, criteria, level);
        let criterion = criteria.of(candidates.image);
        let mut reached = Reach::<F> { nearness: F::min_value(), logit: F::min_value() };
        if comptime!(has_floor) {
            reached.logit = F::new(0.0) - floor[candidates.image as usize];
        }
        let count = comptime!(bound.nearest());
        let mut nearest = Array::<F>::new(count);
        #[unroll]
        for place in 0..count {
            nearest[place] = F::min_value();
        }
        for at in candidates.first..candidates.end {
            let frame = Frame::load(&source.frames, source.member(at, level));
            let surely = criterion.surely(&frame, candidates.area);
            reached.logit = max(reached.logit, surely.logit);
            // Into its place among the nearest so far.
            let mut carried = surely.nearness;
            #[unroll]
            for place in 0..count {
                let (nearer, farther) = (max(nearest[place], carried), min(nearest[place], carried));
                nearest[place] = nearer;
                carried = farther;
            }
        }
        best[2 * ABSOLUTE_POS] = nearest[count - 1];
        best[2 * ABSOLUTE_POS + 1] = reached.logit;
    }
}

/// Counts a list's members into `starts`, or (`fill`) writes them from `starts` on.
#[cube(launch)]
fn visit_members<F: Real>(
    source: &Source<F>,
    best: &Array<F>,
    starts: &mut Array<u32>,
    members: &mut Array<u32>,
    totals: &mut Array<Atomic<u32>>,
    criteria: &Criteria<F>,
    #[comptime] level: Level,
    #[comptime] bound: Bound,
    #[comptime] fill: bool,
) {
    if 2 * ABSOLUTE_POS < best.len() {
        let candidates = source.candidates(ABSOLUTE_POS as u32, criteria, level);
        let criterion = criteria.of(candidates.image);
        let mut reached = Reach::<F> { nearness: F::min_value(), logit: F::min_value() };
        if comptime!(bound != Bound::Within) {
            for list in candidates.first_list..candidates.first_list + candidates.lists {
                reached.nearness = max(reached.nearness, best[2 * list as usize]);
                reached.logit = max(reached.logit, best[2 * list as usize + 1]);
            }
        }
        let mut at = 0u32;
        if comptime!(fill) {
            at = starts[ABSOLUTE_POS];
        }
        for from in candidates.first..candidates.end {
            let n = source.member(from, level);
            let frame = Frame::load(&source.frames, n);
            let mut keeps = criterion.keeps(&frame, candidates.area, &reached, bound);
            if comptime!(level == Level::Coarse) {
                keeps = keeps || is_small_image::<F>(&source.plots, candidates.image);
            }
            if keeps {
                if comptime!(fill) {
                    if at < members.len() as u32 {
                        members[at as usize] = n;
                    }
                }
                at += 1u32;
            }
        }
        if comptime!(!fill) {
            starts[ABSOLUTE_POS] = at;
            totals[2].fetch_max(at);
            totals[4].fetch_max(candidates.end - candidates.first);
        }
    }
}
