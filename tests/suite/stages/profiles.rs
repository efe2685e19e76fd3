//! The three profiles: the table of the specification, and a run of each from end to end.

use splatport::{
    Grid, LossRecipe, Profile,
    kernel::{Background, CutOff, KernelOptions, ScaleClip},
    splat::{
        BackgroundImage, Cleanup, Compositing, ExtraGaussians, InitialColor, InitialScale, Opacity, Reconstruction,
        ReconstructionNorm, RotationMap, ScaleMap, Shape, ShapeOn, ShapeReduce, Solver, SplatOptions,
    },
};

use super::{SUPPORT, Splat, all_finite, blobs, device, read};

const PROFILES: [Profile; 3] = [Profile::Recommended, Profile::Paper, Profile::Reference];
const PAPERS_ADAM: Solver = Solver::Adam { steps: 4000, rate: 0.01 };

fn recommended() -> SplatOptions {
    SplatOptions {
        profile: Profile::Recommended,
        background_image: BackgroundImage::Inpainted,
        reconstruction: Reconstruction::Mse,
        reconstruction_norm: ReconstructionNorm::AllPixels,
        initial_scale: InitialScale::NeighbourFraction { divisor: 6.0 },
        initial_color: InitialColor::AtPoint,
        scale_map: ScaleMap::Softplus { least: 0.5 },
        rotation_map: RotationMap::Free,
        opacity: Opacity::Fixed,
        compositing: Compositing::Sum,
        extra_gaussians: ExtraGaussians::None,
        shape: Shape { weight: 0.2, limit: 1.5, on: ShapeOn::Activated, reduce: ShapeReduce::Max },
        prior: None,
        cleanup: Cleanup::None,
        solver: Solver::GaussNewton { steps: 60 },
        support: SUPPORT,
    }
}

#[test]
fn fits_follow_the_table() {
    assert_eq!(Profile::default(), Profile::Recommended);
    assert_eq!(Profile::Recommended.splat(), recommended());
    let paper = SplatOptions {
        profile: Profile::Paper,
        background_image: BackgroundImage::None,
        opacity: Opacity::Learned,
        extra_gaussians: ExtraGaussians::AtLeast(256),
        solver: PAPERS_ADAM,
        ..recommended()
    };
    assert_eq!(Profile::Paper.splat(), paper);
    let reference = SplatOptions {
        profile: Profile::Reference,
        background_image: BackgroundImage::KnnMask,
        reconstruction: Reconstruction::L1,
        reconstruction_norm: ReconstructionNorm::Foreground,
        initial_scale: InitialScale::LogNeighbour,
        initial_color: InitialColor::Transposed,
        scale_map: ScaleMap::ReluPlusOne,
        rotation_map: RotationMap::PiSigmoid,
        opacity: Opacity::Fixed,
        extra_gaussians: ExtraGaussians::None,
        shape: Shape { weight: 0.2, limit: 1.5, on: ShapeOn::Raw, reduce: ShapeReduce::Max },
        cleanup: Cleanup::ShrinkToShort { limit: 1.5 },
        solver: PAPERS_ADAM,
        ..recommended()
    };
    assert_eq!(Profile::Reference.splat(), reference);
    assert!((SUPPORT - 2.0 * 255.0_f64.ln()).abs() < 1e-14);
}

#[test]
fn kernels_follow_the_table() {
    let options = |profile, background, scale_clip| KernelOptions { profile, background, scale_clip, tau: 1e-3 };
    let soft = |cut_off, rule| Background::Soft { cut_off, rule };
    let expected = [
        options(Profile::Recommended, Background::Hard { cut_off: 1.5 }, ScaleClip::Coverage),
        options(Profile::Paper, soft(3.0, CutOff::Exponent), ScaleClip::None),
        options(
            Profile::Reference,
            Background::Ratio { cut_off: 3.0, kappa: 0.015 },
            ScaleClip::Range { post_min: 1.0, post_max: 20.0 },
        ),
    ];
    assert_eq!(PROFILES.map(Profile::kernel), expected);
}

#[test]
fn names_come_back() {
    assert_eq!(PROFILES.map(|profile| Profile::named(profile.name())), PROFILES.map(Some));
    assert_eq!(Profile::named("Paper"), None);
}

/// Each profile as it is, but for the number of its steps.
#[test]
fn each_runs_from_end_to_end() {
    let (image, annotations) = blobs(48, 40, 3);
    for profile in PROFILES {
        let solver = match profile.splat().solver {
            Solver::Adam { rate, .. } => Solver::Adam { steps: 200, rate },
            other => other,
        };
        let splat = Splat::of(&image, &annotations).profile(profile).solver(solver).fit(device()).expect("a splat");
        let report = splat.report();
        assert!(report.losses[report.losses.len() - 1] < 0.8 * report.losses[0], "{profile:?}: {:?}", report.losses);
        assert_eq!(splat.len(), if profile == Profile::Paper { 10 + 256 } else { 10 });
        assert_eq!(splat.profile(), profile);

        let kernel = splat.kernel(Grid::strided(&image, 8)).build().expect("a kernel");
        assert_eq!((kernel.options(), kernel.profile()), (Some(&profile.kernel()), profile));
        assert_eq!(kernel.table().expect("a table").profile, profile.name());
        let density = device().filled(0.25_f32, kernel.grid().len());
        let loss = kernel.loss();
        let step = loss.evaluate(&density).expect("a step");
        assert!(step.value().expect("a value").is_finite() && all_finite(&read(step.gradient())));

        let recipe: LossRecipe = splatport::recipe().profile(profile).solver(solver).kernel(8).loss();
        let again = recipe.run(device(), &image, &annotations).expect("a loss");
        assert_eq!(again.kernel().table().expect("a table"), loss.kernel().table().expect("a table"));
    }
}
