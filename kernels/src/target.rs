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
/// Pixels that a unit packs: the bytes of this many pixels are a whole number of words.
const QUAD: u32 = 4;

impl<R: Runtime, F: Real> Target<R, F> {
    /// Copies any numbers, `[pixels, channels]`.
    ///
    /// # Errors
    /// [`crate::Error::NoRoom`] when the device has no buffer for them.
    pub fn of_values<P: Precision<Real = F>>(device: &Device<R, P>, values: &[f64]) -> Result<Self> {
        device.check_room::<F>("photo", values.len())?;
        Ok(Self::Plain(device.upload_f64(values)))
    }

    /// Packs `background - photo`, both `[pixels, channels]` levels of 1/255 with 1 or 3 channels; without a background, on black.
    ///
    /// # Errors
    /// As [`Target::of_photos`].
    pub fn of_levels<P: Precision<Real = F>>(
        device: &Device<R, P>,
        background: Option<&[u8]>,
        photo: &[u8],
        channels: u32,
    ) -> Result<Self> {
        Self::of_photos(device, background.map(|background| vec![background]), &[photo], channels)
    }

    /// The same for many photos, one after the other, with their backgrounds or all on black. The bytes are uploaded as they
    /// are and packed on the device.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when photos and backgrounds disagree or are no whole number of pixels; [`crate::Error::NoRoom`]
    /// when the device has no buffer for them.
    pub fn of_photos<P: Precision<Real = F>>(
        device: &Device<R, P>,
        backgrounds: Option<Vec<&[u8]>>,
        photos: &[&[u8]],
        channels: u32,
    ) -> Result<Self> {
        let length = |expected: usize, got: usize| match got == expected {
            true => Ok(()),
            false => Err(crate::Error::Length { what: "levels of a photo", expected, got }),
        };
        if let Some(backgrounds) = &backgrounds {
            length(photos.len(), backgrounds.len())?;
            photos.iter().zip(backgrounds).try_for_each(|(photo, background)| length(photo.len(), background.len()))?;
        }
        let whole = |photo: &&[u8]| length(photo.len(), photo.len() / channels as usize * channels as usize);
        photos.iter().try_for_each(whole)?;
        let pixels = photos.iter().map(|photo| photo.len()).sum::<usize>() / channels as usize;
        let words: Buffer<R, u32> = device.room("photo", pixels)?;
        if pixels > 0 {
            // Whole quads of pixels: a unit reads no further.
            let quad = QUAD as usize * channels as usize;
            let photo = device.upload_bytes(photos, quad);
            // Never read where there is none.
            let background = backgrounds.as_ref().map_or_else(|| device.uninit(1), |b| device.upload_bytes(b, quad));
            let (cubes, dim) = device.per_unit(pixels.div_ceil(QUAD as usize));
            let (client, black) = (device.client(), backgrounds.is_none());
            pack::launch::<R>(client, cubes, dim, background.arg(), photo.arg(), words.arg(), channels, black);
        }
        Ok(Self::Packed(words))
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

/// One unit per quad of pixels, whose bytes are `channels` words, the first byte in the lowest bits.
#[cube(launch)]
fn pack(
    background: &Array<u32>,
    photo: &Array<u32>,
    words: &mut Array<u32>,
    #[comptime] channels: u32,
    #[comptime] black: bool,
) {
    #[unroll]
    for pixel in 0..QUAD {
        let at = ABSOLUTE_POS * comptime!(QUAD as usize) + pixel as usize;
        if at < words.len() {
            let mut word = 0u32;
            #[unroll]
            for channel in 0..channels {
                let byte = comptime!(pixel * channels + channel);
                let from = ABSOLUTE_POS * comptime!(channels as usize) + comptime!((byte / 4) as usize);
                let shift = comptime!(byte % 4 * 8);
                let mut field = OFFSET - ((photo[from] >> shift) & 255);
                if comptime!(!black) {
                    field += (background[from] >> shift) & 255;
                }
                word |= field << comptime!(BITS * channel);
            }
            words[at] = word;
        }
    }
}
