//! Sum and largest element, of all or of every image of a batch, in a fixed order: the same bits every time.

use cubecl::prelude::*;

use crate::{
    buffer::Buffer,
    device::Device,
    grid::{Count, Counts, Mosaic},
    real::{Precision, Real},
};

/// Elements per unit and level.
const CHUNK: u32 = 64;

/// Units of a cube that looks through an image alone, and most elements that it looks through.
const UNITS: u32 = 256;
const AT_ONCE: usize = (UNITS * 1024) as usize;

/// How two elements become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// `a + b`; of nothing: 0.
    Sum,
    /// The larger; of nothing: the least finite value.
    Largest,
}

/// Reduces `values` to one element on the device.
pub fn reduce<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    values: &Buffer<R, P::Real>,
    reduction: Reduction,
) -> Buffer<R, P::Real> {
    let reduced = device.uninit(1);
    reduce_into(device, values, reduction, &reduced, 0);
    reduced
}

/// Reduces `values` to element `at` of `target`.
pub fn reduce_into<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    values: &Buffer<R, P::Real>,
    reduction: Reduction,
    target: &Buffer<R, P::Real>,
    at: usize,
) {
    let chunks = values.len().div_ceil(CHUNK as usize).max(1);
    let partial = if chunks == 1 { target.clone() } else { device.uninit(chunks) };
    let (count, dim) = device.per_unit(chunks);
    reduce_chunk::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        values.arg(),
        partial.arg(),
        values.len() as u32,
        chunks as u32,
        if chunks == 1 { at as u32 } else { 0 },
        reduction,
    );
    if chunks > 1 {
        reduce_into(device, &partial, reduction, target, at);
    }
}

#[cube(launch)]
fn reduce_chunk<F: Real>(
    values: &Array<F>,
    reduced: &mut Array<F>,
    length: u32,
    chunks: u32,
    to: u32,
    #[comptime] reduction: Reduction,
) {
    if ABSOLUTE_POS < chunks as usize {
        let first = ABSOLUTE_POS as u32 * CHUNK;
        reduced[to as usize + ABSOLUTE_POS] = reduced_chunk::<F>(values, first, length, reduction);
    }
}

/// At most [`CHUNK`] elements from `first` on, none behind `end`.
#[cube]
fn reduced_chunk<F: Real>(values: &Array<F>, first: u32, end: u32, #[comptime] reduction: Reduction) -> F {
    let mut result = match comptime!(reduction) {
        Reduction::Sum => F::new(0.0),
        Reduction::Largest => F::min_value(),
    };
    for i in first..u32::min(first + CHUNK, end) {
        let value = values[i as usize];
        result = match comptime!(reduction) {
            Reduction::Sum => result + value,
            Reduction::Largest => max(result, value),
        };
    }
    result
}

/// Reduces the values of every image of a batch, the other images aside: `[images]`. There is a value for each of what `of` numbers.
pub(crate) fn reduce_images<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    mosaic: &Mosaic<R, P::Real>,
    values: &Buffer<R, P::Real>,
    of: Count,
    reduction: Reduction,
) -> Buffer<R, P::Real> {
    let most = mosaic.images().iter().map(|&(cells, gaussians)| match of {
        Count::Cells => cells.len(),
        _ => gaussians,
    });
    if reduction == Reduction::Largest && matches!(of, Count::Cells | Count::Gaussians) && most.max() <= Some(AT_ONCE) {
        return largest_of_images(device, mosaic, values, of);
    }
    // A value of `reduced` is that of so many elements.
    let (mut reduced, mut behind) = (values.clone(), 1);
    while behind == 1 || mosaic.total(of) >= behind as usize {
        // See `Counts::groups_before`.
        let groups = mosaic.total(of) / (behind * CHUNK) as usize + mosaic.images().len();
        let shorter = device.uninit(groups);
        let (count, dim) = device.per_unit(groups);
        reduce_group::launch::<P::Real, R>(
            device.client(),
            count,
            dim,
            reduced.arg(),
            shorter.arg(),
            mosaic.counts(),
            of,
            behind,
            reduction,
        );
        (reduced, behind) = (shorter, behind * CHUNK);
    }
    reduced
}

#[cube(launch)]
fn reduce_group<F: Real>(
    values: &Array<F>,
    reduced: &mut Array<F>,
    counts: &Counts,
    #[comptime] of: Count,
    #[comptime] behind: u32,
    #[comptime] reduction: Reduction,
) {
    if ABSOLUTE_POS < reduced.len() {
        let group = ABSOLUTE_POS as u32;
        let size = comptime!(behind * CHUNK);
        let image = counts.holding_group(group, of, size);
        let mut first = counts.before(image, of);
        let mut end = counts.before(image + 1u32, of);
        if comptime!(behind > 1) {
            first = counts.groups_before(image, of, behind);
            end = counts.groups_before(image + 1u32, of, behind);
        }
        first += (group - counts.groups_before(image, of, size)) * CHUNK;
        reduced[ABSOLUTE_POS] = reduced_chunk::<F>(values, first, end, reduction);
    }
}

/// The largest value of every image in one launch, a cube an image: of a maximum no order is another.
fn largest_of_images<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    mosaic: &Mosaic<R, P::Real>,
    values: &Buffer<R, P::Real>,
    of: Count,
) -> Buffer<R, P::Real> {
    let images = mosaic.images().len();
    let largest = device.uninit(images);
    let (count, dim) = device.per_cube(images * UNITS as usize, UNITS);
    find_largest::launch::<P::Real, R>(device.client(), count, dim, values.arg(), largest.arg(), mosaic.counts(), of);
    largest
}

#[cube(launch)]
fn find_largest<F: Real>(values: &Array<F>, largest: &mut Array<F>, counts: &Counts, #[comptime] of: Count) {
    let image = CUBE_POS as u32;
    // The launch may be larger than there are images.
    if image < counts.images() {
        let mut found = SharedMemory::<F>::new(comptime!(UNITS as usize));
        let mut best = F::min_value();
        let mut at = counts.before(image, of) + UNIT_POS;
        while at < counts.before(image + 1u32, of) {
            best = max(best, values[at as usize]);
            at += UNITS;
        }
        found[UNIT_POS as usize] = best;
        sync_cube();
        if UNIT_POS == 0 {
            for unit in 1..UNITS {
                best = max(best, found[unit as usize]);
            }
            largest[image as usize] = best;
        }
    }
}
