//! The Gaussians of one image in the format of the method's authors: an HDF5 file with one array, `params`.

use std::fs;
use std::io::Write;
use std::path::Path;

use hdf5_pure::{DType, File, FileBuilder, FormatError};

use super::npy::Reason;
use super::{GaussianTable, atomic};
use crate::error::{Error, Result, check_finite, check_length};

/// The array's name.
const PARAMS: &str = "params";

/// The numbers of a Gaussian: x, y, the two scales, the angle, red, green, blue.
const COLUMNS: usize = 8;

/// The most bytes that deflate makes of one, which limits what an array can hold for the size of its file.
const EXPANSION: u64 = 1032;

/// The compression level of deflate, the same as h5py's.
const LEVEL: u32 = 4;

impl GaussianTable {
    /// Reads the Gaussians that the authors' code fitted to an image. `size` is the image's width and height, px, which
    /// their file does not contain.
    ///
    /// The file is HDF5; its array `params`, `[n, 8]`, has the columns x, y (px), sx, sy (standard deviations, px),
    /// angle (rad), r, g and b. Coordinates and angles are taken as they are: their kernel, too, measures from the
    /// photo's corner and turns from x towards y. Opacities, which they fix, are 1; the
    /// profile is `reference`. An empty array of any type and shape stands for an image without points.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read; [`Error::Format`] if it is not such a file; [`Error::In`] around the
    /// error with which [`save`](Self::save) would reject the table, such as the NaN of a diverged fit, with its row.
    ///
    /// ```
    /// use splatport::GaussianTable;
    ///
    /// let table = GaussianTable {
    ///     means: vec![[10.5, 20.25]],
    ///     scales: vec![[2.0, 1.0]],
    ///     rotations: vec![0.5],
    ///     colors: vec![0.75, 0.5, 0.25],
    ///     channels: 3,
    ///     opacities: vec![1.0],
    ///     profile: "reference".into(),
    ///     width: 64,
    ///     height: 32,
    ///     ..GaussianTable::default()
    /// };
    /// let path = std::env::temp_dir().join("splatport-doc_gs_params.h5");
    /// table.save_params(&path)?;
    /// assert_eq!(GaussianTable::from_params(&path, [64, 32])?, table);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    pub fn from_params(path: impl AsRef<Path>, size: [u32; 2]) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|error| Error::read(path, error))?;
        let values = values(bytes).map_err(|reason| Error::format(path, reason))?;
        let rows = || values.as_chunks::<COLUMNS>().0.iter();
        let table = Self {
            means: rows().map(|row| [row[0], row[1]]).collect(),
            scales: rows().map(|row| [row[2], row[3]]).collect(),
            rotations: rows().map(|row| row[4]).collect(),
            colors: rows().flat_map(|row| &row[5..]).copied().collect(),
            channels: 3,
            opacities: vec![1.0; rows().len()],
            profile: crate::Profile::Reference.name().into(),
            width: size[0],
            height: size[1],
            ..Self::default()
        };
        table.check().map_err(|error| error.within(path))?;
        Ok(table)
    }

    /// Writes the array `params` that [`from_params`](Self::from_params) reads, whole or not at all, for the authors'
    /// training code; equal tables give equal files. A gray value becomes three equal ones. Size, profile and origin
    /// are not stored, and numbers become the nearest `f32`, the type of theirs.
    ///
    /// # Errors
    /// As [`save`](Self::save); [`Error::NotFinite`] for a number beyond the range of `f32`; [`Error::OutOfRange`] or
    /// [`Error::Length`] for what the array cannot express: an opacity other than 1, Gaussians that belong to no
    /// annotation, shares of a mixture.
    pub fn save_params(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.check()?;
        if let Some(index) = self.opacities.iter().position(|&opacity| opacity != 1.0) {
            let value = self.opacities[index];
            return Err(Error::OutOfRange { what: "opacities", index, value, min: 1.0, max: 1.0 });
        }
        check_length("shares", 0, self.shares.len())?;
        check_length("free Gaussians", 0, self.free as usize)?;
        let mut values = Vec::with_capacity(self.means.len() * COLUMNS);
        for (n, color) in self.colors.chunks(self.channels.into()).enumerate() {
            let ([x, y], [first, second]) = (self.means[n], self.scales[n]);
            let row = [x, y, first, second, self.rotations[n]];
            values.extend(row.iter().chain(color.iter().cycle().take(3)).map(|&value| value as f32));
        }
        check_finite(PARAMS, COLUMNS, &values)?;
        let bytes = packed(&values).map_err(|error| Error::write(path, error))?;
        atomic::write(path, |file| Ok(file.write_all(&bytes)?))
    }
}

fn packed(values: &[f32]) -> std::result::Result<Vec<u8>, hdf5_pure::Error> {
    let mut file = FileBuilder::new();
    let shape = [(values.len() / COLUMNS) as u64, COLUMNS as u64];
    let array = file.create_dataset(PARAMS).with_f32_data(values).with_shape(&shape);
    if !values.is_empty() {
        array.with_chunks(&shape).with_deflate(LEVEL);
    }
    file.finish()
}

/// The values of a file's array, row by row.
fn values(bytes: Vec<u8>) -> std::result::Result<Vec<f64>, Reason> {
    let length = bytes.len() as u64;
    let file = File::from_bytes(bytes).map_err(|error| format!("not an HDF5 file: {}", plain(error)))?;
    let wrong = |reason: Reason| format!("array `{PARAMS}`: {reason}");
    let array = file.dataset(PARAMS).map_err(|error| wrong(plain(error)))?;
    let shape = array.shape().map_err(|error| wrong(plain(error)))?;
    // For an image without points their code writes `numpy.array([])`, of type f64.
    if shape.contains(&0) {
        return Ok(Vec::new());
    }
    let &[_, 8] = &shape[..] else { return Err(wrong(format!("shape {shape:?}, expected [any, {COLUMNS}]"))) };
    let bytes = match array.dtype().map_err(|error| wrong(plain(error)))? {
        DType::F32 => 4,
        DType::F64 => 8,
        other => return Err(wrong(format!("type {other}, expected f32"))),
    };
    let chunk = array.chunk_shape().map_err(|error| wrong(plain(error)))?.unwrap_or_default();
    // A header can promise more than the file holds; memory is allocated only for what it can hold.
    for size in [&shape, &chunk] {
        let need = size.iter().try_fold(bytes, |product: u64, &side| product.checked_mul(side));
        if need.is_none_or(|need| need > length.saturating_mul(EXPANSION)) {
            return Err(wrong(format!("{size:?} values are more than a file of {length} bytes can hold")));
        }
    }
    // Exact for `f32`.
    array.read_f64().map_err(|error| wrong(plain(error)))
}

/// The reason, without the words that every such error begins with.
fn plain(error: hdf5_pure::Error) -> Reason {
    match error {
        hdf5_pure::Error::Format(FormatError::PathNotFound(_)) => "missing".to_owned(),
        hdf5_pure::Error::Format(error) => error.to_string(),
        error => error.to_string(),
    }
}
