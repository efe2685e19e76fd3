//! What a device does for a batch of photos.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, bail};
use splatport::{CsrTable, Device, GaussianTable, Grid, Kernel, Precision, Runtime, Splat, splat::Report};

use super::{manifest::Entry, prepare::Ready, record::Outcome, run::Plan};
use crate::origin::Cells;

/// Results on their way to the disk.
pub struct Done<'a> {
    pub entry: &'a Entry,
    pub gaussians: GaussianTable,
    pub kernel: Option<CsrTable>,
    pub outcome: Outcome,
}

/// Works on a batch together; if that fails, on each part of it alone, so that one does not spoil the others. Work that
/// panics loses what it took and no more: it changes nothing but arrays of its own, which go with it, and the device
/// runs what is queued in order.
fn each<T, U>(batch: &[T], work: impl Fn(&[T]) -> splatport::Result<Vec<U>>) -> Vec<Result<U>> {
    let work = |part: &[T]| match catch_unwind(AssertUnwindSafe(|| work(part))) {
        Ok(results) => Ok(results?),
        Err(_) => bail!("its computation failed: standard error tells where"),
    };
    if let Ok(results) = work(batch) {
        return results.into_iter().map(Ok).collect();
    }
    batch.chunks(1).map(|alone| Ok(work(alone)?.remove(0))).collect()
}

/// Fits the photos of a batch.
pub fn fit<R: Runtime, P: Precision>(
    plan: &Plan,
    device: &Device<R, P>,
    batch: &[Ready<'_>],
) -> Vec<Result<Splat<R, P>>> {
    let pairs: Vec<_> = batch.iter().map(|photo| (&photo.image, &photo.points)).collect();
    each(&pairs, |pairs| plan.recipe.fit_all(device, pairs))
}

/// What is written of fitted photos: the kernels are built together, and everything is copied from the device together.
pub fn results<'a, R: Runtime, P: Precision>(
    plan: &Plan,
    device: &Device<R, P>,
    fitted: &[(&Ready<'a>, Splat<R, P>)],
) -> Vec<Result<Done<'a>>> {
    let splats: Vec<_> = fitted.iter().map(|(_, splat)| splat).collect();
    let gaussians = each(&splats, Splat::tables);
    let tables = gaussians.into_iter().zip(kernels(device, &splats, plan.kernel.as_ref()));
    let photos = fitted.iter().zip(tables);
    photos.map(|((photo, splat), (gaussians, kernel))| done(photo, splat.report(), gaussians?, kernel?)).collect()
}

/// The kernels, if there are to be any.
fn kernels<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    splats: &[&Splat<R, P>],
    cells: Option<&Cells>,
) -> Vec<Result<Option<CsrTable>>> {
    let Some(cells) = cells else {
        return splats.iter().map(|_| Ok(None)).collect();
    };
    let grid = |[width, height]: [u32; 2]| Grid::over(width, height, cells.stride);
    let images: Vec<_> = splats.iter().map(|&splat| (splat, grid(splat.size()))).collect();
    let tables = each(&images, |images| Kernel::of_all(device, images, cells.options)?.tables());
    tables.into_iter().map(|table| table.map(Some)).collect()
}

/// Tables that say what they were made from.
fn done<'a>(
    photo: &Ready<'a>,
    fit: &Report,
    mut gaussians: GaussianTable,
    mut kernel: Option<CsrTable>,
) -> Result<Done<'a>> {
    if let Some(kernel) = &mut kernel {
        kernel.origin = photo.origin.text()?;
    }
    gaussians.origin = photo.origin.clone().of_gaussians(fit).text()?;
    let outcome =
        Outcome::Written { steps: fit.steps, loss: fit.loss(), outside: fit.outside, duplicates: fit.duplicates };
    Ok(Done { entry: photo.entry, gaussians, kernel, outcome })
}

#[cfg(test)]
mod tests {
    use splatport::{Annotations, Profile, Wgpu};

    use super::*;

    #[test]
    fn a_bad_one_does_not_spoil_the_others() {
        let work = |batch: &[u32]| match batch.contains(&2) {
            true => Err(splatport::Error::Empty { what: "photo" }),
            false if batch.contains(&3) => panic!("a panic of the test"),
            false => Ok(batch.iter().map(|n| n + batch.len() as u32).collect()),
        };
        let told = |batch: &[u32]| -> Vec<_> {
            each(batch, work).into_iter().map(|result| result.map_err(|error| error.to_string())).collect()
        };
        assert_eq!(told(&[5, 7]), [Ok(7), Ok(9)], "together");
        assert_eq!(told(&[5, 2, 7]), [Ok(6), Err("photo is empty".to_owned()), Ok(8)], "alone");
        let failed = Err("its computation failed: standard error tells where".to_owned());
        assert_eq!(told(&[5, 3, 7]), [Ok(6), failed, Ok(8)], "a panic");
        assert_eq!(told(&[]), []);
    }

    #[test]
    fn a_kernel_that_cannot_be_does_not_spoil_the_others() {
        let device = Wgpu::best().expect("a device");
        let points = Annotations::new(vec![[9.5, 8.0], [20.0, 12.5]]).expect("points");
        let splat = |size| Splat::round(&device, &points, size, 4.0).expect("a splat");
        // The second has more cells than 32 bits count.
        let splats = [splat([32, 24]), splat([1 << 16, 1 << 16]), splat([24, 40])];
        let cells = Cells { stride: 1, options: Profile::Recommended.kernel() };
        let told = |splats: &[&Splat<_>]| -> Vec<_> {
            let kernels = kernels(&device, splats, Some(&cells)).into_iter();
            kernels.map(|kernel| kernel.map_err(|error| error.to_string())).collect()
        };
        let [first, _, third] = &splats;
        let good = told(&[first, third]);
        let [one, other] = &good[..] else { panic!("{good:?}") };
        let batch = told(&splats.each_ref());
        assert!(one.is_ok() && other.is_ok(), "{good:?}");
        assert_eq!((&batch[0], &batch[2]), (one, other));
        assert!(batch[1].as_ref().is_err_and(|error| error.starts_with("grid")), "{:?}", batch[1]);
    }
}
