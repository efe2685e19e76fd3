//! Reads data sets from folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::Sample;
use crate::{Annotations, Error, Image, Result, annotations::json::Coco};

/// How a data set names its photos and its files of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// Your own folder: `photo.png` (or `.jpg`, `.jpeg`) beside `photo_points.csv`. Pictures without points are not
    /// taken as photos.
    Folder,
    /// ShanghaiTech, `part_A/train_data` and the like: `images/IMG_1.jpg`, `ground-truth/GT_IMG_1.mat` (or
    /// `ground_truth`).
    ShanghaiTech,
    /// UCF-QNRF, `Train` or `Test`: `img_0001.jpg` beside `img_0001_ann.mat`.
    UcfQnrf,
    /// JHU-Crowd++, `train`, `val` or `test`: `images/0001.jpg`, `gt/0001.txt`.
    Jhu,
    /// NWPU-Crowd: `images/0001.jpg`, `jsons/0001.json`. The photos of the test part have no points and are left out.
    Nwpu,
}

/// Where a layout keeps its files.
struct Rule {
    images: &'static str,
    points: &'static [&'static str],
    prefix: &'static str,
    suffix: &'static str,
    /// Whether every picture must have points.
    all: bool,
}

impl Layout {
    fn rule(self) -> Rule {
        let rule = |images, points, prefix, suffix, all| Rule { images, points, prefix, suffix, all };
        match self {
            Self::Folder => rule("", &[""], "", "_points.csv", false),
            Self::ShanghaiTech => rule("images", &["ground-truth", "ground_truth"], "GT_", ".mat", true),
            Self::UcfQnrf => rule("", &[""], "", "_ann.mat", true),
            Self::Jhu => rule("images", &["gt"], "", ".txt", true),
            Self::Nwpu => rule("images", &["jsons"], "", ".json", false),
        }
    }
}

/// Photos with their points, read one by one on demand.
///
/// ```
/// use splatport::{Image, data::{Dataset, Layout}};
///
/// let folder = std::env::temp_dir().join("splatport-doc-dataset");
/// std::fs::create_dir_all(&folder).expect("a writable folder");
/// Image::from_u8(8, 8, 1, vec![0; 64])?.save(folder.join("a.png"))?;
/// std::fs::write(folder.join("a_points.csv"), "x,y\n2,3\n").expect("a writable folder");
///
/// let set = Dataset::open(Layout::Folder, &folder)?;
/// assert_eq!((set.len(), set.id(0)), (1, Some("a")));
/// assert_eq!(set.sample(0)?.annotations.points(), [[2.0, 3.0]]);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dataset {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    id: String,
    image: PathBuf,
    points: Points,
}

#[derive(Clone, Debug)]
enum Points {
    File(Layout, PathBuf),
    Coco(Arc<Coco>, PathBuf, u64),
}

/// The file extensions of photos.
const PHOTOS: [&str; 3] = [".jpg", ".jpeg", ".png"];

impl Dataset {
    /// Opens the data set in `folder`, in the order of the photos' names.
    ///
    /// # Errors
    /// [`Error::Read`] for a folder that cannot be listed; [`Error::Format`] naming the points without a photo, the
    /// photo without points, the second photo with the same name, or the folder without any photo.
    pub fn open(layout: Layout, folder: impl AsRef<Path>) -> Result<Self> {
        let (folder, rule) = (folder.as_ref(), layout.rule());
        let images = folder.join(rule.images);
        let places = rule.points.iter().map(|name| folder.join(name));
        let points = places.clone().find(|place| place.is_dir()).unwrap_or_else(|| folder.join(rule.points[0]));
        let marked = files(&points, &[rule.suffix], rule.prefix)?;
        let mut photos = files(&images, &PHOTOS, "")?;
        let mut entries = Vec::with_capacity(marked.len());
        for (id, file) in marked {
            let Some(image) = photos.remove(&id) else {
                return Err(Error::format(&file, format!("no photo `{id}` in {}", images.display())));
            };
            entries.push(Entry { id, image, points: Points::File(layout, file) });
        }
        if let Some((id, photo)) = photos.into_iter().next().filter(|_| rule.all) {
            let name = format!("{}{id}{}", rule.prefix, rule.suffix);
            return Err(Error::format(&photo, format!("no points `{name}` in {}", points.display())));
        }
        if entries.is_empty() {
            return Err(Error::format(&points, format!("no points: no file `{}*{}`", rule.prefix, rule.suffix)));
        }
        Ok(Self { entries })
    }

    /// Opens photos in a folder with their COCO keypoints in one file; ids are the names of the photos.
    ///
    /// # Errors
    /// As [`Annotations::from_coco`]; [`Error::Format`] for a photo that is missing or whose name leads out of the
    /// folder, for a second photo with the same name, or if there is no photo.
    pub fn coco(images: impl AsRef<Path>, file: impl AsRef<Path>) -> Result<Self> {
        let (images, file) = (images.as_ref(), file.as_ref());
        let content = Arc::new(Coco::open(file)?);
        let mut entries = Vec::with_capacity(content.images.len());
        for photo in &content.images {
            let name = &photo.file_name;
            let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
            let image = images.join(name);
            if !plain || !image.is_file() {
                return Err(Error::format(
                    file,
                    format!("image {}: no photo `{name}` in {}", photo.id, images.display()),
                ));
            }
            entries.push(Entry {
                id: name.clone(),
                image,
                points: Points::Coco(content.clone(), file.into(), photo.id),
            });
        }
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        if let Some([first, _]) = entries.array_windows().find(|[a, b]| a.id == b.id) {
            return Err(Error::format(file, format!("a second image for `{}`", first.id)));
        }
        if entries.is_empty() {
            return Err(Error::format(file, "no images"));
        }
        Ok(Self { entries })
    }

    /// The photos that a list names, in its order: the first word of every line is an id, as in NWPU-Crowd's
    /// `train.txt`.
    ///
    /// # Errors
    /// [`Error::Read`] if the list cannot be read, [`Error::Format`] with the line whose id does not exist, or when the
    /// list names no photo.
    pub fn listed(&self, list: impl AsRef<Path>) -> Result<Self> {
        let list = list.as_ref();
        let text = fs::read_to_string(list).map_err(|error| Error::read(list, error))?;
        let words = text.lines().enumerate().filter_map(|(line, text)| Some((line, text.split_whitespace().next()?)));
        let find = |(line, word): (usize, &str)| {
            let entry = self.entries.iter().find(|entry| entry.id == word).cloned();
            entry.ok_or_else(|| Error::format(list, format!("line {}: no photo `{word}`", line + 1)))
        };
        let entries: Vec<_> = words.map(find).collect::<Result<_>>()?;
        if entries.is_empty() { Err(Error::format(list, "no photos")) } else { Ok(Self { entries }) }
    }

    /// The number of photos.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no photo.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The name of a photo: without its extension, or as written in the COCO file.
    pub fn id(&self, index: usize) -> Option<&str> {
        self.entries.get(index).map(|entry| entry.id.as_str())
    }

    /// Reads a photo and its points.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when there is no such photo; the errors of [`Image::open`] and of the points' reader,
    /// naming the file.
    pub fn sample(&self, index: usize) -> Result<Sample> {
        Ok(Sample::new(Image::open(self.photo(index)?)?, self.annotations(index)?))
    }

    /// The file of a photo.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when there is no such photo.
    pub fn photo(&self, index: usize) -> Result<&Path> {
        self.entry(index).map(|entry| entry.image.as_path())
    }

    /// Reads the points of a photo, but not the photo.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when there is no such photo; the errors of the points' reader, naming the file.
    pub fn annotations(&self, index: usize) -> Result<Annotations> {
        match &self.entry(index)?.points {
            Points::Coco(content, file, image) => content.annotations(file, *image),
            Points::File(Layout::Folder, file) => Annotations::from_csv(file),
            Points::File(Layout::ShanghaiTech | Layout::UcfQnrf, file) => Annotations::from_mat(file),
            Points::File(Layout::Jhu, file) => Annotations::from_jhu(file),
            Points::File(Layout::Nwpu, file) => Annotations::from_nwpu(file),
        }
    }

    fn entry(&self, index: usize) -> Result<&Entry> {
        let last = self.len() as f64 - 1.0;
        let (value, what) = (index as f64, "photo of the data set, index");
        self.entries.get(index).ok_or(Error::OutOfRange { what, index: 0, value, min: 0.0, max: last })
    }

    /// Reads all photos, one after the other.
    pub fn samples(&self) -> impl Iterator<Item = Result<Sample>> {
        (0..self.len()).map(|index| self.sample(index))
    }
}

/// The files of a folder whose names have this prefix and one of these endings, by the part in between.
fn files(folder: &Path, endings: &[&str], prefix: &str) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let entries = fs::read_dir(folder).map_err(|error| Error::read(folder, error))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>();
    let mut paths = paths.map_err(|error| Error::read(folder, error))?;
    paths.sort();
    for path in paths {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(Error::format(&path, "the name is not UTF-8"));
        };
        let rest = name.strip_prefix(prefix).unwrap_or_default();
        let id = endings.iter().find_map(|ending| {
            // The extensions of photos may be in upper or lower case.
            let at = rest.len().checked_sub(ending.len()).filter(|&at| rest.is_char_boundary(at))?;
            rest[at..].eq_ignore_ascii_case(ending).then(|| rest[..at].to_owned())
        });
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            let message = format!("a second file for `{id}`");
            if found.insert(id, path.clone()).is_some() {
                return Err(Error::format(&path, message));
            }
        }
    }
    Ok(found)
}
