//! A photo and its points from their files, while the device works on others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use splatport::{Annotations, Image};

use super::{manifest::Entry, run::Plan};
use crate::origin::{Origin, digest};

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
        match plan.outputs.kept(&entry.id, &origin) {
            Ok(true) => return Ok(None),
            // Missing, or in the way and to be replaced.
            Ok(false) => {}
            Err(_) if plan.force => {}
            Err(error) => return Err(error),
        }
        let (photo, points) = (plan.manifest.locate(&entry.photo), plan.manifest.locate(&entry.points));
        let same = || same(&photo, &entry.photo_sha256).and_then(|()| same(&points, &entry.points_sha256));
        same()?;
        // A decoder that panics loses one photo, not the run.
        let open = || -> Result<_> { Ok((Image::open(&photo)?, Annotations::open(&points)?)) };
        let read = catch_unwind(AssertUnwindSafe(open));
        let failed = |_| anyhow!("cannot read {}: its decoder failed", photo.display());
        let (image, annotations) = read.map_err(failed)??;
        // What was decoded is what was compared: nothing was replaced in between.
        same()?;
        Ok(Some(Self { entry, image, points: annotations, origin }))
    }
}

/// Refuses a file that is not the one in the manifest.
fn same(path: &Path, expected: &str) -> Result<()> {
    ensure!(
        digest(path)? == expected,
        "{} changed after the manifest was made: make it again with `splatport manifest`",
        path.display()
    );
    Ok(())
}
