//! Every sample photo: its kernel at stride 8 against dense rows in `f64`.

use std::path::{Path, PathBuf};

use splatport::{
    Annotations, Grid, Image, Profile,
    kernel::{Background, KernelOptions, ScaleClip},
    reference::{
        gaussian::Gaussian,
        grid,
        kernel::{Background as Oracle, dense},
        scales::{self, ScaleClip as Clip, coverage_floor},
        shape::aspect,
    },
    splat::Solver,
};

use super::{Splat, device, gaussians_of, kernel::rows};

const STRIDE: u32 = 8;

/// The photos that have points.
fn photos() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let files = std::fs::read_dir(folder).expect("sample data").map(|file| file.expect("a file").path());
    let photo = |points: PathBuf| {
        let name = points.to_str()?.strip_suffix("_points.csv")?.to_owned();
        ["png", "jpg"].map(|ending| PathBuf::from(format!("{name}.{ending}"))).into_iter().find(|path| path.exists())
    };
    let mut photos: Vec<PathBuf> = files.filter_map(photo).collect();
    photos.sort();
    photos
}

/// A profile's rule and limits of scales, as the oracle has them.
fn oracle(options: &KernelOptions, set: &[Gaussian<f64>]) -> (Vec<Gaussian<f64>>, Oracle<f64>) {
    let exponent = |cut_off: f64| cut_off * cut_off / 2.0;
    let b = match options.background {
        Background::Hard { cut_off } => cut_off * cut_off,
        Background::Soft { cut_off, .. } => exponent(cut_off),
        Background::Ratio { cut_off, kappa } => exponent(cut_off) - kappa.ln(),
        other => panic!("{other:?} is no profile's"),
    };
    let stride = f64::from(STRIDE);
    let clip = match options.scale_clip {
        ScaleClip::Coverage => Clip::Floor(coverage_floor(stride, b)),
        ScaleClip::Range { post_min, post_max } => Clip::Range { min: stride / post_min, max: post_max },
        _ => Clip::None,
    };
    let set = scales::clip(set, clip);
    let rule = match options.background {
        Background::Hard { cut_off } => Oracle::Hard { cut_off },
        Background::Ratio { cut_off, kappa } => Oracle::ref_ratio(cut_off, kappa, &set),
        Background::Soft { cut_off, .. } => Oracle::exponent(cut_off, set.len()),
        other => panic!("{other:?} is no profile's"),
    };
    (set, rule)
}

/// Distance to the nearest Gaussian, and whether rounding decides which one that is or on which side of a hard boundary the point lies.
fn nearest(set: &[Gaussian<f64>], point: [f64; 2], rule: &Oracle<f64>, error: f64) -> (f64, bool) {
    let (mut least, mut second) = (f64::INFINITY, f64::INFINITY);
    for q in set.iter().map(|g| g.mahalanobis_sq(point)) {
        if q < least {
            (least, second) = (q, least);
        } else if q < second {
            second = q;
        }
    }
    let undecided = match rule {
        Oracle::Hard { cut_off } => (least - cut_off * cut_off).abs() <= error * least,
        _ => second - least <= 2.0 * error * least,
    };
    (least, undecided)
}

/// Rows are within `tau` and a row's rounding of the dense ones (tolerance as for random Gaussians, see the device's tests), for
/// each profile's rule. Six steps make Gaussians of a photo; more would change nothing here. The largest share of the tolerance
/// was 0.90, by dropping.
#[test]
fn every_photo_has_the_dense_kernel() {
    let unit = f64::from(f32::EPSILON) / 2.0;
    let photos = photos();
    assert!(photos.len() >= 3, "{photos:?}");
    for photo in photos {
        let image = Image::open(&photo).expect("a photo");
        let name = photo.with_extension("");
        let points = Annotations::from_csv(format!("{}_points.csv", name.display())).expect("points");
        let recipe = Splat::of(&image, &points).solver(Solver::GaussNewton { steps: 6 });
        let splat = recipe.fit(device()).expect("a splat");
        let fitted = gaussians_of(&splat.table().expect("a table"));
        let centres = grid::Grid::over(image.width() as usize, image.height() as usize, f64::from(STRIDE)).centres();
        let (mut worst, mut compared) = (0.0_f64, 0);
        for profile in [Profile::Recommended, Profile::Paper, Profile::Reference] {
            let options = profile.kernel();
            let recipe = splat.kernel(Grid::strided(&image, STRIDE)).background(options.background);
            let kernel = recipe.scale_clip(options.scale_clip).tau(options.tau).build().expect("a kernel");
            let (set, rule) = oracle(&options, &fitted);
            let a = set.iter().map(aspect).fold(1.0, f64::max);
            let got = rows(&kernel.table().expect("a table"));
            for ((got, want), &centre) in got.iter().zip(dense(&set, &centres, &rule)).zip(&centres) {
                let (q, undecided) = nearest(&set, centre, &rule, (6.0 * a + 8.0) * unit);
                let distance: f64 = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).sum();
                let bound = options.tau + (32.0 + 4.0 * a) * unit * (1.0 + q);
                if !undecided {
                    worst = worst.max(distance / bound);
                    compared += 1;
                }
            }
        }
        println!("{}: {compared} of {} rows, {worst:.3} of the tolerance", name.display(), 3 * centres.len());
        assert!(worst <= 1.0, "{}: {worst} times the tolerance", photo.display());
        assert!(compared * 10 > centres.len() * 29, "{}: {compared} rows compared", photo.display());
    }
}
