//! Posterior rows: which entries each keeps, then the entries, in both orders.

use cubecl::prelude::*;

use super::{Background, Mirrored, Tolerance, Transposed, nucleus::nucleus};
use crate::{
    Result,
    bins::{Bins, TILE, UNASKED},
    buffer::Buffer,
    device::Device,
    gaussian::{Frame, Frames, Point},
    grid::Counts,
    rasterize::{Lists, ListsLaunch},
    real::{Precision, Quad, Real, Storage, real},
    scan::{Of, starts_of_both},
};

/// Rows before their entries are written; weights are stored as `W`.
pub(super) struct Kept<R: Runtime, P: Precision, W: Storage> {
    /// Where the entries of every row start, `[cells + 1]`.
    row_starts: Buffer<R, u32>,
    /// Where those of every slot do, and its cells; see [`Stage::marks`].
    entry_starts: Buffer<R, u32>,
    marks: Buffer<R, u32>,
    /// For every cell a bit for each member of its tile's list, 1 if its row keeps an entry of it; see [`word_of`].
    members: Buffer<R, u32>,
    /// Largest logit, `[cells]`.
    largest: Buffer<R, P::Real>,
    /// Sum of `exp(logit - largest)` over what is kept, `[cells]`. Their logs are not added: far out the sum's last digit
    /// would be worth more than a weight's.
    total: Buffer<R, P::Real>,
    pub background: Buffer<R, W>,
    pub dropped: Buffer<R, P::Real>,
}

/// Entries in both orders; weights are stored as `W`.
pub(super) struct Entries<R: Runtime, W: Storage> {
    pub row_starts: Buffer<R, u32>,
    pub columns: Buffer<R, u32>,
    pub weights: Buffer<R, W>,
    /// By slot.
    pub transposed: Transposed<R, W>,
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

    /// Finds what every row keeps, and where its entries go; how many there are goes to the fourth of `totals`.
    pub fn count<W: Storage>(&self, totals: &Buffer<R, u32>) -> Result<Kept<R, P, W>> {
        let (device, cells, what) = (self.device, self.bins.cells(), "rows of the transport kernel");
        let counts: Buffer<R, u32> = device.room(what, cells)?;
        let members = device.room(what, (self.bins.pairs() / 32 + self.bins.tiles() + 1) * CELLS as usize)?;
        let (largest, total) = (device.room(what, cells)?, device.room(what, cells)?);
        let (background, dropped) = (device.room(what, cells)?, device.room(what, cells)?);
        let (count, dim) = device.per_tile(self.bins.tiles());
        count_rows::launch::<P::Real, W, R>(
            device.client(),
            count,
            dim,
            self.frames.packed.arg(),
            self.lists(),
            RowsLaunch::new(counts.arg(), members.arg(), largest.arg(), total.arg(), background.arg(), dropped.arg()),
            real(self.tolerance.row_bound::<P::Real>()),
            self.background,
        );
        let marks = self.marks(&members)?;
        let both = [(&counts, Of::Counts), (&marks, Of::Marks)];
        let [row_starts, entry_starts] = starts_of_both(device, both, totals, [3, UNASKED]);
        Ok(Kept { row_starts, entry_starts, marks, members, largest, total, background, dropped })
    }

    /// For every slot two words, a bit for each cell of its tile whose row keeps an entry of the slot's Gaussian.
    fn marks(&self, kept: &Buffer<R, u32>) -> Result<Buffer<R, u32>> {
        let pairs = self.bins.pairs();
        let marks = self.device.room("marks of the transport kernel", 2 * pairs)?;
        if pairs > 0 {
            let (count, dim) = self.device.per_unit(pairs);
            mark_slots::launch::<R>(
                self.device.client(),
                count,
                dim,
                self.bins.member_slots.arg(),
                self.bins.slot_starts.arg(),
                self.bins.slot_tiles.arg(),
                kept.arg(),
                self.bins.mosaic.counts(),
                marks.arg(),
            );
        }
        Ok(marks)
    }

    /// Writes the entries, as far as there is room for them.
    pub fn fill<W: Storage>(&self, kept: &Kept<R, P, W>, room: usize) -> Result<Entries<R, W>> {
        let (device, what) = (self.device, "transport kernel");
        let (columns, weights) = (device.room(what, room)?, device.room(what, room)?);
        let (rows, by_slot) = (device.room(what, room)?, device.room(what, room)?);
        if room > 0 {
            let (count, dim) = device.per_tile(self.bins.tiles());
            fill_rows::launch::<P::Real, W, R>(
                device.client(),
                count,
                dim,
                self.frames.packed.arg(),
                self.lists(),
                MarkedLaunch::new(
                    self.bins.member_slots.arg(),
                    kept.marks.arg(),
                    kept.members.arg(),
                    kept.row_starts.arg(),
                    kept.entry_starts.arg(),
                    kept.largest.arg(),
                    kept.total.arg(),
                ),
                WrittenLaunch::new(columns.arg(), weights.arg(), rows.arg(), by_slot.arg()),
            );
        }
        let (slot_starts, entry_starts) = (self.bins.slot_starts.clone(), kept.entry_starts.clone());
        let transposed = Transposed { slot_starts, entry_starts, rows, weights: by_slot };
        Ok(Entries { row_starts: kept.row_starts.clone(), columns, weights, transposed })
    }
}

#[derive(CubeType, CubeLaunch)]
struct Rows<F: Real, W: Storage> {
    counts: Array<u32>,
    kept: Array<u32>,
    largest: Array<F>,
    total: Array<F>,
    background: Array<W>,
    dropped: Array<F>,
}

/// What [`fill_rows`] reads.
#[derive(CubeType, CubeLaunch)]
struct Marked<F: Real> {
    member_slots: Array<u32>,
    marks: Array<u32>,
    kept: Array<u32>,
    row_starts: Array<u32>,
    entry_starts: Array<u32>,
    largest: Array<F>,
    total: Array<F>,
}

/// What [`fill_rows`] writes: entries by row, and by slot.
#[derive(CubeType, CubeLaunch)]
struct Written<W: Storage> {
    columns: Array<u32>,
    weights: Array<W>,
    rows: Array<u32>,
    by_slot: Array<W>,
}

/// Cells of a tile.
const CELLS: u32 = TILE * TILE;

/// Where the word is that has a cell's bit of a member of its tile's list. Words of one tile follow one another, so that units read
/// side by side; lists that end and begin in the same word have one each.
#[cube]
fn word_of(member: u32, tile: u32, cell: u32) -> usize {
    ((member / 32u32 + tile) * CELLS + cell) as usize
}

/// One unit per member of a list: its bits, cell by cell, for its slot. Slots that there are not have none.
#[cube(launch)]
fn mark_slots(
    member_slots: &Array<u32>,
    slot_starts: &Array<u32>,
    slot_tiles: &Array<u32>,
    kept: &Array<u32>,
    counts: &Counts,
    marks: &mut Array<u32>,
) {
    let member = ABSOLUTE_POS as u32;
    if 2 * ABSOLUTE_POS < marks.len() {
        let mut slot = member;
        let mut first = 0u32;
        let mut second = 0u32;
        if member < slot_starts[slot_starts.len() - 1] {
            slot = member_slots[ABSOLUTE_POS];
            let tile = slot_tiles[slot as usize];
            let corner = counts.corner(tile);
            let columns = u32::min(corner.columns - corner.column, TILE);
            for y in 0..u32::min(corner.rows - corner.row, TILE) {
                for x in 0..columns {
                    let cell = y * TILE + x;
                    let bit = (kept[word_of(member, tile, cell)] >> (member % 32u32)) & 1u32;
                    if y < 4u32 {
                        first |= bit << cell;
                    } else {
                        second |= bit << (cell - 32u32);
                    }
                }
            }
        }
        // Where there was no room for the lists, what they say is nothing.
        if 2 * slot as usize + 1 < marks.len() {
            marks[2 * slot as usize] = first;
            marks[2 * slot as usize + 1] = second;
        }
    }
}

/// The largest log density of a list at a point, and the nearest Gaussian.
#[derive(CubeType, Clone, Copy)]
struct Peak<F: Real> {
    largest: F,
    q: F,
    log_normaliser: F,
    threshold: F,
    /// Of the reciprocal rule: `|Sigma|^(-1/2)`, without a share.
    inverse_area: F,
}

#[cube]
fn peak<F: Real>(
    frames: &Array<Quad<F>>,
    members: &Array<u32>,
    first: u32,
    end: u32,
    centre: Point<F>,
    #[comptime] rule: Background,
) -> Peak<F> {
    let mut largest = F::min_value();
    let mut nearest_q = F::max_value();
    let mut log_normaliser = F::new(0.0);
    let mut threshold = F::new(0.0);
    let mut inverse_area = F::new(1.0);
    for at in first..end {
        let frame = Frame::load(frames, members[at as usize]);
        let q = frame.mahalanobis_sq(centre);
        largest = max(largest, frame.log_normaliser - q / F::new(2.0));
        if q < nearest_q {
            nearest_q = q;
            log_normaliser = frame.log_normaliser;
            threshold = frame.threshold;
            if comptime!(rule == Background::Reciprocal) {
                inverse_area = frame.inverse_area();
            }
        }
    }
    Peak::<F> { largest, q: nearest_q, log_normaliser, threshold, inverse_area }
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
        let top = peak(frames, &lists.members, first, end, centre, rule);
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
                let mirrored = Mirrored::<F>::of(top.q, top.threshold, top.inverse_area);
                logit = top.inverse_area.ln() - mirrored.exponent;
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
        let mut word = 0u32;
        for at in first..end {
            if !outside {
                let l = Frame::load(frames, lists.members[at as usize]).log_density(centre);
                let e = (l - largest).exp();
                if l >= least {
                    kept_sum += e;
                    kept += 1u32;
                    word |= 1u32 << (at % 32u32);
                } else {
                    dropped_sum += e;
                }
            }
            if at % 32u32 == 31u32 || at + 1u32 == end {
                let to = word_of(at, tile, UNIT_POS);
                if to < rows.kept.len() {
                    rows.kept[to] = word;
                }
                word = 0u32;
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
        rows.background[at] = W::cast_from(odds / total);
        rows.dropped[at] = dropped_sum / (total + dropped_sum);
    }
}

/// Writes what [`count_rows`] marked: by row, and by slot behind the entries of the cells before.
#[cube(launch)]
fn fill_rows<F: Real, W: Storage>(
    frames: &Array<Quad<F>>,
    lists: &Lists<F>,
    marked: &Marked<F>,
    written: &mut Written<W>,
) {
    let tile = CUBE_POS as u32;
    let cell = lists.plots.cell(tile, UNIT_POS);
    if cell.inside {
        let row = cell.index as usize;
        let (largest, total) = (marked.largest[row], marked.total[row]);
        let mut to = marked.row_starts[row];
        let (word, bit) = (UNIT_POS / 32u32, 1u32 << (UNIT_POS % 32u32));
        for at in lists.starts[tile as usize]..lists.starts[tile as usize + 1] {
            if ((marked.kept[word_of(at, tile, UNIT_POS)] >> (at % 32u32)) & 1u32) != 0u32 {
                let n = lists.members[at as usize];
                let weight = W::cast_from((Frame::load(frames, n).log_density(cell.centre) - largest).exp() / total);
                let slot = marked.member_slots[at as usize] as usize;
                let mut before = (marked.marks[2 * slot + word as usize] & (bit - 1u32)).count_ones();
                if word == 1u32 {
                    before += marked.marks[2 * slot].count_ones();
                }
                let by_slot = marked.entry_starts[slot] + before;
                let room = written.columns.len() as u32;
                if u32::max(to, by_slot) < room {
                    written.columns[to as usize] = n;
                    written.weights[to as usize] = weight;
                    written.rows[by_slot as usize] = row as u32;
                    written.by_slot[by_slot as usize] = weight;
                }
                to += 1u32;
            }
        }
    }
}
