//! Rows in fixed point: largest remainders, so that a row's sum is exact.

use cubecl::prelude::*;

use super::{
    Stored, Transposed,
    rows::{Entries, Kept, Stage},
};
use crate::{
    Result,
    bins::position,
    buffer::Buffer,
    real::{Precision, Real, Storage},
};

/// Parts into which the range of a remainder is cut, twice: remainders are told apart to 1/1024 of a unit, which is finer than
/// what `f32` holds of a weight above 1/4.
const PARTS: u32 = 32;

/// Writes the rows with whole weights, rounds these, and looks them up for the other order.
pub(super) fn rounded<R: Runtime, P: Precision>(
    stage: &Stage<'_, R, P>,
    kept: &Kept<R, P, P::Real>,
    room: usize,
) -> Result<Stored<R, P>> {
    let device = stage.device;
    let Entries { row_starts, columns, weights: whole, transposed } = stage.fill(kept, room)?;
    let rows = kept.background.len();
    let background: Buffer<R, P::Weight> = device.uninit(rows);
    let weights: Buffer<R, P::Weight> = device.room("transport kernel", room)?;
    let by_slot: Buffer<R, P::Weight> = device.room("transport kernel", room)?;
    if rows > 0 {
        let (count, dim) = device.per_unit(rows);
        round_rows::launch::<P::Real, P::Weight, R>(
            device.client(),
            count,
            dim,
            row_starts.arg(),
            whole.arg(),
            kept.background.arg(),
            weights.arg(),
            background.arg(),
            room as u32,
        );
    }
    let slots = stage.bins.pairs();
    if slots > 0 && room > 0 {
        let (count, dim) = device.per_unit(slots);
        look_up::launch::<P::Weight, R>(
            device.client(),
            count,
            dim,
            row_starts.arg(),
            columns.arg(),
            weights.arg(),
            transposed.slot_starts.arg(),
            stage.bins.slot_owners.arg(),
            transposed.entry_starts.arg(),
            transposed.rows.arg(),
            by_slot.arg(),
            slots as u32,
        );
    }
    let Transposed { slot_starts, entry_starts, rows, .. } = transposed;
    let transposed = Transposed { slot_starts, entry_starts, rows, weights: by_slot };
    Ok((Entries { row_starts, columns, weights, transposed }, background))
}

/// One unit per slot: the weights of its Gaussian in its rows.
#[cube(launch)]
fn look_up<W: Storage>(
    row_starts: &Array<u32>,
    columns: &Array<u32>,
    weights: &Array<W>,
    slot_starts: &Array<u32>,
    owners: &Array<u32>,
    entry_starts: &Array<u32>,
    rows: &Array<u32>,
    by_slot: &mut Array<W>,
    slots: u32,
) {
    let slot = ABSOLUTE_POS;
    if (slot as u32) < u32::min(slots, slot_starts[slot_starts.len() - 1]) {
        for at in entry_starts[slot]..u32::min(entry_starts[slot + 1], rows.len() as u32) {
            let row = rows[at as usize] as usize;
            let end = row_starts[row + 1];
            let found = position(columns, row_starts[row], end, owners[slot]);
            if found < end {
                by_slot[at as usize] = weights[found as usize];
            }
        }
    }
}

/// One unit per row. `room` is how many entries there are room for: a row beyond it is written again later.
#[cube(launch)]
fn round_rows<F: Real, W: Storage>(
    starts: &Array<u32>,
    weights: &Array<F>,
    background: &Array<F>,
    rounded: &mut Array<W>,
    rounded_background: &mut Array<W>,
    room: u32,
) {
    let row = ABSOLUTE_POS;
    if row < background.len() {
        let (first, end) = (u32::min(starts[row], room), u32::min(starts[row + 1], room));
        let behind = Units::<F>::of::<W>(background[row]);
        // Units that the floors leave.
        let mut left = i32::cast_from(comptime!((1.0 / W::UNIT).round() as i32)) - i32::cast_from(behind.whole);
        for at in first..end {
            left -= i32::cast_from(Units::<F>::of::<W>(weights[at as usize]).whole);
        }
        let limit = Limit::<F>::find::<W>(weights, first, end, behind, left);
        let mut above = limit.above;
        let mut within = i32::max(left, 0i32) - limit.above;
        for at in first..end {
            let units = Units::<F>::of::<W>(weights[at as usize]);
            let mut stored = units.whole;
            if units.rest >= limit.high {
                stored += F::new(1.0);
                above -= 1;
            } else if units.rest >= limit.low {
                if within > 0 {
                    stored += F::new(1.0);
                    within -= 1;
                }
            }
            // Floors of products that were rounded up may already be too much.
            if left < 0 {
                if stored > F::new(0.0) {
                    stored -= F::new(1.0);
                    left += 1;
                }
            }
            rounded[at as usize] = W::cast_from(stored);
        }
        // The background gets what is left of the row.
        let mut stored = behind.whole + F::cast_from(above + within);
        if left < 0 {
            stored = behind.whole + F::cast_from(left);
        }
        rounded_background[row] = W::cast_from(stored);
    }
}

/// A weight in units.
#[derive(CubeType, Clone, Copy)]
struct Units<F: Real> {
    whole: F,
    rest: F,
}

#[cube]
impl<F: Real> Units<F> {
    fn of<W: Storage>(weight: F) -> Units<F> {
        let units = weight * F::new(comptime!((1.0 / W::UNIT).round()));
        let whole = units.floor();
        Units::<F> { whole, rest: units - whole }
    }
}

/// Remainders of `high` and more are rounded up, which are `above` of them; of those from `low` on, as many as are still left.
#[derive(CubeType, Clone, Copy)]
struct Limit<F: Real> {
    low: F,
    high: F,
    above: i32,
}

#[cube]
impl<F: Real> Limit<F> {
    fn find<W: Storage>(weights: &Array<F>, first: u32, end: u32, behind: Units<F>, left: i32) -> Limit<F> {
        let parts = comptime!(PARTS as usize);
        let mut low = F::new(0.0);
        let mut width = F::new(1.0) / F::cast_from(PARTS);
        let mut above = 0i32;
        for _look in 0..2u32 {
            let mut reached = Array::<i32>::new(parts);
            #[unroll]
            for part in 0..parts {
                let threshold = low + F::cast_from(comptime!(part as u32)) * width;
                reached[part] = select(behind.rest >= threshold, 1i32, 0i32);
            }
            for at in first..end {
                let rest = Units::<F>::of::<W>(weights[at as usize]).rest;
                #[unroll]
                for part in 0..parts {
                    let threshold = low + F::cast_from(comptime!(part as u32)) * width;
                    reached[part] += select(rest >= threshold, 1i32, 0i32);
                }
            }
            let mut cut = F::new(0.0);
            #[unroll]
            for part in 1..parts {
                if reached[part] >= left {
                    cut = F::cast_from(comptime!(part as u32));
                } else {
                    above = i32::max(above, reached[part]);
                }
            }
            low += cut * width;
            width /= F::cast_from(PARTS);
        }
        Limit::<F> { low, high: low + width * F::cast_from(PARTS), above }
    }
}
