//! The sums over a Gaussian's pixels that every derivative by its parameters, and its Gauss-Newton matrix, is made of.
//!
//! One unit per (tile, Gaussian) slot sums over the tile's pixels into its own place.

use cubecl::prelude::*;

use crate::{
    bins::TILE,
    buffer::Buffer,
    device::Device,
    gaussian::{Frame, Point},
    penalty::Penalty,
    rasterize::{Layers, Lists, Raster, Scene, largest_alpha},
    real::{Precision, Real, real},
};

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
    /// Whether Gaussians lie over each other; [`moments`] takes it from the scene.
    pub over: bool,
}

impl Sums {
    /// Sums per slot.
    pub(crate) fn count(self) -> u32 {
        self.curvature_at() + if self.curvature { if self.means { 15 } else { 9 } } else { 0 }
    }

    /// Where `w (A . G)` stands, the derivative by the log opacity, where Gaussians lie over each other.
    pub(crate) fn opacity_at(self) -> u32 {
        self.mean_at() + if self.means { 2 } else { 0 }
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
        self.opacity_at() + u32::from(self.over)
    }
}

/// Sums over the pixels of every slot: with `w = exp(-q/2)`, whitened displacement `v`, amplitude `A`, residual `E` and
/// `G = E` (squared) or `E / max(|E|, floor)` (absolute):
/// `w G_c` per channel; `w (A . G)` times `v0^2, v0 v1, v1^2`, and with means times `v0, v1`;
/// curvature `k = w (w + coverage) / 2` (times the channels' mean of `1 / max(|E|, floor)` if absolute) times
/// `1, v0^2, v0 v1, v1^2, v0^4, v0^3 v1, v0^2 v1^2, v0 v1^3, v1^4`, and with means times
/// `v0, v1, v0^3, v0^2 v1, v0 v1^2, v1^3`. Where Gaussians lie over each other, `w G_c` is dimmed by those in
/// front, `A` is the opacity times the dimmed difference from what is behind, and `w (A . G)` itself is summed too.
pub struct Moments<R: Runtime, F: Real> {
    pub(crate) partial: Buffer<R, F>,
    pub(crate) sums: Sums,
}

/// Computes the slots' sums of a residual that [`crate::rasterize::rasterize`] wrote. `floor` is the least |E| of the absolute penalty.
pub fn moments<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    scene: &Scene<'_, R, P::Real>,
    raster: &Raster<R, P::Real>,
    sums: Sums,
    floor: f64,
) -> Moments<R, P::Real> {
    let sums = Sums { over: scene.compositing.is_over(), ..sums };
    let pairs = scene.bins.pairs();
    let partial = device.uninit(pairs * sums.count() as usize);
    if pairs > 0 {
        let (count, dim) = device.per_unit(pairs);
        sum_slots::launch::<P::Real, R>(
            device.client(),
            count,
            dim,
            scene.layers(),
            scene.lists(),
            SlotsLaunch::new(scene.bins.slot_tiles.arg(), scene.bins.slot_owners.arg()),
            raster.image.arg(),
            raster.coverage.arg(),
            partial.arg(),
            real(floor),
            sums,
        );
    }
    Moments { partial, sums }
}

#[derive(CubeType, CubeLaunch)]
struct Slots {
    tiles: Array<u32>,
    owners: Array<u32>,
}

#[cube(launch)]
fn sum_slots<F: Real>(
    layers: &Layers<F>,
    lists: &Lists<F>,
    slots: &Slots,
    residual: &Array<F>,
    coverage: &Array<F>,
    partial: &mut Array<F>,
    floor: F,
    #[comptime] sums: Sums,
) {
    let slot = ABSOLUTE_POS;
    if slot < slots.tiles.len() {
        let kinds = comptime!(sums.count() as usize);
        let channels = comptime!(sums.channels as usize);
        let (tile, n) = (slots.tiles[slot], slots.owners[slot]);
        let frame = Frame::load(&layers.frames, n);
        let mut sum = Array::<F>::new(kinds);
        #[unroll]
        for k in 0..kinds {
            sum[k] = F::new(0.0);
        }
        let across = lists.lattice.across(TILE);
        let (column, row) = (tile % across * TILE, tile / across * TILE);
        for y in row..u32::min(row + TILE, lists.lattice.rows) {
            for x in column..u32::min(column + TILE, lists.lattice.columns) {
                let v = frame.whiten(lists.lattice.centre(x, y));
                let q = v.x * v.x + v.y * v.y;
                if q <= layers.support {
                    let pixel = (y * lists.lattice.columns + x) as usize;
                    let w = (q / F::new(-2.0)).exp();
                    let effect = effect::<F>(layers, lists, residual, tile, n, pixel, w, sums);
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
            partial[slot * kinds + k] = sum[k];
        }
    }
}

/// Adds what one pixel brings: whitened displacement `v`, weight `w`, residual `e`, sum of all weights `coverage`.
#[cube]
pub(crate) fn add_pixel<F: Real>(
    sum: &mut Array<F>,
    v: Point<F>,
    w: F,
    effect: &Effect<F>,
    e: &Array<F>,
    coverage: F,
    floor: F,
    #[comptime] sums: Sums,
) {
    let channels = comptime!(sums.channels as usize);
    let mut along = F::new(0.0);
    let mut weight = F::new(0.0);
    #[unroll]
    for c in 0..channels {
        let inverse = F::new(1.0) / max(e[c].abs(), floor);
        let pull = match comptime!(sums.penalty) {
            Penalty::Squared => e[c],
            Penalty::Absolute => e[c] * inverse,
        };
        weight += inverse;
        along += effect.amplitude[c] * pull;
        sum[c] += effect.by_color * pull;
    }
    add_gradient::<F>(sum, v, w * along, sums);
    if comptime!(sums.curvature) {
        let shared = w * (w + coverage) / F::new(2.0);
        let k = match comptime!(sums.penalty) {
            Penalty::Squared => shared,
            Penalty::Absolute => shared * weight / F::cast_from(comptime!(sums.channels)),
        };
        add_curvature::<F>(sum, v, k, sums);
    }
}

/// How a Gaussian of weight `w` changes a pixel: per unit of `w` (times what it does to the shape) and of color.
#[derive(CubeType)]
pub(crate) struct Effect<F: Real> {
    pub amplitude: Array<F>,
    pub by_color: F,
}

/// Where Gaussians are added.
#[cube]
pub(crate) fn added<F: Real>(layers: &Layers<F>, n: u32, w: F, #[comptime] channels: u32) -> Effect<F> {
    let at = n as usize * comptime!(channels as usize + 1);
    let mut amplitude = Array::<F>::new(comptime!(channels as usize));
    #[unroll]
    for c in 0..comptime!(channels as usize) {
        amplitude[c] = layers.amplitudes[at + c];
    }
    Effect::<F> { amplitude, by_color: w }
}

#[cube]
fn effect<F: Real>(
    layers: &Layers<F>,
    lists: &Lists<F>,
    residual: &Array<F>,
    tile: u32,
    n: u32,
    pixel: usize,
    w: F,
    #[comptime] sums: Sums,
) -> Effect<F> {
    let channels = comptime!(sums.channels as usize);
    let at = n as usize * comptime!(sums.channels as usize + 1);
    let mut effect = added::<F>(layers, n, w, sums.channels);
    if comptime!(sums.over) {
        // What those in front show, and how much they let through.
        let mut front = Array::<F>::new(channels);
        #[unroll]
        for c in 0..channels {
            front[c] = F::new(0.0);
        }
        let mut through = F::new(1.0);
        let centre = lists.lattice.centre(pixel as u32 % lists.lattice.columns, pixel as u32 / lists.lattice.columns);
        for member in lists.starts[tile as usize]..lists.starts[tile as usize + 1] {
            let m = lists.members[member as usize];
            if m < n {
                let q = Frame::load(&layers.frames, m).mahalanobis_sq(centre);
                if q <= layers.support {
                    let alpha = layers.alpha(m, (q / F::new(-2.0)).exp(), sums.channels);
                    if alpha > F::new(0.0) {
                        #[unroll]
                        for c in 0..channels {
                            front[c] += through * alpha * layers.color(m, pixel, c, sums.channels);
                        }
                        through *= F::new(1.0) - alpha;
                    }
                }
            }
        }
        // The raster is front + through (alpha color + (1 - alpha) behind): that gives what is behind.
        let opacity = layers.amplitudes[at + channels];
        let alpha = layers.alpha(n, w, sums.channels);
        // At the limit of alpha only the color still changes the pixel; without opacity nothing does.
        let mut gain = opacity;
        if alpha >= largest_alpha::<F>() {
            gain = F::new(0.0);
        }
        effect.by_color = F::new(0.0);
        #[unroll]
        for c in 0..channels {
            effect.amplitude[c] = F::new(0.0);
            if opacity > F::new(0.0) {
                let color = layers.color(n, pixel, c, sums.channels);
                let seen = (residual[pixel * channels + c] - front[c]) / through;
                let behind = (seen - alpha * color) / (F::new(1.0) - alpha);
                effect.amplitude[c] = gain * through * (color - behind);
                effect.by_color = through * alpha / opacity;
            }
        }
    }
    effect
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
    if comptime!(sums.over) {
        sum[comptime!(sums.opacity_at() as usize)] += along;
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
