//! Gaussians in the files of the authors' code.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use splatport::{GaussianTable, Image};

use crate::folder::has_ending;
use crate::options::wrong_usage;

/// Whether a file is one of the authors'.
pub fn authors(path: &Path) -> bool {
    has_ending(path, &["h5"])
}

/// What a file of theirs needs beside it.
#[derive(Args, Clone)]
pub struct PhotoArgs {
    /// The photo of an .h5 file, which lacks its size.
    #[arg(long)]
    photo: Option<PathBuf>,
}

impl PhotoArgs {
    /// Whether a file is one of the authors'; a photo beside any other is wrong usage.
    pub fn authors(&self, path: &Path) -> Result<bool> {
        match (authors(path), &self.photo) {
            (false, Some(_)) => {
                Err(wrong_usage("--photo goes with an .h5 file: a table knows its photo's size").into())
            }
            (theirs, _) => Ok(theirs),
        }
    }

    /// The Gaussians of a table or of a file of theirs.
    pub fn gaussians(&self, path: &Path) -> Result<GaussianTable> {
        if !self.authors(path)? {
            return Ok(GaussianTable::open(path)?);
        }
        let missing = || format!("{} lacks the size of its photo: give it with --photo", path.display());
        gaussians(path, &Image::open(self.photo.as_ref().with_context(missing)?)?)
    }
}

/// The Gaussians of a table or of a file of theirs, of a photo that is at hand.
pub fn gaussians(path: &Path, photo: &Image) -> Result<GaussianTable> {
    Ok(match authors(path) {
        true => GaussianTable::from_params(path, [photo.width(), photo.height()])?,
        false => GaussianTable::open(path)?,
    })
}
