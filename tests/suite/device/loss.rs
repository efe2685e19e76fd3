//! The typed chain from Gaussians to the loss, against the oracle's dense one.

use proptest::prelude::*;
use splatport::kernel::{Background, CutOff, ScaleClip};
use splatport::reference::{
    cost::transport_cost,
    gaussian::Gaussian,
    kernel::{self as oracle, dense},
    loss::{self, batch_mean},
    scales,
};
use splatport::{Error, GaussianTable, Grid, Kernel, Loss, Splat, strategies};

use super::plan::{Plan, distance, row_error};
use super::{R, U, device, largest_aspect, poison, property, q_error, single, wide};

/// Gaussians of an image, the grid of a crop, and a density on it.
#[derive(Debug, Clone)]
struct Photo {
    set: Vec<Gaussian<f64>>,
    size: [u32; 2],
    grid: Grid,
    density: Vec<f64>,
}

/// Crops of photos up to 90 x 70 px on cells of 1 to 8 px.
fn photos() -> impl Strategy<Value = Photo> {
    let crop = (20..90u32, 15..70u32, 0..19u32, 0..14u32, prop_oneof![Just(1u32), Just(4), Just(8)]);
    crop.prop_flat_map(|(width, height, left, top, stride)| {
        let grid = Grid::over(width, height, stride).crop(left, top, width - left, height - top);
        let set = strategies::gaussians(12, width as usize, height as usize, 6.0);
        (set, strategies::density(grid.len()), 0.001..0.1).prop_map(move |(set, density, scale)| Photo {
            set,
            size: [width, height],
            grid,
            density: density.iter().map(|z| single(z * scale)).collect(),
        })
    })
}

fn table(photo: &Photo) -> GaussianTable {
    let set = &photo.set;
    GaussianTable {
        means: set.iter().map(|g| g.mean).collect(),
        scales: set.iter().map(|g| g.scales).collect(),
        rotations: set.iter().map(|g| g.rotation).collect(),
        colors: set.iter().map(|g| g.color[0]).collect(),
        channels: 1,
        opacities: set.iter().map(|g| g.opacity).collect(),
        free: 0,
        shares: vec![],
        profile: "paper".into(),
        width: photo.size[0],
        height: photo.size[1],
        ..GaussianTable::default()
    }
}

fn build(photo: &Photo, background: Background, clip: ScaleClip, tau: f64) -> Kernel<R> {
    poison(&[photo.density.len(), 8 * photo.set.len(), 4 * photo.density.len()]);
    let splat = Splat::from_table(device(), &table(photo)).expect("a splat");
    assert_eq!(splat.table().expect("a table"), table(photo), "the table of a splat from a table");
    splat.kernel(photo.grid).background(background).scale_clip(clip).tau(tau).build().expect("a kernel")
}

fn centres(photo: &Photo) -> Vec<[f64; 2]> {
    (0..photo.grid.len()).map(|i| photo.grid.centre(i)).collect()
}

/// A background of the options, and the oracle's for a set.
type Pair = (Background, fn(&[Gaussian<f64>]) -> oracle::Background<f64>);

/// Every option, with the oracle's version of it.
fn backgrounds() -> [Pair; 5] {
    [
        (Background::None, |_| oracle::Background::None),
        (Background::Soft { cut_off: 3.0, rule: CutOff::Exponent }, |s| oracle::Background::exponent(3.0, s.len())),
        (Background::Soft { cut_off: 1.5, rule: CutOff::Crossover }, |s| oracle::Background::crossover(1.5, s.len())),
        (Background::Ratio { cut_off: 3.0, kappa: 0.015 }, |s| oracle::Background::ref_ratio(3.0, 0.015, s)),
        (Background::Hard { cut_off: 2.0 }, |_| oracle::Background::Hard { cut_off: 2.0 }),
    ]
}

/// Cells where rounding decides nothing: one gaussian is clearly the nearest, and not at 2 scales.
fn is_decided(set: &[Gaussian<f64>], point: [f64; 2]) -> bool {
    let mut qs: Vec<f64> = set.iter().map(|g| g.mahalanobis_sq(point)).collect();
    qs.sort_by(f64::total_cmp);
    let band = |q: f64| 2.0 * q_error(largest_aspect(set)) * q;
    qs.first().is_none_or(|&q| (q - 4.0).abs() > band(q)) && qs.windows(2).all(|w| w[1] - w[0] > band(w[0]))
}

/// Every background and every clip of the scales. Measured: 0.88 of `tau` and rounding.
#[test]
fn options_mean_what_the_oracle_means() {
    let drawn = (photos(), 0..5usize, 0..3usize);
    property("options", 40, drawn, |(photo, background, clip), tally| {
        let (background, theirs) = backgrounds()[*background];
        let stride = f64::from(photo.grid.stride());
        let b = if let oracle::Background::Odds { b } = theirs(&[Gaussian::round([0.0; 2], 1.0)]) { b[0] } else { 4.0 };
        let floor = scales::ScaleClip::Floor(scales::coverage_floor(stride, b));
        let (clip, theirs_clip) = match clip {
            0 => (ScaleClip::None, scales::ScaleClip::None),
            1 if background == Background::None => (ScaleClip::Coverage, scales::ScaleClip::None),
            1 => (ScaleClip::Coverage, floor),
            _ => (
                ScaleClip::Range { post_min: 2.0, post_max: 6.0 },
                scales::ScaleClip::Range { min: stride / 2.0, max: 6.0 },
            ),
        };
        let set = scales::clip(&photo.set, theirs_clip);
        let rows = dense(&set, &centres(photo), &theirs(&set));
        let kernel = build(photo, background, clip, 1e-3);
        let got = kernel.table().expect("a table");
        tally.equal("shape", &(got.rows, got.cols), &(photo.grid.len(), set.len() + 1));
        for (i, want) in rows.iter().enumerate().filter(|&(i, _)| is_decided(&set, photo.grid.centre(i))) {
            let mut row = vec![0.0; got.cols];
            for at in got.indptr[i] as usize..got.indptr[i + 1] as usize {
                row[got.indices[at] as usize] += got.data[at];
            }
            let tolerance = 1e-3 + row_error(&set, photo.grid.centre(i));
            tally.near("row", i, (distance(&row, want), 0.0), tolerance);
        }
    });
}

/// A photo's loss on the device, and the oracle's dense kernel, off by `tau` and rounding in each row.
fn both(photo: &Photo) -> (Loss<R>, Vec<Vec<f64>>, f64) {
    let background = Background::Soft { cut_off: 3.0, rule: CutOff::Exponent };
    let rows = dense(&photo.set, &centres(photo), &oracle::Background::exponent(3.0, photo.set.len()));
    let tau = 1e-3;
    // `|L' - L|` and each mass are off by at most sum z_i times the row's error; sums add 200 roundings of theirs.
    let error = |(i, z): (usize, &f64)| z * (tau + row_error(&photo.set, photo.grid.centre(i)) + 200.0 * U);
    let off = photo.density.iter().enumerate().map(error).sum::<f64>() + 64.0 * U * (1 + photo.set.len()) as f64;
    (build(photo, background, ScaleClip::None, tau).loss(), rows, off)
}

/// Value, mass and gradient. A column whose residual may be of either sign is left out of the gradient's comparison by
/// allowing for its weight. Measured: 0.82 of the tolerance.
#[test]
fn the_loss_equals_the_oracle() {
    property("loss", 32, photos(), |photo, tally| {
        if !(0..photo.grid.len()).all(|i| is_decided(&photo.set, photo.grid.centre(i))) {
            return;
        }
        let (loss, rows, off) = both(photo);
        let step = loss.evaluate(&device().upload_f64(&photo.density)).expect("a step");
        let targets = vec![1.0; photo.set.len()];
        let want = loss::l1(&rows, &photo.density, &targets);
        tally.near("value of", photo.set.len(), (step.value().expect("a value"), want.value), off);
        tally.all_near("mass", &wide(step.transported().read().expect("mass")), &want.mass, |_| off);
        let residuals = want.mass.iter().zip(targets.iter().chain([&0.0])).map(|(m, t)| m - t);
        let unsure: Vec<f64> = residuals.map(|r| if r.abs() <= off { 1.0 } else { 0.0 }).collect();
        let slack = loss::pull_back(&rows, &unsure);
        let got = wide(step.gradient().read().expect("gradient"));
        tally.all_near("gradient", &got, &want.gradient, |i| {
            1e-3 + row_error(&photo.set, photo.grid.centre(i)) + 2.0 * slack[i]
        });
        // Rows sum to 1 within (k + 6) U, added in k steps.
        let bound = 1.0 + (2 * photo.set.len() + 12) as f64 * U;
        tally.holds(got.iter().all(|g| g.abs() <= bound), || format!("a slope beyond {bound}"));
        let total: f64 = photo.density.iter().sum();
        let least = (total - photo.set.len() as f64).abs() - 400.0 * U * (total + photo.set.len() as f64);
        tally.holds(step.value().expect("a value") >= least, || "below the triangle inequality".to_owned());
    });
}

/// The kernel stays as it is whatever density it carries.
#[test]
fn a_kernel_does_not_depend_on_the_density() {
    property("unchanged", 8, photos(), |photo, tally| {
        let loss = both(photo).0;
        let before = loss.kernel().table().expect("a table");
        for scale in [0.0, 1.0, 1e6] {
            let density: Vec<f64> = photo.density.iter().map(|z| z * scale).collect();
            loss.evaluate(&device().upload_f64(&density)).expect("a step").value().expect("a value");
        }
        tally.holds(loss.kernel().table().expect("a table") == before, || "the kernel changed".to_owned());
    });
}

/// Without annotations `L = |S|`, with slope `sgn S`.
#[test]
fn no_annotation_pays_for_all_mass() {
    let empty = Photo { set: vec![], size: [20, 15], grid: Grid::over(20, 15, 4), density: vec![0.0; 20] };
    let (loss, ..) = both(&empty);
    for (z, slope) in [(0.0, 0.0), (0.5, 1.0), (-0.25, -1.0)] {
        let step = loss.evaluate(&device().filled(z as f32, 20)).expect("a step");
        assert_eq!(step.value().expect("a value"), 20.0 * f64::abs(z), "{z}");
        assert_eq!(wide(step.gradient().read().expect("slopes")), [slope; 20], "{z}");
        assert_eq!(wide(step.transported().read().expect("mass")), [20.0 * z], "{z}");
    }
}

/// Targets of one's own, and the transport cost: `L + w <z, c>`; a sum adds at most 64 elements on each of its levels.
/// Measured: 0.44 of the tolerance.
#[test]
fn targets_and_costs_are_added() {
    property("loss with cost", 16, (photos(), 0.001..0.1), |(photo, weight), tally| {
        let targets: Vec<f64> = (0..photo.set.len()).map(|n| single(0.1 * n as f64)).collect();
        let density = device().upload_f64(&photo.density);
        let (plain, ..) = both(photo);
        let plain = plain.targets(&targets).expect("targets");
        let step = plain.evaluate(&density).expect("a step");
        let mass = wide(step.transported().read().expect("mass"));
        let rows = Plan::read(plain.kernel().entries()).dense();
        let means: Vec<[f64; 2]> = photo.set.iter().map(|g| g.mean).collect();
        let costs = transport_cost(&rows, &photo.density, &centres(photo), &means).gradient;
        let want: f64 = mass.iter().zip(targets.iter().chain([&0.0])).map(|(m, t)| (m - t).abs()).sum();
        let sizes: f64 = mass.iter().sum::<f64>() + targets.iter().sum::<f64>();
        tally.near("value of", targets.len(), (step.value().expect("a value"), want), 70.0 * U * sizes);
        let slopes = wide(step.gradient().read().expect("slopes"));
        let with = plain.transport_cost(*weight).expect("a loss").evaluate(&density).expect("a step");
        let paid: f64 = costs.iter().zip(&photo.density).map(|(c, z)| weight * c * z).sum();
        tally.near("with cost", 0, (with.value().expect("a value"), want + paid), 220.0 * U * (sizes + paid));
        let wanted: Vec<f64> = slopes.iter().zip(&costs).map(|(g, c)| g + weight * c).collect();
        tally.all_near("slope", &wide(with.gradient().read().expect("slopes")), &wanted, |i| {
            (24.0 + targets.len() as f64) * U * (1.0 + weight * costs[i])
        });
    });
}

/// The mean over images of different sizes: two roundings of each step for the scale, and the mean's; mass is no mean.
/// Measured: 0.67 of it.
#[test]
fn many_images_are_the_mean() {
    property("batch", 8, proptest::collection::vec(photos(), 1..4), |photos, tally| {
        let losses: Vec<_> = photos.iter().map(|p| both(p).0).collect();
        let density = |p: &Photo| device().upload_f64(&p.density);
        let step = |(loss, p): (&Loss<R>, &Photo)| step_of(&loss.evaluate(&density(p)).expect("a step"));
        let alone: Vec<loss::Step<f64>> = losses.iter().zip(photos).map(step).collect();
        let (mean, gradients) = batch_mean(&alone);
        let splats: Vec<_> = photos.iter().map(|p| Splat::from_table(device(), &table(p)).expect("a splat")).collect();
        let images: Vec<_> = splats.iter().zip(photos).map(|(splat, p)| (splat, p.grid)).collect();
        let options = *losses[0].kernel().options().expect("options");
        let joint = Kernel::of_all(device(), &images, options).expect("a kernel").loss();
        let densities: Vec<f64> = photos.iter().flat_map(|p| p.density.clone()).collect();
        let got = step_of(&joint.evaluate(&device().upload_f64(&densities)).expect("a step"));
        tally.near("mean of", photos.len(), (got.value, mean), 4.0 * U * mean);
        let want = gradients.concat();
        tally.all_near("slope", &got.gradient, &want, |i| 2.0 * U * want[i].abs());
        tally.equal("mass", &got.mass, &alone.into_iter().flat_map(|step| step.mass).collect());
    });
    let options = splatport::Profile::Recommended.kernel();
    assert!(matches!(Kernel::of_all(device(), &[], options), Err(Error::Empty { what: "batch" })));
}

fn step_of(step: &splatport::Step<R, splatport::Single>) -> loss::Step<f64> {
    loss::Step {
        value: step.value().expect("a value"),
        gradient: wide(step.gradient().read().expect("slopes")),
        mass: wide(step.transported().read().expect("mass")),
    }
}
