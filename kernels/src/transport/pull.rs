//! What every cell gets back, and what every image loses.

use cubecl::prelude::*;

use super::{Terms, carry::Carried, lanes};
use crate::{
    buffer::Buffer,
    correspondence::Correspondence,
    device::{Device, Shape},
    grid::{Count, Counts},
    real::{Precision, Real, Storage, real, weight_of},
};

/// What makes a loss of a pull: its terms, the columns' values, what was carried, where the images' losses go, and the factor.
pub(super) type Whole<'a, R, F> = (&'a Terms<R, F>, &'a Buffer<R, F>, &'a Carried<R, F>, &'a Buffer<R, F>, f64);

pub(super) fn pull<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    values: &Buffer<R, P::Real>,
    whole: Option<Whole<'_, R, P::Real>>,
) -> Buffer<R, P::Real> {
    let pulled = device.uninit(kernel.cells());
    let images = kernel.mosaic.images().len();
    let unwritten = device.uninit(1);
    let (cost, scale) = whole.map_or((None, 1.0), |(terms, .., scale)| (terms.cost.as_ref(), scale));
    let (of_columns, of_tiles, losses) = match whole {
        Some((_, value, carried, losses, _)) => (value, &carried.tiles, losses),
        None => (values, values, &unwritten),
    };
    let (cubes, dim) = lanes::spread(device, if whole.is_some() { images } else { 0 }, kernel.cells());
    pull_values::launch::<P::Real, P::Weight, R>(
        device.client(),
        cubes,
        dim,
        RowsLaunch::new(
            kernel.row_starts.arg(),
            kernel.columns.arg(),
            kernel.weights.arg(),
            kernel.background.arg(),
            cost.map_or(values, |(_, costs)| costs).arg(),
        ),
        values.arg(),
        of_columns.arg(),
        of_tiles.arg(),
        pulled.arg(),
        losses.arg(),
        kernel.mosaic.counts(),
        real(cost.map_or(0.0, |(factor, _)| *factor)),
        real(scale),
        cost.is_some(),
        whole.is_some(),
        device.shape(),
    );
    pulled
}

/// The matrix by cells, and the cells' costs.
#[derive(CubeType, CubeLaunch)]
struct Rows<F: Real, W: Storage> {
    starts: Array<u32>,
    columns: Array<u32>,
    weights: Array<W>,
    background: Array<W>,
    costs: Array<F>,
}

/// One unit per cell and (`whole`) as many per image as [`lanes`] has.
#[cube(launch)]
fn pull_values<F: Real, W: Storage>(
    rows: &Rows<F, W>,
    values: &Array<F>,
    of_columns: &Array<F>,
    of_tiles: &Array<F>,
    pulled: &mut Array<F>,
    losses: &mut Array<F>,
    counts: &Counts,
    cost_factor: F,
    scale: F,
    #[comptime] has_cost: bool,
    #[comptime] whole: bool,
    #[comptime] shape: Shape,
) {
    let cells = counts.total(Count::Cells);
    let mut summed = 0u32.runtime();
    if comptime!(whole) {
        summed = counts.images();
    }
    let cell = lanes::element(summed, shape);
    if cell < cells {
        let row = cell as usize;
        let image = counts.holding(cell, Count::Cells);
        let mut sum = weight_of::<F, W>(rows.background[row]) * values[counts.background(image) as usize];
        for entry in rows.starts[row]..rows.starts[row + 1] {
            let column = counts.column(rows.columns[entry as usize], image);
            sum += weight_of::<F, W>(rows.weights[entry as usize]) * values[column as usize];
        }
        if comptime!(has_cost) {
            sum += cost_factor * rows.costs[row];
        }
        pulled[row] = scale * sum;
    }
    if comptime!(whole) {
        let image = lanes::image(cells, shape);
        if image < summed {
            let first = counts.before(image, Count::Gaussians) + image;
            let mut sum = lanes::sum::<F>(of_columns, first, counts.background(image) + 1u32, shape);
            if comptime!(has_cost) {
                let tiles = counts.total(Count::Tiles);
                let end = tiles + counts.before(image + 1u32, Count::Tiles);
                sum += cost_factor * lanes::sum::<F>(of_tiles, tiles + counts.before(image, Count::Tiles), end, shape);
            }
            if lanes::has_sum(shape) {
                losses[image as usize] = scale * sum;
            }
        }
    }
}
