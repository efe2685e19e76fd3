//! The training loss of a small kernel: value, gradient and mass, targets, transport cost, batches.

use splatport::{
    Discrepancy, Error, Grid, Kernel,
    reference::{
        cost::{combined, transport_cost},
        loss::{Step, batch_mean, l1},
    },
};

use super::{Loss, apart, device, gaussians_of, kernel, noise, points, read};

/// The loss of the small splat at stride 3, and its stored rows.
fn small() -> (Loss, Vec<Vec<f64>>) {
    let kernel = kernel::splat().kernel(Grid::over(60, 44, 3)).build().expect("a kernel");
    let rows = kernel::rows(&kernel.table().expect("a table"));
    (kernel.loss(), rows)
}

fn density(seed: u64, cells: usize) -> (super::Buffer, Vec<f64>) {
    let values: Vec<f32> = noise(seed, cells).into_iter().map(|z| (0.1 * z) as f32).collect();
    (device().upload(&values), values.into_iter().map(f64::from).collect())
}

/// Against the oracle on the very weights that are stored. Sums of 300 products in any order, below 300 in all:
/// (log2 300 + log2 9 + 6) 2^-24 of the mass, which is below 15, and of the costs, which are below 3000.
fn check(loss: &Loss, density: &super::Buffer, expected: &Step<f64>, size: f64) {
    let step = loss.evaluate(density).expect("a step");
    let tolerance = 18.0 * f64::from(f32::EPSILON) / 2.0 * size;
    let value = step.value().expect("a value");
    assert!((value - expected.value).abs() <= 8.0 * tolerance, "{value} {}", expected.value);
    assert!(apart(&read(step.gradient()), &expected.gradient) <= tolerance, "gradient");
    assert!(apart(&read(step.transported()), &expected.mass) <= tolerance, "mass");
}

#[test]
fn losses_are_the_oracles() {
    let (loss, rows) = small();
    for seed in 1..4 {
        let (buffer, z) = density(seed, rows.len());
        check(&loss, &buffer, &l1(&rows, &z, &[1.0; 8]), 15.0);
    }
}

/// With the divergence of Poisson counts `<z, gradient>` is the mass that is too much, wherever it lies: so no density whose scale is
/// at its best has another mass than there are annotations, an empty one least of all.
#[test]
fn poisson_counts_are_right_at_the_best_scale() {
    let (loss, rows) = small();
    let loss = loss.discrepancy(Discrepancy::PoissonKl { least: 1e-6 }).expect("a discrepancy");
    for seed in 1..4 {
        let (buffer, z) = density(seed, rows.len());
        let step = loss.evaluate(&buffer).expect("a step");
        let along: f64 = read(step.gradient()).iter().zip(&z).map(|(slope, z)| slope * z).sum();
        let masses = read(step.transported());
        let mass: f64 = masses.iter().sum();
        // Annotations that no cell belongs to have nothing to scale; the last column is the background's.
        let reached = masses[..masses.len() - 1].iter().filter(|m| **m > 1e-6).count() as f64;
        assert!(mass > 0.1 && reached >= 6.0, "{masses:?}");
        // A slope is rounded as a mass is (see `check`), and sum_i z_i sum_n K_in (1 + 1 / m_n) = mass + reached.
        let tolerance = 2.0 * 18.0 * f64::from(f32::EPSILON) / 2.0 * (mass + reached);
        assert!((along - (mass - reached)).abs() <= tolerance, "{along} {mass}");
    }
}

#[test]
fn targets_replace_the_ones() {
    let (loss, rows) = small();
    let targets = [0.5, 0.0, 1.0, 2.0, 0.25, 0.75, 1.5, -1.0];
    let loss = loss.targets(&targets).expect("targets");
    let (buffer, z) = density(5, rows.len());
    check(&loss, &buffer, &l1(&rows, &z, &targets), 15.0);
    let step = loss.evaluate(&buffer).expect("a step");
    let targets = targets.into_iter().chain([0.0]);
    let too_much: Vec<f64> = read(step.transported()).iter().zip(targets).map(|(mass, target)| mass - target).collect();
    assert_eq!(step.residuals().expect("residuals"), too_much);
}

#[test]
fn transport_cost_is_added() {
    let (loss, rows) = small();
    let set = gaussians_of(&kernel::splat().table().expect("a table"));
    let means: Vec<[f64; 2]> = set.iter().map(|g| g.mean).collect();
    let grid = loss.kernel().grid();
    let centres: Vec<[f64; 2]> = (0..grid.len()).map(|cell| grid.centre(cell)).collect();
    let (buffer, z) = density(6, rows.len());
    let cost = transport_cost(&rows, &z, &centres, &means);
    assert!(cost.value > 10.0, "no cost to speak of: {}", cost.value);
    let plain = l1(&rows, &z, &[1.0; 8]);
    let loss = loss.transport_cost(0.3).expect("a loss");
    check(&loss, &buffer, &combined(&plain, &cost, 0.3), 3000.0);
    check(&loss.transport_cost(0.0).expect("a loss"), &buffer, &plain, 15.0);
}

/// Two images with a transport cost each: their means, as the oracle takes them.
#[test]
fn many_images_are_a_mean() {
    let (small, _) = small();
    let other = splatport::Splat::round(device(), &points(&[[4.0, 4.0]]), [16, 8], 3.0).expect("a splat");
    let images = [(&kernel::splat(), Grid::over(60, 44, 3)), (&other, Grid::over(16, 8, 2))];
    let alone = images.map(|(splat, grid)| {
        let table = splat.kernel(grid).build().expect("a kernel").table().expect("a table");
        let means: Vec<[f64; 2]> = gaussians_of(&splat.table().expect("a table")).iter().map(|g| g.mean).collect();
        (kernel::rows(&table), (0..grid.len()).map(|cell| grid.centre(cell)).collect::<Vec<_>>(), means)
    });
    let options = *small.kernel().options().expect("options");
    let joint =
        Kernel::of_all(device(), &images, options).expect("a kernel").loss().transport_cost(0.01).expect("a loss");
    let densities = [density(7, alone[0].0.len()).1, density(8, alone[1].0.len()).1];
    let step = joint.evaluate(&device().upload_f64(&densities.concat())).expect("a step");
    let singles: Vec<Step<f64>> = alone
        .iter()
        .zip(&densities)
        .map(|((rows, centres, means), z)| {
            let cost = transport_cost(rows, z, centres, means);
            combined(&l1(rows, z, &vec![1.0; means.len()]), &cost, 0.01)
        })
        .collect();
    let (value, gradients) = batch_mean(&singles);
    // As above, with masses below 15 and costs below 30.
    let tolerance = 18.0 * f64::from(f32::EPSILON) / 2.0 * 45.0;
    let got = step.value().expect("a value");
    assert!((got - value).abs() <= 8.0 * tolerance, "{got} {value}");
    assert!(apart(&read(step.gradient()), &gradients.concat()) <= tolerance, "gradient");
    let mass: Vec<f64> = singles.iter().flat_map(|single| single.mass.clone()).collect();
    assert!(apart(&read(step.transported()), &mass) <= tolerance, "mass is no mean");
}

#[test]
fn lengths_must_fit() {
    let (loss, rows) = small();
    let short = device().filled(0.0_f32, rows.len() - 1);
    let error = loss.evaluate(&short).expect_err("a length error").to_string();
    assert_eq!(error, "density: expected 300 values, got 299");
    let error = loss.kernel().pull_back(&short).expect_err("a length error").to_string();
    assert_eq!(error, "array of values: expected 9 values, got 299");
    let (loss, _) = small();
    assert_eq!(loss.targets(&[1.0; 9]).expect_err("a length error").to_string(), "targets: expected 8 values, got 9");
    let (loss, _) = small();
    let mut targets = [1.0; 8];
    targets[3] = f64::NAN;
    let error = loss.targets(&targets).expect_err("no number");
    assert!(matches!(error, Error::NotFinite { what: "targets", index: 3, .. }), "{error}");
}

/// What a device's float would make infinite or 0 is refused, and the loss stays as it was.
#[test]
fn numbers_are_checked_as_they_are_rounded() {
    let (mut loss, rows) = small();
    let (buffer, _) = density(6, rows.len());
    let value = |loss: &Loss| loss.evaluate(&buffer).expect("a step").value().expect("a value");
    let before = value(&loss);
    let max = f64::from(f32::MAX);
    let mut targets = [1.0; 8];
    targets[3] = 1e39;
    let said = |what: &str| format!("{what} is {}, outside {}..={max}", 1e39, -max);
    assert_eq!(loss.set_targets(&targets).expect_err("infinite").to_string(), said("targets[3]"));
    assert_eq!(loss.set_weights(&targets, 1.0).expect_err("infinite").to_string(), said("weights[3]"));
    let error = loss.set_weights(&[1.0; 8], 1e39).expect_err("infinite").to_string();
    assert_eq!(error, said("weight of the background[0]"));
    assert_eq!(value(&loss).to_bits(), before.to_bits(), "as it was");
    for least in [1e-50, 1e39] {
        let error = loss.clone().discrepancy(Discrepancy::PoissonKl { least }).expect_err("no number").to_string();
        assert_eq!(error, format!("option `least` is {least}: must be positive and finite, in the device's float too"));
    }
    let error = loss.clone().transport_cost(1e39).expect_err("infinite").to_string();
    assert_eq!(error, format!("option `transport cost` is {}: must be finite, in the device's float too", 1e39));
    // A clone is a loss of its own, of the same kernel.
    let mut clone = loss.clone();
    clone.set_targets(&[2.0; 8]).expect("targets");
    assert_eq!(value(&loss).to_bits(), before.to_bits());
    assert!(value(&clone) != before);
    let splat = kernel::splat();
    clone.rebuild(&[(&splat, loss.kernel().grid())]).expect("a kernel");
    assert_eq!(value(&clone).to_bits(), before.to_bits(), "targets are 1 again");
    assert_eq!(clone.into_kernel().table().expect("a table"), loss.kernel().table().expect("a table"));
}

/// A density holds the cells of all images.
#[test]
fn cells_are_those_of_all_images() {
    let splat = kernel::splat();
    let options = splatport::kernel::KernelOptions::default();
    let images = [(&splat, Grid::over(60, 44, 3)), (&splat, Grid::over(60, 44, 8))];
    let kernel = Kernel::of_all(device(), &images, options).expect("a kernel");
    assert_eq!((kernel.cells(), kernel.grid().len()), (300 + 48, 300));
    assert_eq!(Grid::over(0, 10, 8).centre(1), [4.0, 12.0]);
}

/// One density an image is the same as all of them in one array; as many as images, each of its own length.
#[test]
fn densities_may_come_one_an_image() {
    let splat = kernel::splat();
    let images = [(&splat, Grid::over(60, 44, 3)), (&splat, Grid::over(60, 44, 8))];
    let loss = Kernel::of_all(device(), &images, Default::default()).expect("a kernel").loss();
    let parts = images.map(|(_, grid)| density(grid.len() as u64, grid.len()));
    let joined: Vec<f64> = parts.iter().flat_map(|(_, values)| values.clone()).collect();
    let whole = loss.evaluate(&device().upload_f64(&joined)).expect("a step");
    let [first, second] = parts.map(|(buffer, _)| buffer);
    let step = loss.evaluate_all(&[first.clone(), second.clone()]).expect("a step");
    assert_eq!(step.value().expect("a value"), whole.value().expect("a value"));
    assert_eq!(read(step.gradient()), read(whole.gradient()));
    for (densities, expected) in [
        (vec![first.clone()], "densities: expected 2 values, got 1"),
        (vec![second, first], "density: expected 300 values, got 48"),
    ] {
        assert_eq!(loss.evaluate_all(&densities).expect_err("lengths").to_string(), expected);
    }
}
