//! `Double` must be double: values and gradients to nine digits, of which `f32` has seven.

use std::slice::from_ref;

use splatport::losses::{
    Bayesian, DmCount, DmProfile, Epsilon, Generalized, GlProfile, Ground, HeatmapTransport, L2, Scales, Sinkhorn,
    Unbalanced, UotForm,
};
use splatport::reference::dm_count::count_and_variation;
use splatport::reference::pseudo_density::{Painting, painted, squares};
use splatport::reference::sinkhorn::slope_by_density;
use splatport::reference::{bayesian::posterior, heatmap::demanders, loss::l1};
use splatport::{Annotations, Device, Double, Grid, kernel::Background};

use super::{Scene, bound, dm_count, generalized, heatmap, l2, sinkhorn, unbalanced};
use crate::device::{R, precision::admitted};

const DIGITS: f64 = 1e-9;
/// What solvers are asked for, and the oracle's potentials: slopes are off by about as much.
const TOLERANCE: f64 = 1e-11;

/// Fifteen cells, three points, nothing that `f32` could hold.
fn crop() -> Scene {
    let points = Annotations::new(vec![[7.3, 9.1], [21.7, 4.9], [30.1, 19.3]]).expect("points");
    let grid = Grid::over(40, 24, 8);
    let density = (0..grid.len()).map(|i| 0.1 + (i as f64 * 1.3).sin().abs() / 5.0).collect();
    Scene { grid, points, density }
}

/// Of the largest number.
fn same(what: &str, got: &[f64], want: &[f64]) {
    let size = want.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    assert_eq!(got.len(), want.len(), "{what}");
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= DIGITS * size, "{what} {at}: {got} instead of {want}");
    }
}

fn checked(name: &str, step: &splatport::losses::Step<R, Double>, value: f64, slope: &[f64]) {
    let report = step.reports()[0];
    assert!(report.converged, "{name}: {report:?}");
    same(&format!("{name}, value"), &[step.value().expect("a value")], &[value]);
    same(&format!("{name}, slope"), &step.gradient().read().expect("slopes"), slope);
}

fn device() -> Option<Device<R, Double>> {
    admitted(Double, "f64")
}

#[test]
fn balanced_transport() {
    let (Some(device), scene) = (device(), crop()) else { return };
    let loss = Sinkhorn::default().epsilon(Epsilon::Absolute(20.0)).rounds(4000).tolerance(TOLERANCE);
    let density = device.upload(&scene.density);
    let step = loss.on(&device, &bound(from_ref(&scene))).expect("a loss").evaluate(&density).expect("a step");
    let problem = sinkhorn::problem(&scene);
    let at = problem.converge(&[20.0], 20_000, TOLERANCE);
    checked("Sinkhorn", &step, problem.value(&at), &slope_by_density(&problem.slope(&at), &scene.density));

    let loss = DmCount::new(DmProfile::default()).epsilon(Epsilon::Absolute(20.0));
    let loss = loss.rounds(4000).tolerance(TOLERANCE);
    let step = loss.on(&device, &bound(from_ref(&scene))).expect("a loss").evaluate(&density).expect("a step");
    let dots = dm_count::dots_of(&scene, false);
    let (rest, slopes) = count_and_variation(&scene.density, &dots, 3, [1.0, 0.01]);
    let transport = slope_by_density(&problem.slope(&at), &scene.density);
    let slope: Vec<f64> = transport.iter().zip(&slopes).map(|(t, s)| 0.1 * t + s).collect();
    checked("DM-Count", &step, 0.1 * problem.value(&at) + rest, &slope);
}

#[test]
fn unbalanced_transport() {
    let (Some(device), scene) = (device(), crop()) else { return };
    let loss = Unbalanced::default()
        .form(UotForm::SemiDual)
        .rho(0.7)
        .epsilon(Epsilon::Absolute(0.05))
        .rounds(4000)
        .tolerance(TOLERANCE);
    let density = device.upload(&scene.density);
    let step = loss.on(&device, &bound(from_ref(&scene))).expect("a loss").evaluate(&density).expect("a step");
    let problem = unbalanced::problem(&scene, UotForm::SemiDual, 0.7);
    let at = problem.converge(&[0.05], 20_000, TOLERANCE);
    checked("unbalanced", &step, problem.value(&at), &problem.slope(&at));

    let ground = Ground::Perspective { base: 0.5, growth: 0.2 };
    let loss = Generalized::new(GlProfile::Converged).ground(ground).rounds(4000).tolerance(TOLERANCE);
    let step = loss.on(&device, &bound(from_ref(&scene))).expect("a loss").evaluate(&density).expect("a step");
    let theirs = generalized::theirs(&scene, ground, false);
    let at = generalized::problem(&scene, &theirs).converge(&[0.01], 20_000, TOLERANCE);
    let (value, slope) = theirs.evaluate(&scene.density, &at.cells, &at.points);
    checked("generalized", &step, value, &slope);
}

#[test]
fn heat() {
    let Some(device) = device() else { return };
    let grid = Grid::over(40, 24, 4);
    let heat: Vec<f64> = (0..grid.len()).map(|i| (i as f64 * 0.7).sin() + 0.2).collect();
    let joint = [17.3, 9.9];
    // The 1e-8 beside the sum of the heat leaves a residual of 3.7e-10.
    let tolerance = 4e-10;
    let loss = HeatmapTransport::default().epsilon(1.0).rounds(4000).tolerance(tolerance);
    let loss = loss.on(&device, &[(grid, [Some(joint)].as_slice())]).expect("a loss");
    let step = loss.evaluate(&device.upload(&heat)).expect("a step");
    let warm: Vec<f64> = heat.iter().map(|h| h.max(0.0)).collect();
    let problem = heatmap::problem(&grid, &heat, &demanders(joint.map(|at| at / 4.0), 10, 6));
    let at = problem.converge(&[1.0], 20_000, tolerance);
    let slope = slope_by_density(&problem.slope(&at), &warm);
    let slope: Vec<f64> = slope.iter().zip(&heat).map(|(s, h)| if *h < 0.0 { 0.0 } else { *s }).collect();
    checked("heat", &step, problem.value(&at), &slope);
}

#[test]
fn fixed_plans_and_densities() {
    let (Some(device), scene) = (device(), crop()) else { return };
    let (density, points) = (device.upload(&scene.density), scene.points.points());
    let loss = Bayesian::default().scales(Scales::Fixed(9.0)).background(Background::None).tau(1e-12);
    let step = loss.on(&device, &bound(from_ref(&scene))).expect("a loss").evaluate(&density).expect("a step");
    let rows: Vec<_> = scene.centres().iter().map(|&centre| posterior(points, centre, 9.0, None)).collect();
    let want = l1(&rows, &scene.density, &[1.0; 3]);
    same("Bayesian, value", &[step.value().expect("a value")], &[want.value]);
    same("Bayesian, slope", &step.gradient().read().expect("slopes"), &want.gradient);

    let loss = L2::new(Scales::Fixed(9.0)).on(&device, &bound(from_ref(&scene))).expect("a loss");
    let how = Painting { integral: true, renormalise: true };
    let (value, slope) = squares(&scene.density, &painted(&l2::lattice(&scene), points, &[[9.0; 2]; 3], how), 1.0);
    let step = loss.evaluate(&density).expect("a step");
    same("L2, value", &[step.value().expect("a value")], &[value]);
    same("L2, slope", &step.gradient().read().expect("slopes"), &slope);
}
