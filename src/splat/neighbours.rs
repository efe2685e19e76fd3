//! Distances from every annotation to its nearest neighbors.

use rayon::prelude::*;
use rstar::{RTree, primitives::GeomWithData};

/// Number of neighbors whose distance counts.
const NEIGHBOURS: usize = 3;
/// Distance used if there is no neighbor, px (the authors' code).
const ALONE: f64 = 8.0;

/// Root mean square distance to the three nearest other annotations, px. Fewer if there are fewer; 8 px if there are
/// none.
pub(crate) fn distances(points: &[[f64; 2]]) -> Vec<f64> {
    of_neighbours(points, |squares| (squares.iter().sum::<f64>() / squares.len() as f64).sqrt())
}

/// Mean distance to the three nearest other annotations, px. Fewer if there are fewer; 8 px if there are none.
pub(crate) fn means(points: &[[f64; 2]]) -> Vec<f64> {
    of_neighbours(points, |squares| squares.iter().map(|square| square.sqrt()).sum::<f64>() / squares.len() as f64)
}

/// Applies `mean` to the squared distances to the nearest others, smallest first.
fn of_neighbours(points: &[[f64; 2]], mean: impl Fn(&[f64]) -> f64 + Sync) -> Vec<f64> {
    type Item = GeomWithData<[f64; 2], usize>;
    let items: Vec<Item> = points.iter().enumerate().map(|(i, &p)| Item::new(p, i)).collect();
    let tree = RTree::bulk_load(items);
    let distance = |(i, point): (usize, &[f64; 2])| {
        let others = tree.nearest_neighbor_iter_with_distance_2(point).filter(|(item, _)| item.data != i);
        let squares: Vec<f64> = others.take(NEIGHBOURS).map(|(_, square)| square).collect();
        if squares.is_empty() { ALONE } else { mean(&squares) }
    };
    points.par_iter().enumerate().with_min_len(64).map(distance).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By comparing with every other point and sorting.
    fn all_compared(points: &[[f64; 2]], of: usize) -> [f64; 2] {
        let square = |other: &[f64; 2]| (other[0] - points[of][0]).powi(2) + (other[1] - points[of][1]).powi(2);
        let others = points.iter().enumerate().filter(|(at, _)| *at != of);
        let mut squares: Vec<f64> = others.map(|(_, other)| square(other)).collect();
        squares.sort_by(f64::total_cmp);
        squares.truncate(NEIGHBOURS);
        let count = squares.len() as f64;
        let roots = squares.iter().map(|square| square.sqrt()).sum::<f64>();
        if squares.is_empty() { [ALONE; 2] } else { [(squares.iter().sum::<f64>() / count).sqrt(), roots / count] }
    }

    /// Points that are scattered, on lines, on a lattice with many equal distances, or all at one place: the same bits
    /// as by comparing all pairs.
    #[test]
    fn neighbours_are_those_of_all_pairs() {
        let wave = |n: usize, k: f64| (1.7 * n as f64 * k).sin() * 1000.0;
        let sets: [&dyn Fn(usize) -> [f64; 2]; 6] = [
            &|n| [wave(n, 1.0), wave(n, 2.3)],
            &|n| [3.0, wave(n, 1.0)],
            &|n| [wave(n, 1.0), -0.0],
            &|n| [(n % 17) as f64, (n / 17) as f64],
            &|_| [5.0, 5.0],
            &|n| if n % 2 == 0 { [wave(n, 1.0), 0.0] } else { [1e7, wave(n, 1e-4)] },
        ];
        for (set, point) in sets.iter().enumerate() {
            for count in [0, 1, 2, 3, 4, 8, 9, 10, 31, 300] {
                let points: Vec<[f64; 2]> = (0..count).map(point).collect();
                let found: Vec<[f64; 2]> = distances(&points).into_iter().zip(means(&points)).map(Into::into).collect();
                let wanted: Vec<[f64; 2]> = (0..count).map(|of| all_compared(&points, of)).collect();
                assert_eq!(found, wanted, "set {set}, {count} points");
            }
        }
    }
}
