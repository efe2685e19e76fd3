//! The training loss over a kernel: K'z, K v and |K'z - t|_1 with its gradient with respect to the density.
//!
//! ```
//! use splatport::reference::loss;
//!
//! // Two cells, one annotation, the background last.
//! let kernel = [vec![0.75_f64, 0.25], vec![0.5, 0.5]];
//! let step = loss::l1(&kernel, &[2.0, 4.0], &[1.0]);
//! assert_eq!(step.mass, [3.5, 2.5]);
//! assert_eq!(step.value, 2.5 + 2.5); // |3.5 - 1| + |2.5 - 0|
//! assert_eq!(step.gradient, [1.0, 1.0]);
//! ```

use super::{Scalar, count, sign};

/// Mass K'z that reaches every column from the density z: sum_i K_in z_i (Eq. 6's C P, unnormalised).
///
/// `kernel` has I rows of N + 1 entries, `density` I entries (mass per cell), the result N + 1; empty for a kernel
/// without rows, whose columns are unknown.
///
/// # Panics
/// If `density` does not have one entry per row, or rows differ in length.
pub fn push_forward<T: Scalar>(kernel: &[Vec<T>], density: &[T]) -> Vec<T> {
    assert_eq!(density.len(), kernel.len(), "length of density");
    let mut mass = vec![T::zero(); kernel.first().map_or(0, Vec::len)];
    for (row, &z) in kernel.iter().zip(density) {
        assert_eq!(row.len(), mass.len(), "length of a kernel row");
        for (entry, &k) in mass.iter_mut().zip(row) {
            *entry = *entry + k * z;
        }
    }
    mass
}

/// K v per cell: sum_n K_in v_n, the adjoint of [`push_forward`]; I entries from N + 1.
///
/// # Panics
/// If `v` does not have one entry per column.
pub fn pull_back<T: Scalar>(kernel: &[Vec<T>], v: &[T]) -> Vec<T> {
    let dot = |row: &Vec<T>| {
        assert_eq!(v.len(), row.len(), "length of v");
        row.iter().zip(v).map(|(&k, &v)| k * v).sum()
    };
    kernel.iter().map(dot).collect()
}

/// A loss, its gradient with respect to the density, and the mass that every column received.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<T> {
    /// The loss.
    pub value: T,
    /// dvalue/dz_i, I entries.
    pub gradient: Vec<T>,
    /// K'z, N + 1 entries, the background last.
    pub mass: Vec<T>,
}

/// The training loss sum_n |(K'z)_n - t_n| over all columns, the background with target 0 (Eq. 6, Eq. 2 with D = L1).
///
/// Gradient K sgn(K'z - t) with sgn 0 = 0, so every entry is within -1..1 up to rounding. `density` has I entries (mass
/// per cell), `target` N (objects per annotation; the background's 0 is appended here).
///
/// # Panics
/// If `density` does not have one entry per row, or `target` one less than there are columns.
pub fn l1<T: Scalar>(kernel: &[Vec<T>], density: &[T], target: &[T]) -> Step<T> {
    let mut mass = push_forward(kernel, density);
    if kernel.is_empty() {
        mass = vec![T::zero(); target.len() + 1];
    }
    assert_eq!(target.len() + 1, mass.len(), "columns (length of target + 1)");
    let targets = target.iter().copied().chain([T::zero()]);
    let residual: Vec<T> = mass.iter().zip(targets).map(|(&m, t)| m - t).collect();
    let value = residual.iter().map(|r| r.abs()).sum();
    let signs: Vec<T> = residual.into_iter().map(sign).collect();
    Step { value, gradient: pull_back(kernel, &signs), mass }
}

/// The mean loss over the images of a batch (0 for no image), and for each image the gradient of that mean.
pub fn batch_mean<T: Scalar>(steps: &[Step<T>]) -> (T, Vec<Vec<T>>) {
    let images = count::<T>(steps.len().max(1));
    let value = steps.iter().map(|step| step.value).sum::<T>() / images;
    (value, steps.iter().map(|step| step.gradient.iter().map(|&g| g / images).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{check_gradient, example};
    use crate::reference::kernel::{Background, dense};
    use crate::reference::{gaussian::Gaussian, grid::Grid};
    use crate::strategies;
    use proptest::prelude::*;

    #[test]
    fn gradients_match_differences() {
        let (kernel, _, density) = example();
        let target = [1.0, 30.0, 0.3];
        check_gradient(&density, &l1(&kernel, &density, &target).gradient, |z| l1(&kernel, z, &target).value);
    }

    #[test]
    fn no_annotation_pays_for_all_mass() {
        let kernel = vec![vec![1.0]; 3];
        let step = l1(&kernel, &[1.0, 2.0, 0.5], &[]);
        assert_eq!((step.value, step.gradient, step.mass), (3.5, vec![1.0; 3], vec![3.5]));
        assert_eq!(l1(&kernel, &[0.0; 3], &[]).gradient, [0.0; 3]); // sgn 0 = 0
        let empty = l1::<f64>(&[], &[], &[1.0, 2.0]);
        assert_eq!((empty.value, empty.mass), (3.0, vec![0.0; 3]));
    }

    #[test]
    fn batch_divides_by_the_images() {
        let step = |value| Step { value, gradient: vec![1.0, -1.0], mass: vec![] };
        assert_eq!(batch_mean(&[step(3.0), step(5.0)]), (4.0, vec![vec![0.5, -0.5]; 2]));
        assert_eq!(batch_mean::<f64>(&[]), (0.0, vec![]));
    }

    proptest! {
        #[test]
        fn conserves_mass_is_adjoint_and_bounded(
            set in strategies::gaussians(6, 30, 20, 8.0), density in strategies::density(40), v in strategies::density(7),
        ) {
            let centres = Grid::over(30, 20, 4.0).centres();
            let kernel = dense(&set, &centres, &Background::exponent(3.0, set.len()));
            let mass = push_forward(&kernel, &density);
            let total: f64 = density.iter().sum();
            prop_assert!((mass.iter().sum::<f64>() - total).abs() <= 1e-14 * (1.0 + total) * 40.0);
            let v = &v[..set.len() + 1];
            let left: f64 = mass.iter().zip(v).map(|(a, b)| a * b).sum();
            let right: f64 = pull_back(&kernel, v).iter().zip(&density).map(|(a, b)| a * b).sum();
            prop_assert!((left - right).abs() <= 1e-13 * (1.0 + left));
            let step = l1(&kernel, &density, &vec![1.0; set.len()]);
            prop_assert!(step.gradient.iter().all(|g| g.abs() <= 1.0 + 1e-14));
            prop_assert!(step.value >= (total - set.len() as f64).abs() - 1e-12 * (1.0 + total)); // triangle
        }

        #[test]
        fn duplicates_act_as_one_target_of_two(p in strategies::points(1, 30, 20), density in strategies::density(40)) {
            let Some(&p) = p.first() else { return Ok(()) };
            let (centres, g) = (Grid::over(30, 20, 4.0).centres(), Gaussian::round(p, 3.0));
            let two = l1(&dense(&[g, g], &centres, &Background::None), &density, &[1.0, 1.0]);
            let one = l1(&dense(&[g], &centres, &Background::None), &density, &[2.0]);
            prop_assert!((two.value - one.value).abs() <= 1e-13 * (1.0 + one.value));
        }
    }
}
