//! Wrong options and inputs give one error that names what is wrong and its value.

use splatport::{
    Error, GaussianTable, Grid, Image,
    kernel::{Background, CutOff, ScaleClip},
    kernels::{self, Cells, target::Target},
    losses::{DmCount, DmProfile},
    splat::{
        BackgroundImage, Cleanup, Compositing, ExtraGaussians, InitialScale, Prior, ScaleMap, Shape, ShapeOn,
        ShapeReduce, Solver, SplatOptions,
    },
};

use super::{Splat, bits_of, blobs, device, noise, photo, points};

const NOT_POSITIVE: [f64; 4] = [0.0, -1.5, f64::NAN, f64::INFINITY];
const POSITIVE: &str = "must be positive and finite";
const POSITIVE_THERE: &str = "must be positive and finite, in the device's float too";
const WIDE: &str = "must be at least 1e-6 and finite";

#[track_caller]
fn same<T: std::fmt::Debug>(result: splatport::Result<T>, expected: &str) {
    assert_eq!(result.expect_err(expected).to_string(), expected);
}

#[test]
fn options_of_fits() {
    let (image, annotations) = blobs(16, 16, 1);
    let recipe = || Splat::of(&image, &annotations);
    // What is no such number on the device is refused as well.
    for v in NOT_POSITIVE.into_iter().chain([1e-50, 1e39]) {
        let adam = Solver::Adam { steps: 5, rate: v };
        let cases = [
            (recipe().support(v), "support"),
            (recipe().initial_scale(InitialScale::NeighbourFraction { divisor: v }), "initial scale divisor"),
            (recipe().scale_map(ScaleMap::Softplus { least: v }), "least scale"),
            (recipe().solver(adam), "adam rate"),
        ];
        for (recipe, name) in cases {
            same(recipe.fit(device()), &format!("option `{name}` is {v}: {POSITIVE_THERE}"));
        }
        let splat = Splat::round(device(), &annotations, [16, 16], 2.0).expect("a splat");
        let options = SplatOptions { support: v, ..SplatOptions::default() };
        same(splat.over(&image, &options), &format!("option `support` is {v}: {POSITIVE_THERE}"));
    }
    for v in NOT_POSITIVE.into_iter().chain([1e-20]) {
        for (size, aspect, name) in [(v, 1.0, "size prior"), (1.0, v, "aspect prior")] {
            let recipe = recipe().prior(Some(Prior { size, aspect }));
            same(recipe.fit(device()), &format!("option `{name}` is {v}: {WIDE}"));
        }
    }
    for scale in [0.0, -1.5, f64::NAN, f64::INFINITY, 1e-300, 1e300] {
        let expected = format!("option `initial scale` is {scale}: must lie between 2^-20 and 2^24 px");
        same(recipe().initial_scale(InitialScale::Equal { scale }).fit(device()), &expected);
    }
    let shape = |weight, limit| Shape { weight, limit, on: ShapeOn::Activated, reduce: ShapeReduce::Max };
    for limit in [0.999, 0.0, -2.0, 1e39, f64::NAN, f64::INFINITY] {
        let expected =
            format!("option `aspect limit` is {limit}: must be at least 1 and finite, in the device's float too");
        same(recipe().shape(shape(0.2, limit)).fit(device()), &expected);
        same(recipe().cleanup(Cleanup::ShrinkToShort { limit }).fit(device()), &expected);
    }
    same(
        recipe().compositing(Compositing::AlphaOver).fit(device()),
        "alpha-over compositing and Gauss-Newton together (the first needs `Solver::Adam`) are not supported",
    );
    for weight in [-0.2, 1e39, f64::NAN] {
        let why = "must be finite, in the device's float too, and not negative";
        let expected = format!("option `shape weight` is {weight}: {why}");
        same(recipe().shape(shape(weight, 1.5)).fit(device()), &expected);
    }
}

/// What leads to more sums than the device has room for is found when the lists are made: one sentence, and the device goes
/// on with the same bits.
#[test]
fn fits_that_find_no_room() {
    let largest = device().client().properties().memory.max_page_size;
    let fitted = || {
        let (image, annotations) = blobs(16, 16, 1);
        bits_of(&Splat::of(&image, &annotations).fit(device()).expect("a splat"))
    };
    let before = fitted();
    let (image, side) = (photo(256, 256, 1, &[0.25; 65536]), 32 * 32);
    // 64 bytes a pair, and a third more pairs than there is room for, as some tiles are not reached.
    let count = (largest as usize / 64 * 4 / 3).div_ceil(side);
    if count > 10_000 {
        println!("no test: {largest} bytes in one buffer hold more than is cheap to list");
        return;
    }
    let random = noise(3, 2 * count);
    let places: Vec<[f64; 2]> = random.chunks_exact(2).map(|r| [256.0 * r[0], 256.0 * r[1]]).collect();
    let annotations = points(&places);
    let recipe = Splat::of(&image, &annotations).initial_scale(InitialScale::Equal { scale: 64.0 });
    let error = recipe.fit(device()).expect_err("no room");
    let Error::Device(kernels::Error::NoRoom { what: "sums of slots", bytes, .. }) = error else { panic!("{error}") };
    assert!(bytes > largest && bytes.is_multiple_of(64), "{bytes}");
    let sentence = format!("sums of slots takes {bytes} bytes, the device allows {largest} in one buffer");
    assert_eq!(error.to_string(), sentence);
    assert_eq!(fitted(), before, "the device does not go on");
}

/// A photo that is too large is refused before anything is packed.
#[test]
fn photos_that_find_no_room() {
    let largest = device().client().properties().memory.max_page_size as usize;
    if largest > 1 << 30 {
        println!("no test: a photo of {largest} bytes is too much for a test");
        return;
    }
    let levels = vec![0; largest / 4 + 1];
    let values = vec![0.0; largest / 4 + 1];
    let expected = format!("photo takes {} bytes, the device allows {largest} in one buffer", largest + 4);
    for target in [Target::of_levels(device(), Some(&levels), &levels, 1), Target::of_values(device(), &values)] {
        assert_eq!(target.expect_err("no room").to_string(), expected);
    }
}

/// More Gaussians than a buffer holds are refused where they are made, and where they are whitened.
#[test]
fn gaussians_that_find_no_room() {
    let largest = device().client().properties().memory.max_page_size as usize;
    if largest > 1 << 28 {
        println!("no test: Gaussians of {largest} bytes are too many for a test");
        return;
    }
    let refused =
        |what: &str, bytes: usize| format!("{what} takes {bytes} bytes, the device allows {largest} in one buffer");
    // Seven numbers each here, twelve once they are whitened.
    let count = largest / 28 + 1;
    let splat = Splat::round(device(), &points(&vec![[4.0, 4.0]; count]), [8, 8], 1.0);
    same(splat, &refused("Gaussians", 28 * count));
    let count = largest / 48 + 1;
    let splat = Splat::round(device(), &points(&vec![[4.0, 4.0]; count]), [8, 8], 1.0).expect("room");
    same(splat.kernel(Grid::over(8, 8, 8)).build(), &refused("whitened Gaussians", 48 * count));
    // The fit says so before it makes anything of them; free ones count.
    let image = photo(8, 8, 1, &[0.5; 64]);
    let one = points(&[[4.0, 4.0]]);
    let recipe = Splat::of(&image, &one).extra_gaussians(ExtraGaussians::Count(1 << 28));
    same(recipe.fit(device()), &refused("Gaussians", 28 * ((1 << 28) + 1)));
    let many = points(&vec![[4.0, 4.0]; largest / 28 + 1]);
    same(Splat::of(&image, &many).fit(device()), &refused("Gaussians", 28 * many.len()));
    let array = vec![0.0_f32; largest / 4 + 1];
    let error = device().try_upload("mine", &array).expect_err("no room").to_string();
    assert_eq!(error, refused("mine", largest + 4));
}

/// Where Gaussians lie over each other the photo is there as floats too, four times the bytes of its levels.
#[test]
fn photos_that_find_no_room_as_floats() {
    let largest = device().client().properties().memory.max_page_size as usize;
    if largest > 1 << 30 {
        println!("no test: a photo of {largest} bytes is too much for a test");
        return;
    }
    let pixels = largest / 12 + 1;
    let image = Image::from_u8(pixels as u32, 1, 3, vec![0; 3 * pixels]).expect("a photo");
    let annotations = points(&[[5.0, 0.5]]);
    let recipe = Splat::of(&image, &annotations).background_image(BackgroundImage::None);
    let recipe = recipe.compositing(Compositing::AlphaOver).solver(Solver::Adam { steps: 1, rate: 0.01 });
    let error = recipe.fit(device()).expect_err("no room");
    let bytes = 12 * pixels;
    assert_eq!(error.to_string(), format!("photo takes {bytes} bytes, the device allows {largest} in one buffer"));
}

#[test]
fn options_of_kernels() {
    let splat = super::kernel::splat();
    let recipe = || splat.kernel(Grid::over(60, 44, 4));
    for tau in [0.0, 1.0, -0.5, 2.0, f64::NAN, f64::INFINITY] {
        same(recipe().tau(tau).build(), &format!("option `tau` is {tau}: must lie between 0 and 1"));
    }
    for v in NOT_POSITIVE {
        let cut_off = format!("option `cut_off` is {v}: {POSITIVE}");
        for background in [
            Background::Soft { cut_off: v, rule: CutOff::Crossover },
            Background::Soft { cut_off: v, rule: CutOff::Exponent },
            Background::Hard { cut_off: v },
            Background::Ratio { cut_off: v, kappa: 0.1 },
        ] {
            same(recipe().background(background).build(), &cut_off);
        }
        let kappa = Background::Ratio { cut_off: 3.0, kappa: v };
        same(recipe().background(kappa).build(), &format!("option `kappa` is {v}: {POSITIVE}"));
        let clip = ScaleClip::Range { post_min: v, post_max: 20.0 };
        same(recipe().scale_clip(clip).build(), &format!("option `post_min` is {v}: {POSITIVE}"));
    }
    for v in [0.0, -1.5, f64::NAN, f64::INFINITY, 1e-300, 1e300] {
        let clip = ScaleClip::Range { post_min: 1.0, post_max: v };
        same(
            recipe().scale_clip(clip).build(),
            &format!("option `post_max` is {v}: must lie between 2^-20 and 2^24 px"),
        );
    }
}

#[test]
fn grids() {
    let splat = super::kernel::splat();
    let whole = Grid::over(60, 44, 4);
    let build = |grid| splat.kernel(grid).build();
    same(build(Grid::over(60, 44, 0)), "option `stride` is 0: must be at least 1");
    same(build(whole.crop(8, 8, 0, 4)), "grid is empty");
    same(build(Grid::over(60, 0, 4)), "grid is empty");
    same(build(whole.crop(41, 0, 20, 8)), "end of the crop, axis[0] is 61, outside 0..=60");
    same(build(whole.crop(0, 60, 8, 8)), "end of the crop, axis[1] is 68, outside 0..=44");
    same(build(whole.crop(u32::MAX, 0, u32::MAX, 8)), "end of the crop, axis[0] is 8589934590, outside 0..=60");
    same(build(Grid::over(u32::MAX, 44, 1)), "size of the grid's image, axis[0] is 4294967295, outside 60..=60");
    let splat = Splat::round(device(), &points(&[[3.0, 4.0]]), [u32::MAX; 2], 4.0).expect("a splat");
    same(
        splat.kernel(Grid::over(u32::MAX, u32::MAX, 1)).build(),
        "grid: 18446744065119617025 elements are more than the 1073741823 that 32-bit indices allow",
    );
}

#[test]
fn recipes_check_their_stride() {
    let (image, annotations) = blobs(16, 16, 1);
    let recipe = splatport::recipe().solver(Solver::GaussNewton { steps: 0 }).kernel(0).loss();
    same(recipe.run(device(), &image, &annotations), "option `stride` is 0: must be at least 1");
    same(recipe.run_all(device(), &[]), "batch is empty");
    // Before the fit, which would refuse the annotation.
    let far = points(&[[1e300, 4.0]]);
    let recipe = splatport::recipe().kernel(0);
    same(recipe.run(device(), &image, &far), "option `stride` is 0: must be at least 1");
    same(recipe.run_all(device(), &[(&image, &far)]), "option `stride` is 0: must be at least 1");
    let recipe = splatport::recipe().kernel(4).tau(2.5);
    same(recipe.run(device(), &image, &far), "option `tau` is 2.5: must lie between 0 and 1");
}

/// One photo above the most cells that 32-bit indices reach: refused for its size, which costs nothing to see.
#[test]
fn grids_of_too_many_cells() {
    let points = points(&[[4.0, 4.0]]);
    let scenes = [(Grid::over(40_000, 40_000, 1), &points)];
    let error = DmCount::new(DmProfile::default()).on(device(), &scenes).expect_err("too many cells").to_string();
    assert_eq!(error, "grid: 1600000000 elements are more than the 1073741823 that 32-bit indices allow");
    let largest = device().client().properties().memory.max_page_size as usize;
    let side = (largest / 4).isqrt() + 1;
    if side * side <= Cells::MOST {
        let scenes = [(Grid::over(side as u32, side as u32, 1), &points)];
        let refused = DmCount::new(DmProfile::default()).on(device(), &scenes);
        let bytes = 4 * side * side;
        let expected =
            format!("annotations of all cells takes {bytes} bytes, the device allows {largest} in one buffer");
        same(refused, &expected);
    }
}

#[test]
fn scales_of_round_splats() {
    let annotations = points(&[[3.0, 4.0]]);
    for scale in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300, 1e300] {
        let error = Splat::round(device(), &annotations, [8, 8], scale);
        same(error, &format!("option `scale` is {scale}: must lie between 2^-20 and 2^24 px"));
    }
}

/// A coordinate is rounded to the device's float: what would become infinite there is an error, before any work.
#[test]
fn coordinates_out_of_reach() {
    let (image, _) = blobs(16, 16, 1);
    for (far, expected) in [
        ([1e300, 4.0], format!("x[1] is {}, outside -16777216..=16777216", 1e300)),
        ([4.0, -1.8e7], "y[1] is -18000000, outside -16777216..=16777216".to_owned()),
    ] {
        let annotations = points(&[[3.0, 4.0], far]);
        same(Splat::of(&image, &annotations).fit(device()), &expected);
        same(Splat::round(device(), &annotations, [16, 16], 8.0), &expected);
    }
    let table = GaussianTable { means: vec![[1.0, 3e38]], ..table() };
    let error = Splat::from_table(device(), &table).expect_err("out of reach");
    assert!(matches!(error, Error::OutOfRange { what: "y", index: 0, .. }), "{error}");
}

fn table() -> GaussianTable {
    GaussianTable {
        means: vec![[1.0, 2.0]],
        scales: vec![[2.0, 1.0]],
        rotations: vec![0.5],
        colors: vec![1.0; 3],
        channels: 3,
        opacities: vec![1.0],
        free: 0,
        shares: vec![],
        profile: String::new(),
        width: 8,
        height: 8,
        ..GaussianTable::default()
    }
}

#[test]
fn tables() {
    let from = |table: GaussianTable| Splat::from_table(device(), &table);
    assert!(from(table()).is_ok());
    same(from(GaussianTable { scales: vec![], ..table() }), "scales: expected 1 values, got 0");
    same(from(GaussianTable { rotations: vec![0.0; 2], ..table() }), "rotations: expected 1 values, got 2");
    same(from(GaussianTable { colors: vec![0.0; 2], ..table() }), "colors: expected 3 values, got 2");
    same(from(GaussianTable { opacities: vec![], ..table() }), "opacities: expected 1 values, got 0");
    same(from(GaussianTable { channels: 2, ..table() }), "expected 1 or 3 channels, got 2");
    same(from(GaussianTable { free: 2, ..table() }), "free[0] is 2, outside 0..=1");
    same(from(GaussianTable { width: 0, ..table() }), "width is empty");
    let error = from(GaussianTable { profile: "papre".into(), ..table() }).expect_err("a profile");
    assert!(matches!(error, Error::Unknown { what: "profile", .. }) && error.to_string().contains("papre"), "{error}");
    same(from(GaussianTable { means: vec![[f64::NAN, 0.0]], ..table() }), "means[0] is NaN, not a finite number");
    // Finite, but not as `f32`.
    let error = from(GaussianTable { rotations: vec![-1e39], ..table() }).expect_err("a rotation");
    assert!(matches!(error, Error::OutOfRange { what: "rotations", index: 0, value: -1e39, .. }), "{error}");
    let error = from(GaussianTable { colors: vec![0.5, 0.5, 1e39], ..table() }).expect_err("a color");
    assert!(matches!(error, Error::OutOfRange { what: "colors", index: 0, value: 1e39, .. }), "{error}");
    for scale in [0.0, -2.0, 1e-45, f64::MAX] {
        let error = from(GaussianTable { scales: vec![[1.0, scale]], ..table() }).expect_err("a scale");
        let right = matches!(error, Error::OutOfRange { what: "scales", index: 0, value, .. } if value == scale);
        assert!(right, "{error}");
    }
}
