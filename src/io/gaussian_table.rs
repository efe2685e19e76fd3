//! Files of the Gaussians of a splat.

use std::path::Path;

use super::format::{self, Entry, Input};
use crate::error::{Error, Result, check_finite, check_length, check_sides};
use crate::splat::{Share, mixture::check as check_shares};

/// The `n` Gaussians of one image exactly as the device holds them; a file keeps every bit.
///
/// | array | type | shape |
/// |---|---|---|
/// | `means` | float, px | `[n, 2]` |
/// | `scales` | float, px | `[n, 2]` |
/// | `rotations` | float, rad | `[n]` |
/// | `colors` | float | `[n, channels]` |
/// | `opacities` | float | `[n]` |
/// | `free` | `u32` | `[]` |
/// | `share_annotations`, `share_gaussians` | `u32`, of a [mixture](crate::Splat::mixed) only | `[shares]` |
/// | `share_weights` | `f32`, of a mixture only | `[shares]` |
/// | `size` | `u32`, px: width, height | `[2]` |
/// | `profile` | text | `[]` |
/// | `origin` | text, optional | `[]` |
/// | `version` | `u32`, [`VERSION`](super::VERSION) | `[]` |
///
/// `numpy.load` reads all of them from a `.npz` file without pickles. A safetensors file has the same arrays, with
/// texts as UTF-8 bytes of type `u8`; its metadata entry `crc32` is the CRC-32 of the bytes of all arrays in the order
/// of their names. A float array is `f32` where that keeps every bit, otherwise `f64`. `n` may be 0.
///
/// ```
/// use splatport::GaussianTable;
///
/// let table = GaussianTable {
///     means: vec![[10.5, 20.25]],
///     scales: vec![[2.0, 1.0]],
///     rotations: vec![0.5],
///     colors: vec![0.75],
///     channels: 1,
///     opacities: vec![1.0],
///     free: 0,
///     shares: vec![],
///     profile: "recommended".into(),
///     width: 64,
///     height: 32,
///     origin: String::new(),
/// };
/// for name in ["splatport-doc-gaussians.npz", "splatport-doc-gaussians.safetensors"] {
///     let path = std::env::temp_dir().join(name);
///     table.save(&path)?;
///     assert_eq!(GaussianTable::open(&path)?, table);
/// }
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GaussianTable {
    /// The centers, x then y, px.
    pub means: Vec<[f64; 2]>,
    /// The standard deviations along the two axes, px.
    pub scales: Vec<[f64; 2]>,
    /// The angle from the x axis to the first axis, turning towards y, rad.
    pub rotations: Vec<f64>,
    /// The colors, `channels` values per Gaussian.
    pub colors: Vec<f64>,
    /// The number of values of a color: 1 or 3.
    pub channels: u8,
    /// The opacities, 0 to 1.
    pub opacities: Vec<f64>,
    /// How many Gaussians belong to no annotation; they come last.
    pub free: u32,
    /// Which Gaussians make up which annotation; empty if every annotation has its own Gaussian.
    pub shares: Vec<Share>,
    /// The profile the Gaussians were fitted with.
    pub profile: String,
    /// The width of the image, px.
    pub width: u32,
    /// The height of the image, px.
    pub height: u32,
    /// What the file was made from, in its writer's words; empty if nothing was given.
    pub origin: String,
}

impl GaussianTable {
    /// Writes a file, whole or not at all: `.npz` or `.safetensors`, by its extension. Equal tables give equal files.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::NotFinite`], [`Error::OutOfRange`], [`Error::Channels`] or [`Error::Empty`] if the
    /// table is inconsistent or holds an invalid value; [`Error::Format`] for another extension; [`Error::Write`] if
    /// the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.check()?;
        let (n, size) = (self.means.len(), [self.width, self.height]);
        let annotations: Vec<u32> = self.shares.iter().map(|share| share.annotation).collect();
        let gaussians: Vec<u32> = self.shares.iter().map(|share| share.gaussian).collect();
        let weights: Vec<f32> = self.shares.iter().map(|share| share.weight).collect();
        let mut arrays = vec![
            Entry::array("means", &[n, 2], self.means.as_flattened()),
            Entry::array("scales", &[n, 2], self.scales.as_flattened()),
            Entry::array("rotations", &[n], &self.rotations[..]),
            Entry::array("colors", &[n, self.channels.into()], &self.colors[..]),
            Entry::array("opacities", &[n], &self.opacities[..]),
            Entry::one("free", &self.free),
            Entry::array("size", &[2], &size[..]),
            Entry::one("profile", &self.profile[..]),
        ];
        if !self.shares.is_empty() {
            let shares = &[self.shares.len()];
            arrays.push(Entry::array("share_annotations", shares, &annotations[..]));
            arrays.push(Entry::array("share_gaussians", shares, &gaussians[..]));
            arrays.push(Entry::array("share_weights", shares, &weights[..]));
        }
        arrays.extend(format::origin(&self.origin));
        format::write(path.as_ref(), arrays)
    }

    /// Reads a file that [`save`](Self::save) or another program wrote: `.npz` or `.safetensors`, by its extension.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read; [`Error::Format`] for another extension or a wrong checksum, or
    /// naming the array that is missing, damaged or of another shape, type or version; [`Error::In`] around the error
    /// with which [`save`](Self::save) would reject the table.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut input = format::open(path)?;
        let means = input.floats("means", &[None, Some(2)])?;
        let n = Some(means.shape[0]);
        let colors = input.floats("colors", &[n, None])?;
        let size = input.u32s("size", &[Some(2)])?.values;
        let table = Self {
            means: pairs(&means.values),
            scales: pairs(&input.floats("scales", &[n, Some(2)])?.values),
            rotations: input.floats("rotations", &[n])?.values,
            // A number above 255 is not 1 or 3 either.
            channels: u8::try_from(colors.shape[1]).unwrap_or(u8::MAX),
            colors: colors.values,
            opacities: input.floats("opacities", &[n])?.values,
            free: input.u32("free")?,
            shares: shares(&mut *input)?,
            profile: input.text("profile")?,
            width: size[0],
            height: size[1],
            origin: input.origin()?,
        };
        table.check().map_err(|error| error.within(path))?;
        Ok(table)
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_sides([self.width, self.height], ["width", "height"])?;
        if self.channels != 1 && self.channels != 3 {
            return Err(Error::Channels { got: self.channels.into() });
        }
        let (n, channels) = (self.means.len(), usize::from(self.channels));
        check_length("scales", n, self.scales.len())?;
        check_length("rotations", n, self.rotations.len())?;
        check_length("colors", n * channels, self.colors.len())?;
        check_length("opacities", n, self.opacities.len())?;
        if self.free as usize > n {
            return Err(Error::OutOfRange { what: "free", index: 0, value: self.free.into(), min: 0.0, max: n as f64 });
        }
        check_shares(&self.shares, n - self.free as usize, n)?;
        check_finite("means", 2, self.means.as_flattened())?;
        check_finite("scales", 2, self.scales.as_flattened())?;
        if let Some(at) = self.scales.as_flattened().iter().position(|&scale| scale <= 0.0) {
            let value = self.scales.as_flattened()[at];
            let (min, max) = (f64::MIN_POSITIVE, f64::MAX);
            return Err(Error::OutOfRange { what: "scales", index: at / 2, value, min, max });
        }
        check_finite("rotations", 1, &self.rotations)?;
        check_finite("colors", channels, &self.colors)?;
        check_finite("opacities", 1, &self.opacities)
    }
}

/// The shares of a file, if it has any.
fn shares(input: &mut dyn Input) -> Result<Vec<Share>> {
    if !["share_annotations", "share_gaussians", "share_weights"].iter().any(|name| input.has(name)) {
        return Ok(Vec::new());
    }
    let annotations = input.u32s("share_annotations", &[None])?.values;
    let count = Some(annotations.len());
    let gaussians = input.u32s("share_gaussians", &[count])?.values;
    let weights = input.f32s("share_weights", &[count])?.values;
    let rows = annotations.into_iter().zip(gaussians).zip(weights);
    Ok(rows.map(|((annotation, gaussian), weight)| Share { annotation, gaussian, weight }).collect())
}

/// Rows of two values.
fn pairs(values: &[f64]) -> Vec<[f64; 2]> {
    values.as_chunks().0.to_vec()
}
