use proptest::prelude::*;
use splatport::Error;
use splatport::losses::{Epsilon, ReferenceMeasure, Unbalanced, UotForm};
use splatport::reference::sinkhorn::{Form, Marginal, Problem};

use super::{Scene, bound, densities, gradients, roundings, scene, scenes, solutions};
use crate::device::sinkhorn::{half_error, size};
use crate::device::{R, U, device, once, poison, property, wide};

type Step = splatport::losses::Step<R>;

fn evaluate(loss: &Unbalanced, scenes: &[Scene]) -> Step {
    let loss = loss.on(device(), &bound(scenes)).expect("a loss");
    let density = densities(scenes);
    poison(&[density.len(), 4 * density.len(), 5 * density.len(), 4 * scenes.len(), scenes.len()]);
    loss.evaluate(&density).expect("a step")
}

/// Distances over the longer side.
pub(super) fn problem(scene: &Scene, form: UotForm, rho: f64) -> Problem<f64> {
    let longer = f64::from(scene.grid.size()[0].max(scene.grid.size()[1]));
    let mut cost = scene.costs();
    cost.iter_mut().flatten().for_each(|c| *c = c.sqrt() / longer);
    let points = vec![1.0; scene.points.len()];
    let rule = Marginal::Relaxed { rho };
    let form = match form {
        UotForm::SinkhornKl(ReferenceMeasure::Product) => Form::Joint { mass: 1.0 },
        UotForm::SinkhornKl(_) => Form::Joint { mass: points.len() as f64 },
        _ => Form::Conditional,
    };
    Problem { cost, cells: scene.density.clone(), points, of_cells: rule, of_points: rule, form }
}

fn forms() -> impl Strategy<Value = UotForm> {
    prop_oneof![
        2 => Just(UotForm::SemiDual),
        1 => Just(UotForm::SinkhornKl(ReferenceMeasure::Product)),
        1 => Just(UotForm::SinkhornKl(ReferenceMeasure::ProductOverMass)),
    ]
}

/// Value and gradient against the oracle's optimum: potentials are within the reported error of it, in units of rho, plus what
/// a round's rounding moves the fixed point. Measured: 0.98 of the tolerance.
#[test]
fn the_optimum_is_the_oracles() {
    property("unbalanced", 12, (scenes(1), forms(), 0.3..3.0, 0.01..0.1), |(scenes, form, rho, epsilon), tally| {
        let scenes: Vec<Scene> = scenes.iter().filter(|scene| scene.mass() > 0.0).cloned().collect();
        if scenes.is_empty() {
            return;
        }
        let (rho, epsilon, images) = (*rho, *epsilon, scenes.len() as f64);
        let loss = Unbalanced::default().form(*form).rho(rho).epsilon(Epsilon::Absolute(epsilon));
        let step = evaluate(&loss, &scenes);
        let (values, slopes) = (step.values().expect("values"), gradients(&scenes, &step));
        for (k, (scene, at)) in scenes.iter().zip(solutions(&scenes, &step, |_| epsilon)).enumerate() {
            let problem = problem(scene, *form, rho);
            let report = step.reports()[k];
            let known = report.error <= 1e-3 && report.converged == (report.rounding <= 1e-3);
            tally.holds(known, || format!("{report:?}"));
            let want = problem.converge(&[epsilon], 20_000, 1e-11);
            let a = epsilon / rho;
            let factor = if *form == UotForm::SemiDual { (a - 1.0).abs() / (1.0 + a) } else { (1.0 + a).powi(-2) };
            let rounding = 4.0 * half_error(&problem, &at, epsilon) / (1.0 - factor);
            let off = report.error * rho + rounding;
            tally.all_near("point", &at.points, &want.points, |_| off);
            let theirs = problem.slope(&want);
            // The slope changes by exp(-f / rho) (1 + epsilon / rho) times the potential.
            let growth = |i: usize| (-want.cells[i] / rho).exp() * (1.0 + a) * (off / rho).exp();
            tally.all_near("slope", &slopes[k], &theirs.iter().map(|s| s / images).collect::<Vec<_>>(), |i| {
                (growth(i) * off + 16.0 * U * (theirs[i].abs() + rho * (1.0 + growth(i)) + epsilon)) / images
            });
            // The dual is flat at the optimum: errors of both sides times how far marginals are off, which is of their order.
            let masses: f64 =
                problem.transported(&want).iter().sum::<f64>() + scene.mass() + problem.points.len() as f64;
            let second = (off / rho).exp() * off * off * (1.0 / epsilon + 1.0 / rho) * masses;
            let sums = 4.0
                * roundings(scene)
                * U
                * (rho + size(&want.cells) + epsilon)
                * masses
                * (1.0 + growth_of(&want.cells, rho));
            tally.near("value", k, (images * values[k], problem.value(&want)), second + sums);
            if *form == UotForm::SemiDual {
                let most = rho / images * (1.0 + 4.0 * U);
                tally.holds(slopes[k].iter().all(|&s| s <= most), || "a slope above rho".to_owned());
            }
        }
    });
}

fn growth_of(potentials: &[f64], rho: f64) -> f64 {
    potentials.iter().map(|f| (-f / rho).exp()).fold(0.0, f64::max)
}

/// Without annotations the loss is the mass; without mass the slope has no value.
#[test]
fn nothing_to_carry_is_the_mass_or_an_error() {
    once("nothing", |tally| {
        let none = evaluate(&Unbalanced::default(), &[scene(0.25, &[])]);
        tally.equal("value", &none.value().expect("a value"), &3.75);
        tally.equal("slope", &wide(none.gradient().read().expect("slopes")), &vec![1.0; 15]);
        let scenes = [scene(0.25, &[[9.0, 9.0]]), scene(0.0, &[[9.0, 9.0]])];
        let loss = Unbalanced::default().on(device(), &bound(&scenes)).expect("a loss");
        let refused = loss.evaluate(&densities(&scenes)).map(|_| ());
        tally.holds(matches!(refused, Err(Error::OutOfRange { index: 1, .. })), || format!("{refused:?}"));
        for rho in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let refused = Unbalanced::default().rho(rho).on(device(), &bound(&scenes)).map(|_| ());
            tally.holds(matches!(refused, Err(Error::Option { name: "rho", .. })), || format!("{refused:?}"));
        }
    });
}
