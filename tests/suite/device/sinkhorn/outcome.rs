//! What follows from the device's own potentials.

use proptest::collection::vec;
use splatport::kernels::{
    Error,
    sinkhorn::{Form, Marginal, Rules, Stop},
};
use splatport::reference::sinkhorn as oracle;

use super::{Image, any_rules, balanced, exactly, half_error, images, prepared, solve, theirs};
use crate::device::{U, device, poison, property, single, wide};

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

/// The gradient of the cost given the device's potentials: what is left of its system, and the rounding of its plan, go through the
/// inverse of its matrix. Measured: 0.002 of the tolerance.
#[test]
fn gradients_of_the_cost_are_the_oracles() {
    property("cost gradient", 24, (vec(images(1, 9), 1..4), any_rules()), |(images, rules), tally| {
        let mut images: Vec<Image> = images.iter().map(|image| prepared(image, rules)).collect();
        for image in &mut images {
            // Where the matrix lets anything be said.
            let least = 0.02 * super::largest_cost(&image.place.cells, &image.place.points);
            image.place.epsilons = vec![single(image.place.epsilons[image.place.epsilons.len() - 1].max(least))];
        }
        let solved = solve(&images, *rules, Stop { limit: 200, tolerance: 1e-4 });
        poison(&[images.iter().map(|image| 8 * image.density.len()).sum()]);
        let got = solved.problem.cost_gradient(device(), &solved.solution).expect("a gradient");
        let mut slopes = wide(got.gradient.read().expect("slopes"));
        for (k, (image, [cells, points])) in images.iter().zip(solved.potentials()).enumerate() {
            let others = slopes.split_off(cells.len());
            let own = std::mem::replace(&mut slopes, others);
            let (problem, total) = (theirs(image, rules), image.density.iter().sum::<f64>());
            if total == 0.0 {
                let nothing = |slope: &f64| if rules.normalise.is_some() { *slope == 0.0 } else { slope.is_finite() };
                tally.holds(own.iter().all(nothing), || "slope of nothing".to_owned());
                continue;
            }
            let at = oracle::Solution { cells, points, epsilon: image.place.epsilons[0], rounds: 0 };
            let (slope, system) = (problem.cost_slope(&at), problem.cost_system(&at));
            let (want, size) = match rules.normalise {
                Some(_) => (oracle::slope_by_density(&slope, &image.density), total.recip()),
                None => (slope, super::size(&system.shares)),
            };
            // Masses follow from potentials by rho, shares by epsilon.
            let softness = rules.of_cells.softness() + rules.of_points.softness();
            let exponent = 3.0 * half_error(&problem, &at, at.epsilon) * (at.epsilon.recip() + softness);
            let masses = problem.transported(&at);
            let norm = system.right.iter().zip(&masses).map(|(b, m)| b * b / m).sum::<f64>().sqrt();
            let largest = problem.cost.iter().flatten().fold(0.0f64, |most, &c| most.max(c));
            let w = system.solve(&system.right);
            let widest = w.iter().fold(0.0f64, |most, w| most.max(w.abs()));
            let off =
                |m: usize| got.missed[k] * norm * masses[m].sqrt() + 4.0 * exponent * masses[m] * (largest + widest);
            let spread = |n: usize| {
                let unit = |m: usize| f64::from(u8::from(m == n));
                let column = system.solve(&(0..masses.len()).map(unit).collect::<Vec<_>>());
                (0..masses.len()).map(|m| column[m].abs() * off(m)).sum::<f64>()
            };
            let through = (0..masses.len()).map(spread).fold(0.0, f64::max);
            let tolerance = 2.0 * (through + 4.0 * exponent * (largest + widest)) * size;
            tally.all_near("slope", &own, &want, |_| tolerance);
        }
    });
}

/// Published rounds end where neither side is the best for the other.
#[test]
fn published_rounds_have_no_gradient_of_the_cost() {
    let images = [super::image(3, 3, &[[6.0, 6.0]], vec![9.0])];
    let floored = Rules { form: Form::Floored { floor: 1e-16 }, ..balanced() };
    let relaxed = Rules { of_cells: Marginal::Relaxed { rho: 9.0 }, normalise: None, ..balanced() };
    let averaged = super::solve_by(device(), &images, (relaxed, exactly(1)), |problem, on, density| {
        problem.solve_averaged(on, density)
    });
    for solved in [solve(&images, floored, exactly(1)), averaged] {
        let refused = solved.problem.cost_gradient(device(), &solved.solution).map(|_| ());
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    }
    let solved = solve(&images, relaxed, exactly(1));
    assert!(solved.problem.cost_gradient(device(), &solved.solution).is_ok());
}

/// At the blur `b* = sum_n t_n softmax_i(-C / epsilon)` the slope of `sum P ln P` is the same in every cell: potentials are off by half a
/// round's rounding each and by epsilon times what points still miss, the mass of a cell by one rounding.
#[test]
fn the_published_slope_is_constant_at_the_blur() {
    property("blur", 6, images(1, 9), |image, tally| {
        let mut image = prepared(image, &balanced());
        let epsilon = image.place.epsilons[0].max(100.0);
        image.place.epsilons = vec![epsilon];
        let problem = theirs(&image, &balanced());
        image.density.fill(0.0);
        for (n, mass) in problem.points.iter().enumerate() {
            let total = oracle::log_sum_exp(problem.cost.iter().map(|row| -row[n] / epsilon));
            for (z, row) in image.density.iter_mut().zip(&problem.cost) {
                *z += mass * (-row[n] / epsilon - total).exp();
            }
        }
        image.density.iter_mut().for_each(|z| *z = single(*z));
        let rules = Rules { form: Form::Shannon, ..balanced() };
        let solved = solve(std::slice::from_ref(&image), rules, Stop { limit: 400, tolerance: 1e-5 });
        let [cells, points] = solved.potentials().remove(0);
        let at = oracle::Solution { cells, points, epsilon, rounds: 0 };
        let problem = theirs(&image, &balanced());
        let missed = epsilon * (solved.reports()[0].residual * problem.points.len() as f64 + U);
        let slopes = wide(solved.outcome().slope.read().expect("slopes"));
        tally.all_near("slope", &slopes, &vec![slopes[0]; slopes.len()], |_| {
            4.0 * half_error(&problem, &at, epsilon) + 2.0 * missed
        });
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
