use splatport::*;
use std::time::Instant;
fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let device = Vulkan::best()?;
    let dir = std::env::args().nth(1).unwrap();
    let steps: u32 = std::env::args().nth(2).unwrap().parse()?;
    let image = Image::open(format!("{dir}.png")).or_else(|_| Image::open(format!("{dir}.jpg")))?;
    let points = Annotations::from_csv(format!("{dir}_points.csv"))?;
    let values = image.width() as f64 * image.height() as f64 * image.channels() as f64;
    for bg in [splat::BackgroundImage::None, splat::BackgroundImage::KnnMask, splat::BackgroundImage::Inpainted] {
        for solver in [splat::Solver::GaussNewton { steps: 60 }] {
        for prior in [None, Some(splat::Prior { size: 0.1, aspect: 0.1 })] {
            let t = Instant::now();
            let s = Splat::of(&image, &points).background_image(bg).prior(prior).solver(solver).fit(&device)?;
            let r = s.report();
            println!("{bg:?} {solver:?} prior {} sse {:.3} -> {:.3} aspect {:.3} steps {} repairs {} {:?}", prior.is_some(), r.losses[0] * values, r.loss().unwrap() * values, r.largest_aspect, r.steps, r.repairs, t.elapsed());
        }}
    }
    Ok(())
}
