//! The transport kernel's options, crops and table, on a few Gaussians, against dense rows.

use splatport::{
    CsrTable, GaussianTable, Grid,
    kernel::{Background, CutOff, ScaleClip},
    reference::{
        gaussian::Gaussian,
        grid,
        kernel::{Background as Oracle, dense},
        nearest::nearest,
        scales::{self, ScaleClip as Clip, coverage_floor},
        shape::aspect,
    },
};

use super::{Splat, device, gaussians_of, noise};
use crate::device::single;

/// Eight Gaussians of a 60 x 44 image, one of them outside; aspects up to 4.
pub fn splat() -> Splat {
    let random = noise(21, 8 * 6);
    let mut table =
        GaussianTable { channels: 1, profile: "recommended".into(), width: 60, height: 44, ..Default::default() };
    for r in random.chunks_exact(6) {
        table.means.push([single(r[0] * 70.0), single(r[1] * 44.0)]);
        table.scales.push([single(1.0 + 4.0 * r[2]), single(1.25 + 4.0 * r[3])]);
        table.rotations.push(single(6.0 * r[4] - 3.0));
        table.colors.push(1.0);
        table.opacities.push(1.0);
    }
    Splat::from_table(device(), &table).expect("a splat")
}

/// A stored kernel as dense rows.
pub fn rows(table: &CsrTable) -> Vec<Vec<f64>> {
    let row = |r: usize| {
        let mut row = vec![0.0; table.cols];
        for entry in table.indptr[r] as usize..table.indptr[r + 1] as usize {
            row[table.indices[entry] as usize] += table.data[entry];
        }
        row
    };
    (0..table.rows).map(row).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum()
}

/// Largest L1 distance of two kernels' rows over what they may differ by: the tolerance `tau`, and roundings that grow with the
/// aspect and with the distance to the nearest Gaussian.
fn excess(got: &[Vec<f64>], expected: &[Vec<f64>], set: &[Gaussian<f64>], centres: &[[f64; 2]], tau: f64) -> f64 {
    let widest = set.iter().map(aspect).fold(1.0, f64::max);
    let over = |r: usize| {
        let q = nearest(set, centres[r]).map_or(0.0, |(_, q)| q);
        let bound = tau + (32.0 + 4.0 * widest) * (f64::from(f32::EPSILON) / 2.0) * (1.0 + q);
        distance(&got[r], &expected[r]) / bound
    };
    assert_eq!(got.len(), expected.len());
    (0..got.len()).map(over).fold(0.0, f64::max)
}

#[test]
fn backgrounds_are_the_oracles() {
    let (splat, stride) = (splat(), 3);
    let set = gaussians_of(&splat.table().expect("a table"));
    let centres = grid::Grid::over(60, 44, f64::from(stride)).centres();
    let soft = |cut_off, rule| Background::Soft { cut_off, rule };
    let cases = [
        (Background::None, Oracle::None),
        (soft(1.5, CutOff::Crossover), Oracle::crossover(1.5, 8)),
        (soft(3.0, CutOff::Crossover), Oracle::crossover(3.0, 8)),
        (soft(3.0, CutOff::Exponent), Oracle::exponent(3.0, 8)),
        (Background::Ratio { cut_off: 3.0, kappa: 0.015 }, Oracle::ref_ratio(3.0, 0.015, &set)),
        (Background::Hard { cut_off: 2.0 }, Oracle::Hard { cut_off: 2.0 }),
    ];
    for (background, oracle) in cases {
        for tau in [1e-2, 1e-5] {
            let recipe = splat.kernel(Grid::over(60, 44, stride)).background(background).tau(tau);
            let kernel = recipe.scale_clip(ScaleClip::None).build().expect("a kernel");
            let got = rows(&kernel.table().expect("a table"));
            let over = excess(&got, &dense(&set, &centres, &oracle), &set, &centres, tau);
            assert!(over <= 1.0, "{background:?}, tau {tau}: {over} times the bound");
            let certificate = kernel.certificate();
            assert!(
                2.0 * certificate.bound <= tau && certificate.worst_dropped <= certificate.bound,
                "{certificate:?}"
            );
        }
    }
}

#[test]
fn scales_are_clipped() {
    let (splat, stride) = (splat(), 6);
    let set = gaussians_of(&splat.table().expect("a table"));
    let centres = grid::Grid::over(60, 44, f64::from(stride)).centres();
    let crossover = Background::Soft { cut_off: 1.5, rule: CutOff::Crossover };
    let exponent = Background::Soft { cut_off: 1.5, rule: CutOff::Exponent };
    let near = Background::Soft { cut_off: 0.5, rule: CutOff::Crossover };
    let range = |post_min, post_max| ScaleClip::Range { post_min, post_max };
    let cases = [
        (crossover, ScaleClip::Coverage, Clip::Floor(coverage_floor(6.0, 2.25)), Oracle::crossover(1.5, 8)),
        (exponent, ScaleClip::Coverage, Clip::Floor(coverage_floor(6.0, 1.125)), Oracle::exponent(1.5, 8)),
        // A boundary nearer than sqrt(1/2) scales asks for the stride and no more.
        (near, ScaleClip::Coverage, Clip::Floor(6.0), Oracle::crossover(0.5, 8)),
        (crossover, range(2.0, 4.0), Clip::Range { min: 3.0, max: 4.0 }, Oracle::crossover(1.5, 8)),
        // The limits cross: the upper one wins.
        (crossover, range(1.0, 4.0), Clip::Range { min: 6.0, max: 4.0 }, Oracle::crossover(1.5, 8)),
        (crossover, ScaleClip::None, Clip::None, Oracle::crossover(1.5, 8)),
    ];
    for (background, clip, oracle_clip, oracle) in cases {
        let recipe = splat.kernel(Grid::over(60, 44, stride)).background(background).scale_clip(clip).tau(1e-5);
        let got = rows(&recipe.build().expect("a kernel").table().expect("a table"));
        let clipped = scales::clip(&set, oracle_clip);
        assert!(clip == ScaleClip::None || clipped != set, "{clip:?} changes nothing");
        let over = excess(&got, &dense(&clipped, &centres, &oracle), &clipped, &centres, 1e-5);
        assert!(over <= 1.0, "{background:?} {clip:?}: {over} times the bound");
    }
}

/// Where the background's constant grows with the scale, it is taken of the clipped scale.
#[test]
fn ratios_follow_the_clipped_scales() {
    let splat = splat();
    let set = gaussians_of(&splat.table().expect("a table"));
    let centres = grid::Grid::over(60, 44, 4.0).centres();
    let background = Background::Ratio { cut_off: 3.0, kappa: 0.015 };
    let clip = ScaleClip::Range { post_min: 2.0, post_max: 3.0 };
    let recipe = splat.kernel(Grid::over(60, 44, 4)).background(background).scale_clip(clip).tau(1e-5);
    let got = rows(&recipe.build().expect("a kernel").table().expect("a table"));
    let clipped = scales::clip(&set, Clip::Range { min: 2.0, max: 3.0 });
    let expected = dense(&clipped, &centres, &Oracle::ref_ratio(3.0, 0.015, &clipped));
    let over = excess(&got, &expected, &clipped, &centres, 1e-5);
    assert!(over <= 1.0, "{over} times the bound");
}

#[test]
fn crops_have_the_rows_of_the_whole() {
    let splat = splat();
    let (tau, whole) = (1e-5, Grid::over(60, 44, 4));
    let build = |grid: Grid| splat.kernel(grid).tau(tau).build().expect("a kernel").table().expect("a table");
    let all = rows(&build(whole));
    let table = build(whole.crop(8, 12, 30, 17));
    assert_eq!((table.left, table.top, table.grid_width, table.grid_height), (8.0, 12.0, 8, 5));
    let cropped = rows(&table);
    for (r, row) in cropped.iter().enumerate() {
        let same = (r / 8 + 3) * 15 + r % 8 + 2;
        // Each of the two is within tau of the exact row, and within the rounding of the centre: q is below 200 here.
        assert!(distance(row, &all[same]) <= 2.0 * tau + 1e-5, "row {r}");
    }
    // A crop off the lattice has centres of its own.
    let shifted = whole.crop(5, 3, 20, 9);
    let set = gaussians_of(&splat.table().expect("a table"));
    let set = scales::clip(&set, Clip::Floor(coverage_floor(4.0, 2.25)));
    let centres: Vec<[f64; 2]> = (0..shifted.len()).map(|cell| shifted.centre(cell)).collect();
    assert_eq!((centres[0], centres[5]), ([7.0, 5.0], [7.0, 9.0]));
    let over = excess(&rows(&build(shifted)), &dense(&set, &centres, &Oracle::crossover(1.5, 8)), &set, &centres, tau);
    assert!(over <= 1.0, "{over} times the bound");
}

#[test]
fn tables_have_the_background_last() {
    let kernel = splat().kernel(Grid::over(60, 44, 3)).build().expect("a kernel");
    let table = kernel.table().expect("a table");
    assert_eq!((table.rows, table.cols), (20 * 15, 9));
    assert_eq!((table.tau, table.bound), (1e-3, kernel.certificate().bound));
    for (r, row) in rows(&table).iter().enumerate() {
        let sum: f64 = row.iter().sum();
        // Nine weights, rounded once each, and the quotient: (log2 9 + 4) 2^-24.
        assert!((sum - 1.0).abs() <= 1e-6, "row {r} sums to {sum}");
        let entries = &table.indices[table.indptr[r] as usize..table.indptr[r + 1] as usize];
        assert!(entries.is_sorted_by(|a, b| a < b), "row {r}: {entries:?}");
    }
    let far = rows(&table)[19].clone();
    assert!(far[8] > 0.5, "the corner belongs to the background: {far:?}");
    let annotations = table.indices.iter().filter(|&&column| column < 8).count();
    assert_eq!(annotations, kernel.certificate().entries);
}
