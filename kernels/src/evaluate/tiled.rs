//! One cube per covered tile: its units first draw a pixel each, then sum a row of a Gaussian each.

use cubecl::prelude::*;

use super::{CELLS, Look};
use crate::{
    bins::TILE,
    clock::{Clock, is_running},
    device::Device,
    gaussian::Frame,
    grid::Place,
    moments::{Effect, Sums, add_pixel, no_sums},
    penalty::penalty_of,
    rasterize::{Layers, Lists, Scene},
    real::{Precision, Quad, Real, quad, real},
    target::{Target, target_at},
};

impl<R: Runtime, F: Real> Look<R, F> {
    pub(super) fn tile<P: Precision<Real = F>>(
        &self,
        device: &Device<R, P>,
        scene: &Scene<'_, R, F>,
        target: &Target<R, F>,
        clock: &Clock<R>,
        step: u32,
        floor: f64,
    ) {
        let (cubes, dim) = device.per_tile(self.covered);
        let members = scene.bins.member_slots.arg();
        let work = WorkLaunch::new(self.order.arg(), clock.arg(), members, self.covered as u32, step);
        let (strips, partial) = (self.strips.arg(), self.partial.arg());
        let (layers, lists, client) = (scene.layers(), scene.lists(), device.client());
        let (floor, sums) = (real(floor), self.sums);
        match target {
            Target::Plain(values) => tile::launch::<F, F, R>(
                client,
                cubes,
                dim,
                layers,
                lists,
                work,
                values.arg(),
                strips,
                partial,
                floor,
                sums,
                false,
            ),
            Target::Packed(words) => tile::launch::<F, u32, R>(
                client,
                cubes,
                dim,
                layers,
                lists,
                work,
                words.arg(),
                strips,
                partial,
                floor,
                sums,
                true,
            ),
        }
    }
}

/// Tiles `order[.. covered]`, if they run at `step`, and the slots of their members.
#[derive(CubeType, CubeLaunch)]
struct Work {
    order: Array<u32>,
    clock: Array<u32>,
    member_slots: Array<u32>,
    covered: u32,
    step: u32,
}

#[cube(launch)]
fn tile<F: Real, T: Numeric>(
    layers: &Layers<F>,
    lists: &Lists<F>,
    work: &Work,
    target: &Array<T>,
    strips: &mut Array<F>,
    partial: &mut Array<Quad<F>>,
    floor: F,
    #[comptime] sums: Sums,
    #[comptime] packed: bool,
) {
    let side = comptime!(TILE as usize);
    let quads = comptime!(sums.count() as usize / 4);
    let mut residual = SharedMemory::<Quad<F>>::new(CELLS);
    let mut rows = SharedMemory::<Quad<F>>::new(comptime!(CELLS * sums.count() as usize / 4));
    // The last cubes may stand for no tile, and images may stand still: they have no list, and write nothing.
    let mut tile = 0u32.runtime();
    if (CUBE_POS as u32) < work.covered {
        tile = work.order[CUBE_POS];
    }
    let place = lists.plots.place(tile);
    let runs = (CUBE_POS as u32) < work.covered && is_running(&work.clock, place.image, work.step);
    let mut first = 0u32.runtime();
    let mut end = 0u32.runtime();
    if runs {
        first = lists.starts[tile as usize];
        end = lists.starts[tile as usize + 1];
    }

    let unit = UNIT_POS as usize;
    let (column, row) = (place.column + UNIT_POS % TILE, place.row + UNIT_POS / TILE);
    let inside = column < place.lattice.columns && row < place.lattice.rows;
    residual[unit] = Quad::<F>::new(F::new(0.0));
    if inside {
        if runs {
            let drawn = draw_pixel::<F>(layers, lists, first, end, &place, column, row);
            let pixel = (place.first_cell + row * place.lattice.columns + column) as usize;
            residual[unit] = drawn + target_at::<F, T>(target, pixel, sums.channels, packed);
        }
    }
    sync_cube();
    if UNIT_POS < TILE {
        if runs {
            // In the order of the gathered shape.
            let mut sum = F::new(0.0);
            for y in 0..side {
                sum += penalty_of::<F>(residual[y * side + unit], sums.channels, sums.penalty);
            }
            strips[(tile * TILE) as usize + unit] = sum;
        }
    }

    // Eight Gaussians at a time, a row of pixels a unit.
    let (lane, line) = (UNIT_POS / TILE, UNIT_POS % TILE);
    let mut group = first;
    while group < end {
        let mut sum = no_sums::<F>(sums);
        if group + lane < end {
            let n = lists.members[(group + lane) as usize];
            let frame = Frame::load(&layers.frames, n);
            let amplitude = layers.amplitude(n);
            for x in 0..TILE {
                let v = frame.whiten(place.lattice.centre(place.column + x, place.row + line));
                let q = v.x * v.x + v.y * v.y;
                // Beyond the image's edge there is nothing to explain.
                let inside = place.column + x < place.lattice.columns && place.row + line < place.lattice.rows;
                if q <= layers.support && inside {
                    let w = (q / F::new(-2.0)).exp();
                    let effect = Effect::<F> { amplitude, by_color: w };
                    let drawn = residual[(line * TILE + x) as usize];
                    add_pixel::<F>(&mut sum, v, w, &effect, drawn, floor, sums);
                }
            }
        }
        #[unroll]
        for k in 0..quads {
            rows[unit * quads + k] = quad::<F>(sum[4 * k], sum[4 * k + 1], sum[4 * k + 2], sum[4 * k + 3]);
        }
        sync_cube();
        // The eight rows of every Gaussian, added in order.
        if unit < side * quads {
            let (of_lane, kind) = (unit / quads, unit % quads);
            let member = group + of_lane as u32;
            if member < end {
                let mut total = Quad::<F>::new(F::new(0.0));
                for y in 0..side {
                    total += rows[(of_lane * side + y) * quads + kind];
                }
                let slot = work.member_slots[member as usize] as usize;
                partial[slot * quads + kind] = total;
            }
        }
        sync_cube();
        group += TILE;
    }
}

/// Three channels and the sum of all weights at a pixel.
#[cube]
fn draw_pixel<F: Real>(
    layers: &Layers<F>,
    lists: &Lists<F>,
    first: u32,
    end: u32,
    place: &Place<F>,
    column: u32,
    row: u32,
) -> Quad<F> {
    let centre = place.lattice.centre(column, row);
    let mut drawn = Quad::<F>::new(F::new(0.0));
    for at in first..end {
        let n = lists.members[at as usize];
        let q = Frame::load(&layers.frames, n).mahalanobis_sq(centre);
        let w = select(q <= layers.support, (q / F::new(-2.0)).exp(), F::new(0.0));
        let mut weight = layers.amplitude(n);
        weight[3] = F::new(1.0);
        drawn += weight * Quad::<F>::new(w);
    }
    drawn
}
