//! Stage one: Gaussians bound to the annotations, fitted to the photo.

mod backdrop;
mod crop;
mod fit;
mod initial;
pub(crate) mod mixture;
mod neighbours;
mod options;
mod recipe;
mod report;
mod table;

use std::sync::OnceLock;

use splatport_kernels::{
    Device, Gaussians, Precision, Single,
    cubecl::Runtime,
    gaussian::{self, Framing},
    nearest::{self, Nearest},
};

pub use crop::{Crop, CropTarget};
pub use mixture::Share;
pub(crate) use neighbours::means as neighbour_means;
pub use options::*;
pub use recipe::{Inputs, SplatRecipe, Unbound};
pub use report::{End, Progress, Report};

use self::backdrop::Backdrop;
use crate::{
    Annotations, Error, Grid, Image, Profile, Result,
    error::check_length,
    io::GaussianTable,
    kernel::{KernelRecipe, OnSplat},
};

/// The Gaussians of one image, on a device: first one bound to each annotation, in the annotations' order, then the
/// free ones.
///
/// [`Splat::of`] fits one to a photo; [`Splat::round`] and [`Splat::from_table`] make one from known scales.
#[derive(Debug, Clone)]
pub struct Splat<R: Runtime, P: Precision = Single> {
    device: Device<R, P>,
    gaussians: Gaussians<R, P::Real>,
    /// Annotations, px: the first Gaussians are bound to them.
    points: Vec<[f64; 2]>,
    /// Mean distance of each annotation to its neighbors, px. Targets of crops are made from it. Computed on first use.
    neighbours: OnceLock<Vec<f64>>,
    /// Empty unless the splat is a mixture.
    shares: Vec<Share>,
    size: [u32; 2],
    profile: Profile,
    report: Report,
    /// What the Gaussians are drawn over.
    backdrop: Option<Backdrop>,
    /// Support and compositing.
    drawing: (f64, Compositing),
}

impl<R: Runtime, P: Precision> Splat<R, P> {
    /// Starts a fit of `image` with one Gaussian bound to each of `annotations`.
    ///
    /// Options are setters of the returned recipe; [`SplatRecipe::fit`] runs it.
    ///
    /// ```
    /// use splatport::{Annotations, Image, Splat, Vulkan};
    ///
    /// // A white 3x3 square on black, annotated at its center.
    /// let mut pixels = vec![0u8; 16 * 16];
    /// for row in 6..9 {
    ///     pixels[row * 16 + 6..row * 16 + 9].fill(255);
    /// }
    /// let image = Image::from_u8(16, 16, 1, pixels)?;
    /// let points = Annotations::new(vec![[7.5, 7.5]])?;
    ///
    /// let splat = Splat::of(&image, &points).fit(&Vulkan::best()?)?;
    /// let fitted = splat.table()?;
    /// assert_eq!(fitted.means, [[7.5, 7.5]]);
    /// assert!(fitted.scales[0][0] > 0.5 && fitted.scales[0][0] < 3.0);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    pub fn of<'a>(image: &'a Image, annotations: &'a Annotations) -> SplatRecipe<Inputs<'a, R, P>> {
        SplatRecipe::of(image, annotations)
    }

    /// Makes round Gaussians of one scale (px) at the annotations, without a photo. The heuristic plan of the paper's
    /// Table 4 has `scale = 8`.
    ///
    /// # Errors
    /// [`Error::Option`] when `scale` is not within 2^-20..=2^24 px, [`Error::OutOfRange`] for an annotation farther
    /// than 2^24 px from the origin, [`Error::Device`] when the device has no room for so many.
    pub fn round(device: &Device<R, P>, annotations: &Annotations, size: [u32; 2], scale: f64) -> Result<Self> {
        check_scale("scale", scale)?;
        Self::upright(device, annotations, size, &vec![[scale; 2]; annotations.len()])
    }

    /// Gaussians at the annotations, with scales along x and y that were already checked.
    pub(crate) fn upright(
        device: &Device<R, P>,
        annotations: &Annotations,
        size: [u32; 2],
        scales: &[[f64; 2]],
    ) -> Result<Self> {
        check_reach(annotations.points().as_flattened())?;
        let pairs = annotations.points().iter().zip(scales);
        let rows = pairs.flat_map(|(&[x, y], &[across, down])| [x, y, across, down, 0.0, 1.0, 1.0]);
        Self::known(device, rows.collect(), 1, size, Profile::Recommended)
    }

    /// Takes Gaussians that were made elsewhere or read from a file. All but the last [`free`](GaussianTable::free) are
    /// bound to annotations, in their order. Tolerances and certificates are derived for aspect ratios of up to 50;
    /// longer needles are taken as they are.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::NotFinite`] or [`Error::OutOfRange`] naming the row: coordinates may be up to 2^24
    /// px, scales at least 2^-20 px, opacities from 0 to 1, rotations and colors within the range of `f32`.
    /// [`Error::Unknown`] for an unknown profile; a table that names none gets the recommended one. [`Error::Device`]
    /// when the device has no room for so many.
    pub fn from_table(device: &Device<R, P>, table: &GaussianTable) -> Result<Self> {
        let profile = table.profile_of_splat()?;
        let channels = usize::from(table.channels);
        let mut rows = Vec::with_capacity(table.means.len() * (6 + channels));
        for (n, (mean, scales)) in table.means.iter().zip(&table.scales).enumerate() {
            let fixed = [mean[0], mean[1], scales[0], scales[1], table.rotations[n], table.opacities[n]];
            rows.extend(fixed.iter().chain(&table.colors[n * channels..(n + 1) * channels]));
        }
        let mut splat = Self::known(device, rows, channels as u32, [table.width, table.height], profile)?;
        splat.points.truncate(table.means.len() - table.free as usize);
        if table.shares.is_empty() { Ok(splat) } else { splat.mixed(table.shares.clone()) }
    }

    fn known(device: &Device<R, P>, rows: Vec<f64>, channels: u32, size: [u32; 2], profile: Profile) -> Result<Self> {
        let gaussians = Gaussians { parameters: device.try_upload_f64("Gaussians", &rows)?, channels };
        Ok(Self {
            device: device.clone(),
            points: rows.chunks_exact(6 + channels as usize).map(|row| [row[0], row[1]]).collect(),
            gaussians,
            neighbours: OnceLock::new(),
            shares: Vec::new(),
            size,
            profile,
            report: Report::default(),
            backdrop: None,
            drawing: (profile.splat().support, Compositing::Sum),
        })
    }

    /// Number of Gaussians, free ones included.
    pub fn len(&self) -> usize {
        self.gaussians.len()
    }

    /// Whether there is no Gaussian.
    pub fn is_empty(&self) -> bool {
        self.gaussians.is_empty()
    }

    /// Number of annotations. The first Gaussians are bound to them, in order.
    pub fn annotations(&self) -> usize {
        self.points.len()
    }

    /// Width and height of the image, px.
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// What the fit did.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The profile that the fit's options came from.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// The device that holds the Gaussians.
    pub fn device(&self) -> &Device<R, P> {
        &self.device
    }

    /// The parameters on the device, for functions of your own.
    pub fn gaussians(&self) -> &Gaussians<R, P::Real> {
        &self.gaussians
    }

    /// Reattaches the photo, so that a splat from a table can be rendered by [`reconstruction`](Self::reconstruction).
    /// The backdrop is made from the photo again, following `options`, which should be those of the fit.
    ///
    /// # Errors
    /// [`Error::Length`] when the photo's size or number of channels differs from the splat's, [`Error::Option`] for an
    /// option out of its range.
    pub fn over(mut self, photo: &Image, options: &SplatOptions) -> Result<Self> {
        let pairs = [
            ("columns of the photo", self.size[0], photo.width()),
            ("rows of the photo", self.size[1], photo.height()),
            ("channels of the photo", self.gaussians.channels, photo.channels().into()),
        ];
        pairs.into_iter().try_for_each(|(what, own, its)| check_length(what, own as usize, its as usize))?;
        options.check::<P::Real>()?;
        self.backdrop = Some(Backdrop::of(photo, &Annotations::new(self.points.clone())?, options));
        self.drawing = (options.support, options.compositing);
        Ok(self)
    }

    /// Draws the Gaussians over the backdrop that they were fitted over: `[height, width, channels]`.
    ///
    /// # Errors
    /// [`Error::Missing`] when the splat was not fitted to a photo and not given one ([`over`](Self::over));
    /// [`Error::Device`].
    pub fn reconstruction(&self) -> Result<Vec<f32>> {
        let Some(backdrop) = &self.backdrop else {
            let what = "the photo of a splat that was not fitted";
            return Err(Error::Missing { what, remedy: "`Splat::over` gives it one" });
        };
        let values = self.size.map(|side| side as usize).iter().product::<usize>() * self.gaussians.channels as usize;
        let levels: Vec<f64> = (0..values).map(|at| backdrop.at(at).into()).collect();
        let base = self.device.try_upload_f64("reconstruction", &levels)?;
        let image = fit::draw(&self.device, &self.gaussians, &base, self.size, self.drawing)?;
        Ok(image.read_f64()?.into_iter().map(|v| v as f32).collect())
    }

    /// The `count` Gaussians nearest to every cell by Mahalanobis distance, free ones included, nearest first. Ties go
    /// to the lowest index.
    ///
    /// # Errors
    /// [`Error::Option`] for an invalid grid, [`Error::Device`] when `count` is not within 1..=32, the device has no
    /// room for so many neighbors, or it failed.
    pub fn nearest(&self, grid: Grid, count: u32) -> Result<Nearest<R, P::Real>> {
        grid.check_alone()?;
        let frames = gaussian::frames(&self.device, &self.gaussians, self.len(), Framing::default())?;
        Ok(nearest::nearest(&self.device, &frames, grid.cells(), count)?)
    }

    /// Starts a transport kernel from the cells of `grid` to the annotations.
    ///
    /// Options are setters of the returned recipe; [`KernelRecipe::build`] runs it.
    pub fn kernel(&self, grid: Grid) -> KernelRecipe<OnSplat<'_, R, P>> {
        KernelRecipe::on(self, grid, self.profile.kernel())
    }
}

/// Farthest coordinate, px: beyond it `f32` cannot tell two pixels apart, and squared distances leave its range.
pub(crate) const REACH: f64 = 16_777_216.0;

/// Least scale of known Gaussians, px. Together with [`REACH`] it keeps every squared Mahalanobis distance finite in
/// `f32`.
const LEAST_SCALE: f64 = 1.0 / 1_048_576.0;

/// The reason given for a scale outside this range.
const SCALE_RANGE: &str = "must lie between 2^-20 and 2^24 px";

/// Rejects a scale that known Gaussians cannot have.
pub(crate) fn check_scale(name: &'static str, value: f64) -> Result<()> {
    if (LEAST_SCALE..=REACH).contains(&value) { Ok(()) } else { Err(Error::Option { name, value, why: SCALE_RANGE }) }
}

/// Rejects coordinates (two per point) that are too far away.
pub(crate) fn check_reach<T: Copy + Into<f64>>(coordinates: &[T]) -> Result<()> {
    match coordinates.iter().position(|&v| v.into().abs() > REACH) {
        None => Ok(()),
        Some(at) => {
            let what = ["x", "y"][at % 2];
            Err(Error::OutOfRange { what, index: at / 2, value: coordinates[at].into(), min: -REACH, max: REACH })
        }
    }
}
