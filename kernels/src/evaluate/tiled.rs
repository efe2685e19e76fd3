//! One cube for eight covered tiles. A unit has a column of a tile: it draws its pixels, keeps their residual, and sums over them for one
//! Gaussian after the other; columns are then added through shared memory.
//!
//! What a unit does once, finding its tile and its pixels, costs as much as several Gaussians: hence eight pixels a unit, and a
//! table of [`Places`], made with the lists. Units that run together wait for the longest list among them: hence tiles
//! come in the order of their lists' lengths. Members come to shared memory some at a time, so that the bounds of the lists are
//! checked once a member.

use cubecl::prelude::*;

use super::{
    Look,
    places::{Marks, Places},
};
use crate::{
    bins::TILE,
    clock::{Clock, is_running},
    device::Device,
    gaussian::{Frame, Line, Point},
    moments::{Effect, Sums, add_column, add_pixel, no_sums},
    penalty::penalty_of,
    rasterize::Scene,
    real::{Precision, Quad, Real, fast_exp, quad, real},
    target::{Target, target_at},
};

/// Tiles of a cube.
const TILES: u32 = 8;
const UNITS: u32 = TILES * TILE;
/// From tile to tile in shared memory: one place more than columns, so that units that add up tiles never wait for the same bank.
const PITCH: u32 = TILE + 1;

/// Members of every tile in shared memory at a time, so that they and their columns' sums take less than 16 KiB there: all devices
/// have that, and GPUs have it for many cubes at once.
fn members_at_once(sums: Sums) -> u32 {
    match sums.count() {
        0..=8 => 4,
        9..=16 => 2,
        _ => 1,
    }
}

impl<R: Runtime, F: Real> Look<R, F> {
    pub(super) fn tile<P: Precision<Real = F>>(
        &self,
        places: &Places<R, F>,
        device: &Device<R, P>,
        scene: &Scene<'_, R, F>,
        target: &Target<R, F>,
        clock: &Clock<R>,
        step: u32,
        floor: f64,
    ) {
        let (cubes, dim) = device.per_cube(self.covered * TILE as usize, UNITS);
        let (frames, bins) = (scene.frames.packed.arg(), scene.bins);
        let (marks, origins) = (places.marks.arg(), places.origins.arg());
        let (members, slots) = (bins.members.arg(), bins.member_slots.arg());
        let work = WorkLaunch::new(
            frames,
            real(scene.support),
            members,
            slots,
            marks,
            origins,
            clock.arg(),
            self.covered as u32,
            step,
        );
        let (strips, partial, client) = (self.strips.arg(), self.partial.arg(), device.client());
        let (floor, sums) = (real(floor), self.sums);
        match target {
            Target::Plain(values) => {
                tile::launch::<F, F, R>(client, cubes, dim, work, values.arg(), strips, partial, floor, sums, false);
            }
            Target::Packed(words) => {
                tile::launch::<F, u32, R>(client, cubes, dim, work, words.arg(), strips, partial, floor, sums, true);
            }
        }
    }
}

/// The covered tiles that run at `step`, and their members.
#[derive(CubeType, CubeLaunch)]
struct Work<F: Real> {
    frames: Array<Quad<F>>,
    support: F,
    members: Array<u32>,
    member_slots: Array<u32>,
    marks: Array<Marks>,
    origins: Array<Quad<F>>,
    clock: Array<u32>,
    covered: u32,
    step: u32,
}

/// The column of a unit.
#[derive(CubeType)]
struct Column<F: Real> {
    /// Tile of the cube, column of the tile.
    lane: u32,
    column: u32,
    /// Members of the tile; none if it stands still.
    first: u32,
    count: u32,
    /// Centre of the first pixel, and from pixel to pixel.
    centre: Point<F>,
    stride: F,
    /// Squared Mahalanobis distance up to which a pixel is drawn: nothing is outside the image.
    limits: Array<F>,
}

#[cube]
impl<F: Real> Column<F> {
    /// How many of the members from `batch` on are in shared memory at a time.
    fn here(&self, batch: u32, #[comptime] at_once: u32) -> u32 {
        let left = select(batch < self.count, self.count - batch, 0u32);
        min(left, at_once)
    }

    /// Brings them. For all units of a cube.
    fn bring(&self, staged: &mut SharedMemory<Quad<F>>, work: &Work<F>, batch: u32, #[comptime] at_once: u32) {
        let quads = 3u32 * self.here(batch, at_once);
        // Nobody may still be reading those before.
        sync_cube();
        #[unroll]
        for round in 0..comptime!((3 * at_once).div_ceil(TILE)) {
            let quad = self.column + round * TILE;
            if quad < quads {
                let n = work.members[(self.first + batch + quad / 3u32) as usize];
                let at = self.lane * comptime!(3 * at_once) + quad;
                staged[at as usize] = work.frames[(n * 3u32 + quad % 3u32) as usize];
            }
        }
        sync_cube();
    }

    /// Displacements of its pixels from the Gaussian whose frame is at `at`.
    fn line(&self, staged: &SharedMemory<Quad<F>>, at: usize) -> Line<F> {
        Frame::unpack(staged[at], staged[at + 1]).line(self.centre, self.stride)
    }

    /// Displacement of pixel `i` down the line, and its weight: 0 beyond support and image.
    fn weigh(&self, line: &Line<F>, #[comptime] i: u32) -> (F, F) {
        let down = line.down(F::new(comptime!(i as f32)));
        let q = line.mahalanobis_sq(down);
        (down, select(q <= self.limits[i as usize], fast_exp::<F>(q / F::new(-2.0)), F::new(0.0)))
    }

    /// Adds the members to the pixels: three channels and the sum of all weights.
    fn draw(
        &self,
        staged: &SharedMemory<Quad<F>>,
        residual: &mut Array<Quad<F>>,
        batch: u32,
        #[comptime] at_once: u32,
    ) {
        let mut at = (self.lane * at_once * 3u32) as usize;
        for _ in 0..self.here(batch, at_once) {
            let line = self.line(staged, at);
            let mut weight = staged[at + 2];
            weight[3] = F::new(1.0);
            #[unroll]
            for i in 0..TILE {
                let (_, w) = self.weigh(&line, i);
                residual[i as usize] += weight * Quad::<F>::new(w);
            }
            at += 3;
        }
    }

    /// The members' sums over the pixels.
    fn sum(
        &self,
        staged: &SharedMemory<Quad<F>>,
        residual: &Array<Quad<F>>,
        columns: &mut SharedMemory<Quad<F>>,
        batch: u32,
        floor: F,
        #[comptime] sums: Sums,
        #[comptime] at_once: u32,
    ) {
        let quads = comptime!(sums.count() / 4);
        let mut at = (self.lane * at_once * 3u32) as usize;
        for k in 0..self.here(batch, at_once) {
            let line = self.line(staged, at);
            let amplitude = staged[at + 2];
            let mut of_column = no_sums::<F>(comptime!(sums.of_column()));
            #[unroll]
            for i in 0..TILE {
                let (down, w) = self.weigh(&line, i);
                let effect = Effect::<F> { amplitude, by_color: w };
                add_pixel::<F>(&mut of_column, down, w, &effect, residual[i as usize], floor, sums);
            }
            let mut sum = no_sums::<F>(comptime!(sums.count()));
            add_column::<F>(&mut sum, &of_column, line.across, sums);
            #[unroll]
            for q in 0..quads {
                let at = ((k * quads + q) * TILES + self.lane) * PITCH + self.column;
                let q = comptime!(q as usize);
                columns[at as usize] = quad::<F>(sum[4 * q], sum[4 * q + 1], sum[4 * q + 2], sum[4 * q + 3]);
            }
            at += 3;
        }
    }
}

/// The columns of the members from `batch` on, of all tiles, added in order.
#[cube]
fn add_columns<F: Real>(
    columns: &SharedMemory<Quad<F>>,
    firsts: &SharedMemory<u32>,
    counts: &SharedMemory<u32>,
    work: &Work<F>,
    partial: &mut Array<Quad<F>>,
    batch: u32,
    #[comptime] quads: u32,
    #[comptime] at_once: u32,
) {
    let mut task = UNIT_POS;
    while task < comptime!(at_once * quads * TILES) {
        let (lane, q, k) = (task % TILES, task / TILES % quads, task / comptime!(TILES * quads));
        if batch + k < counts[lane as usize] {
            let mut total = Quad::<F>::new(F::new(0.0));
            let first = (task / TILES * TILES + lane) * PITCH;
            for column in 0..TILE {
                total += columns[(first + column) as usize];
            }
            let slot = work.member_slots[(firsts[lane as usize] + batch + k) as usize];
            partial[(slot * quads + q) as usize] = total;
        }
        task += UNITS;
    }
}

#[cube(launch)]
fn tile<F: Real, T: Numeric>(
    work: &Work<F>,
    target: &Array<T>,
    strips: &mut Array<F>,
    partial: &mut Array<Quad<F>>,
    floor: F,
    #[comptime] sums: Sums,
    #[comptime] packed: bool,
) {
    let (quads, at_once) = comptime!((sums.count() / 4, members_at_once(sums)));
    let (lane, column) = (UNIT_POS / TILE, UNIT_POS % TILE);
    let rank = CUBE_POS * TILES as usize + lane as usize;
    // The last cube may have fewer tiles, and images may stand still: they have no members, and write nothing.
    let mut members = Marks::new(0u32);
    let mut pixels = Marks::new(0u32);
    let mut origin = Quad::<F>::new(F::new(0.0));
    if rank < work.covered as usize {
        members = work.marks[2 * rank];
        if is_running(&work.clock, members[1], work.step) {
            pixels = work.marks[2 * rank + 1];
            origin = work.origins[rank];
        } else {
            members[3] = 0u32;
        }
    }
    let rows = select(column < pixels[2], pixels[3], 0u32);
    let mut limits = Array::<F>::new(comptime!(TILE as usize));
    let mut residual = Array::<Quad<F>>::new(comptime!(TILE as usize));
    #[unroll]
    for i in 0..TILE {
        limits[i as usize] = select(i < rows, work.support, F::new(-1.0));
        residual[i as usize] = Quad::<F>::new(F::new(0.0));
        if i < rows {
            let pixel = pixels[0] + i * pixels[1] + column;
            residual[i as usize] = target_at::<F, T>(target, pixel as usize, sums.channels, packed);
        }
    }
    let own = Column::<F> {
        lane,
        column,
        first: members[2],
        count: members[3],
        centre: Point::<F> { x: origin[0] + F::cast_from(column) * origin[2], y: origin[1] },
        stride: origin[2],
        limits,
    };
    let mut firsts = SharedMemory::<u32>::new(comptime!(TILES as usize));
    let mut counts = SharedMemory::<u32>::new(comptime!(TILES as usize));
    if column == 0u32 {
        firsts[lane as usize] = own.first;
        counts[lane as usize] = own.count;
    }
    sync_cube();
    let mut longest = 0u32;
    #[unroll]
    for of in 0..comptime!(TILES as usize) {
        longest = max(longest, counts[of]);
    }

    let mut staged = SharedMemory::<Quad<F>>::new(comptime!((TILES * at_once * 3) as usize));
    let mut batch = 0u32;
    while batch < longest {
        own.bring(&mut staged, work, batch, at_once);
        own.draw(&staged, &mut residual, batch, at_once);
        batch += at_once;
    }

    let mut penalty = F::new(0.0);
    #[unroll]
    for i in 0..TILE {
        penalty += penalty_of::<F>(residual[i as usize], sums.channels, sums.penalty);
    }
    if own.count > 0u32 {
        strips[(members[0] * TILE + column) as usize] = penalty;
    }

    let mut columns = SharedMemory::<Quad<F>>::new(comptime!((at_once * quads * TILES * PITCH) as usize));
    let mut batch = 0u32;
    while batch < longest {
        if longest > at_once {
            own.bring(&mut staged, work, batch, at_once);
        }
        own.sum(&staged, &residual, &mut columns, batch, floor, sums, at_once);
        sync_cube();
        add_columns::<F>(&columns, &firsts, &counts, work, partial, batch, quads, at_once);
        batch += at_once;
    }
}
