//! Kernels and losses of many images at once: the same as one by one.

use splatport::{
    Annotations, Grid, Kernel, Profile, Single, View,
    kernel::{Background, CutOff, ScaleClip},
    loss::Discrepancy,
    reference::{nearest::nearest, shape::aspect},
    splat::{Crop, CropTarget, Share},
};

use super::{R, Splat, bits, device, poison};
use crate::device::single;

fn splat(size: [u32; 2], count: usize, seed: u64) -> Splat {
    let places = |seed: u64, side: u32| super::noise(seed, count).into_iter().map(move |v| v * f64::from(side));
    let points = places(seed, size[0]).zip(places(seed + 1, size[1])).map(|(x, y)| [x, y]);
    let points = Annotations::new(points.collect::<Vec<_>>()).expect("points");
    Splat::round(device(), &points, size, 4.0).expect("a splat")
}

/// Sizes, numbers and strides that share nothing; none, one, and more than a block of 256.
fn splats() -> Vec<(Splat, Grid)> {
    [([40, 30], 5, 4), ([1, 1], 1, 8), ([90, 33], 0, 3), ([120, 100], 300, 2), ([24, 50], 7, 8)]
        .into_iter()
        .enumerate()
        .map(|(at, (size, count, stride))| (splat(size, count, 10 * at as u64), Grid::over(size[0], size[1], stride)))
        .collect()
}

fn density(cells: usize, seed: u64) -> Vec<f32> {
    super::noise(seed, cells).into_iter().map(|v| v as f32).collect()
}

#[test]
fn a_kernel_of_many_is_the_kernels_of_each() {
    let splats = splats();
    let images: Vec<_> = splats.iter().map(|(splat, grid)| (splat, *grid)).collect();
    for background in [Background::Hard { cut_off: 2.0 }, Background::None] {
        let recipe = |splat: &Splat, grid| splat.kernel(grid).background(background).build().expect("a kernel");
        let options = *recipe(&splats[0].0, splats[0].1).options().expect("options");
        poison();
        let mut whole = Kernel::of_all(device(), &images, options).expect("a kernel");
        // A second time into known room, over other memory.
        poison();
        whole.rebuild(&images).expect("a rebuilt kernel");
        let densities: Vec<Vec<f32>> =
            splats.iter().enumerate().map(|(i, (_, g))| density(g.len(), i as u64)).collect();
        let joint = whole.loss().discrepancy(Discrepancy::L2).expect("a loss");
        let step = joint.evaluate(&device().upload(&densities.concat())).expect("a step");
        let (values, gradient, mass) =
            (step.values().expect("values"), bits(step.gradient()), bits(step.transported()));
        let (mut cell, mut column) = (0, 0);
        for (at, ((splat, grid), density)) in splats.iter().zip(&densities).enumerate() {
            let loss = recipe(splat, *grid).loss().discrepancy(Discrepancy::L2).expect("a loss");
            let own = loss.evaluate(&device().upload(density)).expect("a step");
            let count = splat.annotations() + 1;
            assert!(bits(own.transported()) == mass[column..column + count], "{background:?}: mass of image {at}");
            // The mean divides by 5: one rounding each.
            let near = |a: f64, b: f64| (a - b).abs() <= 2.0 * f64::from(f32::EPSILON) * b.abs();
            let value = own.value().expect("a value") / 5.0;
            assert!(near(values[at], value), "{background:?}: {} and {value} of image {at}", values[at]);
            for (i, slope) in own.gradient().read().expect("a gradient").into_iter().enumerate() {
                let whole = f64::from(f32::from_bits(gradient[cell + i]));
                assert!(near(whole, f64::from(slope) / 5.0), "{background:?}: slope {i} of image {at}");
            }
            (cell, column) = (cell + grid.len(), column + count);
        }
        assert_eq!((cell, column), (gradient.len(), mass.len()));
    }
}

/// Weights and targets stand with their own annotations, and the backgrounds' weight with theirs: the loss follows from the mass
/// that arrived. A column is a difference and a product of `f32`, some 300 of them are added.
#[test]
fn weights_and_targets_reach_their_columns() {
    let splats = splats();
    let images: Vec<_> = splats.iter().map(|(splat, grid)| (splat, *grid)).collect();
    let built = splats[0].0.kernel(splats[0].1).build().expect("a kernel");
    let kernel = Kernel::of_all(device(), &images, *built.options().expect("options")).expect("a kernel");
    let count = kernel.annotations();
    let cells: usize = splats.iter().map(|(_, grid)| grid.len()).sum();
    let targets: Vec<f64> = (0..count).map(|n| 1.0 + n as f64 / 64.0).collect();
    let weights: Vec<f64> = (0..count).map(|n| 0.25 + (n % 7) as f64 / 8.0).collect();
    let loss = kernel.loss().targets(&targets).expect("targets").weights(&weights, 0.5).expect("weights");
    let step = loss.evaluate(&device().upload(&density(cells, 5))).expect("a step");
    let (mass, mut wanted, mut annotation) = (super::read(step.transported()), 0.0, 0);
    let (mut column, mut background) = (0, 0.0);
    for (splat, _) in &splats {
        for _ in 0..splat.annotations() {
            wanted += weights[annotation] * (mass[column] - targets[annotation]).abs() / 5.0;
            (annotation, column) = (annotation + 1, column + 1);
        }
        background += 0.5 * mass[column] / 5.0;
        column += 1;
    }
    assert!(background > 0.01 * wanted, "the backgrounds' weight decides nothing: {background} of {wanted}");
    let got = step.value().expect("a value");
    let tolerance = (count as f64 + 8.0) * f64::from(f32::EPSILON);
    assert!((got - wanted - background).abs() <= tolerance * got, "{got} {wanted} {background}");
    assert!(loss.kernel().table().is_err(), "many images make no single table");
}

/// A kernel is the same before and after a rigid motion of everything, cell by cell; a crop is a part of it.
#[test]
fn views_carry_the_kernel_with_them() {
    let size = [96, 64];
    let mut table = splat(size, 12, 3).table().expect("a table");
    table.scales.iter_mut().for_each(|scales| *scales = [6.0, 3.0]);
    table.rotations = super::noise(9, 12).into_iter().map(|v| single(3.0 * v)).collect();
    let splat = Splat::from_table(device(), &table).expect("a splat");
    let kernel = |splat: &Splat, size: [u32; 2]| {
        let grid = Grid::over(size[0], size[1], 8);
        let build = splat.kernel(grid).background(Background::Hard { cut_off: 2.0 }).build();
        super::kernel::rows(&build.expect("a kernel").table().expect("a table"))
    };
    let straight = kernel(&splat, size);
    let views = [
        (View::of(size).flip(), (|c, r| (11 - c, r)) as fn(usize, usize) -> (usize, usize)),
        (View::of(size).flip_vertically(), |c, r| (c, 7 - r)),
        (View::of(size).quarter_turn(), |c, r| (7 - r, c)),
        (View::of(size).turn(std::f64::consts::PI).expect("a turn"), |c, r| (11 - c, 7 - r)),
    ];
    for (view, place) in views {
        let crop = splat.through(&view, CropTarget::Unit).expect("a view");
        assert_eq!(crop.kept, (0..12).collect::<Vec<u32>>());
        let moved = kernel(&crop.splat, view.size());
        let across = view.size()[0] as usize / 8;
        for (i, row) in straight.iter().enumerate() {
            let (column, line) = place(i % 12, i / 12);
            let other = &moved[line * across + column];
            // Rows hold to (32 + 4 aspect) u (1 + q) each, q below 4 within the boundary, which no cell meets.
            let distance: f64 = row.iter().zip(other).map(|(a, b)| (a - b).abs()).sum();
            assert!(distance < 40.0 * f64::from(f32::EPSILON) * 5.0, "{view:?}, cell {i}: {row:?} {other:?}");
        }
    }
}

/// A picture drawn out three times as wide has the kernel of the old one in every third cell, whose centre is where the old one's
/// went (paper, Eq. 11: a ratio of densities at one Mahalanobis distance). Both rows are within `tau` of the exact one, and hold to
/// `(32 + 4 aspect) u (1 + q)`.
#[test]
fn kernels_are_the_same_under_an_anisotropic_resize() {
    let (size, tau) = ([96, 64], 1e-6);
    let mut table = splat(size, 12, 3).table().expect("a table");
    table.scales.iter_mut().for_each(|scales| *scales = [6.0, 3.0]);
    table.rotations = super::noise(9, 12).into_iter().map(|v| single(3.0 * v)).collect();
    let splat = Splat::from_table(device(), &table).expect("a splat");
    let view = View::of(size).resize([288, 64]).expect("a view");
    let wide = splat.through(&view, CropTarget::Unit).expect("a view").splat;
    let set = super::gaussians_of(&wide.table().expect("a table"));
    let widest = set.iter().map(aspect).fold(1.0, f64::max);
    assert!(widest > 3.0, "no Gaussian is drawn out: {widest}");
    let soft = |rule| Background::Soft { cut_off: 2.0, rule };
    for background in
        [soft(CutOff::Exponent), soft(CutOff::Crossover), Background::None, Background::Hard { cut_off: 2.0 }]
    {
        let kernel = |splat: &Splat, grid: Grid| {
            let build = splat.kernel(grid).background(background).scale_clip(ScaleClip::None).tau(tau).build();
            super::kernel::rows(&build.expect("a kernel").table().expect("a table"))
        };
        let grid = Grid::over(288, 64, 8);
        let (old, new) = (kernel(&splat, Grid::over(96, 64, 8)), kernel(&wide, grid));
        for (i, row) in old.iter().enumerate() {
            let at = i / 12 * 36 + 3 * (i % 12) + 1;
            let q = nearest(&set, grid.centre(at)).map_or(0.0, |(_, q)| q);
            let rounding = (32.0 + 4.0 * widest) * f64::from(f32::EPSILON) / 2.0 * (1.0 + q);
            let distance: f64 = row.iter().zip(&new[at]).map(|(a, b)| (a - b).abs()).sum();
            assert!(distance <= 2.0 * (tau + rounding), "{background:?}, cell {i}: {row:?} {:?}", new[at]);
        }
    }
}

/// The authors' ratio is an area: a picture of twice the size has the same kernel with four times the ratio, and another one with the
/// same.
#[test]
fn ratios_are_areas() {
    let (size, tau) = ([96, 64], 1e-6);
    let splat = splat(size, 12, 3);
    let twice = splat.through(&View::of(size).resize([192, 128]).expect("a view"), CropTarget::Unit).expect("a view");
    let kernel = |splat: &Splat, side: u32, kappa| {
        let grid = Grid::over(side * 96, side * 64, side * 4);
        let background = Background::Ratio { cut_off: 3.0, kappa };
        let build = splat.kernel(grid).background(background).scale_clip(ScaleClip::None).tau(tau).build();
        super::kernel::rows(&build.expect("a kernel").table().expect("a table"))
    };
    let (old, wanted, other) =
        (kernel(&splat, 1, 0.015), kernel(&twice.splat, 2, 0.06), kernel(&twice.splat, 2, 0.015));
    let farthest = |rows: &[Vec<f64>]| {
        let apart = old.iter().zip(rows).map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>());
        apart.fold(0.0, f64::max)
    };
    // Round Gaussians of 4 px: q below 600 everywhere.
    let tolerance = 2.0 * (tau + 36.0 * f64::from(f32::EPSILON) / 2.0 * 600.0);
    assert!(farthest(&wanted) <= tolerance, "{} of {tolerance}", farthest(&wanted));
    assert!(farthest(&other) > 0.1, "{}", farthest(&other));
}

/// Crops of a batch are those of each: Gaussians to the last bit, places, targets, shares; also of images without annotations, and of
/// views that show none.
#[test]
fn crops_of_a_batch_are_the_crops_of_each() {
    let mut mixed = splat([96, 64], 6, 5).table().expect("a table");
    mixed.free = 3;
    let share = |annotation, gaussian| Share { annotation, gaussian, weight: 1.0 };
    mixed.shares = vec![share(0, 0), share(0, 3), share(1, 1), share(1, 4), share(2, 2), share(2, 3), share(2, 5)];
    let mixed = Splat::from_table(device(), &mixed).expect("a splat");
    let [many, none] = [splat([96, 64], 40, 6), splat([96, 64], 0, 7)];
    let view = View::of([96, 64]);
    let cut = |left, top| view.crop([left, top], [48, 40]).expect("a view");
    let turned = view.turn(0.5).expect("a view").resize([60, 70]).expect("a view");
    let views = [
        (&many, cut(10.0, 5.0)),
        (&mixed, turned),
        (&none, view),
        (&many, cut(500.0, 0.0)),
        (&many, cut(30.0, 9.5).flip()),
    ];
    for target in [CropTarget::default(), CropTarget::Unit] {
        poison();
        let together = Splat::through_all(&views, target).expect("crops");
        assert_eq!(together.len(), views.len());
        for (crop, (splat, view)) in together.iter().zip(&views) {
            let alone = splat.through(view, target).expect("a crop");
            assert_eq!((&crop.kept, &crop.targets), (&alone.kept, &alone.targets));
            let [table, own] = [&crop.splat, &alone.splat].map(|splat| splat.table().expect("a table"));
            assert_eq!(table, own, "{view:?}");
            assert_eq!(crop.splat.annotations(), crop.kept.len());
        }
        same_kernels(&together);
        same_kernels(&together[2..]);
        assert!(together[3].kept.is_empty() && together[0].kept.len() > 5 && !together[1].splat.shares().is_empty());
    }
    let flat = View::of([96, 64]).turn(0.0).expect("a view");
    assert!(Splat::through_all(&[(&none, flat)], CropTarget::BoxRatio { min: 2.0 }).is_err());
    assert!(Splat::through_all(&[], CropTarget::Unit).expect("no crops").is_empty());
}

/// Kernels of crops without shares, which are packed from one array, are those of each.
fn same_kernels(crops: &[Crop<R, Single>]) {
    let plain: Vec<_> = crops.iter().filter(|crop| crop.splat.shares().is_empty()).map(|crop| &crop.splat).collect();
    let images: Vec<_> = plain.iter().map(|splat| (*splat, Grid::over(splat.size()[0], splat.size()[1], 8))).collect();
    let options = Profile::Recommended.kernel();
    poison();
    let tables = Kernel::of_all(device(), &images, options).expect("kernels").tables().expect("tables");
    for (table, image) in tables.iter().zip(&images) {
        // From memory of its own.
        let own = Splat::from_table(device(), &image.0.table().expect("a table")).expect("a splat");
        let alone = Kernel::of_all(device(), &[(&own, image.1)], options).expect("a kernel");
        assert_eq!(table, &alone.table().expect("a table"));
    }
}

/// Boxes that a tiling of crops cuts into pieces add up to one target.
#[test]
fn targets_of_a_tiling_add_up() {
    let splat = splat([96, 64], 30, 8);
    let mut sums = [0.0; 30];
    // Beyond the edges too: boxes reach over them.
    for left in [-128.0, -64.0, 0.0, 64.0, 128.0] {
        for top in [-128.0, -64.0, 0.0, 64.0, 128.0] {
            let view = View::of([96, 64]).crop([left, top], [64, 64]).expect("a view");
            let crop = splat.through(&view, CropTarget::BoxRatio { min: 0.0 }).expect("a crop");
            crop.kept.iter().zip(&crop.targets).for_each(|(&n, target)| sums[n as usize] += target);
            assert_eq!(crop.splat.annotations(), crop.kept.len());
        }
    }
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12), "{sums:?}");
    let view = View::of([96, 64]).crop([0.0, 0.0], [16, 16]).expect("a view");
    let few = splat.through(&view, CropTarget::default()).expect("a crop");
    assert!(few.targets.iter().all(|&t| (0.3..=1.0).contains(&t)) && few.kept.len() < 30);
    let error = splat.through(&view, CropTarget::BoxRatio { min: 1.5 }).expect_err("more than all").to_string();
    assert_eq!(error, "option `min` is 1.5: must lie between 0 and 1");
}
