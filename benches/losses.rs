//! Losses that solve a transport problem, value and gradient, on a 512 px crop with cells of 8 px, a hundred rounds each.

mod common;

use common::{Backend, CROP, CROP_COUNTS, CROP_STRIDE, Setting, density, uniform};
use splatport::losses::{DmCount, DmProfile, Epsilon, Scene, Sinkhorn, Step, Unbalanced, UotForm};
use splatport::{Buffer, Grid, Result};

/// Crops of a batch, and points on each.
const BATCH: (usize, usize) = (32, 200);
const ROUNDS: usize = 100;

type Loss = Box<dyn Fn(&Buffer<Backend, f32>) -> Result<Step<Backend>>>;

/// Every loss bound to `scenes`, forced to make all rounds.
fn losses(setting: &Setting, scenes: &[Scene<'_>]) -> Vec<(&'static str, Loss)> {
    let never = -1.0;
    let (reference, exact) = (DmCount::new(DmProfile::Reference), DmCount::new(DmProfile::default()));
    let bound = |loss: DmCount| loss.rounds(ROUNDS).tolerance(never).on(&setting.device, scenes).expect("a loss");
    let (reference, exact) = (bound(reference), bound(exact));
    let unbalanced = |form| {
        let loss = Unbalanced::default().form(form).rounds(ROUNDS).tolerance(never);
        loss.on(&setting.device, scenes).expect("a loss")
    };
    let semi_dual = unbalanced(UotForm::SemiDual);
    let sinkhorn = Sinkhorn::default().epsilon(Epsilon::Absolute(10.0)).rounds(ROUNDS).tolerance(never);
    let sinkhorn = sinkhorn.on(&setting.device, scenes).expect("a loss");
    vec![
        ("DM-Count reference", Box::new(move |z| reference.evaluate(z))),
        ("DM-Count exact", Box::new(move |z| exact.evaluate(z))),
        ("unbalanced semi-dual", Box::new(move |z| semi_dual.evaluate(z))),
        ("sinkhorn", Box::new(move |z| sinkhorn.evaluate(z))),
    ]
}

fn main() {
    let setting = Setting::new("losses");
    let mut criterion = setting.criterion();
    let mut group = setting.group(&mut criterion, "losses");
    let grid = Grid::over(CROP, CROP, CROP_STRIDE);
    let most = if setting.full { usize::MAX } else { 1000 };
    for &count in CROP_COUNTS.iter().filter(|&&count| count <= most) {
        let points = uniform([CROP, CROP], count);
        let density = density(&setting.device, grid.len());
        for (name, loss) in losses(&setting, &[(grid, &points)]) {
            group.stage(name, count, || {
                loss(&density).and_then(|step| step.value()).expect("a value");
            });
        }
    }
    if setting.full {
        let points = uniform([CROP, CROP], BATCH.1);
        let density = density(&setting.device, BATCH.0 * grid.len());
        for (name, loss) in losses(&setting, &vec![(grid, &points); BATCH.0]) {
            group.stage(&format!("{name}, {} crops", BATCH.0), BATCH.1, || {
                loss(&density).and_then(|step| step.value()).expect("a value");
            });
        }
    }
    group.finish();
    criterion.final_summary();
}
