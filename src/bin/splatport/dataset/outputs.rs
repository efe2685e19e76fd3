//! The files of a photo's results.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use splatport::{CsrTable, GaussianTable, Table};

use super::manifest::{self, Entry, Manifest};
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
        let name = manifest::id(file.strip_prefix(folder).ok()?)?;
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

/// What a folder lacks of a manifest's results, and what it has beside them: missing Gaussians; missing kernels, if any photo has
/// one; tables of other photos or points. `whole` are the tables in it that can be read, with what they were made from: of those that
/// cannot their own error tells.
pub fn incomplete(manifest: &Manifest, folder: &Path, whole: &[(PathBuf, Option<Origin>)]) -> Vec<String> {
    let entries: HashMap<&str, &Entry> = manifest.entries.iter().map(|entry| (&entry.id[..], entry)).collect();
    let own =
        |entry: &Entry, origin: &Origin| origin.photo == entry.photo_sha256 && origin.points == entry.points_sha256;
    let foreign = |(path, origin): &(PathBuf, Option<Origin>)| match entries.get(&Outputs::id(folder, path)?[..]) {
        None => Some(format!("{}: of no photo of the manifest", path.display())),
        Some(entry) if origin.as_ref().is_some_and(|origin| own(entry, origin)) => None,
        Some(_) => Some(format!("{}: not made from the manifest's photo and points", path.display())),
    };
    let mut wrong: Vec<String> = whole.iter().filter_map(foreign).collect();
    let there = |id: &str, file: fn(&Outputs, &str) -> PathBuf| {
        TABLES.iter().any(|ending| file(&Outputs { folder: folder.to_owned(), ending }, id).exists())
    };
    let kernels = manifest.entries.iter().any(|entry| there(&entry.id, Outputs::kernel));
    for Entry { id, .. } in &manifest.entries {
        if !there(id, Outputs::gaussians) {
            wrong.push(format!("{id}: no Gaussians: `splatport run` makes them"));
        } else if kernels && !there(id, Outputs::kernel) {
            wrong.push(format!("{id}: no kernel, though others have one: `splatport run --stride` makes them"));
        }
    }
    wrong
}
