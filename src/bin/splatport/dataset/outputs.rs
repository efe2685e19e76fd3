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

    /// The files of a photo that are there, in whatever format; whether each is a kernel's.
    fn there(&self, id: &str) -> Result<Vec<(PathBuf, bool)>> {
        let mut there = Vec::new();
        for ending in TABLES {
            let outputs = Self { folder: self.folder.clone(), ending };
            for (path, kernel) in [(outputs.gaussians(id), false), (outputs.kernel(id), true)] {
                if path.try_exists().with_context(|| format!("cannot read {}", path.display()))? {
                    there.push((path, kernel));
                }
            }
        }
        Ok(there)
    }

    /// Writes a photo's results, and removes those of another origin, which would lie beside them as if they belonged
    /// together; the Gaussians last, so that where they are everything is.
    pub fn save(&self, id: &str, origin: &Origin, gaussians: &GaussianTable, kernel: Option<&CsrTable>) -> Result<()> {
        let path = self.gaussians(id);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot write to {}", folder.display()))?;
        }
        let written = |old: &Path| old == path || kernel.is_some() && old == self.kernel(id);
        for (old, of_kernel) in self.there(id)? {
            if !written(&old) && old.is_file() && !is_of(&old, of_kernel, origin).is_ok_and(|own| own) {
                fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
            }
        }
        if let Some(kernel) = kernel {
            kernel.save(self.kernel(id))?;
        }
        Ok(gaussians.save(path)?)
    }

    /// Whether a photo's results are there already, whole and of this origin.
    ///
    /// # Errors
    /// When there are results of another origin, or damaged ones, in whatever format.
    pub fn kept(&self, id: &str, origin: &Origin) -> Result<bool> {
        let there = self.there(id)?;
        for (path, kernel) in &there {
            if !is_of(path, *kernel, origin).context("--force writes it again")? {
                bail!("{} was made from another photo, recipe or version: --force replaces it", path.display());
            }
        }
        let found = |wanted: PathBuf| there.iter().any(|(path, _)| *path == wanted);
        Ok(found(self.gaussians(id)) && (origin.kernel.is_none() || found(self.kernel(id))))
    }
}

/// Whether a table has this origin; without cells it is that of Gaussians, to which a kernel of any cells belongs.
fn is_of(path: &Path, kernel: bool, origin: &Origin) -> Result<bool> {
    let gaussians = &Origin { kernel: None, ..origin.clone() };
    let same = |found: Origin| match (kernel, &origin.kernel) {
        (false, _) => found.same(gaussians),
        (true, Some(_)) => found.same(origin),
        (true, None) => found.kernel.is_some() && found.belongs_to(gaussians),
    };
    Ok(Origin::read(Table::open(path)?.origin()).is_some_and(same))
}

/// A photo's file in a folder of results, in whatever format, if it is there.
pub fn result(folder: &Path, id: &str, file: fn(&Outputs, &str) -> PathBuf) -> Option<PathBuf> {
    let mut files = TABLES.iter().map(|ending| file(&Outputs { folder: folder.to_owned(), ending }, id));
    files.find(|path| path.exists())
}

/// What is wrong with a table whose Gaussians were made anew without it.
pub const OTHER_GAUSSIANS: &str =
    "of another recipe, precision or version than the Gaussians beside it: `splatport run --force` makes them anew";

/// What a folder lacks of a manifest's results, and what it has beside them: missing Gaussians; missing kernels, if any
/// photo has one; tables of other photos or points, or that do not belong to the Gaussians beside them. `whole` are the
/// tables in it that can be read, with what they were made from: of those that cannot their own error tells.
pub fn incomplete(manifest: &Manifest, folder: &Path, whole: &[(PathBuf, Option<Origin>)]) -> Vec<String> {
    let entries: HashMap<&str, &Entry> = manifest.entries.iter().map(|entry| (&entry.id[..], entry)).collect();
    let own =
        |entry: &Entry, origin: &Origin| origin.photo == entry.photo_sha256 && origin.points == entry.points_sha256;
    let gaussians: HashMap<String, &Origin> = whole
        .iter()
        .filter_map(|(path, origin)| Some((Outputs::id(folder, path)?, origin.as_ref()?)))
        .filter(|(_, origin)| origin.kernel.is_none())
        .collect();
    let foreign = |(path, origin): &(PathBuf, Option<Origin>)| {
        let id = Outputs::id(folder, path)?;
        let reason = match (entries.get(&id[..]), origin, gaussians.get(&id)) {
            (None, ..) => "of no photo of the manifest",
            (Some(entry), Some(origin), beside) if own(entry, origin) => match beside {
                Some(gaussians) if !origin.belongs_to(gaussians) => OTHER_GAUSSIANS,
                _ => return None,
            },
            _ => "not made from the manifest's photo and points",
        };
        Some(format!("{}: {reason}", path.display()))
    };
    let mut wrong: Vec<String> = whole.iter().filter_map(foreign).collect();
    let there = |id: &str, file| result(folder, id, file).is_some();
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
