//! Annotations that consist of several Gaussians.

use splatport_kernels::{
    Device, Precision,
    cubecl::Runtime,
    mixture::{Component, Mixed, Mixture},
};

use super::Splat;
use crate::{Error, Result, error::check_length};

/// The share `P(G|y)` of one Gaussian in one annotation (paper, Eq. 7).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Index of the annotation, from 0.
    pub annotation: u32,
    /// Index of the Gaussian, from 0, free ones included. It may have a share of several annotations.
    pub gaussian: u32,
    /// The share, above 0. An annotation's shares are divided by their sum.
    pub weight: f32,
}

impl<R: Runtime, P: Precision> Splat<R, P> {
    /// Makes every annotation a mixture of Gaussians: the density of annotation `n` becomes `sum_m P(G_m|y_n) P(x|G_m)`
    /// (paper, Eq. 7). Without this, a splat has one Gaussian for each annotation.
    ///
    /// Shares are kept in the order of their annotations, then of their Gaussians. With
    /// [`Loss::evaluate_plan`](crate::Loss::evaluate_plan) they can be learned.
    ///
    /// ```
    /// use splatport::{Annotations, Grid, Splat, Vulkan, splat::Share};
    ///
    /// // Two annotations, of which the second is a head and a body.
    /// let points = Annotations::new(vec![[10.0, 12.0], [40.0, 12.0], [40.0, 24.0]])?;
    /// let device = Vulkan::best()?;
    /// let mut table = Splat::round(&device, &points, [64, 32], 4.0)?.table()?;
    /// table.free = 1;
    /// let share = |annotation, gaussian, weight| Share { annotation, gaussian, weight };
    /// let splat = Splat::from_table(&device, &table)?.mixed(vec![share(0, 0, 1.0), share(1, 1, 0.3), share(1, 2, 0.7)])?;
    ///
    /// let owners = splat.kernel(Grid::over(64, 32, 4)).build()?.owners()?;
    /// assert_eq!(owners.owner[6 * 16 + 10], Some(1)); // the body's cell
    /// # Ok::<(), splatport::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfRange`] naming the share whose annotation or Gaussian does not exist, or whose weight is not
    /// positive and finite; [`Error::Length`] when an annotation has no share.
    pub fn mixed(mut self, mut shares: Vec<Share>) -> Result<Self> {
        check(&shares, self.annotations(), self.len())?;
        check_complete(&shares, self.annotations())?;
        shares.sort_by_key(|share| (share.annotation, share.gaussian));
        self.shares = shares;
        Ok(self)
    }

    /// Shares of a [mixture](Splat::mixed). Empty if every annotation has its own Gaussian.
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// One component for every share or, without shares, for every annotation.
    fn components(&self) -> Vec<Component> {
        if self.shares.is_empty() {
            return (0..self.annotations() as u32).map(Component::alone).collect();
        }
        let mut sums = vec![0.0; self.annotations()];
        self.shares.iter().for_each(|share| sums[share.annotation as usize] += f64::from(share.weight));
        let component = |&Share { annotation, gaussian, weight }: &Share| {
            let log_weight = (f64::from(weight) / sums[annotation as usize]).ln();
            Component { annotation, gaussian, log_weight }
        };
        self.shares.iter().map(component).collect()
    }
}

/// Rejects shares of annotations or Gaussians that do not exist, and invalid weights.
pub(crate) fn check(shares: &[Share], annotations: usize, gaussians: usize) -> Result<()> {
    let out = |what, index, value, max| Err(Error::OutOfRange { what, index, value, min: 0.0, max });
    for (index, share) in shares.iter().enumerate() {
        if share.annotation as usize >= annotations {
            return out("annotation of share", index, share.annotation.into(), annotations as f64 - 1.0);
        }
        if share.gaussian as usize >= gaussians {
            return out("gaussian of share", index, share.gaussian.into(), gaussians as f64 - 1.0);
        }
        if !(share.weight > 0.0 && share.weight.is_finite()) {
            let (value, min, max) = (share.weight.into(), f32::MIN_POSITIVE.into(), f32::MAX.into());
            return Err(Error::OutOfRange { what: "weight of share", index, value, min, max });
        }
    }
    Ok(())
}

/// Rejects shares, already checked by [`check`], that leave an annotation without one.
pub(super) fn check_complete(shares: &[Share], annotations: usize) -> Result<()> {
    let mut shared: Vec<u32> = shares.iter().map(|share| share.annotation).collect();
    shared.sort_unstable();
    shared.dedup();
    check_length("annotations with a share", annotations, shared.len())
}

/// The components of a batch.
pub(crate) fn mixture<R: Runtime, P: Precision>(
    device: &Device<R, P>,
    splats: &[&Splat<R, P>],
) -> Result<Mixture<R, P::Real>> {
    let components: Vec<Vec<Component>> = splats.iter().map(|splat| splat.components()).collect();
    let images: Vec<Mixed<'_>> = splats
        .iter()
        .zip(&components)
        .map(|(splat, components)| Mixed { annotations: splat.annotations(), gaussians: splat.len(), components })
        .collect();
    Ok(Mixture::new(device, &images)?)
}
