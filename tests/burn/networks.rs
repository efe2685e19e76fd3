//! Networks: shapes, gradients, weights from files.

use std::{collections::HashMap, fs, marker::PhantomData, path::Path};

use burn_core as burn;
use burn_core::{
    module::Module,
    tensor::{
        DType, Distribution, Tensor, TensorData,
        backend::Backend,
        module::interpolate,
        ops::{InterpolateMode, InterpolateOptions},
    },
};
use burn_flex::Flex;
use burn_nn::conv::{Conv2d, Conv2dConfig};
use splatport::{
    Error, Grid, Image,
    burn::{
        Windows,
        networks::{
            DensityNetwork, SmallDensity, TransformerDensity, VggDensity, VggDepth, VggTrunk, doubled, image_tensor,
            load,
        },
        predict,
    },
};

use crate::{Cpu, Same, crop, numbers, temporary};

fn photo<B: Backend>(height: usize, width: usize) -> Tensor<B, 4> {
    Tensor::from_data(TensorData::new(numbers(3 * height * width), [1, 3, height, width]), &Default::default())
}

/// One density per cell of the grid, whatever the size, and none negative.
fn covers<B: Backend>(network: &impl DensityNetwork<B>, width: u32, height: u32) {
    let grid = Grid::over(width, height, 8);
    let density = network.density(photo(height as usize, width as usize));
    assert_eq!(density.dims(), [1, 1, grid.rows() as usize, grid.columns() as usize]);
    assert!(density.into_data().to_vec::<f32>().expect("f32").iter().all(|z| z.is_finite() && *z >= 0.0));
}

#[test]
fn densities_cover_the_grid() {
    let place = Default::default();
    let small = SmallDensity::<Flex>::new(&place);
    let transformer = TransformerDensity::<Flex>::new(&place);
    for (width, height) in [(64, 48), (61, 35), (8, 8), (3, 1)] {
        covers(&small, width, height);
        covers(&transformer, width, height);
    }
    let vgg = VggDensity::new(VggTrunk::<Flex>::new(VggDepth::Nineteen, &place), &place);
    covers(&vgg, 35, 17);
    assert_eq!((small.num_params(), transformer.num_params(), vgg.num_params()), (32_865, 86_145, 21_499_457));
}

/// Every parameter gets a gradient, on the CPU and on the loss's device.
fn learns<B: burn_core::tensor::backend::AutodiffBackend>(network: &impl DensityNetwork<B>) {
    struct Seen<'a, B: burn_core::tensor::backend::AutodiffBackend> {
        gradients: &'a B::Gradients,
        without: usize,
    }
    impl<B: burn_core::tensor::backend::AutodiffBackend> burn_core::module::ModuleVisitor<B> for Seen<'_, B> {
        fn visit_float<const D: usize>(&mut self, parameter: &burn_core::module::Param<Tensor<B, D>>) {
            let some = parameter.val().grad(self.gradients).is_some_and(|gradient| {
                let values: Vec<f32> = gradient.into_data().convert::<f32>().to_vec().expect("f32");
                values.iter().any(|g| *g != 0.0) && values.iter().all(|g| g.is_finite())
            });
            self.without += usize::from(!some);
        }
    }
    let gradients = network.density(photo(32, 48)).powf_scalar(2.0).sum().backward();
    let mut seen = Seen { gradients: &gradients, without: 0 };
    network.visit(&mut seen);
    assert_eq!(seen.without, 0, "parameters without a gradient");
}

#[test]
fn every_parameter_learns() {
    learns(&SmallDensity::<Cpu>::new(&Default::default()));
    learns(&SmallDensity::<Same>::new(&Default::default()));
    learns(&TransformerDensity::<Cpu>::new(&Default::default()));
    learns(&TransformerDensity::<Same>::new(&Default::default()));
    learns(&VggDensity::new(VggTrunk::<Cpu>::new(VggDepth::Sixteen, &Default::default()), &Default::default()));
}

/// Burn's own interpolation, where it exists: weights of 1/4 and 3/4, so that 8 roundings of numbers up to 1 lie between.
#[test]
fn doubling_is_bilinear() {
    for shape in [[2, 3, 5, 4], [1, 1, 1, 1], [1, 2, 1, 7]] {
        let x = Tensor::<Flex, 4>::random(shape, Distribution::Uniform(0.0, 1.0), &Default::default());
        let options = InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(false);
        let wanted = interpolate(x.clone(), [2 * shape[2], 2 * shape[3]], options);
        let error = (doubled(x) - wanted).abs().max().into_scalar();
        assert!(error <= 8.0 * f32::EPSILON, "{shape:?}: {error}");
    }
}

#[test]
fn images_are_channels_first() {
    let colors = Image::from_u8(2, 1, 3, vec![0, 51, 102, 153, 204, 255]).expect("image");
    let values = image_tensor::<Flex>(&colors, &Default::default()).into_data().to_vec::<f32>().expect("f32");
    assert_eq!(values, [0, 153, 51, 204, 102, 255].map(|v| v as f32 / 255.0));
    let grey = Image::from_u8(1, 2, 1, vec![51, 255]).expect("image");
    let tensor = image_tensor::<Flex>(&grey, &Default::default());
    assert_eq!(tensor.dims(), [1, 3, 2, 1]);
    assert_eq!(tensor.into_data().to_vec::<f32>().expect("f32"), [0.2, 1.0, 0.2, 1.0, 0.2, 1.0]);
}

/// Two convolutions with something between them, as in `tests/data/make_pth.py`.
#[derive(Module, Debug)]
struct Two<B: Backend> {
    features: Vec<Conv2d<B>>,
}

const SHAPES: [(&str, &[usize]); 4] = [
    ("features.0.weight", &[2, 3, 3, 3]),
    ("features.0.bias", &[2]),
    ("features.2.weight", &[1, 2, 1, 1]),
    ("features.2.bias", &[1]),
];

fn two() -> Two<Flex> {
    let place = Default::default();
    Two {
        features: vec![Conv2dConfig::new([3, 2], [3, 3]).init(&place), Conv2dConfig::new([2, 1], [1, 1]).init(&place)],
    }
}

/// Element `i` of array `n`.
fn element(n: usize, i: usize) -> f32 {
    (100 * n + i) as f32 / 256.0
}

fn is_filled(two: &Two<Flex>) {
    let arrays = two
        .features
        .iter()
        .flat_map(|layer| [layer.weight.val().into_data(), layer.bias.as_ref().expect("bias").val().into_data()]);
    for (n, array) in arrays.enumerate() {
        let wanted: Vec<f32> = (0..array.num_elements()).map(|i| element(n, i)).collect();
        assert_eq!(array.to_vec::<f32>().expect("f32"), wanted, "array {n}");
    }
}

/// The arrays but for those named in `without`, as safetensors of a float, by the bytes of its numbers.
fn safetensors<const N: usize>(without: &str, float: safetensors::Dtype, bytes: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    let bytes: HashMap<&str, Vec<u8>> = SHAPES
        .iter()
        .enumerate()
        .map(|(n, (name, shape))| {
            let values = (0..shape.iter().product::<usize>()).flat_map(|i| bytes(element(n, i)));
            (*name, values.collect())
        })
        .collect();
    let view = |(name, shape): &(&'static str, &[usize])| {
        let view = safetensors::tensor::TensorView::new(float, shape.to_vec(), &bytes[name]);
        (*name, view.expect("view"))
    };
    let views: Vec<_> = SHAPES.iter().filter(|(name, _)| *name != without).map(view).collect();
    safetensors::serialize(views, None).expect("bytes")
}

fn single(without: &str) -> Vec<u8> {
    safetensors(without, safetensors::Dtype::F32, f32::to_le_bytes)
}

#[test]
fn weights_from_safetensors_and_torch() {
    is_filled(&load(two(), temporary("weights.safetensors", &single(""))).expect("safetensors"));
    is_filled(&load(two(), "tests/data/convolutions.pth").expect("torch"));
}

/// Elements are multiples of 1/256 below 2, which both floats hold; the network computes with them.
#[test]
fn weights_of_other_floats() {
    use safetensors::Dtype::{F16, F64};

    // The exponent's offset is 15 instead of 127, and 13 digits less follow.
    let bits = |value: f32| if value == 0.0 { 0 } else { (value.to_bits() >> 13) - (112 << 10) };
    let half = safetensors("", F16, |value| (bits(value) as u16).to_le_bytes());
    let double = safetensors("", F64, |value| f64::from(value).to_le_bytes());
    for (name, bytes) in [("half.safetensors", half), ("double.safetensors", double)] {
        let loaded = load(two(), temporary(name, &bytes)).expect(name);
        is_filled(&loaded);
        assert!(loaded.features.iter().all(|layer| layer.weight.val().dtype() == DType::F32));
        assert_eq!(loaded.features[0].forward(photo(5, 4)).dims(), [1, 2, 3, 2]);
    }
}

/// One line that names the file and what is wrong with it.
#[test]
fn weights_that_cannot_be_used() {
    let torch = fs::read("tests/data/convolutions.pth").expect("file");
    let whole = single("");
    let files: Vec<(&str, Vec<u8>, &str)> = vec![
        ("missing.safetensors", single("features.2.bias"), "features.1.bias"),
        ("short.safetensors", whole[..whole.len() - 5].to_vec(), ""),
        ("header.safetensors", whole[..6].to_vec(), ""),
        ("empty.safetensors", Vec::new(), ""),
        ("huge.safetensors", [&[0xff; 8][..], &whole[8..]].concat(), ""),
        ("short.pth", torch[..torch.len() / 2].to_vec(), ""),
        ("text.pt", b"no weights".to_vec(), ""),
        ("weights.npz", whole.clone(), "weights end in .safetensors, .pth or .pt"),
    ];
    for (name, bytes, reason) in files {
        let error = load(two(), temporary(name, &bytes)).expect_err(name);
        let text = error.to_string();
        assert!(matches!(error, Error::Format { .. }), "{name}: {error:?}");
        assert!(text.contains(name) && text.contains(reason) && !text.contains('\n'), "{text}");
    }
    assert!(matches!(load(two(), Path::new("nowhere.pth")), Err(Error::Read { .. })));
    let other = Two { features: vec![Conv2dConfig::new([3, 2], [3, 3]).init(&Default::default())] };
    is_filled(&load(other, "tests/data/convolutions.pth").expect("more than there is room for is passed over"));
    let wrong = Two::<Flex> { features: vec![Conv2dConfig::new([3, 4], [3, 3]).init(&Default::default())] };
    let error = load(wrong, "tests/data/convolutions.pth").expect_err("four channels");
    assert!(error.to_string().contains("features.0.weight"), "{error}");
}

/// The real trunk on a picture against NumPy in f64 (`scripts/check_vgg16.py`). Thirteen layers of sums of up to 4608 products, whose
/// roundings, of either sign, add up as the root of their number. Seen: 2.9e-7 of the largest feature.
#[test]
#[ignore = "needs what scripts/fetch_vgg16 fetches"]
fn the_real_vgg16() {
    let weights = Path::new("target/weights/vgg16.safetensors");
    let trunk = VggTrunk::<Flex>::new(VggDepth::Sixteen, &Default::default()).load(weights).expect("trunk");
    let bytes = fs::read("target/weights/vgg16_features.safetensors").expect("features");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let wanted = file.tensor("features").expect("features");
    let wanted: Vec<f32> = wanted.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let got = trunk.features(photo(32, 32)).into_data().to_vec::<f32>().expect("f32");
    let largest = wanted.iter().fold(0.0f32, |most, z| most.max(*z));
    assert_eq!((got.len(), wanted.len()), (512 * 4, 512 * 4));
    let error = got.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let tolerance = 13.0 * 4608f32.sqrt() * f32::EPSILON / 2.0 * largest;
    assert!(largest > 0.0 && error <= tolerance, "{error} of {largest}");
}

/// A network that is trained on one photo counts what is on it.
#[test]
fn a_small_network_learns_a_crop() {
    use burn_optim::{AdamConfig, GradientsParams, Optimizer};

    let of = crop(48, 32, &[[9.0, 9.5], [30.0, 20.0], [40.0, 22.0]]);
    Cpu::seed(&Default::default(), 1);
    let mut network = SmallDensity::<Cpu>::new(&Default::default());
    let mut adam = AdamConfig::new().init();
    let mut values = Vec::new();
    for _ in 0..60 {
        let loss = splatport::burn::loss(&of, &[network.density(photo(32, 48))]).expect("loss");
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        values.push(loss.into_scalar());
        network = adam.step(0.003, network, gradients);
    }
    let last = values[50..].iter().sum::<f32>() / 10.0;
    assert!(last < 0.5 * values[0], "{values:?}");
}

/// Rows and columns that it is shown, in the first and second channel.
#[derive(Module, Debug)]
struct Extent<B: Backend> {
    backend: PhantomData<B>,
}

impl<B: Backend> DensityNetwork<B> for Extent<B> {
    fn density(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let [_, _, height, width] = images.dims();
        let cells = [1, 1, height.div_ceil(8), width.div_ceil(8)];
        let full = |value: usize| Tensor::full(cells, value as f64, &images.device());
        Tensor::cat(vec![full(height), full(width)], 1)
    }
}

#[test]
fn windows_cover_a_photo_and_are_averaged() -> splatport::Result<()> {
    let photo = Image::from_u8(100, 60, 1, vec![0; 6000])?;
    let network = Extent::<Flex> { backend: PhantomData };
    let windows = |side, step| predict(&network, &photo, Some(Windows { side, step }), &Default::default());
    // 13 x 8 cells. Windows start at cells 0, 4 and 5 of a row, the last one ends at the photo's edge, px 100; at 0 of a column.
    let seen = windows(64, 32)?;
    assert_eq!(seen.len(), 2 * 13 * 8);
    assert!(seen[..13 * 8].iter().all(|height| *height == 60.0));
    let widths = [[64.0; 4].as_slice(), &[64.0], &[(64.0 + 64.0 + 60.0) / 3.0; 3], &[62.0; 4], &[60.0]].concat();
    assert!(seen[13 * 8..].chunks_exact(13).all(|row| row == widths), "{:?}", &seen[13 * 8..][..13]);
    // A window that holds the photo is the photo.
    assert_eq!(windows(128, 64)?, predict(&network, &photo, None, &Default::default())?);
    for (side, step) in [(60, 8), (64, 0), (64, 72), (0, 0)] {
        assert!(matches!(windows(side, step), Err(Error::Option { .. })), "{side} {step}");
    }
    Ok(())
}

#[test]
fn far_from_their_borders_windows_say_what_the_photo_says() -> splatport::Result<()> {
    let values: Vec<u8> = (0..480 * 64).map(|i| (i * 37 % 251) as u8).collect();
    let photo = Image::from_u8(480, 64, 1, values)?;
    Flex::seed(&Default::default(), 3);
    let network = SmallDensity::<Flex>::with_channels(2, &Default::default());
    let whole = predict(&network, &photo, None, &Default::default())?;
    let parts = predict(&network, &photo, Some(Windows { side: 256, step: 128 }), &Default::default())?;
    assert_eq!(whole.len(), 2 * 60 * 8);
    // The first 16 of 60 columns are in one window only, which ends at column 32. A cell sees 111 px, 7 cells to either side: the
    // same numbers go in, and what differs is the order of some 300 terms a layer.
    let largest = whole.iter().fold(0.0f32, |most, z| most.max(*z));
    let differ = |column: usize| {
        let of = |values: &[f32]| values.chunks_exact(60).map(|row| row[column]).collect::<Vec<_>>();
        of(&whole).iter().zip(of(&parts)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!((0..16).all(|column| differ(column) <= 300.0 * f32::EPSILON * largest));
    assert!((16..60).any(|column| differ(column) > 1e-3 * largest));
    Ok(())
}
