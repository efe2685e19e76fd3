//! What every slot and every tile brings.

use cubecl::prelude::*;

use crate::{
    Result,
    bins::TILE,
    buffer::Buffer,
    correspondence::Correspondence,
    device::Device,
    grid::{Count, Counts},
    real::{Precision, Real, Storage, weight_of},
};

/// Mass by slot, and what tiles leave to the background and cost.
pub(super) struct Carried<R: Runtime, F: Real> {
    pub slots: Buffer<R, F>,
    /// `[2, tiles]`: mass of the background, cost.
    pub tiles: Buffer<R, F>,
}

pub(super) fn carry<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    kernel: &Correspondence<R, P>,
    density: &Buffer<R, P::Real>,
    costs: Option<&Buffer<R, P::Real>>,
) -> Result<Carried<R, P::Real>> {
    density.expect("density", kernel.cells())?;
    let (slots, tiles) = (kernel.transposed.entry_starts.len() - 1, kernel.mosaic.total(Count::Tiles));
    let carried = Carried { slots: device.uninit(slots), tiles: device.uninit(2 * tiles) };
    let (cubes, dim) = device.per_unit(slots + tiles);
    carry_mass::launch::<P::Real, P::Weight, R>(
        device.client(),
        cubes,
        dim,
        kernel.transposed.entry_starts.arg(),
        kernel.transposed.rows.arg(),
        kernel.transposed.weights.arg(),
        kernel.background.arg(),
        costs.unwrap_or(density).arg(),
        density.arg(),
        carried.slots.arg(),
        carried.tiles.arg(),
        kernel.mosaic.counts(),
        slots as u32,
        costs.is_some(),
    );
    Ok(carried)
}

/// One unit per slot, then one per tile.
#[cube(launch)]
fn carry_mass<F: Real, W: Storage>(
    entry_starts: &Array<u32>,
    rows: &Array<u32>,
    weights: &Array<W>,
    background: &Array<W>,
    costs: &Array<F>,
    density: &Array<F>,
    of_slots: &mut Array<F>,
    of_tiles: &mut Array<F>,
    counts: &Counts,
    slots: u32,
    #[comptime] has_cost: bool,
) {
    let unit = ABSOLUTE_POS as u32;
    let tiles = counts.total(Count::Tiles);
    if unit < slots {
        let mut sum = F::new(0.0);
        for entry in entry_starts[unit as usize]..entry_starts[unit as usize + 1] {
            sum += weight_of::<F, W>(weights[entry as usize]) * density[rows[entry as usize] as usize];
        }
        of_slots[unit as usize] = sum;
    } else if unit < slots + tiles {
        let tile = unit - slots;
        let place = counts.corner(tile);
        let mut left = F::new(0.0);
        let mut paid = F::new(0.0);
        for row in place.row..u32::min(place.row + TILE, place.rows) {
            for column in place.column..u32::min(place.column + TILE, place.columns) {
                let cell = (place.first_cell + row * place.columns + column) as usize;
                left += weight_of::<F, W>(background[cell]) * density[cell];
                if comptime!(has_cost) {
                    paid += costs[cell] * density[cell];
                }
            }
        }
        of_tiles[tile as usize] = left;
        of_tiles[(tiles + tile) as usize] = paid;
    }
}
