//! A kernel before it is built: options, and a splat or a recipe of one.

use serde::{Deserialize, Serialize};
use splatport_kernels::{
    Device, Precision, correspondence,
    cubecl::Runtime,
    gaussian::{self, Framing},
};

use super::{Background, Kernel, KernelOptions, ScaleClip};
use crate::{Annotations, Grid, Image, LossRecipe, Result, Splat, SplatRecipe};

/// How to build a transport kernel; `D` says from what.
///
/// [`Splat::kernel`] gives one on a splat, ready to [`build`](KernelRecipe::build). [`SplatRecipe::kernel`] gives one that
/// follows a recipe and goes on with [`loss`](KernelRecipe::loss).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "a recipe does nothing until `build` or `run` is called"]
pub struct KernelRecipe<D> {
    pub(crate) options: KernelOptions,
    data: D,
}

/// A splat and the cells to carry from.
#[derive(Debug)]
pub struct OnSplat<'a, R: Runtime, P: Precision> {
    splat: &'a Splat<R, P>,
    grid: Grid,
}

/// A recipe of a splat, and the stride of the cells to carry from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OnRecipe {
    splat: SplatRecipe,
    stride: u32,
}

impl KernelRecipe<OnRecipe> {
    pub(crate) fn after(splat: SplatRecipe, stride: u32, options: KernelOptions) -> Self {
        Self { options, data: OnRecipe { splat, stride } }
    }

    /// Goes on with the loss.
    pub fn loss(self) -> LossRecipe {
        LossRecipe::after(self)
    }

    /// Fits the splat and builds the kernel over the whole image.
    ///
    /// # Errors
    /// As [`SplatRecipe::fit`] and [`KernelRecipe::build`].
    pub fn run<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        image: &Image,
        annotations: &Annotations,
    ) -> Result<Kernel<R, P>> {
        let splat = self.data.splat.bind(image, annotations).fit(device)?;
        KernelRecipe::on(&splat, Grid::strided(image, self.data.stride), self.options).build()
    }

    /// The same for many images, whose splats are fitted together.
    ///
    /// # Errors
    /// As [`SplatRecipe::fit_all`] and [`KernelRecipe::build`].
    pub fn run_all<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        images: &[(&Image, &Annotations)],
    ) -> Result<Vec<Kernel<R, P>>> {
        let splats = self.data.splat.fit_all(device, images)?;
        let grids = images.iter().map(|(image, _)| Grid::strided(image, self.data.stride));
        splats.iter().zip(grids).map(|(splat, grid)| KernelRecipe::on(splat, grid, self.options).build()).collect()
    }
}

impl<'a, R: Runtime, P: Precision> KernelRecipe<OnSplat<'a, R, P>> {
    pub(crate) fn on(splat: &'a Splat<R, P>, grid: Grid, options: KernelOptions) -> Self {
        Self { options, data: OnSplat { splat, grid } }
    }

    /// Builds the kernel.
    ///
    /// # Errors
    /// [`crate::Error::Option`] for an option out of range, [`crate::Error::Empty`] or [`crate::Error::OutOfRange`] for a
    /// grid without cells, of another image or outside it, [`crate::Error::Device`] when the device failed.
    pub fn build(self) -> Result<Kernel<R, P>> {
        self.options.check()?;
        let OnSplat { splat, grid } = self.data;
        grid.check(splat.size())?;
        let device = splat.device();
        let [threshold, threshold_per_log_det] = self.options.threshold();
        let [least_scale, largest_scale] = self.options.scale_limits(f64::from(grid.stride()));
        let framing = Framing { threshold, threshold_per_log_det, least_scale, largest_scale, ..Framing::default() };
        let frames = gaussian::frames(device, splat.gaussians(), splat.annotations(), framing)?;
        let rule = match self.options.background {
            Background::None => correspondence::Background::None,
            Background::Soft { .. } | Background::Ratio { .. } => correspondence::Background::Odds,
            Background::Hard { .. } => correspondence::Background::Hard,
        };
        let entries = correspondence::correspondence(device, &frames, grid.cells(), rule, self.options.tau)?;
        Ok(Kernel {
            device: device.clone(),
            entries,
            gaussians: splat.gaussians().clone(),
            annotations: splat.annotations(),
            grid,
            options: self.options,
        })
    }
}

impl<D> KernelRecipe<D> {
    /// What a cell far from every Gaussian belongs to. Default: to the background beyond 1.5 standard deviations.
    pub fn background(mut self, background: Background) -> Self {
        self.options.background = background;
        self
    }

    /// Limits of the scales. Default: [`ScaleClip::Coverage`].
    pub fn scale_clip(mut self, scale_clip: ScaleClip) -> Self {
        self.options.scale_clip = scale_clip;
        self
    }

    /// Largest L1 error of a row due to what is not stored, in 0..1. Default: 0.001.
    pub fn tau(mut self, tau: f64) -> Self {
        self.options.tau = tau;
        self
    }
}
