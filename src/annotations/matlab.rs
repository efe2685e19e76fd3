//! Points from MATLAB files.

use std::fs;
use std::path::Path;

use super::{Annotations, listed};
use crate::error::{Error, Result};
use crate::io::mat::{self, Value};
use crate::io::npy::Reason;

impl Annotations {
    /// Reads the points of a crowd set's MATLAB file (version 5, packed or not): `image_info{1}.location` of ShanghaiTech, or
    /// `annPoints` of UCF-QNRF and UCF_CC_50, each `[n, 2]`, x then y.
    ///
    /// MATLAB counts from 1 and gives the centre of the top-left pixel as (1, 1): half a pixel is taken off.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read; [`Error::Format`] naming the byte or the variable that is wrong, or saying
    /// that it is of version 7.3 (HDF5); [`Error::In`] around [`Error::NotFinite`] with the row.
    pub fn from_mat(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|error| Error::read(path, error))?;
        let points = points(&bytes).map_err(|reason| Error::format(path, reason))?;
        Self::new(points).map_err(|error| error.within(path)).map(|annotations| annotations.of_file(path, Vec::new()))
    }
}

fn points(bytes: &[u8]) -> std::result::Result<Vec<[f64; 2]>, Reason> {
    let variables = mat::parse(bytes)?;
    let find = |name: &str| variables.iter().find(|(variable, _)| variable == name).map(|(_, value)| value);
    if let Some(info) = find("image_info") {
        return shanghai(info);
    }
    match find("annPoints") {
        Some(value) => rows("annPoints", value),
        None => {
            let names = listed(variables.iter().map(|(name, _)| name.as_str()));
            Err(format!("no variable `image_info` or `annPoints`; variables: {names}"))
        }
    }
}

/// A cell with a structure of `location` and `number`.
fn shanghai(info: &Value) -> std::result::Result<Vec<[f64; 2]>, Reason> {
    let Value::Cells(cells) = info else { return Err("variable `image_info`: not a cell".into()) };
    let Some(Value::Fields(fields)) = cells.first() else {
        return Err("variable `image_info`: the first cell is not a structure".into());
    };
    let find = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value);
    let Some(location) = find("location") else {
        return Err(format!(
            "no field `image_info{{1}}.location`; fields: {}",
            listed(fields.iter().map(|(n, _)| n.as_str()))
        ));
    };
    let points = rows("image_info{1}.location", location)?;
    match find("number") {
        Some(Value::Numbers { values, .. }) if *values != [points.len() as f64] => {
            Err(format!("field `image_info{{1}}.number` is {values:?}, but there are {} locations", points.len()))
        }
        _ => Ok(points),
    }
}

/// Numbers `[n, 2]` as points by our rule.
fn rows(name: &str, value: &Value) -> std::result::Result<Vec<[f64; 2]>, Reason> {
    match value {
        // What MATLAB calls `[]` has no second side to check.
        Value::Numbers { values, .. } if values.is_empty() => Ok(Vec::new()),
        Value::Numbers { shape, values } if shape.len() == 2 && shape[1] == 2 => {
            let (xs, ys) = values.split_at(shape[0]);
            Ok(xs.iter().zip(ys).map(|(x, y)| [x - 0.5, y - 0.5]).collect())
        }
        Value::Numbers { shape, .. } => Err(format!("`{name}`: shape {shape:?}, expected [n, 2]")),
        _ => Err(format!("`{name}` does not hold numbers")),
    }
}
