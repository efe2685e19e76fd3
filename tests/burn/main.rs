//! Burn: losses as operations on tensors, networks, training.

#[path = "../common/mod.rs"]
mod common;
mod networks;
mod operation;
mod trainer;

use std::{fs, path::PathBuf};

use burn_autodiff::Autodiff;
use splatport::{Annotations, Grid, Kernel, Loss, Profile, Splat};

pub use common::{R, device};

/// Burn on the CPU: densities and gradients are copied.
pub type Cpu = Autodiff<burn_flex::Flex>;
/// Burn on the device of the loss: the same memory.
pub type Same = Autodiff<burn_cubecl::CubeBackend<R, f32, i32, u32>>;

/// A crop: width, height, points.
pub type Crop<'a> = (u32, u32, &'a [[f64; 2]]);

/// The loss of crops with cells of 8 px and round Gaussians at the points.
pub fn crops(crops: &[Crop<'_>]) -> Loss<R> {
    let splat = |(width, height, points): &Crop<'_>| {
        let points = Annotations::new(points.to_vec()).expect("points");
        Splat::round(device(), &points, [*width, *height], 6.0).expect("splat")
    };
    let splats: Vec<_> = crops.iter().map(splat).collect();
    let images = splats.iter().zip(crops).map(|(splat, (width, height, _))| (splat, Grid::over(*width, *height, 8)));
    let options = Profile::Recommended.kernel();
    Kernel::of_all(device(), &images.collect::<Vec<_>>(), options).expect("kernel").loss()
}

/// The loss of one crop.
pub fn crop(width: u32, height: u32, points: &[[f64; 2]]) -> Loss<R> {
    crops(&[(width, height, points)])
}

/// Numbers in 0..1 that are multiples of 1/1024, always the same.
pub fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 379 + 211) % 1021) as f32 / 1024.0).collect()
}

/// A file with this content in a folder of this process.
pub fn temporary(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("splatport-burn-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("folder");
    let path = folder.join(name);
    fs::write(&path, bytes).expect("file");
    path
}
