//! Solvers that start where an earlier one ended.

use std::cell::Cell;

use proptest::prelude::*;
use splatport::Error;
use splatport::losses::{
    DmCount, DmProfile, Epsilon, Generalized, GlProfile, Marginals, Sinkhorn, Solver, TransportLoss, Unbalanced,
};

use super::sinkhorn::problem;
use super::{Scene, bound, densities, scene, scenes, solutions};
use crate::device::sinkhorn::{half_error, size};
use crate::device::{R, device, property, single};

type Loss = TransportLoss<R>;

const EPSILON: f64 = 100.0;
const TOLERANCE: f64 = 1e-3;

/// Balanced, by rounds and by Newton's method.
fn balanced(scenes: &[Scene]) -> [Loss; 2] {
    let loss = Sinkhorn::default().epsilon(Epsilon::Absolute(EPSILON)).tolerance(TOLERANCE).rounds(4000);
    [Solver::Sinkhorn, Solver::Newton]
        .map(|solver| loss.clone().marginals(Marginals::Balanced(solver)).on(device(), &bound(scenes)).expect("a loss"))
}

/// Every cell's mass moved by at most 2 %.
fn moved(scene: &Scene) -> Scene {
    let factor = |i: usize| 0.98 + 0.04 * (i as f64 * 0.754_877_666).fract();
    let density = scene.density.iter().enumerate().map(|(i, z)| single(z * factor(i))).collect();
    Scene { density, ..scene.clone() }
}

fn with_mass() -> impl Strategy<Value = Vec<Scene>> {
    scenes(1).prop_filter("mass", |scenes| scenes.iter().all(|scene| scene.mass() > 0.0))
}

/// The dual value is that of a cold start, up to what both miss, the largest potentials times their residuals, and rounding; no
/// image takes more rounds, and all together less than half as many. Measured: 0.019 of the tolerance; 873 rounds and steps, and 175.
#[test]
fn a_density_nearby_takes_fewer_rounds_to_the_same_optimum() {
    let rounds = Cell::new([0, 0]);
    property("warm", 8, with_mass(), |scenes, tally| {
        let next: Vec<Scene> = scenes.iter().map(moved).collect();
        for loss in balanced(scenes) {
            let first = loss.evaluate(&densities(scenes)).expect("a step");
            let cold = loss.evaluate(&densities(&next)).expect("a step");
            let warm = loss.evaluate_from(&densities(&next), &first.potentials().1).expect("a step");
            let values = [&cold, &warm].map(|step| step.dual_values().expect("values"));
            let ends = [&cold, &warm].map(|step| solutions(&next, step, |_| EPSILON));
            for (k, scene) in next.iter().enumerate() {
                let reports = [&cold, &warm].map(|step| step.reports()[k]);
                let fine =
                    reports.iter().all(|report| report.error <= TOLERANCE) && reports[1].rounds <= reports[0].rounds;
                tally.holds(fine, || format!("{reports:?}"));
                let [before, after] = rounds.get();
                rounds.set([before + reports[0].rounds, after + reports[1].rounds]);
                let potentials: f64 = ends.iter().map(|end| size(&end[k].points)).sum();
                let slack = 2.0 * potentials * (reports[0].residual + reports[1].residual)
                    + 4.0 * half_error(&problem(scene), &ends[0][k], EPSILON);
                tally.near("value of", k, (values[1][k], values[0][k]), slack);
            }
        }
    });
    let [cold, warm] = rounds.get();
    println!("rounds and steps: {cold} cold, {warm} warm");
    assert!(2 * warm < cold, "{cold} cold, {warm} warm");
}

/// The same density takes no round and gives the same bits, with exact marginals and with relaxed ones.
#[test]
fn the_same_density_takes_no_round() {
    property("again", 4, with_mass(), |scenes, tally| {
        let on = |loss: Result<Loss, Error>| loss.expect("a loss");
        let relaxed =
            Sinkhorn::default().epsilon(Epsilon::Absolute(EPSILON)).marginals(Marginals::Relaxed { rho: 900.0 });
        let others = [
            on(Unbalanced::default().epsilon(Epsilon::Absolute(0.05)).on(device(), &bound(scenes))),
            on(Generalized::new(GlProfile::Converged).on(device(), &bound(scenes))),
            on(DmCount::new(DmProfile::default()).epsilon(Epsilon::Absolute(EPSILON)).on(device(), &bound(scenes))),
            on(relaxed.on(device(), &bound(scenes))),
        ];
        for (n, loss) in balanced(scenes).iter().chain(&others).enumerate() {
            let density = densities(scenes);
            let first = loss.evaluate(&density).expect("a step");
            let again = loss.evaluate_from(&density, &first.potentials().1).expect("a step");
            for (report, before) in again.reports().iter().zip(first.reports()) {
                tally.holds(before.error <= 0.01, || format!("{n}: {before:?}"));
                tally.equal("rounds", &report.rounds, &0);
                tally.equal("residual", &report.residual, &before.residual);
            }
            let [bits, before] = [&again, &first].map(|step| step.gradient().read().expect("slopes"));
            tally.equal("gradient", &bits, &before);
            tally.equal("values", &again.values().expect("values"), &first.values().expect("values"));
        }
    });
}

#[test]
fn bad_potentials_are_refused() {
    let good = [scene(0.25, &[[9.0, 9.0], [20.0, 12.0]]), scene(0.5, &[[9.0, 9.0]])];
    let [loss, _] = balanced(&good);
    let from = |loss: &Loss, potentials: &[f64]| {
        loss.evaluate_from(&densities(&good), &device().upload_f64(potentials)).map(|_| ())
    };
    let refused = from(&loss, &[0.0; 2]);
    assert!(matches!(refused, Err(Error::Length { what: "potentials", expected: 3, got: 2 })), "{refused:?}");
    for bad in [f64::NAN, f64::INFINITY] {
        let refused = from(&loss, &[0.0, bad, 0.0]);
        assert!(matches!(refused, Err(Error::NotFinite { what: "potentials", index: 1, .. })), "{refused:?}");
    }
    let published = DmCount::new(DmProfile::Reference).on(device(), &bound(&good)).expect("a loss");
    assert!(matches!(from(&published, &[0.0; 3]), Err(Error::Device(_))));
    let published = Generalized::new(GlProfile::Reference).on(device(), &bound(&good)).expect("a loss");
    assert!(matches!(from(&published, &[0.0; 3]), Err(Error::Device(_))));
}
