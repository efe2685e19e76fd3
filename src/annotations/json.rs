//! Points from JSON files: COCO's keypoints, NWPU-Crowd.

use std::fs;
use std::path::Path;

use serde::{Deserialize, de::DeserializeOwned};

use super::{Annotations, Column};
use crate::error::{Error, Result, check_length};

/// The longest name of a keypoint, bytes: every joint of every person is told with its own.
const LONGEST_NAME: usize = 256;

/// What of COCO's `annotations/person_keypoints_*.json` is used.
#[derive(Debug, Deserialize)]
pub(crate) struct Coco {
    pub(crate) images: Vec<CocoImage>,
    #[serde(default)]
    categories: Vec<CocoCategory>,
    annotations: Vec<CocoPerson>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CocoImage {
    pub(crate) id: u64,
    pub(crate) file_name: String,
}

#[derive(Debug, Deserialize)]
struct CocoCategory {
    id: u64,
    #[serde(default)]
    keypoints: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct CocoPerson {
    id: u64,
    image_id: u64,
    category_id: u64,
    #[serde(default)]
    keypoints: Vec<f64>,
    bbox: Option<[f64; 4]>,
}

#[derive(Deserialize)]
struct Nwpu {
    points: Vec<[f64; 2]>,
    boxes: Option<Vec<[f64; 4]>>,
    human_num: Option<usize>,
}

impl Coco {
    /// Reads a file, its persons in the order of their photos.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file: Self = json(path)?;
        for category in &file.categories {
            if let Some(name) = category.keypoints.iter().find(|name| name.len() > LONGEST_NAME) {
                let (id, length) = (category.id, name.len());
                let reason = format!("the name of a keypoint takes {length} bytes, more than {LONGEST_NAME}");
                return Err(Error::format(path, format!("category {id}: {reason}")));
            }
        }
        file.annotations.sort_by_key(|person| person.image_id);
        Ok(file)
    }
}

/// Reads a file as JSON; an error gives the line and column.
fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(|error| Error::read(path, error))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::format(path, error.to_string()))
}

impl Annotations {
    /// Reads the marked joints (visibility 1, hidden, or 2, visible) of all persons on image `image` from a COCO keypoints file.
    ///
    /// Columns: `name` of the joint, `visibility`, `person` (the annotation's id), `box_w` and `box_h` of the person, px. COCO gives
    /// the index of the pixel, from 0, that a joint is in: half a pixel is added.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read; [`Error::Format`] with line and column, or the annotation that is wrong, or
    /// when there is no such image; [`Error::In`] around [`Error::NotFinite`] with the row.
    pub fn from_coco(path: impl AsRef<Path>, image: u64) -> Result<Self> {
        let path = path.as_ref();
        let file = Coco::open(path)?;
        if !file.images.iter().any(|entry| entry.id == image) {
            return Err(Error::format(path, format!("no image of id {image}")));
        }
        file.annotations(path, image)
    }

    /// Reads an annotation of NWPU-Crowd: `points` `[n, 2]` and, where there are, `boxes` `[n, 4]` (left, top, right, bottom; kept
    /// as columns `box_w` and `box_h`), px.
    ///
    /// The set does not state its rule; its fractional coordinates are taken as measured from the corner of the photo, as ours.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read; [`Error::Format`] with line and column; [`Error::In`] around [`Error::Length`]
    /// when there is not one box for every point or `human_num` differs, or [`Error::NotFinite`] with the row.
    pub fn from_nwpu(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file: Nwpu = json(path)?;
        let within = |error: Error| error.within(path);
        check_length("points", file.human_num.unwrap_or(file.points.len()), file.points.len()).map_err(within)?;
        let mut columns = Vec::new();
        if let Some(boxes) = &file.boxes {
            check_length("boxes", file.points.len(), boxes.len()).map_err(within)?;
            columns.push(Column::new("box_w", boxes.iter().map(|side| side[2] - side[0])));
            columns.push(Column::new("box_h", boxes.iter().map(|side| side[3] - side[1])));
        }
        Self::new(file.points).map_err(within).map(|annotations| annotations.of_file(path, columns))
    }
}

impl Coco {
    /// The marked joints on one image.
    pub(crate) fn annotations(&self, path: &Path, image: u64) -> Result<Annotations> {
        let mut points = Vec::new();
        let mut columns = ["name", "visibility", "person", "box_w", "box_h"].map(|name| Column::new::<f64>(name, []));
        let first = self.annotations.partition_point(|person| person.image_id < image);
        for person in self.annotations[first..].iter().take_while(|person| person.image_id == image) {
            let wrong = |reason: String| Error::format(path, format!("annotation {}: {reason}", person.id));
            let category = self.categories.iter().find(|category| category.id == person.category_id);
            let names = category.map_or(&[][..], |category| &category.keypoints);
            let (joints, rest) = person.keypoints.as_chunks::<3>();
            if !rest.is_empty() || (joints.len() != names.len() && !joints.is_empty()) {
                let got = person.keypoints.len();
                return Err(wrong(format!("{got} numbers for the {} keypoints of its category", names.len())));
            }
            for (name, &[x, y, visibility]) in names.iter().zip(joints) {
                match visibility {
                    0.0 => continue,
                    1.0 | 2.0 => points.push([x + 0.5, y + 0.5]),
                    _ => return Err(wrong(format!("visibility of `{name}` is {visibility}, not 0, 1 or 2"))),
                }
                let side = |k: usize| person.bbox.map_or_else(String::new, |sides| sides[k].to_string());
                let row = [name.clone(), visibility.to_string(), person.id.to_string(), side(2), side(3)];
                for (column, value) in columns.iter_mut().zip(row) {
                    column.values.push(value);
                }
            }
        }
        Annotations::new(points).map_err(|error| error.within(path)).map(|read| read.of_file(path, columns.into()))
    }
}
