//! 8-bit photos are packed on the device: nothing is lost.

use splatport::{
    Annotations, Image,
    splat::{BackgroundImage, Reconstruction, Solver},
};

use super::{Splat, apart, device, noise, points};

const U: f64 = f32::EPSILON as f64 / 2.0;

/// The same levels as 8-bit samples and as numbers.
fn both(width: u32, height: u32, channels: u8, levels: Vec<u8>) -> [Image; 2] {
    let values: Vec<f32> = levels.iter().map(|&level| f32::from(level) / 255.0).collect();
    let packed = Image::from_u8(width, height, channels, levels).expect("a photo");
    [packed, Image::from_f32(width, height, channels, &values).expect("a photo")]
}

/// Any levels, and places whose discs leave most of the photo alone.
fn noisy(channels: u8) -> ([Image; 2], Annotations) {
    let levels = noise(5, 50 * 37 * usize::from(channels)).iter().map(|v| (v * 256.0) as u8).collect();
    (both(50, 37, channels, levels), points(&[[9.0, 8.0], [31.5, 20.0], [44.0, 30.25], [12.0, 29.0]]))
}

/// Bright and dark squares of noise within the discs around the annotations, on two flat halves: what is painted over the
/// objects are these halves' levels, to the last bit.
fn flat(channels: u8) -> ([Image; 2], Annotations) {
    let places = [[12.0, 18.0], [70.0, 10.0], [75.0, 26.0]];
    let random = noise(6, 90 * 37 * usize::from(channels));
    let level = |at: usize| {
        let (pixel, channel) = (at / usize::from(channels), at % usize::from(channels));
        let (x, y) = ((pixel % 90) as f64 + 0.5, (pixel / 90) as f64 + 0.5);
        let in_object = places.iter().any(|p| (p[0] - x).abs().max((p[1] - y).abs()) < 4.0);
        match (in_object, x < 45.0) {
            (true, _) => (random[at] * 256.0) as u8,
            (false, true) => 61 + 7 * channel as u8,
            (false, false) => 202 - 9 * channel as u8,
        }
    };
    (both(90, 37, channels, (0..random.len()).map(level).collect()), points(&places))
}

/// A difference of levels is packed whole, and its quotient by 255 is off by at most 5 U on any device; the other way two
/// rounded quotients are subtracted and rounded: 2 U. So residuals are 7 U apart, and colors, which start at such a difference,
/// 2 U more for each of the few Gaussians on a pixel. Both sums are made in the same order, with up to 106 roundings.
///
/// Measured: 0.003 of the tolerance.
#[test]
fn packed_photos_are_the_same_photos() {
    let mut worst = 0.0_f64;
    for channels in [1, 3] {
        for (kind, ([packed, plain], annotations)) in [
            (BackgroundImage::None, noisy(channels)),
            (BackgroundImage::KnnMask, noisy(channels)),
            (BackgroundImage::Inpainted, flat(channels)),
        ] {
            assert_eq!(packed.to_f32(), plain.to_f32());
            for reconstruction in
                [Reconstruction::Mse, Reconstruction::L1].into_iter().take(if channels == 1 { 2 } else { 1 })
            {
                let [a, b] = [&packed, &plain].map(|image| {
                    let recipe = Splat::of(image, &annotations).background_image(kind).reconstruction(reconstruction);
                    let splat = recipe.solver(Solver::GaussNewton { steps: 0 }).fit(device()).expect("a splat");
                    (splat.report().losses[0], splat.reconstruction().expect("a drawing"))
                });
                // The mean of |2 E| 13 U, and of 13 U: the mean is at most the root of the mean square.
                let moved = match reconstruction {
                    Reconstruction::Mse => 26.0 * U * b.0.sqrt(),
                    _ => 13.0 * U,
                };
                let allowed = moved + 212.0 * U * b.0;
                worst = worst.max((a.0 - b.0).abs() / allowed);
                let off = (a.0 - b.0).abs();
                assert!(off <= allowed, "{kind:?} {channels} {reconstruction:?}: {} packed, {} plain", a.0, b.0);
                let drawn = apart(&a.1, &b.1);
                assert!(drawn <= 16.0 * U, "{kind:?} {channels}: drawn {drawn:e} apart");
            }
        }
    }
    println!("packed: {worst:.5} of the tolerance");
}

/// What is reported of a packed photo is the error of what is drawn, whatever was painted over it. A sum of some thousand
/// squares in `f32`: measured 2e-7 off.
#[test]
fn packed_photos_report_what_they_draw() {
    for channels in [1, 3] {
        for kind in [BackgroundImage::None, BackgroundImage::KnnMask, BackgroundImage::Inpainted] {
            let ([image, _], annotations) = noisy(channels);
            let recipe = Splat::of(&image, &annotations).background_image(kind);
            let splat = recipe.solver(Solver::GaussNewton { steps: 3 }).fit(device()).expect("a splat");
            let (drawn, photo) = (splat.reconstruction().expect("a drawing"), image.to_f32());
            let squares = drawn.iter().zip(&photo).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
            let expected = squares.sum::<f64>() / photo.len() as f64;
            let got = splat.report().loss().expect("a loss");
            println!("{kind:?} {channels}: {:e}", (got - expected).abs() / expected);
            assert!((got - expected).abs() <= 2e-6 * expected, "{kind:?} {channels}: {got} {expected}");
        }
    }
}
