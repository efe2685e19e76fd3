use splatport::{*, kernel::*, splat::*};
fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let device = Vulkan::best()?;
    let image = Image::open("examples/data/nuclei_dsb2018.png")?;
    let points = Annotations::from_csv("examples/data/nuclei_dsb2018_points.csv")?;
    let mask = Image::open("examples/data/nuclei_dsb2018_mask.png")?;
    let Pixels::U8(mask) = mask.pixels() else { panic!() };
    let labels: Vec<u32> = mask.iter().map(|&v| v as u32).collect();
    let label_of: Vec<u32> = points.numeric("label")?.into_iter().map(|v| v as u32).collect();
    let steps: u32 = std::env::args().nth(1).unwrap().parse()?;
    let adam = std::env::args().nth(2).is_some();
    let solver = if adam { Solver::Adam { steps, rate: 0.01 } } else { Solver::GaussNewton { steps } };
    for limit in [1.5, 3.0] { for prior in [None, Some(Prior { size: 0.1, aspect: 0.1 })] {
    for bg in [BackgroundImage::None, BackgroundImage::KnnMask, BackgroundImage::Inpainted] {
        let shape = Shape { limit, ..Profile::Recommended.splat().shape };
        let s = Splat::of(&image, &points).background_image(bg).shape(shape).prior(prior).solver(solver).fit(&device)?;
        print!("limit {limit} prior {} {bg:?} loss {:.6} aspect {:.2}:", prior.is_some(), s.report().loss().unwrap(), s.report().largest_aspect);
        for d in [1.25, 1.5, 1.75, 2.0, 3.0] {
            let k = s.kernel(Grid::strided(&image, 1)).background(Background::Soft { cut_off: d, rule: CutOff::Crossover }).build()?;
            print!(" {d}:{:.3}", k.owners()?.mean_iou(&labels, &label_of)?.unwrap());
        }
        println!();
    }}}
    let s = Splat::round(&device, &points, [512, 512], 8.0)?;
    for d in [1.25, 1.5, 2.0, 3.0] {
        let t = std::time::Instant::now();
        let k = s.kernel(Grid::strided(&image, 1)).background(Background::Soft { cut_off: d, rule: CutOff::Crossover }).build()?;
        print!(" {d}:{:.3} {:?} {:?}", k.owners()?.mean_iou(&labels, &label_of)?.unwrap(), t.elapsed(), k.certificate());
    }
    println!();
    Ok(())
}
