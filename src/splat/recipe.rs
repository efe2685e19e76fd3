//! A fit before it runs: its options and, once bound, an image with its annotations.

use std::{marker::PhantomData, ops::ControlFlow};

use serde::{Deserialize, Serialize};
use splatport_kernels::{Device, Precision, cubecl::Runtime};

use super::*;
use crate::kernel::OnRecipe;

/// How to fit a splat. `D` is what it is fitted to.
///
/// [`Splat::of`] gives one with its [`Inputs`], ready to [`fit`](SplatRecipe::fit). [`crate::recipe`] gives one that is
/// [`Unbound`]: a value that needs neither device nor image, can be stored, and is continued with
/// [`kernel`](SplatRecipe::kernel).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "a recipe does nothing until `fit` or `run` is called"]
pub struct SplatRecipe<D = Unbound> {
    pub(crate) options: SplatOptions,
    #[serde(skip)]
    data: D,
}

/// Not bound to an image yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unbound;

/// The callback in [`Inputs::on_step`].
pub(crate) type OnStep<'a> = Box<dyn FnMut(Progress) -> ControlFlow<()> + 'a>;

/// An image, its annotations, and the callback for progress.
pub struct Inputs<'a, R: Runtime, P: Precision> {
    pub(crate) image: &'a Image,
    pub(crate) annotations: &'a Annotations,
    pub(crate) on_step: Option<OnStep<'a>>,
    device: PhantomData<(R, P)>,
}

impl<R: Runtime, P: Precision> std::fmt::Debug for Inputs<'_, R, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs").field("annotations", &self.annotations.len()).finish_non_exhaustive()
    }
}

impl SplatRecipe {
    pub(crate) fn unbound() -> Self {
        Self { options: Profile::default().splat(), data: Unbound }
    }

    /// Continues with a transport kernel on cells of `stride` px.
    pub fn kernel(self, stride: u32) -> KernelRecipe<OnRecipe> {
        let options = self.options.profile.kernel();
        KernelRecipe::after(self, stride, options)
    }

    /// Fits many images or crops together, of any sizes and numbers of annotations. Each gets the same splat as if
    /// fitted alone. Images of the same kind (channels, 8-bit or not, with free means or not) share launches.
    ///
    /// ```
    /// use splatport::{Annotations, Image, Vulkan};
    ///
    /// let (photo, crop) = (Image::from_u8(16, 16, 1, [9; 256])?, Image::from_u8(8, 5, 1, [7; 40])?);
    /// let (points, none) = (Annotations::new(vec![[7.5, 7.5]])?, Annotations::new(vec![])?);
    /// let splats = splatport::recipe().fit_all(&Vulkan::best()?, &[(&photo, &points), (&crop, &none)])?;
    /// assert_eq!(splats.iter().map(|splat| splat.len()).collect::<Vec<_>>(), [1, 0]);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`fit`](SplatRecipe::fit).
    pub fn fit_all<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        images: &[(&Image, &Annotations)],
    ) -> Result<Vec<Splat<R, P>>> {
        fit_all(&self.options, device, images, &mut |_| false)
    }

    /// As [`fit_all`](SplatRecipe::fit_all), and calls `on_step` as [`on_step`](SplatRecipe::on_step) describes, with
    /// the mean loss over the images of one kind. Kinds are fitted one after the other, each from step 1.
    /// [`ControlFlow::Break`] stops all fits; kinds that have not begun yet stop after their first few steps.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    ///
    /// use splatport::{Annotations, Image, Vulkan, splat::End};
    ///
    /// let (photo, crop) = (Image::from_u8(16, 16, 1, [9; 256])?, Image::from_u8(8, 5, 1, [7; 40])?);
    /// let points = Annotations::new(vec![[3.5, 2.5]])?;
    /// let stop = |_| ControlFlow::Break(());
    /// let splats = splatport::recipe().fit_all_with(&Vulkan::best()?, &[(&photo, &points), (&crop, &points)], stop)?;
    /// assert!(splats.iter().all(|splat| splat.report().end == End::Asked));
    /// # Ok::<(), splatport::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`fit`](SplatRecipe::fit).
    pub fn fit_all_with<R: Runtime, P: Precision>(
        &self,
        device: &Device<R, P>,
        images: &[(&Image, &Annotations)],
        mut on_step: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Vec<Splat<R, P>>> {
        fit_all(&self.options, device, images, &mut |progress| on_step(progress).is_break())
    }

    pub(crate) fn bind<'a, R: Runtime, P: Precision>(
        &self,
        image: &'a Image,
        annotations: &'a Annotations,
    ) -> SplatRecipe<Inputs<'a, R, P>> {
        SplatRecipe { options: self.options, data: SplatRecipe::of(image, annotations).data }
    }
}

impl<'a, R: Runtime, P: Precision> SplatRecipe<Inputs<'a, R, P>> {
    pub(crate) fn of(image: &'a Image, annotations: &'a Annotations) -> Self {
        let data = Inputs { image, annotations, on_step: None, device: PhantomData };
        Self { options: Profile::default().splat(), data }
    }

    /// Calls `on_step` for every step, in order, but some steps late (losses are read from the device in batches).
    /// [`ControlFlow::Break`] stops the fit; it keeps what it has reached.
    pub fn on_step(mut self, on_step: impl FnMut(Progress) -> ControlFlow<()> + 'a) -> Self {
        self.data.on_step = Some(Box::new(on_step));
        self
    }

    /// Runs the fit.
    ///
    /// Having no annotations is not an error: the splat is then empty.
    ///
    /// # Errors
    /// [`Error::Option`] for an option out of range, [`Error::OutOfRange`] for an annotation farther than 2^24 px from
    /// the origin, [`Error::Device`] when the device has too little room or failed.
    pub fn fit(self, device: &Device<R, P>) -> Result<Splat<R, P>> {
        let Self { options, data: Inputs { image, annotations, mut on_step, .. } } = self;
        let mut tell = |progress: Progress| on_step.as_mut().is_some_and(|call| call(progress).is_break());
        let mut splats = fit_all(&options, device, &[(image, annotations)], &mut tell)?.into_iter();
        // One image in, one splat out.
        splats.next().ok_or(Error::Empty { what: "fit" })
    }
}

fn fit_all<R: Runtime, P: Precision>(
    options: &SplatOptions,
    device: &Device<R, P>,
    images: &[(&Image, &Annotations)],
    on_step: &mut dyn FnMut(Progress) -> bool,
) -> Result<Vec<Splat<R, P>>> {
    options.check::<P::Real>()?;
    for (image, annotations) in images {
        Grid::strided(image, 1).check_alone()?;
        check_reach(annotations.points().as_flattened())?;
        // Checked before anything of that size is made on the host.
        let gaussians = annotations.len().saturating_add(options.extra_gaussians.count(annotations.len()));
        let values = gaussians.saturating_mul(6 + usize::from(image.channels()));
        device.check_room::<P::Real>("Gaussians", values)?;
    }
    fit::fit(device, options, images, on_step)
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        impl<D> SplatRecipe<D> {
            $(
                $(#[$doc])*
                pub fn $name(mut self, $name: $type) -> Self {
                    self.options.$name = $name;
                    self
                }
            )*
        }
    };
}
setters! {
    /// What the Gaussians are drawn over. Default: [`BackgroundImage::Inpainted`].
    background_image: BackgroundImage;
    /// How a residual counts. Default: [`Reconstruction::Mse`].
    reconstruction: Reconstruction;
    /// What the error is averaged over. Default: [`ReconstructionNorm::AllPixels`].
    reconstruction_norm: ReconstructionNorm;
    /// Where scales start. Default: a sixth of the distance to the neighbors.
    initial_scale: InitialScale;
    /// Where colors start. Default: [`InitialColor::AtPoint`].
    initial_color: InitialColor;
    /// Adam's map to scales, and the least scale. Default: softplus with a least scale of 0.5 px.
    scale_map: ScaleMap;
    /// Adam's map to rotations. Default: [`RotationMap::Free`].
    rotation_map: RotationMap;
    /// Whether opacity is learned. Default: [`Opacity::Fixed`].
    opacity: Opacity;
    /// How Gaussians combine. Default: [`Compositing::Sum`].
    compositing: Compositing;
    /// Gaussians without an annotation. Default: none.
    extra_gaussians: ExtraGaussians;
    /// Deformity elimination. Default: 0.2 times the amount by which the worst aspect ratio exceeds 1.5.
    shape: Shape;
    /// Weak priors. Default: none.
    prior: Option<Prior>;
    /// What is done to the scales after the fit. Default: nothing.
    cleanup: Cleanup;
    /// The optimizer. Default: Gauss-Newton, at most 60 steps.
    solver: Solver;
    /// Squared Mahalanobis distance beyond which a Gaussian counts as zero. Default: `2 ln 255`.
    support: f64;
}

impl<D> SplatRecipe<D> {
    /// Replaces all options with those of a profile.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.options = profile.splat();
        self
    }

    /// Replaces all options.
    pub fn with_options(mut self, options: SplatOptions) -> Self {
        self.options = options;
        self
    }

    /// All options.
    pub fn options(&self) -> &SplatOptions {
        &self.options
    }
}
