use splatport::*;
fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let device = Vulkan::best()?;
    for path in std::env::args().skip(1) {
        let image = Image::open(&path)?;
        let stem = path.rsplit_once('.').unwrap().0.to_owned();
        let points = Annotations::from_csv(format!("{stem}_points.csv"))?;
        let values = image.to_f32().len() as f64;
        for solver in [splat::Solver::GaussNewton { steps: 60 }, splat::Solver::adam()] {
            let t = std::time::Instant::now();
            let s = Splat::of(&image, &points).solver(solver).fit(&device)?;
            let r = s.report();
            let best = r.losses.iter().cloned().fold(f64::INFINITY, f64::min);
            println!(
                "{path} {} {solver:?} steps {} SSE {:.2} best {:.2} aspect {:.3} seconds {:.2}",
                points.len(),
                r.steps,
                r.loss().unwrap() * values,
                best * values,
                r.largest_aspect,
                t.elapsed().as_secs_f64()
            );
        }
    }
    Ok(())
}
