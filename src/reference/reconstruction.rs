//! The distance between a render and the photo, and its gradient with respect to every pixel.
//!
//! ```
//! use splatport::reference::reconstruction::{self, Reconstruction};
//!
//! let (rendered, photo) = ([0.5_f64, 1.0], [0.0, 1.0]);
//! let norm = reconstruction::reconstruction_norm(2, 1, None);
//! assert_eq!(reconstruction::reconstruction_loss(&rendered, &photo, Reconstruction::Mse, norm), 0.125);
//! assert_eq!(reconstruction::pixel_gradient(&rendered, &photo, Reconstruction::L1, norm), [0.5, 0.0]);
//! ```

use super::{Scalar, count, real, sign};

/// Which distance of render and photo a fit minimizes (paper, below Eq. 10; the authors' code uses L1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconstruction {
    /// Sum of squared errors over the norm.
    Mse,
    /// Sum of absolute errors over the norm.
    L1,
}

/// The norm of a reconstruction loss: `channels` times the pixels, or times the foreground pixels if a mask is given.
///
/// The foreground norm is that of the authors' code (its mean times pixels / foreground pixels, `ReconstructionNorm`):
/// errors are still summed over all pixels, so spill outside the mask is penalized too. A mask without foreground
/// counts as one pixel.
///
/// # Panics
/// If the mask does not have `pixels` entries.
pub fn reconstruction_norm<T: Scalar>(pixels: usize, channels: usize, foreground: Option<&[bool]>) -> T {
    let kept = foreground.map_or(pixels, |mask| {
        assert_eq!(mask.len(), pixels, "length of foreground");
        mask.iter().filter(|&&inside| inside).count()
    });
    count(kept.max(1) * channels)
}

/// Reconstruction loss sum |rendered - target|^p / `norm`, p = 2 (`Mse`) or 1 (`L1`) (paper, below Eq. 10).
///
/// # Panics
/// If the lengths differ.
pub fn reconstruction_loss<T: Scalar>(rendered: &[T], target: &[T], kind: Reconstruction, norm: T) -> T {
    assert_eq!(rendered.len(), target.len(), "length of target");
    let errors = rendered.iter().zip(target).map(|(&r, &t)| r - t);
    let sum: T = match kind {
        Reconstruction::Mse => errors.map(|e| e * e).sum(),
        Reconstruction::L1 => errors.map(T::abs).sum(),
    };
    sum / norm
}

/// Derivative of [`reconstruction_loss`] with respect to every entry of `rendered`: 2e/norm (`Mse`), sgn(e)/norm (`L1`,
/// sgn 0 = 0).
///
/// # Panics
/// If the lengths differ.
pub fn pixel_gradient<T: Scalar>(rendered: &[T], target: &[T], kind: Reconstruction, norm: T) -> Vec<T> {
    assert_eq!(rendered.len(), target.len(), "length of target");
    let slope = |error: T| match kind {
        Reconstruction::Mse => real::<T>(2.0) * error,
        Reconstruction::L1 => sign(error),
    };
    rendered.iter().zip(target).map(|(&r, &t)| slope(r - t) / norm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_by_hand() {
        let (rendered, target) = ([1.0, 0.0, 0.5, 0.5], [0.0, 0.0, 1.0, 0.5]);
        let [all, fore] = [None, Some(&[true, false, false, false][..])].map(|m| reconstruction_norm(4, 1, m));
        assert_eq!((all, fore, reconstruction_norm::<f64>(4, 3, Some(&[false; 4]))), (4.0, 1.0, 3.0));
        assert_eq!(reconstruction_loss(&rendered, &target, Reconstruction::Mse, all), 0.3125);
        assert_eq!(reconstruction_loss(&rendered, &target, Reconstruction::L1, fore), 1.5);
        assert_eq!(pixel_gradient(&rendered, &target, Reconstruction::Mse, all), [0.5, 0.0, -0.25, 0.0]);
        assert_eq!(pixel_gradient(&rendered, &target, Reconstruction::L1, all), [0.25, 0.0, -0.25, 0.0]);
    }
}
