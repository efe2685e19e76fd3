//! Distances from every annotation to the nearest others.

use rayon::prelude::*;

/// Neighbours whose distance counts.
const NEIGHBOURS: usize = 3;
/// Distance that stands in where there is no neighbour, px (the authors' code).
const ALONE: f64 = 8.0;
/// Points that are looked at one after the other.
const FEW: usize = 8;

/// Root mean square distance to the three nearest other annotations, px; fewer if there are fewer, 8 if there is none.
pub(crate) fn distances(points: &[[f64; 2]]) -> Vec<f64> {
    of_neighbours(points, |squares| (squares.iter().sum::<f64>() / squares.len() as f64).sqrt())
}

/// Mean distance to the three nearest other annotations, px; fewer if there are fewer, 8 if there is none.
pub(crate) fn means(points: &[[f64; 2]]) -> Vec<f64> {
    of_neighbours(points, |squares| squares.iter().map(|square| square.sqrt()).sum::<f64>() / squares.len() as f64)
}

/// A point with its number.
type Item = (usize, [f64; 2]);

/// What `mean` makes of the squared distances to the nearest others, the least first.
fn of_neighbours(points: &[[f64; 2]], mean: impl Fn(&[f64]) -> f64 + Sync) -> Vec<f64> {
    let others = points.len().saturating_sub(1).min(NEIGHBOURS);
    if others == 0 {
        return vec![ALONE; points.len()];
    }
    let mut tree: Vec<Item> = points.iter().copied().enumerate().collect();
    halve(&mut tree, 0);
    let distance = |item: &Item| {
        let mut squares = [f64::INFINITY; NEIGHBOURS];
        search(&tree, 0, item, &mut squares);
        mean(&squares[..others])
    };
    // In the tree's order: who is near was just looked at.
    let found: Vec<f64> = tree.par_iter().with_min_len(256).map(distance).collect();
    let mut distances = vec![0.0; points.len()];
    tree.iter().zip(found).for_each(|(&(index, _), distance)| distances[index] = distance);
    distances
}

/// Orders points so that the one in the middle is between the others by this axis, in both halves by the other axis, and so on.
fn halve(items: &mut [Item], axis: usize) {
    if items.len() > FEW {
        let (before, _, after) = items.select_nth_unstable_by(items.len() / 2, |a, b| a.1[axis].total_cmp(&b.1[axis]));
        halve(before, 1 - axis);
        halve(after, 1 - axis);
    }
}

/// Lowers `squares`, ascending, to the least squared distances from `item` to others of `items`.
fn search(items: &[Item], axis: usize, item: &Item, squares: &mut [f64; NEIGHBOURS]) {
    if items.len() <= FEW {
        return items.iter().for_each(|other| offer(other, item, squares));
    }
    let middle = items.len() / 2;
    let gap = item.1[axis] - items[middle].1[axis];
    let (before, after) = (&items[..middle], &items[middle + 1..]);
    let (near, far) = if gap < 0.0 { (before, after) } else { (after, before) };
    search(near, 1 - axis, item, squares);
    offer(&items[middle], item, squares);
    // Rounding keeps the order: nothing on the far side has a lower square than the gap's.
    if gap * gap < squares[NEIGHBOURS - 1] {
        search(far, 1 - axis, item, squares);
    }
}

fn offer(other: &Item, item: &Item, squares: &mut [f64; NEIGHBOURS]) {
    if other.0 == item.0 {
        return;
    }
    let [dx, dy] = [other.1[0] - item.1[0], other.1[1] - item.1[1]];
    let square = dx * dx + dy * dy;
    if let Some(at) = squares.iter().position(|&known| square < known) {
        squares[at..].rotate_right(1);
        squares[at] = square;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every other, sorted.
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

    /// Scattered, on lines, on a lattice with many equal distances, at one place: the same bits as by comparing all.
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
