use proptest::prelude::*;
use splatport::Error;
use splatport::losses::{DmCount, DmProfile, Epsilon, OtEntropy, Solver, Unbalanced};
use splatport::reference::dm_count::{count_and_variation, dots, published, published_gradient};
use splatport::reference::sinkhorn::{Form, Marginal, Problem, Solution, slope_by_density, uniform};

use super::l2::lattice;
use super::{Scene, bound, by_image, densities, gradients, roundings, scene, scenes, solutions};
use crate::device::sinkhorn::{half_error, size};
use crate::device::{R, U, device, once, poison, property, wide};

type Step = splatport::losses::Step<R>;

const TRANSPORT: f64 = 0.1;
const VARIATION: f64 = 0.01;

fn evaluate(loss: &DmCount, scenes: &[Scene]) -> Step {
    let loss = loss.on(device(), &bound(scenes)).expect("a loss");
    let density = densities(scenes);
    poison(&[density.len(), 4 * density.len(), 5 * density.len(), 4 * scenes.len(), scenes.len()]);
    loss.evaluate(&density).expect("a step")
}

pub(super) fn dots_of(scene: &Scene, rounded: bool) -> Vec<f64> {
    dots(&lattice(scene), scene.points.points(), rounded)
}

/// Slopes may differ where rounding decides a sign: twice the sign's weight, if the shares are equal up to rounding.
fn undecided(scene: &Scene, rounded: bool, images: f64) -> (Vec<f64>, f64) {
    let (total, n) = (scene.mass(), scene.points.len() as f64);
    let padded = total + 1e-6;
    let shares = scene.density.iter().zip(dots_of(scene, rounded)).map(|(z, d)| (z / padded, d / (n + 1e-6)));
    let unsure: Vec<bool> =
        shares.map(|(z, d)| z != d && (z - d).abs() <= 2.0 * roundings(scene) * U * (z + d)).collect();
    let weight = 2.0 * VARIATION * n / padded / images;
    let moved: f64 = unsure.iter().zip(&scene.density).filter(|(u, _)| **u).map(|(_, z)| weight * z / padded).sum();
    let count = if (total - n).abs() <= roundings(scene) * U * total { 2.0 / images } else { 0.0 };
    (unsure.iter().map(|&u| if u { weight } else { 0.0 }).collect(), moved + count)
}

/// Rounding of the other two terms' slope.
fn rest_error(scene: &Scene, images: f64) -> f64 {
    let n = scene.points.len() as f64;
    4.0 * roundings(scene) * U * (1.0 + VARIATION * n / (scene.mass() + 1e-6)) / images
}

/// The published code in `f64` and linear domain, against ours in log domain. A half of a round moves potentials no further
/// apart, so errors of rounds add. Measured: 0.21 of the tolerance.
#[test]
fn the_reference_profile_is_the_published_code() {
    property("published", 16, (scenes(0), 5.0..60.0), |(scenes, epsilon), tally| {
        let epsilon = f64::from(*epsilon as f32);
        let loss = DmCount::new(DmProfile::Reference).epsilon(Epsilon::Absolute(epsilon));
        let step = evaluate(&loss, scenes);
        let images = scenes.len() as f64;
        let received = by_image(scenes, step.transported(), |scene| scene.points.len());
        let potentials = solutions(scenes, &step, |_| epsilon);
        let (values, gradients) = (step.values().expect("values"), gradients(scenes, &step));
        for (k, scene) in scenes.iter().enumerate() {
            let (total, n) = (scene.mass(), scene.points.len());
            let (rest, slopes) = count_and_variation(&scene.density, &dots_of(scene, true), n, [1.0, VARIATION]);
            let sums = (total + n as f64) * (1.0 + 2.0 * VARIATION);
            tally.near("value", k, (values[k], rest / images), 4.0 * roundings(scene) * U * sums / images);
            let (unsure, all) = undecided(scene, true, images);
            let error = rest_error(scene, images) + all;
            if n == 0 || total == 0.0 {
                let slopes: Vec<f64> = slopes.iter().map(|s| s / images).collect();
                tally.all_near("slope alone", &gradients[k], &slopes, |i| error + unsure[i] + U * slopes[i].abs());
                continue;
            }
            let shares: Vec<f64> = scene.density.iter().map(|z| z / (total + 1e-6)).collect();
            let want = published(&scene.costs(), &shares, epsilon, 100);
            tally.equal("rounds", &step.reports()[k].rounds, &want.rounds);
            let (cells, points) = (want.cells.clone(), want.points.clone());
            let problem = problem(scene);
            let at = Solution { cells, points, epsilon, rounds: 100 };
            let off = (2 * want.rounds + 1) as f64 * half_error(&problem, &at, epsilon);
            tally.all_near("cell", &potentials[k].cells, &want.cells, |_| off);
            tally.all_near("point", &potentials[k].points, &want.points, |_| off);
            let transport = published_gradient(&want.cells, &scene.density);
            let wanted: Vec<f64> = transport.iter().zip(&slopes).map(|(t, s)| TRANSPORT * t + s / images).collect();
            let sums = 4.0 * roundings(scene) * U * size(&want.cells);
            tally.all_near("slope", &gradients[k], &wanted, |i| {
                TRANSPORT * (2.0 * off + sums) / total + error + unsure[i]
            });
            // `a - 1e-16 u`.
            let exponent = off / epsilon;
            tally.all_near("received", &received[k], &want.received, |m| {
                exponent.exp_m1() * (1.0 / n as f64 - want.received[m]) + 8.0 * U / n as f64
            });
        }
    });
}

/// The balanced problem of shares.
fn problem(scene: &Scene) -> Problem<f64> {
    let total = scene.mass();
    Problem {
        cost: scene.costs(),
        cells: scene.density.iter().map(|z| if total > 0.0 { z / total } else { 0.0 }).collect(),
        points: uniform(scene.points.len()),
        of_cells: Marginal::Exact,
        of_points: Marginal::Exact,
        form: Form::Joint { mass: 1.0 },
    }
}

/// Value and gradient of the exact profile, given the device's potentials; and these are the optimum's, as the report says.
/// Measured: 0.006 of the tolerance.
#[test]
fn the_exact_profile_follows_from_its_potentials() {
    let entropies = prop_oneof![Just(OtEntropy::Shannon), Just(OtEntropy::RelativeKl)];
    let solvers = prop_oneof![Just(Solver::Newton), Just(Solver::Sinkhorn)];
    property("exact", 16, (scenes(1), entropies, solvers), |(scenes, entropy, solver), tally| {
        let step = evaluate(&DmCount::new(DmProfile::Exact { entropy: *entropy, solver: *solver }), scenes);
        let images = scenes.len() as f64;
        let (values, gradients) = (step.values().expect("values"), gradients(scenes, &step));
        for (k, (scene, at)) in scenes.iter().zip(solutions(scenes, &step, |_| 10.0)).enumerate() {
            let (total, n, report) = (scene.mass(), scene.points.len(), step.reports()[k]);
            if total == 0.0 {
                tally.holds(gradients[k].iter().all(|g| g.is_finite()), || "slope of nothing".to_owned());
                continue;
            }
            let problem = problem(scene);
            let exponent = 3.0 * half_error(&problem, &at, 10.0) / 10.0;
            tally.near("residual", k, (report.residual, problem.residual(&at)), 4.0 * exponent.exp_m1());
            tally.equal("converged", &report.converged, &(report.residual.max(report.rounding) <= 0.01));
            let (mut value, mut slope) = (problem.value(&at), problem.slope(&at));
            if *entropy == OtEntropy::Shannon {
                let log = |mass: &f64| 10.0 * mass.max(1e-16).ln();
                value += problem.cells.iter().chain(&problem.points).map(|m| m * log(m)).sum::<f64>();
                slope.iter_mut().zip(&problem.cells).for_each(|(slope, mass)| *slope += log(mass));
            }
            let transport = slope_by_density(&slope, &scene.density);
            let (rest, slopes) = count_and_variation(&scene.density, &dots_of(scene, false), n, [1.0, VARIATION]);
            let sizes = size(&slope) + size(&at.points) + size(&at.cells) + 10.0;
            let sums = 4.0 * roundings(scene) * U * sizes;
            let counts = 4.0 * roundings(scene) * U * (total + n as f64) / images;
            let off = TRANSPORT * (sums + 10.0 * exponent.exp_m1()) + counts;
            tally.near("value", k, (values[k], TRANSPORT * value + rest / images), off);
            let (unsure, all) = undecided(scene, false, images);
            let wanted: Vec<f64> = transport.iter().zip(&slopes).map(|(t, s)| TRANSPORT * t + s / images).collect();
            tally.all_near("slope", &gradients[k], &wanted, |i| {
                TRANSPORT * sums / total + rest_error(scene, images) + all + unsure[i]
            });
        }
    });
}

/// An image's numbers do not depend on the others, but for the mean.
#[test]
fn images_do_not_know_of_each_other() {
    property("batch", 4, scenes(0), |scenes, tally| {
        let loss = DmCount::new(DmProfile::default());
        let together = evaluate(&loss, scenes);
        let all = by_image(scenes, &together.potentials().0, |scene| scene.grid.len());
        for (scene, all) in scenes.iter().zip(&all) {
            let alone = evaluate(&loss, std::slice::from_ref(scene));
            tally.equal("potentials", &wide(alone.potentials().0.read().expect("numbers")), all);
        }
        let each: Vec<_> = scenes.iter().map(|scene| device().upload_f64(&scene.density)).collect();
        let bound_loss = loss.on(device(), &bound(scenes)).expect("a loss");
        let again = bound_loss.evaluate_all(&each).expect("a step");
        tally.equal("values", &again.values().expect("values"), &together.values().expect("values"));
        let split: Vec<Vec<f64>> =
            again.gradients().expect("slopes").iter().map(|g| wide(g.read().expect("slopes"))).collect();
        tally.equal("slopes", &split, &gradients(scenes, &together));
        tally.holds(bound_loss.evaluate_all(&each[1..]).is_err(), || "a density is missing".to_owned());
    });
}

/// What annotations receive too much, in shares; and with the rounds of relaxed transport, in mass.
#[test]
fn residuals_are_what_is_received_less_what_is_due() {
    once("residuals", |tally| {
        let scenes = [scene(0.25, &[[9.0, 9.0], [30.0, 20.0]]), scene(0.5, &[[9.0, 9.0]])];
        let steps = [
            (evaluate(&DmCount::default(), &scenes), [0.5, 0.5, 1.0]),
            (
                Unbalanced::default()
                    .on(device(), &bound(&scenes))
                    .expect("a loss")
                    .evaluate(&densities(&scenes))
                    .expect("a step"),
                [1.0; 3],
            ),
        ];
        for (step, due) in steps {
            let received = wide(step.transported().read().expect("masses"));
            let wanted: Vec<f64> = received.iter().zip(due).map(|(received, due)| received - due).collect();
            tally.equal("residuals", &step.residuals().expect("residuals"), &wanted);
            tally.holds(wanted.iter().any(|r| r.abs() > 0.0), || "nothing to see".to_owned());
        }
    });
}

/// No annotation: the count alone. No mass: no slope of the transport, and finite numbers.
#[test]
fn nothing_to_carry_leaves_the_count() {
    once("nothing", |tally| {
        let shannon = DmProfile::Exact { entropy: OtEntropy::Shannon, solver: Solver::Newton };
        for profile in [DmProfile::Reference, DmProfile::default(), shannon] {
            let none = evaluate(&DmCount::new(profile), &[scene(0.25, &[])]);
            tally.equal("value of no point", &none.value().expect("a value"), &3.75);
            tally.equal("slope of no point", &wide(none.gradient().read().expect("slopes")), &vec![1.0; 15]);
            let empty = [scene(0.0, &[[9.0, 9.0], [9.0, 9.0]])];
            let step = evaluate(&DmCount::new(profile).weights(0.1, 0.0), &empty);
            tally.equal("value of no mass", &step.value().expect("a value"), &2.0);
            tally.equal("slope of no mass", &wide(step.gradient().read().expect("slopes")), &vec![-1.0; 15]);
            tally.equal("received", &wide(step.transported().read().expect("masses")), &vec![0.0; 2]);
            let hot = evaluate(&DmCount::new(profile), &empty);
            tally
                .holds(wide(hot.gradient().read().expect("slopes")).iter().all(|g| g.is_finite()), || "NaN".to_owned());
        }
    });
}

/// A density without mass stops at the first look and says that nothing converged; the others' bits do not change.
#[test]
fn nothing_does_not_hold_up_a_batch() {
    once("empty among others", |tally| {
        let scenes = [scene(0.25, &[[9.0, 9.0], [30.0, 20.0]]), scene(0.0, &[[9.0, 9.0], [30.0, 20.0]])];
        for (solver, first) in [(Solver::Newton, 0), (Solver::Sinkhorn, 10)] {
            let loss = DmCount::new(DmProfile::Exact { entropy: OtEntropy::RelativeKl, solver });
            let step = evaluate(&loss, &scenes);
            let [full, empty] = [0, 1].map(|k| step.reports()[k]);
            tally.holds(full.converged && full.rounds > first, || format!("{solver:?}: {full:?}"));
            tally.holds(!empty.converged && empty.rounds == first, || format!("{solver:?}: {empty:?}"));
            let alone = evaluate(&loss, &scenes[..1]);
            tally.equal("rounds", &alone.reports()[0].rounds, &full.rounds);
            let potentials = by_image(&scenes, &step.potentials().0, |scene| scene.grid.len());
            tally.equal("bits", &wide(alone.potentials().0.read().expect("numbers")), &potentials[0]);
        }
    });
}

#[test]
fn bad_input_is_refused() {
    let good = [scene(0.25, &[[9.0, 9.0]])];
    let loss = DmCount::new(DmProfile::default());
    let on = |loss: &DmCount| loss.on(device(), &bound(&good)).map(|_| ());
    for epsilon in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e10] {
        let refused = on(&loss.clone().epsilon(Epsilon::Absolute(epsilon)));
        assert!(matches!(refused, Err(Error::Option { name: "epsilon", .. })), "{epsilon}");
    }
    assert!(matches!(on(&loss.clone().rounds(0)), Err(Error::Option { name: "rounds", .. })));
    assert!(matches!(on(&loss.clone().weights(f64::NAN, 0.0)), Err(Error::Option { .. })));
    assert!(matches!(loss.on(device(), &[]).map(|_| ()), Err(Error::Empty { .. })));
    let bound = loss.on(device(), &bound(&good)).expect("a loss");
    for (value, finite) in [(-0.5f32, true), (2e9, true), (f32::NAN, false), (f32::INFINITY, false)] {
        let mut density = vec![0.25f32; 15];
        density[7] = value;
        let refused = bound.evaluate(&device().upload(&density)).map(|_| ());
        match refused {
            Err(Error::OutOfRange { index: 7, .. }) if finite => {}
            Err(Error::NotFinite { index: 7, .. }) if !finite => {}
            other => panic!("{value}: {other:?}"),
        }
    }
    let refused = bound.evaluate(&device().filled(0.1, 14)).map(|_| ());
    assert!(matches!(refused, Err(Error::Length { what: "density", expected: 15, got: 14 })));
}
