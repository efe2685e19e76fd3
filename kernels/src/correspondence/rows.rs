//! Posterior rows: how many entries each keeps, then the entries.

use cubecl::prelude::*;

use super::{Background, Tolerance, nucleus::nucleus};
use crate::{
    Result,
    bins::Bins,
    buffer::Buffer,
    device::Device,
    gaussian::{Frame, Frames, Point},
    rasterize::{Lists, ListsLaunch},
    real::{Precision, Quad, Real, Storage, real},
    scan::Starts,
};

/// Rows before their entries are written; weights are stored as `W`.
pub(super) struct Kept<R: Runtime, P: Precision, W: Storage> {
    pub counts: Buffer<R, u32>,
    /// Largest logit, `[cells]`.
    pub largest: Buffer<R, P::Real>,
    /// Sum of `exp(logit - largest)` over what is kept, `[cells]`. Their logs are not added: far out the sum's last digit
    /// would be worth more than a weight's.
    pub total: Buffer<R, P::Real>,
    /// Least logit that is kept, `[cells]`.
    pub least: Buffer<R, P::Real>,
    pub background: Buffer<R, W>,
    pub dropped: Buffer<R, P::Real>,
}

/// Rows with their entries; weights are stored as `W`.
pub(super) struct Entries<R: Runtime, P: Precision, W: Storage> {
    pub starts: Starts<R>,
    pub columns: Buffer<R, u32>,
    pub weights: Buffer<R, W>,
    pub background: Buffer<R, W>,
    pub dropped: Buffer<R, P::Real>,
}

pub(super) struct Stage<'a, R: Runtime, P: Precision> {
    pub device: &'a Device<R, P>,
    pub frames: &'a Frames<R, P::Real>,
    pub bins: &'a Bins<R, P::Real>,
    pub background: Background,
    pub tolerance: Tolerance,
}

impl<R: Runtime, P: Precision> Stage<'_, R, P> {
    fn lists(&self) -> ListsLaunch<P::Real, R> {
        ListsLaunch::new(self.bins.tile_starts.arg(), self.bins.members.arg(), self.bins.mosaic.arg())
    }

    pub fn count<W: Storage>(&self) -> Result<Kept<R, P, W>> {
        let (cells, what) = (self.bins.cells(), "rows of the transport kernel");
        let kept = Kept {
            counts: self.device.room(what, cells)?,
            largest: self.device.room(what, cells)?,
            total: self.device.room(what, cells)?,
            least: self.device.room(what, cells)?,
            background: self.device.room(what, cells)?,
            dropped: self.device.room(what, cells)?,
        };
        let (count, dim) = self.device.per_tile(self.bins.tiles());
        count_rows::launch::<P::Real, W, R>(
            self.device.client(),
            count,
            dim,
            self.frames.packed.arg(),
            self.lists(),
            RowsLaunch::new(
                kept.counts.arg(),
                kept.largest.arg(),
                kept.total.arg(),
                kept.least.arg(),
                kept.background.arg(),
                kept.dropped.arg(),
            ),
            real(self.tolerance.row_bound()),
            self.background,
        );
        Ok(kept)
    }

    pub fn fill<W: Storage>(
        &self,
        kept: &Kept<R, P, W>,
        starts: &Buffer<R, u32>,
        columns: &Buffer<R, u32>,
        weights: &Buffer<R, W>,
    ) {
        if columns.is_empty() {
            return;
        }
        let (count, dim) = self.device.per_tile(self.bins.tiles());
        fill_rows::launch::<P::Real, W, R>(
            self.device.client(),
            count,
            dim,
            self.frames.packed.arg(),
            self.lists(),
            starts.arg(),
            PeaksLaunch::new(kept.largest.arg(), kept.total.arg(), kept.least.arg()),
            columns.arg(),
            weights.arg(),
        );
    }
}

#[derive(CubeType, CubeLaunch)]
struct Rows<F: Real, W: Storage> {
    counts: Array<u32>,
    largest: Array<F>,
    total: Array<F>,
    least: Array<F>,
    background: Array<W>,
    dropped: Array<F>,
}

/// What [`fill_rows`] needs of [`Rows`].
#[derive(CubeType, CubeLaunch)]
struct Peaks<F: Real> {
    largest: Array<F>,
    total: Array<F>,
    least: Array<F>,
}

/// The largest log density of a list at a point, and the nearest Gaussian.
#[derive(CubeType, Clone, Copy)]
struct Peak<F: Real> {
    largest: F,
    q: F,
    log_normaliser: F,
    threshold: F,
}

#[cube]
fn peak<F: Real>(frames: &Array<Quad<F>>, members: &Array<u32>, first: u32, end: u32, centre: Point<F>) -> Peak<F> {
    let mut largest = F::min_value();
    let mut nearest_q = F::max_value();
    let mut log_normaliser = F::new(0.0);
    let mut threshold = F::new(0.0);
    for at in first..end {
        let frame = Frame::load(frames, members[at as usize]);
        let q = frame.mahalanobis_sq(centre);
        largest = max(largest, frame.log_normaliser - q / F::new(2.0));
        if q < nearest_q {
            nearest_q = q;
            log_normaliser = frame.log_normaliser;
            threshold = frame.threshold;
        }
    }
    Peak::<F> { largest, q: nearest_q, log_normaliser, threshold }
}

#[cube(launch)]
fn count_rows<F: Real, W: Storage>(
    frames: &Array<Quad<F>>,
    lists: &Lists<F>,
    rows: &mut Rows<F, W>,
    droppable: F,
    #[comptime] rule: Background,
) {
    let tile = CUBE_POS as u32;
    let cell = lists.plots.cell(tile, UNIT_POS);
    if cell.inside {
        let (first, end) = (lists.starts[tile as usize], lists.starts[tile as usize + 1]);
        let centre = cell.centre;
        let top = peak(frames, &lists.members, first, end, centre);
        let one = F::new(1.0);
        // Without a Gaussian in reach everything is background, whatever the rule.
        let mut outside = end == first;
        let mut logit = F::min_value();
        if comptime!(rule == Background::Hard) {
            outside = outside || top.q > top.threshold;
        }
        if comptime!(rule == Background::Odds) {
            if !outside {
                logit = top.q / F::new(2.0) - top.threshold + top.log_normaliser;
            }
        }
        if comptime!(rule == Background::Reciprocal) {
            if !outside {
                let variance = (F::new(0.0) - top.log_normaliser).exp();
                let distance = variance * top.q + F::new(1.0e-5);
                logit = top.log_normaliser - top.threshold / (variance * distance);
            }
        }
        let largest = max(top.largest, logit);
        let mut odds = F::new(0.0);
        if comptime!(rule.is_soft()) {
            odds = (max(logit - largest, F::new(-80.0))).exp();
        }
        let mut least = F::max_value();
        if !outside {
            least = nucleus::<F>(frames, &lists.members, first, end, centre, largest, odds, droppable);
        }
        let mut kept_sum = F::new(0.0);
        let mut dropped_sum = F::new(0.0);
        let mut kept = 0u32;
        if !outside {
            for at in first..end {
                let l = Frame::load(frames, lists.members[at as usize]).log_density(centre);
                let e = (l - largest).exp();
                if l >= least {
                    kept_sum += e;
                    kept += 1u32;
                } else {
                    dropped_sum += e;
                }
            }
        }
        if outside {
            odds = one;
        }
        let total = kept_sum + odds;
        let at = cell.index as usize;
        rows.counts[at] = kept;
        rows.largest[at] = largest;
        rows.total[at] = total;
        rows.least[at] = least;
        rows.background[at] = W::cast_from(odds / total);
        rows.dropped[at] = dropped_sum / (total + dropped_sum);
    }
}

#[cube(launch)]
fn fill_rows<F: Real, W: Storage>(
    frames: &Array<Quad<F>>,
    lists: &Lists<F>,
    starts: &Array<u32>,
    peaks: &Peaks<F>,
    columns: &mut Array<u32>,
    weights: &mut Array<W>,
) {
    let tile = CUBE_POS as u32;
    let cell = lists.plots.cell(tile, UNIT_POS);
    if cell.inside {
        let row = cell.index as usize;
        let centre = cell.centre;
        let (largest, total, smallest) = (peaks.largest[row], peaks.total[row], peaks.least[row]);
        let mut to = starts[row];
        let end = starts[row + 1];
        for at in lists.starts[tile as usize]..lists.starts[tile as usize + 1] {
            let n = lists.members[at as usize];
            let l = Frame::load(frames, n).log_density(centre);
            // The second condition never decides where both passes round alike; it keeps a row within its place if not.
            if l >= smallest && to < end {
                if to < columns.len() as u32 {
                    columns[to as usize] = n;
                    weights[to as usize] = W::cast_from((l - largest).exp() / total);
                }
                to += 1u32;
            }
        }
        while to < u32::min(end, columns.len() as u32) {
            columns[to as usize] = lists.members[lists.starts[tile as usize + 1] as usize - 1];
            weights[to as usize] = W::cast_from(F::new(0.0));
            to += 1u32;
        }
    }
}
