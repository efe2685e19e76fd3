//! What an artefact was made from, as it says in its header.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use splatport::{SplatRecipe, kernel::KernelOptions, splat::Report};

/// The version of the program, the recipe and the digests of the inputs: the same origin on the same device gives the same
/// bytes.
#[derive(Clone, Serialize, Deserialize)]
pub struct Origin {
    /// The version of this program.
    pub splatport: String,
    /// The precision that the file's values were computed in, as `--precision` names it.
    pub precision: String,
    /// SHA-256 of the photo's file.
    pub photo: String,
    /// SHA-256 of the points' file.
    pub points: String,
    /// How the Gaussians were fitted.
    pub recipe: SplatRecipe,
    /// How the kernel was built, in a kernel's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Cells>,
    /// What the fit did, in the Gaussians' file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<Report>,
}

/// A kernel's options and the side of its cells, px.
#[derive(Clone, Serialize, Deserialize)]
pub struct Cells {
    /// Side of a cell, px.
    pub stride: u32,
    /// The options.
    pub options: KernelOptions,
}

impl Origin {
    /// That of Gaussians fitted by this program.
    pub fn new(precision: &str, [photo, points]: [String; 2], recipe: SplatRecipe) -> Self {
        let splatport = env!("CARGO_PKG_VERSION").to_owned();
        Self { splatport, precision: precision.to_owned(), photo, points, recipe, kernel: None, fit: None }
    }

    /// What a header says, if a command of this program wrote it.
    pub fn read(header: &str) -> Option<Self> {
        serde_json::from_str(header).ok()
    }

    /// That of a kernel that this program built from these Gaussians, which may be another version's and of another precision.
    pub fn of_kernel(self, precision: &str, cells: Cells) -> Self {
        Self { kernel: Some(cells), ..Self::new(precision, [self.photo, self.points], self.recipe) }
    }

    /// That of the Gaussians, with what their fit did.
    pub fn of_gaussians(self, fit: &Report) -> Self {
        Self { kernel: None, fit: Some(fit.clone()), ..self }
    }

    /// Whether both come from the same version, recipe and inputs; what a fit did follows from these.
    pub fn same(&self, other: &Self) -> bool {
        let inputs = |origin: &Self| serde_json::to_value(Self { fit: None, ..origin.clone() });
        matches!((inputs(self), inputs(other)), (Ok(one), Ok(other)) if one == other)
    }

    /// Whether a table comes from these Gaussians: from what [`same`](Self::same) compares, whatever the cells of a
    /// kernel.
    pub fn belongs_to(&self, gaussians: &Self) -> bool {
        Self { kernel: None, ..self.clone() }.same(gaussians)
    }

    /// The header.
    pub fn text(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

/// SHA-256 of a file, as `sha256sum` prints it.
pub fn digest(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(digest_of(&bytes))
}

/// What `open` makes of a file, and the digest of what it read: a file that is replaced meanwhile is an error.
pub fn digested<T>(path: &Path, open: impl FnOnce(&Path) -> Result<T>) -> Result<(T, String)> {
    let before = digest(path)?;
    let content = open(path)?;
    ensure!(digest(path)? == before, "{} changed while it was read", path.display());
    Ok((content, before))
}

/// SHA-256 of a file's content.
pub fn digest_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_what_was_read() {
        let path = std::env::temp_dir().join(format!("splatport-digested-{}", std::process::id()));
        fs::write(&path, "abc").expect("a file");
        let (text, digest) = digested(&path, |path| Ok(fs::read_to_string(path)?)).expect("a text");
        assert_eq!((&text[..], &digest[..8]), ("abc", "ba7816bf"));
        let replaced = digested(&path, |path| Ok((fs::read(path)?, fs::write(path, "abd")?)));
        let told = replaced.expect_err("another text").to_string();
        assert_eq!(told, format!("{} changed while it was read", path.display()));
        fs::remove_file(&path).expect("a file");
    }
}
