//! The fit in `f64`, where a device has it: nothing in between is rounded to `f32`.

use splatport::reference::{
    gaussian::Gaussian,
    reconstruction::{Reconstruction as Penalty, reconstruction_loss, reconstruction_norm},
    splat::render,
};
use splatport::splat::{BackgroundImage, Reconstruction, Solver};
use splatport::{Double, Splat};

use super::{R, SUPPORT, blobs, values_of};
use crate::device::precision::admitted;

/// The loss of what was found, to ten digits.
#[test]
fn reported_losses_are_the_oracles() {
    let Some(device) = admitted(Double, "f64") else { return };
    let (image, annotations) = blobs(40, 30, 3);
    let values = values_of(&image);
    let norm = reconstruction_norm(40 * 30, 3, None);
    for (reconstruction, penalty) in [(Reconstruction::Mse, Penalty::Mse), (Reconstruction::L1, Penalty::L1)] {
        for solver in [Solver::GaussNewton { steps: 4 }, Solver::Adam { steps: 8, rate: 0.05 }] {
            let recipe = Splat::<R, Double>::of(&image, &annotations).background_image(BackgroundImage::None);
            let splat = recipe.reconstruction(reconstruction).solver(solver).fit(&device).expect("a splat");
            let parameters = splat.gaussians().parameters.read().expect("parameters");
            let found: Vec<_> = parameters
                .chunks_exact(9)
                .map(|row| Gaussian {
                    mean: [row[0], row[1]],
                    scales: [row[2], row[3]],
                    rotation: row[4],
                    opacity: row[5],
                    color: [row[6], row[7], row[8]],
                })
                .collect();
            let drawn = render(&found, 40, 30, 3, &vec![0.0; values.len()], SUPPORT);
            let expected = reconstruction_loss(&drawn, &values, penalty, norm);
            let losses = &splat.report().losses;
            let got = losses[losses.len() - 1];
            assert!((got - expected).abs() <= 1e-10 * expected, "{penalty:?} {solver:?}: {got} {expected}");
            assert!(got < 0.9 * losses[0], "{penalty:?} {solver:?}: {losses:?}");
        }
    }
}
