//! What a device does for a batch of photos.

use anyhow::Result;
use splatport::{CsrTable, Device, GaussianTable, Grid, Kernel, Precision, Runtime, Splat, splat::Report};

use super::{manifest::Entry, prepare::Ready, record::Outcome, run::Plan};

/// Results on their way to the disk.
pub struct Done<'a> {
    pub entry: &'a Entry,
    pub gaussians: GaussianTable,
    pub kernel: Option<CsrTable>,
    pub outcome: Outcome,
}

/// Works on a batch together; if that fails, on each part of it alone, so that one does not spoil the others.
fn each<T, U>(batch: &[T], work: impl Fn(&[T]) -> splatport::Result<Vec<U>>) -> Vec<Result<U>> {
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
    let tables = gaussians.into_iter().zip(kernels(plan, device, fitted));
    let photos = fitted.iter().zip(tables);
    photos.map(|((photo, splat), (gaussians, kernel))| done(photo, splat.report(), gaussians?, kernel?)).collect()
}

/// The kernels, if there are to be any.
fn kernels<R: Runtime, P: Precision>(
    plan: &Plan,
    device: &Device<R, P>,
    fitted: &[(&Ready<'_>, Splat<R, P>)],
) -> Vec<Result<Option<CsrTable>>> {
    let Some(cells) = &plan.kernel else {
        return fitted.iter().map(|_| Ok(None)).collect();
    };
    let images: Vec<_> =
        fitted.iter().map(|(photo, splat)| (splat, Grid::strided(&photo.image, cells.stride))).collect();
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
    use super::*;

    #[test]
    fn a_bad_one_does_not_spoil_the_others() {
        let work = |batch: &[u32]| match batch.contains(&2) {
            true => Err(splatport::Error::Empty { what: "photo" }),
            false => Ok(batch.iter().map(|n| n + batch.len() as u32).collect()),
        };
        let told = |batch: &[u32]| -> Vec<_> {
            each(batch, work).into_iter().map(|result| result.map_err(|error| error.to_string())).collect()
        };
        assert_eq!(told(&[5, 7]), [Ok(7), Ok(9)], "together");
        assert_eq!(told(&[5, 2, 7]), [Ok(6), Err("photo is empty".to_owned()), Ok(8)], "alone");
        assert_eq!(told(&[]), []);
    }
}
