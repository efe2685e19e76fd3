//! The two shapes of a look at a fit, against each other; the gathered one is compared with the oracle part by part.

use proptest::prelude::*;
use splatport::Device;
use splatport::kernels::{
    Shape,
    bins::{Rule, bins},
    clock::Clock,
    evaluate::{Look, evaluate},
    gaussian::Framing,
    gradient::gradient,
    moments::Sums,
    penalty::Penalty,
    rasterize::{Compositing, Scene},
    target::Target,
};

use super::rasterize::{Picture, pictures};
use super::{R, Tally, U, device, framed, poison, property, upload, wide};

/// A look at one image.
pub fn look(
    scene: &Scene<'_, R, f32>,
    target: &Target<R, f32>,
    sums: Sums,
    floor: f64,
    device: &Device<R>,
) -> Look<R, f32> {
    let look = Look::new(device, scene, target, sums).expect("room for a look");
    evaluate(device, scene, target, &look, (&Clock::new(device, 1), 0), floor);
    look
}

/// Summed penalty and derivatives, the slots' sums being private.
fn sums_of(picture: &Picture, penalty: Penalty, means: bool, curvature: bool, shape: Shape) -> (f64, Vec<f64>) {
    let frames = framed(&picture.set, picture.channels, Framing::default());
    let lists = bins(device(), &frames, picture.cells(), Rule::Within(picture.support)).expect("bins");
    let compositing = Compositing::Sum;
    let scene = Scene { frames: &frames, bins: &lists, support: picture.support, compositing };
    let sums = Sums { channels: picture.channels as u32, means, curvature, penalty, over: false };
    poison(&[picture.base.len(), picture.pixels(), lists.tiles(), lists.pairs() * 8, lists.pairs() * 20]);
    let target = Target::Plain(device().upload_f64(&picture.base));
    let look = look(&scene, &target, sums, 0.125, &device().with_shape(shape));
    let by = gradient(device(), &upload(&picture.set, picture.channels), &lists, &look, 1.0);
    let penalties = look.penalties(device(), &lists).expect("penalties");
    (f64::from(penalties[0]), wide(by.read().expect("gradient")))
}

/// Both draw the same pixels with the same operations and add the same terms, in another order: a derivative's terms are
/// bounded by the norm of the residual, over at most the picture's pixels.
fn check(picture: &Picture, penalty: Penalty, (means, curvature): (bool, bool), tally: &mut Tally) {
    let (gathered, tiled) = (
        sums_of(picture, penalty, means, curvature, Shape::Gathered),
        sums_of(picture, penalty, means, curvature, Shape::Tiled),
    );
    tally.near("penalty", 0, (tiled.0, gathered.0), 200.0 * U * gathered.0.abs());
    let scale: f64 = picture.base.iter().map(|b| 1.0 + b.abs()).sum::<f64>() + picture.set.len() as f64;
    tally.equal("length", &tiled.1.len(), &gathered.1.len());
    for (at, (tiled, gathered)) in tiled.1.iter().zip(&gathered.1).enumerate() {
        tally.near("gradient", at, (*tiled, *gathered), 32.0 * U * (scale + gathered.abs()));
    }
}

/// Measured: 0.03 of the tolerance.
#[test]
fn both_shapes_see_the_same() {
    let cases = (pictures(20), any::<bool>(), any::<bool>(), any::<bool>());
    property("shapes", 32, cases, |(picture, squared, means, curvature), tally| {
        let penalty = if *squared { Penalty::Squared } else { Penalty::Absolute };
        check(picture, penalty, (*means, *curvature), tally);
    });
}

/// Each repeats its own bits whatever memory held before.
#[test]
fn each_shape_repeats_its_bits() {
    property("bits of shapes", 8, pictures(12), |picture, tally| {
        for shape in [Shape::Gathered, Shape::Tiled] {
            let first = sums_of(picture, Penalty::Squared, true, true, shape);
            tally.equal("again", &sums_of(picture, Penalty::Squared, true, true, shape), &first);
        }
    });
}
