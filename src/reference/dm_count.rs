//! DM-Count: distribution matching between a density and points (Wang et al. 2020).
//!
//! ```
//! use splatport::reference::dm_count;
//!
//! // Half an object too much, spread as the points are: only the count is wrong.
//! let (value, gradient) = dm_count::count_and_variation(&[1.5_f64, 1.0], &[1.2, 0.8], 2, [1.0, 0.01]);
//! assert!((value - 0.5).abs() < 1e-6);
//! assert!(gradient.iter().all(|g| (g - 1.0).abs() < 0.02));
//! ```

use super::grid::Grid;
use super::{Scalar, count, real, sign};

/// The result of the published solver.
#[derive(Clone, Debug, PartialEq)]
pub struct Published<T> {
    /// `epsilon ln(v + 1e-16)`, one per cell.
    pub cells: Vec<T>,
    /// `epsilon ln u`, one per point.
    pub points: Vec<T>,
    /// The mass that every point receives from the plan `u K v`.
    pub received: Vec<T>,
    /// The number of rounds made.
    pub rounds: usize,
}

/// The published solver: at most `rounds` rounds in linear domain with 1e-16 added to every divisor. Every tenth round
/// it checks the squared error of the cells' marginal, and stops at 1e-9.
///
/// `cost` has one row per cell; `shares` are the cells' shares of the whole density.
pub fn published<T: Scalar>(cost: &[Vec<T>], shares: &[T], epsilon: T, rounds: usize) -> Published<T> {
    let (floor, points) = (real::<T>(1e-16), cost.first().map_or(0, Vec::len));
    let kernel: Vec<Vec<T>> = cost.iter().map(|row| row.iter().map(|&c| (-c / epsilon).exp()).collect()).collect();
    let each = count::<T>(points.max(1)).recip();
    let (mut u, mut v, mut made) = (vec![each; points], vec![], 0);
    let to_cells =
        |u: &[T]| -> Vec<T> { kernel.iter().map(|row| row.iter().zip(u).map(|(&k, &u)| k * u).sum()).collect() };
    let to_points =
        |v: &[T]| -> Vec<T> { (0..points).map(|n| kernel.iter().zip(v).map(|(row, &v)| row[n] * v).sum()).collect() };
    while made < rounds {
        v = shares.iter().zip(to_cells(&u)).map(|(&b, sum)| b / (sum + floor)).collect();
        u = to_points(&v).into_iter().map(|sum| each / (sum + floor)).collect();
        made += 1;
        let errors = shares.iter().zip(to_cells(&u)).zip(&v).map(|((&b, sum), &v)| b - sum * v);
        if made % 10 == 0 && errors.map(|e| e * e).sum::<T>() <= real(1e-9) {
            break;
        }
    }
    Published {
        cells: v.iter().map(|&v| epsilon * (v + floor).ln()).collect(),
        points: u.iter().map(|&u| epsilon * u.ln()).collect(),
        received: to_points(&v).iter().zip(&u).map(|(&sum, &u)| sum * u).collect(),
        rounds: made,
    }
}

/// The published gradient of the transport term: `beta_i S / (S² + 1e-8) - <z, beta> / (S² + 1e-8)`.
pub fn published_gradient<T: Scalar>(potentials: &[T], density: &[T]) -> Vec<T> {
    let total: T = density.iter().copied().sum();
    let dot: T = density.iter().zip(potentials).map(|(&z, &b)| z * b).sum();
    let divisor = total * total + real(1e-8);
    potentials.iter().map(|&b| b * total / divisor - dot / divisor).collect()
}

/// `weights[0] |S - N| + weights[1] N sum_i |z_i / (S + 1e-6) - d_i / (N + 1e-6)|` for dots `d`, and its gradient with
/// respect to `z`.
pub fn count_and_variation<T: Scalar>(density: &[T], dots: &[T], points: usize, weights: [T; 2]) -> (T, Vec<T>) {
    let (total, n) = (density.iter().copied().sum::<T>(), count::<T>(points));
    let (padded, all) = (total + real(1e-6), n + real(1e-6));
    let apart: Vec<T> = density.iter().zip(dots).map(|(&z, &d)| z / padded - d / all).collect();
    let value = weights[0] * (total - n).abs() + weights[1] * n * apart.iter().map(|a| a.abs()).sum::<T>();
    let signs: Vec<T> = apart.into_iter().map(sign).collect();
    let dot: T = signs.iter().zip(density).map(|(&s, &z)| s * z).sum();
    let slope = |s: T| weights[0] * sign(total - n) + weights[1] * n * (s / padded - dot / (padded * padded));
    (value, signs.into_iter().map(slope).collect())
}

/// Points per cell. Each counts for the pixel that contains it or, if `rounded`, for the pixel of its rounded
/// coordinates, at most the last one, as in published code. Points off the grid count for no pixel.
pub fn dots<T: Scalar>(grid: &Grid<T>, points: &[[T; 2]], rounded: bool) -> Vec<T> {
    let mut dots = vec![T::zero(); grid.rows * grid.cols];
    let pixel = |x: T, cells: usize| {
        let last = count::<T>(cells) * grid.stride - T::one();
        // Ties go to the even neighbor.
        let half = (x - x.floor()) == real(0.5);
        let nearest = if half { real::<T>(2.0) * (x / real(2.0)).round() } else { x.round() };
        if rounded { nearest.min(last) } else { x.floor() }
    };
    for point in points {
        let (column, row) = (pixel(point[0] - grid.left, grid.cols), pixel(point[1] - grid.top, grid.rows));
        let cell = |pixel: T| (pixel / grid.stride).floor().to_isize().unwrap_or(-1);
        let (column, row) = (cell(column), cell(row));
        if (0..grid.cols as isize).contains(&column) && (0..grid.rows as isize).contains(&row) {
            let at = row as usize * grid.cols + column as usize;
            dots[at] = dots[at] + T::one();
        }
    }
    dots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{check_gradient, close, photo};
    use crate::reference::sinkhorn::squared_distances;

    const POINTS: [[f64; 2]; 3] = [[13.0, 9.0], [30.5, 20.0], [34.0, 6.0]];

    fn example() -> (Grid<f64>, Vec<f64>) {
        let grid = Grid::over(40, 28, 4.0);
        let mut density: Vec<f64> = photo(grid.rows * grid.cols).iter().map(|z| 0.1 * z).collect();
        density[3] = 0.0;
        (grid, density)
    }

    #[test]
    fn count_and_variation_match_differences() {
        let (grid, mut density) = example();
        let dots = dots(&grid, &POINTS, false);
        assert_eq!(dots.iter().sum::<f64>(), 3.0);
        density[3] = 0.05;
        let at = |z: &[f64]| count_and_variation(z, &dots, 3, [1.0, 0.01]);
        check_gradient(&density, &at(&density).1, |z| at(z).0);
    }

    /// The published transport value is `<z, g>`, which is 0 whatever the plan.
    #[test]
    fn the_published_value_carries_no_information() {
        let grid = Grid::over(160, 112, 8.0);
        let mut density = photo(grid.rows * grid.cols);
        density[3] = 0.0;
        let total: f64 = density.iter().sum();
        let shares: Vec<f64> = density.iter().map(|z| z / (total + 1e-6)).collect();
        let solved = published(&squared_distances(&grid.centres(), &POINTS), &shares, 10.0, 100);
        let gradient = published_gradient(&solved.cells, &density);
        close(gradient.iter().zip(&density).map(|(g, z)| g * z).sum(), 0.0, 1e-9);
        close(solved.cells[3], 10.0 * 1e-16_f64.ln(), 1e-9);
        // The floor dominates: far from all mass is moved.
        assert!(solved.rounds == 100 && solved.received.iter().sum::<f64>() < 0.9);
    }

    #[test]
    fn dots_fall_on_cells() {
        let grid = Grid { left: 2.0, ..Grid::over(8, 4, 2.0_f64) };
        // 3.5 is 1.5 right of the edge: in pixel 1, rounded to 2.
        assert_eq!(dots(&grid, &[[3.5, 0.0]], false)[0], 1.0);
        assert_eq!(dots(&grid, &[[3.5, 0.0]], true)[1], 1.0);
        // 4.5 is 2.5 right of it, and rounds to the even 2; the last pixel takes what lies on the far edge.
        assert_eq!(dots(&grid, &[[4.5, 0.0]], true)[1], 1.0);
        assert_eq!(dots(&grid, &[[10.0, 4.0]], true)[7], 1.0);
        assert_eq!(dots(&grid, &[[10.0, 4.0]], false), [0.0; 8]);
    }
}
