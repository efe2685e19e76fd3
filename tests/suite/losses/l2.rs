use proptest::prelude::*;
use splatport::losses::{Border, DmCount, Generalized, L2, Reduction, Sampling, Scales};
use splatport::reference::grid::Grid as Lattice;
use splatport::reference::pseudo_density::{Painting, painted, squares};
use splatport::{Annotations, Error, Grid};

use super::{Scene, bound, by_image, densities, roundings, scene, scenes};
use crate::device::{R, U, device, once, poison, property, single, weight_error, wide};

type Loss = splatport::losses::L2Loss<R>;

fn on(loss: &L2, scenes: &[Scene]) -> Loss {
    let cells: usize = scenes.iter().map(|scene| scene.grid.len()).sum();
    poison(&[cells, 4 * cells, 8]);
    loss.on(device(), &bound(scenes)).expect("a loss")
}

pub(super) fn lattice(scene: &Scene) -> Lattice<f64> {
    let [left, top] = scene.grid.corner().map(f64::from);
    let (rows, cols) = (scene.grid.rows() as usize, scene.grid.columns() as usize);
    Lattice { rows, cols, left, top, stride: scene.grid.stride().into() }
}

/// A part of a Gaussian between two edges: CubeCL's `erf` is off by 1.5e-7 (Abramowitz and Stegun 7.1.26), its exponential by
/// `(3 + 2 x^2) 2 U` of less than 1, its argument by 4 U; and two of them are halved.
const SHARE: f64 = 16.0 * U;
/// What lies beyond 6 standard deviations.
const TAIL: f64 = 2e-9;

/// More cells than one unit of software Vulkan can go through in a loop; the last of them counts.
#[test]
fn every_cell_of_a_large_grid_counts() {
    let none = Annotations::new(vec![]).expect("points");
    let grid = Grid::over(2100, 2000, 1);
    let loss = L2::new(Scales::Fixed(8.0)).on(device(), &[(grid, &none)]).expect("a loss");
    let mut density = vec![0.0_f32; grid.len()];
    density[grid.len() - 1] = 3.0;
    assert_eq!(loss.evaluate(&device().upload(&density)).expect("a step").value().expect("a value"), 9.0);
}

/// What a cell holds too much, to the bit; it does not know the factor.
#[test]
fn residuals_are_the_density_less_the_target() {
    let scenes = [scene(0.25, &[[9.0, 9.0]]), scene(0.5, &[[9.0, 9.0], [30.0, 20.0]])];
    let loss = on(&L2::new(Scales::Fixed(8.0)).weight(0.0), &scenes);
    let density = densities(&scenes);
    let [held, due] = [&density, loss.target()].map(|buffer| wide(buffer.read().expect("numbers")));
    let wanted: Vec<f64> = held.iter().zip(&due).map(|(held, due)| held - due).collect();
    assert!(due.iter().any(|&due| due > 0.0));
    assert_eq!(loss.evaluate(&density).expect("a step").residuals().expect("residuals"), wanted);
}

/// Factors that the device's float cannot hold.
#[test]
fn factors_are_checked_as_they_are_rounded() {
    let one = [scene(0.25, &[[9.0, 9.0]])];
    for factor in [1e39, f64::NAN, f64::INFINITY] {
        let why = format!("is {factor}: must be finite, in the device's float too");
        let l2 = L2::new(Scales::Fixed(8.0)).weight(factor).on(device(), &bound(&one)).expect_err("a factor");
        assert_eq!(l2.to_string(), format!("option `weight` {why}"));
        let dm = DmCount::default().weights(0.1, factor).on(device(), &bound(&one)).expect_err("a factor");
        assert_eq!(dm.to_string(), format!("option `variation weight` {why}"));
        let general = Generalized::default().tau(factor).on(device(), &bound(&one)).expect_err("a factor");
        assert_eq!(general.to_string(), format!("option `tau` {why}"));
    }
}

/// Pseudo-densities of every kind, one annotation after the other, against integrals by quadrature. Measured: 0.11 of the tolerance.
#[test]
fn targets_are_the_painted_gaussians() {
    let kind = (any::<bool>(), any::<bool>(), proptest::collection::vec([0.7..20.0f64, 0.7..20.0], 24));
    property("pseudo-density", 24, (scenes(0), kind), |(scenes, (integral, renormalise, sizes)), tally| {
        let scales = |scene: &Scene| sizes[..scene.points.len()].iter().map(|s| s.map(single)).collect::<Vec<_>>();
        let all = scenes.iter().flat_map(scales).collect();
        let sampling = if *integral { Sampling::CellIntegral } else { Sampling::PointSample };
        let border = if *renormalise { Border::Renormalise } else { Border::Lose };
        let loss = on(&L2::new(Scales::True(all)).sampling(sampling).border(border), scenes);
        let got = by_image(scenes, loss.target(), |scene| scene.grid.len());
        for (k, scene) in scenes.iter().enumerate() {
            let (grid, points, scales) = (lattice(scene), scene.points.points(), scales(scene));
            let how = Painting { integral: *integral, renormalise: *renormalise };
            let want = painted(&grid, points, &scales, how);
            let mut errors = vec![4.0 * U * points.len() as f64; want.len()];
            for (point, scale) in points.iter().zip(&scales) {
                let whole = Painting { integral: true, renormalise: false };
                let inside: f64 = painted(&grid, &[*point], &[*scale], whole).iter().sum();
                // At a thousandth rounding decides.
                if *renormalise && (inside - 1e-3).abs() < 4.0 * SHARE {
                    return;
                }
                let weight = if !*renormalise {
                    1.0
                } else if inside < 1e-3 {
                    0.0
                } else {
                    inside.recip()
                };
                let alone = Painting { renormalise: false, ..how };
                for (error, share) in errors.iter_mut().zip(painted(&grid, &[*point], &[*scale], alone)) {
                    let own = match *integral {
                        true => 2.0 * SHARE + TAIL,
                        // Below 6 standard deviations `q` is at most 72.
                        false => share * (weight_error(72.0, 1.0) + 8.0 * U) + share.min(1e-7),
                    };
                    *error += weight * own + share * weight * weight * 2.0 * SHARE;
                }
            }
            tally.all_near(&format!("target {k}"), &got[k], &want, |i| errors[i] + 4.0 * U * want[i]);
        }
    });
}

/// Value and gradient of a batch, given the target. Measured: 0.31 of the tolerance.
#[test]
fn values_and_gradients_are_the_oracles() {
    property("squares", 12, (scenes(0), 0.1..9.0, any::<bool>()), |(scenes, weight, mean), tally| {
        let weight = single(*weight);
        let reduction = if *mean { Reduction::Mean } else { Reduction::Sum };
        let loss = on(&L2::new(Scales::Fixed(8.0)).weight(weight).reduction(reduction), scenes);
        let step = loss.evaluate(&densities(scenes)).expect("a step");
        let (values, targets) = (step.values().expect("values"), by_image(scenes, loss.target(), |s| s.grid.len()));
        let gradients = by_image(scenes, step.gradient(), |scene| scene.grid.len());
        for (k, scene) in scenes.iter().enumerate() {
            let share = weight / scenes.len() as f64 / if *mean { scene.grid.len() as f64 } else { 1.0 };
            let (value, slope) = squares(&scene.density, &targets[k], share);
            tally.near("value", k, (values[k], value), 2.0 * roundings(scene) * U * value);
            tally.all_near("slope", &gradients[k], &slope, |i| 6.0 * U * slope[i].abs());
        }
        let each: Vec<_> = scenes.iter().map(|scene| device().upload_f64(&scene.density)).collect();
        let again = loss.evaluate_all(&each).expect("a step");
        tally.equal("again", &again.values().expect("values"), &values);
        tally.holds(loss.evaluate_all(&each[1..]).is_err(), || "a density is missing".to_owned());
    });
}

/// Scales from neighbours: a factor of the mean distance to three, between two ends.
#[test]
fn neighbours_set_the_scale() {
    once("neighbours", |tally| {
        let points = [[10.0, 10.0], [20.0, 10.0], [10.0, 30.0], [40.0, 10.0], [40.0, 10.0]];
        let alone = Scene { points: Annotations::new(vec![[9.0, 9.0]]).expect("a point"), ..scene(0.0, &points) };
        let scenes = [scene(0.0, &points), alone];
        let adaptive = Scales::Neighbours { factor: 0.3, least: 2.0, most: 6.0 };
        let distance = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
        let known = points.map(|point| {
            let mut others: Vec<f64> = points.iter().map(|&other| distance(point, other)).collect();
            others.sort_by(f64::total_cmp);
            [(0.3 * others[1..4].iter().sum::<f64>() / 3.0).clamp(2.0, 6.0); 2]
        });
        let known = known.into_iter().chain([[0.3 * 8.0; 2]]).collect();
        let [a, b] = [adaptive, Scales::True(known)]
            .map(|scales| wide(on(&L2::new(scales), &scenes).target().read().expect("a target")));
        tally.all_near("target", &a, &b, |_| 0.0);
    });
}

/// No annotation: the squares of the density. No mass: those of the target. Duplicates count twice, whatever is off the grid not.
#[test]
fn nothing_to_compare_is_no_error() {
    once("nothing", |tally| {
        let loss = L2::new(Scales::Fixed(8.0));
        let none = [scene(0.25, &[])];
        let step = on(&loss, &none).evaluate(&densities(&none)).expect("a step");
        tally.equal("value of no point", &step.value().expect("a value"), &(15.0 / 16.0));
        let twice = on(&loss, &[scene(0.0, &[[9.0, 9.0], [9.0, 9.0], [-200.0, 9.0]])]);
        let once = on(&loss, &[scene(0.0, &[[9.0, 9.0]])]);
        let [twice, once] = [twice, once].map(|loss| wide(loss.target().read().expect("a target")));
        tally.equal("duplicates", &twice, &once.iter().map(|d| 2.0 * d).collect());
        let one = [Scene { grid: Grid::over(5, 3, 8), density: vec![0.5], ..scene(0.0, &[[2.0, 2.0]]) }];
        let step = on(&loss, &one).evaluate(&densities(&one)).expect("a step");
        tally.near("one cell", 0, (step.value().expect("a value"), 0.25), 8.0 * SHARE / 0.1);
    });
}

#[test]
fn bad_input_is_refused() {
    let good = [scene(0.25, &[[9.0, 9.0]])];
    let refused = |loss: L2| loss.on(device(), &bound(&good)).map(|_| ());
    for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(refused(L2::new(Scales::Fixed(scale))), Err(Error::Option { name: "scale", .. })), "{scale}");
        let adaptive = Scales::Neighbours { factor: scale, least: 1.0, most: 9.0 };
        assert!(matches!(refused(L2::new(adaptive)), Err(Error::Option { name: "factor", .. })), "{scale}");
        let known = refused(L2::new(Scales::True(vec![[8.0, scale]])));
        assert!(matches!(known, Err(Error::Option { name: "true scale", .. })), "{scale}");
    }
    let crossed = Scales::Neighbours { factor: 0.3, least: 9.0, most: 1.0 };
    assert!(matches!(refused(L2::new(crossed)), Err(Error::Option { name: "most", .. })));
    assert!(matches!(refused(L2::new(Scales::True(vec![]))), Err(Error::Length { expected: 1, got: 0, .. })));
    let loss = L2::new(Scales::Fixed(8.0));
    assert!(matches!(refused(loss.clone().weight(f64::NAN)), Err(Error::Option { name: "weight", .. })));
    assert!(matches!(loss.on(device(), &[]).map(|_| ()), Err(Error::Empty { .. })));
    let far = [scene(0.25, &[[9.0, 1e9]])];
    assert!(matches!(loss.on(device(), &bound(&far)).map(|_| ()), Err(Error::OutOfRange { index: 0, .. })));
    let loss = on(&loss, &good);
    let refused = loss.evaluate(&device().filled(0.1, 14)).map(|_| ());
    assert!(matches!(refused, Err(Error::Length { what: "density", expected: 15, got: 14 })));
}
