//! Rasterizes Gaussians, tile by tile.
//!
//! Gaussians are added (paper, Eq. 8), which needs no order, or laid over each other from front (index 0) to back, as
//! in splatting renderers. One unit draws one column of a tile by going through the tile's list: each load of a
//! Gaussian serves eight pixels. There are no atomics and no barriers: the bits are the same every time, and it is fast
//! on devices whose barriers are slow.

use cubecl::prelude::*;

use crate::{
    Result,
    bins::{Bins, TILE},
    buffer::Buffer,
    device::Device,
    gaussian::{Frame, Frames},
    grid::{Count, Place, Plots},
    real::{Precision, Quad, Real, fast_exp, real},
};

/// How overlapping Gaussians combine.
#[derive(Debug)]
pub enum Compositing<'a, R: Runtime, F: Real> {
    /// They are added to the base.
    Sum,
    /// They cover what is behind them, `sum_m c_m a_m T_m + T base` with `a = min(opacity w, 0.999)` and `T_m` the
    /// product of `1 - a` over those in front.
    Over {
        /// The photo that was subtracted from the base to make the raster a residual, `[pixels, channels]`; colors are
        /// measured from it too.
        subtracted: &'a Buffer<R, F>,
    },
}

impl<R: Runtime, F: Real> Compositing<'_, R, F> {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Over { .. })
    }
}

/// A scene to draw: Gaussians with their amplitudes (opacity times color) on the tiles that they reach.
pub struct Scene<'a, R: Runtime, F: Real> {
    /// Whitened Gaussians with their amplitudes.
    pub frames: &'a Frames<R, F>,
    /// Tiles over the pixels of the image.
    pub bins: &'a Bins<R, F>,
    /// Squared Mahalanobis distance beyond which a Gaussian is zero.
    pub support: f64,
    /// How overlapping Gaussians combine.
    pub compositing: Compositing<'a, R, F>,
}

/// Per pixel: the image, and how much Gaussian weight covers it.
#[derive(Debug)]
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
        LayersLaunch::new(self.frames.packed.arg(), subtracted.arg(), real(self.support))
    }

    pub(crate) fn lists(&self) -> ListsLaunch<F, R> {
        ListsLaunch::new(self.bins.tile_starts.arg(), self.bins.members.arg(), self.bins.mosaic.arg())
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.compositing {
            Compositing::Sum => Ok(()),
            Compositing::Over { subtracted } => {
                subtracted.expect("subtracted image", self.bins.cells() * self.frames.channels as usize)
            }
        }
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
) -> Result<Raster<R, P::Real>> {
    let pixels = scene.bins.cells();
    let channels = scene.frames.channels;
    base.expect("base image", pixels * channels as usize)?;
    scene.check()?;
    let raster = Raster { image: device.uninit(base.len()), coverage: device.uninit(pixels) };
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
        Mode { channels, over: scene.compositing.is_over() },
    );
    Ok(raster)
}

/// The Gaussians to draw.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Layers<F: Real> {
    pub frames: Array<Quad<F>>,
    pub subtracted: Array<F>,
    pub support: F,
}

#[cube]
impl<F: Real> Layers<F> {
    /// Opacity times color of Gaussian `n` for three channels, and its opacity.
    pub fn amplitude(&self, n: u32) -> Quad<F> {
        self.frames[n as usize * 3 + 2]
    }

    /// Color of a Gaussian of this amplitude, measured from the photo.
    pub fn color(&self, amplitude: Quad<F>, pixel: usize, #[comptime] c: usize, #[comptime] channels: u32) -> F {
        amplitude[c] / amplitude[3] - self.subtracted[pixel * comptime!(channels as usize) + c]
    }
}

/// What a Gaussian of this amplitude hides of what is behind it; the limit keeps a layer behind it visible to the
/// derivative.
#[cube]
pub(crate) fn alpha_of<F: Real>(amplitude: Quad<F>, w: F) -> F {
    min(amplitude[3] * w, largest_alpha::<F>())
}

#[cube]
pub(crate) fn largest_alpha<F: Real>() -> F {
    F::new(999.0) / F::new(1000.0)
}

/// The tiles' lists.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Lists<F: Real> {
    pub starts: Array<u32>,
    pub members: Array<u32>,
    pub plots: Plots<F>,
}

/// What changes the compiled drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mode {
    pub channels: u32,
    pub over: bool,
}

/// A drawn column of a tile: for each of its pixels three channels and the sum of all weights; and how much of what is
/// behind shows through.
#[derive(CubeType)]
pub(crate) struct Column<F: Real> {
    pub pixels: Array<Quad<F>>,
    pub through: Array<F>,
}

/// Draws column `x` of the tile at `place`, without its base.
#[cube]
pub(crate) fn draw_column<F: Real>(
    layers: &Layers<F>,
    lists: &Lists<F>,
    tile: u32,
    place: &Place<F>,
    x: u32,
    #[comptime] mode: Mode,
) -> Column<F> {
    let side = comptime!(TILE as usize);
    let mut pixels = Array::<Quad<F>>::new(side);
    let mut through = Array::<F>::new(side);
    #[unroll]
    for y in 0..side {
        pixels[y] = Quad::<F>::new(F::new(0.0));
        through[y] = F::new(1.0);
    }
    for at in lists.starts[tile as usize]..lists.starts[tile as usize + 1] {
        let n = lists.members[at as usize];
        let frame = Frame::load(&layers.frames, n);
        let amplitude = layers.amplitude(n);
        let mut weight = amplitude;
        weight[3] = F::new(1.0);
        let line = frame.line(place.lattice.centre(x, place.row), place.lattice.stride);
        #[unroll]
        for y in 0..side {
            let row = place.row + comptime!(y as u32);
            let q = line.mahalanobis_sq(line.down(F::new(comptime!(y as f32))));
            if comptime!(mode.over) {
                if q <= layers.support {
                    let w = fast_exp::<F>(q / F::new(-2.0));
                    let mut drawn = pixels[y];
                    drawn[3] += w;
                    let alpha = alpha_of::<F>(amplitude, w);
                    if alpha > F::new(0.0) {
                        let pixel = (place.first_cell + row * place.lattice.columns + x) as usize;
                        let share = through[y] * alpha;
                        #[unroll]
                        for c in 0..comptime!(mode.channels as usize) {
                            drawn[c] += share * layers.color(amplitude, pixel, c, mode.channels);
                        }
                        through[y] *= F::new(1.0) - alpha;
                    }
                    pixels[y] = drawn;
                }
            } else {
                let w = select(q <= layers.support, fast_exp::<F>(q / F::new(-2.0)), F::new(0.0));
                pixels[y] += weight * Quad::<F>::new(w);
            }
        }
    }
    Column::<F> { pixels, through }
}

#[cube(launch)]
fn draw<F: Real>(
    layers: &Layers<F>,
    lists: &Lists<F>,
    base: &Array<F>,
    image: &mut Array<F>,
    coverage: &mut Array<F>,
    #[comptime] mode: Mode,
) {
    let tile = ABSOLUTE_POS as u32 / TILE;
    if tile < lists.plots.total(Count::Tiles) {
        let place = lists.plots.place(tile);
        let x = place.column + ABSOLUTE_POS as u32 % TILE;
        if x < place.lattice.columns {
            let drawn = draw_column::<F>(layers, lists, tile, &place, x, mode);
            #[unroll]
            for y in 0..comptime!(TILE as usize) {
                let row = place.row + comptime!(y as u32);
                if row < place.lattice.rows {
                    let pixel = (place.first_cell + row * place.lattice.columns + x) as usize;
                    coverage[pixel] = drawn.pixels[y][3];
                    #[unroll]
                    for c in 0..comptime!(mode.channels as usize) {
                        let at = pixel * comptime!(mode.channels as usize) + c;
                        image[at] = drawn.pixels[y][c] + drawn.through[y] * base[at];
                    }
                }
            }
        }
    }
}
