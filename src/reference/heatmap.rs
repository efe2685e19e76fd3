//! Transport of a heatmap onto its joint, in the style of HDM-HPE.
//!
//! ```
//! use splatport::reference::heatmap;
//!
//! // A quarter of the heat is one cell off, the rest on the joint.
//! let (value, slope) = heatmap::single(&[3.0_f64, 1.0], &[0.0, 1.0]);
//! assert_eq!(value, 0.25);
//! assert_eq!(slope, [-0.25 / 4.0, 0.75 / 4.0]);
//! ```

use super::{Scalar, count, real};

/// Value and gradient if all heat goes to one place, with a given cost per cell: `<C, p>` and `(C_i - <C, p>) / S` with
/// the shares `p = max(h, 0) / S`. Below 0 the gradient is 0.
pub fn single<T: Scalar>(map: &[T], cost: &[T]) -> (T, Vec<T>) {
    let heat: Vec<T> = map.iter().map(|&h| h.max(T::zero())).collect();
    let total: T = heat.iter().copied().sum();
    let value = heat.iter().zip(cost).map(|(&h, &c)| h * c).sum::<T>() / total;
    let slope = map.iter().zip(cost).map(|(&h, &c)| if h < T::zero() { T::zero() } else { (c - value) / total });
    (value, slope.collect())
}

/// The cells around `joint` (in cells, with the first center at 0.5) and their bilinear weights, which sum to 1. Cells
/// off the `cols` x `rows` map are left out. Empty for a joint more than half a cell off the map.
pub fn demanders<T: Scalar>(joint: [T; 2], cols: usize, rows: usize) -> Vec<([T; 2], T)> {
    let hat = |x: T| (T::one() - x.abs()).max(T::zero());
    let centre = |k: usize| count::<T>(k) + real(0.5);
    let all = (0..rows).flat_map(|row| (0..cols).map(move |col| [centre(col), centre(row)]));
    let weighed = all.map(|at| (at, hat(at[0] - joint[0]) * hat(at[1] - joint[1])));
    let near: Vec<_> = weighed.filter(|(_, weight)| *weight > T::zero()).collect();
    let total: T = near.iter().map(|(_, weight)| *weight).sum();
    near.into_iter().map(|(at, weight)| (at, weight / total)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{check_gradient, close, photo};
    use crate::reference::sinkhorn::{Form, Marginal, Problem, slope_by_density};

    #[test]
    fn gradients_match_differences() {
        let mut map = photo(12);
        // No cell at the kink.
        (map[0], map[4]) = (0.2, -0.3);
        let cost: Vec<f64> = (0..12).map(|i| f64::from(i * i) / 9.0).collect();
        check_gradient(&map, &single(&map, &cost).1, |h| single(h, &cost).0);
    }

    /// One point takes all there is, whatever epsilon.
    #[test]
    fn one_demander_needs_no_solver() {
        let (map, cost) = (photo(12), photo(25)[13..].to_vec());
        let (value, slope) = single(&map, &cost);
        let total: f64 = map.iter().sum();
        let problem = Problem {
            cost: cost.iter().map(|&c| vec![c]).collect(),
            cells: map.iter().map(|h| h / total).collect(),
            points: vec![1.0],
            of_cells: Marginal::Exact,
            of_points: Marginal::Exact,
            form: Form::Joint { mass: 1.0 },
        };
        let solved = problem.converge(&[0.1], 10, 1e-12);
        close(problem.value(&solved), value, 1e-13);
        let theirs = slope_by_density(&problem.slope(&solved), &map);
        theirs.iter().zip(&slope).for_each(|(&a, &b)| close(a, b, 1e-13));
    }

    #[test]
    fn weights_are_bilinear() {
        let inside = demanders([1.75_f64, 1.5], 4, 3);
        assert_eq!(inside, [([1.5, 1.5], 0.75), ([2.5, 1.5], 0.25)]);
        // Half of the corner's neighbors are off the map.
        assert_eq!(demanders([0.25_f64, 0.5], 4, 3), [([0.5, 0.5], 1.0)]);
        assert!(demanders([-0.75_f64, 0.5], 4, 3).is_empty());
    }
}
