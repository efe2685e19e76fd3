//! A photo on the host, with one or three channels of eight bits or floating point.

mod decode;

use std::fmt;
use std::fs;
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ColorType, ImageEncoder, ImageFormat};

use crate::error::{Error, Result, check_finite, check_length, check_sides};
use crate::io::atomic;

/// The largest value of a 16-bit sample.
const FULL_16: f32 = u16::MAX as f32;

/// An image of `height` rows of `width` pixels, row-major, channels interleaved.
///
/// The center of the top-left pixel is (0.5, 0.5), x to the right, y down. Values are as in the file, without any color
/// conversion.
///
/// ```
/// use splatport::Image;
///
/// let image = Image::from_u8(2, 1, 1, vec![0, 255])?;
/// assert_eq!((image.width(), image.height(), image.channels()), (2, 1, 1));
/// assert_eq!(image.to_f32(), [0.0, 1.0]);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Image {
    width: u32,
    height: u32,
    channels: u8,
    pixels: Pixels,
}

/// The samples of an [`Image`]: `height * width * channels` values.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Pixels {
    /// Eight bits per sample, 0 to 255.
    U8(Vec<u8>),
    /// Floating point, 0 to 1.
    F32(Vec<f32>),
}

impl fmt::Debug for Image {
    // A derived one would print every pixel.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { width, height, channels, pixels } = self;
        let sample = match pixels {
            Pixels::U8(_) => "u8",
            Pixels::F32(_) => "f32",
        };
        write!(f, "Image({width} x {height} px, {channels} x {sample})")
    }
}

impl Image {
    /// Reads a PNG or JPEG file. The format is recognized by the file's content, not its name.
    ///
    /// Gray stays one channel, a palette becomes RGB, alpha is dropped, 16 bits become `f32` in 0..=1. A truncated file
    /// is an error. The rotation in a camera's EXIF data is not applied: annotations refer to the pixels as they are
    /// stored.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read or decoded.
    ///
    /// ```
    /// use splatport::{Image, Pixels};
    ///
    /// let path = std::env::temp_dir().join("splatport-doc-image.png");
    /// Image::from_u8(1, 2, 3, vec![1, 2, 3, 4, 5, 6])?.save(&path)?;
    /// assert_eq!(Image::open(&path)?.pixels(), &Pixels::U8(vec![1, 2, 3, 4, 5, 6]));
    /// # Ok::<(), splatport::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|error| Error::read(path, error))?;
        let named = ImageFormat::from_path(path).ok();
        let decoded = decode::decode(&bytes, named).map_err(|error| Error::read(path, error))?;
        Self::new(decoded.width, decoded.height, decoded.channels, decoded.pixels).map_err(|error| error.within(path))
    }

    /// Decodes the bytes of a PNG or JPEG file, as [`open`](Self::open) does.
    ///
    /// # Errors
    /// [`Error::Decode`] if the bytes are not such a file, or not a complete one.
    ///
    /// ```
    /// use splatport::Image;
    ///
    /// let path = std::env::temp_dir().join("splatport-doc-decode.png");
    /// let image = Image::from_u8(2, 1, 1, vec![7, 9])?;
    /// image.save(&path)?;
    /// assert_eq!(Image::decode(&std::fs::read(&path).expect("a file"))?, image);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let decoded = decode::decode(bytes, None).map_err(|source| Error::Decode { what: "image", source })?;
        Self::new(decoded.width, decoded.height, decoded.channels, decoded.pixels)
    }

    /// An image of eight-bit samples: `pixels` holds `height * width * channels` values.
    ///
    /// # Errors
    /// [`Error::Empty`] without any pixel, [`Error::Channels`] unless `channels` is 1 or 3,
    /// [`Error::Length`] if `pixels` has another length.
    pub fn from_u8(width: u32, height: u32, channels: u8, pixels: impl Into<Vec<u8>>) -> Result<Self> {
        Self::new(width, height, channels, Pixels::U8(pixels.into()))
    }

    /// An image of floating-point samples in 0..=1: `pixels` holds `height * width * channels`
    /// values.
    ///
    /// # Errors
    /// As [`from_u8`](Self::from_u8), and [`Error::NotFinite`] or [`Error::OutOfRange`] with the
    /// index of the first sample that is wrong.
    pub fn from_f32(width: u32, height: u32, channels: u8, pixels: &[f32]) -> Result<Self> {
        let image = Self::new(width, height, channels, Pixels::F32(pixels.to_vec()))?;
        check_finite("pixels", 1, pixels)?;
        match pixels.iter().position(|value| !(0.0..=1.0).contains(value)) {
            None => Ok(image),
            Some(index) => {
                let value = f64::from(pixels[index]);
                Err(Error::OutOfRange { what: "pixels", index, value, min: 0.0, max: 1.0 })
            }
        }
    }

    fn new(width: u32, height: u32, channels: u8, pixels: Pixels) -> Result<Self> {
        check_sides([width, height], ["width of the image", "height of the image"])?;
        if channels != 1 && channels != 3 {
            return Err(Error::Channels { got: channels.into() });
        }
        let got = match &pixels {
            Pixels::U8(values) => values.len(),
            Pixels::F32(values) => values.len(),
        };
        check_length("pixels", samples(width, height, channels), got)?;
        Ok(Self { width, height, channels, pixels })
    }

    /// The number of columns, px.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The number of rows, px.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The number of samples per pixel: 1 (gray) or 3 (red, green, blue).
    pub fn channels(&self) -> u8 {
        self.channels
    }

    /// The samples, `height * width * channels`, as they are stored.
    pub fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    /// The samples in 0..=1, `height * width * channels`. Eight-bit samples are divided by 255.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.pixels {
            Pixels::U8(values) => values.iter().map(|&value| f32::from(value) / 255.0).collect(),
            Pixels::F32(values) => values.clone(),
        }
    }

    /// One of the samples of [`to_f32`](Self::to_f32).
    pub(crate) fn sample(&self, index: usize) -> f32 {
        match &self.pixels {
            Pixels::U8(values) => f32::from(values[index]) / 255.0,
            Pixels::F32(values) => values[index],
        }
    }

    /// Writes a PNG file, completely or not at all: eight bits per sample, or 16 for floating point.
    ///
    /// # Errors
    /// [`Error::Write`] if the file cannot be written; a file already at `path` is then unchanged.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        atomic::write(path.as_ref(), |file| {
            let (bytes, color) = self.to_bytes();
            let encoder = PngEncoder::new(file);
            Ok(encoder.write_image(&bytes, self.width, self.height, color.into())?)
        })
    }

    /// The samples as the encoder needs them: native-endian bytes.
    fn to_bytes(&self) -> (Vec<u8>, ColorType) {
        match (&self.pixels, self.channels) {
            (Pixels::U8(values), 1) => (values.clone(), ColorType::L8),
            (Pixels::U8(values), _) => (values.clone(), ColorType::Rgb8),
            (Pixels::F32(values), channels) => {
                let wide = values.iter().map(|value| (value * FULL_16).round() as u16);
                let color = if channels == 1 { ColorType::L16 } else { ColorType::Rgb16 };
                (wide.flat_map(u16::to_ne_bytes).collect(), color)
            }
        }
    }
}

/// The number of samples of an image. It saturates, so that a size beyond memory gives a wrong length instead of
/// wrapping around.
fn samples(width: u32, height: u32, channels: u8) -> usize {
    (width as usize).saturating_mul(height as usize).saturating_mul(channels.into())
}
