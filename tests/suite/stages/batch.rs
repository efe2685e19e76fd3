//! Images that are fitted together get the bits that each gets alone.

use std::ops::ControlFlow;

use splatport::{
    Annotations, Device, Image, Pixels, Single, SplatRecipe,
    kernels::Shape,
    splat::{Compositing, End, ExtraGaussians, Inputs, Prior, Progress, Reconstruction, Solver},
};

use super::{R, Splat, bits_of, device, noise, photo, points};

type Bound<'a> = SplatRecipe<Inputs<'a, R, Single>>;

/// More than a bunch of Adam's steps between two looks, and as many that some images settle before others.
const SOLVERS: [Solver; 2] = [Solver::Adam { steps: 35, rate: 0.05 }, Solver::GaussNewton { steps: 12 }];

/// A photo that no fit explains, of 8-bit samples or of others, and places in it.
fn scene(seed: u64, [width, height]: [u32; 2], channels: u8, count: usize, packed: bool) -> (Image, Annotations) {
    let values = noise(seed, (width * height) as usize * usize::from(channels));
    // Waves of some pixels length with noise on them.
    let wave = |at: usize| 0.5 + 0.25 * (at as f64 / (5.0 * f64::from(channels))).sin();
    let values: Vec<f64> = values.iter().enumerate().map(|(at, v)| 0.7 * wave(at) + 0.3 * v).collect();
    let image = match packed {
        true => {
            let levels: Vec<u8> = values.iter().map(|v| (v * 255.0) as u8).collect();
            Image::from_u8(width, height, channels, levels).expect("a photo")
        }
        false => photo(width, height, channels, &values),
    };
    let random = noise(seed + 1, 2 * count);
    let places: Vec<[f64; 2]> =
        random.chunks_exact(2).map(|r| [r[0] * f64::from(width), r[1] * f64::from(height)]).collect();
    (image, points(&places))
}

/// Sizes that are no whole number of tiles; more Gaussians than a block of 256; none at all, at the ends and between.
fn scenes() -> Vec<(Image, Annotations)> {
    vec![
        scene(1, [9, 31], 1, 0, true),
        scene(2, [40, 30], 1, 5, true),
        scene(3, [40, 30], 3, 4, true),
        scene(4, [130, 67], 1, 300, true),
        scene(5, [1, 1], 1, 1, true),
        scene(6, [33, 20], 1, 5, false),
        scene(7, [1, 1], 3, 1, false),
        scene(8, [64, 64], 3, 0, true),
        scene(9, [21, 70], 3, 7, false),
        scene(10, [17, 8], 1, 2, true),
        scene(11, [50, 9], 1, 0, false),
    ]
}

/// Compares a batch, its last image first, with fits of one image each.
fn same_as_alone(name: &str, scenes: &[(Image, Annotations)], device: &Device<R>, options: Options) {
    let images: Vec<(&Image, &Annotations)> = scenes.iter().rev().map(|(image, points)| (image, points)).collect();
    let batch: Vec<Splat> = (options.unbound)(splatport::recipe()).fit_all(device, &images).expect("splats");
    assert_eq!(batch.len(), scenes.len(), "{name}");
    let mut wrong = Vec::new();
    for (at, (&(image, annotations), splat)) in images.iter().zip(&batch).enumerate() {
        let alone = (options.bound)(Splat::of(image, annotations)).fit(device).expect("a splat");
        assert!(alone.report().losses.iter().all(|loss| loss.is_finite()), "{name}: {at}");
        if splat.report() != alone.report() || bits_of(splat) != bits_of(&alone) {
            wrong.push(format!("image {at} in the batch: {:?}, alone {:?}", splat.report(), alone.report()));
        }
        assert_eq!((splat.size(), splat.annotations()), (alone.size(), alone.annotations()), "{name}: {at}");
    }
    assert!(wrong.is_empty(), "{name}: {}", wrong.join("\n"));
}

/// The same setters on both kinds of recipe.
struct Options<'a> {
    unbound: &'a dyn Fn(SplatRecipe) -> SplatRecipe,
    bound: &'a dyn for<'b> Fn(Bound<'b>) -> Bound<'b>,
}

macro_rules! options {
    ($($call:tt)*) => {
        Options { unbound: &|recipe| recipe.$($call)*, bound: &|recipe| recipe.$($call)* }
    };
}

#[test]
fn adam_fits_a_batch_as_it_fits_each() {
    same_as_alone("gathered", &scenes(), &device().with_shape(Shape::Gathered), options!(solver(SOLVERS[0])));
    same_as_alone("tiled", &few_kinds(), &device().with_shape(Shape::Tiled), options!(solver(SOLVERS[0])));
}

#[test]
fn newton_fits_a_batch_as_it_fits_each() {
    same_as_alone("gathered", &scenes(), &device().with_shape(Shape::Gathered), options!(solver(SOLVERS[1])));
    same_as_alone("tiled", &few_kinds(), &device().with_shape(Shape::Tiled), options!(solver(SOLVERS[1])));
}

/// Packed grey photos and plain colored ones.
fn few_kinds() -> Vec<(Image, Annotations)> {
    let packed = |image: &Image| matches!(image.pixels(), Pixels::U8(_));
    scenes().into_iter().filter(|(image, _)| packed(image) == (image.channels() == 1)).collect()
}

/// Options that could tie the images together: some have free Gaussians and some none, priors weigh by an image's own error,
/// and layers read the photos.
#[test]
fn options_do_not_tie_images_together() {
    let grey = [
        scene(21, [40, 30], 1, 5, true),
        scene(22, [33, 41], 1, 12, true),
        scene(23, [17, 9], 1, 1, true),
        scene(24, [50, 20], 1, 9, true),
    ];
    let [adam, newton] = SOLVERS;
    let extra = ExtraGaussians::AtLeast(9);
    let prior = Some(Prior { size: 0.3, aspect: 0.5 });
    for (name, options) in [
        ("free means", options!(solver(newton).extra_gaussians(extra))),
        ("free means, Adam", options!(solver(adam).extra_gaussians(extra))),
        ("priors", options!(solver(newton).prior(prior))),
        ("priors, Adam", options!(solver(adam).prior(prior))),
        ("absolute errors", options!(solver(newton).reconstruction(Reconstruction::L1))),
        ("layers", options!(solver(adam).compositing(Compositing::AlphaOver))),
    ] {
        same_as_alone(name, &grey, device(), options);
    }
}

/// Whatever stands before and behind it, an image gets the same bits.
#[test]
fn the_order_does_not_matter() {
    let scenes = scenes();
    for solver in SOLVERS {
        let fitted = |order: &[usize]| -> Vec<Vec<u64>> {
            let images: Vec<_> = order.iter().map(|&at| (&scenes[at].0, &scenes[at].1)).collect();
            let splats = splatport::recipe().solver(solver).fit_all(device(), &images).expect("splats");
            splats.iter().map(bits_of).collect()
        };
        let (one, other) = ([0, 1, 3, 4, 9, 2], [9, 3, 2, 0, 4, 1]);
        let (bits, turned) = (fitted(&one), fitted(&other));
        for (at, image) in one.iter().enumerate() {
            let again = other.iter().position(|other| other == image).expect("the same images");
            assert!(bits[at] == turned[again], "{solver:?}: image {image}");
        }
    }
}

/// Images of two kinds: each kind is told of in order, and nobody is asked again after a break; watching changes no bit.
#[test]
fn batches_can_be_watched_and_stopped() {
    let scenes = [scene(41, [30, 20], 1, 4, true), scene(42, [20, 30], 1, 3, false), scene(43, [25, 25], 1, 2, true)];
    let images: Vec<_> = scenes.iter().map(|(image, points)| (image, points)).collect();
    for (solver, most) in [(SOLVERS[0], 35), (SOLVERS[1], 12)] {
        let recipe = splatport::recipe().solver(solver);
        let fitted = |stop_at: usize| {
            let mut told = Vec::new();
            let heard = |progress: Progress| {
                told.push(progress.step);
                if told.len() == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let splats = recipe.fit_all_with(device(), &images, heard).expect("splats");
            (told, splats)
        };
        let (told, watched) = fitted(usize::MAX);
        let unwatched = recipe.fit_all(device(), &images).expect("splats");
        assert!(watched.iter().map(bits_of).eq(unwatched.iter().map(bits_of)), "{solver:?}");
        let steps = |of: &[usize]| of.iter().map(|&at| watched[at].report().steps).max().unwrap_or(0);
        let wanted: Vec<u32> = (1..=steps(&[1])).chain(1..=steps(&[0, 2])).collect();
        let turned: Vec<u32> = (1..=steps(&[0, 2])).chain(1..=steps(&[1])).collect();
        assert!(told == wanted || told == turned, "{solver:?}: {told:?}");
        let (told, stopped) = fitted(2);
        assert_eq!(told, [1, 2], "{solver:?}: told after the break");
        for splat in stopped {
            assert!(
                splat.report().end == End::Asked && splat.report().steps < most,
                "{solver:?}: {:?}",
                splat.report()
            );
        }
    }
}

#[test]
fn nothing_to_fit() {
    for solver in SOLVERS {
        let recipe = splatport::recipe().solver(solver);
        assert!(recipe.fit_all(device(), &[]).expect("no splats").is_empty());
        let (image, none) = scene(31, [12, 11], 3, 0, true);
        let splats = recipe.fit_all(device(), &[(&image, &none), (&image, &none)]).expect("empty splats");
        assert_eq!(splats.len(), 2);
        for splat in splats {
            assert!(splat.is_empty() && splat.report().losses.is_empty());
            assert_eq!((splat.report().end, splat.report().steps, splat.size()), (End::Settled, 0, [12, 11]));
            // Nothing lies over the photo: what was painted out of it is nothing, too.
            assert_eq!(splat.reconstruction().expect("a drawing"), image.to_f32());
        }
    }
}
