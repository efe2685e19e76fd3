//! One look at a fit: the residual's penalty and the sums that every derivative is made of.
//!
//! Two shapes of the same maths. **Gathered**: draw the residual, add its penalty, sum every slot; no barriers, for devices
//! whose units run one after the other. **Tiled**: one cube per tile keeps the residual in shared memory and nothing
//! image-sized is written; first a unit is a pixel, then a row of a Gaussian. Both sum in a fixed order of their own, so each
//! repeats its bits, and the two agree to rounding.

use cubecl::ir::features::Plane;
use cubecl::prelude::*;

use crate::{
    Result,
    bins::TILE,
    buffer::Buffer,
    device::Device,
    gaussian::Frame,
    moments::{Moments, Sums, add_pixel, added, moments},
    penalty::{Penalty, penalty},
    rasterize::{Layers, Lists, Scene, rasterize},
    real::{Precision, Real, real},
    reduce::{Reduction, reduce_into},
};

/// How [`evaluate`] is spread over the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Without barriers.
    Gathered,
    /// One cube per tile. Gaussians that lie over each other are gathered all the same.
    Tiled,
}

impl Shape {
    /// Tiled on GPUs; gathered on CPU-class devices, which CubeCL reports without plane operations.
    pub fn of<R: Runtime, P: Precision>(device: &Device<R, P>) -> Self {
        match device.client().properties().features.plane.contains(Plane::Ops) {
            true => Self::Tiled,
            false => Self::Gathered,
        }
    }
}

/// Draws the scene over `base` (background minus photo), writes the residual's summed penalty to `penalties[at]` and gives
/// its sums. `floor` is the least |E| of the absolute penalty.
///
/// # Errors
/// [`crate::Error::Length`] when the arrays disagree.
pub fn evaluate<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    scene: &Scene<'_, R, P::Real>,
    base: &Buffer<R, P::Real>,
    (sums, floor): (Sums, f64),
    (penalties, at): (&Buffer<R, P::Real>, usize),
    shape: Shape,
) -> Result<Moments<R, P::Real>> {
    if shape == Shape::Gathered || scene.compositing.is_over() {
        let raster = scene.raster(device);
        rasterize(device, scene, base, &raster)?;
        penalty(device, &raster.image, sums.penalty, penalties, at)?;
        return Ok(moments(device, scene, &raster, sums, floor));
    }
    base.expect("base image", scene.bins.cells.len() * scene.frames.channels as usize)?;
    if at >= penalties.len() {
        return Err(crate::Error::Length { what: "penalties", expected: at + 1, got: penalties.len() });
    }
    let tiles = scene.bins.tiles();
    let partial = device.uninit(scene.bins.pairs() * sums.count() as usize);
    let of_tiles = device.uninit(tiles);
    let (count, dim) = device.per_tile(tiles);
    tile::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        scene.layers(),
        scene.lists(),
        scene.bins.member_slots.arg(),
        base.arg(),
        partial.arg(),
        of_tiles.arg(),
        real(floor),
        sums,
    );
    reduce_into(device, &of_tiles, Reduction::Sum, penalties, at);
    Ok(Moments { partial, sums })
}

/// Units of a tile's cube.
const UNITS: u32 = TILE * TILE;

#[cube(launch)]
fn tile<F: Real>(
    layers: &Layers<F>,
    lists: &Lists<F>,
    member_slots: &Array<u32>,
    base: &Array<F>,
    partial: &mut Array<F>,
    of_tiles: &mut Array<F>,
    floor: F,
    #[comptime] sums: Sums,
) {
    let tile = CUBE_POS as u32;
    let channels = comptime!(sums.channels as usize);
    let kinds = comptime!(sums.count() as usize);
    let mut residual = SharedMemory::<F>::new(comptime!(UNITS as usize * sums.channels as usize));
    let mut coverage = SharedMemory::<F>::new(comptime!(UNITS as usize));
    let mut rows = SharedMemory::<F>::new(comptime!(UNITS as usize * sums.count() as usize));
    let across = lists.lattice.across(TILE);
    let (left, top) = (tile % across * TILE, tile / across * TILE);
    // The last cubes may stand for no tile: they have no list, and write nothing.
    let mut first = 0u32;
    let mut end = 0u32;
    if tile < lists.lattice.tiles(TILE) {
        first = lists.starts[tile as usize];
        end = lists.starts[tile as usize + 1];
    }

    draw_pixel::<F>(layers, lists, base, &mut residual, &mut coverage, left, top, first, end, sums);
    sync_cube();
    if UNIT_POS == 0 && tile < lists.lattice.tiles(TILE) {
        let mut sum = F::new(0.0);
        for i in 0..comptime!(UNITS as usize * sums.channels as usize) {
            sum += match comptime!(sums.penalty) {
                Penalty::Squared => residual[i] * residual[i],
                Penalty::Absolute => residual[i].abs(),
            };
        }
        of_tiles[tile as usize] = sum;
    }

    // Eight Gaussians at a time, a row of pixels a unit.
    let (lane, line) = (UNIT_POS / TILE, UNIT_POS % TILE);
    let mut group = first;
    while group < end {
        let mut sum = Array::<F>::new(kinds);
        #[unroll]
        for k in 0..kinds {
            sum[k] = F::new(0.0);
        }
        if group + lane < end {
            let n = lists.members[(group + lane) as usize];
            let frame = Frame::load(&layers.frames, n);
            for x in 0..TILE {
                let v = frame.whiten(lists.lattice.centre(left + x, top + line));
                let q = v.x * v.x + v.y * v.y;
                // Beyond the image's edge there is nothing to explain.
                if q <= layers.support && left + x < lists.lattice.columns && top + line < lists.lattice.rows {
                    let w = (q / F::new(-2.0)).exp();
                    let pixel = (line * TILE + x) as usize;
                    let effect = added::<F>(layers, n, w, sums.channels);
                    let mut e = Array::<F>::new(channels);
                    #[unroll]
                    for c in 0..channels {
                        e[c] = residual[pixel * channels + c];
                    }
                    add_pixel::<F>(&mut sum, v, w, &effect, &e, coverage[pixel], floor, sums);
                }
            }
        }
        #[unroll]
        for k in 0..kinds {
            rows[UNIT_POS as usize * kinds + k] = sum[k];
        }
        sync_cube();
        // The eight rows of every Gaussian and kind, added in order.
        let mut at = UNIT_POS as usize;
        while at < comptime!(TILE as usize * sums.count() as usize) {
            let (of_lane, kind) = (at / kinds, at % kinds);
            let member = group + of_lane as u32;
            if member < end {
                let mut total = F::new(0.0);
                for row in 0..comptime!(TILE as usize) {
                    total += rows[(of_lane * comptime!(TILE as usize) + row) * kinds + kind];
                }
                let slot = member_slots[member as usize] as usize;
                partial[slot * kinds + kind] = total;
            }
            at += comptime!(UNITS as usize);
        }
        sync_cube();
        group += TILE;
    }
}

/// Draws the unit's pixel into shared memory; a pixel beyond the image's edge has no residual.
#[cube]
fn draw_pixel<F: Real>(
    layers: &Layers<F>,
    lists: &Lists<F>,
    base: &Array<F>,
    residual: &mut SharedMemory<F>,
    coverage: &mut SharedMemory<F>,
    left: u32,
    top: u32,
    first: u32,
    end: u32,
    #[comptime] sums: Sums,
) {
    let channels = comptime!(sums.channels as usize);
    let (column, row) = (left + UNIT_POS % TILE, top + UNIT_POS / TILE);
    let inside = column < lists.lattice.columns && row < lists.lattice.rows;
    let unit = UNIT_POS as usize;
    let mut color = Array::<F>::new(channels);
    #[unroll]
    for c in 0..channels {
        color[c] = F::new(0.0);
    }
    let mut covered = F::new(0.0);
    if inside {
        let centre = lists.lattice.centre(column, row);
        for at in first..end {
            let n = lists.members[at as usize];
            let q = Frame::load(&layers.frames, n).mahalanobis_sq(centre);
            if q <= layers.support {
                let w = (q / F::new(-2.0)).exp();
                covered += w;
                #[unroll]
                for c in 0..channels {
                    color[c] += w * layers.amplitudes[n as usize * comptime!(sums.channels as usize + 1) + c];
                }
            }
        }
        let pixel = (row * lists.lattice.columns + column) as usize;
        #[unroll]
        for c in 0..channels {
            color[c] += base[pixel * channels + c];
        }
    }
    coverage[unit] = covered;
    #[unroll]
    for c in 0..channels {
        residual[unit * channels + c] = color[c];
    }
}
