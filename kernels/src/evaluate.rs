//! One look at a fit: the residual's penalty and the sums from which all derivatives are computed.
//!
//! There are two shapes of the same math. **Gathered** draws the residual of covered tiles, then sums every slot, in
//! two launches without barriers, for devices whose units run one after the other. **Tiled** has one cube for eight
//! covered tiles, each of whose units keeps the residual of one column, so that nothing image-sized is written. Each
//! sums in its own fixed order and so repeats its bits; the two agree up to rounding. Tiles that no Gaussian reaches
//! are added up once, when the lists are made.

mod gathered;
mod order;
mod places;
mod tiled;

use cubecl::prelude::*;

use self::{order::Order, places::Places};
use crate::{
    Result,
    bins::{Bins, TILE},
    buffer::Buffer,
    clock::Clock,
    device::{Device, Shape},
    moments::Sums,
    rasterize::Scene,
    real::{Precision, Real},
    target::Target,
};

/// The memory for looks at Gaussians on the same lists, with the results of the last look.
#[derive(Debug)]
pub struct Look<R: Runtime, F: Real> {
    pub(crate) sums: Sums,
    /// If tiled.
    places: Option<Places<R, F>>,
    /// Tiles; see [`Order`].
    order: Buffer<R, u32>,
    covered: usize,
    /// Place of every tile in `order`.
    ranks: Buffer<R, u32>,
    /// If gathered: the covered tiles of a run, whose residual is kept at a time.
    run: usize,
    /// If gathered: where the members of every run start, `[runs + 1]`.
    runs: Vec<usize>,
    /// If gathered, of one run: three channels and the sum of all weights, `[tiles, TILE, TILE, 4]`.
    residual: Buffer<R, F>,
    /// Penalty of every eighth of a tile, `[tiles, 8]`.
    pub(crate) strips: Buffer<R, F>,
    /// Sums of every slot, `[pairs, sums]`.
    pub(crate) partial: Buffer<R, F>,
}

/// The most covered tiles whose residual is kept at a time, if gathered: 16 MiB of `f32`, so that photos of any size fit.
const RUN: usize = 1 << 14;

/// What target, lists and a look may take together, in numbers of the device's float: 16 and 256 bytes of `f32`.
const PER_PIXEL: usize = 4;
const PER_PAIR: usize = 64;

/// Cells of a tile.
const CELLS: usize = (TILE * TILE) as usize;

impl<R: Runtime, F: Real> Look<R, F> {
    /// Makes room for looks at `bins`, and adds up the penalty where no Gaussian reaches.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when the target's pixels are not those of the lists; [`crate::Error::Count`] on
    /// software Vulkan if more than 1015 overlaid Gaussians matter for one tile.
    pub fn new<P: Precision<Real = F>>(
        device: &Device<R, P>,
        scene: &Scene<'_, R, F>,
        target: &Target<R, F>,
        sums: Sums,
    ) -> Result<Self> {
        let bins = scene.bins;
        target.check(bins.cells(), sums.channels)?;
        scene.check()?;
        let tiles = bins.tiles();
        if scene.compositing.is_over() {
            // A slot's unit goes through its tile's list at every pixel.
            device.check_rounds(
                "pixels of a tile, times the Gaussians over each other there",
                bins.longest.saturating_mul(CELLS as u32),
            )?;
        }
        // Gaussians that lie over each other are gathered all the same.
        let shape = if scene.compositing.is_over() { Shape::Gathered } else { device.shape() };
        // Where the residual is kept for a run of tiles, their members must follow one another.
        let Order { tiles: order, ranks, covered } = Order::new(device, bins, shape == Shape::Tiled)?;
        let places = (shape == Shape::Tiled).then(|| Places::new(device, scene, &order, covered));
        let mut look = Self {
            sums: Sums { over: scene.compositing.is_over(), ..sums },
            places,
            order,
            covered,
            ranks,
            run: 0,
            runs: Vec::new(),
            residual: device.uninit(0),
            strips: device.uninit(tiles * TILE as usize),
            partial: device.room("sums of slots", bins.pairs() * sums.count() as usize)?,
        };
        if shape == Shape::Gathered && covered > 0 {
            let taken = target.bytes() + bins.bytes() + look.bytes();
            look.run = run(covered, bins.cells(), bins.pairs(), taken / size_of::<F>());
            look.runs = runs(device, bins, &look.order, (covered, look.run))?;
            look.residual = device.room("residual", look.run * CELLS * 4)?;
        }
        look.draw(device, scene, target, &Clock::new(device, bins.mosaic.images().len()), 0, covered..tiles);
        Ok(look)
    }

    /// The size in device memory, bytes.
    pub fn bytes(&self) -> usize {
        let indices: usize = [&self.order, &self.ranks].map(Buffer::bytes).iter().sum();
        indices
            + self.places.as_ref().map_or(0, Places::bytes)
            + [&self.residual, &self.strips, &self.partial].map(Buffer::bytes).iter().sum::<usize>()
    }

    /// The number of tiles that Gaussians reach.
    pub fn covered(&self) -> usize {
        self.covered
    }
}

/// Draws the scene over the target and stores its sums and penalties in `look`, which must have been made for the
/// scene's lists. Images that stand still at `step` are left out. `floor` is the least |E| of the absolute penalty.
pub fn evaluate<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    scene: &Scene<'_, R, P::Real>,
    target: &Target<R, P::Real>,
    look: &Look<R, P::Real>,
    (clock, step): (&Clock<R>, u32),
    floor: f64,
) {
    if look.covered == 0 {
        return;
    }
    match &look.places {
        Some(places) => look.tile(places, device, scene, target, clock, step, floor),
        None => {
            for (at, members) in look.runs.windows(2).enumerate() {
                let tiles = at * look.run..look.covered.min((at + 1) * look.run);
                look.draw(device, scene, target, clock, step, tiles.clone());
                look.gather(device, scene, clock, step, floor, (tiles.start, members[0]..members[1]));
            }
        }
    }
}

impl<R: Runtime, F: Real> Look<R, F> {
    /// The penalty of every image, `[images]`; see [`crate::penalty::penalties`].
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    pub fn penalties<P: Precision<Real = F>>(&self, device: &Device<R, P>, bins: &Bins<R, F>) -> Result<Vec<F>> {
        let history = device.uninit(bins.mosaic.images().len());
        crate::penalty::penalties(device, &bins.mosaic, self, &history, 0)?;
        history.read()
    }
}

/// The covered tiles of a run: all of them, unless they are too many, or their residual would take more than is left of what
/// a look may take, as where few Gaussians lie on a tile. Four runs of one length are enough for that, for then the residual
/// takes 4 bytes a pixel. Up to 256 tiles are not split.
fn run(covered: usize, pixels: usize, pairs: usize, taken: usize) -> usize {
    let left = (PER_PIXEL * pixels + PER_PAIR * pairs).saturating_sub(taken) / (4 * CELLS);
    let most = left.max(covered.div_ceil(4)).clamp(1 << 8, RUN);
    covered.div_ceil(covered.div_ceil(most))
}

/// Where the members of every run of covered tiles start: covered tiles and members are in the same order.
fn runs<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    bins: &Bins<R, P::Real>,
    order: &Buffer<R, u32>,
    (covered, run): (usize, usize),
) -> Result<Vec<usize>> {
    let runs = covered.div_ceil(run);
    let mut starts = vec![0];
    if runs > 1 {
        let inner = device.uninit(runs - 1);
        let (cubes, dim) = device.per_unit(inner.len());
        let (of_tiles, order) = (bins.tile_starts.arg(), order.arg());
        start_runs::launch::<R>(device.client(), cubes, dim, of_tiles, order, inner.arg(), run as u32);
        starts.extend(inner.read()?.into_iter().map(|start: u32| start as usize));
    }
    starts.push(bins.pairs());
    Ok(starts)
}

#[cube(launch)]
fn start_runs(tile_starts: &Array<u32>, order: &Array<u32>, starts: &mut Array<u32>, run: u32) {
    if ABSOLUTE_POS < starts.len() {
        starts[ABSOLUTE_POS] = tile_starts[order[(ABSOLUTE_POS + 1) * run as usize] as usize];
    }
}
