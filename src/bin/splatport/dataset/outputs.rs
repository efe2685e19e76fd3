//! The files of a photo's results.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use splatport::{CsrTable, GaussianTable, Table};

use super::manifest::Manifest;
use crate::options::TABLES;
use crate::origin::Origin;

/// A folder of results: `ID.gaussians.npz` and `ID.kernel.npz` for every photo.
pub struct Outputs {
    pub folder: PathBuf,
    /// `npz` or `safetensors`.
    pub ending: &'static str,
}

impl Outputs {
    /// Where the Gaussians of a photo go.
    pub fn gaussians(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.gaussians.{}", self.ending))
    }

    /// Where the kernel of a photo goes.
    pub fn kernel(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.kernel.{}", self.ending))
    }

    /// The id of a file that is a photo's result.
    pub fn id(folder: &Path, file: &Path) -> Option<String> {
        let name = file.strip_prefix(folder).ok()?.to_str()?;
        let stem = name.strip_suffix(".npz").or_else(|| name.strip_suffix(".safetensors"))?;
        let id = stem.strip_suffix(".gaussians").or_else(|| stem.strip_suffix(".kernel"))?;
        Some(id.to_owned())
    }

    /// Writes a photo's results; the Gaussians last, so that where they are everything is.
    pub fn save(&self, id: &str, gaussians: &GaussianTable, kernel: Option<&CsrTable>) -> Result<()> {
        let path = self.gaussians(id);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot write to {}", folder.display()))?;
        }
        if let Some(kernel) = kernel {
            kernel.save(self.kernel(id))?;
        }
        Ok(gaussians.save(path)?)
    }

    /// Whether a photo's results are there already, whole and of this origin.
    ///
    /// # Errors
    /// When there are results of another origin, or damaged ones.
    pub fn kept(&self, id: &str, origin: &Origin) -> Result<bool> {
        let kernel = origin.kernel.is_some().then(|| self.kernel(id));
        let gaussians = Origin { kernel: None, ..origin.clone() };
        let mut kept = true;
        for (path, origin) in [(Some(self.gaussians(id)), &gaussians), (kernel, origin)] {
            let Some(path) = path else { continue };
            kept &= path.try_exists().with_context(|| format!("cannot read {}", path.display()))?;
            if !path.exists() {
                continue;
            }
            let found = Table::open(&path).context("--force writes it again")?;
            if !Origin::read(found.origin()).is_some_and(|found| found.same(origin)) {
                bail!("{} was made from another photo, recipe or version: --force replaces it", path.display());
            }
        }
        Ok(kept)
    }
}

/// What a folder lacks of a manifest's results: missing Gaussians, and tables of other photos or points.
pub fn incomplete(manifest: &Manifest, folder: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for entry in &manifest.entries {
        let mut found = 0;
        for ending in TABLES {
            let outputs = Outputs { folder: folder.to_owned(), ending };
            let (gaussians, kernel) = (outputs.gaussians(&entry.id), outputs.kernel(&entry.id));
            found += usize::from(gaussians.exists());
            for path in [gaussians, kernel].into_iter().filter(|path| path.exists()) {
                // A damaged file was found before.
                let origin = Table::open(&path).ok().and_then(|table| Origin::read(table.origin()));
                let own = |origin: &Origin| origin.photo == entry.photo_sha256 && origin.points == entry.points_sha256;
                if !origin.as_ref().is_some_and(own) {
                    wrong.push(format!("{}: not made from the manifest's photo and points", path.display()));
                }
            }
        }
        if found == 0 {
            wrong.push(format!("{}: no Gaussians: `splatport run` makes them", entry.id));
        }
    }
    wrong
}
