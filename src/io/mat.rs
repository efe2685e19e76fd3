//! MATLAB files of version 5 (`save -v6`, `-v7`): numbers, cells and structures, which is what data sets store points
//! in.
//!
//! No crate fits: `matfile` 0.5 reads neither cells nor structures, and `matrw` 0.1.4, according to its source, panics
//! on a damaged file, reads a damaged structure twice for every level around it, and limits neither the nesting nor the
//! size that a compressed variable unpacks to. Format: "MAT-File Format", The MathWorks, chapter 1.

use std::cell::Cell;
use std::io::Read;

use flate2::read::ZlibDecoder;

use super::npy::Reason;

/// The number of bytes in the header.
const HEADER: usize = 128;

/// The most bytes that the variables of a file may unpack to: a million points take 16 MiB.
const UNPACKED: u64 = 64 << 20;

/// The deepest nesting of cells and structures; the deepest known file of points has three levels.
const NESTING: usize = 16;

/// The most cells, fields and names of fields in a file, all together; points need a handful. Each takes a tenth of a
/// kilobyte in memory, but may take only one byte of the unpacked file.
const PARTS: usize = 1 << 20;

/// The longest name of a field in MATLAB, with the zero at its end, bytes.
const LONGEST_NAME: usize = 64;

/// Types of elements.
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

/// The flag of numbers with an imaginary part.
const COMPLEX: u32 = 0x800;

/// The content of a variable.
#[derive(Debug, PartialEq)]
pub(crate) enum Value {
    /// Real numbers of any type, column by column.
    Numbers { shape: Vec<usize>, values: Vec<f64> },
    /// Cells, column by column.
    Cells(Vec<Value>),
    /// The fields of a structure; in an array of structures, one structure after the other.
    Fields(Vec<(String, Value)>),
    /// Anything else: texts, complex numbers, sparse matrices, objects, functions.
    Other,
}

/// The variables of a file, in its order.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<(String, Value)>, Reason> {
    let big = header(bytes)?;
    let parts = &Cell::new(PARTS);
    let mut rest = Bytes { data: &bytes[HEADER..], at: HEADER, big, parts };
    let (mut variables, mut room) = (Vec::new(), UNPACKED);
    while !rest.data.is_empty() {
        let at = rest.at;
        let (kind, body) = rest.element()?;
        variables.push(match kind {
            COMPRESSED => {
                let unpacked = unpack(body.data, &mut room).map_err(|reason| format!("byte {at}: {reason}"))?;
                let mut inside = Bytes { data: &unpacked, at: 0, big, parts };
                inside.matrix(NESTING).map_err(|reason| format!("variable packed at byte {at}: {reason}"))?
            }
            MATRIX => body.variable(NESTING)?,
            _ => return Err(format!("byte {at}: an element of type {kind}, not a variable")),
        });
    }
    Ok(variables)
}

/// Checks the header; returns whether numbers are big-endian.
fn header(bytes: &[u8]) -> Result<bool, Reason> {
    let hdf5 = |at: usize| bytes.get(at..at + 4) == Some(b"\x89HDF");
    if bytes.starts_with(b"MATLAB 7.3") || hdf5(0) || hdf5(512) {
        return Err("a MATLAB 7.3 (HDF5) file; version 5 is read: in MATLAB, save it again with `-v7`".into());
    }
    match bytes.get(126..HEADER) {
        Some(b"IM") => Ok(false),
        Some(b"MI") => Ok(true),
        _ => Err("not a MATLAB file of version 5".into()),
    }
}

fn unpack(bytes: &[u8], room: &mut u64) -> Result<Vec<u8>, Reason> {
    let mut unpacked = Vec::new();
    let read = ZlibDecoder::new(bytes).take(*room + 1).read_to_end(&mut unpacked);
    let length = read.map_err(|error| format!("a compressed variable: {error}"))? as u64;
    *room = room.checked_sub(length).ok_or_else(|| format!("the variables unpack to more than {UNPACKED} bytes"))?;
    Ok(unpacked)
}

/// The bytes not read yet.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    data: &'a [u8],
    /// Their position, for error messages.
    at: usize,
    big: bool,
    /// How many more cells, fields and names are allowed.
    parts: &'a Cell<usize>,
}

impl<'a> Bytes<'a> {
    fn wrong<T>(&self, what: &str) -> Result<T, Reason> {
        Err(format!("byte {}: {what}", self.at))
    }

    fn word(&self, at: usize) -> Result<u32, Reason> {
        let bytes = self.data.get(at..).and_then(|rest| rest.first_chunk::<4>());
        let Some(&bytes) = bytes else { return self.wrong("the file ends here") };
        Ok(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// The type and the body of the next element.
    fn element(&mut self) -> Result<(u32, Bytes<'a>), Reason> {
        let tag = self.word(0)?;
        // Up to four bytes are stored in the tag itself, with their number in its upper half.
        let small = tag >> 16;
        let (kind, length, start) =
            if small == 0 { (tag, self.word(4)? as usize, 8) } else { (tag & 0xffff, small as usize, 4) };
        let body = self.data.get(start..).and_then(|rest| rest.get(..length));
        let Some(data) = body.filter(|_| small <= 4) else {
            return self.wrong(&format!("an element of {length} bytes does not fit"));
        };
        let body = Bytes { data, at: self.at + start, ..*self };
        let padded = if kind == COMPRESSED { length } else { length.next_multiple_of(8) };
        let used = if small == 0 { 8 + padded } else { 8 }.min(self.data.len());
        self.data = &self.data[used..];
        self.at += used;
        Ok((kind, body))
    }

    /// The next element, which must be a variable or a part of one.
    fn matrix(&mut self, nesting: usize) -> Result<(String, Value), Reason> {
        let at = *self;
        match self.element()? {
            // This is what a structure holds for a field that was never set.
            (MATRIX, body) if body.data.is_empty() => {
                Ok((String::new(), Value::Numbers { shape: vec![0, 0], values: Vec::new() }))
            }
            (MATRIX, body) if nesting > 0 => body.variable(nesting - 1),
            (MATRIX, _) => at.wrong(&format!("more than {NESTING} cells and structures in one another")),
            (kind, _) => at.wrong(&format!("an element of type {kind}, not an array")),
        }
    }

    /// The name and the content of an array whose body these bytes are.
    fn variable(mut self, nesting: usize) -> Result<(String, Value), Reason> {
        let (_, flags) = self.element()?;
        let flags = flags.word(0)?;
        // Functions and objects have no shape.
        if flags & 0xff > 15 {
            return Ok((String::new(), Value::Other));
        }
        let shape: Vec<usize> = self.numbers()?.into_iter().map(|side| side as usize).collect();
        let Some(count) = shape.iter().try_fold(1_usize, |product, &side| product.checked_mul(side)) else {
            return self.wrong(&format!("shape {shape:?} has no size"));
        };
        let name = self.text()?;
        let value = match flags & 0xff {
            1 => Value::Cells(self.parts(count, nesting)?),
            2 => {
                let names = self.names()?;
                let values = self.parts(count.saturating_mul(names.len()), nesting)?;
                Value::Fields(names.into_iter().cycle().zip(values).collect())
            }
            // Complex numbers cannot be coordinates.
            6..=15 if flags & COMPLEX == 0 => {
                let at = self;
                let values = self.numbers()?;
                if values.len() != count {
                    return at.wrong(&format!("shape {shape:?} asks for {count} numbers, found {}", values.len()));
                }
                Value::Numbers { shape, values }
            }
            _ => Value::Other,
        };
        Ok((name, value))
    }

    fn parts(&mut self, count: usize, nesting: usize) -> Result<Vec<Value>, Reason> {
        // An array takes at least eight bytes.
        if count > self.data.len() / 8 {
            return self.wrong(&format!("{count} cells or fields do not fit"));
        }
        self.take(count)?;
        (0..count).map(|_| Ok(self.matrix(nesting)?.1)).collect()
    }

    /// Counts cells, fields or names.
    fn take(&self, count: usize) -> Result<(), Reason> {
        let Some(left) = self.parts.get().checked_sub(count) else {
            return self.wrong(&format!("more than {PARTS} cells, fields and names in the file"));
        };
        self.parts.set(left);
        Ok(())
    }

    fn text(&mut self) -> Result<String, Reason> {
        let (_, body) = self.element()?;
        Ok(String::from_utf8_lossy(body.data).into_owned())
    }

    /// The names of a structure's fields, padded with zeros to one length.
    fn names(&mut self) -> Result<Vec<String>, Reason> {
        let (_, length) = self.element()?;
        let length = length.word(0)? as usize;
        let (_, names) = self.element()?;
        if length == 0 || length > LONGEST_NAME {
            return names.wrong(&format!("names of fields of {length} bytes, not 1 to {LONGEST_NAME}"));
        }
        names.take(names.data.len() / length)?;
        let text = |name: &[u8]| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
        Ok(names.data.chunks_exact(length).map(text).collect())
    }

    /// The numbers of the next element, whatever their type.
    fn numbers(&mut self) -> Result<Vec<f64>, Reason> {
        let (kind, body) = self.element()?;
        macro_rules! read {
            ($type:ty) => {{
                let (chunks, rest) = body.data.as_chunks::<{ size_of::<$type>() }>();
                if !rest.is_empty() {
                    return body.wrong("a number is cut");
                }
                let number = if body.big { <$type>::from_be_bytes } else { <$type>::from_le_bytes };
                chunks.iter().map(|&chunk| number(chunk) as f64).collect()
            }};
        }
        Ok(match kind {
            1 => read!(i8),
            2 => read!(u8),
            3 => read!(i16),
            4 => read!(u16),
            5 => read!(i32),
            6 => read!(u32),
            7 => read!(f32),
            9 => read!(f64),
            12 => read!(i64),
            13 => read!(u64),
            _ => return body.wrong(&format!("an element of type {kind}, not numbers")),
        })
    }
}
