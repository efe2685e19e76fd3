//! Posterior rows: which annotation a cell belongs to, as a sparse matrix.
//!
//! Row `i` is the softmax over all Gaussians of their log densities `l_n = -q_n/2 - log|Sigma_n|/2` and of the background's
//! `l_0 = q*/2 - b* - log|Sigma*|/2`, where `*` is the nearest Gaussian (paper, Eqs. 5 and 11; equal priors). A tile's list
//! leaves out what a bound proves to be below `exp(-range)` of the largest; of the list, a row stores what is within `range`
//! of its largest logit, renormalised, and reports what it dropped. One cube per tile, one unit per cell.

use cubecl::prelude::*;

use crate::{
    Result,
    bins::{Bins, Rule, bins},
    buffer::Buffer,
    device::Device,
    gaussian::{Frame, Frames, Point},
    grid::{Cells, cell_of_unit},
    rasterize::{Lists, ListsLaunch},
    real::{HostReal, Precision, Real, real},
    reduce::{Reduction, reduce},
    scan,
};

/// What a cell far from every Gaussian belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Background {
    /// To the Gaussians all the same: there is no background.
    None,
    /// Softly to the background, with log odds `q* - b*` against the nearest Gaussian.
    Odds,
    /// Wholly to the background where `q* > b*`, not at all elsewhere.
    Hard,
}

/// Share of the tolerated dropped mass that tile lists may take; rows take the rest.
const TILE_SHARE: f64 = 0.1;

/// What may be dropped: a row's L1 error is twice its dropped mass, once the rest is scaled up to 1.
#[derive(Debug, Clone, Copy)]
struct Tolerance {
    tau: f64,
}

impl Tolerance {
    fn dropped(self) -> f64 {
        self.tau / 2.0
    }

    /// Range of logits that a tile list covers: each of at most `gaussians` left out weighs `exp(-range)` or less. Widened
    /// by the rounding of two logits of size up to twice the range.
    fn tile_range<F: Real>(self, gaussians: usize) -> f64 {
        let range = (gaussians.max(1) as f64 / self.tile_bound()).ln().max(0.0);
        range * (1.0 + 800.0 * F::EPSILON.cast_to_f64())
    }

    /// What the tile lists drop at most.
    fn tile_bound(self) -> f64 {
        TILE_SHARE * self.dropped()
    }

    /// What a row drops of its tile's list at most.
    fn row_bound(self) -> f64 {
        (1.0 - TILE_SHARE) * self.dropped()
    }
}

/// The sparse matrix: rows are cells, columns annotations, background beside it. Pixel-major for the gradient,
/// annotation-major for the sums.
#[derive(Debug)]
pub struct Correspondence<R: Runtime, P: Precision> {
    /// Where the rows are.
    pub cells: Cells,
    /// Entries of row `i`: `row_starts[i] .. row_starts[i + 1]`, `[cells + 1]`.
    pub row_starts: Buffer<R, u32>,
    /// Annotation of each entry, ascending within a row.
    pub columns: Buffer<R, u32>,
    /// Weight of each entry.
    pub weights: Buffer<R, P::Weight>,
    /// Weight of the background, `[cells]`.
    pub background: Buffer<R, P::Weight>,
    /// The same entries by annotation.
    pub transposed: Transposed<R, P>,
    /// Largest mass that any row dropped from its tile's list.
    pub worst_dropped: f64,
    /// Largest mass that any row can have dropped, tile lists included.
    pub bound: f64,
}

/// Entries in annotation-major order, grouped by the tiles that an annotation reaches.
#[derive(Debug)]
pub struct Transposed<R: Runtime, P: Precision> {
    /// Slots of annotation `n`: `slot_starts[n] .. slot_starts[n + 1]`, `[annotations + 1]`.
    pub slot_starts: Buffer<R, u32>,
    /// Entries of slot `s`: `entry_starts[s] .. entry_starts[s + 1]`.
    pub entry_starts: Buffer<R, u32>,
    /// Cell of each entry.
    pub rows: Buffer<R, u32>,
    /// Weight of each entry.
    pub weights: Buffer<R, P::Weight>,
}

impl<R: Runtime, P: Precision> Correspondence<R, P> {
    /// Bytes of device memory, both orders.
    pub fn bytes(&self) -> usize {
        let transposed = &self.transposed;
        [&self.row_starts, &self.columns, &transposed.slot_starts, &transposed.entry_starts, &transposed.rows]
            .map(Buffer::bytes)
            .iter()
            .chain(&[&self.weights, &self.background, &transposed.weights].map(Buffer::bytes))
            .sum()
    }
}

/// Builds the matrix. A row's L1 error stays below `tau`.
///
/// # Errors
/// [`crate::Error::TooLarge`] when it does not fit a 32-bit index; [`crate::Error::Device`].
pub fn correspondence<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    frames: &Frames<R, P::Real>,
    cells: Cells,
    background: Background,
    tau: f64,
) -> Result<Correspondence<R, P>> {
    let tolerance = Tolerance { tau };
    let floor = match background {
        Background::Odds if !frames.is_empty() => Some(background_floor(device, frames)?),
        _ => None,
    };
    let rule = Rule::Posterior { range: tolerance.tile_range::<P::Real>(frames.len()), floor };
    let bins = bins(device, frames, cells, rule, 0.0)?;
    let stage = Stage { device, frames, bins: &bins, background, tolerance };
    let kept = stage.count();
    let starts = scan::starts(device, &kept.counts);
    let entries = starts.total("transport kernel")?;
    let columns = device.uninit(entries);
    let weights = device.uninit(entries);
    stage.fill(&kept, &starts.starts, &columns, &weights);
    let worst = reduce(device, &kept.dropped, Reduction::Largest).read_one()?.cast_to_f64();
    let transposed = transpose(device, &bins, &starts.starts, &columns, &weights);
    Ok(Correspondence {
        cells,
        row_starts: starts.starts,
        columns,
        weights,
        background: kept.background,
        transposed,
        worst_dropped: worst,
        bound: worst + tolerance.tile_bound(),
    })
}

/// A logit that every cell reaches: where the nearest Gaussian's falls, the background's rises, and the two cross at
/// `-(b + log|Sigma|) / 2` or above.
fn background_floor<R: Runtime, P: Precision>(device: &Device<R, P>, frames: &Frames<R, P::Real>) -> Result<f64> {
    let crossings = device.uninit(frames.len());
    let (count, dim) = device.per_unit(frames.len());
    write_crossings::launch::<P::Real, R>(device.client(), count, dim, frames.packed.arg(), crossings.arg());
    Ok(-reduce(device, &crossings, Reduction::Largest).read_one()?.cast_to_f64())
}

/// Minus the logit at which each Gaussian and its background cross.
#[cube(launch)]
fn write_crossings<F: Real>(frames: &Array<F>, crossings: &mut Array<F>) {
    if ABSOLUTE_POS < crossings.len() {
        let frame = Frame::load(frames, ABSOLUTE_POS as u32);
        crossings[ABSOLUTE_POS] = frame.threshold / F::new(2.0) - frame.log_normaliser;
    }
}

struct Kept<R: Runtime, P: Precision> {
    counts: Buffer<R, u32>,
    /// Largest logit, `[cells]`.
    largest: Buffer<R, P::Real>,
    /// Sum of `exp(logit - largest)` over what is kept, `[cells]`. Their logs are not added: far out the sum's last digit
    /// would be worth more than a weight's.
    total: Buffer<R, P::Real>,
    /// Least logit that is kept, `[cells]`.
    least: Buffer<R, P::Real>,
    background: Buffer<R, P::Weight>,
    dropped: Buffer<R, P::Real>,
}

struct Stage<'a, R: Runtime, P: Precision> {
    device: &'a Device<R, P>,
    frames: &'a Frames<R, P::Real>,
    bins: &'a Bins<R>,
    background: Background,
    tolerance: Tolerance,
}

impl<R: Runtime, P: Precision> Stage<'_, R, P> {
    fn lists(&self) -> ListsLaunch<P::Real, R> {
        ListsLaunch::new(self.bins.tile_starts.arg(), self.bins.members.arg(), self.bins.cells.launch())
    }

    fn count(&self) -> Kept<R, P> {
        let cells = self.bins.cells.len();
        let kept = Kept {
            counts: self.device.uninit(cells),
            largest: self.device.uninit(cells),
            total: self.device.uninit(cells),
            least: self.device.uninit(cells),
            background: self.device.uninit(cells),
            dropped: self.device.uninit(cells),
        };
        let (count, dim) = self.device.per_tile(self.bins.tiles());
        count_rows::launch::<P::Real, P::Weight, R>(
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
        kept
    }

    fn fill(
        &self,
        kept: &Kept<R, P>,
        starts: &Buffer<R, u32>,
        columns: &Buffer<R, u32>,
        weights: &Buffer<R, P::Weight>,
    ) {
        if columns.is_empty() {
            return;
        }
        let (count, dim) = self.device.per_tile(self.bins.tiles());
        fill_rows::launch::<P::Real, P::Weight, R>(
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
struct Rows<F: Real, W: Real> {
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
fn peak<F: Real>(frames: &Array<F>, members: &Array<u32>, first: u32, end: u32, centre: Point<F>) -> Peak<F> {
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
fn count_rows<F: Real, W: Real>(
    frames: &Array<F>,
    lists: &Lists<F>,
    rows: &mut Rows<F, W>,
    droppable: F,
    #[comptime] rule: Background,
) {
    let tile = CUBE_POS as u32;
    let cell = cell_of_unit(&lists.lattice, tile, UNIT_POS);
    if cell.inside {
        let (first, end) = (lists.starts[tile as usize], lists.starts[tile as usize + 1]);
        let centre = lists.lattice.centre(cell.column, cell.row);
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
        let largest = max(top.largest, logit);
        // Each of the list's members that is left out weighs at most droppable / members of the largest.
        let least = largest + (droppable / F::cast_from(u32::max(end - first, 1u32))).ln();
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
        let mut odds = F::new(0.0);
        if comptime!(rule == Background::Odds) {
            odds = (max(logit - largest, F::new(-80.0))).exp();
        }
        if outside {
            odds = one;
        }
        let total = kept_sum + odds;
        let at = cell.index as usize;
        rows.counts[at] = kept;
        rows.largest[at] = largest;
        rows.total[at] = total;
        rows.least[at] = select(outside, F::max_value(), least);
        rows.background[at] = W::cast_from(odds / total);
        rows.dropped[at] = dropped_sum / (total + dropped_sum);
    }
}

#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn fill_rows<F: Real, W: Real>(
    frames: &Array<F>,
    lists: &Lists<F>,
    starts: &Array<u32>,
    peaks: &Peaks<F>,
    columns: &mut Array<u32>,
    weights: &mut Array<W>,
) {
    let tile = CUBE_POS as u32;
    let cell = cell_of_unit(&lists.lattice, tile, UNIT_POS);
    if cell.inside {
        let row = cell.index as usize;
        let centre = lists.lattice.centre(cell.column, cell.row);
        let (largest, total, smallest) = (peaks.largest[row], peaks.total[row], peaks.least[row]);
        let mut to = starts[row];
        let end = starts[row + 1];
        for at in lists.starts[tile as usize]..lists.starts[tile as usize + 1] {
            let n = lists.members[at as usize];
            let l = Frame::load(frames, n).log_density(centre);
            // The second condition never decides where both passes round alike; it keeps a row within its place if not.
            if l >= smallest && to < end {
                columns[to as usize] = n;
                weights[to as usize] = W::cast_from((l - largest).exp() / total);
                to += 1u32;
            }
        }
        while to < end {
            columns[to as usize] = lists.members[lists.starts[tile as usize + 1] as usize - 1];
            weights[to as usize] = W::cast_from(F::new(0.0));
            to += 1u32;
        }
    }
}

/// The same entries by annotation: every slot looks its Gaussian up in the rows of its tile.
fn transpose<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    bins: &Bins<R>,
    row_starts: &Buffer<R, u32>,
    columns: &Buffer<R, u32>,
    weights: &Buffer<R, P::Weight>,
) -> Transposed<R, P> {
    let counts = device.uninit(bins.pairs());
    let (rows, transposed) = (device.uninit(columns.len()), device.uninit(columns.len()));
    let visit = |starts: &Buffer<R, u32>, fill: bool| {
        if bins.pairs() == 0 {
            return;
        }
        let (count, dim) = device.per_unit(bins.pairs());
        visit_rows::launch::<P::Weight, R>(
            device.client(),
            count,
            dim,
            SlotRowsLaunch::new(
                bins.slot_tiles.arg(),
                bins.slot_owners.arg(),
                row_starts.arg(),
                columns.arg(),
                weights.arg(),
                bins.cells.columns,
                bins.cells.rows,
            ),
            starts.arg(),
            rows.arg(),
            transposed.arg(),
            bins.pairs() as u32,
            fill,
        );
    };
    visit(&counts, false);
    let entry_starts = scan::starts(device, &counts).starts;
    visit(&entry_starts, true);
    Transposed { slot_starts: bins.slot_starts.clone(), entry_starts, rows, weights: transposed }
}

#[derive(CubeType, CubeLaunch)]
struct SlotRows<W: Real> {
    tiles: Array<u32>,
    owners: Array<u32>,
    row_starts: Array<u32>,
    columns: Array<u32>,
    weights: Array<W>,
    across: u32,
    down: u32,
}

/// One unit per slot. Counts the slot's entries into `starts`, or (`fill`) writes them from `starts` on.
#[cube(launch)]
fn visit_rows<W: Real>(
    slots: &SlotRows<W>,
    starts: &mut Array<u32>,
    rows: &mut Array<u32>,
    weights: &mut Array<W>,
    pairs: u32,
    #[comptime] fill: bool,
) {
    let slot = ABSOLUTE_POS;
    if (slot as u32) < pairs {
        let (tile, n) = (slots.tiles[slot], slots.owners[slot]);
        let tiles_across = slots.across.div_ceil(crate::bins::TILE);
        let (left, top) = (tile % tiles_across * crate::bins::TILE, tile / tiles_across * crate::bins::TILE);
        let mut at = 0u32;
        if comptime!(fill) {
            at = starts[slot];
        }
        for y in top..u32::min(top + crate::bins::TILE, slots.down) {
            for x in left..u32::min(left + crate::bins::TILE, slots.across) {
                let row = y * slots.across + x;
                let end = slots.row_starts[row as usize + 1];
                let found = crate::bins::position(&slots.columns, slots.row_starts[row as usize], end, n);
                if found < end {
                    if comptime!(fill) {
                        rows[at as usize] = row;
                        weights[at as usize] = slots.weights[found as usize];
                    }
                    at += 1u32;
                }
            }
        }
        if comptime!(!fill) {
            starts[slot] = at;
        }
    }
}
