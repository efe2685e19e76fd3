//! Annotations whose density is a mixture of Gaussians: `P(x|y_n) = sum_m P(x|G_m) P(G_m|y_n)` (paper, Eq. 7).
//!
//! Every pair of an annotation and one of its Gaussians is a component: a Gaussian with `ln P(G_m|y_n)` in its log
//! normaliser. Rows are made over components as they are over Gaussians, then their columns are renamed after annotations.

use cubecl::prelude::*;

use crate::{
    Error, Result,
    buffer::Buffer,
    device::Device,
    real::{Precision, Real},
};

/// One Gaussian of one annotation, both numbered within their image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Component {
    /// The annotation.
    pub annotation: u32,
    /// The Gaussian; it may belong to several annotations.
    pub gaussian: u32,
    /// `ln P(G|y)`.
    pub log_weight: f64,
}

impl Component {
    /// What a mixture of one Gaussian each has for annotation `n`.
    pub fn alone(n: u32) -> Self {
        Self { annotation: n, gaussian: n, log_weight: 0.0 }
    }
}

/// What [`Mixture::new`] takes of one image.
#[derive(Debug, Clone, Copy)]
pub struct Mixed<'a> {
    /// Number of annotations.
    pub annotations: usize,
    /// Number of Gaussians.
    pub gaussians: usize,
    /// Ascending by annotation.
    pub components: &'a [Component],
}

/// The components of a batch of images, in device memory. Annotations and Gaussians are numbered through the batch, except where
/// said otherwise.
#[derive(Debug, Clone)]
pub struct Mixture<R: Runtime, F: Real> {
    /// Components of each image.
    counts: Vec<usize>,
    /// Gaussian of every component, numbered within its image.
    pub(crate) gaussians: Buffer<R, u32>,
    pub(crate) log_weights: Buffer<R, F>,
    pub(crate) annotations: Buffer<R, u32>,
    /// Components of annotation `n`: `starts[n] .. starts[n + 1]`.
    pub(crate) starts: Buffer<R, u32>,
    /// Components of Gaussian `m`: `of_gaussians[gaussian_starts[m] .. gaussian_starts[m + 1]]`.
    pub(crate) gaussian_starts: Buffer<R, u32>,
    pub(crate) of_gaussians: Buffer<R, u32>,
}

impl<R: Runtime, F: Real> Mixture<R, F> {
    /// The components of many images.
    ///
    /// # Errors
    /// [`Error::Count`] for an annotation or a Gaussian that the image does not have, for annotations that do not ascend, and
    /// for a Gaussian in more components than the device can go through; [`Error::NoRoom`].
    pub fn new<P: Precision<Real = F>>(device: &Device<R, P>, images: &[Mixed<'_>]) -> Result<Self> {
        let (mut rows, mut log_weights) = (Vec::new(), Vec::new());
        let (mut annotations, mut starts) = (Vec::new(), vec![0; 1]);
        let mut of_gaussians = Vec::new();
        for image in images {
            check(image)?;
            let (first_annotation, first_gaussian) = (starts.len() - 1, of_gaussians.len());
            of_gaussians.resize(first_gaussian + image.gaussians, Vec::new());
            for component in image.components {
                let number = rows.len() as u32;
                of_gaussians[first_gaussian + component.gaussian as usize].push(number);
                annotations.push(first_annotation as u32 + component.annotation);
                rows.push(component.gaussian);
                log_weights.push(component.log_weight);
            }
            starts.resize(first_annotation + image.annotations + 1, rows.len() as u32);
            for n in 0..image.annotations {
                let before = image.components.partition_point(|component| (component.annotation as usize) < n);
                starts[first_annotation + n] = (rows.len() - image.components.len() + before) as u32;
            }
        }
        let most = of_gaussians.iter().map(Vec::len).max().unwrap_or(0);
        device.check_rounds("annotations of one Gaussian", most as u32)?;
        let most = starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        device.check_rounds("Gaussians of one annotation", most)?;
        let mut gaussian_starts = vec![0];
        for components in &of_gaussians {
            gaussian_starts.push(gaussian_starts.last().copied().unwrap_or(0) + components.len() as u32);
        }
        Ok(Self {
            counts: images.iter().map(|image| image.components.len()).collect(),
            gaussians: device.try_upload("components", &rows)?,
            log_weights: device.try_upload_f64("components", &log_weights)?,
            annotations: device.try_upload("components", &annotations)?,
            starts: device.try_upload("annotations", &starts)?,
            gaussian_starts: device.try_upload("Gaussians", &gaussian_starts)?,
            of_gaussians: device.try_upload("components", &of_gaussians.concat())?,
        })
    }

    /// Number of components of each image.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// Number of components.
    pub fn len(&self) -> usize {
        self.gaussians.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.gaussians.is_empty()
    }
}

/// Rejects components of what the image does not have.
fn check(image: &Mixed<'_>) -> Result<()> {
    let mut least = 0;
    for component in image.components {
        let within = |what, value, min, count: usize| match (value >= min) && (value as usize) < count {
            true => Ok(()),
            false => Err(Error::Count { what, value, min, max: (count as u32).saturating_sub(1) }),
        };
        within("annotation of a component", component.annotation, least, image.annotations)?;
        within("gaussian of a component", component.gaussian, 0, image.gaussians)?;
        least = component.annotation;
    }
    Ok(())
}
