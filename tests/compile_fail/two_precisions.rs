//! A density has the precision of its loss.
use splatport::{Buffer, Double, Loss, Runtime};

fn evaluate<R: Runtime>(loss: &Loss<R, Double>, density: &Buffer<R, f32>) {
    let _step = loss.evaluate(density);
}

fn main() {}
