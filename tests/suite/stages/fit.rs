//! A running fit: what it reports, when it stops, what it never exceeds.

use std::ops::ControlFlow;

use splatport::{
    Annotations, Image,
    reference::reconstruction::{Reconstruction as Penalty, reconstruction_loss, reconstruction_norm},
    splat::{
        BackgroundImage, End, Prior, Progress, Reconstruction, ReconstructionNorm, Shape, ShapeOn, ShapeReduce, Solver,
    },
};

use super::{SUPPORT, Splat, apart, background, blobs, device, drawn, poison, values_of};

const BACKGROUNDS: [BackgroundImage; 3] = [BackgroundImage::None, BackgroundImage::KnnMask, BackgroundImage::Inpainted];

/// The oracle's reconstruction error of a splat.
fn oracle_loss(
    (image, annotations): (&Image, &Annotations),
    splat: &Splat,
    kind: BackgroundImage,
    penalty: Penalty,
    norm: ReconstructionNorm,
) -> f64 {
    let (mask, below) = background(image, annotations, kind);
    let pixels = (image.width() * image.height()) as usize;
    let foreground = (norm == ReconstructionNorm::Foreground).then_some(&mask[..]);
    let norm = reconstruction_norm(pixels, image.channels().into(), foreground);
    let image = values_of(image);
    reconstruction_loss(&drawn(&splat.table().expect("a table"), &below, SUPPORT), &image, penalty, norm)
}

#[test]
fn reported_losses_are_the_oracles() {
    for kind in BACKGROUNDS {
        for (reconstruction, penalty) in [(Reconstruction::Mse, Penalty::Mse), (Reconstruction::L1, Penalty::L1)] {
            let (image, annotations) = blobs(72, 50, if penalty == Penalty::Mse { 3 } else { 1 });
            for norm in [ReconstructionNorm::AllPixels, ReconstructionNorm::Foreground] {
                for solver in [Solver::GaussNewton { steps: 6 }, Solver::Adam { steps: 20, rate: 0.05 }] {
                    let recipe = Splat::of(&image, &annotations).background_image(kind).solver(solver);
                    let recipe = recipe.reconstruction(reconstruction).reconstruction_norm(norm);
                    let splat = recipe.fit(device()).expect("a splat");
                    let expected = oracle_loss((&image, &annotations), &splat, kind, penalty, norm);
                    let got = splat.report().loss().expect("a loss");
                    // The drawing's error, at most 2e-5 and on average far less, moves a loss by its share of the
                    // residuals, which are 0.02 and more here; measured 2e-6.
                    assert!(
                        (got - expected).abs() <= 2e-5 * expected,
                        "{kind:?} {penalty:?} {norm:?} {solver:?}: {got} {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_first_loss_is_that_of_the_start() {
    let (image, annotations) = blobs(72, 50, 1);
    let fit = |solver| Splat::of(&image, &annotations).solver(solver).fit(device()).expect("a splat");
    let start = fit(Solver::GaussNewton { steps: 0 });
    let kind = BackgroundImage::Inpainted;
    let expected = oracle_loss((&image, &annotations), &start, kind, Penalty::Mse, ReconstructionNorm::AllPixels);
    for (solver, steps) in [
        (Solver::GaussNewton { steps: 7 }, 7),
        (Solver::Adam { steps: 7, rate: 0.01 }, 7),
        (Solver::GaussNewton { steps: 0 }, 0),
        (Solver::Adam { steps: 0, rate: 0.01 }, 0),
    ] {
        poison();
        let splat = fit(solver);
        let (first, report) = (splat.report().losses[0], splat.report());
        assert!((first - expected).abs() <= 2e-5 * expected, "{solver:?}: {first} {expected}");
        assert_eq!(
            (report.losses.len(), report.steps, report.end),
            (steps as usize + 1, steps, End::Steps),
            "{solver:?}"
        );
    }
}

#[test]
fn gauss_newton_never_rises() {
    for kind in BACKGROUNDS {
        for (channels, reconstruction) in [(1, Reconstruction::Mse), (3, Reconstruction::Mse), (1, Reconstruction::L1)]
        {
            let (image, annotations) = blobs(72, 50, channels);
            let recipe = Splat::of(&image, &annotations).background_image(kind).reconstruction(reconstruction);
            let splat = recipe.solver(Solver::GaussNewton { steps: 30 }).fit(device()).expect("a splat");
            let losses = &splat.report().losses;
            // A level step may rise by one part in a million: that is what sums in f32 can tell.
            let rises = losses.windows(2).filter(|pair| pair[1] > pair[0] * 1.000_001).count();
            assert_eq!(rises, 0, "{kind:?} {reconstruction:?}: {losses:?}");
            assert!(losses[losses.len() - 1] < 0.9 * losses[0], "{kind:?} {reconstruction:?}: {losses:?}");
            assert_eq!(splat.report().steps as usize, losses.len() - 1);
            assert_eq!(splat.report().repairs, 0);
        }
    }
}

#[test]
fn gauss_newton_keeps_the_aspect_limit() {
    let (image, annotations) = blobs(72, 50, 1);
    for limit in [1.0, 1.1, 1.2, 3.0] {
        let shape = Shape { weight: 0.2, limit, on: ShapeOn::Activated, reduce: ShapeReduce::Max };
        let splat = Splat::of(&image, &annotations).shape(shape).fit(device()).expect("a splat");
        let table = splat.table().expect("a table");
        let aspects = table.scales.iter().map(|s| s[0].max(s[1]) / s[0].min(s[1]));
        let worst = aspects.fold(1.0, f64::max);
        // exp(t + r) / exp(t - r) with |t|, r below 3: a few roundings each, and a disc of at least 1e-6.
        assert!(worst <= limit * (1.0 + 5e-6), "limit {limit}: {worst}");
        assert!((splat.report().largest_aspect - worst).abs() < 1e-6);
        assert!(limit > 2.0 || worst > 0.99 * limit, "limit {limit} is never met: {worst}");
    }
}

#[test]
fn strong_priors_keep_the_start() {
    let (image, annotations) = blobs(72, 50, 1);
    for solver in [Solver::GaussNewton { steps: 20 }, Solver::Adam { steps: 60, rate: 0.05 }] {
        let off = |prior| {
            let recipe = Splat::of(&image, &annotations).solver(solver).prior(prior);
            let table = recipe.fit(device()).expect("a splat").table().expect("a table");
            apart(table.scales.as_flattened(), &[2.0; 20])
        };
        let (free, held) = (off(None), off(Some(Prior { size: 1e-4, aspect: 1e-4 })));
        assert!(held < 0.1 && free > 4.0 * held, "{solver:?}: {free} without priors, {held} with");
    }
}

fn heard(solver: Solver, stop_at: u32) -> (Vec<Progress>, Splat) {
    let (image, annotations) = blobs(40, 40, 1);
    let mut calls = Vec::new();
    let recipe = Splat::of(&image, &annotations).solver(solver).on_step(|progress| {
        calls.push(progress);
        if progress.step == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let splat = recipe.fit(device()).expect("a splat");
    (calls, splat)
}

/// Numbers of steps that are multiples of no bunch.
const SOLVERS: [Solver; 2] = [Solver::Adam { steps: 37, rate: 0.05 }, Solver::GaussNewton { steps: 13 }];

#[test]
fn every_step_is_told_in_order() {
    for solver in SOLVERS {
        let (calls, splat) = heard(solver, u32::MAX);
        let report = splat.report();
        let told: Vec<u32> = calls.iter().map(|call| call.step).collect();
        assert_eq!(told, (1..=report.steps).collect::<Vec<_>>(), "{solver:?}");
        for call in calls {
            assert_eq!(call.loss, report.losses[call.step as usize - 1], "{solver:?} {call:?}");
            assert_eq!(call.steps, if let Solver::Adam { steps, .. } = solver { steps } else { 13 });
        }
    }
}

#[test]
fn fits_that_settle_tell_no_step_more() {
    let (calls, splat) = heard(Solver::GaussNewton { steps: 500 }, u32::MAX);
    assert!(splat.report().steps < 500, "never settled");
    assert_eq!(calls.len(), splat.report().steps as usize);
}

#[test]
fn break_stops_the_fit_and_keeps_it() {
    for solver in SOLVERS {
        for at in [1, 7] {
            let (calls, splat) = heard(solver, at);
            assert_eq!(calls.len(), at as usize, "{solver:?}: told after the break");
            let all = if let Solver::Adam { steps, .. } = solver { steps } else { 13 };
            let steps = splat.report().steps;
            assert!(steps < all, "{solver:?}: {steps} steps after a break at {at}");
            // What is kept is a whole step: its loss is the last one reported.
            let (image, annotations) = blobs(40, 40, 1);
            let kind = BackgroundImage::Inpainted;
            let norm = ReconstructionNorm::AllPixels;
            let expected = oracle_loss((&image, &annotations), &splat, kind, Penalty::Mse, norm);
            let got = splat.report().loss().expect("a loss");
            assert!((got - expected).abs() <= 2e-5 * expected, "{solver:?}: {got} {expected}");
        }
    }
}
