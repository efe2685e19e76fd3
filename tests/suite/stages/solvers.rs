//! Gauss-Newton against Adam, the paper's solver: few steps end no higher than thousands.

use splatport::splat::{BackgroundImage, Solver};

use super::{Splat, blobs, device, sample};

/// At or a little below the sums of squared residuals that Adam ends at after the paper's 4000 steps of 0.01, with the recipe
/// of [`splatport::Profile::Recommended`] but for background and solver. Measured with
/// `cargo run --release --example solvers` on software Vulkan: 386.19, 313.64, 180.79; 16830.16, 16978.27, 4683.03.
const ADAM: [(&str, [(BackgroundImage, f64); 3]); 2] = [
    (
        "nuclei_dsb2018",
        [(BackgroundImage::None, 386.1), (BackgroundImage::KnnMask, 312.8), (BackgroundImage::Inpainted, 179.6)],
    ),
    (
        "trees_osbs_029",
        [(BackgroundImage::None, 16830.1), (BackgroundImage::KnnMask, 16978.2), (BackgroundImage::Inpainted, 4680.4)],
    ),
];

/// The least sum of squared residuals of a fit.
fn squares(name: &str, kind: BackgroundImage, solver: Solver) -> f64 {
    let (image, annotations) = sample(name);
    let recipe = Splat::of(&image, &annotations).background_image(kind).solver(solver);
    let splat = recipe.fit(device()).expect("a splat");
    let least = splat.report().losses.iter().copied().fold(f64::INFINITY, f64::min);
    least * image.to_f32().len() as f64
}

#[test]
fn sixty_steps_do_what_adams_thousands_do() {
    for (name, cases) in ADAM {
        for (kind, adam) in cases {
            let squares = squares(name, kind, Solver::GaussNewton { steps: 60 });
            assert!(squares <= adam, "{name} {kind:?}: {squares}, Adam {adam}");
        }
    }
}

/// The same bar without constants, on a photo of ten blobs.
#[test]
fn sixty_steps_end_below_adam() {
    let (image, annotations) = blobs(48, 40, 1);
    let loss = |solver| {
        let splat = Splat::of(&image, &annotations).solver(solver).fit(device()).expect("a splat");
        splat.report().losses.iter().copied().fold(f64::INFINITY, f64::min)
    };
    let (newton, adam) = (loss(Solver::GaussNewton { steps: 60 }), loss(Solver::adam()));
    assert!(newton <= adam, "{newton:e}, Adam {adam:e}");
}
