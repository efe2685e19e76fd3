//! `splatport manifest`: finds photos with points.

use std::fmt::{self, Display};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use splatport::Annotations;

use super::coco;
use super::manifest::{Entry, Manifest, VERSION};
use crate::answer::Answer;
use crate::folder::{found, has_ending};
use crate::origin;

/// Endings of photos.
const PHOTOS: [&str; 3] = ["png", "jpg", "jpeg"];

/// List photos with points, their sizes and digests, for `splatport run`.
#[derive(Args)]
pub struct Make {
    /// The folder with the photos, and the folders in it.
    photos: PathBuf,
    /// Where to write the manifest: JSON lines.
    #[arg(short, long)]
    output: PathBuf,
    /// The folder with the points, if it is not that of the photos; it has the same folders in it.
    #[arg(long)]
    points: Option<PathBuf>,
    /// The name of a photo's points; {} is the photo's name without its ending.
    #[arg(long, default_value = "{}.csv")]
    name: String,
    /// A COCO keypoints file of all photos: its marked joints are first written to the folder of the points, a file a photo.
    #[arg(long, requires = "points")]
    coco: Option<PathBuf>,
}

impl Make {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        ensure!(self.name.contains("{}"), "--name `{}` must have {{}} where the photo's name goes", self.name);
        if let Some(file) = &self.coco {
            ensure!(self.name.ends_with(".csv"), "--name `{}` must end in .csv, which --coco writes", self.name);
            coco::spread(file, &self.photos, |photo| self.points_of(photo))?;
        }
        let found = found(&self.photos, &|file| has_ending(file, &PHOTOS))?;
        let mut summary = Summary { output: self.output.clone(), ..Summary::default() };
        let mut entries = Vec::new();
        for photo in found {
            let points = self.points_of(&photo)?;
            if !points.exists() {
                summary.without_points.push(photo);
                continue;
            }
            match self.entry(&photo, &points) {
                Ok(entry) => entries.push(entry),
                Err(error) => summary.failed.push(format!("{error:#}")),
            }
        }
        summary.photos = entries.len();
        summary.points = entries.iter().map(|entry| entry.count).sum();
        Manifest::write(&self.output, &entries)?;
        Ok(Answer::of(&summary)?.failed(!summary.failed.is_empty()))
    }

    /// Where the points of a photo must lie.
    fn points_of(&self, photo: &Path) -> Result<PathBuf> {
        let inner = photo.strip_prefix(&self.photos)?;
        let stem = inner.file_stem().and_then(|stem| stem.to_str());
        let name = self.name.replace("{}", stem.with_context(|| not_text(photo))?);
        Ok(self.points.as_ref().unwrap_or(&self.photos).join(inner).with_file_name(name))
    }

    fn entry(&self, photo: &Path, points: &Path) -> Result<Entry> {
        let bytes = fs::read(photo).with_context(|| format!("cannot read {}", photo.display()))?;
        let reader = image::ImageReader::new(Cursor::new(&bytes)).with_guessed_format()?;
        let (width, height) = reader.into_dimensions().with_context(|| format!("cannot read {}", photo.display()))?;
        let annotations = Annotations::open(points)?;
        let id = photo.strip_prefix(&self.photos)?.with_extension("");
        Ok(Entry {
            version: VERSION,
            // The same names on every system.
            id: id.to_str().with_context(|| not_text(photo))?.replace('\\', "/"),
            photo: self.relative(photo)?,
            points: self.relative(points)?,
            width,
            height,
            count: annotations.len(),
            photo_sha256: origin::digest_of(&bytes),
            points_sha256: origin::digest(points)?,
        })
    }

    /// A path as the manifest has it: from its folder if it lies there, so that both can be moved together.
    fn relative(&self, path: &Path) -> Result<PathBuf> {
        let context = || format!("cannot read {}", path.display());
        let whole = fs::canonicalize(path).with_context(context)?;
        let folder = match self.output.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let folder = fs::canonicalize(folder).with_context(|| format!("cannot write to {}", folder.display()))?;
        Ok(whole.strip_prefix(&folder).map_or(whole.clone(), Path::to_owned))
    }
}

fn not_text(path: &Path) -> String {
    format!("{}: the name is no Unicode text", path.display())
}

#[derive(Default, Serialize)]
struct Summary {
    photos: usize,
    points: usize,
    without_points: Vec<PathBuf>,
    failed: Vec<String>,
    output: PathBuf,
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.without_points.iter().try_for_each(|photo| writeln!(f, "no points  {}", photo.display()))?;
        self.failed.iter().try_for_each(|error| writeln!(f, "left out   {error}"))?;
        writeln!(f, "wrote      {}: {} photos, {} points", self.output.display(), self.photos, self.points)
    }
}
