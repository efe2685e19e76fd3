//! The nearest gaussian against brute force.

use proptest::prelude::*;
use splatport::kernels::{Cells, gaussian::Framing, nearest::nearest};
use splatport::reference::{self, gaussian::Gaussian};

use super::{Case, Tally, cases, centres, device, framed, largest_aspect, poison, property, q_error, wide};

fn find(set: &[Gaussian<f64>], cells: Cells) -> (Vec<u32>, Vec<f64>) {
    poison(&[8 * set.len(), cells.len()]);
    let found = nearest(device(), &framed(set, 1, Framing::default()), cells, 1).expect("nearest");
    (found.index.read().expect("indices"), wide(found.mahalanobis_sq.read().expect("distances")))
}

/// The index is the oracle's, unless two distances differ by less than both may be off; of equal gaussians it is the first
/// even then.
fn check(Case { set, cells }: &Case, tally: &mut Tally) {
    let (indices, distances) = find(set, *cells);
    tally.equal("cells", &indices.len(), &cells.len());
    let relative = q_error(largest_aspect(set));
    for (i, &centre) in centres(cells).iter().enumerate() {
        let Some((best, q)) = reference::nearest::nearest(set, centre) else {
            tally.holds(indices[i] == u32::MAX, || format!("cell {i}: {} of none", indices[i]));
            tally.near("q of none", i, (distances[i], f64::from(f32::MAX)), 0.0);
            continue;
        };
        tally.near("q", i, (distances[i], q), relative * q);
        let n = indices[i] as usize;
        let Some(found) = set.get(n) else {
            tally.holds(false, || format!("cell {i}: {n} of {}", set.len()));
            continue;
        };
        let excess = found.mahalanobis_sq(centre) - q;
        tally.holds(n == best || excess <= 2.0 * relative * q, || format!("cell {i}: {n} is {excess:e} behind {best}"));
        let same = |g: &Gaussian<f64>| (g.mean, g.scales, g.rotation) == (found.mean, found.scales, found.rotation);
        tally.holds(!set[..n].iter().any(same), || format!("cell {i}: {n} has an equal before it"));
    }
}

/// Measured: distances 0.25 of their tolerance.
#[test]
fn equals_brute_force() {
    property("nearest", 48, cases(24, 10.0), |Case { set, cells }, tally| {
        let doubled = set.iter().chain(set.first()).chain(set.last()).copied().collect();
        check(&Case { set: doubled, cells: *cells }, tally);
    });
}

/// Two levels of tiles, and more gaussians than a tile has cells.
#[test]
fn many_gaussians_on_a_wide_grid() {
    let wide_case = splatport::strategies::gaussians(150, 200, 100, 6.0);
    property("nearest of many", 6, wide_case, |set, tally| {
        check(&Case { set: set.clone(), cells: Cells { columns: 200, rows: 100, ..Cells::pixels(1, 1) } }, tally);
    });
}

#[test]
fn ties_go_to_the_lowest_index() {
    let (a, b) = (Gaussian::round([2.0, 4.0], 2.0), Gaussian::round([14.0, 4.0], 2.0));
    // Column 7 (x = 8) lies half way on a grid whose centres are whole numbers.
    let cells = Cells { left: 0.5, top: 0.5, ..Cells::pixels(15, 9) };
    for (set, tied) in [(vec![a, b], 0), (vec![b, a], 0), (vec![b, b, a, a], 0)] {
        let (indices, _) = find(&set, cells);
        let first = |g: &Gaussian<f64>| set.iter().position(|other| other == g).expect("in the set") as u32;
        for (i, &index) in indices.iter().enumerate() {
            let side = if i % 15 < 7 { first(&a) } else { first(&b) };
            assert_eq!(index, if i % 15 == 7 { tied } else { side }, "cell {i} of {} gaussians", set.len());
        }
    }
}

/// Every rank's distance is that of the sorted distances, ranks are ascending and hold each gaussian once, and what is
/// missing says so. Measured: 0.22 of the tolerance.
#[test]
fn several_nearest_are_the_first_of_all() {
    let several = (cases(40, 10.0), prop_oneof![Just(1u32), Just(2), Just(5), Just(32)]);
    property("several nearest", 32, several, |(Case { set, cells }, count), tally| {
        let places = *count as usize;
        poison(&[8 * set.len(), cells.len() * places]);
        let found = nearest(device(), &framed(set, 1, Framing::default()), *cells, *count).expect("nearest");
        let indices = found.index.read().expect("indices");
        let distances = wide(found.mahalanobis_sq.read().expect("distances"));
        let relative = q_error(largest_aspect(set));
        for (i, &centre) in centres(cells).iter().enumerate() {
            let mut wanted: Vec<f64> = set.iter().map(|g| g.mahalanobis_sq(centre)).collect();
            wanted.sort_by(f64::total_cmp);
            let (index, distance) = (&indices[i * places..][..places], &distances[i * places..][..places]);
            for rank in 0..places {
                match wanted.get(rank) {
                    Some(&q) => tally.near("q", i, (distance[rank], q), relative * q),
                    None => tally.equal("none", &(index[rank], distance[rank]), &(u32::MAX, f64::from(f32::MAX))),
                }
            }
            let mut seen = index[..places.min(set.len())].to_vec();
            seen.sort_unstable();
            seen.dedup();
            tally.equal("different gaussians", &seen.len(), &places.min(set.len()));
            tally.holds(distance.is_sorted(), || format!("cell {i}: {distance:?}"));
        }
    });
    let frames = framed(&[], 1, Framing::default());
    for count in [0, 33] {
        let error =
            nearest(device(), &frames, Cells::pixels(3, 3), count).expect_err("a count out of range").to_string();
        assert_eq!(error, format!("nearest Gaussians: {count} is not within 1..=32"));
    }
}
