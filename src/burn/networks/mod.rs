//! Networks that predict a density with one entry per cell of 8 x 8 px.
//!
//! | network | parameters | for |
//! |---|---:|---|
//! | [`SmallDensity`] | 33 thousand | CPUs: three halving convolutions, two dilated ones, a head |
//! | [`TransformerDensity`] | 86 thousand | small crops: the same stem, two layers of attention over its cells |
//! | [`VggDensity`] | 21.5 million | the paper's: VGG-19's trunk, whose pretrained weights [`VggTrunk::load`] reads |

mod small;
mod transformer;
mod vgg;
mod weights;

use burn_core::{
    module::Module,
    tensor::{Tensor, TensorData, backend::Backend, ops::PadMode},
};

pub use small::{SmallDensity, Stem};
pub use transformer::TransformerDensity;
pub use vgg::{VggDensity, VggDepth, VggTrunk};
pub use weights::load;

use crate::Image;

/// Side of a cell of every network here, px.
pub const STRIDE: u32 = 8;

/// A network whose output is a density.
pub trait DensityNetwork<B: Backend>: Module<B> {
    /// The density of images, `[images, 3, height, width]` in 0..1, as
    /// `[images, channels, ceil(height / 8), ceil(width / 8)]`, mass per cell, never negative; one channel unless
    /// stated otherwise. The cells are those of [`Grid::over`](crate::Grid::over) with [`STRIDE`].
    fn density(&self, images: Tensor<B, 4>) -> Tensor<B, 4>;
}

/// An image as a tensor `[1, 3, height, width]`, values in 0..1; a gray channel is repeated.
pub fn image_tensor<B: Backend>(image: &Image, place: &B::Device) -> Tensor<B, 4> {
    let (height, width, channels) = (image.height() as usize, image.width() as usize, image.channels() as usize);
    let data = TensorData::new(image.to_f32(), [1, height, width, channels]);
    let tensor = Tensor::<B, 4>::from_data(data, place).permute([0, 3, 1, 2]);
    if channels == 1 { tensor.repeat_dim(1, 3) } else { tensor }
}

/// Pads with zeros at the right and at the bottom, up to the next multiple of `side` px.
fn padded<B: Backend>(images: Tensor<B, 4>, side: usize) -> Tensor<B, 4> {
    let [_, _, height, width] = images.dims();
    let missing = |size: usize| size.next_multiple_of(side) - size;
    match [missing(height), missing(width)] {
        [0, 0] => images,
        [bottom, right] => images.pad([(0, bottom), (0, right)], PadMode::Constant(0.0)),
    }
}

/// Doubles the rows and columns: linear between the centers, constant beyond the outermost ones.
///
/// Burn's bilinear interpolation is the same function, but has no backward pass on CubeCL (0.21).
pub fn doubled<B: Backend>(images: Tensor<B, 4>) -> Tensor<B, 4> {
    [2, 3].into_iter().fold(images, |x, axis| {
        let mut dims = x.dims();
        let size = dims[axis];
        let mut reach = [(0, 0); 4];
        reach[axis] = (1, 1);
        let wide = x.clone().pad(reach, PadMode::Edge);
        let (before, after) = (wide.clone().narrow(axis, 0, size), wide.narrow(axis, 2, size));
        let own = x * 0.75;
        dims[axis] *= 2;
        Tensor::stack::<5>(vec![own.clone() + before * 0.25, own + after * 0.25], axis + 1).reshape(dims)
    })
}
