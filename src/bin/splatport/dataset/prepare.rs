//! A photo and its points from their files, while the device works on others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use splatport::{Annotations, Image};

use super::{manifest::Entry, run::Plan};
use crate::origin::{Origin, digest_of};

/// A photo ready for the device.
pub struct Ready<'a> {
    pub entry: &'a Entry,
    pub image: Image,
    pub points: Annotations,
    pub origin: Origin,
}

impl<'a> Ready<'a> {
    /// Looks for the results, else reads and decodes the files; none where the results are there.
    pub fn of(plan: &Plan, entry: &'a Entry) -> Result<Option<Self>> {
        let origin = plan.origin(entry);
        if !plan.force && plan.outputs.kept(&entry.id, &origin)? {
            return Ok(None);
        }
        let (photo, points) = (plan.manifest.locate(&entry.photo), plan.manifest.locate(&entry.points));
        same(&photo, &entry.photo_sha256)?;
        same(&points, &entry.points_sha256)?;
        // A decoder that panics loses one photo, not the run.
        let open = || -> Result<_> { Ok((Image::open(&photo)?, Annotations::open(&points)?)) };
        let read = catch_unwind(AssertUnwindSafe(open));
        let (image, points) = read.map_err(|_| anyhow!("cannot read {}: its decoder failed", photo.display()))??;
        Ok(Some(Self { entry, image, points, origin }))
    }
}

/// Refuses a file that is not the one in the manifest.
fn same(path: &Path, expected: &str) -> Result<()> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        digest_of(&bytes) == expected,
        "{} changed after the manifest was made: make it again with `splatport manifest`",
        path.display()
    );
    Ok(())
}
