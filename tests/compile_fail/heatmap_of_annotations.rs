//! A pose has a joint for every channel; a scene has any number of annotations.
use splatport::{Device, Runtime, losses::HeatmapTransport, losses::Scene};

fn bind<R: Runtime>(device: &Device<R>, scene: Scene<'_>) {
    HeatmapTransport::default().on(device, &[scene]);
}

fn main() {}
