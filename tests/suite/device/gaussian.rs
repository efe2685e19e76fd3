//! Whitening: squared Mahalanobis distances of one gaussian, through the nearest of one.

use splatport::kernels::gaussian::{Framing, frames};
use splatport::kernels::{Cells, Error, nearest::nearest};
use splatport::reference::gaussian::Gaussian;
use splatport::strategies;

use super::{Case, Tally, aspect, cases, centres, device, framed, poison, property, q_error, single, upload, wide};

/// The distance of every cell to the one gaussian, against the oracle's to `expected`.
fn check(g: &Gaussian<f64>, cells: Cells, framing: Framing, expected: &Gaussian<f64>, tally: &mut Tally) {
    poison(&[8, cells.len()]);
    let found = nearest(device(), &framed(&[*g], 1, framing), cells, 1).expect("nearest");
    let got = wide(found.mahalanobis_sq.read().expect("distances"));
    let wanted: Vec<f64> = centres(&cells).iter().map(|&x| expected.mahalanobis_sq(x)).collect();
    let relative = q_error(aspect(g));
    tally.all_near("q", &got, &wanted, |i| relative * wanted[i]);
}

/// Measured up to aspect 50: 0.44 of the tolerance (see [`q_error`]).
#[test]
fn distances_hold_their_bound() {
    property("distance", 48, cases(1, 50.0), |Case { set, cells }, tally| {
        if let [g] = set[..] {
            check(&g, *cells, Framing::default(), &g, tally);
        }
    });
}

/// Limits act on each scale before it grows. Measured: 0.52 of the tolerance.
#[test]
fn scales_are_limited_and_widened() {
    let limits = (strategies::gaussian(40, 30, 8.0), [1.0..3.0, 3.0..9.0, 1.0..2.0]);
    property("limited scale", 24, limits, |&(g, numbers), tally| {
        let [least, largest, growth] = numbers.map(single);
        let cells = Cells::pixels(37, 29);
        let framing = Framing { least_scale: least, largest_scale: largest, ..Framing::default() };
        let limited = Gaussian { scales: g.scales.map(|s| s.clamp(least, largest)), ..g };
        check(&g, cells, framing, &limited, tally);
        let grown = Gaussian { scales: limited.scales.map(|s| s * growth), ..g };
        check(&g, cells, Framing { growth, ..framing }, &grown, tally);
    });
}

#[test]
fn wrong_lengths_are_rejected() {
    let two = upload(&[Gaussian::round([1.0, 2.0], 3.0); 2], 1);
    let error = frames(device(), &two, 3, Framing::default()).expect_err("three of two");
    assert!(matches!(error, Error::Length { what: "gaussians", expected: 3, got: 2 }), "{error}");
    let torn = splatport::Gaussians { parameters: device().filled(1.0f32, 15), channels: 1 };
    let error = frames(device(), &torn, 1, Framing::default()).expect_err("two and a bit");
    assert!(matches!(error, Error::Length { expected: 14, got: 15, .. }), "{error}");
}
