//! What is learned from, and what is counted on.

use std::path::Path;

use clap::ValueEnum;
use splatport::{
    Annotations, Image,
    data::{Augmentation, CountLaw, Crowd, Sample},
};

/// Side of a crop that is learned from, px.
pub const SIDE: u32 = 128;

/// Photos with points, of objects of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The left half of one photo of cell nuclei to learn from, the right half to count on.
    Nuclei,
    /// Aerial photos of three forests: one to learn from, one to choose the least mass of a peak, one to count on.
    Trees,
    /// Drawn crowds, eight to learn from, eight others to count on.
    Crowds,
}

/// The photos of a kind.
pub struct Task {
    pub name: String,
    pub train: Vec<Sample>,
    /// What the least mass of a peak is chosen on.
    pub validate: Vec<Sample>,
    pub test: Vec<Sample>,
    pub augmentation: Augmentation,
    /// Counts are compared in tiles of so many pixels.
    pub tile: [u32; 2],
    /// Farthest a peak may lie from its point, px: the mean radius of the objects that are counted, one cell at least.
    pub radius: f64,
}

/// Crops of the photo as it is, every second mirrored.
const PLAIN: Augmentation = Augmentation { resize: [1.0, 1.0], crop: SIDE, flip: 0.5, grey: 0.0 };

impl Kind {
    pub fn task(self) -> anyhow::Result<Task> {
        let (train, validate, test, augmentation, tile) = match self {
            Self::Nuclei => {
                let [left, right] = nuclei()?.halves()?;
                (vec![left.clone()], vec![left], vec![right], PLAIN, [SIDE; 2])
            }
            Self::Trees => {
                // Crowns are 21 px wide in the first photo, 38 and 36 px in the others. It is cut because what is resized is the
                // whole of a sample.
                let train = open("trees_yell_528000_half.jpg")?.tiles([256, 256])?;
                let (validate, test) = (open("trees_yell_541000.jpg")?, open("trees_osbs_029.png")?);
                (train, vec![validate], vec![test], Augmentation { resize: [1.5, 2.0], ..PLAIN }, [100; 2])
            }
            Self::Crowds => {
                let scenes = (1..=16).map(crowd).collect::<splatport::Result<Vec<_>>>()?;
                let (train, test) = scenes.split_at(8);
                (train.to_vec(), train.to_vec(), test.to_vec(), PLAIN, CROWD.size)
            }
        };
        // An object ends at two of its true scales.
        let radii = test.iter().flat_map(|sample| sample.scales.iter().flatten().map(|[a, b]| 2.0 * (a * b).sqrt()));
        let radii: Vec<f64> = radii.collect();
        let radius = (radii.iter().sum::<f64>() / radii.len().max(1) as f64).max(8.0);
        let name = self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        Ok(Task { name, train, validate, test, augmentation, tile, radius })
    }
}

const CROWD: Crowd = {
    let law = CountLaw { median: 60.0, spread: 0.4, range: [30, 150], empty: 0.0 };
    Crowd { size: [512, 384], law, least_head: 8.0, least_visible: 0.15, click_noise: 0.08 }
};

fn crowd(seed: u64) -> splatport::Result<Sample> {
    Ok(CROWD.scene(seed)?.sample)
}

fn open(name: &str) -> splatport::Result<Sample> {
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data").join(name);
    let points = photo.with_file_name(format!("{}_points.csv", photo.file_stem().unwrap_or_default().display()));
    Ok(Sample::new(Image::open(photo)?, Annotations::from_csv(points)?))
}

/// With round scales of the masks' areas.
fn nuclei() -> splatport::Result<Sample> {
    let sample = open("nuclei_dsb2018.png")?;
    let (major, minor) = (sample.annotations.numeric("sigma_major")?, sample.annotations.numeric("sigma_minor")?);
    let scales = major.iter().zip(&minor).map(|(a, b)| [(a * b).sqrt(); 2]).collect();
    Ok(Sample { scales: Some(scales), ..sample })
}
