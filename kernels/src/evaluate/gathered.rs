//! Two launches without barriers: one unit per column of a tile draws it, one unit per slot sums it.

use std::ops::Range;

use cubecl::prelude::*;

use super::{CELLS, Look};
use crate::{
    bins::TILE,
    clock::{Clock, is_running},
    device::Device,
    gaussian::Frame,
    moments::{Effect, Sums, add_column, add_pixel, layered, no_sums, write_sums},
    penalty::penalty_of,
    rasterize::{Layers, Lists, Scene, draw_column},
    real::{Precision, Quad, Real, fast_exp, real},
    target::{Target, target_at},
};

impl<R: Runtime, F: Real> Look<R, F> {
    /// Draws the residual of some tiles, in the look's order, and their penalties. There is no room for the residual of those
    /// that no Gaussian reaches.
    pub(super) fn draw<P: Precision<Real = F>>(
        &self,
        device: &Device<R, P>,
        scene: &Scene<'_, R, F>,
        target: &Target<R, F>,
        clock: &Clock<R>,
        step: u32,
        tiles: Range<usize>,
    ) {
        if tiles.is_empty() {
            return;
        }
        let keep = tiles.start < self.covered;
        let (cubes, dim) = device.per_unit(tiles.len() * TILE as usize);
        let work = WorkLaunch::new(self.order.arg(), clock.arg(), tiles.start as u32, tiles.end as u32, step);
        let (residual, strips) = (self.residual.arg(), self.strips.arg());
        let (layers, lists, client) = (scene.layers(), scene.lists(), device.client());
        match target {
            Target::Plain(values) => draw_residual::launch::<F, F, R>(
                client,
                cubes,
                dim,
                layers,
                lists,
                work,
                values.arg(),
                residual,
                strips,
                self.sums,
                false,
                keep,
            ),
            Target::Packed(words) => draw_residual::launch::<F, u32, R>(
                client,
                cubes,
                dim,
                layers,
                lists,
                work,
                words.arg(),
                residual,
                strips,
                self.sums,
                true,
                keep,
            ),
        }
    }

    /// Sums the slots of some members, whose tiles were drawn from rank `first` on.
    pub(super) fn gather<P: Precision<Real = F>>(
        &self,
        device: &Device<R, P>,
        scene: &Scene<'_, R, F>,
        clock: &Clock<R>,
        step: u32,
        floor: f64,
        (first, members): (usize, Range<usize>),
    ) {
        let (cubes, dim) = device.per_unit(members.len());
        sum_slots::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            scene.layers(),
            scene.lists(),
            SlotsLaunch::new(
                scene.bins.slot_tiles.arg(),
                scene.bins.member_slots.arg(),
                self.ranks.arg(),
                clock.arg(),
                first as u32,
                members.start as u32,
                members.end as u32,
                step,
            ),
            self.residual.arg(),
            self.partial.arg(),
            real(floor),
            self.sums,
        );
    }
}

/// Tiles `order[first .. end]`, if they run at `step`.
#[derive(CubeType, CubeLaunch)]
struct Work {
    order: Array<u32>,
    clock: Array<u32>,
    first: u32,
    end: u32,
    step: u32,
}

#[cube(launch)]
fn draw_residual<F: Real, T: Numeric>(
    layers: &Layers<F>,
    lists: &Lists<F>,
    work: &Work,
    target: &Array<T>,
    residual: &mut Array<Quad<F>>,
    strips: &mut Array<F>,
    #[comptime] sums: Sums,
    #[comptime] packed: bool,
    #[comptime] keep: bool,
) {
    let rank = work.first + ABSOLUTE_POS as u32 / TILE;
    let strip = ABSOLUTE_POS as u32 % TILE;
    if rank < work.end {
        let tile = work.order[rank as usize];
        let place = lists.plots.place(tile);
        if is_running(&work.clock, place.image, work.step) {
            let x = place.column + strip;
            let mut sum = F::new(0.0);
            if x < place.lattice.columns {
                let drawn = draw_column::<F>(layers, lists, tile, &place, x, sums.mode());
                #[unroll]
                for y in 0..comptime!(TILE as usize) {
                    let row = place.row + comptime!(y as u32);
                    if row < place.lattice.rows {
                        let pixel = (place.first_cell + row * place.lattice.columns + x) as usize;
                        let base = target_at::<F, T>(target, pixel, sums.channels, packed);
                        let mut value = drawn.pixels[y] + base;
                        if comptime!(sums.over) {
                            value = drawn.pixels[y] + base * Quad::<F>::new(drawn.through[y]);
                        }
                        sum += penalty_of::<F>(value, sums.channels, sums.penalty);
                        let at = (rank - work.first) as usize * CELLS + y * comptime!(TILE as usize) + strip as usize;
                        if comptime!(keep) {
                            residual[at] = value;
                        }
                    }
                }
            }
            strips[(tile * TILE + strip) as usize] = sum;
        }
    }
}

#[derive(CubeType, CubeLaunch)]
struct Slots {
    tiles: Array<u32>,
    of_members: Array<u32>,
    ranks: Array<u32>,
    clock: Array<u32>,
    first_rank: u32,
    first: u32,
    end: u32,
    step: u32,
}

#[cube(launch)]
fn sum_slots<F: Real>(
    layers: &Layers<F>,
    lists: &Lists<F>,
    slots: &Slots,
    residual: &Array<Quad<F>>,
    partial: &mut Array<Quad<F>>,
    floor: F,
    #[comptime] sums: Sums,
) {
    let member = slots.first + ABSOLUTE_POS as u32;
    if member < slots.end {
        let slot = slots.of_members[member as usize];
        let (tile, n) = (slots.tiles[slot as usize], lists.members[member as usize]);
        let place = lists.plots.place(tile);
        if is_running(&slots.clock, place.image, slots.step) {
            let first = (slots.ranks[tile as usize] - slots.first_rank) * comptime!(CELLS as u32);
            let frame = Frame::load(&layers.frames, n);
            let amplitude = layers.amplitude(n);
            let mut sum = no_sums::<F>(comptime!(sums.count()));
            for x in 0..u32::min(TILE, place.lattice.columns - place.column) {
                let column = place.column + x;
                let (top, stride) = (place.lattice.centre(column, place.row), place.lattice.stride);
                let line = frame.line(top, stride);
                let mut of_column = no_sums::<F>(comptime!(sums.of_column()));
                for y in 0..u32::min(TILE, place.lattice.rows - place.row) {
                    let row = place.row + y;
                    let at = F::cast_from(y);
                    let down = line.down(at);
                    let q = line.mahalanobis_sq(down);
                    if q <= layers.support {
                        let w = fast_exp::<F>(q / F::new(-2.0));
                        let drawn = residual[(first + y * TILE + x) as usize];
                        let effect = match comptime!(sums.over) {
                            true => {
                                let pixel = (place.first_cell + row * place.lattice.columns + column) as usize;
                                layered::<F>(layers, lists, drawn, tile, n, pixel, top, stride, at, w, sums.channels)
                            }
                            false => Effect::<F> { amplitude, by_color: w },
                        };
                        add_pixel::<F>(&mut of_column, down, w, &effect, drawn, floor, sums);
                    }
                }
                add_column::<F>(&mut sum, &of_column, line.across, sums);
            }
            write_sums::<F>(partial, slot, &sum, sums);
        }
    }
}
