//! The two shapes of a look at a fit, against each other; the gathered one is compared with the oracle part by part.

use proptest::prelude::*;
use splatport::Device;
use splatport::kernels::{
    Error, Shape,
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
use splatport::reference::gaussian::Gaussian;

use super::rasterize::{Picture, pictures};
use super::{R, Tally, U, device, framed, once, poison, property, single, upload, weight_error, wide};

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
    let target = Target::Plain(device().upload_f64(&picture.base));
    let sums = Sums { channels: picture.channels as u32, means, curvature, penalty, over: false };
    let (penalty, by, _) = sums_over(picture, &target, sums, shape);
    (penalty, by)
}

/// The same over another target, and the number of tiles that some gaussian reaches.
fn sums_over(picture: &Picture, target: &Target<R, f32>, sums: Sums, shape: Shape) -> (f64, Vec<f64>, usize) {
    let frames = framed(&picture.set, picture.channels, Framing::default());
    let lists = bins(device(), &frames, picture.cells(), Rule::Within(picture.support)).expect("bins");
    let compositing = Compositing::Sum;
    let scene = Scene { frames: &frames, bins: &lists, support: picture.support, compositing };
    poison(&[picture.base.len(), picture.pixels(), lists.tiles(), lists.pairs() * 8, lists.pairs() * 20]);
    let look = look(&scene, target, sums, 0.125, &device().with_shape(shape));
    let by = gradient(device(), &upload(&picture.set, picture.channels), &lists, &look, 1.0);
    let penalties = look.penalties(device(), &lists).expect("penalties");
    (f64::from(penalties[0]), wide(by.read().expect("gradient")), look.covered())
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

/// Also where more Gaussians lie on a tile than lengths of lists are told apart, 32. Measured: 0.03 of the tolerance.
#[test]
fn both_shapes_see_the_same() {
    let cases = (pictures(60), any::<bool>(), any::<bool>(), any::<bool>());
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

/// Pictures over a background and a photo of 8-bit levels, with the ends of the range among them: what is packed, and what
/// is not.
fn packed_and_plain(picture: &Picture, levels: &[u8]) -> (Target<R, f32>, Picture) {
    let value = |at: usize| levels[at % levels.len()];
    let ends = [(0, 255), (255, 0), (0, 0), (255, 255)];
    let pairs = (0..picture.base.len()).map(|at| *ends.get(at).unwrap_or(&(value(2 * at), value(2 * at + 1))));
    let (background, photo): (Vec<u8>, Vec<u8>) = pairs.unzip();
    let channels = picture.channels as u32;
    let target = Target::of_levels(device(), Some(&background), &photo, channels).expect("a target");
    let gap = background.iter().zip(&photo).map(|(&b, &p)| single((f64::from(b) - f64::from(p)) / 255.0));
    (target, Picture { base: gap.collect(), ..picture.clone() })
}

/// A difference of levels is a quotient, which Vulkan allows to be off by 2.5 ulp (5 U), at most that of 1, and the picture's
/// numbers are rounded to U; the sums' roundings are those of [`check`]. Measured: 0 of the tolerance (llvmpipe divides
/// exactly).
#[test]
fn packed_levels_are_their_differences() {
    let cases = (pictures(12), any::<[u8; 32]>(), any::<bool>());
    property("packed", 24, cases, |(picture, levels, tiled), tally| {
        let (target, picture) = packed_and_plain(picture, levels);
        tally.equal("bytes", &target.bytes(), &(4 * picture.pixels()));
        let (shape, penalty) = (if *tiled { Shape::Tiled } else { Shape::Gathered }, Penalty::Squared);
        let sums = Sums { channels: picture.channels as u32, means: false, curvature: false, penalty, over: false };
        let (got, got_by, _) = sums_over(&picture, &target, sums, shape);
        let (want, want_by) = sums_of(&picture, penalty, false, false, shape);
        let scale: f64 = picture.base.iter().map(|b| 1.0 + b.abs()).sum::<f64>() + picture.set.len() as f64;
        tally.near("penalty", 0, (got, want), 200.0 * U * want + 12.0 * U * scale);
        tally.all_near("gradient", &got_by, &want_by, |at| 64.0 * U * (scale + want_by[at].abs()));
    });
}

/// What units pack four pixels at a time, against arithmetic on the host: numbers of pixels that are no multiple of four, photos
/// that begin within a word, with backgrounds and on black.
#[test]
fn photos_are_packed_level_by_level() {
    for channels in [1, 3] {
        for pixels in [&[1][..], &[4], &[5, 1, 2], &[64, 63, 3000]] {
            let levels = |seed: u64, len: usize| -> Vec<u8> {
                let hash = |at: u64| (at * 2 + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
                [0, 255]
                    .into_iter()
                    .chain((0..len as u64).map(|at| hash(at) as u8))
                    .skip(seed as usize)
                    .take(len)
                    .collect()
            };
            let bytes = |seed: u64| pixels.iter().map(|n| levels(seed, n * channels as usize)).collect::<Vec<_>>();
            let (photos, backgrounds) = (bytes(0), bytes(1));
            for backgrounds in [None, Some(&backgrounds)] {
                poison(&[pixels.iter().sum()]);
                let parts: Vec<&[u8]> = photos.iter().map(Vec::as_slice).collect();
                let below = backgrounds.map(|b| b.iter().map(Vec::as_slice).collect());
                let target = Target::<R, f32>::of_photos(device(), below, &parts, channels).expect("a target");
                let Target::Packed(words) = target else { panic!("not packed") };
                let below = backgrounds.map_or_else(|| vec![0; photos.concat().len()], |b| b.concat());
                let gaps = below.iter().zip(photos.concat()).map(|(&b, p)| 512 + u32::from(b) - u32::from(p));
                let gaps: Vec<u32> = gaps.collect();
                let word = |pixel: &[u32]| pixel.iter().rev().fold(0, |word, field| word << 10 | field);
                let wanted: Vec<u32> = gaps.chunks_exact(channels as usize).map(word).collect();
                assert_eq!(words.read().expect("words"), wanted, "{channels} channels, {pixels:?} pixels");
            }
        }
    }
}

#[test]
fn levels_that_do_not_fit_are_rejected() {
    for (background, photo, channels) in [(5, 6, 3), (6, 5, 3), (5, 5, 3), (2, 1, 1)] {
        let error =
            Target::of_levels(device(), Some(&vec![0; background]), &vec![0; photo], channels).expect_err("lengths");
        assert!(matches!(error, Error::Length { what: "levels of a photo", .. }), "{error}");
    }
}

/// Where only one Gaussian lies on a tile, the residual is kept for some of the tiles at a time, so that target, lists and look
/// take no more than 16 bytes a pixel and 256 a pair of tile and Gaussian. The shapes agree as they do elsewhere.
#[test]
fn sparse_pictures_take_few_bytes() {
    let tiles = 40;
    let at = |tile: usize| [tile % tiles, tile / tiles].map(|at| 8.0 * at as f64 + 4.0);
    let gaussian = |tile| Gaussian { color: [single(0.0004 * tile as f64); 3], ..Gaussian::round(at(tile), 1.0) };
    let set: Vec<_> = (0..tiles * tiles).map(gaussian).collect();
    let base = (0..64 * tiles * tiles * 3).map(|at| single((0.37 * at as f64).sin() * 0.25)).collect();
    let picture = Picture { set, base, width: 8 * tiles, height: 8 * tiles, channels: 3, support: 9.0 };
    let plain = Target::Plain(device().upload_f64(&picture.base));
    let (packed, _) = packed_and_plain(&picture, &[3, 200, 17]);
    let frames = framed(&picture.set, picture.channels, Framing::default());
    let lists = bins(device(), &frames, picture.cells(), Rule::Within(picture.support)).expect("bins");
    assert_eq!(lists.pairs(), tiles * tiles);
    let (support, gathered) = (picture.support, device().with_shape(Shape::Gathered));
    let scene = Scene { frames: &frames, bins: &lists, support, compositing: Compositing::Sum };
    let limit = 16 * picture.pixels() + 256 * lists.pairs();
    for (name, target) in [("plain", &plain), ("packed", &packed)] {
        for (means, curvature) in [(false, false), (false, true), (true, true)] {
            let sums = Sums { channels: 3, means, curvature, penalty: Penalty::Squared, over: false };
            let look = Look::new(&gathered, &scene, target, sums).expect("room for a look");
            let bytes = target.bytes() + lists.bytes() + look.bytes();
            println!("{name}, means {means}, curvature {curvature}: {bytes} bytes, limit {limit}");
            assert!(bytes <= limit, "{name}, means {means}, curvature {curvature}: {bytes} bytes, limit {limit}");
        }
    }
    once("sparse", |tally| check(&picture, Penalty::Squared, (true, true), tally));
}

/// If gathered, the residual is kept for at most this many tiles at a time.
const RUN: usize = 1 << 14;

/// Two runs of tiles are summed like one, also for Gaussians that reach nearly all tiles: software Vulkan leaves a unit's loops
/// after 65535 rounds. The derivative by a color, `2 sum w E`, is off by a weight's error, one rounding per pixel of a tile and
/// one per tile. Measured: 0.03 of the tolerance against the oracle, 0.006 between the shapes.
#[test]
fn runs_of_tiles_add_up() {
    let (width, height) = (1100, 1000);
    let broad = |x: f64, y: f64, scales: [f64; 2], color: f64| Gaussian {
        scales,
        rotation: single(0.01 * x),
        color: [color; 3],
        ..Gaussian::round([x, y], 1.0)
    };
    let set = vec![
        broad(200.0, 300.0, [500.0, 300.0], 0.75),
        broad(900.0, 700.0, [420.0, 560.0], -0.5),
        broad(550.0, 960.0, [200.0, 60.0], 0.625),
        broad(700.0, 980.0, [5.0, 9.0], -0.875),
    ];
    let base = (0..width * height).map(|at| single((0.37 * at as f64).sin() * 0.25)).collect();
    let picture = Picture { set, base, width, height, channels: 1, support: 9.0 };
    let (mut penalty, mut by_color) = (0.0, [[0.0; 2]; 4]);
    for pixel in 0..picture.pixels() {
        let weights = [0, 1, 2, 3].map(|n| picture.set[n].weight(picture.centre(pixel), 9.0).unwrap_or(0.0));
        let drawn = weights.iter().zip(&picture.set).map(|(w, g)| w * g.color[0]);
        let e = picture.base[pixel] + drawn.sum::<f64>();
        penalty += e * e;
        for (sums, w) in by_color.iter_mut().zip(weights) {
            sums[0] += 2.0 * w * e;
            sums[1] += 2.0 * w * e.abs();
        }
    }
    once("runs against the oracle", |tally| {
        let target = Target::Plain(device().upload_f64(&picture.base));
        let sums = Sums { channels: 1, means: false, curvature: false, penalty: Penalty::Squared, over: false };
        let (got, by, covered) = sums_over(&picture, &target, sums, Shape::Gathered);
        tally.holds(covered > RUN, || format!("{covered} covered tiles are one run"));
        tally.near("penalty", 0, (got, penalty), 200.0 * U * penalty);
        for (n, [want, terms]) in by_color.into_iter().enumerate() {
            let roundings = (64 + covered) as f64 * U;
            tally.near("by color", n, (by[7 * n + 6], want), (weight_error(9.0, 4.0) + roundings) * terms);
        }
    });
    once("runs", |tally| check(&picture, Penalty::Squared, (false, false), tally));
}
