//! What follows from the device's own potentials.

use proptest::collection::vec;
use splatport::reference::sinkhorn as oracle;

use super::{Image, any_rules, exactly, half_error, images, prepared, solve, theirs};
use crate::device::{U, device, poison, property, wide};

/// Value, slope, received mass, residual and cost, each given the device's potentials. Measured: 0.17 of the tolerance.
#[test]
fn outcomes_follow_from_potentials() {
    property("outcome", 24, (vec(images(1, 9), 1..4), any_rules(), 5..60usize), |(images, rules, limit), tally| {
        let images: Vec<Image> = images.iter().map(|image| prepared(image, rules)).collect();
        let solved = solve(&images, *rules, exactly(*limit));
        let outcome = solved.outcome();
        let (values, slope) = outcome.values.read_with(&outcome.slope).expect("values");
        let (values, slope, received) = (wide(values), wide(slope), wide(outcome.received.read().expect("masses")));
        let costs = wide(solved.problem.cost(device(), &solved.solution).read().expect("costs"));
        let (mut cell, mut point) = (0, 0);
        for (k, (image, [cells, points])) in images.iter().zip(solved.potentials()).enumerate() {
            let problem = theirs(image, rules);
            let all = cell..cell + cells.len();
            let mine = point..point + points.len();
            (cell, point) = (all.end, mine.end);
            if problem.cells.iter().all(|&z| z == 0.0) {
                tally.holds(slope[all].iter().all(|s| s.is_finite()), || "slope of nothing".to_owned());
                continue;
            }
            let epsilon = image.place.epsilons[image.place.epsilons.len() - 1];
            let at = oracle::Solution { cells, points, epsilon, rounds: *limit };
            let half = half_error(&problem, &at, epsilon);
            let wanted = problem.transported(&at);
            // A probe's half, and its difference to the potential.
            let exponent = 3.0 * half / epsilon;
            tally.all_near("received", &received[mine], &wanted, |n| {
                exponent.exp_m1() * (wanted[n] + problem.points[n])
            });
            let moved: f64 = wanted.iter().sum();
            let residual = solved.reports()[k].residual;
            let due = moved / (1.0 + residual);
            let off = exponent.exp_m1() * (2.0 * moved + problem.points.iter().sum::<f64>()) / due.max(1e-30);
            tally.near("residual of", k, (residual, problem.residual(&at)), off * (1.0 + residual) * 2.0);
            let theirs = problem.slope(&at);
            tally.all_near("slope", &slope[all], &theirs, |i| {
                16.0 * U * (theirs[i].abs() + at.cells[i].abs() + 500.0 + epsilon * (1.0 + moved))
            });
            let parts = theirs.iter().zip(&problem.cells).map(|(s, z)| (s.abs() + 500.0) * z).sum::<f64>()
                + at.points.iter().zip(&problem.points).map(|(g, t)| (g.abs() + 500.0) * t).sum::<f64>();
            let value = (cells_in_a_sum(&problem) + 16.0) * U * parts + epsilon * exponent.exp_m1() * moved;
            tally.near("value of", k, (values[k], problem.value(&at)), value);
            let cost = problem.primal_cost(&at);
            tally.near("cost of", k, (costs[4 * k], cost), exponent.exp_m1() * cost + 600.0 * U * cost);
        }
    });
}

/// A unit adds a 64th of the cells and one adds 64 parts.
fn cells_in_a_sum(problem: &oracle::Problem<f64>) -> f64 {
    (problem.cells.len().max(problem.points.len()) / 64 + 65) as f64
}

/// Sparse rows hold the plan up to `tau` of every row's mass. Measured: 0.55 of the tolerance.
#[test]
fn plans_on_demand_are_the_oracles() {
    property("plan", 12, (vec(images(0, 9), 1..3), any_rules()), |(images, rules), tally| {
        let images: Vec<Image> = images.iter().map(|image| prepared(image, rules)).collect();
        let solved = solve(&images, *rules, exactly(20));
        let tau = 1e-3;
        poison(&[images.iter().map(|image| image.density.len()).sum()]);
        let rows = solved.problem.plan(device(), &solved.solution, tau).expect("a plan");
        let (starts, columns) = rows.row_starts.read_with(&rows.columns).expect("rows");
        let masses = wide(rows.masses.read().expect("masses"));
        let mut first = 0;
        for (image, [cells, points]) in images.iter().zip(solved.potentials()) {
            let problem = theirs(image, rules);
            let epsilon = image.place.epsilons[image.place.epsilons.len() - 1];
            let at = oracle::Solution { cells, points, epsilon, rounds: 20 };
            let rounding = (2.0 * half_error(&problem, &at, epsilon) / epsilon).exp_m1();
            for (i, want) in problem.plan(&at).iter().enumerate() {
                let total: f64 = want.iter().sum();
                let mut row = vec![0.0; want.len()];
                let mut before = None;
                for at in starts[first + i] as usize..starts[first + i + 1] as usize {
                    tally.holds(before < Some(columns[at]), || format!("row {i}: columns do not ascend"));
                    before = Some(columns[at]);
                    row[columns[at] as usize] = masses[at];
                }
                let apart: f64 = row.iter().zip(want).map(|(a, b)| (a - b).abs()).sum();
                tally.near("row", i, (apart, 0.0), (tau * (1.0 + rounding) + rounding) * total + 1e-37);
            }
            first += problem.cells.len();
        }
    });
}
