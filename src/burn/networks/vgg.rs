//! The paper's network: VGG-19 with a density head.

use std::path::Path;

use burn_core as burn;
use burn_core::{
    module::Module,
    tensor::{Tensor, TensorData, activation::relu, backend::Backend, module::max_pool2d},
};
use burn_nn::{
    PaddingConfig2d,
    conv::{Conv2d, Conv2dConfig},
};

use super::{DensityNetwork, STRIDE, doubled, load, padded};
use crate::Result;

/// Which VGG network (Simonyan and Zisserman, 2015, configurations D and E).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VggDepth {
    /// 13 convolutions.
    Sixteen,
    /// 16 convolutions: the paper's.
    Nineteen,
}

impl VggDepth {
    /// 3 x 3 convolutions before each of the five pools.
    fn stages(self) -> [usize; 5] {
        match self {
            Self::Sixteen => [2, 2, 3, 3, 3],
            Self::Nineteen => [2, 2, 4, 4, 4],
        }
    }
}

/// Channels of the five stages.
const CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];

/// The side of its cells, px: four pools; the fifth is left out.
const TRUNK_STRIDE: usize = 16;

/// The convolutions of a VGG network up to its last pool, which is left out.
#[derive(Module, Debug)]
pub struct VggTrunk<B: Backend> {
    features: Vec<Conv2d<B>>,
    /// The convolutions before each pool.
    stages: [usize; 5],
}

impl<B: Backend> VggTrunk<B> {
    /// The trunk with random weights.
    pub fn new(depth: VggDepth, place: &B::Device) -> Self {
        let stages = depth.stages();
        let widths: Vec<usize> = stages.iter().zip(CHANNELS).flat_map(|(&n, width)| vec![width; n]).collect();
        let from = std::iter::once(3).chain(widths.iter().copied());
        let features = from.zip(&widths).map(|(from, &to)| same(from, to, 3, place)).collect();
        Self { features, stages }
    }

    /// Loads weights by [`load`](fn@load) from a file with torchvision's names, `features.N.weight` and
    /// `features.N.bias`, and the convolutions' shapes `[out, in, 3, 3]`. The file's classifier is ignored.
    ///
    /// # Errors
    /// As [`load`](fn@load).
    pub fn load(self, path: impl AsRef<Path>) -> Result<Self> {
        load::<B, _>(self, path)
    }

    /// The features of images, `[images, 3, height, width]` in 0..1, as
    /// `[images, 512, ceil(height / 16), ceil(width / 16)]`. Images are normalized as torchvision's weights expect.
    pub fn features(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let mut x = padded(normalised(images), TRUNK_STRIDE);
        let mut layers = self.features.iter();
        for (stage, &convolutions) in self.stages.iter().enumerate() {
            if stage > 0 {
                x = max_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], false);
            }
            x = layers.by_ref().take(convolutions).fold(x, |x, layer| relu(layer.forward(x)));
        }
        x
    }
}

/// VGG's trunk, upsampled by 2 to cells of 8 px, followed by three convolutions and the absolute value of their one
/// channel.
///
/// The head is that of Ma et al. (*Bayesian Loss for Crowd Count Estimation*, ICCV 2019): 3 x 3 to 256, 3 x 3 to 128, 1
/// x 1 to 1. The paper says no more than VGG-19 with ImageNet weights.
#[derive(Module, Debug)]
pub struct VggDensity<B: Backend> {
    trunk: VggTrunk<B>,
    regression: Vec<Conv2d<B>>,
}

impl<B: Backend> VggDensity<B> {
    /// The trunk, pretrained or not, with a random head.
    pub fn new(trunk: VggTrunk<B>, place: &B::Device) -> Self {
        Self { trunk, regression: vec![same(512, 256, 3, place), same(256, 128, 3, place), same(128, 1, 1, place)] }
    }
}

impl<B: Backend> DensityNetwork<B> for VggDensity<B> {
    fn density(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let [_, _, height, width] = images.dims();
        let cells = |size: usize| size.div_ceil(STRIDE as usize);
        let mut x = doubled(self.trunk.features(images));
        for (index, layer) in self.regression.iter().enumerate() {
            x = if index == 0 { x } else { relu(x) };
            x = layer.forward(x);
        }
        x.abs().narrow(2, 0, cells(height)).narrow(3, 0, cells(width))
    }
}

/// A convolution that keeps the size.
fn same<B: Backend>(from: usize, to: usize, side: usize, place: &B::Device) -> Conv2d<B> {
    let pad = side / 2;
    Conv2dConfig::new([from, to], [side, side]).with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad)).init(place)
}

/// Mean and standard deviation of ImageNet's channels, with which torchvision's networks were trained.
fn normalised<B: Backend>(images: Tensor<B, 4>) -> Tensor<B, 4> {
    let place = images.device();
    let channels = |values: [f32; 3]| Tensor::<B, 4>::from_data(TensorData::new(values.to_vec(), [1, 3, 1, 1]), &place);
    (images - channels([0.485, 0.456, 0.406])) / channels([0.229, 0.224, 0.225])
}
