//! A fit runs on a device.
use splatport::{Annotations, Image, Runtime, Single, Splat};

fn fit<R: Runtime>(image: &Image, points: &Annotations) {
    let _splat = Splat::<R, Single>::of(image, points).fit();
}

fn main() {}
