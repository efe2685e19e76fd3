//! The training loss of a small kernel: value, gradient and mass, targets, transport cost, batches.

use splatport::{
    Batch, Error, Grid,
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
/// (log2 300 + log2 9 + 6) 2^-24 of the mass (spec 3), which is below 15, and of the costs, which are below 3000.
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

#[test]
fn targets_replace_the_ones() {
    let (loss, rows) = small();
    let targets = [0.5, 0.0, 1.0, 2.0, 0.25, 0.75, 1.5, -1.0];
    let loss = loss.targets(&targets).expect("targets");
    let (buffer, z) = density(5, rows.len());
    check(&loss, &buffer, &l1(&rows, &z, &targets), 15.0);
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
    let loss = loss.transport_cost(0.3);
    check(&loss, &buffer, &combined(&plain, &cost, 0.3), 3000.0);
    check(&loss.transport_cost(0.0), &buffer, &plain, 15.0);
}

#[test]
fn batches_are_means() {
    let (loss, rows) = small();
    let shape = splatport::Splat::round(device(), &points(&[[4.0, 4.0]]), [16, 8], 3.0).expect("a splat");
    let other = shape.kernel(Grid::over(16, 8, 2)).build().expect("a kernel");
    let other_rows = kernel::rows(&other.table().expect("a table"));
    let other = other.loss().transport_cost(0.01);
    let cost = {
        let grid = other.kernel().grid();
        let centres: Vec<[f64; 2]> = (0..grid.len()).map(|cell| grid.centre(cell)).collect();
        move |z: &[f64]| transport_cost(&other_rows, z, &centres, &[[4.0, 4.0]])
    };
    let other_table = kernel::rows(&other.kernel().table().expect("a table"));
    let batch = Batch::new(vec![loss, other]).expect("a batch");
    let ((a, za), (b, zb)) = (density(7, rows.len()), density(8, 32));
    let steps = batch.evaluate(&[a, b]).expect("steps");
    let singles = [l1(&rows, &za, &[1.0; 8]), combined(&l1(&other_table, &zb, &[1.0]), &cost(&zb), 0.01)];
    let (value, gradients) = batch_mean(&singles);
    let got: f64 = steps.iter().map(|step| step.value().expect("a value")).sum();
    // As above, with masses below 15.
    assert!((got - value).abs() <= 1e-4, "{got} {value}");
    for (step, (expected, single)) in steps.iter().zip(gradients.iter().zip(&singles)) {
        assert!(apart(&read(step.gradient()), expected) <= 2e-6);
        assert!(apart(&read(step.transported()), &single.mass) <= 2e-5, "mass is no mean");
    }
}

#[test]
fn lengths_must_fit() {
    let (loss, rows) = small();
    let short = device().filled(0.0_f32, rows.len() - 1);
    let error = loss.evaluate(&short).expect_err("a length error").to_string();
    assert_eq!(error, "density: expected 300 elements, got 299");
    let error = loss.kernel().pull_back(&short).expect_err("a length error").to_string();
    assert_eq!(error, "values: expected 9 elements, got 299");
    let batch = Batch::new(vec![loss]).expect("a batch");
    let error = batch.evaluate(&[]).expect_err("a length error").to_string();
    assert_eq!(error, "densities: expected 1 values, got 0");
    let (loss, _) = small();
    assert_eq!(loss.targets(&[1.0; 9]).expect_err("a length error").to_string(), "targets: expected 8 values, got 9");
    let (loss, _) = small();
    let mut targets = [1.0; 8];
    targets[3] = f64::NAN;
    let error = loss.targets(&targets).expect_err("no number");
    assert!(matches!(error, Error::NotFinite { what: "targets", index: 3, .. }), "{error}");
    let none = Batch::<splatport::WgpuRuntime>::new(Vec::new()).expect_err("an empty batch");
    assert_eq!(none.to_string(), "batch is empty");
}
