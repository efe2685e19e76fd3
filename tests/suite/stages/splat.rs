//! What a splat is: bound to its annotations, in their order, whatever made it.

use splatport::{
    GaussianTable, Grid, Profile,
    reference::{gaussian::Gaussian, grid, nearest::nearest, scales::shrink_to_short},
    splat::{Cleanup, Shape, ShapeOn, ShapeReduce, Solver},
};

use super::{Splat, blobs, device, gaussians_of, points};
use crate::device::single;

const SOLVERS: [Solver; 2] = [Solver::Adam { steps: 40, rate: 0.05 }, Solver::GaussNewton { steps: 15 }];
const ANY_SHAPE: Shape = Shape { weight: 0.0, limit: 1e3, on: ShapeOn::Activated, reduce: ShapeReduce::Max };

#[test]
fn bound_means_are_the_annotations() {
    for channels in [1, 3] {
        let (image, annotations) = blobs(72, 50, channels);
        let expected: Vec<[f64; 2]> = annotations.points().iter().map(|p| p.map(single)).collect();
        for solver in SOLVERS {
            let splat = Splat::of(&image, &annotations).solver(solver).fit(device()).expect("a splat");
            assert_eq!(splat.table().expect("a table").means, expected, "{solver:?}");
            assert_eq!((splat.len(), splat.annotations()), (10, 10));
        }
    }
}

/// The fit of reversed annotations is the reversed fit, up to the order in which sums run.
#[test]
fn order_follows_the_annotations() {
    let (image, annotations) = blobs(72, 50, 1);
    let mut places = annotations.points().to_vec();
    places.reverse();
    let reversed = points(&places);
    let scales = |annotations| {
        let recipe = Splat::of(&image, annotations).solver(Solver::GaussNewton { steps: 3 });
        gaussians_of(&recipe.fit(device()).expect("a splat").table().expect("a table"))
    };
    let (forward, mut backward) = (scales(&annotations), scales(&reversed));
    backward.reverse();
    for (a, b) in forward.iter().zip(&backward) {
        // Three steps carry on roundings of sums of a few hundred terms; Gaussians differ by tens of percent.
        let off = (a.log_det() - b.log_det()).abs();
        assert!(a.mean == b.mean && off < 1e-3, "{a:?} {b:?}");
    }
}

#[test]
fn needles_are_shrunk_to_their_short_axis() {
    let (image, annotations) = blobs(72, 50, 1);
    let fit = |cleanup| {
        let recipe = Splat::of(&image, &annotations).solver(Solver::GaussNewton { steps: 20 }).shape(ANY_SHAPE);
        recipe.cleanup(cleanup).fit(device()).expect("a splat")
    };
    let (raw, clean) = (fit(Cleanup::None), fit(Cleanup::ShrinkToShort { limit: 1.2 }));
    let raw_table = gaussians_of(&raw.table().expect("a table"));
    let expected = shrink_to_short(&raw_table, 1.2);
    let changed = raw_table.iter().zip(&expected).filter(|(a, b)| a != b).count();
    assert!((1..10).contains(&changed), "{changed} of 10 are shrunk: nothing to tell apart");
    assert_eq!(gaussians_of(&clean.table().expect("a table")), expected);
    assert!(clean.report().largest_aspect <= 1.2 && raw.report().largest_aspect > 1.2);
}

fn table() -> GaussianTable {
    GaussianTable {
        means: vec![[10.5, 20.25], [40.0, 8.0], [-3.0, 70.0]],
        scales: vec![[2.0, 1.0], [5.0, 6.0], [3.0, 3.0]],
        rotations: vec![0.5, -2.0, 0.0],
        colors: vec![0.75, 0.5, -0.25],
        channels: 1,
        opacities: vec![1.0, 0.5, 1.0],
        free: 1,
        shares: vec![],
        profile: "paper".into(),
        width: 64,
        height: 48,
        ..GaussianTable::default()
    }
}

#[test]
fn tables_make_splats_that_give_them_back() {
    let splat = Splat::from_table(device(), &table()).expect("a splat");
    assert_eq!(splat.table().expect("a table"), table());
    assert_eq!((splat.profile(), splat.size(), splat.annotations()), (Profile::Paper, [64, 48], 2));
    assert_eq!(splat.len(), 3);
    assert!(splat.reconstruction().is_err(), "there is no photo");
}

#[test]
fn round_splats_have_one_scale() {
    let splat = Splat::round(device(), &points(&[[3.25, 4.5], [9.0, 1.0]]), [16, 8], 8.0).expect("a splat");
    let expected = [Gaussian::round([3.25, 4.5], 8.0), Gaussian::round([9.0, 1.0], 8.0)];
    assert_eq!(gaussians_of(&splat.table().expect("a table")), expected);
}

#[test]
fn nearest_is_by_mahalanobis_distance() {
    let splat = Splat::from_table(device(), &table()).expect("a splat");
    let found = splat.nearest(Grid::over(64, 48, 3), 1).expect("owners");
    let (owner, distance) = (found.index.read().expect("a device"), found.mahalanobis_sq.read().expect("a device"));
    let gaussians = gaussians_of(&table());
    for (cell, &centre) in grid::Grid::over(64, 48, 3.0).centres().iter().enumerate() {
        let (n, q) = nearest(&gaussians, centre).expect("a gaussian");
        // Aspects reach 2: (6 * 2 + 8) roundings of 2^-24, and no two distances of this table are that close.
        assert!(owner[cell] as usize == n && (f64::from(distance[cell]) - q).abs() <= 1.2e-6 * q, "cell {cell}");
    }
}

/// Gaussians from a table draw what the fit drew, once they have the photo again: the annotations are whole pixels, which the
/// table's `f32` holds exactly.
#[test]
fn a_photo_gives_the_reconstruction_back() {
    for (profile, channels) in [(Profile::Recommended, 3), (Profile::Reference, 1)] {
        let (image, _) = blobs(72, 50, channels);
        let annotations = points(&[[12.0, 9.0], [40.0, 30.0], [60.0, 12.0]]);
        let recipe = splatport::recipe().profile(profile).solver(Solver::GaussNewton { steps: 5 });
        let fitted = recipe.fit_all(device(), &[(&image, &annotations)]).expect("splats").remove(0);
        let stored = Splat::from_table(device(), &fitted.table().expect("a table")).expect("a splat");
        assert!(stored.reconstruction().is_err());
        let stored = stored.over(&image, recipe.options()).expect("the same photo");
        assert_eq!(stored.reconstruction().expect("an image"), fitted.reconstruction().expect("an image"));
    }
    let (image, _) = blobs(72, 51, 1);
    let stored = Splat::from_table(device(), &GaussianTable { width: 72, height: 50, ..table() }).expect("a splat");
    let error = stored.over(&image, &Profile::Recommended.splat()).expect_err("another size");
    assert_eq!(error.to_string(), "rows of the photo: expected 50 values, got 51");
}
