//! A loss needs a kernel.
use splatport::{Runtime, Splat};

fn loss<R: Runtime>(splat: &Splat<R>) {
    splat.loss();
}

fn main() {}
