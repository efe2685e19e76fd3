//! Counts and peaks of a density against the points.

use crate::data::SIDE;

/// Side of a cell, px.
const CELL: f64 = splatport::burn::networks::STRIDE as f64;

/// A density of `columns` cells a row, over a photo with points.
pub struct Predicted<'a> {
    pub density: &'a [f32],
    pub columns: usize,
    pub points: &'a [[f64; 2]],
}

/// What it predicts, and what is true, in every tile of [`SIDE`] px.
pub fn counts(predicted: &Predicted<'_>) -> Vec<[f64; 2]> {
    let side = SIDE as usize / CELL as usize;
    let rows = predicted.density.len() / predicted.columns;
    let tiles = (0..rows / side).flat_map(|y| (0..predicted.columns / side).map(move |x| (x, y)));
    let of_tile = |(x, y): (usize, usize)| {
        let cells = (y * side..(y + 1) * side).flat_map(|row| {
            predicted.density[row * predicted.columns + x * side..][..side].iter().map(|&z| f64::from(z))
        });
        let at = |p: f64| (p / f64::from(SIDE)).floor() as usize;
        let own = predicted.points.iter().filter(|p| at(p[0]) == x && at(p[1]) == y).count();
        [cells.sum(), own as f64]
    };
    tiles.map(of_tile).collect()
}

/// Mean absolute and root mean squared error of counts.
pub fn errors(counts: &[[f64; 2]]) -> (f64, f64) {
    let n = counts.len() as f64;
    let absolute = counts.iter().map(|[a, b]| (a - b).abs()).sum::<f64>() / n;
    (absolute, (counts.iter().map(|[a, b]| (a - b).powi(2)).sum::<f64>() / n).sqrt())
}

/// Where the density has peaks: cells with no larger one among their eight neighbours and at least `least` in all nine, at the nine's
/// centre of mass, px. The largest first.
pub fn peaks(predicted: &Predicted<'_>, least: f64) -> Vec<[f64; 2]> {
    let (columns, density) = (predicted.columns as i64, predicted.density);
    let rows = density.len() as i64 / columns;
    let mut found = Vec::new();
    for cell in 0..density.len() as i64 {
        let (row, column) = (cell / columns, cell % columns);
        let around = (-1..=1).flat_map(|y| (-1..=1).map(move |x| (row + y, column + x)));
        let around = around.filter(|(y, x)| (0..rows).contains(y) && (0..columns).contains(x));
        let (mut mass, mut moment, mut largest) = (0.0, [0.0; 2], true);
        for (y, x) in around {
            let (other, z) = (y * columns + x, density[(y * columns + x) as usize]);
            // Of equal neighbours the first is the peak.
            let own = density[cell as usize];
            largest &= z < own || (z == own && other >= cell);
            mass += f64::from(z);
            moment = [moment[0] + f64::from(z) * (x as f64 + 0.5), moment[1] + f64::from(z) * (y as f64 + 0.5)];
        }
        if largest && mass >= least && mass > 0.0 {
            found.push((mass, moment.map(|m| CELL * m / mass)));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().map(|(_, at)| at).collect()
}

/// Harmonic mean of precision and recall: pairs of a peak and a point, nearest first, each in one pair, within `radius` px.
pub fn f1(peaks: &[[f64; 2]], points: &[[f64; 2]], radius: f64) -> f64 {
    let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
    for (i, peak) in peaks.iter().enumerate() {
        for (j, point) in points.iter().enumerate() {
            let distance = (peak[0] - point[0]).hypot(peak[1] - point[1]);
            if distance <= radius {
                pairs.push((distance, i, j));
            }
        }
    }
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut taken, mut met, mut hits) = (vec![false; peaks.len()], vec![false; points.len()], 0.0);
    for (_, i, j) in pairs {
        if !taken[i] && !met[j] {
            (taken[i], met[j]) = (true, true);
            hits += 1.0;
        }
    }
    2.0 * hits / (peaks.len() + points.len()).max(1) as f64
}

/// The least mass of a peak that gives the best F1, of tenths up to 1.
pub fn best_least(predicted: &Predicted<'_>, radius: f64) -> f64 {
    let score = |least: f64| f1(&peaks(predicted, least), predicted.points, radius);
    (1..=10)
        .map(|tenth| f64::from(tenth) / 10.0)
        .fold(0.1, |best, least| if score(least) > score(best) { least } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_peaks_and_their_score() {
        let mut density = vec![0.0f32; 16 * 32];
        (density[5 * 32 + 4], density[5 * 32 + 5], density[9 * 32 + 20]) = (0.75, 0.25, 0.5);
        let points = [[40.0, 44.0], [164.0, 76.0], [100.0, 100.0]];
        let predicted = Predicted { density: &density, columns: 32, points: &points };
        assert_eq!(counts(&predicted), [[1.0, 2.0], [0.5, 1.0]]);
        assert_eq!(errors(&counts(&predicted)), (0.75, (1.25f64 / 2.0).sqrt()));
        // (4.5 * 0.75 + 5.5 * 0.25) * 8 = 38.
        assert_eq!(peaks(&predicted, 0.1), [[38.0, 44.0], [164.0, 76.0]]);
        assert_eq!(peaks(&predicted, 0.6), [[38.0, 44.0]]);
        assert_eq!(f1(&peaks(&predicted, 0.1), &points, 2.0), 0.8);
        assert_eq!(f1(&peaks(&predicted, 0.1), &points, 1.9), 0.4);
        assert_eq!(f1(&[], &[], 1.0), 0.0);
        assert_eq!(best_least(&predicted, 2.0), 0.1);
    }
}
