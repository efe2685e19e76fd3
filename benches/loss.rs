//! One training step's loss: its value and its gradient, on a 512 px crop with cells of 8 px.

mod common;

use common::{CROP, CROP_COUNTS, CROP_STRIDE, SIGMA, Setting, density, uniform};
use splatport::{Grid, Splat};

/// Any weight costs the same; the published losses leave the transport cost out.
const TRANSPORT_COST: f64 = 0.01;

fn main() {
    let setting = Setting::new("loss");
    let mut criterion = setting.criterion();
    let mut group = setting.group(&mut criterion, "loss");
    for count in CROP_COUNTS {
        let points = uniform([CROP, CROP], count);
        let splat = Splat::round(&setting.device, &points, [CROP, CROP], SIGMA).expect("a splat");
        let kernel = || splat.kernel(Grid::over(CROP, CROP, CROP_STRIDE)).build().expect("a kernel");
        let loss = kernel().loss();
        let density = density(&setting.device, loss.kernel().grid().len());
        group.launches("value and gradient", count, || {
            loss.evaluate(&density).expect("a step");
        });
        let loss = kernel().loss().transport_cost(TRANSPORT_COST).expect("a loss");
        group.launches("with transport cost", count, || {
            loss.evaluate(&density).expect("a step");
        });
        // What a training loop waits for when it looks at the value.
        group.stage("value read", count, || {
            loss.evaluate(&density).and_then(|step| step.value()).expect("a value");
        });
    }
    group.finish();
    criterion.final_summary();
}
