//! Scores of a density: errors of counts, peaks compared with points, joints.
//!
//! ```
//! use splatport::{Grid, evaluation::{CountErrors, matched, peaks, tile_counts}};
//!
//! let grid = Grid::over(32, 16, 8);
//! let density = [0.0, 0.75, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0];
//! let points = [[15.0, 4.0]];
//! let counts = tile_counts(&density, grid, &points, [16, 16])?;
//! assert_eq!(counts, [[0.75, 1.0], [0.25, 0.0]]);
//! assert_eq!(CountErrors::of(&counts).mae, 0.25);
//!
//! // A peak lies at its center of mass: 0.75 * 12 px + 0.25 * 20 px.
//! let found: Vec<_> = peaks(&density, grid, 0.5)?.iter().map(|peak| peak.at).collect();
//! assert_eq!(found, [[14.0, 4.0]]);
//! assert_eq!(matched(&found, &points, 8.0).f1(), 1.0);
//! # Ok::<(), splatport::Error>(())
//! ```

use crate::{Grid, Result, error::check_length};

/// Errors of predicted counts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CountErrors {
    /// Mean absolute error.
    pub mae: f64,
    /// Root mean squared error.
    pub rmse: f64,
}

impl CountErrors {
    /// The errors of pairs of a predicted and a true count; 0 if there are none.
    pub fn of(counts: &[[f64; 2]]) -> Self {
        let n = counts.len().max(1) as f64;
        let mean = |error: fn(f64) -> f64| counts.iter().map(|[a, b]| error(a - b)).sum::<f64>() / n;
        Self { mae: mean(f64::abs), rmse: mean(|d| d * d).sqrt() }
    }
}

/// Predicted and true count in every tile of `[width, height]` px, row by row. The last tiles may be smaller.
///
/// A cell belongs to the tile that contains its center, a point to the tile that contains it. Points off the image
/// belong to none.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) unless the density has one entry per cell.
pub fn tile_counts(density: &[f32], grid: Grid, points: &[[f64; 2]], tile: [u32; 2]) -> Result<Vec<[f64; 2]>> {
    check_length("density", grid.len(), density.len())?;
    let (tile, image) = (tile.map(|side| side.max(1)), grid.image());
    let tiles = [0, 1].map(|axis| image[axis].div_ceil(tile[axis]) as usize);
    // Cells may reach over the edge. The center of the last one may then be off the image; it belongs to the last tile.
    let of = |at: [f64; 2]| {
        let [x, y] = [0, 1].map(|axis| ((at[axis] / f64::from(tile[axis])) as usize).min(tiles[axis] - 1));
        y * tiles[0] + x
    };
    let mut counts = vec![[0.0; 2]; tiles[0] * tiles[1]];
    for (cell, &mass) in density.iter().enumerate() {
        counts[of(grid.centre(cell))][0] += f64::from(mass);
    }
    let inside = |p: &&[f64; 2]| (0..2).all(|axis| (0.0..f64::from(image[axis])).contains(&p[axis]));
    points.iter().filter(inside).for_each(|&at| counts[of(at)][1] += 1.0);
    Ok(counts)
}

/// A peak of a density.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Center of mass of the cell and its eight neighbors, px.
    pub at: [f64; 2],
    /// Mass of these nine cells.
    pub mass: f64,
}

/// The peaks of a density, heaviest first: cells that none of their eight neighbors exceeds, with a mass of at least
/// `least` in all nine. Among equal neighbors, the first is the peak.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) unless the density has one entry per cell.
pub fn peaks(density: &[f32], grid: Grid, least: f64) -> Result<Vec<Peak>> {
    check_length("density", grid.len(), density.len())?;
    let (columns, rows) = (i64::from(grid.columns()), i64::from(grid.rows()));
    let mut found = Vec::new();
    for (cell, &own) in density.iter().enumerate() {
        let (row, column) = (cell as i64 / columns, cell as i64 % columns);
        let around = (-1..=1).flat_map(|y| (-1..=1).map(move |x| (row + y, column + x)));
        let around = around.filter(|(y, x)| (0..rows).contains(y) && (0..columns).contains(x));
        let (mut mass, mut moment, mut largest) = (0.0, [0.0; 2], true);
        for (y, x) in around {
            let other = (y * columns + x) as usize;
            let z = density[other];
            largest &= z < own || (z == own && other >= cell);
            mass += f64::from(z);
            moment = [0, 1].map(|axis| moment[axis] + f64::from(z) * grid.centre(other)[axis]);
        }
        if largest && mass >= least && mass > 0.0 {
            found.push(Peak { at: moment.map(|m| m / mass), mass });
        }
    }
    found.sort_by(|a, b| b.mass.total_cmp(&a.mass));
    Ok(found)
}

/// How many of the found points are true, and how many of the true points were found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Matched {
    /// Number of pairs.
    pub pairs: usize,
    /// Number of points found.
    pub found: usize,
    /// Number of true points.
    pub points: usize,
}

impl Matched {
    /// Share of the found points that are true; 1 if none was found.
    pub fn precision(&self) -> f64 {
        Self::share(self.pairs, self.found)
    }

    /// Share of the true points that were found; 1 if there is none.
    pub fn recall(&self) -> f64 {
        Self::share(self.pairs, self.points)
    }

    fn share(part: usize, whole: usize) -> f64 {
        if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
    }

    /// Harmonic mean of precision and recall: `2 pairs / (found + points)`; 1 if there was nothing to find and nothing
    /// was found.
    pub fn f1(&self) -> f64 {
        match self.found + self.points {
            0 => 1.0,
            both => 2.0 * self.pairs as f64 / both as f64,
        }
    }
}

impl std::ops::Add for Matched {
    type Output = Self;

    /// The sum of both.
    fn add(self, other: Self) -> Self {
        Self { pairs: self.pairs + other.pairs, found: self.found + other.found, points: self.points + other.points }
    }
}

/// Pairs found points with true points within `radius` px, greedily: nearest pair first. Each point is in one pair at most; there may be
/// matchings of more pairs, so scores are lower bounds on those of the best one.
pub fn matched(found: &[[f64; 2]], points: &[[f64; 2]], radius: f64) -> Matched {
    let distance = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
    let mut near: Vec<(f64, usize, usize)> = Vec::new();
    for (i, &a) in found.iter().enumerate() {
        near.extend(points.iter().enumerate().map(|(j, &b)| (distance(a, b), i, j)).filter(|(d, ..)| *d <= radius));
    }
    near.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut taken, mut met, mut pairs) = (vec![false; found.len()], vec![false; points.len()], 0);
    for (_, i, j) in near {
        if !taken[i] && !met[j] {
            (taken[i], met[j]) = (true, true);
            pairs += 1;
        }
    }
    Matched { pairs, found: found.len(), points: points.len() }
}

/// Share of the predicted joints that lie within their radius, px, of the true ones (PCK; PCKh@0.5 with half the head's
/// length as radius). 0 if there are no joints.
///
/// # Errors
/// [`Error::Length`](crate::Error::Length) unless there is one prediction and one radius per joint.
pub fn pck(predicted: &[[f64; 2]], joints: &[[f64; 2]], radii: &[f64]) -> Result<f64> {
    check_length("predicted joints", joints.len(), predicted.len())?;
    check_length("radii", joints.len(), radii.len())?;
    let within = |((p, q), radius): ((&[f64; 2], &[f64; 2]), &f64)| (p[0] - q[0]).hypot(p[1] - q[1]) <= *radius;
    let hits = predicted.iter().zip(joints).zip(radii).filter(|&triple| within(triple)).count();
    Ok(hits as f64 / joints.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_peaks_and_their_score() -> Result<()> {
        let grid = Grid::over(256, 128, 8);
        let mut density = vec![0.0f32; 16 * 32];
        (density[5 * 32 + 4], density[5 * 32 + 5], density[9 * 32 + 20]) = (0.75, 0.25, 0.5);
        let points = [[40.0, 44.0], [164.0, 76.0], [100.0, 100.0], [300.0, 5.0]];
        let counts = tile_counts(&density, grid, &points, [128, 128])?;
        assert_eq!(counts, [[1.0, 2.0], [0.5, 1.0]]);
        assert_eq!(CountErrors::of(&counts), CountErrors { mae: 0.75, rmse: (1.25f64 / 2.0).sqrt() });
        assert_eq!(CountErrors::of(&[]), CountErrors::default());
        // (4.5 * 0.75 + 5.5 * 0.25) * 8 = 38.
        let at = |least| -> Result<Vec<_>> { Ok(peaks(&density, grid, least)?.iter().map(|p| p.at).collect()) };
        assert_eq!(at(0.1)?, [[38.0, 44.0], [164.0, 76.0]]);
        assert_eq!(at(0.6)?, [[38.0, 44.0]]);
        let two_of_three = matched(&at(0.1)?, &points[..3], 2.0);
        assert_eq!((two_of_three.precision(), two_of_three.recall(), two_of_three.f1()), (1.0, 2.0 / 3.0, 0.8));
        assert_eq!(matched(&at(0.1)?, &points[..3], 1.9).f1(), 0.4);
        let scores = |matched: Matched| (matched.precision(), matched.recall(), matched.f1());
        assert_eq!(scores(matched(&[], &[], 1.0)), (1.0, 1.0, 1.0));
        assert_eq!(scores(matched(&[[0.0, 0.0]], &[], 1.0)), (0.0, 1.0, 0.0));
        Ok(())
    }

    #[test]
    fn two_peaks_do_not_share_a_point() {
        let both = matched(&[[0.0, 0.0], [3.0, 0.0]], &[[1.0, 0.0]], 5.0);
        assert_eq!(both, Matched { pairs: 1, found: 2, points: 1 });
        // The nearer pair is made first and leaves one point each for the others.
        assert_eq!(matched(&[[0.0, 0.0], [3.0, 0.0]], &[[2.0, 0.0], [-4.0, 0.0]], 5.0).pairs, 2);
    }

    #[test]
    fn a_plateau_has_one_peak_and_edge_cells_count() -> Result<()> {
        let grid = Grid::over(20, 20, 8);
        assert_eq!(peaks(&[0.5; 9], grid, 0.0)?.len(), 1);
        assert_eq!(peaks(&[0.0; 9], grid, 0.0)?, []);
        assert_eq!(
            tile_counts(&[1.0; 9], grid, &[[19.9, 19.9]], [10, 10])?,
            [[1.0, 0.0], [2.0, 0.0], [2.0, 0.0], [4.0, 1.0]]
        );
        assert!(peaks(&[0.0; 8], grid, 0.0).is_err());
        Ok(())
    }

    #[test]
    fn joints_within_their_radius() -> Result<()> {
        let (predicted, joints) = ([[0.0, 0.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, 0.0]]);
        assert_eq!(pck(&predicted, &joints, &[1.0, 5.0])?, 1.0);
        assert_eq!(pck(&predicted, &joints, &[0.9, 5.0])?, 0.5);
        assert_eq!(pck(&[], &[], &[])?, 0.0);
        assert!(pck(&predicted, &joints, &[1.0]).is_err());
        Ok(())
    }
}
