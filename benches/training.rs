//! What a loss adds to a training step: VGG-19 on crops with 200 points each, everything that a step needs bound anew. On CUDA the
//! network computes on the GPU of the losses, without it on the CPU.

mod common;

use std::time::Instant;

use burn_autodiff::Autodiff;
use burn_core::tensor::{Distribution, Tensor, backend::Backend as _};
use burn_optim::{Adam, AdamConfig, adaptor::OptimizerAdaptor, lr_scheduler::constant::ConstantLr};
use common::{Backend, CROP_STRIDE, SIGMA, Setting, density, uniform};
use splatport::{
    Annotations, Buffer, Device, Grid, Kernel, Profile, Result, Single, Splat, View,
    burn::{
        Trainer,
        networks::{VggDensity, VggDepth, VggTrunk},
    },
    losses::{DensityLoss, DmCount, DmProfile, Evaluated, Generalized, GlProfile, L2, Scales, Unbalanced},
    splat::CropTarget,
};

#[cfg(feature = "cuda")]
type Computing = burn_cubecl::CubeBackend<Backend, f32, i32, u8>;
#[cfg(not(feature = "cuda"))]
type Computing = burn_flex::Flex;

type Learning = Autodiff<Computing>;
type Network = VggDensity<Learning>;
type Learner = Trainer<Network, OptimizerAdaptor<Adam, Network, Learning>, ConstantLr>;
type Loss = Box<dyn DensityLoss<Backend, Single>>;
/// Binds a loss to the crops of a step.
type Bind = Box<dyn Fn() -> Result<Loss>>;

const POINTS: usize = 200;
/// Measurements, of which the median counts.
const RUNS: usize = 3;

/// A loss that costs nothing and teaches nothing.
struct Nothing {
    device: Device<Backend>,
    shapes: Vec<[usize; 2]>,
}

impl DensityLoss<Backend, Single> for Nothing {
    fn device(&self) -> &Device<Backend> {
        &self.device
    }

    fn shapes(&self) -> Vec<[usize; 2]> {
        self.shapes.clone()
    }

    fn evaluated(&self, density: &Buffer<Backend, f32>) -> Result<Evaluated<Backend, Single>> {
        let zeros = |len| self.device.filled(0.0, len);
        Ok(Evaluated { values: zeros(self.shapes.len()), gradient: zeros(density.len()) })
    }
}

fn main() {
    let setting = Setting::new("training --features burn");
    let (batch, side, steps) = if setting.full { (8, 512, 10) } else { (2, 128, 1) };
    let place = Default::default();
    let trunk = VggTrunk::<Learning>::new(VggDepth::Nineteen, &place);
    let schedule = ConstantLr::new(1e-5);
    let mut learner: Learner = Trainer::new(VggDensity::new(trunk, &place), AdamConfig::new().init(), schedule, 1);
    let images = Tensor::random([batch, 3, side, side], Distribution::Uniform(0.0, 1.0), &place);
    let density = density(&setting.device, batch * (side / CROP_STRIDE as usize).pow(2));
    let mut step = |bind: &Bind| {
        let loss = bind().expect("a loss");
        learner.step(std::slice::from_ref(&images), loss.as_ref()).expect("a step");
    };
    let alone = |bind: &Bind| {
        bind().and_then(|loss| loss.value_and_gradient(&density)).expect("a value");
    };
    let wait = || {
        Learning::sync(&place).expect("an idle device");
        setting.device.wait().expect("an idle device");
    };

    println!(
        "VGG-19, {batch} crops of {side} px, {POINTS} points each\n\n| loss | ms a step | the loss alone | its part |\n|---|---:|---:|---:|"
    );
    for (name, bind) in losses(&setting.device, batch, side as u32) {
        let whole = median(steps, || step(&bind), wait);
        let part = median(10, || alone(&bind), wait);
        println!("| {name} | {:.1} | {:.2} | {:.2} % |", 1e3 * whole, 1e3 * part, 100.0 * part / whole);
    }
}

/// Seconds a call: the median of some measurements of `calls` calls each, after one that compiles.
fn median(calls: u32, mut call: impl FnMut(), wait: impl Fn()) -> f64 {
    let mut measure = || {
        wait();
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        wait();
        (start.elapsed() / calls).as_secs_f64()
    };
    measure();
    let mut times: Vec<f64> = (0..RUNS).map(|_| measure()).collect();
    times.sort_by(f64::total_cmp);
    times[RUNS / 2]
}

/// The network alone first.
fn losses(device: &Device<Backend>, batch: usize, side: u32) -> Vec<(&'static str, Bind)> {
    let grid = Grid::over(side, side, CROP_STRIDE);
    let crops: Vec<Annotations> = vec![uniform([side; 2], POINTS); batch];
    let splats: Vec<_> = crops.iter().map(|points| Splat::round(device, points, [side; 2], SIGMA)).collect();
    let splats: Vec<Splat<Backend>> = splats.into_iter().collect::<Result<_>>().expect("splats");
    let shapes = vec![[grid.rows() as usize, grid.columns() as usize]; batch];
    let of = device.clone();
    let nothing = move || Ok(Box::new(Nothing { device: of.clone(), shapes: shapes.clone() }) as Loss);
    let of = device.clone();
    let gst = move || {
        let views: Vec<_> = splats.iter().map(|splat| (splat, View::of(splat.size()).flip())).collect();
        let mirrored = Splat::through_all(&views, CropTarget::Unit)?;
        let images: Vec<_> = mirrored.iter().map(|crop| (&crop.splat, grid)).collect();
        Ok(Box::new(Kernel::of_all(&of, &images, Profile::Recommended.kernel())?.loss()) as Loss)
    };
    let mut all: Vec<(_, Bind)> =
        vec![("none: the network alone", Box::new(nothing)), ("GST, Gaussians moved, kernel built", Box::new(gst))];
    macro_rules! bound {
        ($name:expr, $loss:expr) => {
            let (of, crops) = (device.clone(), crops.clone());
            all.push((
                $name,
                Box::new(move || {
                    let scenes: Vec<_> = crops.iter().map(|points| (grid, points)).collect();
                    Ok(Box::new($loss.on(&of, &scenes)?) as Loss)
                }),
            ));
        };
    }
    bound!("L2, fixed sigma", L2::new(Scales::Fixed(SIGMA)));
    bound!("DM-Count, `Reference`", DmCount::new(DmProfile::Reference));
    bound!("unbalanced transport", Unbalanced::default());
    bound!("generalized loss, published rounds", Generalized::new(GlProfile::Reference));
    all
}
