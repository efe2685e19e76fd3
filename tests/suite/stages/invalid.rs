use super::*;
use splatport::splat::Solver;
#[test]
fn dbg_order() {
    let (image, annotations) = blobs(72, 50, 1);
    let mut places = annotations.points().to_vec();
    places.reverse();
    let reversed = points(&places);
    for steps in 0..4 {
        let f = |a| {
            let s = Splat::of(&image, a).solver(Solver::GaussNewton { steps }).fit(device()).unwrap();
            println!("{:?}", s.report().losses);
            gaussians_of(&s.table().unwrap())
        };
        let (a, mut b) = (f(&annotations), f(&reversed));
        b.reverse();
        println!("{steps}");
        for (a, b) in a.iter().zip(&b) {
            println!(
                "{:e} {:e} {:?} {:?}",
                (a.log_det() - b.log_det()).abs(),
                a.color[0] - b.color[0],
                a.covariance(),
                b.covariance()
            );
        }
    }
}
