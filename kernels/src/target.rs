//! What a fit's residual is without a Gaussian: background minus photo.

use cubecl::prelude::*;

use crate::{
    Result,
    buffer::Buffer,
    device::Device,
    real::{Precision, Quad, Real},
};

/// Background minus photo, one residual per pixel and channel.
#[derive(Debug)]
pub enum Target<R: Runtime, F: Real> {
    /// Any numbers, `[pixels, channels]`.
    Plain(Buffer<R, F>),
    /// Differences of 8-bit levels, ten bits a channel, `[pixels]`: nothing is lost, and it is a third of the memory.
    Packed(Buffer<R, u32>),
}

/// Added to a difference of levels before it is packed.
const OFFSET: u32 = 512;
const BITS: u32 = 10;

impl<R: Runtime, F: Real> Target<R, F> {
    /// Copies any numbers, `[pixels, channels]`.
    ///
    /// # Errors
    /// [`crate::Error::NoRoom`] when the device has no buffer for them.
    pub fn of_values<P: Precision<Real = F>>(device: &Device<R, P>, values: &[f64]) -> Result<Self> {
        device.check_room::<F>("photo", values.len())?;
        Ok(Self::Plain(device.upload_f64(values)))
    }

    /// Packs `background - photo`, both `[pixels, channels]` levels of 1/255 with 1 or 3 channels.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when they disagree or are no whole number of pixels; [`crate::Error::NoRoom`] when the device
    /// has no buffer for them.
    pub fn of_levels<P: Precision<Real = F>>(
        device: &Device<R, P>,
        background: &[u8],
        photo: &[u8],
        channels: u32,
    ) -> Result<Self> {
        let pixels = photo.len() / channels as usize;
        for got in [background.len(), pixels * channels as usize] {
            if got != photo.len() {
                return Err(crate::Error::Length { what: "levels of a photo", expected: photo.len(), got });
            }
        }
        device.check_room::<u32>("photo", pixels)?;
        let pairs = background.chunks_exact(channels as usize).zip(photo.chunks_exact(channels as usize));
        let word = |(background, photo): (&[u8], &[u8])| {
            let fields = background.iter().zip(photo).map(|(&b, &p)| OFFSET + u32::from(b) - u32::from(p));
            fields.rev().fold(0, |word, field| word << BITS | field)
        };
        Ok(Self::Packed(device.upload(&pairs.map(word).collect::<Vec<u32>>())))
    }

    /// Bytes of device memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Plain(values) => values.bytes(),
            Self::Packed(words) => words.bytes(),
        }
    }

    pub(crate) fn check(&self, pixels: usize, channels: u32) -> Result<()> {
        match self {
            Self::Plain(values) => values.expect("target", pixels * channels as usize),
            Self::Packed(words) => words.expect("target", pixels),
        }
    }
}

/// Three channels of one pixel, and zero.
#[cube]
pub(crate) fn target_at<F: Real, T: Numeric>(
    target: &Array<T>,
    pixel: usize,
    #[comptime] channels: u32,
    #[comptime] packed: bool,
) -> Quad<F> {
    let mut values = Quad::<F>::new(F::new(0.0));
    if comptime!(packed) {
        let word = u32::cast_from(target[pixel]);
        #[unroll]
        for c in 0..comptime!(channels as usize) {
            let field = (word >> comptime!(BITS * c as u32)) & comptime!((1 << BITS) - 1);
            // The quotient is a constant: a division is as dear as a Gaussian.
            values[c] = (F::cast_from(field) - F::cast_from(OFFSET)) * (F::new(1.0) / F::new(255.0));
        }
    } else {
        #[unroll]
        for c in 0..comptime!(channels as usize) {
            values[c] = F::cast_from(target[pixel * comptime!(channels as usize) + c]);
        }
    }
    values
}
