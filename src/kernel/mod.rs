//! Stage two: the transport kernel, a sparse matrix from cells to annotations and background.

mod certificate;
mod options;
mod origin;
mod owners;
mod recipe;
mod stored;
pub(crate) mod table;

use splatport_kernels::{
    Buffer, Device, Precision, Single,
    correspondence::{Correspondence, Room},
    cubecl::Runtime,
    gaussian::Frames,
    ownership, transport,
};

pub use certificate::Certificate;
pub use options::*;
pub(crate) use origin::{Origin, parts};
pub use owners::Owners;
pub use recipe::{KernelRecipe, OnRecipe, OnSplat};

use crate::{Error, Grid, Loss, Profile, Result, Splat, error::check_array};

/// The transport kernel `K` of one image, or of many (paper, Eq. 5), on a device.
///
/// `K_in` is the share of cell `i` that belongs to annotation `n`. Rows are the cells of a [`Grid`], columns the
/// annotations in their order and **the background last**; every row sums to 1. The matrix is sparse and stored in both
/// orders: by cell for the gradient, by annotation for the sums. A [certificate](Kernel::certificate) bounds what was
/// not stored.
///
/// In a kernel of many images ([`Kernel::of_all`]), rows and columns follow one another: all cells of the first image,
/// then those of the second; the first image's annotations and its background, then the second's.
///
/// [`Splat::kernel`] makes one from a splat, [`Kernel::from_table`] from a stored kernel. Cloning shares the memory.
///
/// ```
/// use splatport::{Annotations, Grid, Splat, Vulkan};
///
/// let device = Vulkan::best()?;
/// let points = Annotations::new(vec![[10.0, 12.0], [22.5, 20.5]])?;
/// let kernel = Splat::round(&device, &points, [32, 32], 4.0)?.kernel(Grid::over(32, 32, 4)).build()?;
///
/// // All of a density's mass arrives somewhere: at an annotation or, last, at the background.
/// let mass = kernel.push_forward(&device.upload(&vec![0.5f32; kernel.cells()]))?.read_f64()?;
/// assert_eq!(mass.len(), 3);
/// assert!((mass.iter().sum::<f64>() - 32.0).abs() < 1e-4);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Kernel<R: Runtime, P: Precision = Single> {
    pub(crate) device: Device<R, P>,
    pub(crate) entries: Correspondence<R, P>,
    /// One for each annotation; `None` for a kernel from a table.
    pub(crate) frames: Option<Frames<R, P::Real>>,
    /// `None` for a kernel from a table.
    pub(crate) origin: Option<Origin<R, P>>,
    /// Annotations and cells of every image.
    parts: Vec<(usize, Grid)>,
    tau: f64,
    /// Upper bound on how much storage changed any one weight.
    storage: f64,
    profile: Profile,
    /// `None` for a kernel from a table.
    options: Option<KernelOptions>,
    room: Room,
}

impl<R: Runtime, P: Precision> Kernel<R, P> {
    /// Builds the kernels of many images together. Launches are shared, except one for every eight images, which packs
    /// their Gaussians (or all that [`Splat::through_all`] made together, without shares). Each kernel is bit-identical to
    /// the kernel of its image alone.
    ///
    /// # Errors
    /// [`Error::Empty`] for no image, [`Error::OtherDevice`] for a splat on another device; otherwise as
    /// [`KernelRecipe::build`].
    pub fn of_all(device: &Device<R, P>, images: &[(&Splat<R, P>, Grid)], options: KernelOptions) -> Result<Self> {
        recipe::build(device, images, options, Room::default())
    }

    /// Rebuilds the kernel for other splats or grids (such as the next batch's crops), with the same options. Knowing
    /// the size of the last kernel saves a second pass, unless the new one needs over a quarter more. One read-back
    /// returns the sizes and the dropped mass. The device's allocator reuses the memory of the last kernel.
    ///
    /// # Errors
    /// As [`Kernel::of_all`], and [`Error::Missing`] for a kernel from a table, whose options are not known. After an
    /// error the kernel is unchanged.
    pub fn rebuild(&mut self, images: &[(&Splat<R, P>, Grid)]) -> Result<()> {
        let what = "a stored kernel's record of its options";
        let options =
            self.options.ok_or(Error::Missing { what, remedy: "build the next one with `Kernel::of_all`" })?;
        *self = recipe::build(&self.device, images, options, self.room)?;
        Ok(())
    }

    /// Number of annotations over all images: the columns without the backgrounds.
    pub fn annotations(&self) -> usize {
        self.parts.iter().map(|(annotations, _)| annotations).sum()
    }

    /// Number of cells over all images: the length of a density.
    pub fn cells(&self) -> usize {
        self.parts.iter().map(|(_, grid)| grid.len()).sum()
    }

    /// The cells. With many images, those of the first one; [`parts`](Self::parts) has all.
    pub fn grid(&self) -> Grid {
        self.parts[0].1
    }

    /// Number of annotations and cells of every image.
    pub fn parts(&self) -> &[(usize, Grid)] {
        &self.parts
    }

    /// The options it was built with. `None` for a kernel from a table, because a table stores only
    /// [`tau`](Certificate::tau) and the [profile](Kernel::profile).
    pub fn options(&self) -> Option<&KernelOptions> {
        self.options.as_ref()
    }

    /// Number of columns: for each image, its annotations and, last, its background.
    pub fn columns(&self) -> usize {
        self.annotations() + self.parts.len()
    }

    /// The device that holds the kernel.
    pub fn device(&self) -> &Device<R, P> {
        &self.device
    }

    /// The matrix on the device, for functions of your own.
    pub fn entries(&self) -> &Correspondence<R, P> {
        &self.entries
    }

    /// `K' z`: the mass of `density` (`[cells]`) that each column gets, `[columns]`.
    ///
    /// # Errors
    /// [`Error::Length`] unless `density` has one value per cell, [`Error::OtherDevice`] if it is on another device,
    /// [`Error::Device`].
    pub fn push_forward(&self, density: &Buffer<R, P::Real>) -> Result<Buffer<R, P::Real>> {
        self.check_density(density)?;
        Ok(transport::push_forward(&self.device, &self.entries, density)?)
    }

    /// `K v`: values on the columns (`[columns]`) carried back to the cells, `[cells]`.
    ///
    /// # Errors
    /// [`Error::Length`] unless `values` has one value per column, [`Error::OtherDevice`] if it is on another device,
    /// [`Error::Device`].
    pub fn pull_back(&self, values: &Buffer<R, P::Real>) -> Result<Buffer<R, P::Real>> {
        check_array("array of values", &self.device, self.columns(), values)?;
        Ok(transport::pull_back(&self.device, &self.entries, values)?)
    }

    /// Rejects a density of the wrong length or on another device.
    pub(crate) fn check_density(&self, density: &Buffer<R, P::Real>) -> Result<()> {
        check_array("density", &self.device, self.cells(), density)
    }

    /// Which column owns each cell. Ties go to the background, then to the lowest index. Annotations are numbered over
    /// all images: the second image's follow the first's.
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    pub fn owners(&self) -> Result<Owners> {
        let found = ownership::ownership(&self.device, &self.entries);
        let owner = found.owner.read()?.into_iter().map(|n| (n != u32::MAX).then_some(n)).collect();
        Ok(Owners { owner, weight: found.weight.read_f64()? })
    }

    /// The profile its options came from.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// The training loss `sum_n |(K' z)_n - t_n|`, with a target of one unit of mass for every annotation and none for
    /// the background (paper, Eq. 6).
    pub fn loss(self) -> Loss<R, P> {
        Loss::new(self)
    }
}
