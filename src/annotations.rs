//! Points that were marked on a photo, with further columns of data about each.

#[cfg(feature = "data")]
pub(crate) mod json;
#[cfg(feature = "data")]
mod matlab;
mod read;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use num_traits::Float;

use crate::error::{Error, Result, check_length, one_line};
use crate::io::atomic;

/// The annotations of one image: one point each, and the further columns of their file.
///
/// Points are in px, x to the right and y down, the center of the top-left pixel at (0.5, 0.5). An empty list, equal
/// points and points outside the image are all valid.
///
/// ```
/// use splatport::Annotations;
///
/// let annotations = Annotations::new([[10.5, 4.0], [90.0, 4.0], [10.5, 4.0]])?;
/// assert_eq!(annotations.len(), 3);
/// assert_eq!(annotations.duplicates(), [2]);
/// assert_eq!(annotations.outside(64, 32), [1]);
/// # Ok::<(), splatport::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    points: Vec<[f64; 2]>,
    columns: Vec<Column>,
    /// The file, for later errors about a column.
    path: Option<PathBuf>,
}

/// Compares points and columns. The file that they came from makes no difference.
impl PartialEq for Annotations {
    fn eq(&self, other: &Self) -> bool {
        self.points == other.points && self.columns == other.columns
    }
}

/// A further column of a file, besides x and y: one text per point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    name: String,
    values: Vec<String>,
}

impl Column {
    /// A column of values, as text.
    pub fn new<T: ToString>(name: &str, values: impl IntoIterator<Item = T>) -> Self {
        Self { name: name.into(), values: values.into_iter().map(|value| value.to_string()).collect() }
    }

    /// The name in the header.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text for every point, without surrounding white space.
    pub fn values(&self) -> &[String] {
        &self.values
    }
}

impl Annotations {
    /// Annotations at `points`, each x then y, px.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first row that is NaN or infinite.
    pub fn new(points: impl Into<Vec<[f64; 2]>>) -> Result<Self> {
        let points = points.into();
        for (what, axis) in [("x", 0), ("y", 1)] {
            if let Some(index) = points.iter().position(|point| !point[axis].is_finite()) {
                return Err(Error::NotFinite { what, index, value: points[index][axis] });
            }
        }
        Ok(Self { points, ..Self::default() })
    }

    /// Annotations at `(xs[i], ys[i])`, px.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length, and as [`new`](Self::new).
    ///
    /// ```
    /// use splatport::Annotations;
    ///
    /// let annotations = Annotations::from_slices(&[1.5_f32, 2.5], &[3.0, 4.0])?;
    /// assert_eq!(annotations.points(), [[1.5, 3.0], [2.5, 4.0]]);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    pub fn from_slices<F: Float>(xs: &[F], ys: &[F]) -> Result<Self> {
        check_length("ys", xs.len(), ys.len())?;
        // A value that does not convert to f64 becomes NaN, which is rejected.
        let convert = |value: &F| value.to_f64().unwrap_or(f64::NAN);
        let points = xs.iter().zip(ys).map(|(x, y)| [convert(x), convert(y)]);
        Self::new(points.collect::<Vec<_>>())
    }

    /// Reads a file of points. The file extension determines the format: `.csv` ([`from_csv`](Self::from_csv)) or
    /// `.npy` ([`from_npy`](Self::from_npy)); with the feature `data` also `.mat` (ShanghaiTech, UCF-QNRF), `.txt`
    /// (JHU-Crowd++) and `.json` (NWPU-Crowd).
    ///
    /// # Errors
    /// [`Error::Format`] for any other extension, and those of the format's own function.
    ///
    /// ```
    /// use splatport::Annotations;
    ///
    /// let path = std::env::temp_dir().join("splatport-doc-open.CSV");
    /// std::fs::write(&path, "x,y\n1.5,2\n").expect("a writable folder");
    /// assert_eq!(Annotations::open(&path)?.points(), [[1.5, 2.0]]);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        match ending.as_ref().and_then(|ending| ending.to_str()) {
            Some("csv") => Self::from_csv(path),
            Some("npy") => Self::from_npy(path),
            #[cfg(feature = "data")]
            Some("mat") => Self::from_mat(path),
            #[cfg(feature = "data")]
            Some("txt") => Self::from_jhu(path),
            #[cfg(feature = "data")]
            Some("json") => Self::from_nwpu(path),
            _ => Err(Error::format(path, format!("the name ends in none of {ENDINGS}"))),
        }
    }

    /// Reads a CSV file whose header has the columns `x` and `y`, at any position.
    ///
    /// White space around fields, blank lines, a byte-order mark and Windows line endings are ignored. Further columns
    /// are kept as text.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read, [`Error::Format`] naming the missing column or the line that is
    /// wrong, [`Error::In`] around [`Error::NotFinite`] with the row, counted from 0 below the header.
    ///
    /// ```
    /// use splatport::Annotations;
    ///
    /// let path = std::env::temp_dir().join("splatport-doc-points.csv");
    /// std::fs::write(&path, "area,x,y\n12,1.5,2\n7,3,4.25\n").expect("a writable folder");
    /// let annotations = Annotations::from_csv(&path)?;
    /// assert_eq!(annotations.points(), [[1.5, 2.0], [3.0, 4.25]]);
    /// assert_eq!(annotations.numeric("area")?, [12.0, 7.0]);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    pub fn from_csv(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (points, columns) = read::csv(path)?;
        let annotations = Self::new(points).map_err(|error| error.within(path))?;
        Ok(annotations.of_file(path, columns))
    }

    /// Writes a CSV file for [`from_csv`](Self::from_csv), completely or not at all: the exact points, and the further
    /// columns.
    ///
    /// # Errors
    /// [`Error::Write`] if the file cannot be written; a file already at `path` is then unchanged.
    ///
    /// ```
    /// use splatport::{Annotations, Column};
    ///
    /// let path = std::env::temp_dir().join("splatport-doc-save.csv");
    /// let points = Annotations::new([[1.5, 2.0], [3.0, 0.1]])?.with_columns(vec![Column::new("area", [12, 7])])?;
    /// points.save_csv(&path)?;
    /// assert_eq!(Annotations::from_csv(&path)?, points);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    pub fn save_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        atomic::write(path.as_ref(), |file| Ok(self.write_csv(file)?))
    }

    /// Writes the same CSV text as [`save_csv`](Self::save_csv) to any writer.
    ///
    /// # Errors
    /// The writer's own.
    pub fn write_csv(&self, output: impl Write) -> std::io::Result<()> {
        let mut writer = csv::Writer::from_writer(output);
        writer.write_record(["x", "y"].into_iter().chain(self.columns.iter().map(Column::name)))?;
        for (row, [x, y]) in self.points.iter().enumerate() {
            writer.serialize((x, y, self.columns.iter().map(|column| &column.values[row]).collect::<Vec<_>>()))?;
        }
        writer.flush()
    }

    /// Reads an annotation file of JHU-Crowd++: lines of x, y, width, height, occlusion and blur, separated by spaces,
    /// without a header.
    ///
    /// The last four are kept as the columns `box_w`, `box_h` (px), `occlusion` (1 visible, 2 partial, 3 full) and
    /// `blur` (0, 1). The data set gives whole pixels and does not define a coordinate rule. They are taken as indices
    /// from 0, so half a pixel is added. An empty file means a photo without people.
    ///
    /// # Errors
    /// As [`from_csv`](Self::from_csv).
    #[cfg(feature = "data")]
    pub fn from_jhu(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (mut points, columns) = read::jhu(path)?;
        points.iter_mut().flatten().for_each(|coordinate| *coordinate += 0.5);
        Self::new(points).map_err(|error| error.within(path)).map(|annotations| annotations.of_file(path, columns))
    }

    /// The rows `kept`, each point moved by `place`, with their columns.
    #[cfg(feature = "data")]
    pub(crate) fn moved(&self, kept: &[usize], place: impl Fn([f64; 2]) -> [f64; 2]) -> Self {
        let points = kept.iter().map(|&n| place(self.points[n])).collect();
        let part = |column: &Column| Column::new(&column.name, kept.iter().map(|&n| &column.values[n]));
        Self { points, columns: self.columns.iter().map(part).collect(), path: self.path.clone() }
    }

    /// Replaces the further columns; each must have one text per point.
    ///
    /// # Errors
    /// [`Error::Length`] for a column of another length, [`Error::Column`] for one that is called `x` or `y` or has the
    /// name of an earlier one.
    pub fn with_columns(self, columns: Vec<Column>) -> Result<Self> {
        let mut names = HashSet::from(["x", "y"]);
        for Column { name, values } in &columns {
            check_length("values of a column", self.len(), values.len())?;
            if !names.insert(name) {
                return Err(Error::Column {
                    name: name.clone(),
                    reason: "there is one of this name already".to_owned(),
                });
            }
        }
        drop(names);
        Ok(self.with(columns))
    }

    pub(crate) fn with(self, columns: Vec<Column>) -> Self {
        Self { columns, ..self }
    }

    /// Adds the file's path and its further columns.
    fn of_file(self, path: &Path, columns: Vec<Column>) -> Self {
        Self { columns, path: Some(path.into()), ..self }
    }

    /// Reads a NumPy array `[n, 2]` of any number type and byte order, x then y.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read, [`Error::Format`] if it is not such an array,
    /// [`Error::In`] around [`Error::NotFinite`] with the row.
    pub fn from_npy(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let points = read::npy(path)?;
        let annotations = Self::new(points).map_err(|error| error.within(path))?;
        Ok(annotations.of_file(path, Vec::new()))
    }

    /// The number of points.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there are no points.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The points, x then y, px.
    pub fn points(&self) -> &[[f64; 2]] {
        &self.points
    }

    /// The further columns of the file, in its order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// A further column as numbers, one for every point.
    ///
    /// # Errors
    /// [`Error::Column`] if there is no such column or one of its values is not a finite number;
    /// [`Error::In`] around it if the annotations came from a file.
    pub fn numeric(&self, name: &str) -> Result<Vec<f64>> {
        self.parse_column(name).map_err(|reason| {
            let error = Error::Column { name: name.into(), reason: one_line(&reason) };
            match &self.path {
                Some(path) => error.within(path),
                None => error,
            }
        })
    }

    fn parse_column(&self, name: &str) -> std::result::Result<Vec<f64>, String> {
        let Some(column) = self.columns.iter().find(|column| column.name == name) else {
            let names = self.columns.iter().map(Column::name);
            return Err(format!("missing; further columns: {}", listed(names)));
        };
        let parse = |(row, text): (usize, &String)| match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(format!("row {row} is `{text}`, not a finite number")),
        };
        column.values.iter().enumerate().map(parse).collect()
    }

    /// The rows, ascending, of all points that equal an earlier one.
    pub fn duplicates(&self) -> Vec<usize> {
        // Adding 0 makes -0 equal to 0.
        let key = |point: &[f64; 2]| point.map(|value| (value + 0.0).to_bits());
        let mut seen = HashSet::with_capacity(self.len());
        let repeated = |row: &usize| !seen.insert(key(&self.points[*row]));
        (0..self.len()).filter(repeated).collect()
    }

    /// The rows, ascending, of all points not in `0 <= x < width`, `0 <= y < height`, px.
    pub fn outside(&self, width: u32, height: u32) -> Vec<usize> {
        let (width, height) = (f64::from(width), f64::from(height));
        let outside = |[x, y]: [f64; 2]| !(0.0..width).contains(&x) || !(0.0..height).contains(&y);
        (0..self.len()).filter(|&row| outside(self.points[row])).collect()
    }
}

/// The formats that [`Annotations::open`] knows.
const ENDINGS: &str = match cfg!(feature = "data") {
    true => "`.csv`, `.npy`, `.mat`, `.txt`, `.json`",
    false => "`.csv`, `.npy`",
};

/// Joins names for a message.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
