//! A loss is bound to grids and annotations before it is evaluated.
use splatport::{Buffer, Runtime, losses::Bayesian};

fn evaluate<R: Runtime>(density: &Buffer<R, f32>) {
    Bayesian::default().evaluate(density);
}

fn main() {}
