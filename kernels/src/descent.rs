//! An Adam step of the fit, with the paper's deformity loss: raw numbers, their maps to parameters, and the step.

mod deformity;
mod maps;
mod update;

use cubecl::prelude::*;

pub use self::maps::{ColorMap, Maps, RotationMap, ScaleMap, ShapeOn, ShapeReduce};

use self::{
    deformity::noted_aspects,
    update::{FoundLaunch, MemoryLaunch, OutputLaunch, descend, gather},
};
use crate::{
    Result,
    adam::Adam,
    buffer::Buffer,
    clock::Clock,
    device::Device,
    evaluate::Look,
    gaussian::{COLOR_AT, Frames, Gaussians},
    grid::{Cells, Count, Mosaic},
    listed::Listed,
    moments::Sums,
    penalty::add_penalties,
    real::{Precision, Real},
};

/// Numbers of an image's objective.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// Factor of the summed penalty: one over the number of values for a mean. (The squared penalty's derivative has a 2.)
    pub norm: f64,
    /// One over the number of values that the mean penalty, the priors' unit, is taken over.
    pub residual_norm: f64,
    /// Factor of the deformity loss.
    pub shape_weight: f64,
    /// Aspect above which it acts.
    pub aspect_limit: f64,
    /// Factor of `(mean ln s - mean ln s_initial)^2` times the mean penalty; 0 for no prior.
    pub size_prior: f64,
    /// Factor of `(ln s0 - ln s1)^2` times the mean penalty; 0 for no prior.
    pub aspect_prior: f64,
    /// Least scale of [`ScaleMap::Softplus`], px.
    pub least_scale: f64,
    /// The image's Gaussians from this one on move; those before stay on their annotations.
    pub free_from: u32,
}

/// Numbers of an image in the table that [`Terms`] are read from.
const TERMS: u32 = 9;
/// Steps whose penalties are kept apart until the host looks at them.
pub const RING: u32 = 32;

/// A running descent, for all images of a batch.
#[derive(Debug)]
pub struct Descent<R: Runtime, F: Real> {
    mosaic: Mosaic<R, F>,
    /// `[images, TERMS]`.
    terms: Buffer<R, F>,
    /// Raw numbers with their first and second moments: `[n, 3, 6 + channels]`.
    state: Buffer<R, F>,
    /// Aspect of every Gaussian, on what [`ShapeOn`] says: `[2, n]`, of the last even and odd step.
    aspects: Buffer<R, F>,
    /// What is known of the aspects before every step, see [`noted_aspects`]: `[steps + 2, images, 2]`.
    worst: Buffer<R, u32>,
    /// Gaussians whose step was not finite and was left out, counted, `[n]`.
    repairs: Buffer<R, u32>,
    /// Where the fit started: `[n, 6 + channels]`.
    initial: Buffer<R, F>,
    /// Penalties of bundles of tiles at the last steps, `[RING, bundles]`; with priors of the last step only.
    bundles: Buffer<R, F>,
    /// Summed penalty at every step, `[steps + 1, images]`.
    history: Buffer<R, F>,
    /// Whether any image has a prior, whose unit is the step's own penalty.
    priors: bool,
    sums: Sums,
    maps: Maps,
    rule: Adam,
}

impl<R: Runtime, F: Real> Descent<R, F> {
    /// A descent of at most `steps` steps. `raw` are the numbers that stand for the parameters `initial`, both
    /// `[n, 6 + channels]`, in the mosaic's order; one objective an image.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when the numbers of Gaussians or images disagree; [`crate::Error::NoRoom`] for more steps or Gaussians
    /// than the device has memory for.
    pub fn new<P: Precision<Real = F>>(
        device: &Device<R, P>,
        mosaic: &Mosaic<R, F>,
        (raw, initial): (&[f64], &[f64]),
        objectives: &[Objective],
        (sums, maps): (Sums, Maps),
        (rule, steps): (Adam, u32),
    ) -> Result<Self> {
        let (count, images) = (mosaic.total(Count::Gaussians), mosaic.images().len());
        let stride = COLOR_AT + sums.channels as usize;
        for (what, expected, got) in [
            ("raw numbers", count * stride, raw.len()),
            ("initial parameters", count * stride, initial.len()),
            ("objectives", images, objectives.len()),
        ] {
            if got != expected {
                return Err(crate::Error::Length { what, expected, got });
            }
        }
        let history = (steps as usize + 2).saturating_mul(images);
        device.check_room::<F>("history of all steps", history)?;
        device.check_room::<u32>("aspects of all steps", 2 * history)?;
        device.check_room::<F>("state of the fit", 3 * raw.len())?;
        let mut state = Vec::with_capacity(3 * raw.len());
        let mut aspects = Vec::with_capacity(2 * count);
        for (raw, initial) in raw.chunks_exact(stride).zip(initial.chunks_exact(stride)) {
            state.extend(raw);
            state.resize(state.len() + 2 * stride, 0.0);
            let [a, b] = match maps.shape_on {
                ShapeOn::Activated => [initial[2], initial[3]],
                ShapeOn::Raw => [raw[2], raw[3]],
            };
            aspects.push(a.max(b) / a.min(b));
        }
        let mut rest = aspects.as_slice();
        let own = |&(_, count): &(Cells, usize)| noted_aspects(rest.split_off(..count).unwrap_or_default());
        let mut worst: Vec<u32> = mosaic.images().iter().flat_map(own).collect();
        worst.resize(2 * history, 0);
        aspects.extend_from_within(..);
        let priors = objectives.iter().any(|o| o.size_prior > 0.0 || o.aspect_prior > 0.0);
        let kept = if priors { 1 } else { RING as usize };
        let terms: Vec<f64> = objectives.iter().flat_map(Objective::row).collect();
        Ok(Self {
            mosaic: mosaic.clone(),
            terms: device.upload_f64(&terms),
            state: device.upload_f64(&state),
            aspects: device.upload_f64(&aspects),
            worst: device.upload(&worst),
            repairs: device.filled(0u32, count),
            initial: device.upload_f64(initial),
            bundles: device.uninit(kept * mosaic.total(Count::Bundles)),
            history: device.filled(F::from_int(-1), (steps as usize + 1) * images),
            priors,
            sums,
            maps,
            rule,
        })
    }

    /// One step of every Gaussian after a look, in place: parameters, frames, raw numbers, aspects. Stops the clock for the
    /// steps after this one when a Gaussian leaves its lists.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when `step` is beyond the last.
    pub fn step<P: Precision<Real = F>>(
        &self,
        device: &Device<R, P>,
        (gaussians, frames): (&Gaussians<R, F>, &Frames<R, F>),
        (listed, look): (&Listed<R, F>, &Look<R, F>),
        (clock, step): (&Clock<R>, u32),
    ) -> Result<()> {
        if self.priors {
            add_penalties(device, &self.mosaic, look, &self.bundles, (&self.history, step as usize))?;
        }
        let count = self.repairs.len();
        // Behind the Gaussians, a unit for every bundle of tiles.
        let (cubes, dim) = device.per_unit(count + self.mosaic.total(Count::Bundles));
        descend::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            FoundLaunch::new(look.partial.arg(), listed.bins.slot_starts.arg(), look.strips.arg()),
            MemoryLaunch::new(
                self.state.arg(),
                self.aspects.arg(),
                self.worst.arg(),
                self.repairs.arg(),
                self.initial.arg(),
                self.bundles.arg(),
                self.history.arg(),
            ),
            OutputLaunch::new(gaussians.parameters.arg(), frames.packed.arg()),
            listed.arg(),
            self.terms.arg(),
            self.mosaic.arg(),
            clock.arg(),
            self.rule.launch(step + 1),
            step,
            self.sums,
            self.maps,
            self.priors,
        );
        Ok(())
    }

    /// Collects the summed penalties of the steps `from ..= to` (at most [`RING`] of them), for which [`Descent::step`] was
    /// launched.
    pub fn gather<P: Precision<Real = F>>(&self, device: &Device<R, P>, from: u32, to: u32) {
        if self.priors || to < from {
            return;
        }
        let rows = (to - from + 1) as usize * self.mosaic.images().len();
        let (cubes, dim) = device.per_unit(rows);
        gather::launch::<F, R>(
            device.client(),
            cubes,
            dim,
            self.bundles.arg(),
            self.mosaic.arg(),
            self.history.arg(),
            from,
            rows as u32,
        );
    }

    /// Summed penalty of every image at every step: `[steps + 1, images]`, as far as they were gathered.
    pub fn history(&self) -> &Buffer<R, F> {
        &self.history
    }

    /// Gaussians' steps that were not finite, per Gaussian.
    pub fn repairs(&self) -> &Buffer<R, u32> {
        &self.repairs
    }
}

impl Objective {
    fn row(&self) -> [f64; TERMS as usize] {
        [
            self.norm,
            self.residual_norm,
            self.shape_weight,
            self.aspect_limit,
            self.size_prior,
            self.aspect_prior,
            self.least_scale,
            std::f64::consts::PI,
            f64::from(self.free_from),
        ]
    }
}
