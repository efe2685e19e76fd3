//! A recipe has no photo: it is run on one.
use splatport::{Device, Runtime};

fn fit<R: Runtime>(device: &Device<R>) {
    let _splat = splatport::recipe().fit(device);
}

fn main() {}
