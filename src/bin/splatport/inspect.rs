//! `splatport inspect`: what a file holds.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};
use splatport::{Annotations, CsrTable, DensityTable, GaussianTable, Image, Table, draw, kernel::Owners};

use crate::answer::Answer;
use crate::authors::PhotoArgs;
use crate::options::{points, size};

/// Tell what a file holds: a photo, points, Gaussians, a kernel or a density.
#[derive(Args)]
pub struct Inspect {
    /// .png, .jpg, .csv, .npy, .npz, .safetensors; or Gaussians of the authors' code, .h5.
    file: PathBuf,
    #[command(flatten)]
    photo: PhotoArgs,
}

/// A file's content, as rows of a name and a value, and as a picture.
#[derive(Serialize)]
struct Content {
    kind: &'static str,
    #[serde(flatten)]
    rows: Map<String, Value>,
    #[serde(skip)]
    picture: Option<Image>,
}

impl Inspect {
    /// Runs the command; a terminal gets a picture too.
    pub fn run(self) -> Result<Answer> {
        let content = read(&self.file, &self.photo)?;
        Ok(Answer::of(&content)?.with_picture(content.picture))
    }
}

fn read(path: &Path, of_authors: &PhotoArgs) -> Result<Content> {
    of_authors.authors(path)?;
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase()).unwrap_or_default();
    match ending.to_str() {
        Some("png" | "jpg" | "jpeg") => photo(Image::open(path)?),
        Some("npz" | "safetensors") => match Table::open(path)? {
            Table::Gaussians(table) => gaussians(&table),
            Table::Kernel(table) => kernel(&table),
        },
        Some("h5") => gaussians(&of_authors.gaussians(path)?),
        // Points have two columns; a density of that width would look the same.
        Some("npy") => match Annotations::from_npy(path) {
            Ok(points) => Ok(annotations(&points)),
            Err(_) => density(&DensityTable::open(path)?),
        },
        _ => Ok(annotations(&points(path)?)),
    }
}

fn content(kind: &'static str, rows: Value, picture: Option<Image>) -> Content {
    let rows = match rows {
        Value::Object(rows) => rows,
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    Content { kind, rows, picture }
}

fn photo(image: Image) -> Result<Content> {
    Ok(content("photo", json!({ "size": size(&image) }), Some(image)))
}

fn annotations(points: &Annotations) -> Content {
    let range = |axis: usize| range(points.points().iter().map(|point| point[axis]));
    let names: Vec<&str> = points.columns().iter().map(|column| column.name()).collect();
    let rows = json!({
        "points": points.len(),
        "x": range(0),
        "y": range(1),
        "duplicates": points.duplicates().len(),
        "further columns": names,
    });
    content("points", rows, None)
}

fn gaussians(table: &GaussianTable) -> Result<Content> {
    let aspect = |[a, b]: &[f64; 2]| a.max(*b) / a.min(*b);
    let rows = json!({
        "gaussians": table.means.len(),
        "free": table.free,
        "image": [table.width, table.height],
        "channels": table.channels,
        "scales": range(table.scales.as_flattened().iter().copied()),
        "aspects": range(table.scales.iter().map(aspect)),
        "profile": table.profile,
        "origin": origin(&table.origin),
    });
    // Enough for a terminal; a table may claim any size.
    let side = table.width.max(table.height).min(512);
    let factor = f64::from(side) / f64::from(table.width.max(table.height));
    let shrink = |values: &[[f64; 2]]| values.iter().map(|pair| pair.map(|value| value * factor)).collect::<Vec<_>>();
    let [width, height] = [table.width, table.height].map(|side| ((f64::from(side) * factor) as u32).max(1));
    let black = Image::from_u8(width, height, 1, vec![0; width as usize * height as usize])?;
    let picture = draw::ellipses(&black, &shrink(&table.means), &shrink(&table.scales), &table.rotations, 1.5)?;
    Ok(content("gaussians", rows, Some(picture)))
}

fn kernel(table: &CsrTable) -> Result<Content> {
    let sum = |ends: &[u32]| table.data[ends[0] as usize..ends[1] as usize].iter().sum::<f64>();
    let rows = json!({
        "cells": [table.grid_width, table.grid_height],
        "stride": table.stride,
        "annotations": table.cols.saturating_sub(1),
        "weights": table.data.len(),
        "row sums": range(table.indptr.windows(2).map(sum)),
        "tau": table.tau,
        "worst dropped": table.worst_dropped,
        "bound": table.bound,
        "profile": table.profile,
        "origin": origin(&table.origin),
    });
    let owners = Owners::of(table)?;
    let picture = draw::ownership(table.grid_width, table.grid_height, &owners.owner, &owners.weight, 1, &[]).ok();
    Ok(content("kernel", rows, picture))
}

fn density(table: &DensityTable) -> Result<Content> {
    let values = || table.values.iter().map(|&value| f64::from(value));
    let rows = json!({
        "cells": [table.columns, table.rows],
        "mass": values().sum::<f64>(),
        "values": range(values()),
    });
    let largest = table.values.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let bright: Vec<f32> = table.values.iter().map(|value| value / largest).collect();
    let picture = draw::reconstruction(table.columns as u32, table.rows as u32, 1, &bright).ok();
    Ok(content("density", rows, picture))
}

/// The least and the largest value, if there is one.
fn range(values: impl Iterator<Item = f64> + Clone) -> Option<[f64; 2]> {
    Some([values.clone().reduce(f64::min)?, values.reduce(f64::max)?])
}

/// An origin as JSON where it is JSON.
fn origin(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

impl Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<16} {}", "kind", self.kind)?;
        for (name, value) in &self.rows {
            match value {
                Value::Null => {}
                Value::String(text) if text.is_empty() => {}
                Value::String(text) => writeln!(f, "{name:<16} {text}")?,
                value => writeln!(f, "{name:<16} {value}")?,
            }
        }
        Ok(())
    }
}
