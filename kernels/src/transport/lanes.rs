//! Sums over an image by many units, beside units that have an element each.
//!
//! On a GPU a cube adds up an image: every unit each [`LANES`]th number, then a few units what others found. Where units run one
//! after the other one of them does the same in the same order, without barriers.

use cubecl::prelude::*;

use crate::{
    device::{Device, Shape},
    real::{Precision, Real},
};

/// Units of a cube.
const LANES: u32 = 128;
/// Rows of them, whose sums are added at the end.
const ROWS: u32 = 16;
/// Units of a row.
const EACH: u32 = LANES / ROWS;
/// Numbers that a unit adds in a round: their loads do not wait for each other, and software Vulkan ends a unit's loops after 65535
/// rounds in all.
const A_ROUND: u32 = 8;

/// A launch for `images` sums and `elements` elements.
pub(super) fn spread<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    images: usize,
    elements: usize,
) -> (CubeCount, CubeDim) {
    match device.shape() {
        Shape::Gathered => device.per_unit(elements + images),
        Shape::Tiled => device.per_cube((images + elements.div_ceil(LANES as usize)) * LANES as usize, LANES),
    }
}

/// Number of this unit's element: there is none where it is not below how many there are.
#[cube]
pub(super) fn element(images: u32, #[comptime] shape: Shape) -> u32 {
    let mut element = ABSOLUTE_POS as u32;
    if comptime!(shape == Shape::Tiled) {
        let summing = images * LANES;
        element = select(element < summing, 4294967295u32, element - summing);
    }
    element
}

/// The image that this unit sums, alone or with its cube: there is none where it is not below how many there are.
#[cube]
pub(super) fn image(elements: u32, #[comptime] shape: Shape) -> u32 {
    match comptime!(shape) {
        Shape::Gathered => {
            let unit = ABSOLUTE_POS as u32;
            select(unit < elements, 4294967295u32, unit - elements)
        }
        Shape::Tiled => CUBE_POS as u32,
    }
}

/// Whether this unit has the sum that its image's units made.
#[cube]
pub(super) fn has_sum(#[comptime] shape: Shape) -> bool {
    match comptime!(shape) {
        Shape::Gathered => true.runtime(),
        Shape::Tiled => UNIT_POS == 0u32,
    }
}

/// `values[first .. end]`, for the unit that [`has_sum`]; all units of the [`image`] call it.
#[cube]
pub(super) fn sum<F: Real>(values: &Array<F>, first: u32, end: u32, #[comptime] shape: Shape) -> F {
    let mut sum = F::new(0.0);
    match comptime!(shape) {
        Shape::Gathered => {
            for row in 0..ROWS {
                let mut of_row = F::new(0.0);
                for unit in 0..EACH {
                    of_row += lane::<F>(values, first + row * EACH + unit, end);
                }
                sum += of_row;
            }
        }
        Shape::Tiled => {
            let mut lanes = SharedMemory::<F>::new(comptime!(LANES as usize));
            let mut rows = SharedMemory::<F>::new(comptime!(ROWS as usize));
            lanes[UNIT_POS as usize] = lane::<F>(values, first + UNIT_POS, end);
            sync_cube();
            if UNIT_POS < ROWS {
                let mut of_row = F::new(0.0);
                #[unroll]
                for unit in 0..EACH {
                    of_row += lanes[(UNIT_POS * EACH + unit) as usize];
                }
                rows[UNIT_POS as usize] = of_row;
            }
            sync_cube();
            #[unroll]
            for row in 0..ROWS {
                sum += rows[row as usize];
            }
        }
    }
    sum
}

/// Each [`LANES`]th of `values[first .. end]`, in order.
#[cube]
fn lane<F: Real>(values: &Array<F>, first: u32, end: u32) -> F {
    let mut sum = F::new(0.0);
    let mut at = first;
    while at < end {
        #[unroll]
        for next in 0..A_ROUND {
            if at + next * LANES < end {
                sum += values[(at + next * LANES) as usize];
            }
        }
        at += A_ROUND * LANES;
    }
    sum
}
