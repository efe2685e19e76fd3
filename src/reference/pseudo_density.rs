//! Densities painted from points, and the squared distance of a density from a painted one (the baseline of the paper's
//! Table 4).
//!
//! ```
//! use splatport::reference::grid::Grid;
//! use splatport::reference::pseudo_density::{Painting, painted, squares};
//!
//! // An annotation in the middle of four cells: a quarter each, whatever reaches over the border.
//! let grid = Grid::over(8, 8, 4.0_f64);
//! let target = painted(&grid, &[[4.0, 4.0]], &[[3.0, 3.0]], Painting { integral: true, renormalise: true });
//! assert!(target.iter().all(|d| (d - 0.25).abs() < 1e-14));
//! assert!(squares(&[0.25; 4], &target, 1.0).0 < 1e-28);
//! ```

use super::grid::Grid;
use super::{Scalar, count, real};

/// How much of a Gaussian a cell gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Painting {
    /// The integral over the cell; otherwise the density at the cell's center, times the cell's area.
    pub integral: bool,
    /// The part on the grid is scaled up to 1; a Gaussian with less than a thousandth on the grid is left out.
    pub renormalise: bool,
}

/// The sum of upright Gaussians in every cell: one per point, with its standard deviations along x and y (px).
///
/// # Panics
/// Unless there is one pair of scales per point.
pub fn painted<T: Scalar>(grid: &Grid<T>, points: &[[T; 2]], scales: &[[T; 2]], how: Painting) -> Vec<T> {
    assert_eq!(scales.len(), points.len(), "length of scales");
    let half = grid.stride / real(2.0);
    let size = [count::<T>(grid.cols) * grid.stride, count::<T>(grid.rows) * grid.stride];
    let mut sums = vec![T::zero(); grid.rows * grid.cols];
    for (point, scale) in points.iter().zip(scales) {
        let inside = (0..2).map(|axis| {
            let low = [grid.left, grid.top][axis] - point[axis];
            mass(low, low + size[axis], scale[axis])
        });
        let inside: T = inside.fold(T::one(), |product, share| product * share);
        let weight = match how.renormalise {
            true if inside < real(1e-3) => continue,
            true => inside.recip(),
            false => T::one(),
        };
        for (sum, centre) in sums.iter_mut().zip(grid.centres()) {
            let share = |axis: usize| {
                let from = centre[axis] - point[axis];
                match how.integral {
                    true => mass(from - half, from + half, scale[axis]),
                    false => grid.stride * bell(from, scale[axis]),
                }
            };
            *sum = *sum + weight * share(0) * share(1);
        }
    }
    sums
}

/// `weight sum_i (z_i - d_i)^2` and its gradient with respect to `z`.
pub fn squares<T: Scalar>(density: &[T], target: &[T], weight: T) -> (T, Vec<T>) {
    let apart: Vec<T> = density.iter().zip(target).map(|(&z, &d)| z - d).collect();
    (weight * apart.iter().map(|&a| a * a).sum(), apart.into_iter().map(|a| real::<T>(2.0) * weight * a).collect())
}

/// Normal density at `x` from the mean.
fn bell<T: Scalar>(x: T, scale: T) -> T {
    let u = x / scale;
    (-u * u / real(2.0)).exp() / (scale * real::<T>(std::f64::consts::TAU).sqrt())
}

/// Integral of the normal density from `low` to `high` from its mean: the 5-point Gauss-Legendre rule on pieces of at
/// most half a standard deviation, with an error of 1e-14. Beyond 9 standard deviations there is nothing.
fn mass<T: Scalar>(low: T, high: T, scale: T) -> T {
    const NODES: [(f64, f64); 3] = [
        (0.0, 0.568_888_888_888_888_9),
        (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
        (0.906_179_845_938_664, 0.236_926_885_056_189_08),
    ];
    let end = real::<T>(9.0) * scale;
    let (low, high) = (low.max(-end), high.min(end));
    if low >= high {
        return T::zero();
    }
    let pieces = ((high - low) / (scale / real(2.0))).ceil().to_usize().unwrap_or(1).max(1);
    let half = (high - low) / count::<T>(2 * pieces);
    let piece = |k: usize| {
        let middle = low + half * count::<T>(2 * k + 1);
        let at = |(node, weight): (f64, f64)| {
            let off = half * real(node);
            let both =
                if node == 0.0 { bell(middle, scale) } else { bell(middle - off, scale) + bell(middle + off, scale) };
            real::<T>(weight) * both
        };
        half * NODES.into_iter().map(at).sum::<T>()
    };
    (0..pieces).map(piece).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{check_gradient, close, photo};

    const INTEGRAL: Painting = Painting { integral: true, renormalise: false };

    /// One, two and three standard deviations, from tables.
    #[test]
    fn masses_are_the_known_ones() {
        for (k, want) in
            [(1.0, 0.682_689_492_137_085_9), (2.0, 0.954_499_736_103_641_6), (3.0, 0.997_300_203_936_739_8)]
        {
            close(mass(-k * 2.5, k * 2.5, 2.5), want, 1e-14);
        }
        close(mass(-100.0, 1e9, 3.0), 1.0, 1e-14);
        close(mass(0.0, 1e-6, 3.0), 1e-6 * bell(0.0, 3.0), 1e-20);
    }

    #[test]
    fn cells_share_what_is_inside() {
        let grid = Grid::over(40, 24, 8.0);
        // Far inside: all of it, even where the Gaussian is much smaller than a cell.
        for scale in [0.05, 1.0, 1.2] {
            close(painted(&grid, &[[20.0, 12.0]], &[[scale; 2]], INTEGRAL).iter().sum(), 1.0, 1e-14);
        }
        // On an edge: half of it, or scaled up; far away: nothing.
        let edge = |renormalise| painted(&grid, &[[0.0, 12.0]], &[[2.0; 2]], Painting { renormalise, ..INTEGRAL });
        close(edge(false).iter().sum(), 0.5, 1e-8);
        close(edge(true).iter().sum(), 1.0, 1e-14);
        let far = painted(&grid, &[[-90.0, 12.0]], &[[8.0; 2]], Painting { integral: true, renormalise: true });
        assert_eq!(far, vec![0.0; 15]);
    }

    /// Point samples lose or gain `4 exp(-2 pi^2 s^2 / stride^2)` at most.
    #[test]
    fn point_samples_of_wide_gaussians_are_integrals() {
        let grid = Grid::over(80, 80, 4.0);
        let at = Painting { integral: false, renormalise: false };
        for scale in [2.0, 4.0] {
            let bound = 4.0 * (-2.0 * (std::f64::consts::PI * scale / 4.0).powi(2)).exp();
            close(painted(&grid, &[[41.3, 38.9]], &[[scale; 2]], at).iter().sum(), 1.0, bound + 1e-14);
        }
    }

    #[test]
    fn gradients_match_differences() {
        let grid = Grid::over(20, 12, 4.0);
        let target = painted(&grid, &[[7.0, 5.0], [15.0, 3.0]], &[[3.0, 2.0]; 2], INTEGRAL);
        let density = photo(target.len());
        let at = |z: &[f64]| squares(z, &target, 0.3);
        check_gradient(&density, &at(&density).1, |z| at(z).0);
    }
}
