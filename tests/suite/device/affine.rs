//! Gaussians moved with their image.

use proptest::prelude::*;
use splatport::kernels::affine::{Affine, transform};
use splatport::reference::gaussian::Gaussian;
use splatport::strategies;

use super::{Tally, U, aspect, device, poison, property, single, upload, wide};

/// Regular maps of bounded condition.
fn maps() -> impl Strategy<Value = Affine> {
    let entry = || (-2.0..2.0).prop_map(single);
    let shift = || (-50.0..50.0).prop_map(single);
    ([[entry(), entry()], [entry(), entry()]], [shift(), shift()])
        .prop_map(|(matrix, shift)| Affine { matrix, shift })
        .prop_filter("nearly flat", |map| map.determinant().abs() > 0.2)
}

/// `Sigma` of parameters in `f64`.
fn covariance(scales: [f64; 2], rotation: f64) -> [f64; 3] {
    let (sin, cos) = rotation.sin_cos();
    let [a, b] = scales.map(|s| s * s);
    [a * cos * cos + b * sin * sin, (a - b) * sin * cos, a * sin * sin + b * cos * cos]
}

/// `Sigma'` is a sum of products of entries of `A`, of the sines and of the scales, a dozen roundings of the trace (at most
/// `|A|^2` times the long variance); the short axis comes from the determinant, whose relative error the condition of `A A'`
/// times the aspect multiplies. Measured: 0.4 of the tolerance.
fn check((set, map): &(Vec<Gaussian<f64>>, Affine), tally: &mut Tally) {
    let picked: Vec<u32> = (0..set.len() as u32).rev().collect();
    poison(&[9 * set.len()]);
    let moved = transform(device(), &upload(set, 3), &device().upload(&picked), *map).expect("a transform");
    let rows = wide(moved.parameters.read().expect("parameters"));
    tally.equal("length", &rows.len(), &(9 * set.len()));
    let [[a, b], [c, d]] = map.matrix;
    let norm = a * a + b * b + c * c + d * d;
    for (row, g) in rows.chunks_exact(9).zip(set.iter().rev()) {
        let mean = map.apply(g.mean);
        let reach = g.mean[0].abs() + g.mean[1].abs();
        for k in 0..2 {
            tally.near("mean", k, (row[k], mean[k]), 4.0 * U * (2.0 * reach + map.shift[k].abs()));
        }
        let [p, q, r] = covariance(g.scales, g.rotation);
        let wanted = [
            a * a * p + 2.0 * a * b * q + b * b * r,
            a * c * p + (a * d + b * c) * q + b * d * r,
            c * c * p + 2.0 * c * d * q + d * d * r,
        ];
        let got = covariance([row[2], row[3]], row[4]);
        let long = g.scales[0].max(g.scales[1]);
        let condition = norm / map.determinant().abs();
        let tolerance = 40.0 * U * norm * long * long * condition * aspect(g);
        (0..3).for_each(|k| tally.near("covariance", k, (got[k], wanted[k]), tolerance));
        tally.holds(row[2] >= row[3] && row[3] > 0.0, || format!("axes {:?}", &row[2..4]));
        let rest = [g.opacity, g.color[0], g.color[1], g.color[2]];
        tally.equal("opacity and color", &[row[5], row[6], row[7], row[8]], &rest);
    }
}

#[test]
fn covariances_are_mapped() {
    property("affine", 48, (strategies::gaussians(20, 60, 40, 8.0), maps()), check);
}
