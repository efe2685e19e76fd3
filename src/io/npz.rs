//! Named NumPy arrays in one `.npz` file.
//!
//! `zip` handles the container and `npyz` every array, as `npyz` documents. The container feature of `npyz` is not
//! used: it stamps the time of writing into the file, so that equal tables would give different files, and it stops
//! reading before the checksum is compared.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use npyz::npz::file_name_from_array_name;
use npyz::{AutoSerialize, DType, Order, Serialize, TypeStr, WriteOptions, WriterBuilder};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::atomic;
use super::format::{Axes, Entry, Input, Shaped, Values, matching, open_file};
use super::npy::{self, Array, Reason};
use crate::error::{Error, Result, Source};

/// Writes a `.npz` file, whole or not at all.
pub(super) fn write(path: &Path, entries: &[Entry<'_>]) -> Result<()> {
    let bytes = packed(entries).map_err(|error| Error::write(path, error))?;
    atomic::write(path, |file| Ok(file.write_all(&bytes)?))
}

/// Builds the file in memory: on a full disk, `zip` would continue to write when it is dropped, and complain on
/// standard error.
fn packed(entries: &[Entry<'_>]) -> std::result::Result<Vec<u8>, Source> {
    let mut output = Output { zip: ZipWriter::new(Cursor::new(Vec::new())) };
    entries.iter().try_for_each(|entry| output.put(entry))?;
    Ok(output.zip.finish()?.into_inner())
}

/// A `.npz` file being written.
struct Output {
    zip: ZipWriter<Cursor<Vec<u8>>>,
}

impl Output {
    fn put(&mut self, Entry { name, shape, values }: &Entry<'_>) -> io::Result<()> {
        match values {
            Values::F32(values) => self.array(name, shape, values),
            Values::F64(values) => self.array(name, shape, values),
            Values::U32(values) => self.array(name, shape, values),
            Values::U64(values) => self.array(name, shape, values),
            // NumPy has no texts of length 0.
            Values::Text(text) => self.word(name, &format!("<U{}", text.chars().count().max(1)), *text),
            Values::Ascii(text) => self.word(name, &format!("|S{}", text.len().max(1)), *text),
        }
    }

    fn array<T>(&mut self, name: &str, shape: &[usize], values: &[T]) -> io::Result<()>
    where
        T: AutoSerialize + Copy,
    {
        self.start(name)?;
        let shape: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
        let options = WriteOptions::new().default_dtype().shape(&shape);
        // npyz writes one value at a time.
        let mut buffer = BufWriter::new(&mut self.zip);
        let mut writer = options.writer(&mut buffer).begin_nd()?;
        writer.extend(values.iter().copied())?;
        writer.finish()?;
        buffer.flush()
    }

    fn word<T: Serialize + ?Sized>(&mut self, name: &str, dtype: &str, value: &T) -> io::Result<()> {
        self.start(name)?;
        let dtype: TypeStr = dtype.parse().map_err(io::Error::other)?;
        let options = WriteOptions::new().dtype(DType::Plain(dtype)).shape(&[]);
        let mut writer = options.writer(&mut self.zip).begin_nd()?;
        writer.push(value)?;
        writer.finish()
    }

    /// Begins an entry: uncompressed, so that reading is one copy, and without the time.
    fn start(&mut self, name: &str) -> io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .large_file(true);
        Ok(self.zip.start_file(file_name_from_array_name(name), options)?)
    }
}

/// A `.npz` file being read.
pub(super) struct Npz {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
}

impl Npz {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = open_file(path).map_err(|error| Error::read(path, error))?;
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|error| match error {
            ZipError::Io(error) => Error::read(path, error),
            error => Error::format(path, format!("not a .npz file: {error}")),
        })?;
        Ok(Self { path: path.into(), zip })
    }

    fn read<T>(
        &mut self,
        name: &str,
        expected: Axes<'_>,
        values: impl FnOnce(&Array) -> std::result::Result<Vec<T>, Reason>,
    ) -> Result<Shaped<T>> {
        self.array(name, expected, values).map_err(|reason| self.wrong(name, &reason))
    }

    /// Reads an array to its end, because only there is the checksum compared. A compressed array could unpack to any
    /// length, so its header is first compared with what is wanted, and no more than that is unpacked.
    fn array<T>(
        &mut self,
        name: &str,
        expected: Axes<'_>,
        values: impl FnOnce(&Array) -> std::result::Result<Vec<T>, Reason>,
    ) -> std::result::Result<Shaped<T>, Reason> {
        let mut entry = match self.zip.by_name(&file_name_from_array_name(name)) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => return Err("missing".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        let header = npy::header(entry.by_ref())?;
        let shape = matching(header.shape(), expected)?;
        if header.order() == Order::Fortran && shape.len() > 1 {
            return Err("column-major order, expected row-major".to_owned());
        }
        let mut data = Vec::new();
        let length = npy::length(&header)?;
        // The next byte must be the end; otherwise it is one too many.
        entry.take(length.saturating_add(1)).read_to_end(&mut data).map_err(|error| error.to_string())?;
        if data.len() as u64 > length {
            return Err(format!("shape {shape:?} takes {length} bytes, found more"));
        }
        Ok(Shaped { shape, values: values(&Array::of(header, &data)?)? })
    }
}

impl Input for Npz {
    fn path(&self) -> &Path {
        &self.path
    }

    fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(&file_name_from_array_name(name)).is_some()
    }

    fn f32s(&mut self, name: &str, expected: Axes<'_>) -> Result<Shaped<f32>> {
        self.read(name, expected, |array| array.values())
    }

    fn floats(&mut self, name: &str, expected: Axes<'_>) -> Result<Shaped<f64>> {
        self.read(name, expected, |array| array.to_floats())
    }

    fn f64s(&mut self, name: &str, expected: Axes<'_>) -> Result<Shaped<f64>> {
        self.read(name, expected, |array| array.values())
    }

    fn u32s(&mut self, name: &str, expected: Axes<'_>) -> Result<Shaped<u32>> {
        self.read(name, expected, |array| array.to_u32())
    }

    fn text(&mut self, name: &str) -> Result<String> {
        self.read(name, &[], |array| array.values()).map(|mut array| array.values.swap_remove(0))
    }

    fn ascii(&mut self, name: &str) -> Result<Vec<u8>> {
        self.read(name, &[], |array| array.values()).map(|mut array| array.values.swap_remove(0))
    }
}
