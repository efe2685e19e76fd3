//! Inputs at the edge of what there is: nothing, one, all the same, far away, tiny, flat. All of it stays finite.

use splatport::{
    Annotations, GaussianTable, Grid, Image,
    kernel::{Background, CutOff, ScaleClip},
    splat::{BackgroundImage, End, ExtraGaussians, InitialScale, Solver},
    train::{FreeDensity, Trainer},
};

use super::{Splat, all_finite, apart, blobs, device, noise, photo, points, read};

const SOLVERS: [Solver; 2] = [Solver::Adam { steps: 17, rate: 0.1 }, Solver::GaussNewton { steps: 8 }];

/// Fits, builds, evaluates and trains, and looks at every number on the way.
fn runs(name: &str, image: &Image, annotations: &Annotations, background: BackgroundImage, solver: Solver) {
    let recipe = Splat::of(image, annotations).background_image(background).solver(solver);
    let splat = recipe.fit(device()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let table = splat.table().expect("a table");
    let scales = table.scales.as_flattened();
    assert!(scales.iter().all(|s| s.is_finite() && *s > 0.0), "{name}: {scales:?}");
    let finite =
        [&table.rotations, &table.colors, &table.opacities].iter().all(|list| list.iter().all(|v| v.is_finite()));
    assert!(finite, "{name}: {table:?}");
    assert!(all_finite(&splat.report().losses) && splat.report().largest_aspect.is_finite(), "{name}");
    assert!(splat.reconstruction().expect("a drawing").iter().all(|v| v.is_finite()), "{name}");

    let kernel = splat.kernel(Grid::strided(image, 4)).build().expect("a kernel");
    check_rows(name, &super::kernel::rows(&kernel.table().expect("a table")));
    let loss = kernel.loss();
    let model = FreeDensity::new(device(), &loss, 0.1).expect("a model");
    let mut trainer = Trainer::new(device(), &loss, model).rate(0.1);
    let losses: Vec<f64> = (0..8).map(|_| trainer.epoch().expect("an epoch").loss).collect();
    assert!(all_finite(&losses) && losses[7] <= losses[0], "{name}: {losses:?}");
}

fn check_rows(name: &str, rows: &[Vec<f64>]) {
    for (r, row) in rows.iter().enumerate() {
        let sum: f64 = row.iter().sum();
        // Weights in f32, each rounded once, and their quotient: far below one part in a hundred thousand.
        assert!((sum - 1.0).abs() <= 1e-5, "{name}: row {r} sums to {sum}");
    }
}

#[test]
fn few_equal_or_distant_annotations() {
    let (image, _) = blobs(40, 24, 1);
    let cases: [(&str, Vec<[f64; 2]>); 7] = [
        ("none", vec![]),
        ("one", vec![[20.0, 12.0]]),
        ("two", vec![[10.0, 12.0], [30.0, 12.0]]),
        ("a pair at one place", vec![[10.0, 12.0], [30.0, 12.0], [10.0, 12.0]]),
        ("all at one place", vec![[20.0, 12.0]; 40]),
        ("all outside", vec![[-30.0, 12.0], [20.0, -200.0], [400.0, 300.0]]),
        ("far outside", vec![[1e7, -1e7], [20.0, 12.0], [-1.6e7, 12.0]]),
    ];
    for (name, places) in cases {
        for solver in SOLVERS {
            runs(name, &image, &points(&places), BackgroundImage::Inpainted, solver);
        }
    }
}

#[test]
fn small_photos() {
    for (width, height) in [(1, 1), (1, 13), (11, 1), (5, 3), (8, 8), (9, 17)] {
        let image = photo(width, height, 1, &noise(2, (width * height) as usize));
        let annotations = points(&[[0.5, 0.5], [f64::from(width) - 0.25, f64::from(height) / 2.0]]);
        for solver in SOLVERS {
            runs(&format!("{width}x{height}"), &image, &annotations, BackgroundImage::Inpainted, solver);
        }
    }
}

#[test]
fn flat_photos() {
    let (_, annotations) = blobs(40, 24, 1);
    for level in [0.0, 1.0] {
        let image = photo(40, 24, 1, &[level; 40 * 24]);
        for background in [BackgroundImage::None, BackgroundImage::KnnMask, BackgroundImage::Inpainted] {
            for solver in SOLVERS {
                runs(&format!("flat {level} {background:?}"), &image, &annotations, background, solver);
            }
            // Nothing is left to gain, whether an error remains or none does.
            let recipe = Splat::of(&image, &annotations).background_image(background);
            let splat = recipe.fit(device()).expect("a splat");
            assert_eq!(splat.report().end, End::Settled, "flat {level} {background:?}: {:?}", splat.report());
        }
    }
}

/// Starts far from anything that could be on the photo.
#[test]
fn extreme_starts() {
    let (image, annotations) = blobs(40, 24, 1);
    for scale in [1.0 / 1_048_576.0, 1e-3, 1e3, 16_777_216.0] {
        for solver in SOLVERS {
            let recipe = Splat::of(&image, &annotations).solver(solver).initial_scale(InitialScale::Equal { scale });
            let splat = recipe.fit(device()).unwrap_or_else(|error| panic!("{scale} {solver:?}: {error}"));
            let table = splat.table().expect("a table");
            let scales = table.scales.as_flattened();
            assert!(scales.iter().all(|s| s.is_finite() && *s > 0.0), "{scale} {solver:?}: {scales:?}");
            assert!(table.colors.iter().chain(&table.rotations).all(|v| v.is_finite()), "{scale} {solver:?}");
            assert!(all_finite(&splat.report().losses), "{scale} {solver:?}: {:?}", splat.report());
            let losses = &splat.report().losses;
            assert!(losses[losses.len() - 1] <= losses[0], "{scale} {solver:?}: {losses:?}");
        }
    }
}

/// Without annotations everything is background: the loss is the mass, its gradient 1.
#[test]
fn nothing_to_count() {
    let (image, none) = (blobs(40, 24, 1).0, points(&[]));
    let splat = Splat::of(&image, &none).fit(device()).expect("a splat");
    assert!(splat.is_empty() && splat.report().loss().is_none() && splat.table().expect("a table").means.is_empty());
    let same = splat.reconstruction().expect("a drawing");
    assert_eq!(same, image.to_f32(), "nothing is masked and nothing drawn");
    for background in
        [Background::None, Background::Hard { cut_off: 2.0 }, Background::Ratio { cut_off: 3.0, kappa: 0.015 }]
    {
        let kernel = splat.kernel(Grid::strided(&image, 4)).background(background).build().expect("a kernel");
        let values = [0.25_f32, 0.5, 0.125, 1.0, 0.0, 2.0, 0.75, 0.375, 0.5, 0.25].repeat(6);
        let step = kernel.loss().evaluate(&device().upload(&values)).expect("a step");
        // Multiples of 1/8: their sum is exact.
        assert_eq!(step.value().expect("a value"), 6.0 * 5.75, "{background:?}");
        assert_eq!(read(step.gradient()), [1.0; 60]);
        assert_eq!(read(step.transported()), [34.5]);
    }
    let free = Splat::of(&image, &none).extra_gaussians(ExtraGaussians::Count(3)).fit(device()).expect("a splat");
    assert_eq!((free.len(), free.annotations()), (3, 0));
}

/// Two annotations at one place share alike, and together get what one alone would.
#[test]
fn duplicates_share() {
    let rows = |places: &[[f64; 2]]| {
        let splat = Splat::round(device(), &points(places), [24, 24], 3.0).expect("a splat");
        let build = splat.kernel(Grid::over(24, 24, 2)).background(Background::None).tau(1e-6);
        super::kernel::rows(&build.build().expect("a kernel").table().expect("a table"))
    };
    let (twice, once) = (rows(&[[8.0, 8.0], [8.0, 8.0], [18.0, 18.0]]), rows(&[[8.0, 8.0], [18.0, 18.0]]));
    for (a, b) in twice.iter().zip(&once) {
        assert_eq!(a[0], a[1]);
        // Twice the weight against the third: p -> 2p / (1 + p). Within tau of either kernel, and some roundings.
        assert!((a[0] + a[1] - 2.0 * b[0] / (1.0 + b[0])).abs() <= 5e-6, "{a:?} {b:?}");
    }
}

/// Where every annotation stands twice, the loss and its gradient are those of one of each with a target of 2: two columns of
/// half the weight. Every row is within `tau` of the exact one and off by some roundings of distances below 100; a gradient adds up
/// a row, a value the columns of the rows' masses.
#[test]
fn duplicates_cost_what_one_of_two_does() {
    let (places, tau) = ([[8.0, 8.0], [13.0, 9.0], [18.0, 18.0]], 1e-6);
    let density: Vec<f32> = noise(4, 144).into_iter().map(|v| v as f32 / 12.0).collect();
    for background in [Background::None, Background::Hard { cut_off: 2.0 }] {
        let evaluate = |places: &[[f64; 2]], target: f64| {
            let splat = Splat::round(device(), &points(places), [24, 24], 3.0).expect("a splat");
            let build = splat.kernel(Grid::over(24, 24, 2)).background(background).tau(tau).build();
            let loss = build.expect("a kernel").loss().targets(&vec![target; places.len()]).expect("targets");
            let step = loss.evaluate(&device().upload(&density)).expect("a step");
            (step.value().expect("a value"), read(step.gradient()), read(step.transported()))
        };
        let twice = evaluate(&places.map(|place| [place; 2]).concat(), 1.0);
        let merged = evaluate(&places, 2.0);
        let row = 2.0 * tau + 2.0 * 36.0 * f64::from(f32::EPSILON) / 2.0 * 100.0;
        let mass: f64 = density.iter().map(|&z| f64::from(z)).sum();
        assert!((0..3).all(|n| (merged.2[n] - 2.0).abs() > 2.0 * row * mass), "a slope is undecided: {:?}", merged.2);
        assert!((twice.0 - merged.0).abs() <= row * mass, "{background:?}: {} {}", twice.0, merged.0);
        assert!(apart(&twice.1, &merged.1) <= row, "{background:?}: {:?} {:?}", twice.1, merged.1);
        assert!((0..3).all(|n| twice.2[2 * n] == twice.2[2 * n + 1]), "{background:?}: {:?}", twice.2);
    }
}

#[test]
fn reports_tell_what_is_odd() {
    let (image, _) = blobs(40, 24, 1);
    let annotations = points(&[[1.0, 1.0], [40.0, 3.0], [1.0, 1.0], [-0.5, 3.0], [5.0, 5.0]]);
    let recipe = Splat::of(&image, &annotations).solver(Solver::GaussNewton { steps: 1 });
    let report = recipe.fit(device()).expect("a splat").report().clone();
    assert_eq!((report.outside, report.duplicates), (2, 1));
}

/// Extreme options that are valid: the rows still are.
#[test]
fn extreme_options() {
    let table = GaussianTable {
        means: vec![[10.3, 10.7], [10.4, 10.7], [0.0, 16_000_000.0]],
        scales: vec![[1e-6, 1e6], [1e7, 1e7], [1e-6, 1e-6]],
        rotations: vec![0.5, 0.0, 1e6],
        colors: vec![1.0; 3],
        channels: 1,
        opacities: vec![1.0; 3],
        free: 0,
        shares: vec![],
        profile: String::new(),
        width: 40,
        height: 24,
        ..GaussianTable::default()
    };
    let splat = Splat::from_table(device(), &table).expect("a splat");
    for clip in [ScaleClip::None, ScaleClip::Coverage, ScaleClip::Range { post_min: 1e9, post_max: 1e-5 }] {
        for cut_off in [1e-200, 1e200] {
            for background in [
                Background::Soft { cut_off, rule: CutOff::Crossover },
                Background::Hard { cut_off },
                Background::Ratio { cut_off, kappa: 1e-300 },
                Background::None,
            ] {
                let build = splat.kernel(Grid::over(40, 24, 4)).scale_clip(clip).background(background).tau(1e-9);
                let rows = super::kernel::rows(&build.build().expect("a kernel").table().expect("a table"));
                check_rows(&format!("{clip:?} {background:?}"), &rows);
            }
        }
    }
}

/// A tolerance below every `f32` drops nothing that `f32` can hold: rows are those of a wide tolerance, to this tolerance and a few
/// roundings of distances below 200.
#[test]
fn tolerances_below_every_float() {
    let splat =
        Splat::round(device(), &points(&[[8.0, 8.0], [11.0, 9.0], [30.0, 18.0]]), [40, 24], 4.0).expect("a splat");
    let soft = Background::Soft { cut_off: 2.0, rule: CutOff::Crossover };
    for background in [soft, Background::Hard { cut_off: 2.0 }, Background::None] {
        let build = |tau| {
            let kernel = splat.kernel(Grid::over(40, 24, 4)).background(background).tau(tau).build().expect("a kernel");
            let certificate = kernel.certificate();
            assert!(2.0 * certificate.bound <= tau, "{background:?}, tau {tau:e}: {certificate:?}");
            super::kernel::rows(&kernel.table().expect("a table"))
        };
        let wanted = build(1e-6);
        for tau in [1e-30, 1e-37, 1e-50, f64::MIN_POSITIVE, 5e-324] {
            for (r, (row, want)) in build(tau).iter().zip(&wanted).enumerate() {
                let off: f64 = row.iter().zip(want).map(|(a, b)| (a - b).abs()).sum();
                assert!(off <= 1e-6 + 1e-5, "{background:?}, tau {tau:e}, row {r}: {row:?} {want:?}");
            }
        }
    }
}

/// A stride beyond the image makes one cell, and a stride beyond everything too.
#[test]
fn huge_strides() {
    let splat = Splat::round(device(), &points(&[[3.0, 4.0]]), [8, 8], 2.0).expect("a splat");
    for stride in [8, 100, u32::MAX] {
        let kernel = splat.kernel(Grid::over(8, 8, stride)).build().expect("a kernel");
        let rows = super::kernel::rows(&kernel.table().expect("a table"));
        assert_eq!(rows.len(), 1);
        check_rows(&format!("stride {stride}"), &rows);
    }
}

/// Far neighbours make wide starts, which no map may turn into infinity.
#[test]
fn wide_starts() {
    let (width, height) = (3000, 3000);
    let image = photo(width, height, 1, &vec![0.5; 9_000_000]);
    let annotations = points(&[[10.0, 10.0], [2000.0, 2900.0]]);
    let recipe = Splat::of(&image, &annotations).extra_gaussians(ExtraGaussians::Count(1));
    let recipe = recipe.initial_scale(InitialScale::NeighbourFraction { divisor: 1e-9 });
    let splat = recipe.solver(Solver::Adam { steps: 1, rate: 0.01 }).fit(device()).expect("a splat");
    let table = splat.table().expect("a table");
    assert!(apart(&table.scales[2], &[846.28; 2]) < 0.1, "{:?}", table.scales);
    assert!(apart(&table.scales[0], &[45.0; 2]) < 0.1, "{:?}", table.scales);
}
