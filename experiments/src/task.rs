//! What is learned from, and what is counted on.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use splatport::{
    Annotations, Image,
    data::{Augmentation, CountLaw, Crowd, Sample},
};

/// Photos with points, of objects of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Nuclei of a time lapse, two frames to learn from and two later ones to count on: what options may be chosen on.
    /// All five for `ownership`.
    Scratch,
    /// The left half of one photo of cell nuclei to learn from, the right half to count on. The whole for `ownership`.
    Nuclei,
    /// Aerial photos of three forests: one to learn from, one to choose the least mass of a peak, one to count on.
    Trees,
    /// Drawn crowds, eight to learn from, eight others to count on. As many as seeds for `ownership`.
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

/// How crops are made of photos.
#[derive(Debug, Clone, Copy)]
pub struct Crops {
    /// Side, px.
    pub side: u32,
    /// As the paper does: resized by up to a quarter, mirrored, grey, of whole photos. Otherwise mirrored only.
    pub full: bool,
}

impl Crops {
    /// Of photos that are enlarged by these factors.
    fn augmentation(self, enlarged: [f64; 2]) -> Augmentation {
        let papers = Augmentation { crop: self.side, ..Augmentation::default() };
        let middle = (enlarged[0] + enlarged[1]) / 2.0;
        if self.full {
            Augmentation { resize: papers.resize.map(|factor| middle * factor), ..papers }
        } else {
            Augmentation { resize: enlarged, grey: 0.0, ..papers }
        }
    }
}

impl Kind {
    /// Those that tables are made of.
    pub const COMPARED: [Self; 3] = [Self::Nuclei, Self::Trees, Self::Crowds];

    pub fn task(self, crops: Crops) -> anyhow::Result<Task> {
        let plain = crops.augmentation([1.0, 1.0]);
        let (train, validate, test, augmentation, tile) = match self {
            Self::Scratch => {
                let frame = |n| nuclei(&format!("scratch_t{n:02}.png"));
                let train = vec![frame(0)?, frame(1)?];
                (train.clone(), train, vec![frame(3)?, frame(4)?], plain, [144, 210])
            }
            Self::Nuclei => {
                let [left, right] = nuclei("nuclei_dsb2018.png")?.halves()?;
                (vec![left.clone()], vec![left], vec![right], plain, [128; 2])
            }
            Self::Trees => {
                // Crowns are 21 px wide in the first photo, 38 and 36 px in the others. It is cut because what is
                // resized is the whole of a sample.
                let whole = open("trees_yell_528000_half.jpg")?;
                let train = if crops.full { vec![whole] } else { whole.tiles([256, 256])? };
                let (validate, test) = (open("trees_yell_541000.jpg")?, open("trees_osbs_029.png")?);
                (train, vec![validate], vec![test], crops.augmentation([1.5, 2.0]), [100; 2])
            }
            Self::Crowds => {
                let scenes = (1..=16).map(crowd).collect::<splatport::Result<Vec<_>>>()?;
                let (train, test) = scenes.split_at(8);
                (train.to_vec(), train.to_vec(), test.to_vec(), plain, CROWD.size)
            }
        };
        // An object ends at two of its true scales.
        let radii = test.iter().flat_map(|sample| sample.scales.iter().flatten().map(|[a, b]| 2.0 * (a * b).sqrt()));
        let radii: Vec<f64> = radii.collect();
        let radius = (radii.iter().sum::<f64>() / radii.len().max(1) as f64).max(8.0);
        Ok(Task { name: crate::name(self), train, validate, test, augmentation, tile, radius })
    }
}

/// Crowds with large heads.
pub const CROWD: Crowd = {
    let law = CountLaw { median: 60.0, spread: 0.4, range: [30, 150], empty: 0.0 };
    Crowd { size: [512, 384], law, least_head: 8.0, least_visible: 0.15, click_noise: 0.08 }
};

fn crowd(seed: u64) -> splatport::Result<Sample> {
    Ok(CROWD.scene(seed)?.sample)
}

/// The file of a shipped photo.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data").join(name)
}

/// A shipped photo with its points.
pub fn open(name: &str) -> splatport::Result<Sample> {
    let photo = shipped(name);
    let points = photo.with_file_name(format!("{}_points.csv", photo.file_stem().unwrap_or_default().display()));
    Ok(Sample::new(Image::open(photo)?, Annotations::from_csv(points)?))
}

/// With round scales of the masks' areas.
fn nuclei(name: &str) -> splatport::Result<Sample> {
    let sample = open(name)?;
    let (major, minor) = (sample.annotations.numeric("sigma_major")?, sample.annotations.numeric("sigma_minor")?);
    let scales = major.iter().zip(&minor).map(|(a, b)| [(a * b).sqrt(); 2]).collect();
    Ok(Sample { scales: Some(scales), ..sample })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_crops() {
        let crops = Crops { side: 512, full: true };
        let trees = Kind::Trees.task(crops).expect("task");
        assert_eq!((trees.train.len(), trees.train[0].image.width()), (1, 1150));
        let papers = Augmentation { resize: [1.75 * 0.75, 1.75 * 1.25], ..Augmentation::default() };
        assert_eq!(trees.augmentation, papers);
        assert_eq!(crops.augmentation([1.0, 1.0]), Augmentation::default());
        let plain = Kind::Nuclei.task(Crops { side: 128, full: false }).expect("task").augmentation;
        assert_eq!(plain, Augmentation { resize: [1.0, 1.0], crop: 128, flip: 0.5, grey: 0.0 });
    }

    #[test]
    fn frames_to_choose_on_are_not_compared_on() {
        let scratch = Kind::Scratch.task(Crops { side: 128, full: false }).expect("task");
        assert!(!Kind::COMPARED.contains(&Kind::Scratch));
        assert!(scratch.train.iter().all(|train| scratch.test.iter().all(|test| test.image != train.image)));
    }
}
