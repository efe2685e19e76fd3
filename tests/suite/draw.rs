//! Pictures, pixel by pixel.

use splatport::{Image, Pixels, draw};

use crate::files::all_equal;

fn rgb(image: &Image) -> Vec<[u8; 3]> {
    assert_eq!(image.channels(), 3);
    match image.pixels() {
        Pixels::U8(values) => values.chunks_exact(3).map(|rgb| [rgb[0], rgb[1], rgb[2]]).collect(),
        other => panic!("{other:?}"),
    }
}

fn at(image: &Image, x: u32, y: u32) -> [u8; 3] {
    rgb(image)[(y * image.width() + x) as usize]
}

fn grey(width: u32, height: u32) -> Image {
    Image::from_u8(width, height, 1, vec![100; (width * height) as usize]).unwrap()
}

const GREY: [u8; 3] = [100; 3];
const RED: [u8; 3] = [255, 51, 51];

#[test]
fn an_outline_lies_on_its_ellipse() {
    let picture = draw::ellipses(&grey(64, 48), &[[32.0, 24.0]], &[[6.0, 3.0]], &[0.5], 3.0).unwrap();
    let (sin, cos) = 0.5_f64.sin_cos();
    let mut outline = 0;
    for y in 0..48 {
        for x in 0..64 {
            let (dx, dy) = (f64::from(x) + 0.5 - 32.0, f64::from(y) + 0.5 - 24.0);
            let (along, across) = (cos * dx + sin * dy, cos * dy - sin * dx);
            let radius = (along / 18.0).hypot(across / 9.0);
            if at(&picture, x, y) == RED && dx.hypot(dy) > 1.5 {
                outline += 1;
                // Half a pixel's diagonal over the short radius, and the chord's 0.2 %.
                assert!((radius - 1.0).abs() < 0.5_f64.sqrt() / 9.0 + 0.003, "{x} {y} {radius}");
            } else if dx.hypot(dy) <= 1.5 {
                assert_eq!(at(&picture, x, y), RED, "the dot");
            } else {
                assert_eq!(at(&picture, x, y), GREY);
            }
        }
    }
    assert!((75..100).contains(&outline), "{outline} pixels on a line of 87 px");
}

#[test]
fn a_mean_lies_in_the_pixel_of_its_floor() {
    let picture = draw::ellipses(&grey(8, 8), &[[3.5, 5.5]], &[[1e-3, 1e-3]], &[0.0], 3.0).unwrap();
    assert_eq!(at(&picture, 3, 5), RED);
    assert_eq!(at(&picture, 4, 6), RED);
    assert_eq!((at(&picture, 5, 5), at(&picture, 3, 7), at(&picture, 1, 5)), (GREY, GREY, GREY));
}

#[test]
fn gaussians_far_outside_are_clipped() {
    let means = [[1e30, 4.0], [-1e9, -1e9], [4.0, 4.0], [4.0, 1e30], [-0.5, -0.5]];
    let scales = [[1e30, 1.0], [1.0, 1.0], [1e30, f64::MAX], [0.0, 0.0], [1e-3, 1e-3]];
    let picture = draw::ellipses(&grey(8, 8), &means, &scales, &[0.3; 5], 4.0).unwrap();
    assert_eq!((picture.width(), picture.height()), (8, 8));
    let none = draw::ellipses(&grey(8, 8), &[], &[], &[], 3.0).unwrap();
    assert!(rgb(&none).iter().all(|&pixel| pixel == GREY));
}

#[test]
fn cells_have_the_colour_and_strength_of_their_owner() {
    let owner = [Some(0), Some(1), Some(0), None];
    let strength = [1.0, 0.5, 2.0, 0.5];
    let picture = draw::ownership(2, 2, &owner, &strength, 4, &[]).unwrap();
    assert_eq!((picture.width(), picture.height()), (8, 8));
    let full = draw::ownership(1, 1, &[Some(1)], &[1.0], 1, &[]).unwrap();
    let half = at(&full, 0, 0).map(|channel| ((f32::from(channel)) * 0.5).round() as u8);
    for y in 0..4 {
        for x in 0..4 {
            assert_eq!(at(&picture, x, y), RED);
            assert_eq!(at(&picture, x + 4, y), half);
            assert_eq!(at(&picture, x, y + 4), RED, "strength is clamped");
            assert_eq!(at(&picture, x + 4, y + 4), [255; 3]);
        }
    }
    let dotted = draw::ownership(2, 2, &owner, &strength, 4, &[[6.5, 6.5], [-90.0, 1.0]]).unwrap();
    assert_eq!(at(&dotted, 6, 6), [0; 3]);
    assert_eq!(rgb(&dotted).iter().filter(|pixel| **pixel == [0; 3]).count(), 9);
}

#[test]
fn colours_of_a_hundred_points_differ() {
    let owner: Vec<_> = (0..100).map(Some).collect();
    let mut colors = rgb(&draw::ownership(100, 1, &owner, &[1.0; 100], 1, &[]).unwrap());
    colors.sort_unstable();
    colors.dedup();
    assert_eq!(colors.len(), 100);
}

#[test]
fn pictures_stand_side_by_side() {
    let low = Image::from_f32(1, 1, 3, &[1.0, 0.0, 0.5]).unwrap();
    let picture = draw::beside(&[&grey(2, 3), &low]).unwrap();
    assert_eq!((picture.width(), picture.height()), (7, 3));
    assert_eq!((at(&picture, 0, 2), at(&picture, 2, 0)), (GREY, [255; 3]));
    assert_eq!((at(&picture, 6, 0), at(&picture, 6, 1)), ([255, 0, 128], [255; 3]));
    assert_eq!(rgb(&draw::beside(&[&low]).unwrap()), [[255, 0, 128]]);
}

#[test]
fn a_reconstruction_is_clamped() {
    let picture = draw::reconstruction(2, 1, 3, &[-1.0, 0.5, 2.0, 0.0, 1.0, 0.2]).unwrap();
    assert_eq!(rgb(&picture), [[0, 128, 255], [0, 255, 51]]);
    assert_eq!(rgb(&draw::reconstruction(1, 1, 1, &[0.2]).unwrap()), [[51; 3]]);
}

#[test]
fn what_cannot_be_drawn_is_rejected() {
    let photo = grey(4, 4);
    let (mean, scale) = ([[1.0, 1.0]; 2], [[1.0, 1.0]; 2]);
    let bad = [[1.0, 1.0], [1.0, f64::NAN]];
    let ellipses = |means: &[_], scales: &[_], rotations: &[_], deviations| {
        draw::ellipses(&photo, means, scales, rotations, deviations).unwrap_err().to_string()
    };
    let ownership = |w, h, owner: &[_], strength: &[_], stride, points: &[_]| {
        draw::ownership(w, h, owner, strength, stride, points).unwrap_err().to_string()
    };
    let n = [None];
    let nan = f64::NAN;
    all_equal(&[
        (ellipses(&mean, &scale[..1], &[0.0; 2], 3.0), "scales: expected 2 values, got 1"),
        (ellipses(&mean, &scale, &[0.0; 3], 3.0), "rotations: expected 2 values, got 3"),
        (ellipses(&bad, &scale, &[0.0; 2], 3.0), "means[1] is NaN, not a finite number"),
        (ellipses(&mean, &bad, &[0.0; 2], 3.0), "scales[1] is NaN, not a finite number"),
        (ellipses(&mean, &scale, &[nan, 0.0], 3.0), "rotations[0] is NaN, not a finite number"),
        (ellipses(&mean, &scale, &[0.0; 2], 0.0), "option `deviations` is 0: must be finite and positive"),
        (ellipses(&mean, &scale, &[0.0; 2], nan), "option `deviations` is NaN: must be finite and positive"),
        (ownership(0, 3, &[], &[], 1, &[]), "grid is empty"),
        (ownership(1, 2, &n, &[1.0; 2], 1, &[]), "owner: expected 2 values, got 1"),
        (ownership(1, 1, &n, &[], 1, &[]), "strength: expected 1 values, got 0"),
        (ownership(1, 1, &n, &[nan], 1, &[]), "strength[0] is NaN, not a finite number"),
        (ownership(1, 1, &n, &[1.0], 1, &bad), "points[1] is NaN, not a finite number"),
        (ownership(1, 1, &n, &[1.0], 0, &[]), "option `stride` is 0: must be at least 1"),
        (
            ownership(2, 1, &[None; 2], &[1.0; 2], u32::MAX, &[]),
            "option `stride` is 4294967295: makes the picture too large",
        ),
        (draw::beside(&[]).unwrap_err().to_string(), "images is empty"),
        (draw::reconstruction(1, 1, 1, &[f32::NAN]).unwrap_err().to_string(), "values[0] is NaN, not a finite number"),
        (draw::reconstruction(2, 1, 1, &[0.0]).unwrap_err().to_string(), "pixels: expected 2 values, got 1"),
    ]);
}
