//! `ln(1 + exp(x))` and its derivative.

use proptest::collection::vec;
use proptest::prelude::*;
use splatport::kernels::{
    Error,
    softplus::{softplus, softplus_backward},
};

use super::{Tally, U, device, once, poison, property, single, wide};

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `1 + exp(-|x|)` lies in 1..2 and is off by 2 U; its logarithm may be off by `2^-21 = 8 U` on Vulkan, and adding `x`
/// rounds once more: `(12 + x) U`.
///
/// The slope's `exp` is off by `(3 + 2 |x|)` ulp, which its share `1 - sigmoid` weakens; the sum, the quotient (3 ulp) and the
/// product add 9 U. Below `exp(-87)` it may be nothing. Measured: 0.42 of both.
fn check(raw: &[f64], slopes: &[f64], tally: &mut Tally) {
    poison(&[raw.len()]);
    let buffer = device().upload_f64(raw);
    let density = wide(softplus(device(), &buffer).read().expect("density"));
    let wanted: Vec<f64> = raw.iter().map(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()).collect();
    tally.all_near("density", &density, &wanted, |i| (12.0 + raw[i].max(0.0)) * U);
    tally.holds(density.iter().all(|&z| z >= 0.0), || "a negative density".to_owned());
    let by = softplus_backward(device(), &buffer, &device().upload_f64(slopes)).expect("slopes");
    let wanted: Vec<f64> = raw.iter().zip(slopes).map(|(&x, g)| g * sigmoid(x)).collect();
    tally.all_near("slope", &wide(by.read().expect("slopes")), &wanted, |i| {
        let (x, own) = (raw[i], slopes[i].abs());
        let share = (3.0 + 2.0 * x.abs().min(100.0)) * (1.0 - sigmoid(x));
        own * (sigmoid(x) * (9.0 + 2.0 * share) * U + (-87.0_f64).exp())
    });
}

#[test]
fn any_number() {
    let number = prop_oneof![-20.0..20.0, -100.0..100.0, (-1e-3..1e-3)].prop_map(single);
    let pairs = vec((number, (-3.0..3.0).prop_map(single)), 0..300);
    property("softplus", 32, pairs, |pairs, tally| {
        let (raw, slopes): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        check(&raw, &slopes, tally);
    });
}

#[test]
fn large_numbers_do_not_overflow() {
    let raw = [0.0, 87.0, 89.0, 1e3, 1e30, f64::from(f32::MAX)].map(single);
    let both: Vec<f64> = raw.iter().flat_map(|&x| [x, -x]).collect();
    once("large softplus", |tally| check(&both, &[1.0; 12], tally));
}

#[test]
fn a_wrong_length_is_rejected() {
    let (three, two) = (device().filled(0.0f32, 3), device().filled(0.0f32, 2));
    let error = softplus_backward(device(), &three, &two).expect_err("two of three");
    assert!(matches!(error, Error::Length { what: "gradient", expected: 3, got: 2 }), "{error}");
}
