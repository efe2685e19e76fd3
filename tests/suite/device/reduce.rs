//! Sums and maxima.

use proptest::prelude::*;
use splatport::kernels::{
    arithmetic::dot,
    reduce::{Reduction, reduce, reduce_into},
};

use super::{Tally, U, device, once, poison, property, single};

/// Sixty-four elements are added one by one on each level, so an element meets at most 64 roundings a level:
/// `64 levels U sum |x|`. Measured: 0.06 of it.
fn check(values: &[f64], tally: &mut Tally) {
    poison(&[values.len().div_ceil(64), 1]);
    let buffer = device().upload_f64(values);
    let got = |kind| f64::from(reduce(device(), &buffer, kind).read_one().expect("one element"));
    let mut levels = 1;
    while 64_usize.pow(levels) < values.len() {
        levels += 1;
    }
    let tolerance = 64.0 * f64::from(levels) * U * values.iter().map(|v| v.abs()).sum::<f64>();
    tally.near("sum of", values.len(), (got(Reduction::Sum), values.iter().sum()), tolerance);
    let largest = values.iter().copied().fold(f64::from(f32::MIN), f64::max);
    tally.near("largest of", values.len(), (got(Reduction::Largest), largest), 0.0);
}

#[test]
fn every_level() {
    once("reduce", |tally| {
        for len in [0, 1, 63, 64, 65, 4096, 4097, 64 * 64 * 64 + 1] {
            // The largest comes last; every value is below zero.
            let values: Vec<f64> =
                (0..len).map(|i| single(-1.0 - 1.0 / f64::from(i + 1) - f64::from(len - i))).collect();
            check(&values, tally);
        }
    });
}

#[test]
fn any_values() {
    let value = prop_oneof![Just(0.0), (-1e6..1e6).prop_map(single), (-1.0..1.0).prop_map(single)];
    property("reduce", 32, proptest::collection::vec(value, 0..700), |values, tally| check(values, tally));
}

#[test]
fn one_element_of_the_target_is_written() {
    for len in [0, 5, 100, 5000] {
        let values = device().filled(2.0f32, len);
        let target = device().filled(-7.0f32, 4);
        reduce_into(device(), &values, Reduction::Sum, &target, 2);
        assert_eq!(target.read().expect("target"), [-7.0, -7.0, 2.0 * len as f32, -7.0], "{len} values");
    }
}

/// More cubes than one axis of a launch holds (65 535 on every backend): they spread over a second one. Ones add up exactly.
#[test]
fn more_cubes_than_an_axis_holds() {
    let len = 65_536 * 64 + 1000;
    let ones = device().filled(1.0f32, len);
    let sum = dot(device(), &ones, &ones).expect("a sum").read_one().expect("a sum");
    assert_eq!(sum, len as f32);
}
