//! Newton's method on balanced transport against the oracle's rounds.

use proptest::collection::vec;
use splatport::Device;
use splatport::kernels::{
    Error, Shape,
    sinkhorn::{Form, Marginal, Problem, Rules, Stop},
};
use splatport::reference::sinkhorn as oracle;

use super::sinkhorn::{
    Image, Solved, balanced, half_error, images, largest_cost, prepared, size, solve_by, solve_on, theirs,
};
use super::{R, device, once, property};

/// Every epsilon is taken for two steps.
fn twice(images: &[Image]) -> Vec<Image> {
    let mut images: Vec<Image> = images.iter().map(|image| prepared(image, &balanced())).collect();
    for image in &mut images {
        // So that rounding leaves the tolerance to be met: an exponent is off by U times the largest cost over epsilon.
        let least = 2e-3 * largest_cost(&image.place.cells, &image.place.points);
        image.place.epsilons.iter_mut().for_each(|epsilon| *epsilon = epsilon.max(f64::from(least as f32)));
        image.place.epsilons = image.place.epsilons.iter().flat_map(|&epsilon| [epsilon; 2]).collect();
    }
    images
}

fn solve(on: &Device<R>, images: &[Image], stop: Stop) -> Solved {
    solve_by(on, images, (balanced(), stop), |problem, on, density| problem.solve_newton(on, density, None))
}

/// The residual is met and as reported, and the dual is no lower than after the oracle's rounds, up to what both miss: the largest
/// potential times their residuals, and rounding. Measured: 0.005 of the tolerance.
#[test]
fn it_comes_to_the_optimum() {
    property("newton", 16, vec(images(0, 9), 1..4), |images, tally| {
        let images = twice(images);
        let solved = solve(device(), &images, Stop { limit: 200, tolerance: 1e-3 });
        for ((image, [cells, points]), report) in images.iter().zip(solved.potentials()).zip(solved.reports()) {
            let problem = theirs(image, &balanced());
            if points.is_empty() || problem.cells.iter().all(|&z| z == 0.0) {
                tally.holds(cells.iter().chain(&points).all(|p| p.is_finite()), || "nothing to carry".to_owned());
                continue;
            }
            let known = report.converged == (report.rounding <= 1e-3);
            tally.holds(known && report.error <= 1e-3 && report.rounds < 200, || format!("{report:?}"));
            let epsilon = *image.place.epsilons.last().expect("an epsilon");
            let at = oracle::Solution { cells, points, epsilon, rounds: 0 };
            let exponent = 3.0 * half_error(&problem, &at, epsilon) / epsilon;
            tally.near("residual", 0, (report.residual, problem.residual(&at)), 4.0 * exponent.exp_m1());
            let want =
                problem.converge(&oracle::schedule(size(problem.cost.iter().flatten()), 0.8, epsilon), 3000, 1e-6);
            let slack = 2.0 * (size(&want.points) + size(&at.points)) * (report.residual + problem.residual(&want))
                + 4.0 * half_error(&problem, &at, epsilon);
            let short = problem.value(&want) - problem.value(&at);
            tally.near("short of the dual", 0, (short.max(0.0), 0.0), slack);
        }
    });
}

/// A step never goes so far that the dual falls, from potentials 0 and with the last epsilon at once. Half a round's rounding a step.
#[test]
fn the_dual_never_falls() {
    property("ascent", 6, images(2, 9), |image, tally| {
        let mut image = twice(std::slice::from_ref(image)).remove(0);
        image.place.epsilons = image.place.epsilons.split_off(image.place.epsilons.len() - 1);
        let (problem, epsilon) = (theirs(&image, &balanced()), image.place.epsilons[0]);
        if problem.cells.iter().all(|&z| z == 0.0) {
            return;
        }
        let mut before = f64::MIN;
        for limit in 1..9 {
            let solved = solve(device(), std::slice::from_ref(&image), Stop { limit, tolerance: -1.0 });
            let [cells, points] = solved.potentials().remove(0);
            let at = oracle::Solution { cells, points, epsilon, rounds: limit };
            let value = problem.value(&at);
            let slack = 2.0 * half_error(&problem, &at, epsilon);
            tally.holds(value >= before - slack, || format!("step {limit}: {value} after {before}"));
            before = value;
        }
    });
}

/// Both shapes, twice, alone and in a batch.
#[test]
fn shapes_agree_and_bits_repeat() {
    property("shapes of newton", 4, vec(images(0, 9), 2..4), |images, tally| {
        let images = twice(images);
        let stop = Stop { limit: 200, tolerance: 1e-3 };
        let [one, other] = [Shape::Gathered, Shape::Tiled].map(|shape| {
            let on = device().with_shape(shape);
            let got = solve(&on, &images, stop).potentials();
            tally.holds(got == solve(&on, &images, stop).potentials(), || format!("{shape:?}: two runs differ"));
            for (image, together) in images.iter().zip(&got) {
                let alone = solve(&on, std::slice::from_ref(image), stop).potentials();
                tally.holds(alone[0] == *together, || format!("{shape:?}: alone is not as in a batch"));
            }
            got
        });
        for ((image, a), b) in images.iter().zip(one).zip(other) {
            let problem = theirs(image, &balanced());
            if image.place.points.is_empty() || problem.cells.iter().all(|&z| z == 0.0) {
                continue;
            }
            let epsilon = *image.place.epsilons.last().expect("an epsilon");
            let [a, b] = [a, b].map(|[cells, points]| oracle::Solution { cells, points, epsilon, rounds: 0 });
            let slack = 2.0 * (size(&a.points) + size(&b.points)) * 2e-3 + 4.0 * half_error(&problem, &a, epsilon);
            tally.near("dual", 0, (problem.value(&a), problem.value(&b)), slack);
        }
    });
}

/// Fewer passes over the plan than rounds need: what it is for.
#[test]
fn it_needs_fewer_passes_than_rounds() {
    once("passes", |tally| {
        let points = [[6.0, 6.0], [18.5, 9.0], [11.0, 21.0], [55.0, 40.0], [30.0, 33.0], [52.0, 8.0], [9.0, 50.0]];
        let image = |epsilons| super::sinkhorn::image(16, 16, &points, epsilons);
        let stop = Stop { limit: 4000, tolerance: 1e-3 };
        let epsilons = oracle::schedule(6000.0, 0.5, 4.0);
        let newton = solve(device(), &[image(epsilons.iter().flat_map(|&e| [e; 2]).collect())], stop);
        let rounds = solve_on(device(), &[image(oracle::schedule(6000.0, 0.8, 4.0))], balanced(), stop);
        // Two passes to look, and two for each of ten products.
        let [newton, rounds] = [newton.reports()[0].rounds * 22, rounds.reports()[0].rounds * 2];
        println!("passes: {newton} of Newton's steps, {rounds} of rounds");
        tally.holds(newton < rounds, || format!("{newton} passes, {rounds} of rounds"));
    });
}

#[test]
fn relaxed_marginals_are_refused() {
    let image = super::sinkhorn::image(3, 3, &[[6.0, 6.0]], vec![1.0]);
    let relaxed = Marginal::Relaxed { rho: 1.0 };
    for rules in [
        Rules { of_cells: relaxed, ..balanced() },
        Rules { of_points: relaxed, ..balanced() },
        Rules { form: Form::Floored { floor: 1e-16 }, ..balanced() },
        Rules { form: Form::Conditional, ..balanced() },
    ] {
        let problem =
            Problem::new(device(), std::slice::from_ref(&image.place), rules, Stop { limit: 9, tolerance: 1e-3 });
        let density = device().upload_f64(&image.density);
        let refused = problem.expect("a problem").solve_newton(device(), &density, None).map(|_| ());
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    }
}
