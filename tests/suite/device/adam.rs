//! Adam against the oracle's steps.

use proptest::collection::vec;
use proptest::prelude::*;
use splatport::kernels::adam::{Adam, AdamState, adam};
use splatport::reference;

use super::{U, device, poison, property, single, wide};

/// A gradient's entry: zero, common, tiny or large.
fn slope() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), -1.0..1.0, (-1e-6..1e-6), (-1e4..1e4)].prop_map(single)
}

/// Constants that `f32` holds exactly, so that both sides work with the same decay.
fn rule(rate: f64) -> Adam {
    Adam { rate: single(rate), beta1: single(0.9), beta2: single(0.999), epsilon: single(1e-8) }
}

/// Six steps on a few parameters, with a gradient of its own each.
///
/// Step `t` rounds both moments, relative to the sums of absolute terms `M` and `V = second`, three times each; so the first
/// moment is off by `3 t U M`, the root by half of `3 t U` of itself, and the change by the sum of both and six roundings of
/// its own (two of them a quotient and a root, which Vulkan lets be off by 3 ulp), relative to `rate M / root`. Each
/// parameter is rounded once a step besides. Measured: 0.97 of it, for a
/// large parameter's one rounding.
#[test]
fn steps_equal_the_oracle() {
    let steps = (1usize..150).prop_flat_map(|len| (vec(slope(), len), vec(vec(slope(), len), 6)));
    property("adam", 24, (steps, 1e-3..0.1), |((start, slopes), rate), tally| {
        let len = start.len();
        let ours = rule(*rate);
        let theirs =
            reference::adam::Adam { rate: ours.rate, beta1: ours.beta1, beta2: ours.beta2, epsilon: ours.epsilon };
        poison(&[len, len]);
        let parameters = device().upload_f64(start);
        let state = AdamState::new(device(), len);
        let (mut p, mut m, mut v) = (start.clone(), vec![0.0; len], vec![0.0; len]);
        let (mut absolute, mut tolerance) = (vec![0.0; len], vec![0.0; len]);
        for (t, slope) in (1..).zip(slopes) {
            adam(device(), &parameters, &device().upload_f64(slope), &state, ours, t as u32).expect("a step");
            reference::adam::adam_step(&mut p, slope, &mut m, &mut v, t, &theirs);
            let roundings = 3.0 * f64::from(t);
            for k in 0..len {
                absolute[k] = ours.beta1 * absolute[k] + (1.0 - ours.beta1) * slope[k].abs();
                let mean = absolute[k] / (1.0 - ours.beta1.powi(t));
                let root = (v[k] / (1.0 - ours.beta2.powi(t))).sqrt() + ours.epsilon;
                tolerance[k] += (1.5 * roundings + 16.0) * U * ours.rate * mean / root + U * (p[k].abs() + ours.rate);
            }
            let tiny = 1e-37; // squares of tiny slopes round to nothing
            tally.all_near("first", &wide(state.first.read().expect("m")), &m, |k| roundings * U * absolute[k] + tiny);
            tally.all_near("second", &wide(state.second.read().expect("v")), &v, |k| roundings * U * v[k] + tiny);
            tally.all_near("parameter", &wide(parameters.read().expect("p")), &p, |k| tolerance[k]);
        }
    });
}

/// The usual constants are no `f32` numbers, `1 - 0.999` least of all: its rounding, `3e-5` of it, halves in the root.
#[test]
fn the_first_step_has_the_length_of_the_rate() {
    let parameters = device().filled(0.0f32, 3);
    let state = AdamState::new(device(), 3);
    let slopes = device().upload(&[4.0f32, -1e-3, 0.0]);
    adam(device(), &parameters, &slopes, &state, Adam::default(), 1).expect("a step");
    let got = wide(parameters.read().expect("p"));
    for (got, want) in got.iter().zip([-0.01, 0.01, 0.0]) {
        // Measured: 8e-6 of the rate.
        assert!((got - want).abs() <= 2e-5 * 0.01, "{got} {want}");
    }
}

#[test]
fn wrong_lengths_are_rejected() {
    let three = device().filled(0.0f32, 3);
    let two = device().filled(0.0f32, 2);
    for (gradient, state) in [(&two, 3), (&three, 2)] {
        let state = AdamState::new(device(), state);
        let error = adam(device(), &three, gradient, &state, Adam::default(), 1).expect_err("two of three");
        assert!(matches!(error, splatport::kernels::Error::Length { expected: 3, got: 2, .. }), "{error}");
    }
}
