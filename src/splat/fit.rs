//! Runs a fit of one image or many: backdrop, start and the solver's loop. Images of the same kind (channels, 8-bit or
//! not, free means or not) share launches.

mod adam;
mod gauss_newton;
mod run;
#[cfg(test)]
mod tests;

use std::{cell::LazyCell, collections::BTreeSet, sync::OnceLock};

use rayon::prelude::*;
use splatport_kernels::{
    Buffer, Cells, Device, Gaussians, HostReal, Mosaic, Precision, Real,
    bins::{self, Room, Rule},
    cubecl::Runtime,
    gaussian::{self, Framing},
    listed::{Listed, Margin},
    moments::Sums,
    penalty::Penalty,
    rasterize::{self, Scene},
    target::Target,
};

use super::{
    BackgroundImage, Cleanup, Compositing, End, Progress, Reconstruction, ReconstructionNorm, Report, Solver, Splat,
    SplatOptions,
    backdrop::{self, Backdrop},
    initial::Initial,
    neighbours,
};
use crate::{Annotations, Image, Pixels, Result};

/// One image of a batch.
struct Part<'a> {
    image: &'a Image,
    annotations: &'a Annotations,
    cells: Cells,
    /// Its place in the batch.
    index: usize,
    backdrop: Backdrop,
    initial: Initial,
    /// Factor of the summed penalty.
    norm: f64,
    /// One over the number of values in the mean penalty, which is the priors' unit.
    residual_norm: f64,
}

/// What a fit's device functions are compiled for. Images of different kinds are not fitted together: an image's
/// numbers would then be rounded differently than when it is fitted alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    channels: u8,
    /// Whether the samples are 8-bit levels.
    levels: bool,
    /// Whether some means are learned.
    free: bool,
}

/// Everything that stays constant while a fit runs.
struct Problem<'a, R: Runtime, P: Precision> {
    device: &'a Device<R, P>,
    options: &'a SplatOptions,
    channels: u32,
    /// Images with Gaussians to fit.
    parts: Vec<&'a Part<'a>>,
    mosaic: Mosaic<R, P::Real>,
    /// Background minus photo: the residual without any Gaussian.
    target: Target<R, P::Real>,
    /// The photos, `[pixels, channels]`, if Gaussians lie over each other.
    photo: Option<Buffer<R, P::Real>>,
}

/// Where a solver ended, for one image.
struct Fitted<R: Runtime, F: Real> {
    /// Parameters, `[n, 6 + channels]`, and a copy on the host.
    parameters: Buffer<R, F>,
    rows: Vec<F>,
    losses: Vec<f64>,
    end: End,
    repairs: u64,
}

pub(super) fn fit<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    options: &SplatOptions,
    jobs: &[(&Image, &Annotations)],
    on_step: &mut dyn FnMut(Progress) -> bool,
) -> Result<Vec<Splat<R, P>>> {
    let parts: Vec<Part<'_>> =
        jobs.par_iter().enumerate().map(|(index, &job)| Part::new(index, job, options)).collect();
    let mut fitted: Vec<Option<Fitted<R, P::Real>>> = jobs.iter().map(|_| None).collect();
    // Once the caller has asked one kind to stop, the callback is not called again for the next kinds.
    let mut asked = false;
    let on_step: &mut dyn FnMut(Progress) -> bool = &mut |progress| {
        asked = asked || on_step(progress);
        asked
    };
    // One set of launches for all images of a kind.
    let kinds: BTreeSet<Kind> = parts.iter().filter(|part| part.initial.len() > 0).map(Part::kind).collect();
    for kind in kinds {
        let wanted = |at: &usize| parts[*at].kind() == kind && parts[*at].initial.len() > 0;
        let chosen: Vec<usize> = (0..parts.len()).filter(wanted).collect();
        let parts = chosen.iter().map(|&at| &parts[at]).collect();
        let problem = Problem::new(device, options, kind.channels.into(), parts)?;
        let results = match options.solver {
            Solver::Adam { steps, rate } => problem.adam(steps, rate, on_step)?,
            Solver::GaussNewton { steps } => problem.gauss_newton(steps, on_step)?,
        };
        for (at, result) in chosen.into_iter().zip(results) {
            fitted[at] = Some(result);
        }
    }
    Ok(parts.into_iter().zip(fitted).map(|(part, fitted)| finish(device, options, part, fitted)).collect())
}

/// The finished splat of one image. Without Gaussians, nothing was fitted.
fn finish<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    options: &SplatOptions,
    part: Part<'_>,
    fitted: Option<Fitted<R, P::Real>>,
) -> Splat<R, P> {
    let (width, height) = (part.image.width(), part.image.height());
    let nothing = || {
        let (parameters, rows, losses) = (device.upload(&[]), Vec::new(), Vec::new());
        Fitted { parameters, rows, losses, end: End::Settled, repairs: 0 }
    };
    let mut fitted = fitted.unwrap_or_else(nothing);
    let channels = u32::from(part.image.channels());
    let (cleaned, largest_aspect) = clean(&mut fitted.rows, 6 + channels as usize, options.cleanup);
    if cleaned {
        fitted.parameters = device.upload(&fitted.rows);
    }
    Splat {
        device: device.clone(),
        gaussians: Gaussians { parameters: fitted.parameters, channels },
        points: part.annotations.points().to_vec(),
        neighbours: OnceLock::new(),
        size: [width, height],
        profile: options.profile,
        report: Report {
            steps: fitted.losses.len().saturating_sub(1) as u32,
            losses: fitted.losses,
            end: fitted.end,
            largest_aspect,
            repairs: fitted.repairs,
            outside: part.annotations.outside(width, height).len(),
            duplicates: part.annotations.duplicates().len(),
        },
        shares: Vec::new(),
        backdrop: Some(part.backdrop),
        drawing: (options.support, options.compositing),
    }
}

/// Shrinks needles to round Gaussians if the options say so. Returns whether there were any, and the largest aspect
/// ratio.
fn clean<F: HostReal + Copy>(rows: &mut [F], stride: usize, cleanup: Cleanup) -> (bool, f64) {
    let (mut cleaned, mut largest) = (false, 0.0_f64);
    for row in rows.chunks_exact_mut(stride) {
        let (a, b) = (row[2].cast_to_f64(), row[3].cast_to_f64());
        let mut aspect = a.max(b) / a.min(b);
        if let Cleanup::ShrinkToShort { limit } = cleanup
            && aspect > limit
        {
            row[2] = F::cast_from_f64(a.min(b));
            row[3] = row[2];
            aspect = 1.0;
            cleaned = true;
        }
        largest = largest.max(aspect);
    }
    (cleaned, largest)
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
    let bins = bins::bins(device, &frames, Cells::pixels(size[0], size[1]), Rule::Within(support))?;
    let nothing = device.filled(P::Real::cast_from_f64(0.0), base.len());
    let compositing = match compositing {
        Compositing::Sum => rasterize::Compositing::Sum,
        Compositing::AlphaOver => rasterize::Compositing::Over { subtracted: &nothing },
    };
    let scene = Scene { frames: &frames, bins: &bins, support, compositing };
    Ok(rasterize::rasterize(device, &scene, base)?.image)
}

impl<'a> Part<'a> {
    fn new(index: usize, (image, annotations): (&'a Image, &'a Annotations), options: &SplatOptions) -> Self {
        let points = annotations.points();
        // Lazy, because with a black background some of these are not needed.
        let distances = LazyCell::new(|| neighbours::distances(points));
        let mask = LazyCell::new(|| backdrop::mask(image, points, &distances));
        let backdrop = Backdrop::new(image, options.background_image, || &mask);
        let cells = Cells::pixels(image.width(), image.height());
        let one_over = |pixels: usize| 1.0 / (pixels.max(1) * usize::from(image.channels())) as f64;
        let of_all = one_over(cells.len());
        let of_discs = LazyCell::new(|| one_over(mask.iter().filter(|&&masked| masked).count()));
        Self {
            image,
            annotations,
            cells,
            index,
            initial: Initial::new(image, annotations, |n| distances[n], &backdrop, options),
            norm: match options.reconstruction_norm {
                ReconstructionNorm::AllPixels => of_all,
                ReconstructionNorm::Foreground => *of_discs,
            },
            // Outside the discs there is no residual to explain, unless everything is drawn over black.
            residual_norm: if options.background_image == BackgroundImage::None { of_all } else { *of_discs },
            backdrop,
        }
    }

    fn kind(&self) -> Kind {
        Kind {
            channels: self.image.channels(),
            levels: matches!(self.image.pixels(), Pixels::U8(_)),
            free: self.initial.len() > self.annotations.len(),
        }
    }
}

/// Background minus photo, in packed form if the photos have 8-bit samples.
fn target<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    parts: &[&Part<'_>],
    channels: u32,
) -> Result<Target<R, P::Real>> {
    let photos = parts.iter().map(|part| match part.image.pixels() {
        Pixels::U8(levels) => Some(levels.as_slice()),
        Pixels::F32(_) => None,
    });
    if let Some(photos) = photos.collect::<Option<Vec<&[u8]>>>() {
        let backgrounds = parts.iter().map(|part| part.backdrop.levels()).collect();
        return Ok(Target::of_photos(device, backgrounds, &photos, channels)?);
    }
    let gap = |part: &Part<'_>, at: usize| f64::from(part.backdrop.at(at)) - f64::from(part.image.sample(at));
    Ok(Target::Plain(upload(device, parts, gap)?))
}

/// Uploads one number for every sample of the photos.
fn upload<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    parts: &[&Part<'_>],
    value: impl Fn(&Part<'_>, usize) -> f64,
) -> Result<Buffer<R, P::Real>> {
    let samples = |part: &&Part<'_>| part.cells.len() * usize::from(part.image.channels());
    device.check_room::<P::Real>("photo", parts.iter().map(samples).sum())?;
    let values = parts.iter().flat_map(|part| (0..samples(part)).map(|at| P::Real::cast_from_f64(value(part, at))));
    Ok(device.upload(&values.collect::<Vec<P::Real>>()))
}

impl<'a, R: Runtime, P: Precision> Problem<'a, R, P> {
    fn new(
        device: &'a Device<R, P>,
        options: &'a SplatOptions,
        channels: u32,
        parts: Vec<&'a Part<'a>>,
    ) -> Result<Self> {
        let plots: Vec<(Cells, usize)> = parts.iter().map(|part| (part.cells, part.initial.len())).collect();
        let photo = match options.compositing {
            Compositing::Sum => None,
            Compositing::AlphaOver => Some(upload(device, &parts, |part, at| part.image.sample(at).into())?),
        };
        Ok(Self {
            device,
            options,
            channels,
            mosaic: Mosaic::new(device, &plots)?,
            target: target(device, &parts, channels)?,
            parts,
            photo,
        })
    }

    fn penalty(&self) -> Penalty {
        match self.options.reconstruction {
            Reconstruction::Mse => Penalty::Squared,
            Reconstruction::L1 => Penalty::Absolute,
        }
    }

    /// Initial parameters of all images.
    fn start(&self) -> Vec<f64> {
        self.parts.iter().flat_map(|part| part.initial.rows.iter().copied()).collect()
    }

    /// Factors of the two priors, size and aspect; 0 for none.
    fn priors(&self) -> [f64; 2] {
        self.options.prior.map_or([0.0, 0.0], |prior| [prior.size, prior.aspect].map(|width| 1.0 / (width * width)))
    }

    /// Whether some means are learned.
    fn free(&self) -> bool {
        self.parts.iter().any(|part| part.kind().free)
    }

    /// Tile lists that stay valid until a Gaussian leaves its margin.
    fn listed(&self, gaussians: &Gaussians<R, P::Real>, growth: f64, room: &mut Room) -> Result<Listed<R, P::Real>> {
        // The shift allowed, px: as much as the scale of a typical Gaussian may grow.
        let shift = if self.free() { 8.0 * (growth - 1.0) } else { 0.0 };
        Ok(Listed::new(self.device, gaussians, &self.mosaic, self.options.support, Margin { growth, shift }, room)?)
    }

    fn scene<'s>(
        &'s self,
        frames: &'s gaussian::Frames<R, P::Real>,
        listed: &'s Listed<R, P::Real>,
    ) -> Scene<'s, R, P::Real> {
        let compositing = match &self.photo {
            None => rasterize::Compositing::Sum,
            Some(photo) => rasterize::Compositing::Over { subtracted: photo },
        };
        Scene { frames, bins: &listed.bins, support: self.options.support, compositing }
    }

    /// The sums that a solver asks for.
    fn sums(&self, curvature: bool) -> Sums {
        let over = self.options.compositing == Compositing::AlphaOver;
        Sums { channels: self.channels, means: self.free(), curvature, penalty: self.penalty(), over }
    }
}
