use proptest::prelude::*;
use splatport::kernels::Shape;
use splatport::losses::{Coordinates, Epsilon, Ground, Marginals, Sinkhorn, Solver};
use splatport::reference::sinkhorn::{Form, Marginal, Problem, slope_by_density, uniform};
use splatport::{Annotations, Error, Grid};

use super::{Scene, bound, by_image, densities, gradients, roundings, scene, scenes, solutions};
use crate::device::sinkhorn::{half_error, size};
use crate::device::{R, U, device, property};

type Step = splatport::losses::Step<R>;

fn evaluate(loss: &Sinkhorn, scenes: &[Scene]) -> Step {
    loss.on(device(), &bound(scenes)).expect("a loss").evaluate(&densities(scenes)).expect("a step")
}

/// A share of the largest or the mean cost; in pixels or shares of the longer side; squared or not.
fn settings() -> impl Strategy<Value = (Epsilon, Coordinates, Ground)> {
    let epsilon = (prop_oneof![Just(0.003f64), Just(0.02), Just(0.2)], any::<bool>());
    let epsilon = epsilon.prop_map(|(e, mean)| if mean { Epsilon::RelativeMean(e) } else { Epsilon::RelativeMax(e) });
    let coordinates = prop_oneof![Just(Coordinates::Pixels), Just(Coordinates::LongerSide)];
    (epsilon, coordinates, prop_oneof![Just(Ground::Squared), Just(Ground::Distance)])
}

fn costs(scene: &Scene, coordinates: Coordinates, ground: Ground) -> Vec<Vec<f64>> {
    let longer = f64::from(scene.grid.size()[0].max(scene.grid.size()[1]));
    let unit = if coordinates == Coordinates::LongerSide { longer } else { 1.0 };
    let scaled = |c: f64| if ground == Ground::Distance { c.sqrt() / unit } else { c / (unit * unit) };
    scene.costs().into_iter().map(|row| row.into_iter().map(scaled).collect()).collect()
}

/// The balanced problem of shares, px².
pub fn problem(scene: &Scene) -> Problem<f64> {
    Problem {
        cost: scene.costs(),
        cells: scene.density.iter().map(|z| z / scene.mass()).collect(),
        points: uniform(scene.points.len()),
        of_cells: Marginal::Exact,
        of_points: Marginal::Exact,
        form: Form::Joint { mass: 1.0 },
    }
}

/// The balanced value, its gradient and received shares, given the device's potentials; `<z, gradient> = 0`. Measured: 0.06 of
/// the tolerance.
#[test]
fn settings_mean_what_the_oracle_means() {
    property("settings", 16, (scenes(1), settings()), |(scenes, (epsilon, coordinates, ground)), tally| {
        let scenes: Vec<Scene> = scenes.iter().filter(|scene| scene.mass() > 0.0).cloned().collect();
        if scenes.is_empty() {
            return;
        }
        let loss = Sinkhorn::default().epsilon(*epsilon).coordinates(*coordinates).ground(*ground).rounds(50);
        let step = evaluate(&loss, &scenes);
        let images = scenes.len() as f64;
        let strength = |scene: &Scene| {
            let costs: Vec<f64> = costs(scene, *coordinates, *ground).into_iter().flatten().collect();
            match *epsilon {
                Epsilon::RelativeMax(share) => share * size(&costs),
                Epsilon::RelativeMean(share) => share * costs.iter().sum::<f64>() / costs.len() as f64,
                _ => unreachable!("not drawn"),
            }
        };
        let received = by_image(&scenes, step.transported(), |scene| scene.points.len());
        let (values, slopes) = (step.values().expect("values"), gradients(&scenes, &step));
        let costs_of = step.costs().expect("costs");
        for (k, (scene, at)) in scenes.iter().zip(solutions(&scenes, &step, strength)).enumerate() {
            let problem = Problem { cost: costs(scene, *coordinates, *ground), ..problem(scene) };
            let exponent = 3.0 * half_error(&problem, &at, at.epsilon) / at.epsilon;
            let wanted = problem.transported(&at);
            tally.all_near("received", &received[k], &wanted, |n| exponent.exp_m1() * (wanted[n] + problem.points[n]));
            let cost = problem.primal_cost(&at);
            tally.near("cost", k, (costs_of[k], cost), (exponent.exp_m1() + 600.0 * U) * cost);
            let sizes = size(&at.cells) + size(&at.points);
            let sums = 4.0 * roundings(scene) * U * (sizes + at.epsilon) + at.epsilon * exponent.exp_m1();
            tally.near("value", k, (images * values[k], problem.value(&at)), sums);
            let theirs = slope_by_density(&problem.slope(&at), &scene.density);
            tally.all_near("slope", &slopes[k], &theirs.iter().map(|s| s / images).collect::<Vec<_>>(), |_| {
                sums / scene.mass() / images
            });
            let dot: f64 = slopes[k].iter().zip(&scene.density).map(|(g, z)| g * z).sum();
            tally.near("product with the density", k, (dot, 0.0), sums / images);
        }
    });
}

/// With a stiff price and equal masses, relaxed marginals are exact ones: the plan differs by its potentials over rho.
/// Measured: 0.23 of the tolerance.
#[test]
fn stiff_marginals_are_balanced_ones() {
    property("stiff", 6, scenes(1), |scenes, tally| {
        let mut scenes: Vec<Scene> = scenes.iter().filter(|scene| scene.mass() > 0.0).cloned().collect();
        for scene in &mut scenes {
            let factor = scene.points.len() as f64 / scene.mass();
            scene.density.iter_mut().for_each(|z| *z = f64::from((*z * factor) as f32));
        }
        if scenes.is_empty() {
            return;
        }
        let loss = Sinkhorn::default().epsilon(Epsilon::Absolute(200.0)).rounds(400).tolerance(1e-4);
        let rho = 1e6;
        let exact = evaluate(&loss, &scenes);
        let stiff = evaluate(&loss.marginals(Marginals::Relaxed { rho }), &scenes);
        let [exact_masses, stiff_masses] =
            [&exact, &stiff].map(|step| by_image(&scenes, step.transported(), |scene| scene.points.len()));
        for (k, (shares, masses)) in exact_masses.iter().zip(&stiff_masses).enumerate() {
            let n = shares.len() as f64;
            let [a, b] = [&exact, &stiff].map(|step| solutions(&scenes, step, |_| 200.0).remove(k));
            let potentials: f64 = [&a, &b].map(|at| size(&at.cells) + size(&at.points)).iter().sum();
            let residuals = exact.reports()[k].residual + stiff.reports()[k].residual;
            let tolerance = potentials / rho + residuals + 3.0 * half_error(&problem(&scenes[k]), &a, 200.0) / 200.0;
            tally.all_near("share", &masses.iter().map(|m| m / n).collect::<Vec<_>>(), shares, |_| tolerance);
        }
    });
}

/// A row of a plan goes through all points twice: software Vulkan would end the second time early, without a word.
#[test]
fn plans_of_too_many_points_are_refused() {
    if device().shape() != Shape::Gathered {
        println!("no test: this device ends no loop early");
        return;
    }
    let many = Annotations::new(vec![[9.0, 9.0]; 40_000]).expect("points");
    let loss = Sinkhorn::default().annealing(None).rounds(1).on(device(), &[(Grid::over(16, 16, 8), &many)]);
    let step = loss.expect("a loss").evaluate(&device().filled(0.25, 4)).expect("a step");
    let error = step.plan(1e-3).map(|_| ()).expect_err("too many points").to_string();
    assert!(error.contains("points of an image, twice over") && error.contains("80000"), "{error}");
}

#[test]
fn bad_input_is_refused() {
    let good = [scene(0.25, &[[9.0, 9.0]]), scene(0.0, &[[9.0, 9.0]])];
    let loss = Sinkhorn::default();
    let refused = loss.on(device(), &bound(&good)).expect("a loss").evaluate(&densities(&good)).map(|_| ());
    assert!(matches!(refused, Err(Error::OutOfRange { index: 1, .. })), "{refused:?}");
    // Newton's method takes the factor that it is given, too.
    let newton = loss.clone().marginals(Marginals::Balanced(Solver::Newton));
    let rounds = |annealing| evaluate(&newton.clone().annealing(annealing), &good[..1]).reports()[0].rounds;
    assert!(rounds(Some(0.9)) > rounds(Some(0.5)));
    for (loss, factor) in [&loss, &newton].into_iter().flat_map(|loss| [0.0, 1.0, 7.0, f64::NAN].map(|f| (loss, f))) {
        let refused = loss.clone().annealing(Some(factor)).on(device(), &bound(&good)).map(|_| ());
        assert!(matches!(refused, Err(Error::Option { name: "annealing", .. })), "{factor}");
    }
    for factor in [0.99999, 1.0 - f64::EPSILON] {
        let refused = loss.clone().annealing(Some(factor)).on(device(), &bound(&good)).map(|_| ());
        assert!(matches!(refused, Err(Error::Option { name: "annealing", value, .. }) if value == factor));
    }
    for solver in [Solver::Sinkhorn, Solver::Newton] {
        let loss = loss.clone().marginals(Marginals::Balanced(solver));
        for rounds in [0, (1 << 24) + 1, usize::MAX] {
            let refused = loss.clone().rounds(rounds).on(device(), &bound(&good)).map(|_| ());
            assert!(matches!(refused, Err(Error::Option { name: "rounds", .. })), "{rounds}");
        }
        assert!(evaluate(&loss.clone().rounds(1 << 24), &good[..1]).reports()[0].converged);
        for tolerance in [f64::NAN, f64::INFINITY] {
            let refused = loss.clone().tolerance(tolerance).on(device(), &bound(&good)).map(|_| ());
            assert!(matches!(refused, Err(Error::Option { name: "tolerance", .. })), "{tolerance}");
        }
    }
    let step = evaluate(&loss, &good[..1]);
    assert!(matches!(step.plan(1.0).map(|_| ()), Err(Error::Option { name: "tau", .. })));
}
