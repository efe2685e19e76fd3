//! Runs a fit: what is drawn over, where it starts, and the solver's loop.

mod adam;
mod gauss_newton;

use splatport_kernels::{
    Buffer, Cells, Device, Gaussians, HostReal, Precision,
    bins::{self, Bins, Rule},
    cubecl::Runtime,
    evaluate::{Shape, evaluate},
    gaussian::{self, Frames, Framing, Margin},
    moments::{Moments, Sums},
    penalty::Penalty,
    rasterize::{self, Scene},
};

use super::{
    Cleanup, Compositing, ExtraGaussians, Inputs, Progress, Reconstruction, ReconstructionNorm, Report, Solver, Splat,
    SplatOptions, backdrop::Backdrop, initial::Initial,
};
use crate::{Error, Result};

/// Everything that stays the same while a fit runs.
struct Problem<'a, R: Runtime, P: Precision> {
    device: &'a Device<R, P>,
    options: &'a SplatOptions,
    cells: Cells,
    /// Background minus photo, `[pixels, channels]`: the residual without a Gaussian.
    gap: Buffer<R, P::Real>,
    /// The photo, `[pixels, channels]`.
    photo: Buffer<R, P::Real>,
    /// Factor of the summed penalty.
    norm: f64,
    /// One over the number of values among which the priors' unit, the mean penalty, is taken.
    residual_norm: f64,
    /// Gaussians bound to annotations.
    bound: usize,
    initial: Initial,
}

/// Where a solver ended.
struct Fitted<R: Runtime, P: Precision> {
    gaussians: Gaussians<R, P::Real>,
    losses: Vec<f64>,
    repairs: u64,
}

pub(super) fn fit<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    options: &SplatOptions,
    mut inputs: Inputs<'_, R, P>,
) -> Result<Splat<R, P>> {
    let (image, annotations) = (inputs.image, inputs.annotations);
    let backdrop = Backdrop::new(image, annotations, options.background_image);
    let photo = image.to_f32();
    let gap: Vec<f64> = backdrop.values.iter().zip(&photo).map(|(&b, &p)| f64::from(b) - f64::from(p)).collect();
    let foreground = backdrop.masked.max(1) * usize::from(image.channels());
    let values = match options.reconstruction_norm {
        ReconstructionNorm::AllPixels => photo.len(),
        ReconstructionNorm::Foreground => foreground,
    };
    let problem = Problem {
        device,
        options,
        cells: Cells::pixels(image.width(), image.height()),
        gap: device.upload_f64(&gap),
        photo: device.upload_f64(&photo.iter().map(|&v| f64::from(v)).collect::<Vec<_>>()),
        norm: 1.0 / values as f64,
        residual_norm: 1.0 / foreground as f64,
        bound: annotations.len(),
        initial: Initial::new(image, annotations, &backdrop.values, options),
    };
    let mut on_step = |progress: Progress| inputs.on_step.as_mut().is_some_and(|call| call(progress).is_break());
    let fitted = match options.solver {
        _ if problem.initial.len() == 0 => problem.empty(),
        Solver::Adam { steps, rate } => problem.adam(steps, rate, &mut on_step)?,
        Solver::GaussNewton { steps } => problem.gauss_newton(steps, &mut on_step)?,
    };
    let (gaussians, largest_aspect) = finish(device, fitted.gaussians, options.cleanup)?;
    let values: Vec<f64> = backdrop.values.iter().map(|&v| f64::from(v)).collect();
    Ok(Splat {
        device: device.clone(),
        gaussians,
        annotations: problem.bound,
        size: [image.width(), image.height()],
        profile: options.profile,
        report: Report {
            steps: fitted.losses.len().saturating_sub(1) as u32,
            losses: fitted.losses,
            largest_aspect,
            repairs: fitted.repairs,
            outside: annotations.outside(image.width(), image.height()).len(),
            duplicates: annotations.duplicates().len(),
        },
        backdrop: Some(device.upload_f64(&values)),
        drawing: (options.support, options.compositing),
    })
}

/// Reads the largest aspect, and shrinks needles to round Gaussians if the options say so.
fn finish<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    gaussians: Gaussians<R, P::Real>,
    cleanup: Cleanup,
) -> Result<(Gaussians<R, P::Real>, f64)> {
    let mut rows = gaussians.parameters.read()?;
    let mut largest: f64 = 0.0;
    let mut changed = false;
    for row in rows.chunks_exact_mut(gaussians.stride()) {
        let (a, b) = (row[2].cast_to_f64(), row[3].cast_to_f64());
        let mut aspect = a.max(b) / a.min(b);
        if let Cleanup::ShrinkToShort { limit } = cleanup
            && aspect > limit
        {
            row[2] = P::Real::cast_from_f64(a.min(b));
            row[3] = row[2];
            (aspect, changed) = (1.0, true);
        }
        largest = largest.max(aspect);
    }
    let channels = gaussians.channels;
    let gaussians = if changed { Gaussians { parameters: device.upload(&rows), channels } } else { gaussians };
    Ok((gaussians, largest))
}

/// Draws Gaussians over `base`.
pub(super) fn draw<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    gaussians: &Gaussians<R, P::Real>,
    base: &Buffer<R, P::Real>,
    size: [u32; 2],
    (support, compositing): (f64, Compositing),
) -> Result<Buffer<R, P::Real>> {
    let frames = gaussian::frames(device, gaussians, gaussians.len(), Framing::default())?;
    let bins = bins::bins(device, &frames, Cells::pixels(size[0], size[1]), Rule::Within(support), 0.0)?;
    let nothing = device.filled(P::Real::cast_from_f64(0.0), base.len());
    let compositing = match compositing {
        Compositing::Sum => rasterize::Compositing::Sum,
        Compositing::AlphaOver => rasterize::Compositing::Over { subtracted: &nothing },
    };
    let scene = Scene { frames: &frames, bins: &bins, support, compositing };
    let raster = scene.raster(device);
    rasterize::rasterize(device, &scene, base, &raster)?;
    Ok(raster.image)
}

impl<R: Runtime, P: Precision> Problem<'_, R, P> {
    fn channels(&self) -> u32 {
        self.initial.stride as u32 - 6
    }

    fn penalty(&self) -> Penalty {
        match self.options.reconstruction {
            Reconstruction::Mse => Penalty::Squared,
            Reconstruction::L1 => Penalty::Absolute,
        }
    }

    /// Whether some means are learned.
    fn free(&self) -> bool {
        self.options.extra_gaussians != ExtraGaussians::None && self.initial.len() > self.bound
    }

    fn start(&self) -> Gaussians<R, P::Real> {
        Gaussians { parameters: self.device.upload_f64(&self.initial.rows), channels: self.channels() }
    }

    fn empty(&self) -> Fitted<R, P> {
        Fitted { gaussians: self.start(), losses: Vec::new(), repairs: 0 }
    }

    fn frames(&self, gaussians: &Gaussians<R, P::Real>) -> Result<Frames<R, P::Real>> {
        Ok(gaussian::frames(self.device, gaussians, gaussians.len(), Framing::default())?)
    }

    /// Lists that hold for every Gaussian whose scale stays within `margin` and whose mean moves by at most `px`.
    fn bins(&self, gaussians: &Gaussians<R, P::Real>, margin: Option<Margin>, px: f64) -> Result<Bins<R>> {
        let framing = Framing { margin, ..Framing::default() };
        let frames = gaussian::frames(self.device, gaussians, gaussians.len(), framing)?;
        Ok(bins::bins(self.device, &frames, self.cells, Rule::Within(self.options.support), px)?)
    }

    fn scene<'s>(&'s self, frames: &'s Frames<R, P::Real>, bins: &'s Bins<R>) -> Scene<'s, R, P::Real> {
        let compositing = match self.options.compositing {
            Compositing::Sum => rasterize::Compositing::Sum,
            Compositing::AlphaOver => rasterize::Compositing::Over { subtracted: &self.photo },
        };
        Scene { frames, bins, support: self.options.support, compositing }
    }

    /// Draws the residual, writes its summed penalty to `penalties[at]` and gives its sums.
    fn evaluate(
        &self,
        scene: &Scene<'_, R, P::Real>,
        (sums, floor): (Sums, f64),
        penalties: &Buffer<R, P::Real>,
        at: u32,
    ) -> Result<Moments<R, P::Real>> {
        let shape = Shape::of(self.device);
        Ok(evaluate(self.device, scene, &self.gap, (sums, floor), (penalties, at as usize), shape)?)
    }

    /// The sums that a solver asks for.
    fn sums(&self, curvature: bool) -> Sums {
        let over = self.options.compositing == Compositing::AlphaOver;
        Sums { channels: self.channels(), means: self.free(), curvature, penalty: self.penalty(), over }
    }
}

/// A loss that is no number stops the fit: the step is told, nothing is kept.
fn finite(losses: &[f64], first: usize) -> Result<()> {
    match losses.iter().position(|loss| !loss.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::NotFinite { what: "reconstruction loss at step", index: first + at, value: losses[at] }),
    }
}
