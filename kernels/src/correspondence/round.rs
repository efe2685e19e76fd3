//! Rows in fixed point: largest remainders, so that a row's sum is exact.

use cubecl::prelude::*;

use super::rows::Entries;
use crate::{
    buffer::Buffer,
    device::Device,
    real::{Precision, Real, Storage},
};

/// Parts into which the range of a remainder is cut, twice: remainders are told apart to 1/1024 of a unit, which is finer than
/// what `f32` holds of a weight above 1/4.
const PARTS: u32 = 32;

/// Rounds the weights of every row.
pub(super) fn rounded<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    entries: Entries<R, P, P::Real>,
) -> Entries<R, P, P::Weight> {
    let rows = entries.background.len();
    let background: Buffer<R, P::Weight> = device.uninit(rows);
    let weights: Buffer<R, P::Weight> = device.uninit(entries.weights.len());
    if rows > 0 {
        let (count, dim) = device.per_unit(rows);
        round_rows::launch::<P::Real, P::Weight, R>(
            device.client(),
            count,
            dim,
            entries.starts.starts.arg(),
            entries.weights.arg(),
            entries.background.arg(),
            weights.arg(),
            background.arg(),
            entries.weights.len() as u32,
        );
    }
    let Entries { starts, columns, dropped, .. } = entries;
    Entries { starts, columns, weights, background, dropped }
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
