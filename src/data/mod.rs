//! Photos with points for training and evaluation: data sets in folders, synthetic pictures, splits and augmentation.
//!
//! | what | where |
//! |---|---|
//! | a photo and its points in memory | [`Sample`] |
//! | folders of ShanghaiTech, UCF-QNRF, JHU-Crowd++, NWPU-Crowd, COCO, or your own | [`Dataset`] |
//! | crowds with known heads, as a [`Scene`]; figures with known joints, as a [`Sample`] | [`Crowd`], [`Figures`] |
//! | the paper's random crops, the same for photo, points and Gaussians | [`Augmentation`] |
//!
//! All of it runs on the host. Randomness comes from a seed, through ChaCha8 and the functions of the crate `libm`: the
//! same seed gives the same bytes on every machine.

mod augmentation;
mod crowd;
mod dataset;
mod dice;
mod figures;
mod painter;
mod raster;
mod sample;
mod scene;

pub use self::{
    augmentation::{Augmentation, Drawn},
    crowd::{CountLaw, Crowd},
    dataset::{Dataset, Layout},
    figures::{Figures, JOINTS},
    sample::Sample,
    scene::Scene,
};
