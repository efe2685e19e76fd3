//! Devices by number, and what belongs to one of them on another.

use std::sync::OnceLock;

use splatport::{
    Device, Error, Grid, Kernel, View, Wgpu, WgpuRuntime,
    losses::{L2, Scales, Sinkhorn},
    splat::CropTarget,
    train::{FreeDensity, Trainer},
};

use super::{Splat, device, kernel, points};
use crate::files::all_equal;

/// The first device by its number: to CubeCL another than the best, even where both are the same hardware.
fn other() -> &'static Device<WgpuRuntime> {
    static OTHER: OnceLock<Device<WgpuRuntime>> = OnceLock::new();
    OTHER.get_or_init(|| Wgpu::device(0).expect("a device"))
}

#[test]
fn devices_have_numbers_and_names() {
    let names = Wgpu::names();
    assert_eq!(other().name(), names[0]);
    assert!(names.iter().any(|name| name == device().name()), "{} is not in {names:?}", device().name());
    let count = names.len();
    let error = Wgpu::device(count).expect_err("no such device").to_string();
    assert_eq!(error, format!("no Vulkan device {count}: there are {count}, numbered from 0"));
}

#[test]
fn what_is_elsewhere_is_refused() {
    let grid = Grid::over(60, 44, 3);
    let splat = Splat::round(other(), &points(&[[9.0, 9.0]]), [60, 44], 4.0).expect("a splat");
    let loss = kernel::splat().kernel(grid).build().expect("a kernel").loss();
    let there = splat.kernel(grid).build().expect("a kernel").loss();
    let density = other().filled(0.1_f32, grid.len());
    let model = || FreeDensity::new(other(), &there, 0.1).expect("a model");
    let options = splatport::Profile::Recommended.kernel();
    let stored = Kernel::from_table(device(), &there.kernel().table().expect("a table")).expect("a kernel");
    let message = |error: Option<Error>| error.expect("another device").to_string();
    let said = [
        message(Kernel::of_all(device(), &[(&splat, grid)], options).err()),
        message(stored.with_splat(&splat).err()),
        message(loss.evaluate(&density).err()),
        message(loss.kernel().push_forward(&density).err()),
        message(loss.kernel().pull_back(&other().filled(0.1_f32, 9)).err()),
        message(FreeDensity::new(device(), &there, 0.1).err()),
        message(Trainer::new(device(), &there, model()).epoch().err()),
        message(Trainer::new(device(), &loss, model()).epoch().err()),
    ];
    let points = points(&[[9.0, 9.0]]);
    let l2 = L2::new(Scales::Fixed(4.0)).on(device(), &[(grid, &points)]).expect("a loss");
    let solved = Sinkhorn::default().on(device(), &[(grid, &points)]).expect("a loss");
    let here = device().filled(0.1_f32, grid.len());
    let view = View::of(splat.size());
    let own = kernel::splat();
    let [densities, potentials] = [grid.len(), 1].map(|len| [other().filled(0.1_f32, len)]);
    let losses = [
        message(l2.evaluate(&density).err()),
        message(l2.evaluate_all(&densities).err()),
        message(solved.evaluate(&density).err()),
        message(solved.evaluate_all(&densities).err()),
        message(solved.evaluate_from(&here, &potentials[0]).err()),
        message(loss.evaluate_all(&densities).err()),
    ];
    let what = ["density", "density", "density", "density", "potentials", "density"];
    let expected = what.map(|what| format!("{what} is not on the device {}", device().name()));
    all_equal(&std::array::from_fn::<_, 6, _>(|at| (losses[at].clone(), expected[at].as_str())));
    let splats = [
        message(Splat::through_all(&[(&own, view), (&splat, view)], CropTarget::default()).err()),
        message(Splat::tables(&[&own, &splat]).err()),
    ];
    let expected = format!("splat is not on the device {}", device().name());
    all_equal(&std::array::from_fn::<_, 2, _>(|at| (splats[at].clone(), expected.as_str())));
    let what = ["splat", "splat", "density", "density", "array of values", "loss", "loss", "parameter of the model"];
    let expected = what.map(|what| format!("{what} is not on the device {}", device().name()));
    all_equal(&std::array::from_fn::<_, 8, _>(|at| (said[at].clone(), expected[at].as_str())));
    assert!(Trainer::new(other(), &there, model()).epoch().is_ok());
}

/// Everything on a device can be sent to other threads and shared with them.
#[test]
fn stages_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Device<WgpuRuntime>>();
    shared::<splatport::Buffer<WgpuRuntime, f32>>();
    shared::<splatport::Splat<WgpuRuntime>>();
    shared::<Kernel<WgpuRuntime>>();
    shared::<splatport::Loss<WgpuRuntime>>();
    shared::<splatport::losses::TransportLoss<WgpuRuntime>>();
    shared::<splatport::losses::L2Loss<WgpuRuntime>>();
}
