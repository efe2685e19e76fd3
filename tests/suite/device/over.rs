//! Gaussians that lie over each other: picture and derivatives against the oracle's renderer.

use splatport::kernels::{
    Error, Shape,
    bins::{Rule, bins},
    evaluate::Look,
    gaussian::Framing,
    gradient::gradient,
    moments::Sums,
    penalty::Penalty,
    rasterize::{Compositing, Scene, rasterize},
    target::Target,
};
use splatport::reference::{alpha_over::alpha_over, gaussian::Gaussian};

use super::evaluate::look;
use super::gradient::moved;
use super::rasterize::{Picture, pictures};
use super::{Tally, U, aspect, device, framed, once, poison, property, single, upload, weight_error, wide};

/// Largest opacity of the tests: no alpha meets its limit, and what the derivatives divide by stays near 1.
const OPACITY: f64 = 0.6;

fn layered(picture: &Picture) -> Picture {
    let set = picture.set.iter().map(|g| Gaussian { opacity: single(OPACITY * g.opacity), ..*g }).collect();
    Picture { set, ..picture.clone() }
}

/// A grey photo, whose difference from the base the raster starts at.
fn photo(picture: &Picture) -> Vec<f64> {
    (0..picture.base.len()).map(|i| single(0.5 + 0.4 * (i as f64).sin())).collect()
}

/// Residual and derivatives of its mean square on the device, and the number of slots.
fn on_device(picture: &Picture) -> (Vec<f64>, Vec<f64>, usize) {
    let frames = framed(&picture.set, picture.channels, Framing::default());
    let bins = bins(device(), &frames, picture.cells(), Rule::Within(picture.support)).expect("bins");
    let photo = photo(picture);
    let gap: Vec<f64> = picture.base.iter().zip(&photo).map(|(b, p)| b - p).collect();
    let subtracted = device().upload_f64(&photo);
    let compositing = Compositing::Over { subtracted: &subtracted };
    let scene = Scene { frames: &frames, bins: &bins, support: picture.support, compositing };
    poison(&[picture.base.len(), picture.pixels(), bins.pairs() * 9, 9 * picture.set.len()]);
    let gap = device().upload_f64(&gap);
    let raster = rasterize(device(), &scene, &gap).expect("a raster");
    let channels = picture.channels as u32;
    let sums = Sums { channels, means: true, curvature: false, penalty: Penalty::Squared, over: true };
    let look = look(&scene, &Target::Plain(gap), sums, 1e-6, device());
    let norm = 1.0 / picture.base.len() as f64;
    let by = gradient(device(), &upload(&picture.set, picture.channels), &bins, &look, norm);
    (wide(raster.image.read().expect("image")), wide(by.read().expect("gradient")), bins.pairs())
}

fn residual(picture: &Picture) -> Vec<f64> {
    let Picture { width, height, channels, support, .. } = *picture;
    let image = alpha_over(&picture.set, width, height, channels, &picture.base, support);
    image.iter().zip(photo(picture)).map(|(image, photo)| image - photo).collect()
}

/// Every alpha is off by the relative error of its weight and moves the pixel by at most 2 (colors and what is behind lie
/// within -1..1 of the photo); every layer is rounded a few times.
fn pixel_error(picture: &Picture, pixel: usize) -> f64 {
    let layer = |g: &Gaussian<f64>| {
        let q = g.mahalanobis_sq(picture.centre(pixel));
        if q > picture.support {
            0.0
        } else {
            2.0 * g.opacity * (-q / 2.0).exp() * weight_error(q, aspect(g)) + 8.0 * U
        }
    };
    8.0 * U + picture.set.iter().map(layer).sum::<f64>()
}

/// Measured: 0.16 of the tolerance.
#[test]
fn draws_what_the_oracle_draws() {
    property("layers", 32, pictures(12), |picture, tally| {
        let picture = layered(picture);
        let (image, ..) = on_device(&picture);
        let wanted = residual(&picture);
        for at in (0..wanted.len()).filter(|&at| !picture.is_on_an_edge(at / picture.channels)) {
            tally.near("residual", at, (image[at], wanted[at]), pixel_error(&picture, at / picture.channels));
        }
    });
}

/// What a derivative of the mean square may be off by: as for added Gaussians, with the residual and the color at most 1.
fn tolerance(picture: &Picture, g: &Gaussian<f64>, slots: usize) -> f64 {
    let norm = 2.0 / picture.base.len() as f64;
    let at_pixel = |pixel: usize| {
        let q = g.mahalanobis_sq(picture.centre(pixel));
        let relative = weight_error(q, aspect(g)) + (140.0 + slots as f64) * U + pixel_error(picture, pixel);
        (-q / 2.0).exp() * relative * (1.0 + q) * picture.channels as f64
    };
    let turn =
        1.0 + 1.0 / g.scales[0] + 1.0 / g.scales[1] + (g.scales[0] / g.scales[1] - g.scales[1] / g.scales[0]).abs();
    norm * turn * (0..picture.pixels()).map(at_pixel).sum::<f64>()
}

fn check_slopes(picture: &Picture, tally: &mut Tally) {
    let picture = Picture { support: 1e6, ..layered(picture) };
    let error = |set: Vec<Gaussian<f64>>| -> f64 {
        let square = residual(&Picture { set, ..picture.clone() }).iter().map(|e| e * e).sum::<f64>();
        square / picture.base.len() as f64
    };
    let (_, got, slots) = on_device(&picture);
    for (n, row) in got.chunks(6 + picture.channels).enumerate() {
        for (k, &got) in row.iter().enumerate() {
            let [up, down] = [1e-5, -1e-5].map(|by| {
                let mut set = picture.set.clone();
                set[n] = moved(&set[n], k, by);
                error(set)
            });
            let own = 1e-9 * (1.0 + error(picture.set.clone()));
            tally.near(
                "slope",
                10 * n + k,
                (got, (up - down) / 2e-5),
                tolerance(&picture, &picture.set[n], slots) + own,
            );
        }
    }
}

/// Every derivative, by central differences of the oracle's error in `f64`. Measured: 0.001 of the tolerance; a color's derivative wrong by a thousandth fails.
#[test]
fn is_the_slope_of_the_error() {
    property("slopes of layers", 16, pictures(3), check_slopes);
}

/// Gaussians over each other on one tile.
fn stack(layers: usize) -> Picture {
    let layer = |n: usize| Gaussian {
        color: [single((n as f64).sin()); 3],
        opacity: single(0.002),
        ..Gaussian::round([4.0, 4.0], 4.0)
    };
    let (set, base) = ((0..layers).map(layer).collect(), vec![0.25; 64]);
    Picture { set, base, width: 8, height: 8, channels: 1, support: 9.0 }
}

/// Most layers of a tile: the last one's unit goes through all of them at each of 64 pixels, and software Vulkan ends its loops after
/// 65535 rounds.
const MOST: usize = 1015;

/// What the last of the layers shows is `alpha` times what each of the others lets through, which is off by the error of its `alpha`
/// and two roundings. Measured: 0.01 of the tolerance.
#[test]
fn the_last_layer_sees_all_of_its_tile() {
    once("last layer", |tally| {
        let picture = stack(MOST);
        let (_, by, _) = on_device(&picture);
        let (mut want, mut tolerance) = (0.0, 0.0);
        for (pixel, e) in residual(&picture).into_iter().enumerate() {
            let g = &picture.set[MOST - 1];
            let q = g.mahalanobis_sq(picture.centre(pixel));
            let alpha = g.opacity * (-q / 2.0).exp();
            let shown = 2.0 / 64.0 * alpha * (1.0 - alpha).powi(MOST as i32 - 1);
            let off = weight_error(q, 1.0);
            let relative = off + MOST as f64 * (alpha * off + 2.0 * U) + 150.0 * U;
            want += shown * e;
            tolerance += shown * (e.abs() * relative + pixel_error(&picture, pixel));
        }
        tally.near("by color", MOST - 1, (by[7 * MOST - 1], want), tolerance);
    });
}

#[test]
fn more_layers_than_loops_can_go_through_are_refused() {
    let device = &device().with_shape(Shape::Gathered);
    let sums = Sums { channels: 1, means: true, curvature: false, penalty: Penalty::Squared, over: true };
    for (layers, fits) in [(MOST, true), (MOST + 1, false)] {
        let picture = stack(layers);
        let frames = framed(&picture.set, 1, Framing::default());
        let bins = bins(device, &frames, picture.cells(), Rule::Within(picture.support)).expect("bins");
        let subtracted = device.upload_f64(&picture.base);
        let compositing = Compositing::Over { subtracted: &subtracted };
        let scene = Scene { frames: &frames, bins: &bins, support: picture.support, compositing };
        let target = Target::Plain(device.upload_f64(&picture.base));
        match Look::new(device, &scene, &target, sums) {
            Ok(_) => assert!(fits, "{layers} layers"),
            Err(error) => {
                assert!(!fits && matches!(error, Error::Count { value: 65_024, max: 65_000, .. }), "{layers}: {error}");
            }
        }
    }
}
