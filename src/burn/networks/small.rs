//! A small network for CPUs.

use burn_core as burn;
use burn_core::{
    module::Module,
    tensor::{Tensor, activation::relu, backend::Backend},
};
use burn_nn::{
    PaddingConfig2d,
    conv::{Conv2d, Conv2dConfig},
};

use super::{DensityNetwork, STRIDE, padded};

/// The channels between the layers.
pub(super) const WIDTH: usize = 32;

/// Three 3 x 3 convolutions of stride 2: cells of 8 px with 32 channels.
#[derive(Module, Debug)]
pub struct Stem<B: Backend> {
    layers: Vec<Conv2d<B>>,
}

impl<B: Backend> Stem<B> {
    pub(super) fn new(place: &B::Device) -> Self {
        let layer = |(from, to): (usize, usize)| {
            let halving = Conv2dConfig::new([from, to], [3, 3]).with_stride([2, 2]);
            halving.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(place)
        };
        Self { layers: [(3, WIDTH / 2), (WIDTH / 2, WIDTH), (WIDTH, WIDTH)].into_iter().map(layer).collect() }
    }

    /// `[images, 32, ceil(height / 8), ceil(width / 8)]`.
    pub(super) fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        // Mid-gray becomes 0, so that a photo's values have both signs.
        let images = padded(images, STRIDE as usize) * 2.0 - 1.0;
        self.layers.iter().fold(images, |x, layer| relu(layer.forward(x)))
    }
}

/// A fully convolutional network of 33 thousand parameters, light enough for a CPU.
///
/// It consists of [`Stem`], two 3 x 3 convolutions of dilation 2 and 4, one of 1 x 1, and the absolute value. A cell
/// sees an area of the image that is 111 px wide.
#[derive(Module, Debug)]
pub struct SmallDensity<B: Backend> {
    stem: Stem<B>,
    wide: Vec<Conv2d<B>>,
    head: Conv2d<B>,
}

impl<B: Backend> SmallDensity<B> {
    /// The network with random weights, by the seed of `B`.
    pub fn new(place: &B::Device) -> Self {
        Self::with_channels(1, place)
    }

    /// The network with one density per channel, for example one per joint.
    pub fn with_channels(channels: usize, place: &B::Device) -> Self {
        let wide = |dilation: usize| {
            let wide = Conv2dConfig::new([WIDTH, WIDTH], [3, 3]).with_dilation([dilation; 2]);
            wide.with_padding(PaddingConfig2d::Explicit(dilation, dilation, dilation, dilation)).init(place)
        };
        Self { stem: Stem::new(place), wide: [2, 4].map(wide).into(), head: head(channels, place) }
    }
}

impl<B: Backend> DensityNetwork<B> for SmallDensity<B> {
    fn density(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let features = self.wide.iter().fold(self.stem.forward(images), |x, layer| relu(layer.forward(x)));
        positive(&self.head, features)
    }
}

/// From features to one number per cell and channel.
pub(super) fn head<B: Backend>(channels: usize, place: &B::Device) -> Conv2d<B> {
    Conv2dConfig::new([WIDTH, channels], [1, 1]).init(place)
}

/// The density of a head: the absolute value, whose slope is 1 everywhere. With Softplus, which was tried, an L1 loss
/// that pushes most cells to 0 pulled all of them there, where the slope of Softplus is 0.
pub(super) fn positive<B: Backend>(head: &Conv2d<B>, features: Tensor<B, 4>) -> Tensor<B, 4> {
    head.forward(features).abs()
}
