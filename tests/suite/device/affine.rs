//! Gaussians moved with their image.

use proptest::prelude::*;
use splatport::kernels::affine::{Affine, Moved, transform};
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
    let gaussians = upload(set, 3);
    let moved = transform(device(), &[Moved { gaussians: &gaussians, picked, affine: *map }]).expect("a transform");
    let rows = wide(moved[0].parameters.read().expect("parameters"));
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

/// Images of a batch, more than one launch takes, of unlike channels and some without Gaussians, have the bits that they have alone.
#[test]
fn a_batch_is_moved_as_each_of_it() {
    let random = crate::stages::noise(17, 4 * 60);
    let one = |r: &[f64]| Gaussian { rotation: r[3], ..Gaussian::round([40.0 * r[0], 30.0 * r[1]], 1.0 + r[2]) };
    let set: Vec<_> = random.chunks_exact(4).map(one).collect();
    let sources: Vec<_> = [0..9, 9..9, 9..14, 0..60, 3..4, 5..6, 7..20, 30..60, 10..40, 2..3, 4..4, 20..50, 0..30]
        .into_iter()
        .enumerate()
        .map(|(at, part)| upload(&set[part], if at == 11 { 1 } else { 3 }))
        .collect();
    let image = |(at, gaussians)| {
        let turn = at as f64;
        let affine =
            Affine { matrix: [[turn.cos(), -turn.sin()], [1.5 * turn.sin(), turn.cos()]], shift: [turn, -3.0] };
        let of: &splatport::Gaussians<super::R, f32> = gaussians;
        Moved { gaussians: of, picked: (0..of.len() as u32).rev().step_by(2).collect(), affine }
    };
    let images = || sources.iter().enumerate().map(image).collect::<Vec<_>>();
    let bits = |moved: &splatport::Gaussians<super::R, f32>| {
        moved.parameters.read().expect("parameters").into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    poison(&[9 * 60, 9 * 30, 9 * 5]);
    let together = transform(device(), &images()).expect("a transform");
    assert_eq!(
        together.iter().map(|moved| moved.len()).collect::<Vec<_>>(),
        [5, 0, 3, 30, 1, 1, 7, 15, 15, 1, 0, 15, 15]
    );
    for (at, image) in images().into_iter().enumerate() {
        let alone = transform(device(), &[image]).expect("a transform");
        assert!(bits(&together[at]) == bits(&alone[0]), "image {at}: other bits");
    }
    assert!(transform(device(), &Vec::<Moved<'_, super::R, f32>>::new()).expect("nothing").is_empty());
}
