//! Gauss-Newton for many overlapping Gaussians at once, one small system each, all decisions on the device.
//!
//! **Coordinates.** A Gaussian's shape is half the logarithm of its covariance, `[[t + d, o], [o, t - d]]`: with
//! `r = sqrt(d^2 + o^2)` the scales are `e^(t + r)`, `e^(t - r)` and the rotation is `atan2(o, d) / 2`. No column of the
//! system vanishes for a round Gaussian, and a limit on the aspect is the disc `r <= ln(limit) / 2`.
//!
//! **System.** The residual's derivatives by shape, color (and mean) give each Gaussian its own normal matrix, from the
//! moments that [`crate::evaluate::evaluate`] sums. Its weight `w (w + S) / 2`, `S` the sum of all weights at the pixel,
//! lies half way between the Gaussian's own curvature and a bound on the curvature of all together (`w S`, by the
//! Cauchy-Schwarz inequality), so that Gaussians that overlap do not overshoot together.
//!
//! **Steps.** Every Gaussian has its own damping, step limit and momentum. Its share of the change is the trapezoid
//! `(g + g') . s / 2`, exact for a quadratic whatever the overlap; the damping follows that share against its prediction.
//! The whole step is kept when the objective falls.

mod judge;
mod point;
mod settle;
mod solve;
mod system;
mod trial;

use cubecl::prelude::*;

use self::{
    judge::{LooksLaunch, weigh_step},
    point::{Layout, begin, write_kept},
    settle::{OutputLaunch, VerdictsLaunch, settle_and_propose},
};
use crate::{
    Result,
    buffer::Buffer,
    clock::Clock,
    device::Device,
    evaluate::Look,
    gaussian::{Frames, Gaussians},
    grid::{Count, Mosaic},
    listed::Listed,
    moments::Sums,
    penalty::Penalty,
    real::{Precision, Real},
};

/// Numbers of an image's objective and its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// One over the number of values that the mean penalty, the priors' unit, is taken over.
    pub residual_norm: f64,
    /// Factor of `(t - t_initial)^2` times the mean penalty.
    pub size_prior: f64,
    /// Factor of `(ln s0 - ln s1)^2` times the mean penalty.
    pub aspect_prior: f64,
    /// Largest aspect.
    pub aspect_limit: f64,
    /// Least scale, px.
    pub least_scale: f64,
    /// Largest scale, px.
    pub largest_scale: f64,
    /// Least color: 0, or -1 for differences.
    pub least_color: f64,
    /// Width and height of the image, px: free means stay inside.
    pub size: [f64; 2],
    /// The image's Gaussians from this one on move; those before stay on their annotations.
    pub free_from: u32,
}

/// Numbers of an image in the table that [`Terms`] are read from.
const TERMS: u32 = 11;
/// Gaussians whose priors are added together first, by one unit.
const BLOCK: u32 = 128;

impl Objective {
    fn row(&self, penalty: Penalty) -> [f64; TERMS as usize] {
        // The system works with half the derivative of the squared penalty, whose prior is then taken once; the absolute
        // penalty's derivative is taken whole, which doubles it.
        let prior = match penalty {
            Penalty::Squared => 1.0,
            Penalty::Absolute => 2.0,
        };
        [
            self.residual_norm,
            prior,
            self.size_prior,
            self.aspect_prior,
            (self.aspect_limit.ln() / 2.0).max(1e-6),
            self.least_scale.max(1e-3).ln(),
            self.largest_scale.max(self.least_scale).ln(),
            self.least_color,
            self.size[0],
            self.size[1],
            f64::from(self.free_from),
        ]
    }
}

/// [`Objective`] as device functions see it.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Terms<F: Real> {
    pub residual_norm: F,
    pub prior: F,
    pub size_prior: F,
    pub aspect_prior: F,
    pub disc: F,
    pub least_t: F,
    pub largest_t: F,
    pub least_color: F,
    pub width: F,
    pub height: F,
    pub free_from: F,
}

#[cube]
impl<F: Real> Terms<F> {
    pub fn load(table: &Array<F>, image: u32) -> Terms<F> {
        let at = (image * TERMS) as usize;
        Terms::<F> {
            residual_norm: table[at],
            prior: table[at + 1],
            size_prior: table[at + 2],
            aspect_prior: table[at + 3],
            disc: table[at + 4],
            least_t: table[at + 5],
            largest_t: table[at + 6],
            least_color: table[at + 7],
            width: table[at + 8],
            height: table[at + 9],
            free_from: table[at + 10],
        }
    }
}

/// What a running solver remembers, on the device, for all images of a batch.
#[derive(Debug)]
pub struct GaussNewton<R: Runtime, F: Real> {
    mosaic: Mosaic<R, F>,
    /// `[images, TERMS]`.
    terms: Buffer<R, F>,
    /// Per Gaussian, see [`Layout`].
    state: Buffer<R, F>,
    /// Per Gaussian, the sums at the trial point, then: share of the change, its ratio to the prediction, slope at the trial
    /// along the step.
    fresh: Buffer<R, F>,
    /// Prior of the trial point, `[n]`.
    priors: Buffer<R, F>,
    /// Penalties of bundles of tiles, and priors of blocks of Gaussians.
    bundles: Buffer<R, F>,
    blocks: Buffer<R, F>,
    /// `[steps + 1, images]` each: is any share a rise; summed penalty and priors of what was kept, -1 before the step was done.
    rises: Buffer<R, u32>,
    kept: Buffer<R, F>,
    kept_priors: Buffer<R, F>,
    /// Systems whose solution was not finite and was left out, counted, `[n]`.
    repairs: Buffer<R, u32>,
    layout: Layout,
}

impl<R: Runtime, F: Real> GaussNewton<R, F> {
    /// A solver for at most `steps` steps from `gaussians`, whose opacities are 1, one objective an image. They are rewritten
    /// within the solver's bounds: the longer axis first.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when the numbers of Gaussians or images disagree; [`crate::Error::NoRoom`] for more steps or Gaussians
    /// than the device has memory for.
    pub fn new<P: Precision<Real = F>>(
        device: &Device<R, P>,
        gaussians: &Gaussians<R, F>,
        mosaic: &Mosaic<R, F>,
        objectives: &[Objective],
        sums: Sums,
        steps: u32,
    ) -> Result<Self> {
        let (count, images) = (mosaic.total(Count::Gaussians), mosaic.images().len());
        gaussians.parameters.expect("gaussian parameters", count * gaussians.stride())?;
        if objectives.len() != images {
            return Err(crate::Error::Length { what: "objectives", expected: images, got: objectives.len() });
        }
        let layout = Layout { sums };
        let history = (steps as usize + 1).saturating_mul(images);
        device.check_room::<F>("history of all steps", history)?;
        let zeros = |len: usize| device.filled(F::from_int(0), len);
        let rows: Vec<f64> = objectives.iter().flat_map(|objective| objective.row(sums.penalty)).collect();
        let solver = Self {
            mosaic: mosaic.clone(),
            terms: device.upload_f64(&rows),
            state: device.room("state of the fit", count * layout.size())?,
            fresh: zeros(count * layout.fresh()),
            priors: device.uninit(count),
            bundles: device.uninit(mosaic.total(Count::Bundles)),
            blocks: device.uninit(count / BLOCK as usize + images),
            rises: device.filled(0u32, history),
            kept: device.filled(F::from_int(-1), history),
            kept_priors: zeros(history),
            repairs: device.filled(0u32, count),
            layout,
        };
        if count > 0 {
            let (cubes, dim) = device.per_unit(count);
            begin::launch::<F, R>(
                device.client(),
                cubes,
                dim,
                gaussians.parameters.arg(),
                solver.state.arg(),
                solver.priors.arg(),
                solver.terms.arg(),
                mosaic.arg(),
                layout,
            );
        }
        Ok(solver)
    }

    /// Takes in a look at the point that was last proposed (step 0: at the start), keeps or drops it, and writes the next one
    /// into `gaussians` and `frames`. Stops the clock for the steps after this one when a Gaussian leaves its lists.
    pub fn step<P: Precision<Real = F>>(
        &self,
        device: &Device<R, P>,
        (gaussians, frames): (&Gaussians<R, F>, &Frames<R, F>),
        (listed, look): (&Listed<R, F>, &Look<R, F>),
        (clock, step): (&Clock<R>, u32),
    ) {
        let count = self.repairs.len();
        if count == 0 {
            return;
        }
        // Behind the Gaussians: a unit for every bundle of tiles, then one for every block of Gaussians.
        let (cubes, dim) = device.per_unit(count + self.bundles.len() + self.blocks.len());
        weigh_step::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            LooksLaunch::new(look.partial.arg(), listed.bins.slot_starts.arg(), look.strips.arg()),
            self.state.arg(),
            VerdictsLaunch::new(
                self.fresh.arg(),
                self.rises.arg(),
                self.bundles.arg(),
                self.blocks.arg(),
                self.kept.arg(),
                self.kept_priors.arg(),
            ),
            self.priors.arg(),
            self.terms.arg(),
            self.mosaic.arg(),
            clock.arg(),
            step,
            self.layout,
        );
        let (cubes, dim) = device.per_unit(count);
        settle_and_propose::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            self.state.arg(),
            VerdictsLaunch::new(
                self.fresh.arg(),
                self.rises.arg(),
                self.bundles.arg(),
                self.blocks.arg(),
                self.kept.arg(),
                self.kept_priors.arg(),
            ),
            OutputLaunch::new(gaussians.parameters.arg(), frames.packed.arg(), self.priors.arg(), self.repairs.arg()),
            listed.arg(),
            self.terms.arg(),
            self.mosaic.arg(),
            clock.arg(),
            step,
            self.layout,
        );
    }

    /// Writes what was kept into `gaussians`.
    pub fn finish<P: Precision<Real = F>>(&self, device: &Device<R, P>, gaussians: &Gaussians<R, F>) {
        let (cubes, dim) = device.per_unit(self.repairs.len());
        write_kept::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            gaussians.parameters.arg(),
            self.state.arg(),
            self.repairs.len() as u32,
            self.layout,
        );
    }

    /// Summed penalty of what was kept after every step, from step 0, for every image: `[steps + 1, images]`; -1 for steps that
    /// were not done.
    pub fn kept(&self) -> &Buffer<R, F> {
        &self.kept
    }

    /// Systems whose solution was not finite, per Gaussian.
    pub fn repairs(&self) -> &Buffer<R, u32> {
        &self.repairs
    }
}
