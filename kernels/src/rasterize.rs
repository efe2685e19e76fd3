//! Additive rasterization (paper, Eq. 8) and its derivative, over tiles.
//!
//! Addition needs no order, so there is no sort and no transparency. Forward: one cube per tile, one unit per pixel, over the
//! tile's list. Backward: one unit per (tile, Gaussian) slot sums over the tile's pixels into its own place; whoever needs a
//! Gaussian's total adds its slots in order. No atomics, no barriers: the same bits every time, and fast where barriers are
//! not.

use cubecl::prelude::*;

use crate::{
    Result,
    bins::{Bins, TILE},
    buffer::Buffer,
    device::Device,
    gaussian::{Frame, Frames, Point},
    grid::{Lattice, cell_of_unit},
    real::{Precision, Real, real},
    reduce::{Reduction, reduce_into},
};

/// How a residual counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Penalty {
    /// Its square.
    Squared,
    /// Its absolute value.
    Absolute,
}

/// What is drawn: Gaussians with their amplitudes (opacity times color) on the tiles they reach.
pub struct Scene<'a, R: Runtime, F: Real> {
    /// Whitened Gaussians with their amplitudes.
    pub frames: &'a Frames<R, F>,
    /// Tiles over the pixels of the image.
    pub bins: &'a Bins<R>,
    /// Squared Mahalanobis distance beyond which a Gaussian is zero.
    pub support: f64,
}

/// Per pixel: the image, and how much Gaussian weight covers it.
pub struct Raster<R: Runtime, F: Real> {
    /// `base + sum_m amplitude_m exp(-q_m / 2)`, `[pixels, channels]`.
    pub image: Buffer<R, F>,
    /// `sum_m exp(-q_m / 2)`, `[pixels]`.
    pub coverage: Buffer<R, F>,
}

impl<R: Runtime, F: Real> Scene<'_, R, F> {
    /// Memory for a raster of this scene, to be overwritten by every [`rasterize`].
    pub fn raster<P: Precision<Real = F>>(&self, device: &Device<R, P>) -> Raster<R, F> {
        let pixels = self.bins.cells.len();
        Raster { image: device.uninit(pixels * self.frames.channels as usize), coverage: device.uninit(pixels) }
    }
}

/// Adds the scene to `base` (`[pixels, channels]`: a background, or background minus photo for a residual).
///
/// # Errors
/// [`crate::Error::Length`] when the arrays disagree.
pub fn rasterize<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    scene: &Scene<'_, R, P::Real>,
    base: &Buffer<R, P::Real>,
    raster: &Raster<R, P::Real>,
) -> Result<()> {
    base.expect("base image", scene.bins.cells.len() * scene.frames.channels as usize)?;
    let (count, dim) = device.per_tile(scene.bins.tiles());
    draw::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        scene.frames.packed.arg(),
        scene.frames.amplitudes.arg(),
        ListsLaunch::new(scene.bins.tile_starts.arg(), scene.bins.members.arg(), scene.bins.cells.launch()),
        base.arg(),
        raster.image.arg(),
        raster.coverage.arg(),
        real(scene.support),
        scene.frames.channels,
    );
    Ok(())
}

/// A tile's list, as the functions that run one cube per tile see it.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Lists<F: Real> {
    pub starts: Array<u32>,
    pub members: Array<u32>,
    pub lattice: Lattice<F>,
}

#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn draw<F: Real>(
    frames: &Array<F>,
    amplitudes: &Array<F>,
    lists: &Lists<F>,
    base: &Array<F>,
    image: &mut Array<F>,
    coverage: &mut Array<F>,
    support: F,
    #[comptime] channels: u32,
) {
    let tile = CUBE_POS as u32;
    let cell = cell_of_unit(&lists.lattice, tile, UNIT_POS);
    if cell.inside {
        let channel_count = comptime!(channels as usize);
        let pixel = cell.index as usize;
        let centre = lists.lattice.centre(cell.column, cell.row);
        let mut color = Array::<F>::new(channel_count);
        #[unroll]
        for c in 0..channel_count {
            color[c] = base[pixel * channel_count + c];
        }
        let mut covered = F::new(0.0);
        for at in lists.starts[tile as usize]..lists.starts[tile as usize + 1] {
            let n = lists.members[at as usize];
            let q = Frame::load(frames, n).mahalanobis_sq(centre);
            if q <= support {
                let w = (q / F::new(-2.0)).exp();
                covered += w;
                #[unroll]
                for c in 0..channel_count {
                    color[c] += w * amplitudes[n as usize * channel_count + c];
                }
            }
        }
        coverage[pixel] = covered;
        #[unroll]
        for c in 0..channel_count {
            image[pixel * channel_count + c] = color[c];
        }
    }
}

/// Sum over pixels and channels of the residual's penalty, written to element `at` of `target`.
///
/// # Errors
/// [`crate::Error::Length`] when `target` has no such element.
pub fn penalty<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    residual: &Buffer<R, P::Real>,
    penalty: Penalty,
    target: &Buffer<R, P::Real>,
    at: usize,
) -> Result<()> {
    if at >= target.len() {
        return Err(crate::Error::Length { what: "penalties", expected: at + 1, got: target.len() });
    }
    let partial = device.uninit(residual.len().div_ceil(PENALTY_CHUNK as usize));
    let (count, dim) = device.per_unit(partial.len());
    add_penalties::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        residual.arg(),
        partial.arg(),
        residual.len() as u32,
        penalty,
    );
    reduce_into(device, &partial, Reduction::Sum, target, at);
    Ok(())
}

const PENALTY_CHUNK: u32 = 64;

#[cube(launch)]
fn add_penalties<F: Real>(residual: &Array<F>, partial: &mut Array<F>, length: u32, #[comptime] penalty: Penalty) {
    if ABSOLUTE_POS < partial.len() {
        let first = ABSOLUTE_POS as u32 * PENALTY_CHUNK;
        let mut sum = F::new(0.0);
        for i in first..u32::min(first + PENALTY_CHUNK, length) {
            let e = residual[i as usize];
            sum += match comptime!(penalty) {
                Penalty::Squared => e * e,
                Penalty::Absolute => e.abs(),
            };
        }
        partial[ABSOLUTE_POS] = sum;
    }
}

/// Which sums [`moments`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sums {
    /// 1 or 3.
    pub channels: u32,
    /// First derivatives by the mean (`means`), and moments of the curvature too (`curvature`).
    pub means: bool,
    /// Moments of the Gauss-Newton matrix.
    pub curvature: bool,
    /// How a residual counts.
    pub penalty: Penalty,
}

impl Sums {
    /// Sums per slot.
    pub(crate) fn count(self) -> u32 {
        self.curvature_at() + if self.curvature { if self.means { 15 } else { 9 } } else { 0 }
    }

    /// Where the second moments `w (A . G) v_i v_j` start, after the channels' `w G_c`.
    pub(crate) fn shape_at(self) -> u32 {
        self.channels
    }

    /// Where the first moments `w (A . G) v_i` start.
    pub(crate) fn mean_at(self) -> u32 {
        self.channels + 3
    }

    /// Where the moments of the curvature start.
    pub(crate) fn curvature_at(self) -> u32 {
        self.channels + if self.means { 5 } else { 3 }
    }
}

/// Sums over the pixels of every slot: with `w = exp(-q/2)`, whitened displacement `v`, amplitude `A`, residual `E` and
/// `G = E` (squared) or `E / max(|E|, floor)` (absolute):
/// `w G_c` per channel; `w (A . G)` times `v0^2, v0 v1, v1^2`, and with means times `v0, v1`;
/// curvature `k = w (w + coverage) / 2` (times the channels' mean of `1 / max(|E|, floor)` if absolute) times
/// `1, v0^2, v0 v1, v1^2, v0^4, v0^3 v1, v0^2 v1^2, v0 v1^3, v1^4`, and with means times
/// `v0, v1, v0^3, v0^2 v1, v0 v1^2, v1^3`.
pub struct Moments<R: Runtime, F: Real> {
    pub(crate) partial: Buffer<R, F>,
    pub(crate) sums: Sums,
}

/// Computes the slots' sums of a residual that [`rasterize`] wrote. `floor` is the least |E| of the absolute penalty.
pub fn moments<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    scene: &Scene<'_, R, P::Real>,
    raster: &Raster<R, P::Real>,
    sums: Sums,
    floor: f64,
) -> Moments<R, P::Real> {
    let pairs = scene.bins.pairs();
    let partial = device.uninit(pairs * sums.count() as usize);
    if pairs > 0 {
        let (count, dim) = device.per_unit(pairs);
        sum_slots::launch::<P::Real, R>(
            device.client(),
            count,
            dim,
            scene.frames.packed.arg(),
            scene.frames.amplitudes.arg(),
            SlotsLaunch::new(scene.bins.slot_tiles.arg(), scene.bins.slot_owners.arg(), scene.bins.cells.launch()),
            raster.image.arg(),
            raster.coverage.arg(),
            partial.arg(),
            real(scene.support),
            real(floor),
            sums,
        );
    }
    Moments { partial, sums }
}

#[derive(CubeType, CubeLaunch)]
struct Slots<F: Real> {
    tiles: Array<u32>,
    owners: Array<u32>,
    lattice: Lattice<F>,
}

#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn sum_slots<F: Real>(
    frames: &Array<F>,
    amplitudes: &Array<F>,
    slots: &Slots<F>,
    residual: &Array<F>,
    coverage: &Array<F>,
    partial: &mut Array<F>,
    support: F,
    floor: F,
    #[comptime] sums: Sums,
) {
    let slot = ABSOLUTE_POS;
    if slot < slots.tiles.len() {
        let kinds = comptime!(sums.count() as usize);
        let channels = comptime!(sums.channels as usize);
        let (tile, n) = (slots.tiles[slot], slots.owners[slot]);
        let frame = Frame::load(frames, n);
        let mut amplitude = Array::<F>::new(channels);
        #[unroll]
        for c in 0..channels {
            amplitude[c] = amplitudes[n as usize * channels + c];
        }
        let mut sum = Array::<F>::new(kinds);
        #[unroll]
        for k in 0..kinds {
            sum[k] = F::new(0.0);
        }
        let across = slots.lattice.across(TILE);
        let (column, row) = (tile % across * TILE, tile / across * TILE);
        for y in row..u32::min(row + TILE, slots.lattice.rows) {
            for x in column..u32::min(column + TILE, slots.lattice.columns) {
                let v = frame.whiten(slots.lattice.centre(x, y));
                let q = v.x * v.x + v.y * v.y;
                if q <= support {
                    let pixel = (y * slots.lattice.columns + x) as usize;
                    let w = (q / F::new(-2.0)).exp();
                    let mut along = F::new(0.0);
                    let mut weight = F::new(0.0);
                    #[unroll]
                    for c in 0..channels {
                        let e = residual[pixel * channels + c];
                        let inverse = F::new(1.0) / max(e.abs(), floor);
                        let pull = match comptime!(sums.penalty) {
                            Penalty::Squared => e,
                            Penalty::Absolute => e * inverse,
                        };
                        weight += inverse;
                        along += amplitude[c] * pull;
                        sum[c] += w * pull;
                    }
                    add_gradient::<F>(&mut sum, v, w * along, sums);
                    if comptime!(sums.curvature) {
                        let shared = w * (w + coverage[pixel]) / F::new(2.0);
                        let k = match comptime!(sums.penalty) {
                            Penalty::Squared => shared,
                            Penalty::Absolute => shared * weight / F::cast_from(comptime!(sums.channels)),
                        };
                        add_curvature::<F>(&mut sum, v, k, sums);
                    }
                }
            }
        }
        #[unroll]
        for k in 0..kinds {
            partial[slot * kinds + k] = sum[k];
        }
    }
}

#[cube]
fn add_gradient<F: Real>(sum: &mut Array<F>, v: Point<F>, along: F, #[comptime] sums: Sums) {
    let at = comptime!(sums.shape_at() as usize);
    sum[at] += along * v.x * v.x;
    sum[at + 1] += along * v.x * v.y;
    sum[at + 2] += along * v.y * v.y;
    if comptime!(sums.means) {
        sum[at + 3] += along * v.x;
        sum[at + 4] += along * v.y;
    }
}

#[cube]
fn add_curvature<F: Real>(sum: &mut Array<F>, v: Point<F>, k: F, #[comptime] sums: Sums) {
    let at = comptime!(sums.curvature_at() as usize);
    let (xx, xy, yy) = (v.x * v.x, v.x * v.y, v.y * v.y);
    sum[at] += k;
    sum[at + 1] += k * xx;
    sum[at + 2] += k * xy;
    sum[at + 3] += k * yy;
    sum[at + 4] += k * xx * xx;
    sum[at + 5] += k * xx * xy;
    sum[at + 6] += k * xx * yy;
    sum[at + 7] += k * xy * yy;
    sum[at + 8] += k * yy * yy;
    if comptime!(sums.means) {
        sum[at + 9] += k * v.x;
        sum[at + 10] += k * v.y;
        sum[at + 11] += k * xx * v.x;
        sum[at + 12] += k * xx * v.y;
        sum[at + 13] += k * yy * v.x;
        sum[at + 14] += k * yy * v.y;
    }
}

/// A Gaussian's total: its slots, added in order.
#[cube]
pub(crate) fn total<F: Real>(partial: &Array<F>, slot_starts: &Array<u32>, n: u32, #[comptime] sums: Sums) -> Array<F> {
    let kinds = comptime!(sums.count() as usize);
    let mut sum = Array::<F>::new(kinds);
    #[unroll]
    for k in 0..kinds {
        sum[k] = F::new(0.0);
    }
    for slot in slot_starts[n as usize]..slot_starts[n as usize + 1] {
        #[unroll]
        for k in 0..kinds {
            sum[k] += partial[slot as usize * kinds + k];
        }
    }
    sum
}
