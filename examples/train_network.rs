//! Trains a network to count: photos with points, Gaussians, kernels of random crops, training steps, scores, a
//! checkpoint.
//!
//! `cargo run --release --features burn,data --example train_network [STEPS] [CHECKPOINT]` takes 100 steps by default and writes
//! `target/train_network.safetensors`. Run again, it continues from there. The pictures are synthetic, so nothing has
//! to be downloaded; [`splatport::data::Dataset`] reads a folder of your own.

use anyhow::Result;
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_optim::{AdamConfig, lr_scheduler::constant::ConstantLr};
use splatport::{
    Discrepancy, Grid, Kernel, Profile, Wgpu,
    burn::{ProgressBar, Trainer, networks, predict},
    data::{Augmentation, CountLaw, Crowd, Sample},
    evaluation::CountErrors,
    splat::CropTarget,
};

/// Burn's CPU backend. With `burn_cubecl::CubeBackend` on the losses' device, no data would leave that device.
type Backend = Autodiff<Flex>;

const CROP: u32 = 128;
const BATCH: usize = 4;

fn main() -> Result<()> {
    let steps: u64 = std::env::args().nth(1).map_or(Ok(100), |text| text.parse())?;
    let checkpoint = std::env::args().nth(2).unwrap_or_else(|| "target/train_network.safetensors".to_owned());
    let (device, place) = (Wgpu::best()?, Default::default());
    println!("losses on {}, network on the CPU", device.name());

    let law = CountLaw { median: 30.0, ..CountLaw::SHANGHAITECH_B };
    let crowd = Crowd { size: [384, 256], law, ..Crowd::default() };
    let samples: Vec<Sample> = (1..=8).map(|seed| Ok(crowd.scene(seed)?.sample)).collect::<Result<_>>()?;
    let (learned, held_back) = samples.split_at(6);

    // The Gaussians of every photo are fitted once.
    let pairs: Vec<_> = learned.iter().map(|sample| (&sample.image, &sample.annotations)).collect();
    let splats = splatport::recipe().fit_all(&device, &pairs)?;

    <Backend as burn_core::tensor::backend::Backend>::seed(&place, 7);
    let network = networks::SmallDensity::<Backend>::new(&place);
    let mut trainer = Trainer::new(network, AdamConfig::new().init(), ConstantLr::new(1e-3), 7);
    if std::path::Path::new(&checkpoint).exists() {
        trainer.resume(&checkpoint, &place)?;
        println!("goes on after step {}", trainer.steps());
    }
    let end = trainer.steps() + steps;
    trainer.show_on(&ProgressBar::new(end));
    let augmentation = Augmentation { crop: CROP, ..Augmentation::default() };
    while trainer.steps() < end {
        let (mut photos, mut views) = (Vec::new(), Vec::new());
        for at in (0..BATCH as u64).map(|at| trainer.steps() * BATCH as u64 + at) {
            let number = at as usize % learned.len();
            let drawn = augmentation.draw(splats[number].size(), 7, at)?;
            photos.push(networks::image_tensor::<Backend>(&drawn.image(&learned[number].image)?, &place));
            views.push((&splats[number], drawn.view()));
        }
        // The Gaussians of each photo, moved with its crop, and how much of every annotation the crop shows.
        let crops = splatport::Splat::through_all(&views, CropTarget::default())?;
        let targets: Vec<f64> = crops.iter().flat_map(|crop| crop.targets.iter().copied()).collect();
        let images: Vec<_> = crops.iter().map(|crop| (&crop.splat, Grid::over(CROP, CROP, networks::STRIDE))).collect();
        let kernel = Kernel::of_all(&device, &images, Profile::default().kernel())?;
        // A network that learns from scratch needs the divergence of Poisson counts: under L1 a density can fall to 0
        // and stay there.
        let loss = kernel.loss().discrepancy(Discrepancy::PoissonKl { least: 0.01 })?.targets(&targets)?;
        trainer.step(&photos, &loss)?;
    }

    let mut counts = Vec::new();
    for sample in held_back {
        let density = predict(trainer.network(), &sample.image, None, &place)?;
        counts.push([density.iter().map(|&mass| f64::from(mass)).sum(), sample.annotations.len() as f64]);
        println!("counted {:.1} of {}", counts[counts.len() - 1][0], sample.annotations.len());
    }
    println!("mean error {:.1} on photos that it has not seen", CountErrors::of(&counts).mae);
    trainer.save(&checkpoint)?;
    println!("wrote {checkpoint}");
    Ok(())
}
