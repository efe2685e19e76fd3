//! When solvers stop, what they then know, and what they cannot solve.

use splatport::kernels::{
    Error,
    sinkhorn::{Form, Ground, Marginal, Measure, Place, Problem, Rules, Stop, schedule},
};
use splatport::reference::sinkhorn as oracle;

use super::{any_rules, balanced, exactly, half_error, image, images, prepared, solve, theirs};
use crate::device::{device, once, property, wide};

/// Images stop one by one, at the tolerance, and say so.
#[test]
fn solvers_stop_where_they_say() {
    once("stops", |tally| {
        let points = [[6.0, 6.0], [18.5, 9.0], [11.0, 21.0]];
        let images = [
            image(6, 6, &points, schedule(800.0, 0.8, 30.0)),
            image(5, 7, &points[..1], vec![30.0]),
            image(3, 3, &[], vec![30.0]),
            image(6, 6, &points, schedule(800.0, 0.8, 0.05)),
        ];
        let solved = solve(&images, balanced(), Stop { limit: 400, tolerance: 1e-4 });
        for (k, report) in solved.reports().iter().enumerate().take(3) {
            let known = report.converged == (report.rounding <= 1e-4);
            tally.holds(known && report.error <= 1e-4, || format!("{k}: {report:?}"));
        }
        let rounds: Vec<usize> = solved.reports().iter().map(|report| report.rounds).collect();
        tally.equal("one point", &rounds[1], &10);
        tally.equal("no point", &rounds[2], &10);
        tally.holds(rounds[0] < 400 && rounds[0].is_multiple_of(10), || format!("{rounds:?}"));
        let hard = solved.reports()[3];
        tally.holds(!hard.converged && hard.rounds == 400 && hard.error > 1e-4, || format!("{hard:?}"));
    });
}

/// With the error that a relaxed solver reports, every marginal of the optimum is known. Measured: 0.96 of the bound.
#[test]
fn contraction_bounds_the_distance_to_the_optimum() {
    property("contraction", 12, (images(1, 6), any_rules()), |(image, rules), tally| {
        let image = prepared(image, rules);
        let Marginal::Relaxed { rho } = rules.of_points else { return };
        let problem = theirs(&image, rules);
        if problem.cells.iter().all(|&z| z == 0.0) {
            return;
        }
        let solved = solve(std::slice::from_ref(&image), *rules, Stop { limit: 60, tolerance: 1e-3 });
        let epsilons = &image.place.epsilons;
        let epsilon = epsilons[epsilons.len() - 1];
        let want = problem.converge(epsilons, 4000, 1e-12);
        let [cells, points] = solved.potentials().remove(0);
        let report = solved.reports()[0];
        let got = oracle::Solution { cells, points, epsilon, rounds: report.rounds };
        let Marginal::Relaxed { rho: other } = rules.of_cells else { return };
        // The bound is on potentials, in units of the smaller rho; rounding moves the fixed point itself.
        let least = rho.min(other);
        let (a, b) = (epsilon / rho, epsilon / other);
        let factor = match rules.form {
            Form::Conditional => (b - 1.0).abs() / (1.0 + a),
            _ => 1.0 / ((1.0 + a) * (1.0 + b)),
        };
        let rounding = 4.0 * half_error(&problem, &got, epsilon) / (1.0 - factor);
        tally.all_near("point", &got.points, &want.points, |_| report.error * least * 1.001 + rounding);
        tally.equal("convergence", &report.converged, &(report.error.max(report.rounding) <= 1e-3));
    });
}

/// No round brings mass: an image without any stops at the first look, wherever it is in its schedule.
#[test]
fn nothing_stops_at_the_first_look() {
    let mut nothing = image(6, 6, &[[6.0, 6.0]], schedule(1e6, 0.9, 1.0));
    nothing.density.fill(0.0);
    let report = solve(&[nothing], balanced(), Stop { limit: 400, tolerance: 1e-4 }).reports()[0];
    assert!(report.rounds == 10 && !report.converged && report.residual == 1.0, "{report:?}");
}

/// Nothing to carry, epsilons far too small or too large, points on top of each other, densities that are none: numbers
/// that say so, never a NaN.
#[test]
fn extremes_stay_finite() {
    let points = [[6.0, 6.0], [6.0, 6.0], [-4e3, 9.0]];
    let relaxed = Marginal::Relaxed { rho: 10.0 };
    let of = |form| Rules {
        ground: Ground::Distance,
        of_cells: relaxed,
        of_points: relaxed,
        form,
        normalise: None,
        alone: 0.0,
    };
    let rules = [
        balanced(),
        Rules { form: Form::Shannon, ..balanced() },
        of(Form::Conditional),
        of(Form::Joint(Measure::Product)),
    ];
    let floored = Rules { form: Form::Floored { floor: 1e-16 }, ..balanced() };
    for rules in rules.into_iter().chain([floored]) {
        for epsilon in [1e-9, 1.0, 1e9] {
            for density in [0.0, 1.0, 1e-30, 1e9, -1.0, f64::NAN, f64::INFINITY] {
                let mut image = image(6, 6, &points, vec![epsilon]);
                image.density.fill(density);
                let solved = solve(&[image], rules, Stop { limit: 20, tolerance: 1e-3 });
                let outcome = solved.outcome();
                let numbers =
                    [&outcome.values, &outcome.slope, &outcome.received].map(|b| wide(b.read().expect("numbers")));
                let cost = wide(solved.problem.cost(device(), &solved.solution).read().expect("costs"));
                let finite = numbers.iter().flatten().chain(&cost).all(|v| v.is_finite());
                let report = solved.reports()[0];
                assert!(finite && report.residual.is_finite(), "{rules:?} {epsilon} {density}: {report:?} {numbers:?}");
                let valid = density >= 0.0 && density.is_finite();
                assert_eq!(report.refused, if valid { 0 } else { 36 }, "{density}");
                if !valid || density == 0.0 {
                    assert_eq!(report.mass, 0.0, "{density}");
                    assert_eq!(numbers[2], [0.0; 3], "{density}");
                }
            }
        }
    }
}
/// Potentials that are none start from 0, however large they are no sum overflows, and the length is checked.
#[test]
fn any_potentials_may_be_given() {
    let image = image(6, 6, &[[6.0, 6.0], [18.5, 9.0], [11.0, 21.0]], vec![30.0]);
    let stop = Stop { limit: 400, tolerance: 1e-4 };
    let problem = Problem::new(device(), std::slice::from_ref(&image.place), balanced(), stop).expect("a problem");
    let density = device().upload_f64(&image.density);
    for bad in [f32::NAN, f32::INFINITY, f32::MAX, -f32::MAX, 1e18, -1e18] {
        let from = device().upload(&[0.0, bad, 1.0]);
        let solution = problem.solve(device(), &density, Some(&from)).expect("a solution");
        let report = solution.reports()[0];
        let outcome = problem.outcome(device(), &solution);
        let numbers = wide(outcome.slope.read().expect("slopes"));
        assert!(report.residual.is_finite() && numbers.iter().all(|v| v.is_finite()), "{bad}: {report:?}");
    }
    let short = device().filled(0.0f32, 2);
    for refused in
        [problem.solve(device(), &density, Some(&short)), problem.solve_newton(device(), &density, Some(&short))]
    {
        assert!(matches!(refused, Err(Error::Length { what: "potentials", expected: 3, got: 2 })), "{refused:?}");
    }
}

#[test]
fn bad_input_is_refused() {
    let stop = exactly(1);
    let good = image(3, 3, &[[2.0, 2.0]], vec![1.0]).place;
    let refused =
        |place: &[Place]| matches!(Problem::new(device(), place, balanced(), stop), Err(Error::Length { .. }));
    assert!(refused(&[]));
    assert!(refused(&[Place { epsilons: vec![], ..good.clone() }]));
    assert!(refused(&[Place { masses: vec![], ..good.clone() }]));
    let number = |place: Place, rules: Rules, stop: Stop| match Problem::new(device(), &[place], rules, stop) {
        Err(Error::Number { what, .. } | Error::Count { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    for bad in [f64::NAN, f64::INFINITY, 0.0, -1.0, 1e60] {
        assert_eq!(number(Place { epsilons: vec![1.0, bad], ..good.clone() }, balanced(), stop), "epsilon");
        assert_eq!(number(Place { masses: vec![bad], ..good.clone() }, balanced(), stop), "mass of a point");
        assert_eq!(number(Place { scale: bad, ..good.clone() }, balanced(), stop), "scale of costs");
        let rules = Rules { of_points: Marginal::Relaxed { rho: bad }, ..balanced() };
        assert_eq!(number(good.clone(), rules, stop), "rho");
    }
    for bad in [f64::NAN, f64::INFINITY, -1e60] {
        assert_eq!(number(Place { points: vec![[1.0, bad]], ..good.clone() }, balanced(), stop), "coordinate");
        assert_eq!(number(good.clone(), balanced(), Stop { tolerance: bad, ..stop }), "tolerance");
    }
    assert_eq!(number(good.clone(), balanced(), Stop { limit: usize::MAX, ..stop }), "rounds");
    let problem = Problem::new(device(), &[good], balanced(), stop).expect("a problem");
    assert!(matches!(problem.solve(device(), &device().filled(1.0, 8), None), Err(Error::Length { .. })));
}
