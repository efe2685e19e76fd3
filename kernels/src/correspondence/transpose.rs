//! The same entries by annotation: every slot looks its Gaussian up in the rows of its tile.

use cubecl::prelude::*;

use super::Transposed;
use crate::{
    bins::{Bins, TILE, position},
    buffer::Buffer,
    device::Device,
    real::{Precision, Real},
    scan,
};

/// Transposes the rows.
pub(super) fn transpose<R: Runtime, P: Precision>(
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
        let tiles_across = slots.across.div_ceil(TILE);
        let (left, top) = (tile % tiles_across * TILE, tile / tiles_across * TILE);
        let mut at = 0u32;
        if comptime!(fill) {
            at = starts[slot];
        }
        for y in top..u32::min(top + TILE, slots.down) {
            for x in left..u32::min(left + TILE, slots.across) {
                let row = y * slots.across + x;
                let end = slots.row_starts[row as usize + 1];
                let found = position(&slots.columns, slots.row_starts[row as usize], end, n);
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
