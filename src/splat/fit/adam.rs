//! The paper's solver: thousands of small steps.

use splatport_kernels::{
    HostReal, Precision,
    adam::Adam,
    cubecl::Runtime,
    descent::{self, Descent, Maps, Objective},
    gaussian::Margin,
    reduce::{Reduction, reduce_into},
};

use super::{Fitted, Problem, finite};
use crate::{
    Result,
    splat::{self, Opacity, Progress, ScaleMap, ShapeOn},
};

/// Steps between two builds of the tile lists, and between two looks at the losses.
const BUNCH: u32 = 16;
/// Adam moves a parameter by at most `(1 - beta1) / sqrt(1 - beta2)` step sizes (Kingma and Ba, section 2.1): 3.17.
const LARGEST_STEP: f64 = 3.2;
/// Residuals below this count as this in the absolute penalty's slope: far below one 8-bit level.
const FLOOR: f64 = 1e-6;

impl<R: Runtime, P: Precision> Problem<'_, R, P> {
    pub(super) fn adam(
        &self,
        steps: u32,
        rate: f64,
        on_step: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Fitted<R, P>> {
        let device = self.device;
        let gaussians = self.start();
        let descent = self.descent(&gaussians);
        let penalties = device.filled(P::Real::cast_from_f64(0.0), steps as usize + 1);
        let worst = device.filled(P::Real::cast_from_f64(0.0), 1);
        let sums = self.sums(false);
        let rule = Adam { rate, ..Adam::default() };
        let reach = LARGEST_STEP * rate * f64::from(BUNCH);
        let margin = match self.options.scale_map {
            ScaleMap::Exp => Margin { factor: reach.exp(), pixels: 0.0 },
            ScaleMap::ReluPlusOne | ScaleMap::Softplus { .. } => Margin { factor: 1.0, pixels: reach },
        };
        let (mut losses, mut told) = (Vec::new(), 0);
        let mut bins = self.bins(&gaussians, Some(margin), reach)?;
        for step in 0..=steps {
            if step % BUNCH == 0 || step == steps {
                bins = self.bins(&gaussians, Some(margin), reach)?;
            }
            let frames = self.frames(&gaussians)?;
            let scene = self.scene(&frames, &bins);
            let moments = self.evaluate(&scene, (sums, FLOOR), &penalties, step)?;
            if (step + 1) % BUNCH == 0 || step == steps {
                let known = losses.len();
                let summed = penalties.read()?;
                losses.extend(summed[known..=step as usize].iter().map(|sum| sum.cast_to_f64() * self.norm));
                finite(&losses[known..], known)?;
                let tell = |at: usize| Progress { step: at as u32 + 1, steps, loss: losses[at] };
                let stop = (told..step as usize).any(|at| on_step(tell(at)));
                told = step as usize;
                if stop || step == steps {
                    break;
                }
            }
            reduce_into(device, &descent.aspects, Reduction::Largest, &worst, 0);
            descent::descend(
                device,
                &gaussians,
                &bins,
                &moments,
                &descent,
                &worst,
                &penalties,
                &self.objective(),
                (rule, step + 1),
                self.maps(),
            )?;
        }
        let repairs = descent.repairs.read()?.into_iter().map(u64::from).sum();
        Ok(Fitted { gaussians, losses, repairs })
    }

    fn objective(&self) -> Objective {
        let shape = self.options.shape;
        let prior = |width: Option<f64>| width.map_or(0.0, |width| 1.0 / (width * width));
        Objective {
            norm: self.norm,
            residual_norm: self.residual_norm,
            shape_weight: shape.weight,
            aspect_limit: shape.limit,
            size_prior: prior(self.options.prior.map(|p| p.size)),
            aspect_prior: prior(self.options.prior.map(|p| p.aspect)),
            least_scale: self.least_scale(),
            free_from: self.bound as u32,
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

    /// Raw numbers that stand for the initial parameters.
    fn descent(&self, gaussians: &splatport_kernels::Gaussians<R, P::Real>) -> Descent<R, P::Real> {
        let stride = self.initial.stride;
        let count = gaussians.len();
        let mut state = Vec::with_capacity(3 * self.initial.rows.len());
        let mut aspects = Vec::with_capacity(count);
        for row in self.initial.rows.chunks_exact(stride) {
            let raw = self.raw(row);
            let pair = match self.options.shape.on {
                ShapeOn::Activated => [row[2], row[3]],
                ShapeOn::Raw => [raw[2], raw[3]],
            };
            aspects.push(pair[0].max(pair[1]) / pair[0].min(pair[1]));
            state.extend(raw);
            state.resize(state.len() + 2 * stride, 0.0);
        }
        Descent {
            state: self.device.upload_f64(&state),
            aspects: self.device.upload_f64(&aspects),
            repairs: self.device.upload(&vec![0u32; count]),
            initial: self.device.upload_f64(&self.initial.rows),
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
