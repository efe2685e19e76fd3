//! The losses that are compared.

use clap::ValueEnum;
use splatport::{
    Annotations, Device, Grid, Kernel, Profile, Single, Splat,
    burn::{CubeRuntime, networks::STRIDE},
    kernel::{Background, KernelOptions},
    losses::{DensityLoss, DmCount, DmProfile, Unbalanced},
    splat::CropTarget,
};

use crate::data::{Crop, Half, Halves, SIDE};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Gaussians fitted to the photo, the recommended profile.
    Gst,
    /// Round Gaussians of 8 px, no background.
    Heuristic,
    /// Round Gaussians of 8 px, Bayesian loss's background.
    Bayesian,
    DmCount,
    Unbalanced,
}

/// Scale of round Gaussians, px: the paper's heuristic plan.
const SIGMA: f64 = 8.0;

/// Bayesian loss's share of the crop's side, of its authors' advice for sparse scenes.
const KAPPA: f64 = 0.15;

impl Method {
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What is done once.
    pub fn prepare<R: CubeRuntime>(self, device: &Device<R>, halves: &Halves) -> splatport::Result<Prepared<R>> {
        let Half { image, points } = &halves.train;
        let size = [image.width(), image.height()];
        let options = Profile::Recommended.kernel();
        let round = |background| -> splatport::Result<_> {
            Ok(Some((Splat::round(device, points, size, SIGMA)?, KernelOptions { background, ..options })))
        };
        let splat = match self {
            Self::Gst => Some((Splat::of(image, points).fit(device)?, options)),
            Self::Heuristic => round(Background::None)?,
            Self::Bayesian => round(Background::Reciprocal { kappa: KAPPA, side: Some(f64::from(SIDE)) })?,
            Self::DmCount | Self::Unbalanced => None,
        };
        Ok(Prepared { method: self, device: device.clone(), size, points: points.clone(), splat })
    }
}

/// A method on the training half.
pub struct Prepared<R: CubeRuntime> {
    pub method: Method,
    device: Device<R>,
    size: [u32; 2],
    points: Annotations,
    /// Of the methods that have a plan.
    splat: Option<(Splat<R>, KernelOptions)>,
}

impl<R: CubeRuntime> Prepared<R> {
    /// The loss of these crops.
    pub fn loss(&self, crops: &[Crop]) -> splatport::Result<Box<dyn DensityLoss<R, Single>>> {
        let grid = Grid::over(SIDE, SIDE, STRIDE);
        let views = crops.iter().map(|crop| crop.view(self.size)).collect::<splatport::Result<Vec<_>>>()?;
        if let Some((splat, options)) = &self.splat {
            let shown = views.iter().map(|view| splat.through(view, CropTarget::Unit));
            let shown = shown.collect::<splatport::Result<Vec<_>>>()?;
            let images: Vec<_> = shown.iter().map(|crop| (&crop.splat, grid)).collect();
            return Ok(Box::new(Kernel::of_all(&self.device, &images, *options)?.loss()));
        }
        let points = views.iter().map(|view| {
            let moved = self.points.points().iter().map(|&point| view.point(point));
            let within = |p: &[f64; 2]| p.iter().all(|x| (0.0..f64::from(SIDE)).contains(x));
            Annotations::new(moved.filter(within).collect::<Vec<_>>())
        });
        let points = points.collect::<splatport::Result<Vec<_>>>()?;
        let scenes: Vec<_> = points.iter().map(|points| (grid, points)).collect();
        Ok(match self.method {
            Method::DmCount => Box::new(DmCount::new(DmProfile::default()).on(&self.device, &scenes)?),
            _ => Box::new(Unbalanced::default().on(&self.device, &scenes)?),
        })
    }
}
