//! The nuclei photo: its left half to learn from, its right half to count on.

use std::path::Path;

use rand::{Rng, rngs::StdRng};
use splatport::{Annotations, Image, View};

/// Side of a crop and of an evaluated tile, px.
pub const SIDE: u32 = 128;

/// A part of a photo with the points on it.
pub struct Half {
    pub image: Image,
    pub points: Annotations,
}

pub struct Halves {
    pub train: Half,
    pub test: Half,
}

impl Halves {
    /// Opens the photo beside the crate `root` and cuts it in the middle.
    pub fn open(root: &str) -> anyhow::Result<Self> {
        let folder = Path::new(root).join("../examples/data");
        let image = Image::open(folder.join("nuclei_dsb2018.png"))?;
        let points = Annotations::from_csv(folder.join("nuclei_dsb2018_points.csv"))?;
        let middle = image.width() / 2;
        Ok(Self { train: part(&image, &points, 0, middle)?, test: part(&image, &points, middle, image.width())? })
    }
}

/// Columns `from..to` of a photo, with the points on them.
fn part(image: &Image, points: &Annotations, from: u32, to: u32) -> anyhow::Result<Half> {
    let (width, values) = (image.width() as usize, image.to_f32());
    let row = image.channels() as usize;
    let columns = from as usize * row..to as usize * row;
    let pixels: Vec<f32> =
        values.chunks_exact(width * row).flat_map(|line| line[columns.clone()].iter().copied()).collect();
    let inside = points.points().iter().filter(|[x, _]| (f64::from(from)..f64::from(to)).contains(x));
    let moved: Vec<[f64; 2]> = inside.map(|[x, y]| [x - f64::from(from), *y]).collect();
    Ok(Half {
        image: Image::from_f32(to - from, image.height(), image.channels(), &pixels)?,
        points: Annotations::new(moved)?,
    })
}

/// A crop of [`SIDE`] px, mirrored or not.
#[derive(Clone, Copy)]
pub struct Crop {
    pub corner: [u32; 2],
    pub flip: bool,
}

impl Crop {
    /// Anywhere on an image of `size` px.
    pub fn random(size: [u32; 2], rng: &mut StdRng) -> Self {
        Self { corner: size.map(|side| rng.random_range(0..=side - SIDE)), flip: rng.random() }
    }

    /// What it does to the coordinates of an image of `size` px.
    pub fn view(&self, size: [u32; 2]) -> splatport::Result<View> {
        let view = View::of(size).crop(self.corner.map(f64::from), [SIDE, SIDE])?;
        Ok(if self.flip { view.flip() } else { view })
    }
}
