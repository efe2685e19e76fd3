//! A step of every loss, value and gradient, on a 512 px crop with cells of 8 px; a hundred rounds where something is solved, twelve
//! where the published code stops after those.

mod common;

use std::cell::RefCell;

use common::{Backend, CROP, CROP_COUNTS, CROP_STRIDE, SIGMA, Setting, density, uniform};
use splatport::losses::{
    Bayesian, Demanders, DensityLoss, DmCount, DmProfile, Epsilon, Generalized, GlProfile, HeatmapTransport, L2,
    OtEntropy, Scales, Scene, Sinkhorn, Solver, Unbalanced, UotForm,
};
use splatport::{Buffer, Grid, Kernel, Profile, Result, Single, Splat};

/// Crops of a batch, and points on each.
const BATCH: (usize, usize) = (32, 200);
const ROUNDS: usize = 100;
/// Joints of a pose, each with a map of 64 x 64 cells.
const JOINTS: usize = 17;

type Step<'a> = Box<dyn Fn(&Buffer<Backend, f32>) -> Result<f64> + 'a>;

/// Keeps a loss.
fn kept<'a>(loss: Result<impl DensityLoss<Backend, Single> + 'a>) -> Step<'a> {
    let loss = loss.expect("a loss");
    Box::new(move |density| loss.value_and_gradient(density).map(|step| step.0))
}

/// Binds a loss at every step, as a new crop needs it.
fn bound<'a, L: DensityLoss<Backend, Single>>(bind: impl Fn() -> Result<L> + 'a) -> Step<'a> {
    Box::new(move |density| bind()?.value_and_gradient(density).map(|step| step.0))
}

/// The losses with a fixed plan, bound anew or kept.
fn fixed<'a>(
    setting: &'a Setting,
    scenes: &'a [Scene<'a>],
    splats: &'a [Splat<Backend>],
) -> Vec<(&'static str, Step<'a>)> {
    let device = &setting.device;
    let images: Vec<_> = splats.iter().zip(scenes).map(|(splat, scene)| (splat, scene.0)).collect();
    let options = Profile::Recommended.kernel();
    let gst = || Ok(Kernel::of_all(device, &images, options)?.loss());
    let (kept_gst, rebuilt) = (kept(gst()), RefCell::new(gst().expect("a loss")));
    let step = move |density: &Buffer<Backend, f32>| {
        let mut loss = rebuilt.borrow_mut();
        loss.rebuild(&images)?;
        loss.evaluate(density)?.value()
    };
    let (l2, bayesian) = (L2::new(Scales::Fixed(SIGMA)), Bayesian::default());
    vec![
        ("GST, kernel rebuilt", Box::new(step)),
        ("GST, kernel kept", kept_gst),
        ("Bayesian, bound anew", bound(move || bayesian.on(device, scenes))),
        ("Bayesian, kept", kept(Bayesian::default().on(device, scenes))),
        ("L2, bound anew", bound(move || l2.on(device, scenes))),
        ("L2, kept", kept(L2::new(Scales::Fixed(SIGMA)).on(device, scenes))),
    ]
}

/// The losses that solve, forced to make all rounds.
fn solved<'a>(setting: &'a Setting, scenes: &'a [Scene<'a>]) -> Vec<(&'static str, Step<'a>)> {
    let (device, never) = (&setting.device, -1.0);
    let all = |profile| kept(DmCount::new(profile).rounds(ROUNDS).tolerance(never).on(device, scenes));
    let by = |solver| DmProfile::Exact { entropy: OtEntropy::RelativeKl, solver };
    let exact = |solver| kept(DmCount::new(by(solver)).rounds(10 * ROUNDS).on(device, scenes));
    let unbalanced = Unbalanced::default().form(UotForm::SemiDual).rounds(ROUNDS).tolerance(never);
    let sinkhorn = Sinkhorn::default().epsilon(Epsilon::Absolute(10.0)).rounds(ROUNDS).tolerance(never);
    let general = |profile| kept(Generalized::new(profile).rounds(ROUNDS).tolerance(never).on(device, scenes));
    vec![
        ("DM-Count reference", all(DmProfile::Reference)),
        ("DM-Count exact", all(by(Solver::Sinkhorn))),
        ("DM-Count exact, to 1 %, rounds", exact(Solver::Sinkhorn)),
        ("DM-Count exact, to 1 %, Newton", exact(Solver::Newton)),
        ("unbalanced semi-dual", kept(unbalanced.on(device, scenes))),
        ("sinkhorn", kept(sinkhorn.on(device, scenes))),
        ("sinkhorn, bound anew", bound(move || sinkhorn.on(device, scenes))),
        ("generalized reference, 12 rounds", general(GlProfile::Reference)),
        ("generalized converged", general(GlProfile::Converged)),
    ]
}

/// Maps onto joints, to the default tolerance or in closed form.
fn pose(setting: &Setting) -> Vec<(&'static str, Step<'_>)> {
    let grid = Grid::over(256, 256, 4);
    let joints: Vec<_> = uniform([256, 256], JOINTS).points().iter().map(|&at| Some(at)).collect();
    let loss = |demanders| {
        kept(HeatmapTransport::default().demanders(demanders).on(&setting.device, &[(grid, joints.as_slice())]))
    };
    vec![("heatmaps, four cells", loss(Demanders::Bilinear)), ("heatmaps, joint", loss(Demanders::Joint))]
}

fn main() {
    let setting = Setting::new("losses");
    let mut criterion = setting.criterion();
    let mut group = setting.group(&mut criterion, "losses");
    let grid = Grid::over(CROP, CROP, CROP_STRIDE);
    let most = if setting.full { usize::MAX } else { 1000 };
    let sizes = CROP_COUNTS.iter().filter(|&&count| count <= most).map(|&count| (1, count));
    let batch = setting.full.then_some(BATCH);
    for (crops, count) in sizes.chain(batch) {
        let points = uniform([CROP, CROP], count);
        let density = density(&setting.device, crops * grid.len());
        let splat = || Splat::round(&setting.device, &points, [CROP, CROP], SIGMA).expect("a splat");
        let (scenes, splats) = (vec![(grid, &points); crops], Vec::from_iter((0..crops).map(|_| splat())));
        let losses = fixed(&setting, &scenes, &splats).into_iter().chain(solved(&setting, &scenes));
        for (name, loss) in losses {
            let name = if crops == 1 { name.to_owned() } else { format!("{name}, {crops} crops") };
            group.stage(&name, count, || {
                loss(&density).expect("a value");
            });
        }
    }
    let maps = density(&setting.device, JOINTS * 64 * 64);
    for (name, loss) in pose(&setting) {
        group.stage(name, JOINTS, || {
            loss(&maps).expect("a value");
        });
    }
    group.finish();
    criterion.final_summary();
}
