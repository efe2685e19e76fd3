//! The same entries by annotation: every slot looks its Gaussian up in the rows of its tile.

use cubecl::prelude::*;

use super::Transposed;
use crate::{
    bins::{Bins, TILE, position},
    buffer::Buffer,
    device::Device,
    grid::Plots,
    real::{Precision, Real, Storage},
    scan,
};

/// Transposes the rows.
pub(super) fn transpose<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    bins: &Bins<R, P::Real>,
    row_starts: &Buffer<R, u32>,
    columns: &Buffer<R, u32>,
    weights: &Buffer<R, P::Weight>,
) -> Transposed<R, P> {
    // One for every slot that there is room for.
    let counts = device.uninit(bins.pairs());
    let (rows, transposed) = (device.uninit(columns.len()), device.uninit(columns.len()));
    let visit = |starts: &Buffer<R, u32>, fill: bool| {
        if bins.pairs() == 0 {
            return;
        }
        let (count, dim) = device.per_unit(bins.pairs());
        visit_rows::launch::<P::Real, P::Weight, R>(
            device.client(),
            count,
            dim,
            SlotRowsLaunch::new(
                bins.slot_starts.arg(),
                bins.slot_tiles.arg(),
                bins.slot_owners.arg(),
                row_starts.arg(),
                columns.arg(),
                weights.arg(),
                bins.mosaic.arg(),
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
struct SlotRows<F: Real, W: Storage> {
    starts: Array<u32>,
    tiles: Array<u32>,
    owners: Array<u32>,
    row_starts: Array<u32>,
    columns: Array<u32>,
    weights: Array<W>,
    plots: Plots<F>,
}

/// One unit per slot. Counts the slot's entries into `starts`, or (`fill`) writes them from `starts` on.
#[cube(launch)]
fn visit_rows<F: Real, W: Storage>(
    slots: &SlotRows<F, W>,
    starts: &mut Array<u32>,
    rows: &mut Array<u32>,
    weights: &mut Array<W>,
    pairs: u32,
    #[comptime] fill: bool,
) {
    let slot = ABSOLUTE_POS;
    if (slot as u32) < u32::min(pairs, slots.starts[slots.starts.len() - 1]) {
        let (tile, n) = (slots.tiles[slot], slots.owners[slot]);
        let place = slots.plots.place(tile);
        let columns = place.lattice.columns;
        let mut at = 0u32;
        if comptime!(fill) {
            at = starts[slot];
        }
        for y in place.row..u32::min(place.row + TILE, place.lattice.rows) {
            for x in place.column..u32::min(place.column + TILE, columns) {
                let row = place.first_cell + y * columns + x;
                let end = slots.row_starts[row as usize + 1];
                let found = position(&slots.columns, slots.row_starts[row as usize], end, n);
                if found < end {
                    if comptime!(fill) {
                        if at < rows.len() as u32 {
                            rows[at as usize] = row;
                            weights[at as usize] = slots.weights[found as usize];
                        }
                    }
                    at += 1u32;
                }
            }
        }
        if comptime!(!fill) {
            starts[slot] = at;
        }
    } else if (slot as u32) < pairs {
        if comptime!(!fill) {
            starts[slot] = 0u32;
        }
    }
}
