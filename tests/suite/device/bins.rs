//! Tile lists: what they may not leave out, and that they leave something out. That no gaussian is missing shows in every
//! comparison with the oracle; lists made with a margin serve the gaussians that moved since.

use splatport::kernels::{
    Cells, Error, Mosaic, Shape,
    bins::{Bins, Room, Rule, bins, bins_of_batch},
    gaussian::Framing,
    rasterize::{Compositing, Scene, rasterize},
};
use splatport::reference::{gaussian::Gaussian, splat};

use super::rasterize::{Picture, crowd, pictures};
use super::{Case, Frames, R, aspect, cases, centres, device, framed, poison, property, q_error, wide};

/// Pairs of tile and gaussian that have a cell within `limit`, rounding aside.
fn needed(case: &Case, limit: f64) -> usize {
    let (across, centres) = (case.cells.columns as usize, centres(&case.cells));
    let tile = |i: usize| (i / across / 8, i % across / 8);
    let reached = |g: &Gaussian<f64>| {
        let near = |&(_, &x): &(usize, &[f64; 2])| g.mahalanobis_sq(x) <= limit * (1.0 - q_error(aspect(g)));
        let tiles = centres.iter().enumerate().filter(near).map(|(i, _)| tile(i));
        tiles.collect::<std::collections::BTreeSet<_>>().len()
    };
    case.set.iter().map(reached).sum()
}

#[test]
fn every_reached_tile_has_its_gaussian() {
    property("pairs", 32, (cases(20, 10.0), 0.5..30.0), |(case, limit), tally| {
        poison(&[case.set.len(), 100]);
        let frames = framed(&case.set, 1, Framing::default());
        let made = bins(device(), &frames, case.cells, Rule::Within(*limit)).expect("bins");
        let tiles = case.cells.columns.div_ceil(8) * case.cells.rows.div_ceil(8);
        tally.equal("tiles", &made.tiles(), &(tiles as usize));
        let least = needed(case, *limit);
        tally.holds(made.pairs() >= least, || format!("{} pairs of {least}", made.pairs()));
        tally.holds(made.pairs() <= made.tiles() * case.set.len(), || format!("{} pairs", made.pairs()));
    });
}

/// A bound over the box of a tile's centres is tight: a small round gaussian far inside one tile reaches that one only.
#[test]
fn far_tiles_are_left_out() {
    let frames = framed(&[Gaussian::round([12.0, 20.0], 0.5)], 1, Framing::default());
    for (rule, pairs) in [(Rule::Within(9.0), 1), (Rule::Nearest(1), 72), (Rule::Within(1e9), 72)] {
        let cells = Cells::pixels(70, 61);
        assert_eq!(bins(device(), &frames, cells, rule).expect("bins").pairs(), pairs, "{rule:?}");
    }
    // Half the pixels of two equal gaussians side by side are nearest to each.
    let two = [Gaussian::round([8.0, 4.0], 2.0), Gaussian::round([56.0, 4.0], 2.0)];
    let cells = Cells::pixels(64, 8);
    let nearest = bins(device(), &framed(&two, 1, Framing::default()), cells, Rule::Nearest(1)).expect("bins");
    assert_eq!(nearest.pairs(), 8);
}

/// As the fit uses them: lists for a margin of scale and place, drawn with gaussians moved by all of it. Measured: 0.36
/// of the tolerance.
#[test]
fn a_margin_covers_what_moves() {
    let moved = (pictures(8), 1.0..1.5, [-1.0..=1.0, -1.0..=1.0], 0.0..1.0);
    property("moved", 24, moved, |(picture, factor, [dx, dy], grown), tally| {
        let framing = Framing { growth: *factor, ..Framing::default() };
        let wide_frames = framed(&picture.set, picture.channels, framing);
        let rule = Rule::Within(picture.support);
        let mosaic = Mosaic::new(device(), &[(picture.cells(), picture.set.len())]).expect("a mosaic");
        let lists = bins_of_batch(device(), &wide_frames, &mosaic, (rule, 3.0), &mut Room::default()).expect("bins");
        let place = |g: &Gaussian<f64>| Gaussian {
            mean: [super::single(g.mean[0] + 2.9 * dx), super::single(g.mean[1] + 2.9 * dy)],
            scales: g.scales.map(|s| super::single(s * (1.0 + (factor - 1.0) * grown))),
            ..*g
        };
        let now = Picture { set: picture.set.iter().map(place).collect(), ..picture.clone() };
        let frames = framed(&now.set, now.channels, Framing::default());
        let scene = Scene { frames: &frames, bins: &lists, support: now.support, compositing: Compositing::Sum };
        poison(&[now.base.len()]);
        let raster = rasterize(device(), &scene, &device().upload_f64(&now.base)).expect("a raster");
        let got = wide(raster.image.read().expect("image"));
        let wanted = splat::render(&now.set, now.width, now.height, now.channels, &now.base, now.support);
        for at in (0..got.len()).filter(|at| !now.is_on_an_edge(at / now.channels)) {
            tally.near("image", at, (got[at], wanted[at]), now.error(at / now.channels, at % now.channels));
        }
    });
}

/// A batch's grids, in one numbering: images without a gaussian, with several blocks of 256, crops and coarse cells. Each
/// gives the bits that it gives alone, and nothing else is listed.
#[test]
fn grids_of_a_batch_are_drawn_alone() {
    let shapes = [
        (crowd(0, 17, 9), 0.0, 1.0),
        (crowd(5, 1, 1), 0.0, 1.0),
        (crowd(600, 130, 67), 3.0, 1.0),
        (crowd(0, 8, 8), 0.0, 3.0),
        (crowd(256, 40, 71), -20.5, 2.0),
        (crowd(1, 65, 64), 0.0, 1.0),
        (crowd(0, 3, 70), 0.0, 1.0),
    ];
    let cells = |(picture, corner, stride): &(Picture, f64, f64)| Cells {
        left: *corner,
        top: 2.0 * corner,
        stride: *stride,
        ..picture.cells()
    };
    let plots: Vec<_> = shapes.iter().map(|shape| (cells(shape), shape.0.set.len())).collect();
    let mosaic = Mosaic::new(device(), &plots).expect("a mosaic");
    let all: Vec<Gaussian<f64>> = shapes.iter().flat_map(|(picture, ..)| picture.set.iter().copied()).collect();
    let base: Vec<f64> = shapes.iter().flat_map(|(picture, ..)| picture.base.iter().copied()).collect();
    let together = framed(&all, 1, Framing::default());
    let draw = |frames: &Frames, lists: &Bins<R, f32>, base: &[f64]| {
        let scene = Scene { frames, bins: lists, support: 9.0, compositing: Compositing::Sum };
        poison(&[base.len()]);
        let raster = rasterize(device(), &scene, &device().upload_f64(base)).expect("a raster");
        [raster.image, raster.coverage].map(|v| v.read().expect("a raster").into_iter().map(f32::to_bits).collect())
    };
    for margin in [0.0, 1.5] {
        let lists = |frames: &Frames, mosaic: &Mosaic<R, f32>, rule| {
            bins_of_batch(device(), frames, mosaic, (rule, margin), &mut Room::default()).expect("bins")
        };
        let pair = |rule| lists(&together, &mosaic, rule).pairs();
        let within = Rule::Within(9.0);
        let [image, coverage]: [Vec<u32>; 2] = draw(&together, &lists(&together, &mosaic, within), &base);
        let rules = [within, Rule::Nearest(1), Rule::Posterior { dropped: 1e-4 }];
        let mut pairs = [0; 3];
        let mut first = 0;
        for ((picture, ..), &plot) in shapes.iter().zip(&plots) {
            let frames = framed(&picture.set, 1, Framing::default());
            let alone = Mosaic::new(device(), &[plot]).expect("a mosaic");
            pairs.iter_mut().zip(rules).for_each(|(sum, rule)| *sum += lists(&frames, &alone, rule).pairs());
            let [one, covered]: [Vec<u32>; 2] = draw(&frames, &lists(&frames, &alone, within), &picture.base);
            let own = first..first + picture.pixels();
            first = own.end;
            assert!(image[own.clone()] == one && coverage[own] == covered, "{plot:?}: other bits in the batch");
        }
        assert_eq!(rules.map(pair), pairs, "pairs of a batch");
        assert!(pairs[0] > 600, "{pairs:?}");
    }
}

/// A mosaic that counts other gaussians than there are.
#[test]
fn gaussians_must_be_those_of_the_grids() {
    let frames = framed(&crowd(3, 9, 9).set, 1, Framing::default());
    for counts in [[1, 1], [3, 1]] {
        let mosaic = Mosaic::new(device(), &counts.map(|count| (Cells::pixels(9, 9), count))).expect("a mosaic");
        let error = bins_of_batch(device(), &frames, &mosaic, (Rule::Nearest(1), 0.0), &mut Room::default())
            .expect_err("other numbers");
        assert!(matches!(error, Error::Length { what: "frames", .. }), "{error}");
    }
}

/// Software Vulkan would end a unit's loop over them after 65535, without a word, though no tile has too many.
#[test]
fn crowds_on_one_coarse_tile_are_refused_where_loops_end() {
    let at = |n: u32| [f64::from(n % 256) / 4.0 + 0.125, f64::from(n / 256) / 4.0 + 0.125];
    let set: Vec<_> = (0..65_001).map(|n| Gaussian::round(at(n), 0.25)).collect();
    let frames = framed(&set, 1, Framing::default());
    let refused = bins(device(), &frames, Cells::pixels(64, 64), Rule::Within(9.0));
    match (device().shape(), refused) {
        (Shape::Gathered, Err(Error::Count { value, max, .. })) => assert_eq!((value, max), (65_001, 65_000)),
        (Shape::Tiled, Ok(lists)) => assert!(lists.pairs() >= set.len()),
        (shape, other) => panic!("{shape:?}: {:?}", other.map(|lists| lists.pairs())),
    }
}
