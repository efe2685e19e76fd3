//! A loss without a plan has no potentials.
use splatport::{Runtime, losses::L2Step};

fn potentials<R: Runtime>(step: &L2Step<R>) {
    step.potentials();
}

fn main() {}
