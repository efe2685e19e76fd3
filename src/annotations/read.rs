//! Annotations from files.

use std::fs;
use std::path::Path;

use csv::{ErrorKind, Position, ReaderBuilder, StringRecord, Trim};

use super::{Column, listed};
use crate::error::{Error, Result};
use crate::io::npy::{Array, Reason};

/// The points and the further columns of a CSV file.
pub(super) fn csv(path: &Path) -> Result<(Vec<[f64; 2]>, Vec<Column>)> {
    let bytes = fs::read(path).map_err(|error| Error::read(path, error))?;
    table(&bytes).map_err(|reason| Error::format(path, reason))
}

fn table(bytes: &[u8]) -> std::result::Result<(Vec<[f64; 2]>, Vec<Column>), Reason> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(bytes);
    let header = reader.headers().map_err(|error| csv_reason(bytes, error))?.clone();
    let (x, y) = (place(&header, "x")?, place(&header, "y")?);
    let further: Vec<usize> = (0..header.len()).filter(|&at| at != x && at != y).collect();
    let column = |&at: &usize| Column { name: header[at].to_owned(), values: Vec::new() };
    let mut columns: Vec<Column> = further.iter().map(column).collect();
    let mut points = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| csv_reason(bytes, error))?;
        let number = |at: usize, name| {
            let line = || line(bytes, record.position());
            record[at].parse().map_err(|_| format!("line {}: {name} is `{}`, not a number", line(), &record[at]))
        };
        // NaN and infinities pass here, and are rejected with those from every other source.
        points.push([number(x, "x")?, number(y, "y")?]);
        for (column, &at) in columns.iter_mut().zip(&further) {
            column.values.push(record[at].to_owned());
        }
    }
    Ok((points, columns))
}

/// The place of the only column called `name`.
fn place(header: &StringRecord, name: &str) -> std::result::Result<usize, Reason> {
    let mut places = (0..header.len()).filter(|&at| &header[at] == name);
    match (places.next(), places.next()) {
        (Some(at), None) => Ok(at),
        (Some(_), Some(_)) => Err(format!("more than one column `{name}`")),
        (None, _) => Err(format!("no column `{name}`; columns: {}", listed(header.iter()))),
    }
}

/// The line of a record, from 1. The position that `csv` gives is before the blank lines it skipped.
fn line(bytes: &[u8], position: Option<&Position>) -> usize {
    let start = position.map_or(0, |position| position.byte() as usize).min(bytes.len());
    let blank = bytes[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    1 + bytes[..start + blank].iter().filter(|&&byte| byte == b'\n').count()
}

/// The points and the further columns of a file of JHU-Crowd++.
#[cfg(feature = "data")]
pub(super) fn jhu(path: &Path) -> Result<(Vec<[f64; 2]>, Vec<Column>)> {
    let text = fs::read_to_string(path).map_err(|error| Error::read(path, error))?;
    let mut points = Vec::new();
    let mut columns = ["box_w", "box_h", "occlusion", "blur"].map(|name| Column::new::<f64>(name, []));
    for (line, row) in text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
        let wrong = |reason: String| Error::format(path, format!("line {}: {reason}", line + 1));
        let fields: Vec<&str> = row.split_whitespace().collect();
        let &[x, y, ref further @ ..] = &fields[..] else { return Err(wrong("expected 6 fields, got 1".into())) };
        if further.len() != columns.len() {
            return Err(wrong(format!("expected 6 fields, got {}", fields.len())));
        }
        let number = |name, text: &str| text.parse().map_err(|_| wrong(format!("{name} is `{text}`, not a number")));
        points.push([number("x", x)?, number("y", y)?]);
        for (column, &value) in columns.iter_mut().zip(further) {
            column.values.push(value.to_owned());
        }
    }
    Ok((points, columns.into()))
}

/// What is wrong with a file that is not a table.
fn csv_reason(bytes: &[u8], error: csv::Error) -> Reason {
    let line = line(bytes, error.position());
    match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line}: expected {expected_len} fields, got {len}")
        }
        ErrorKind::Utf8 { err, .. } => format!("line {line}: {err}"),
        _ => format!("line {line}: {error}"),
    }
}

/// The points of a NumPy file.
pub(super) fn npy(path: &Path) -> Result<Vec<[f64; 2]>> {
    let bytes = fs::read(path).map_err(|error| Error::read(path, error))?;
    rows(&bytes).map_err(|reason| Error::format(path, reason))
}

fn rows(bytes: &[u8]) -> std::result::Result<Vec<[f64; 2]>, Reason> {
    let array = Array::parse(bytes)?;
    let &[n, 2] = array.shape() else {
        return Err(format!("shape {:?}, expected [n, 2]", array.shape()));
    };
    let values = array.to_f64()?;
    if array.is_column_major() {
        let (xs, ys) = values.split_at(n as usize);
        return Ok(xs.iter().zip(ys).map(|(&x, &y)| [x, y]).collect());
    }
    Ok(values.chunks_exact(2).map(|row| [row[0], row[1]]).collect())
}
