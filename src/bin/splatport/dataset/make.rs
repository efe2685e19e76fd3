//! `splatport manifest`: finds photos with points.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::fmt::{self, Display};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::coco;
use super::manifest::{self, Entry, Manifest, VERSION};
use crate::answer::Answer;
use crate::folder::{found, has_ending};
use crate::options::{self, wrong_usage};
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
    #[arg(long, default_value = "{}.csv", value_parser = pattern)]
    name: String,
    /// A COCO keypoints file of all photos: its marked joints are first written to the folder of the points, a file a photo.
    #[arg(long, requires = "points")]
    coco: Option<PathBuf>,
}

impl Make {
    /// Runs the command.
    pub fn run(self) -> Result<Answer> {
        if let Some(file) = &self.coco {
            if !self.name.ends_with(".csv") {
                let told = format!("--name `{}` must end in .csv, which --coco writes", self.name);
                return Err(wrong_usage(&told).into());
            }
            coco::spread(file, &self.photos, |photo| self.points_of(photo))?;
        }
        let found = found(&self.photos, &|file| has_ending(file, &PHOTOS))?;
        let mut summary = Summary { output: self.output.clone(), ..Summary::default() };
        let link = |folder: &PathBuf| format!("{}: a link to a folder is not followed", folder.display());
        summary.failed = found.links.iter().map(link).collect();
        let mut entries = Vec::new();
        // By the name of their results.
        let mut taken = HashMap::new();
        for photo in found.files {
            match self.entry(&photo) {
                Ok(Some(entry)) => match taken.entry(entry.id.clone()) {
                    Vacant(place) => {
                        place.insert(photo);
                        entries.push(entry);
                    }
                    Occupied(first) => summary.failed.push(format!(
                        "{}: its results would have the name of those of {}: give it another",
                        photo.display(),
                        first.get().display()
                    )),
                },
                Ok(None) => summary.without_points.push(photo),
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

    /// A photo with its points, if it has some.
    fn entry(&self, photo: &Path) -> Result<Option<Entry>> {
        let points = &self.points_of(photo)?;
        if !points.exists() {
            return Ok(None);
        }
        let bytes = fs::read(photo).with_context(|| format!("cannot read {}", photo.display()))?;
        let reader = image::ImageReader::new(Cursor::new(&bytes)).with_guessed_format()?;
        let (width, height) = reader.into_dimensions().with_context(|| format!("cannot read {}", photo.display()))?;
        let annotations = options::points(points)?;
        let id = manifest::id(&photo.strip_prefix(&self.photos)?.with_extension(""));
        Ok(Some(Entry {
            version: VERSION,
            id: id.with_context(|| not_text(photo))?,
            photo: self.relative(photo)?,
            points: self.relative(points)?,
            width,
            height,
            count: annotations.len(),
            photo_sha256: origin::digest_of(&bytes),
            points_sha256: origin::digest(points)?,
        }))
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

/// The name of points with a place for that of their photo.
fn pattern(text: &str) -> Result<String, String> {
    let named = text.contains("{}").then(|| text.to_owned());
    named.ok_or_else(|| "it must have {} where the photo's name goes".to_owned())
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
