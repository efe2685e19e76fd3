//! Where a fit starts and what it draws over.

use splatport::{
    reference::initial::{InitialScale as Rule, initial_scales, neighbour_distances},
    splat::{BackgroundImage, InitialColor, InitialScale, Opacity, Solver},
};

use super::{SUPPORT, Splat, apart, background, blobs, device, drawn, noise, photo, points, values_of};

const NO_STEPS: [Solver; 2] = [Solver::Adam { steps: 0, rate: 0.01 }, Solver::GaussNewton { steps: 0 }];
/// The scale is rounded once by Adam (2^-24), and goes through `exp((ln s + ln s) / 2)` with Gauss-Newton, whose error is a
/// few roundings of a logarithm below 2: measured 3e-7.
const SCALE: f64 = 2e-6;

fn scattered() -> Vec<[f64; 2]> {
    let mut places: Vec<_> = noise(11, 24).chunks_exact(2).map(|r| [r[0] * 400.0, r[1] * 300.0]).collect();
    // A pair at one place, neighbours of each other, and points beyond three sides of the photo.
    places.extend([places[0], [-30.25, 20.0], [200.0, 310.5], [420.0, 150.0], [60.0, 60.0], [62.0, 60.0]]);
    places
}

#[test]
fn scales_follow_the_neighbours() {
    let (places, image) = (scattered(), photo(400, 300, 1, &noise(1, 120_000)));
    let annotations = points(&places);
    let distances = neighbour_distances(&places);
    for solver in NO_STEPS {
        for (rule, oracle) in [
            (InitialScale::NeighbourFraction { divisor: 6.0 }, Rule::KnnFraction { divisor: 6.0 }),
            (InitialScale::NeighbourFraction { divisor: 20.0 }, Rule::KnnFraction { divisor: 20.0 }),
            (InitialScale::LogNeighbour, Rule::RefLogKnn),
        ] {
            let expected = initial_scales(&distances, oracle, 400, 300);
            let recipe = Splat::of(&image, &annotations).solver(solver).initial_scale(rule);
            let table = recipe.fit(device()).expect("a splat").table().expect("a table");
            for (n, (&[a, b], expected)) in table.scales.iter().zip(&expected).enumerate() {
                let off = apart(&[a, b], &[*expected; 2]) / expected;
                assert!(off <= SCALE, "{solver:?} {rule:?} {n}: {a} {b}, expected {expected}");
            }
        }
    }
}

/// The photo's value at a point, by its own rules of rounding.
fn at(values: &[f64], [x, y]: [f64; 2], channel: usize) -> f64 {
    let inside = |v: f64, size: f64| v.floor().max(0.0).min(size - 1.0) as usize;
    values[(inside(y, 48.0) * 64 + inside(x, 64.0)) * 3 + channel]
}

#[test]
fn colors_come_from_the_photo() {
    let mut values = noise(5, 64 * 48 * 3);
    // Both ends of the colors' range, which their maps never reach.
    values[(20 * 64 + 10) * 3..(20 * 64 + 11) * 3].copy_from_slice(&[0.0, 1.0, 0.5]);
    let image = photo(64, 48, 3, &values);
    let places = [[10.5, 20.5], [40.0, 7.999], [63.9, 47.9], [-4.0, 90.0], [30.2, 30.7]];
    let annotations = points(&places);
    for (rule, swap) in [(InitialColor::AtPoint, false), (InitialColor::Transposed, true)] {
        for kind in [BackgroundImage::None, BackgroundImage::KnnMask, BackgroundImage::Inpainted] {
            let recipe = Splat::of(&image, &annotations).initial_color(rule).background_image(kind);
            let splat = recipe.solver(NO_STEPS[0]).fit(device()).expect("a splat");
            let (photo, below) = (values_of(&image), background(&image, &annotations, kind).1);
            let expected: Vec<f64> = places
                .iter()
                .map(|&[x, y]| if swap { [y, x] } else { [x, y] })
                .flat_map(|place| (0..3).map(move |c| (place, c)))
                .map(|(place, c)| match kind {
                    BackgroundImage::Inpainted => (at(&photo, place, c) - at(&below, place, c)).clamp(-0.999, 0.999),
                    _ => at(&photo, place, c).clamp(0.001, 0.999),
                })
                .collect();
            // A mean of at most 289 values in f64, rounded to f32.
            assert!(apart(&splat.table().expect("a table").colors, &expected) <= 1e-6, "{rule:?} {kind:?}");
        }
    }
}

/// The mask, the two background images and the drawing at once: a wrong pixel of the mask differs by the photo's noise.
#[test]
fn drawings_equal_the_oracle() {
    for channels in [1, 3] {
        let (image, annotations) = blobs(72, 50, channels);
        for kind in [BackgroundImage::None, BackgroundImage::KnnMask, BackgroundImage::Inpainted] {
            for support in [SUPPORT, 4.0] {
                let recipe = Splat::of(&image, &annotations).background_image(kind).support(support);
                let splat = recipe.solver(NO_STEPS[1]).fit(device()).expect("a splat");
                let below = background(&image, &annotations, kind).1;
                let expected = drawn(&splat.table().expect("a table"), &below, support);
                let off = apart(&splat.reconstruction().expect("a drawing"), &expected);
                // At most ten summands below 1, each with the error of q <= 11 (some 40 roundings) in its
                // exponent: 10 * 6e-8 * 40. Measured 2.4e-7.
                assert!(off <= 2e-5, "{channels} channels, {kind:?}, support {support}: {off:e}");
            }
        }
    }
}

/// With a large photo the discs are wider than the first window, so windows have to grow.
#[test]
fn inpainting_widens_its_window() {
    let (width, height) = (700, 60);
    let image = photo(width, height, 1, &noise(9, 42_000));
    // Far apart: discs of 3.33 * 10.5 = 35 px radius cover the whole height.
    let annotations = points(&[[100.0, 30.0], [400.0, 30.0], [650.0, 30.0]]);
    let recipe = Splat::of(&image, &annotations).solver(NO_STEPS[0]);
    let splat = recipe.fit(device()).expect("a splat");
    let (mask, below) = background(&image, &annotations, BackgroundImage::Inpainted);
    let swallowed = (0..60).all(|row| mask[row * 700 + 100 + 9] && mask[row * 700 + 100 - 9]);
    assert!(swallowed, "no pixel needs a wider window");
    let expected = drawn(&splat.table().expect("a table"), &below, SUPPORT);
    assert!(apart(&splat.reconstruction().expect("a drawing"), &expected) <= 2e-5);
}

#[test]
fn opacity_starts_where_it_is_learned() {
    let (image, annotations) = blobs(40, 40, 1);
    let start = |opacity, solver| {
        let recipe = Splat::of(&image, &annotations).opacity(opacity).solver(solver);
        recipe.fit(device()).expect("a splat").table().expect("a table").opacities
    };
    assert_eq!(start(Opacity::Learned, NO_STEPS[0]), [0.5; 10]);
    assert_eq!(start(Opacity::Learned, NO_STEPS[1]), [1.0; 10]);
    assert_eq!(start(Opacity::Fixed, NO_STEPS[0]), [1.0; 10]);
}
