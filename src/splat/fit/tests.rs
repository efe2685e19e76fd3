//! Tests of the parts of a fit.

use super::Part;
use crate::{
    Annotations, Image, Profile,
    splat::{BackgroundImage, SplatOptions},
};

/// The priors' unit is the mean over the values to be explained: all of them on black, those in the discs over a photo.
#[test]
fn residuals_count_where_they_are() {
    let image = Image::from_u8(60, 50, 3, vec![7; 60 * 50 * 3]).expect("a photo");
    let points = Annotations::new(vec![[31.7, 20.3]]).expect("a point");
    let of = |background_image| {
        let options = SplatOptions { background_image, ..Profile::Recommended.splat() };
        let part = Part::new(0, (&image, &points), &options);
        assert_eq!(part.norm, 1.0 / 9000.0);
        (1.0 / part.residual_norm).round()
    };
    let [all, discs, same] = [BackgroundImage::None, BackgroundImage::KnnMask, BackgroundImage::Inpainted].map(of);
    assert_eq!(all, 9000.0);
    // The pixel centers within 3.329 times 2 px (the least scale) of the point; three values each.
    let centres = (0..60 * 50).map(|at| (f64::from(at % 60) + 0.5 - 31.7, f64::from(at / 60) + 0.5 - 20.3));
    let inside = centres.filter(|(dx, dy)| dx * dx + dy * dy <= 4.0 * 2.0 * 255f64.ln()).count();
    assert_eq!([discs, same], [3.0 * inside as f64; 2]);
}
