//! The transport cost of the plan diag(z) K, an optional second term of the loss.
//!
//! ```
//! use splatport::reference::cost::transport_cost;
//!
//! // One cell 5 px from the mean; a quarter of its mass goes to the background, which is free.
//! let step = transport_cost(&[vec![0.75_f64, 0.25]], &[2.0], &[[3.0, 4.0]], &[[0.0, 0.0]]);
//! assert_eq!((step.gradient[0], step.value), (18.75, 37.5));
//! ```

use super::loss::{Step, push_forward};
use super::{Scalar, distance_sq};

/// The transport cost W = sum_in z_i K_in C_in of the plan diag(z) K, px^2 (Eq. 2's second term, spec section 0).
///
/// C_in = |centre_i - mean_n|^2, 0 for the background; gradient sum_n K_in C_in. `centres` has I and `means` N entries,
/// px.
///
/// # Panics
/// If `density` or `centres` do not have one entry per row, or `means` one less than there are columns.
pub fn transport_cost<T: Scalar>(kernel: &[Vec<T>], density: &[T], centres: &[[T; 2]], means: &[[T; 2]]) -> Step<T> {
    assert_eq!(centres.len(), kernel.len(), "length of centres");
    let one = |(row, &centre): (&Vec<T>, &[T; 2])| {
        assert_eq!(means.len() + 1, row.len(), "columns (length of means + 1)");
        row.iter().zip(means).map(|(&k, &mean)| k * distance_sq(centre, mean)).sum()
    };
    let gradient: Vec<T> = kernel.iter().zip(centres).map(one).collect();
    let value = gradient.iter().zip(density).map(|(&g, &z)| g * z).sum();
    Step { value, gradient, mass: push_forward(kernel, density) }
}

/// The full loss L1 + `lambda` W of one image (Eq. 2; the paper sets `lambda` = 0); `mass` is the same in both.
///
/// # Panics
/// If the two are for different sizes.
pub fn combined<T: Scalar>(l1: &Step<T>, cost: &Step<T>, lambda: T) -> Step<T> {
    assert_eq!(l1.gradient.len(), cost.gradient.len(), "length of gradient");
    let gradient = l1.gradient.iter().zip(&cost.gradient).map(|(&a, &b)| a + lambda * b).collect();
    Step { value: l1.value + lambda * cost.value, gradient, mass: l1.mass.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{check_gradient, example, trio};
    use crate::reference::loss::l1;

    #[test]
    fn combined_gradient_matches_differences() {
        let (kernel, centres, density) = example();
        let target = [1.0, 30.0, 0.3];
        let means: Vec<[f64; 2]> = trio().iter().map(|g| g.mean).collect();
        let full = |z: &[f64]| combined(&l1(&kernel, z, &target), &transport_cost(&kernel, z, &centres, &means), 0.25);
        check_gradient(&density, &full(&density).gradient, |z| full(z).value);
    }

    #[test]
    fn cost_by_hand() {
        let kernel = [vec![0.5, 0.25, 0.25], vec![0.0, 1.0, 0.0]];
        let step = transport_cost(&kernel, &[2.0, 1.0], &[[0.0, 0.0], [3.0, 4.0]], &[[0.0, 2.0], [3.0, 0.0]]);
        assert_eq!(step.gradient, [2.0 + 2.25, 16.0]);
        assert_eq!(step.value, 24.5);
        assert_eq!(step.mass, [1.0, 1.5, 0.5]);
    }
}
