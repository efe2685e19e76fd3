//! The paper's solver: thousands of small steps.

use splatport_kernels::{
    Buffer, Gaussians, Precision,
    adam::Adam,
    cubecl::Runtime,
    descent::{self, Descent, Maps, Objective, RING},
    penalty::penalties,
};

use super::{
    Fitted, Part, Problem,
    run::{State, Stepper},
};
use crate::{
    Result,
    splat::{self, Opacity, Progress, ScaleMap, ShapeOn},
};

/// Smaller residuals are replaced by this in the absolute penalty's slope: far below one 8-bit level.
const FLOOR: f64 = 1e-6;

struct Steps<'a, R: Runtime, P: Precision> {
    problem: &'a Problem<'a, R, P>,
    descent: Descent<R, P::Real>,
    steps: u32,
}

impl<R: Runtime, P: Precision> Stepper<R, P> for Steps<'_, R, P> {
    const EVERY: u32 = RING;
    const GROWTH: f64 = 1.1;
    const MOVES_AT_ONCE: bool = true;

    fn step(&self, state: &State<'_, R, P>, step: u32, last: bool) -> Result<()> {
        let Problem { device, mosaic, .. } = self.problem;
        if last {
            return Ok(penalties(device, mosaic, &state.look, self.descent.history(), step as usize)?);
        }
        let (moved, seen) = ((state.gaussians, &state.frames), (&state.listed, &state.look));
        Ok(self.descent.step(device, moved, seen, (&state.clock, step))?)
    }

    fn history(&self, from: u32, to: u32) -> &Buffer<R, P::Real> {
        // Updates collect the penalties. The last step has no update, but adds its own penalties.
        if let Some(moved) = self.steps.checked_sub(1) {
            self.descent.gather(self.problem.device, from, to.min(moved));
        }
        self.descent.history()
    }

    fn is_settled(&self, _losses: &[f64]) -> bool {
        false
    }

    fn finish(&self, _state: &State<'_, R, P>) {}

    fn repairs(&self) -> &Buffer<R, u32> {
        self.descent.repairs()
    }
}

impl<R: Runtime, P: Precision> Problem<'_, R, P> {
    pub(super) fn adam(
        &self,
        steps: u32,
        rate: f64,
        on_step: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Vec<Fitted<R, P::Real>>> {
        let start = self.start();
        let raw: Vec<f64> = start.chunks_exact(6 + self.channels as usize).flat_map(|row| self.raw(row)).collect();
        let objectives: Vec<Objective> = self.parts.iter().map(|part| self.objective(part)).collect();
        let sums = self.sums(false);
        let rule = Adam { rate, ..Adam::default() };
        let descent =
            Descent::new(self.device, &self.mosaic, (&raw, &start), &objectives, (sums, self.maps()), (rule, steps))?;
        let parameters = self.device.try_upload_f64("Gaussians", &start)?;
        let gaussians = Gaussians { parameters, channels: self.channels };
        self.run(&Steps { problem: self, descent, steps }, &gaussians, steps, (sums, FLOOR), on_step)
    }

    fn objective(&self, part: &Part<'_>) -> Objective {
        let shape = self.options.shape;
        let [size_prior, aspect_prior] = self.priors();
        Objective {
            norm: part.norm,
            residual_norm: part.residual_norm,
            shape_weight: shape.weight,
            aspect_limit: shape.limit,
            size_prior,
            aspect_prior,
            least_scale: self.least_scale(),
            free_from: part.annotations.len() as u32,
        }
    }

    pub(super) fn least_scale(&self) -> f64 {
        match self.options.scale_map {
            ScaleMap::Softplus { least } => least,
            ScaleMap::ReluPlusOne => 1.0,
            ScaleMap::Exp => 0.0,
        }
    }

    fn maps(&self) -> Maps {
        let options = self.options;
        Maps {
            scale: match options.scale_map {
                ScaleMap::ReluPlusOne => descent::ScaleMap::ReluPlusOne,
                ScaleMap::Softplus { .. } => descent::ScaleMap::Softplus,
                ScaleMap::Exp => descent::ScaleMap::Exp,
            },
            rotation: match options.rotation_map {
                splat::RotationMap::Free => descent::RotationMap::Free,
                splat::RotationMap::PiSigmoid => descent::RotationMap::PiSigmoid,
            },
            color: if options.signed() { descent::ColorMap::Tanh } else { descent::ColorMap::Sigmoid },
            opacity: options.opacity == Opacity::Learned,
            shape_on: match options.shape.on {
                ShapeOn::Activated => descent::ShapeOn::Activated,
                ShapeOn::Raw => descent::ShapeOn::Raw,
            },
            shape_reduce: match options.shape.reduce {
                splat::ShapeReduce::Max => descent::ShapeReduce::Max,
                splat::ShapeReduce::Mean => descent::ShapeReduce::Mean,
            },
        }
    }

    /// Inverts the maps.
    fn raw(&self, row: &[f64]) -> Vec<f64> {
        let logit = |p: f64| (p / (1.0 - p)).ln();
        let scale = |s: f64| match self.options.scale_map {
            ScaleMap::ReluPlusOne => s - 1.0,
            ScaleMap::Softplus { least } => {
                // ln(e^d - 1) without overflow for large d.
                let above = (s - least).max(1e-3);
                above + (-(-above).exp()).ln_1p()
            }
            ScaleMap::Exp => s.ln(),
        };
        let mut raw = row.to_vec();
        raw[2] = scale(row[2]);
        raw[3] = scale(row[3]);
        if self.options.rotation_map == splat::RotationMap::PiSigmoid {
            raw[4] = logit((row[4] / std::f64::consts::PI).clamp(0.02, 0.98));
        }
        raw[5] = logit(row[5].clamp(1e-3, 1.0 - 1e-3));
        for color in &mut raw[6..] {
            *color = if self.options.signed() { color.atanh() } else { logit(*color) };
        }
        raw
    }
}
