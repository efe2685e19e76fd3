//! Conjugate gradients of every image, and the step that they find: one cube an image.

use cubecl::prelude::*;

use super::products::goes_on;
use crate::{
    grid::{Count, Counts},
    real::{Quad, Real},
    sinkhorn::{
        judge::received,
        sides::{Round, Side, share_of, sum_lanes},
    },
};

/// Of what a point should receive: the preconditioner divides by no less.
const LEAST: f32 = 1e-3;

#[cube]
pub(super) fn preconditioned<F: Real>(residual: F, mass: F, due: F) -> F {
    residual / max(mass, F::new(LEAST) * due)
}

/// The first direction: what every point misses.
#[cube(launch)]
pub(super) fn aim<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    points: &Array<Quad<F>>,
    vectors: &mut Array<Quad<F>>,
    masses: &mut Array<F>,
    squares: &mut Array<Quad<F>>,
    side: &Side<F>,
    #[comptime] lanes: u32,
) {
    let share = share_of::<F>(counts, round, lanes);
    let all = counts.total(Count::Gaussians);
    let epsilon = round.epsilon(share.image, counts.images());
    let mut square = F::new(0.0);
    let mut n = share.first;
    while n < share.end {
        let (mass, due) = received::<F>(points[n as usize], points[(all + n) as usize], side, epsilon);
        let mut vector = Quad::<F>::new(F::new(0.0));
        vector[1] = due - mass;
        vector[2] = preconditioned::<F>(due - mass, mass, due);
        square += vector[1] * vector[2];
        vectors[n as usize] = vector;
        masses[n as usize] = mass;
        n += lanes;
    }
    let square = sum_lanes::<F>(square, lanes);
    if share.first < share.end {
        if share.lane == 0u32 {
            let mut start = Quad::<F>::new(F::new(0.0));
            start[0] = square;
            start[1] = square;
            squares[share.image as usize] = start;
        }
    }
}

/// One conjugate gradient.
#[cube(launch)]
pub(super) fn turn<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    points: &Array<Quad<F>>,
    masses: &Array<F>,
    vectors: &mut Array<Quad<F>>,
    squares: &mut Array<Quad<F>>,
    #[comptime] lanes: u32,
) {
    let share = share_of::<F>(counts, round, lanes);
    let mut curvature = F::new(0.0);
    let mut n = share.first;
    while n < share.end {
        let vector = vectors[n as usize];
        curvature += vector[2] * vector[3];
        n += lanes;
    }
    let curvature = sum_lanes::<F>(curvature, lanes);
    let before = squares[share.image as usize];
    // Done, or nothing but rounding is left.
    let goes = goes_on::<F>(before) && curvature > F::new(0.0);
    let along = select(goes, before[0] / select(goes, curvature, F::new(1.0)), F::new(0.0));
    let mut square = F::new(0.0);
    n = share.first;
    while n < share.end {
        let mut vector = vectors[n as usize];
        vector[0] = vector[0] + along * vector[2];
        vector[1] = vector[1] - along * vector[3];
        square += vector[1] * preconditioned::<F>(vector[1], masses[n as usize], points[n as usize][3]);
        vectors[n as usize] = vector;
        n += lanes;
    }
    let square = sum_lanes::<F>(square, lanes);
    if goes {
        n = share.first;
        while n < share.end {
            let mut vector = vectors[n as usize];
            let next = preconditioned::<F>(vector[1], masses[n as usize], points[n as usize][3]);
            vector[2] = next + square / before[0] * vector[2];
            vectors[n as usize] = vector;
            n += lanes;
        }
        if share.lane == 0u32 {
            let mut after = before;
            after[0] = square;
            if share.first < share.end {
                squares[share.image as usize] = after;
            }
        }
    }
}

/// Goes as far as the dual is sure not to fall.
#[cube(launch)]
pub(super) fn advance<F: Real>(
    counts: &Counts,
    round: &Round<F>,
    points: &mut Array<Quad<F>>,
    vectors: &Array<Quad<F>>,
    side: &Side<F>,
    #[comptime] lanes: u32,
) {
    let share = share_of::<F>(counts, round, lanes);
    let all = counts.total(Count::Gaussians);
    let images = counts.images();
    // Every lane looks at all, which is quicker than telling the others.
    let mut largest = F::new(0.0);
    for n in counts.before(share.image, Count::Gaussians)..share.end {
        largest = max(largest, vectors[n as usize][0].abs());
    }
    let reach = max(largest * F::new(2.0), F::new(1e-3));
    let way = (F::new(1.0) + reach).ln() / reach;
    let epsilon = round.epsilon(share.image, images);
    let next = round.next_epsilon(share.image, images);
    let mut n = share.first;
    while n < share.end {
        let mut near = points[n as usize];
        let mut far = points[(all + n) as usize];
        far[0] = far[0] + epsilon * way * vectors[n as usize][0];
        near[2] = side.charge(far[0], far[1], next);
        points[n as usize] = near;
        points[(all + n) as usize] = far;
        n += lanes;
    }
}
