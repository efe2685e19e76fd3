//! A kernel before it is built: its options, and a splat or a recipe for one.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use splatport_kernels::{
    Device, Mosaic, Precision, Storage,
    correspondence::{self, Room},
    cubecl::Runtime,
    gaussian,
    mixture::Mixture,
};

use super::{
    Background, Kernel, KernelOptions, Origin, ScaleClip,
    origin::{Source, parts},
};
use crate::{
    Annotations, Error, Grid, Image, LossRecipe, Profile, Result, Splat, SplatRecipe, error::check_device,
    splat::mixture::mixture,
};

/// How to build a transport kernel. `D` is what it is built from.
///
/// [`Splat::kernel`] gives one for a splat, ready to [`build`](KernelRecipe::build). [`SplatRecipe::kernel`] gives one
/// that follows a splat's recipe and is continued with [`loss`](KernelRecipe::loss).
///
/// ```
/// use splatport::{Annotations, Image, Profile, Vulkan};
///
/// let image = Image::from_u8(32, 32, 1, vec![0; 32 * 32])?;
/// let points = Annotations::new(vec![[10.0, 12.0]])?;
/// let recipe = splatport::recipe().profile(Profile::Paper).kernel(4).tau(1e-4);
/// assert_eq!(recipe.options().tau, 1e-4);
///
/// let kernel = recipe.run(&Vulkan::best()?, &image, &points)?;
/// assert_eq!((kernel.cells(), kernel.profile()), (64, Profile::Paper));
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "a recipe does nothing until `build` or `run` is called"]
pub struct KernelRecipe<D> {
    pub(crate) options: KernelOptions,
    data: D,
}

/// A splat, and the cells whose mass is transported.
#[derive(Debug)]
pub struct OnSplat<'a, R: Runtime, P: Precision> {
    splat: &'a Splat<R, P>,
    grid: Grid,
}

/// A recipe for a splat, and the stride of the cells whose mass is transported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OnRecipe {
    splat: SplatRecipe,
    stride: u32,
}

impl KernelRecipe<OnRecipe> {
    pub(crate) fn after(splat: SplatRecipe, stride: u32, options: KernelOptions) -> Self {
        Self { options, data: OnRecipe { splat, stride } }
    }

    /// Continues with the loss.
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
        let grid = self.grid(image)?;
        let splat = self.data.splat.bind(image, annotations).fit(device)?;
        KernelRecipe::on(&splat, grid, self.options).build()
    }

    /// As [`run`](KernelRecipe::run), for many images: their splats are fitted together and their kernels are built
    /// together.
    ///
    /// # Errors
    /// As [`SplatRecipe::fit_all`] and [`Kernel::of_all`].
    pub fn run_all<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        images: &[(&Image, &Annotations)],
    ) -> Result<Kernel<R, P>> {
        let grids = images.iter().map(|(image, _)| self.grid(image)).collect::<Result<Vec<_>>>()?;
        let splats = self.data.splat.fit_all(device, images)?;
        Kernel::of_all(device, &splats.iter().zip(grids).collect::<Vec<_>>(), self.options)
    }

    /// The cells over a photo. Options that the kernel would refuse are refused here already, before the fit, which
    /// takes longer.
    fn grid(&self, image: &Image) -> Result<Grid> {
        self.options.check()?;
        let grid = Grid::strided(image, self.data.stride);
        grid.check_alone()?;
        Ok(grid)
    }
}

impl<'a, R: Runtime, P: Precision> KernelRecipe<OnSplat<'a, R, P>> {
    pub(crate) fn on(splat: &'a Splat<R, P>, grid: Grid, options: KernelOptions) -> Self {
        Self { options, data: OnSplat { splat, grid } }
    }

    /// Builds the kernel.
    ///
    /// # Errors
    /// [`crate::Error::Option`] for an option out of range, [`crate::Error::Empty`] or [`crate::Error::OutOfRange`] for
    /// a grid that has no cells, belongs to another image or lies outside it, [`crate::Error::Device`] when the device
    /// failed.
    pub fn build(self) -> Result<Kernel<R, P>> {
        let OnSplat { splat, grid } = self.data;
        build(splat.device(), &[(splat, grid)], self.options, Room::default())
    }
}

/// Builds the kernel of one image or many.
pub(super) fn build<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    images: &[(&Splat<R, P>, Grid)],
    options: KernelOptions,
    mut room: Room,
) -> Result<Kernel<R, P>> {
    options.check()?;
    if images.is_empty() {
        return Err(Error::Empty { what: "batch" });
    }
    for (splat, grid) in images {
        grid.check(splat.size())?;
        check_device("splat", device, splat.device().client())?;
    }
    let splats: Vec<_> = images.iter().map(|&(splat, _)| splat).collect();
    let mixture = match splats.iter().any(|splat| !splat.shares().is_empty()) {
        true => Some(mixture(device, &splats)?),
        false => None,
    };
    let background = options.rule();
    let annotations: Vec<usize> = splats.iter().map(|splat| splat.annotations()).collect();
    let counts = mixture.as_ref().map_or(&annotations[..], Mixture::counts);
    let made_of = |counts: &[usize]| -> Vec<Source<R, P::Real>> {
        let source = |(&(splat, grid), &count): (&(&Splat<R, P>, Grid), &usize)| {
            (splat.gaussians().clone(), count, options.framing(grid))
        };
        images.iter().zip(counts).map(source).collect()
    };
    let mosaic = |counts: &[usize]| {
        let plots: Vec<_> = images.iter().zip(counts).map(|((_, grid), &count)| (grid.cells(), count)).collect();
        Mosaic::new(device, &plots)
    };
    let sources = made_of(counts);
    let frames = gaussian::frames_of_batch(device, &parts(&sources), mixture.as_ref())?;
    let over = mosaic(counts)?;
    let mut entries =
        correspondence::correspondence_of_batch(device, &frames, &over, background, options.tau, &mut room)?;
    let mut of_annotations = frames.clone();
    if let Some(mixture) = &mixture {
        entries = entries.merged(device, mixture, mosaic(&annotations)?)?;
        of_annotations = gaussian::frames_of_batch(device, &parts(&made_of(&annotations)), None)?;
    }
    Ok(Kernel {
        device: device.clone(),
        entries,
        frames: Some(of_annotations),
        origin: Some(Origin {
            sources,
            frames,
            background,
            mixture: mixture.map_or_else(OnceLock::new, OnceLock::from),
        }),
        parts: images.iter().map(|(splat, grid)| (splat.annotations(), *grid)).collect(),
        tau: options.tau,
        storage: P::Weight::error(1.0),
        profile: options.profile,
        options: Some(options),
        room,
    })
}

impl<D> KernelRecipe<D> {
    /// Replaces all of the kernel's options with those of a profile. The fit keeps its own options: to use one profile
    /// throughout, begin with [`SplatRecipe::profile`].
    pub fn profile(mut self, profile: Profile) -> Self {
        self.options = profile.kernel();
        self
    }

    /// Replaces all options.
    pub fn with_options(mut self, options: KernelOptions) -> Self {
        self.options = options;
        self
    }

    /// All options.
    pub fn options(&self) -> &KernelOptions {
        &self.options
    }

    /// Whether and where cells belong to the background. Default: beyond 1.5 standard deviations.
    pub fn background(mut self, background: Background) -> Self {
        self.options.background = background;
        self
    }

    /// Limits of the scales. Default: [`ScaleClip::Coverage`].
    pub fn scale_clip(mut self, scale_clip: ScaleClip) -> Self {
        self.options.scale_clip = scale_clip;
        self
    }

    /// Largest L1 error that a row may have because of what is not stored, above 0 and below 1. Default: 0.001.
    pub fn tau(mut self, tau: f64) -> Self {
        self.options.tau = tau;
        self
    }
}
