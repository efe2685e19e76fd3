//! Photos with points for training and evaluation: data sets in folders, synthetic pictures, splits and augmentation.
//!
//! | what | where |
//! |---|---|
//! | a photo and its points in memory | [`Sample`] |
//! | folders of ShanghaiTech, UCF-QNRF, JHU-Crowd++, NWPU-Crowd, COCO, or of one's own | [`Dataset`] |
//! | crowds of known heads, as a [`Scene`]; figures of known joints, as a [`Sample`] | [`Crowd`], [`Figures`] |
//! | the paper's random crops, the same for photo, points and Gaussians | [`Augmentation`] |
//!
//! All of it runs on the host. What is random comes from a seed, by ChaCha8 and functions of the crate `libm`: the same seed gives
//! the same bytes on every machine.

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
