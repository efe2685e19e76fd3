//! Rasterization, over tiles.
//!
//! Gaussians are added (paper, Eq. 8), which needs no order; or laid over each other from front (index 0) to back, as
//! splatting renderers do. One unit draws one row of a tile over the tile's list: what it loads of a Gaussian serves eight
//! pixels. No atomics, no barriers: the same bits every time, and fast where barriers are not.

use cubecl::prelude::*;

use crate::{
    Result,
    bins::{Bins, TILE},
    buffer::Buffer,
    device::Device,
    gaussian::{Frame, Frames},
    grid::Lattice,
    real::{Precision, Real, real},
};

/// How Gaussians that overlap combine.
#[derive(Debug)]
pub enum Compositing<'a, R: Runtime, F: Real> {
    /// They are added to the base.
    Sum,
    /// They cover what is behind them, `sum_m c_m a_m T_m + T base` with `a = min(opacity w, 0.999)` and `T_m` the product
    /// of `1 - a` over those in front.
    Over {
        /// What was subtracted from the base to make the raster a residual (the photo), `[pixels, channels]`: colors are
        /// measured from it too.
        subtracted: &'a Buffer<R, F>,
    },
}

impl<R: Runtime, F: Real> Compositing<'_, R, F> {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Over { .. })
    }
}

/// What is drawn: Gaussians with their amplitudes (opacity times color) on the tiles they reach.
pub struct Scene<'a, R: Runtime, F: Real> {
    /// Whitened Gaussians with their amplitudes.
    pub frames: &'a Frames<R, F>,
    /// Tiles over the pixels of the image.
    pub bins: &'a Bins<R>,
    /// Squared Mahalanobis distance beyond which a Gaussian is zero.
    pub support: f64,
    /// How they combine.
    pub compositing: Compositing<'a, R, F>,
}

/// Per pixel: the image, and how much Gaussian weight covers it.
pub struct Raster<R: Runtime, F: Real> {
    /// `base + sum_m amplitude_m exp(-q_m / 2)`, `[pixels, channels]`.
    pub image: Buffer<R, F>,
    /// `sum_m exp(-q_m / 2)`, `[pixels]`.
    pub coverage: Buffer<R, F>,
}

impl<R: Runtime, F: Real> Scene<'_, R, F> {
    pub(crate) fn layers(&self) -> LayersLaunch<F, R> {
        // Never read where Gaussians are added.
        let subtracted = match self.compositing {
            Compositing::Sum => &self.frames.packed,
            Compositing::Over { subtracted } => subtracted,
        };
        LayersLaunch::new(self.frames.packed.arg(), self.frames.amplitudes.arg(), subtracted.arg(), real(self.support))
    }

    pub(crate) fn lists(&self) -> ListsLaunch<F, R> {
        ListsLaunch::new(self.bins.tile_starts.arg(), self.bins.members.arg(), self.bins.cells.launch())
    }

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
    if let Compositing::Over { subtracted } = scene.compositing {
        subtracted.expect("subtracted image", base.len())?;
    }
    let (count, dim) = device.per_unit(scene.bins.tiles() * TILE as usize);
    draw::launch::<P::Real, R>(
        device.client(),
        count,
        dim,
        scene.layers(),
        scene.lists(),
        base.arg(),
        raster.image.arg(),
        raster.coverage.arg(),
        scene.frames.channels,
        scene.compositing.is_over(),
    );
    Ok(())
}

/// The Gaussians to draw.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Layers<F: Real> {
    pub frames: Array<F>,
    /// Opacity times color for each channel, then the opacity.
    pub amplitudes: Array<F>,
    pub subtracted: Array<F>,
    pub support: F,
}

#[cube]
impl<F: Real> Layers<F> {
    /// Color of Gaussian `n`, measured from the photo.
    pub fn color(&self, n: u32, pixel: usize, #[comptime] c: usize, #[comptime] channels: u32) -> F {
        let at = n as usize * comptime!(channels as usize + 1);
        let opacity = self.amplitudes[at + comptime!(channels as usize)];
        self.amplitudes[at + c] / opacity - self.subtracted[pixel * comptime!(channels as usize) + c]
    }

    /// What Gaussian `n` hides of what is behind it; the limit keeps a layer behind it visible to the derivative.
    pub fn alpha(&self, n: u32, w: F, #[comptime] channels: u32) -> F {
        let at = n as usize * comptime!(channels as usize + 1);
        min(self.amplitudes[at + comptime!(channels as usize)] * w, largest_alpha::<F>())
    }
}

#[cube]
pub(crate) fn largest_alpha<F: Real>() -> F {
    F::new(999.0) / F::new(1000.0)
}

/// A tile's list, as the functions that run one cube per tile see it.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Lists<F: Real> {
    pub starts: Array<u32>,
    pub members: Array<u32>,
    pub lattice: Lattice<F>,
}

#[cube(launch)]
fn draw<F: Real>(
    layers: &Layers<F>,
    lists: &Lists<F>,
    base: &Array<F>,
    image: &mut Array<F>,
    coverage: &mut Array<F>,
    #[comptime] channels: u32,
    #[comptime] over: bool,
) {
    let (tile, line) = (ABSOLUTE_POS as u32 / TILE, ABSOLUTE_POS as u32 % TILE);
    let across = lists.lattice.across(TILE);
    let (left, row) = (tile % across * TILE, tile / across * TILE + line);
    if tile < lists.lattice.tiles(TILE) && row < lists.lattice.rows {
        let channel_count = comptime!(channels as usize);
        let side = comptime!(TILE as usize);
        let mut color = Array::<F>::new(comptime!(TILE as usize * channels as usize));
        let mut covered = Array::<F>::new(side);
        let mut through = Array::<F>::new(side);
        #[unroll]
        for x in 0..side {
            covered[x] = F::new(0.0);
            through[x] = F::new(1.0);
            #[unroll]
            for c in 0..channel_count {
                color[x * channel_count + c] = F::new(0.0);
            }
        }
        let first = (row * lists.lattice.columns + left) as usize;
        for at in lists.starts[tile as usize]..lists.starts[tile as usize + 1] {
            let n = lists.members[at as usize];
            let frame = Frame::load(&layers.frames, n);
            let amplitude = n as usize * comptime!(channels as usize + 1);
            #[unroll]
            for x in 0..side {
                let q = frame.mahalanobis_sq(lists.lattice.centre(left + comptime!(x as u32), row));
                if q <= layers.support {
                    let w = (q / F::new(-2.0)).exp();
                    covered[x] += w;
                    if comptime!(over) {
                        let alpha = layers.alpha(n, w, channels);
                        if alpha > F::new(0.0) {
                            let share = through[x] * alpha;
                            #[unroll]
                            for c in 0..channel_count {
                                color[x * channel_count + c] += share * layers.color(n, first + x, c, channels);
                            }
                            through[x] *= F::new(1.0) - alpha;
                        }
                    } else {
                        #[unroll]
                        for c in 0..channel_count {
                            color[x * channel_count + c] += w * layers.amplitudes[amplitude + c];
                        }
                    }
                }
            }
        }
        #[unroll]
        for x in 0..side {
            if left + comptime!(x as u32) < lists.lattice.columns {
                coverage[first + x] = covered[x];
                #[unroll]
                for c in 0..channel_count {
                    let at = (first + x) * channel_count + c;
                    image[at] = color[x * channel_count + c] + through[x] * base[at];
                }
            }
        }
    }
}
