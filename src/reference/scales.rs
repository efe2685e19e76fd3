//! The treatment of fitted scales before a kernel is built: clean-up, clip, and the floor with which every cell is
//! covered.
//!
//! ```
//! use splatport::reference::gaussian::Gaussian;
//! use splatport::reference::scales::{self, ScaleClip};
//!
//! let needle = Gaussian { scales: [1.0, 40.0], ..Gaussian::<f64>::round([0.0, 0.0], 1.0) };
//! assert_eq!(scales::clip(&[needle], ScaleClip::Range { min: 8.0, max: 20.0 })[0].scales, [8.0, 20.0]);
//! assert_eq!(scales::shrink_to_short(&[needle], 1.5)[0].scales, [1.0, 1.0]);
//! ```

use super::gaussian::Gaussian;
use super::shape::aspect;
use super::{Scalar, real};

/// How scales are limited per axis when a kernel is built, px (`ScaleClip`; not in the paper).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScaleClip<T> {
    /// Scales as fitted.
    None,
    /// Raised to at least this; [`coverage_floor`] is the default.
    Floor(T),
    /// Clamped to both limits; the authors' code uses stride / post_min and post_max, 8 and 20 px at stride 8.
    Range {
        /// Smallest scale, px.
        min: T,
        /// Largest scale, px; wins if below `min`, as `torch.clamp` does.
        max: T,
    },
}

/// The gaussians with clipped scales; everything else is unchanged.
pub fn clip<T: Scalar>(gaussians: &[Gaussian<T>], clip: ScaleClip<T>) -> Vec<Gaussian<T>> {
    let limit = |scale: T| match clip {
        ScaleClip::None => scale,
        ScaleClip::Floor(min) => scale.max(min),
        ScaleClip::Range { min, max } => scale.max(min).min(max),
    };
    gaussians.iter().map(|g| Gaussian { scales: g.scales.map(limit), ..*g }).collect()
}

/// The smallest scale, px, with which an isolated gaussian owns a cell wherever the gaussian lies: stride / sqrt(2 b).
///
/// The farthest that a mean can be from the nearest center is stride/sqrt 2; there q <= b must hold for K >= 1/2
/// (`ScaleClip::Coverage`). `b` is the background constant of [`super::kernel::Background::Odds`].
pub fn coverage_floor<T: Scalar>(stride: T, b: T) -> T {
    stride / (real::<T>(2.0) * b).sqrt()
}

/// The clean-up of the authors' code: where long/short > `limit` (1.5), both scales become the short one (`Cleanup`).
pub fn shrink_to_short<T: Scalar>(gaussians: &[Gaussian<T>], limit: T) -> Vec<Gaussian<T>> {
    let shrunk = |g: &Gaussian<T>| {
        let short = g.scales[0].min(g.scales[1]);
        if aspect(g) > limit { Gaussian { scales: [short; 2], ..*g } } else { *g }
    };
    gaussians.iter().map(shrunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::close;
    use crate::reference::kernel::{Background, row};

    fn with_scales(scales: [f64; 2]) -> Gaussian<f64> {
        Gaussian { scales, ..Gaussian::round([0.0; 2], 1.0) }
    }

    #[test]
    fn clips_each_axis() {
        let set = [with_scales([1.0, 30.0])];
        let scales = |rule| clip(&set, rule)[0].scales;
        assert_eq!(scales(ScaleClip::None), [1.0, 30.0]);
        assert_eq!(scales(ScaleClip::Floor(2.0)), [2.0, 30.0]);
        assert_eq!(scales(ScaleClip::Range { min: 8.0, max: 20.0 }), [8.0, 20.0]);
    }

    #[test]
    fn shrinks_only_above_the_limit() {
        let set = [with_scales([1.5, 1.0]), with_scales([2.0, 3.5])];
        let after = shrink_to_short(&set, 1.5);
        assert_eq!((after[0].scales, after[1].scales), ([1.5, 1.0], [2.0, 2.0]));
    }

    #[test]
    fn floor_covers_the_worst_cell() {
        close(coverage_floor(8.0, 4.5), 8.0 / 3.0, 1e-15);
        let b = 9.0;
        let round = Gaussian::round([0.0, 0.0], coverage_floor(8.0, b));
        let entries = row(&[round], [4.0, 4.0], &Background::Odds { b: vec![b] });
        close(entries[0], 0.5, 1e-14);
    }
}
