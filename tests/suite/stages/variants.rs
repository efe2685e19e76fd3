//! Every choice of a fit does what it says.

use splatport::splat::{
    BackgroundImage, Compositing, Opacity, Reconstruction, RotationMap, ScaleMap, Shape, ShapeOn, ShapeReduce, Solver,
};

use splatport::reference::alpha_over::alpha_over;

use super::{SUPPORT, Splat, apart, blobs, device};
use crate::device::single;

const ADAM: Solver = Solver::Adam { steps: 60, rate: 0.05 };

fn ratio(splat: &Splat) -> f64 {
    let report = splat.report();
    assert_eq!(report.repairs, 0);
    report.losses[report.losses.len() - 1] / report.losses[0]
}

#[test]
fn every_map_descends() {
    let (image, annotations) = blobs(72, 50, 1);
    for scale in [ScaleMap::ReluPlusOne, ScaleMap::Softplus { least: 0.5 }, ScaleMap::Exp] {
        for rotation in [RotationMap::Free, RotationMap::PiSigmoid] {
            let recipe = Splat::of(&image, &annotations).scale_map(scale).rotation_map(rotation);
            let splat = recipe.solver(ADAM).fit(device()).expect("a splat");
            let left = ratio(&splat);
            // Measured 0.059 on every map.
            assert!(left < 0.12, "{scale:?} {rotation:?}: {left} of the loss is left");
            let table = splat.table().expect("a table");
            let least = match scale {
                ScaleMap::ReluPlusOne => 1.0,
                ScaleMap::Softplus { least } => single(least),
                _ => 0.0,
            };
            assert!(table.scales.as_flattened().iter().all(|&s| s >= least), "{scale:?}: below {least}");
            let turned = table.rotations.iter().all(|r| (0.0..=f64::from(std::f32::consts::PI)).contains(r));
            assert!(turned || rotation == RotationMap::Free, "{:?}", table.rotations);
        }
    }
}

#[test]
fn absolute_errors_shrink_with_both_solvers() {
    let (image, annotations) = blobs(72, 50, 1);
    for background in [BackgroundImage::None, BackgroundImage::KnnMask, BackgroundImage::Inpainted] {
        for solver in [ADAM, Solver::GaussNewton { steps: 15 }] {
            let recipe = Splat::of(&image, &annotations).background_image(background).solver(solver);
            let splat = recipe.reconstruction(Reconstruction::L1).fit(device()).expect("a splat");
            let (first, photo) = (splat.report().losses[0], image.to_f32());
            let drawn = splat.reconstruction().expect("a drawing");
            let error = drawn.iter().zip(&photo).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
            let mean = error / photo.len() as f64;
            // The slope without a Gaussian on it stays unexplained over black. Measured 0.59 (Adam), else 0.24 to 0.46.
            let bar = if background == BackgroundImage::None { 0.8 } else { 0.6 };
            assert!(mean < bar * first, "{background:?} {solver:?}: {mean} from {first}");
        }
    }
}

#[test]
fn opacity_is_learned_by_adam_only() {
    let (image, annotations) = blobs(72, 50, 1);
    let recipe = || Splat::of(&image, &annotations).opacity(Opacity::Learned);
    let splat = recipe().solver(ADAM).fit(device()).expect("a splat");
    let opacities = splat.table().expect("a table").opacities;
    assert!(opacities.iter().all(|&o| o > 0.0 && o < 1.0 && (o - 0.5).abs() > 1e-3), "{opacities:?}");
    assert!(ratio(&splat) < 0.5);
    let kept = recipe().solver(Solver::GaussNewton { steps: 5 }).fit(device()).expect("a splat");
    assert_eq!(kept.table().expect("a table").opacities, [1.0; 10]);
}

/// The deformity loss holds the worst aspect of Adam's fit down, whichever way it is taken.
#[test]
fn deformity_is_held_down() {
    let (image, annotations) = blobs(72, 50, 1);
    let worst = |weight, on, reduce| {
        let shape = Shape { weight, limit: 1.05, on, reduce };
        let recipe = Splat::of(&image, &annotations).shape(shape).solver(ADAM);
        recipe.fit(device()).expect("a splat").report().largest_aspect
    };
    let free = worst(0.0, ShapeOn::Activated, ShapeReduce::Max);
    for on in [ShapeOn::Activated, ShapeOn::Raw] {
        for reduce in [ShapeReduce::Max, ShapeReduce::Mean] {
            let held = worst(0.2, on, reduce);
            // Measured 1.03 to 1.05 against 1.31.
            assert!(held - 1.0 < 0.5 * (free - 1.0), "{on:?} {reduce:?}: {held} held, {free} free");
        }
    }
}

/// A wider support draws more of every tail, and none beyond it.
#[test]
fn support_bounds_what_is_drawn() {
    let (image, annotations) = blobs(72, 50, 1);
    let drawn = |support| {
        let recipe = Splat::of(&image, &annotations).background_image(BackgroundImage::None).support(support);
        recipe
            .solver(Solver::GaussNewton { steps: 0 })
            .fit(device())
            .expect("a splat")
            .reconstruction()
            .expect("a drawing")
    };
    let (narrow, wide, wider) = (drawn(2.0), drawn(30.0), drawn(60.0));
    let lit = |image: &[f32]| image.iter().filter(|&&v| v != 0.0).count();
    assert!(lit(&narrow) < lit(&wide));
    // exp(-15) of colors below 1, ten of them.
    assert!(apart(&wide, &wider) <= 10.0 * (-15.0_f64).exp());
}

/// What is drawn over each other is what the oracle draws, and it is fitted.
#[test]
fn layers_descend() {
    let (image, annotations) = blobs(72, 50, 3);
    for background in [BackgroundImage::None, BackgroundImage::Inpainted] {
        let recipe = Splat::of(&image, &annotations).background_image(background).compositing(Compositing::AlphaOver);
        let splat = recipe.opacity(Opacity::Learned).solver(ADAM).fit(device()).expect("a splat");
        let left = ratio(&splat);
        assert!(left < 0.5, "{background:?}: {left} of the loss is left");

        let (_, behind) = super::background(&image, &annotations, background);
        let set = super::gaussians_of(&splat.table().expect("a table"));
        let wanted = alpha_over(&set, 72, 50, 3, &behind, SUPPORT);
        let drawn = splat.reconstruction().expect("a drawing");
        let worst = apart(&drawn, &wanted);
        // Pixels at the edge of the support may be in or out: one 8-bit level of what lies there.
        assert!(worst <= 1.0 / 255.0, "{background:?}: off by {worst}");
    }
}
