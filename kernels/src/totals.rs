//! Sums over every image of a batch, in an order that does not depend on the other images.

use cubecl::prelude::*;

use crate::{
    buffer::Buffer,
    device::Device,
    grid::{Count, Mosaic, Plots},
    real::{Precision, Quad, Real},
};

/// Elements that a unit adds in one round of its loop: software Vulkan ends a unit's loops after 65535 rounds in all.
const A_ROUND: u32 = 8;
/// Units per image: enough to keep a device busy, few enough that one unit can add what they found.
const PARTS: u32 = 64;

/// Per image the sums of the first three of four numbers and the largest of the last, which must not be negative:
/// `[images, 4]`; `values` is `[elements, 4]`.
pub(crate) fn totals<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    mosaic: &Mosaic<R, P::Real>,
    values: &Buffer<R, P::Real>,
    of: Count,
) -> Buffer<R, P::Real> {
    let images = mosaic.images().len();
    let parts = device.uninit::<P::Real>(4 * images * PARTS as usize);
    let totals = device.uninit::<P::Real>(4 * images);
    let (cubes, dim) = device.per_unit(images * PARTS as usize);
    add_parts::launch::<P::Real, R>(device.client(), cubes, dim, values.arg(), mosaic.arg(), parts.arg(), of);
    let (cubes, dim) = device.per_unit(images);
    add_parts_up::launch::<P::Real, R>(device.client(), cubes, dim, parts.arg(), totals.arg(), images as u32);
    totals
}

/// Three sums and a largest.
#[cube]
pub(crate) fn add_totals<F: Real>(a: Quad<F>, b: Quad<F>) -> Quad<F> {
    let mut joined = a + b;
    joined[3] = max(a[3], b[3]);
    joined
}

#[cube(launch)]
fn add_parts<F: Real>(values: &Array<Quad<F>>, plots: &Plots<F>, parts: &mut Array<Quad<F>>, #[comptime] of: Count) {
    let image = ABSOLUTE_POS as u32 / PARTS;
    if image < plots.images() {
        let mut at = plots.before(image, of) + ABSOLUTE_POS as u32 % PARTS;
        let end = plots.before(image + 1u32, of);
        let mut sum = Quad::<F>::new(F::new(0.0));
        while at < end {
            #[unroll]
            for next in 0..A_ROUND {
                if at + next * PARTS < end {
                    sum = add_totals::<F>(sum, values[(at + next * PARTS) as usize]);
                }
            }
            at += comptime!(A_ROUND * PARTS);
        }
        parts[ABSOLUTE_POS] = sum;
    }
}

#[cube(launch)]
fn add_parts_up<F: Real>(parts: &Array<Quad<F>>, totals: &mut Array<Quad<F>>, images: u32) {
    let image = ABSOLUTE_POS as u32;
    if image < images {
        let mut sum = Quad::<F>::new(F::new(0.0));
        for part in image * PARTS..(image + 1u32) * PARTS {
            sum = add_totals::<F>(sum, parts[part as usize]);
        }
        totals[ABSOLUTE_POS] = sum;
    }
}
