//! Both shapes of a fit's step end at the same place, each at its own bits every time.

use splatport::{
    kernels::Shape,
    splat::{ExtraGaussians, Reconstruction, Solver},
};

use super::{Splat, bits_of, blobs, device, poison};

const U: f64 = f32::EPSILON as f64 / 2.0;
const ADAM: Solver = Solver::Adam { steps: 70, rate: 0.05 };
const GAUSS_NEWTON: Solver = Solver::GaussNewton { steps: 60 };

/// The first look draws and adds the same numbers in the same order: only a device that contracts the one shape's operations
/// otherwise than the other's tells them apart, by a rounding per term of some hundred.
///
/// From there on the sums of a Gaussian differ by roundings, which decide where a step is kept or a sign turns. Gauss-Newton
/// ends when a bunch of steps brings less than 1e-4 of the loss, each shape up to a few bunches from the other; and Adam follows
/// the absolute error's slope, nearly a sign, where a pixel's residual is nearly zero. Its way down the squared error is
/// smooth: what is smaller than the rate is not told apart, the square of a thousandth of it.
///
/// Measured: 0 (equal bits) at the start; at the end 3.2e-4 with Adam and the absolute error, else 1.4e-7.
#[test]
fn both_shapes_end_at_the_same_loss() {
    let (grey, color) = (blobs(72, 50, 1), blobs(72, 50, 3));
    for solver in [ADAM, GAUSS_NEWTON] {
        let of_grey = || Splat::of(&grey.0, &grey.1).solver(solver);
        let fit = |name: &str, shape| {
            let recipe = match name {
                "color" => Splat::of(&color.0, &color.1).solver(solver),
                "free" => of_grey().extra_gaussians(ExtraGaussians::Count(3)),
                "absolute" => of_grey().reconstruction(Reconstruction::L1),
                _ => of_grey(),
            };
            recipe.fit(&device().with_shape(shape)).expect("a splat")
        };
        for name in ["color", "grey", "free", "absolute"] {
            let [gathered, tiled] = [Shape::Gathered, Shape::Tiled].map(|shape| {
                let first = fit(name, shape);
                poison();
                assert!(bits_of(&fit(name, shape)) == bits_of(&first), "{name} {solver:?} {shape:?}: other bits");
                assert_eq!(first.device().shape(), shape);
                first
            });
            let off = |a: f64, b: f64| (a - b).abs() / a;
            let first = off(gathered.report().losses[0], tiled.report().losses[0]);
            let [a, b] = [&gathered, &tiled].map(|splat| splat.report().loss().expect("a loss"));
            println!("{name} {solver:?}: first {first:e}, last {:e}", off(a, b));
            assert!(first <= 200.0 * U, "{name} {solver:?}: first losses {first:e} apart");
            let allowed = if solver == ADAM && name != "absolute" { 1e-5 } else { 1e-3 };
            assert!(off(a, b) <= allowed, "{name} {solver:?}: {a} gathered, {b} tiled");
            assert!(a < 0.7 * gathered.report().losses[0], "{name} {solver:?}: {a} is not a fit");
        }
    }
}
