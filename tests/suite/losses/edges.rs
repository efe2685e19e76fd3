//! What every loss must do at the edges of its input, and the solver's limit of no entropy.

use splatport::losses::{
    Bayesian, DensityLoss, DmCount, DmProfile, Epsilon, Generalized, GlProfile, HeatmapTransport, L2, Marginals,
    OtEntropy, ReferenceMeasure, Scales, Sinkhorn, Solver, TransportLoss, Unbalanced, UotForm,
};
use splatport::reference::sinkhorn::{least_assignment, squared_distances};
use splatport::{Annotations, Error, Grid, Result, Single};

use super::sinkhorn::problem;
use super::{Scene, bound, by_image, densities, scene, solutions};
use crate::device::{R, U, device, once, property, single};

type Loss = Box<dyn DensityLoss<R, Single>>;

/// Every loss at an epsilon that is extreme, where it has one.
fn losses(scenes: &[Scene], epsilon: f64) -> Vec<(&'static str, Result<Loss>)> {
    fn boxed<L: DensityLoss<R, Single> + 'static>(loss: Result<L>) -> Result<Loss> {
        loss.map(|loss| Box::new(loss) as Loss)
    }
    let (on, all) = (device(), bound(scenes));
    let mut losses = vec![
        ("L2", boxed(L2::new(Scales::Fixed(8.0)).on(on, &all))),
        ("Bayesian", boxed(Bayesian::default().on(on, &all))),
        ("heuristic", boxed(Bayesian::heuristic().on(on, &all))),
    ];
    losses.extend(solved(scenes, epsilon).into_iter().map(|(name, loss)| (name, boxed(loss))));
    losses
}

/// Those that solve a transport problem.
pub(super) fn solved(scenes: &[Scene], epsilon: f64) -> Vec<(&'static str, Result<TransportLoss<R>>)> {
    let (on, all, epsilon) = (device(), bound(scenes), Epsilon::Absolute(epsilon));
    let dm = |profile| DmCount::new(profile).epsilon(epsilon).rounds(50).on(on, &all);
    let unbalanced = |form| Unbalanced::default().form(form).epsilon(epsilon).rounds(50).on(on, &all);
    let sinkhorn = Sinkhorn::default().epsilon(epsilon).rounds(50);
    let general = |profile| Generalized::new(profile).epsilon(epsilon).rounds(50).on(on, &all);
    vec![
        ("published DM-Count", dm(DmProfile::Reference)),
        ("DM-Count", dm(DmProfile::default())),
        ("DM-Count, Shannon", dm(DmProfile::Exact { entropy: OtEntropy::Shannon, solver: Solver::Newton })),
        ("semi-dual", unbalanced(UotForm::SemiDual)),
        ("joint", unbalanced(UotForm::SinkhornKl(ReferenceMeasure::Product))),
        ("joint over mass", unbalanced(UotForm::SinkhornKl(ReferenceMeasure::ProductOverMass))),
        ("balanced", sinkhorn.on(on, &all)),
        ("balanced, Newton", sinkhorn.clone().marginals(Marginals::Balanced(Solver::Newton)).on(on, &all)),
        ("relaxed", sinkhorn.clone().marginals(Marginals::Relaxed { rho: 10.0 }).on(on, &all)),
        ("hardly bound", sinkhorn.clone().marginals(Marginals::Relaxed { rho: 1e-9 }).on(on, &all)),
        ("tightly bound", sinkhorn.marginals(Marginals::Relaxed { rho: 1e9 }).on(on, &all)),
        ("semi-dual, hardly bound", Unbalanced::default().rho(1e-9).epsilon(epsilon).rounds(50).on(on, &all)),
        ("semi-dual, tightly bound", Unbalanced::default().rho(1e9).epsilon(epsilon).rounds(50).on(on, &all)),
        ("published generalized", general(GlProfile::Reference)),
        ("generalized", general(GlProfile::Converged)),
    ]
}

/// Half of the cells empty, no point, nothing, and much mass for one place.
pub(super) fn extremes() -> [Scene; 4] {
    let mut spotted = scene(0.25, &[[9.0, 9.0], [30.0, 20.0]]);
    spotted.density.iter_mut().step_by(2).for_each(|z| *z = 0.0);
    [spotted, scene(0.25, &[]), scene(0.0, &[]), scene(1e6, &[[9.0, 9.0]; 3])]
}

/// An error that says what is wrong, or numbers; never a NaN.
#[test]
fn edges_give_errors_or_numbers() {
    once("edges", |tally| {
        let mut spotted = scene(0.25, &[[9.0, 9.0], [30.0, 20.0]]);
        spotted.density.iter_mut().step_by(2).for_each(|z| *z = 0.0);
        let one = Scene { grid: Grid::over(5, 3, 8), density: vec![0.5], ..scene(0.0, &[[2.0, 2.0]]) };
        let cases = [
            ("no point", scene(0.25, &[])),
            ("nothing", scene(0.0, &[])),
            ("one point", scene(0.25, &[[9.0, 9.0]])),
            ("duplicates", scene(0.25, &[[9.0, 9.0]; 3])),
            ("zero cells", spotted),
            ("one cell", one),
            ("outside", scene(0.25, &[[-70.0, 9.0], [9.0, 9.0]])),
            ("much", scene(1e6, &[[9.0, 9.0]])),
            ("little", scene(f64::from(1e-8f32), &[[9.0, 9.0]])),
        ];
        let scenes: Vec<Scene> = cases.iter().map(|(_, scene)| scene.clone()).collect();
        let empty = [scene(0.0, &[[9.0, 9.0]])];
        for epsilon in [1e-9, 1e-4, 0.01, 10.0, 1e9] {
            for (name, loss) in losses(&scenes, epsilon) {
                let (value, gradient) = loss.expect("a loss").value_and_gradient(&densities(&scenes)).expect("numbers");
                tally.holds(value.is_finite(), || format!("{name}, {epsilon}: {value}"));
                let slopes = by_image(&scenes, &gradient, |scene| scene.grid.len());
                for ((case, _), slopes) in cases.iter().zip(&slopes) {
                    let finite = slopes.iter().all(|slope| slope.is_finite());
                    tally.holds(finite, || format!("{name}, {case}, {epsilon}: {slopes:?}"));
                }
            }
            // Where mass must go to an annotation and there is none, a loss has a value or says that it has not.
            for (name, loss) in losses(&empty, epsilon) {
                match loss.expect("a loss").value_and_gradient(&densities(&empty)) {
                    Err(error) => {
                        tally.holds(matches!(error, Error::OutOfRange { index: 0, .. }), || format!("{name}: {error}"))
                    }
                    Ok((value, _)) => tally.holds(value.is_finite(), || format!("{name}, {epsilon}: {value}")),
                }
            }
        }
    });
}

/// Numbers wherever there is a loss; none of rounds that are published code's.
#[test]
fn gradients_of_costs_are_numbers() {
    once("edges of costs", |tally| {
        let scenes = extremes();
        for epsilon in [1e-9, 0.01, 1e9] {
            for (name, loss) in solved(&scenes, epsilon) {
                let step = loss.expect("a loss").evaluate(&densities(&scenes)).expect("a step");
                match step.cost_gradient() {
                    Ok(found) => {
                        let slopes = found.gradient.read().expect("slopes");
                        let finite = slopes.iter().all(|slope| slope.is_finite());
                        tally.holds(finite && !name.starts_with("published"), || {
                            format!("{name}, {epsilon}: {slopes:?}")
                        });
                        tally.holds(found.missed.iter().all(|share| share.is_finite()), || {
                            format!("{name}: {:?}", found.missed)
                        });
                    }
                    Err(error) => tally.holds(name.starts_with("published"), || format!("{name}: {error}")),
                }
            }
        }
    });
}

/// What the oracle finds of either marginal for the device's potentials is at most the reported residual and rounding, wherever the
/// latter is below 1, so whatever converged is within twice the tolerance. At 0.01 px² potentials stand still, residuals are 0 and the
/// plan is wrong; at the published 10 px² Newton's is right and known to be.
#[test]
fn reports_are_bounds() {
    once("bounds", |tally| {
        let points: Vec<[f64; 2]> = (0..20)
            .map(|n| [0.754_877_666, 0.569_840_291].map(|r| single(512.0 * (f64::from(n) * r).fract())))
            .collect();
        let grid = Grid::over(512, 512, 8);
        let density = (0..grid.len()).map(|i| single(0.01 * (1.0 + (i as f64 * 0.618_033_989).fract()))).collect();
        let scenes = [Scene { grid, points: Annotations::new(points).expect("points"), density }];
        let problem = problem(&scenes[0]);
        for epsilon in [0.01, 0.3, 10.0, 1000.0] {
            for solver in [Solver::Sinkhorn, Solver::Newton] {
                // Where rounds converge here they do in fewer.
                let loss = Sinkhorn::default()
                    .epsilon(Epsilon::Absolute(epsilon))
                    .marginals(Marginals::Balanced(solver))
                    .rounds(60);
                let step = loss.on(device(), &bound(&scenes)).expect("a loss").evaluate(&densities(&scenes));
                let step = step.expect("a step");
                let (report, at) = (step.reports()[0], solutions(&scenes, &step, |_| epsilon).remove(0));
                let rows = problem.plan(&at);
                let cells: f64 =
                    rows.iter().zip(&problem.cells).map(|(row, a)| (row.iter().sum::<f64>() - a).abs()).sum();
                let most = report.residual + report.rounding;
                let said =
                    || format!("{solver:?}, {epsilon}: {report:?}, points {}, cells {cells}", problem.residual(&at));
                println!("{}", said());
                let bounded = problem.residual(&at).max(cells) <= most;
                tally.holds(report.rounding >= 1.0 || bounded, said);
                tally.holds(!report.converged || bounded && most <= 0.02, said);
                let known = epsilon > 100.0 || epsilon > 1.0 && solver == Solver::Newton;
                tally.holds(known == report.converged, said);
            }
        }
    });
}

/// Beyond 2^24 px `f32` cannot tell two pixels apart.
#[test]
fn annotations_out_of_reach_are_refused() {
    for far in [[2e7, 9.0], [9.0, -2e7]] {
        let scenes = [scene(0.25, &[[9.0, 9.0], far])];
        for (name, loss) in losses(&scenes, 10.0) {
            assert!(matches!(loss.map(|_| ()), Err(Error::OutOfRange { index: 1, .. })), "{name}");
        }
        let joints = [None, Some(far)];
        let refused = HeatmapTransport::default().on(device(), &[(scenes[0].grid, &joints)]).map(|_| ());
        assert!(matches!(refused, Err(Error::OutOfRange { what: "joint", index: 1, .. })), "{refused:?}");
    }
}

/// As many cells as points, of equal masses: `0 <= <C, P> - assignment <= epsilon ln n`, either side give or take twice the largest
/// cost times what the points miss, and U's. Measured: 0.74 of the tolerance.
#[test]
fn without_entropy_it_is_the_assignment() {
    let places = proptest::collection::vec([0.0..24.0f64, 0.0..16.0], 6);
    property("assignment", 12, places, |places, tally| {
        let grid = Grid::over(24, 16, 8);
        let points = Annotations::new(places.iter().map(|p| p.map(single)).collect::<Vec<_>>()).expect("points");
        let centres: Vec<[f64; 2]> = (0..6).map(|i| grid.centre(i)).collect();
        let cost = squared_distances(&centres, points.points());
        let (exact, largest) = (least_assignment(&cost) / 6.0, cost.iter().flatten().copied().fold(0.0, f64::max));
        for epsilon in [10.0, 1.0, 0.1] {
            let loss = Sinkhorn::default().epsilon(Epsilon::Absolute(epsilon)).rounds(2000).tolerance(1e-4);
            let step = loss.on(device(), &[(grid, &points)]).expect("a loss");
            let step = step.evaluate(&device().filled(1.0, 6)).expect("a step");
            let slack = 2.0 * largest * (step.reports()[0].residual + 600.0 * U * (1.0 + largest / epsilon));
            let above = step.costs().expect("costs")[0] - exact;
            let most = epsilon * 6.0f64.ln() + slack;
            tally.near("above the assignment", 0, (above, (most - slack) / 2.0), (most + slack) / 2.0);
        }
    });
}
