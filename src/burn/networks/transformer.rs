//! A small transformer.

use burn_core as burn;
use burn_core::{
    module::Module,
    tensor::{Tensor, backend::Backend},
};
use burn_nn::{
    PaddingConfig2d,
    conv::{Conv2d, Conv2dConfig},
    transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput},
};

use super::{
    DensityNetwork,
    small::{Stem, WIDTH, head, positive},
};

/// Attention over all cells of a crop: [`Stem`], a 1 x 1 convolution to 64 channels, two layers of 4 heads, and a
/// density head.
///
/// Positions come from a depthwise 3 x 3 convolution, whose zero padding tells where the border is, so images may have
/// any size. Memory grows with the square of the number of cells, which is 256 for a crop of 128 px and 4096 for one of
/// 512.
#[derive(Module, Debug)]
pub struct TransformerDensity<B: Backend> {
    stem: Stem<B>,
    enter: Conv2d<B>,
    position: Conv2d<B>,
    layers: TransformerEncoder<B>,
    leave: Conv2d<B>,
    head: Conv2d<B>,
}

/// Channels of a token.
const TOKEN: usize = 64;

impl<B: Backend> TransformerDensity<B> {
    /// The network with random weights, by the seed of `B`. It has no dropout, so that a step depends on nothing but
    /// its input.
    pub fn new(place: &B::Device) -> Self {
        let position = Conv2dConfig::new([TOKEN, TOKEN], [3, 3]).with_groups(TOKEN);
        let layers = TransformerEncoderConfig::new(TOKEN, 2 * TOKEN, 4, 2).with_dropout(0.0).with_norm_first(true);
        Self {
            stem: Stem::new(place),
            enter: Conv2dConfig::new([WIDTH, TOKEN], [1, 1]).init(place),
            position: position.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(place),
            layers: layers.init(place),
            leave: Conv2dConfig::new([TOKEN, WIDTH], [1, 1]).init(place),
            head: head(1, place),
        }
    }
}

impl<B: Backend> DensityNetwork<B> for TransformerDensity<B> {
    fn density(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let features = self.enter.forward(self.stem.forward(images));
        let features = features.clone() + self.position.forward(features);
        let [images, _, rows, columns] = features.dims();
        let tokens = features.flatten::<3>(2, 3).swap_dims(1, 2);
        let tokens = self.layers.forward(TransformerEncoderInput::new(tokens));
        let features = tokens.swap_dims(1, 2).reshape([images, TOKEN, rows, columns]);
        positive(&self.head, self.leave.forward(features))
    }
}
