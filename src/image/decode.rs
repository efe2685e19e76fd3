//! Samples from the bytes of a PNG or JPEG file.

use std::io::Cursor;

use image::{ColorType, DynamicImage, ImageFormat, ImageReader};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{FULL_16, Pixels};
use crate::error::Source;

/// The most memory a decoder may take, in bytes. A photo of 30 000 x 30 000 px fits; a small file that claims to unpack
/// to more is refused rather than followed.
const LIMIT: u64 = 4 << 30;

/// What a file holds.
pub(super) struct Decoded {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) channels: u8,
    pub(super) pixels: Pixels,
}

/// Decodes a file by its content; only what no signature tells apart is left to the name.
pub(super) fn decode(bytes: &[u8], named: Option<ImageFormat>) -> Result<Decoded, Source> {
    let format = image::guess_format(bytes).ok().or(named);
    if format == Some(ImageFormat::Jpeg) {
        return jpeg(bytes);
    }
    let mut reader = ImageReader::new(Cursor::new(bytes));
    if let Some(format) = format {
        reader.set_format(format);
    }
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(LIMIT);
    reader.limits(limits);
    Ok(opaque(reader.decode()?))
}

/// Decodes a JPEG file strictly. `image` uses the same decoder, but fills what a truncated file lacks with grey and
/// says nothing.
fn jpeg(bytes: &[u8]) -> Result<Decoded, Source> {
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers()?;
    let (width, height) = decoder.dimensions().ok_or("no size")?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (space, channels) = if grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    if (width as u64).saturating_mul(height as u64).saturating_mul(channels.into()) > LIMIT {
        return Err(format!("{width} x {height} px take more than {LIMIT} bytes").into());
    }
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let pixels = Pixels::U8(decoder.decode()?);
    Ok(Decoded { width: u32::try_from(width)?, height: u32::try_from(height)?, channels, pixels })
}

/// Without alpha, with 16 bits as `f32`.
fn opaque(image: DynamicImage) -> Decoded {
    let (width, height, color) = (image.width(), image.height(), image.color());
    let stored = usize::from(color.channel_count());
    let channels = if color.has_color() { 3 } else { 1 };
    let pixels = match color {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => {
            Pixels::U8(without_alpha(image.into_bytes(), stored, channels))
        }
        ColorType::L16 | ColorType::La16 => unit_range(image.into_luma_alpha16().into_raw(), 2),
        _ => unit_range(image.into_rgba16().into_raw(), 4),
    };
    Decoded { width, height, channels: channels as u8, pixels }
}

/// The first `keep` of every `stored` samples.
fn without_alpha<T: Copy>(values: Vec<T>, stored: usize, keep: usize) -> Vec<T> {
    if stored == keep {
        return values;
    }
    values.chunks_exact(stored).flat_map(|pixel| &pixel[..keep]).copied().collect()
}

/// 16-bit samples with alpha as `f32` in 0..=1 without it.
fn unit_range(values: Vec<u16>, stored: usize) -> Pixels {
    let opaque = without_alpha(values, stored, stored - 1);
    Pixels::F32(opaque.into_iter().map(|value| f32::from(value) / FULL_16).collect())
}
