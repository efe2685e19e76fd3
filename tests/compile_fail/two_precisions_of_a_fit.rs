//! A splat has the precision of its device.
use splatport::{Annotations, Device, Double, Half, Image, Result, Runtime, Splat};

fn fit<R: Runtime>(device: &Device<R, Half>, image: &Image, points: &Annotations) -> Result<Splat<R, Double>> {
    Splat::of(image, points).fit(device)
}

fn main() {}
