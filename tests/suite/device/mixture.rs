//! Annotations of several Gaussians: rows, what they carry, and derivatives by what a plan is made of, against the oracle.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use splatport::kernels::{
    Cells, Mosaic,
    arithmetic::combine,
    correspondence::{Background, Correspondence, Room, correspondence_of_batch},
    cost::cell_costs,
    gaussian::{Framing, Part, frames_of_batch},
    mixture::{Component, Mixed, Mixture},
    ownership::ownership,
    plan::{BY, Origin, PlanGradient, Slopes, gradient},
    transport::{pull_back, push_forward},
};
use splatport::reference::{
    gaussian::Gaussian,
    loss, mixture,
    nearest::nearest,
    ownership::owners,
    scales::{ScaleClip, clip},
};
use splatport::{Single, strategies};

use super::plan::{Plan, Rule, any_rule, distance, row_error};
use super::{Case, R, U, cases, centres, device, largest_aspect, poison, property, q_error, single, upload, wide};

type Share = mixture::Share<f64>;

/// A case, the number of its annotations, and their shares; weights need not sum to 1 for a row to be a posterior, so they
/// do only in the test of their derivatives.
#[derive(Debug, Clone)]
struct Mix {
    case: Case,
    annotations: usize,
    shares: Vec<Share>,
}

impl Mix {
    /// The Gaussians that count.
    fn members(&self) -> Vec<Gaussian<f64>> {
        self.shares.iter().map(|share| self.case.set[share.gaussian]).collect()
    }

    /// Shares that sum to 1 by annotation, as the device rounds them.
    fn scaled(mut self) -> Self {
        for n in 0..self.annotations {
            let sum: f64 = self.shares.iter().filter(|s| s.annotation == n).map(|s| s.log_weight.exp()).sum();
            self.shares
                .iter_mut()
                .filter(|s| s.annotation == n)
                .for_each(|s| s.log_weight = single(s.log_weight - sum.ln()));
        }
        self
    }
}

/// Every annotation has its own Gaussian and up to three others; some Gaussians have no share, some have several.
fn mixes() -> impl Strategy<Value = Mix> {
    let others = vec((any::<Index>(), -3.0..0.0), 0..=3);
    (cases(16, 8.0), any::<Index>(), vec(others, 16)).prop_map(|(case, some, others)| {
        let annotations = if case.set.is_empty() { 0 } else { some.index(case.set.len() + 1) };
        let mut shares = Vec::new();
        for (n, others) in others.into_iter().take(annotations).enumerate() {
            shares.push(Share { annotation: n, gaussian: n, log_weight: single(-0.25 - n as f64 / 16.0) });
            for (index, weight) in others {
                let gaussian = index.index(case.set.len());
                shares.push(Share { annotation: n, gaussian, log_weight: single(weight) });
            }
        }
        Mix { case, annotations, shares }
    })
}

/// How shares change the background's threshold: its density is that of the nearest Gaussian on its own.
fn framing(rule: Rule) -> Framing {
    let odds = rule.on_device() == Background::Odds;
    Framing { threshold_per_log_weight: f64::from(u8::from(odds)), ..rule.framing() }
}

/// Whether rounding may decide which of two different Gaussians is the nearest.
fn is_contested(set: &[Gaussian<f64>], point: [f64; 2]) -> bool {
    let Some((best, q)) = nearest(set, point) else { return false };
    let band = 2.0 * q_error(largest_aspect(set)) * q;
    set.iter().any(|g| *g != set[best] && g.mahalanobis_sq(point) - q <= band)
}

struct Built {
    kernel: Correspondence<R, Single>,
    by_plan: Option<PlanGradient<R, f32>>,
}

/// Builds on the shared device; with a density and slopes, the derivatives too.
fn build(mix: &Mix, rule: Rule, framing: Framing, tau: f64, slopes: Option<(&[f64], &[f64], f64)>) -> Built {
    let Mix { case: Case { set, cells }, annotations, shares } = mix;
    let component = |share: &Share| Component {
        annotation: share.annotation as u32,
        gaussian: share.gaussian as u32,
        log_weight: share.log_weight,
    };
    let components: Vec<_> = shares.iter().map(component).collect();
    let mixed = Mixed { annotations: *annotations, gaussians: set.len(), components: &components };
    let mixture = Mixture::new(device(), &[mixed]).expect("a mixture");
    let gaussians = upload(set, 1);
    let parts = [Part { gaussians: &gaussians, first: shares.len(), framing }];
    poison(&[cells.len(), 8 * shares.len(), 12 * shares.len(), cells.len() * (1 + shares.len() / 4)]);
    let frames = frames_of_batch(device(), &parts, Some(&mixture)).expect("frames");
    let mosaic = |count| Mosaic::new(device(), &[(*cells, count)]).expect("a mosaic");
    let background = rule.on_device();
    let over = mosaic(shares.len());
    let kernel = correspondence_of_batch(device(), &frames, &over, background, tau, &mut Room::default());
    let kernel = kernel.expect("a kernel").merged(device(), &mixture, mosaic(*annotations)).expect("a merged kernel");
    let by_plan = slopes.map(|(density, slopes, price)| {
        let (density, by_mass) = (device().upload_f64(density), device().upload_f64(slopes));
        let by_density = pull_back(device(), &kernel, &by_mass).expect("slopes of cells");
        let alone = [Part { gaussians: &gaussians, first: *annotations, framing }];
        let places = frames_of_batch(device(), &alone, None).expect("frames");
        let costs = cell_costs(device(), &kernel, &places);
        let by_density = combine(device(), &by_density, &costs, price, 1.0).expect("slopes of cells");
        let cost = (price > 0.0).then_some((price, &places));
        let origin = Origin { kernel: &kernel, frames: &frames, mixture: &mixture, background };
        let slopes = Slopes { density: &density, by_mass: &by_mass, by_density: &by_density, scale: 1.0, cost };
        poison(&[8 * shares.len(), 8 * kernel.transposed.entry_starts.len(), BY * set.len()]);
        gradient(device(), &origin, &parts, &slopes).expect("derivatives")
    });
    Built { kernel, by_plan }
}

fn wanted(mix: &Mix, rule: Rule, point: [f64; 2]) -> Vec<f64> {
    mixture::row(&mix.case.set, &mix.shares, mix.annotations, point, &rule.oracle(&mix.case.set))
}

/// The matrix with the entries of an annotation added up.
fn dense(kernel: &Correspondence<R, Single>) -> Vec<Vec<f64>> {
    let plan = Plan::read(kernel);
    let row = |(i, &background): (usize, &f64)| {
        let mut row = vec![0.0; plan.annotations];
        plan.entries(i).for_each(|(n, weight)| row[n] += weight);
        row.push(background);
        row
    };
    plan.background.iter().enumerate().map(row).collect()
}

/// As for plain rows: within `tau`, and the rounding of a row, to which the log weight adds one. Measured: 0.90 of it, by
/// dropping.
#[test]
fn rows_are_the_posterior_of_mixtures() {
    property("mixed row", 32, (mixes(), any_rule(), prop_oneof![Just(1e-2), Just(1e-6)]), |(mix, rule, tau), tally| {
        let kernel = build(mix, *rule, framing(*rule), *tau, None).kernel;
        let (got, members) = (dense(&kernel), mix.members());
        tally.equal("columns", &kernel.columns_in_all(), &(mix.annotations + 1));
        for (i, &point) in centres(&mix.case.cells).iter().enumerate() {
            if !rule.is_undecided(&members, point) {
                let tolerance = tau + 2.0 * row_error(&members, point);
                tally.near("row", i, (distance(&got[i], &wanted(mix, *rule, point)), 0.0), tolerance);
            }
        }
    });
}

/// The two products are those of the stored rows, as of a plain kernel: every product and every sum rounds once. Owners are those
/// of the added rows, where no two columns are closer than the rounding of a sum of four. Measured: 0.13 of the tolerance.
#[test]
fn mixtures_carry_and_own() {
    let drawn = (mixes(), any_rule()).prop_flat_map(|(mix, rule)| {
        let density = strategies::density(mix.case.cells.len());
        (Just(mix), Just(rule), density)
    });
    property("mixed products", 24, drawn, |(mix, rule, density), tally| {
        let kernel = build(mix, *rule, framing(*rule), 1e-3, None).kernel;
        let rows = dense(&kernel);
        let mass = push_forward(device(), &kernel, &device().upload_f64(density)).expect("mass");
        let roundings = (mix.case.cells.len() + 4) as f64;
        let wanted = loss::push_forward(&rows, density);
        tally.all_near("mass", &wide(mass.read().expect("mass")), &wanted, |n| roundings * U * wanted[n]);
        let values: Vec<f64> = (0..=mix.annotations).map(|n| single((n as f64 * 0.37).sin())).collect();
        let pulled = pull_back(device(), &kernel, &device().upload_f64(&values)).expect("values");
        let wanted = loss::pull_back(&rows, &values);
        let entries = (mix.shares.len() + 4) as f64;
        tally.all_near("pulled", &wide(pulled.read().expect("values")), &wanted, |_| entries * U);
        let owner = ownership(device(), &kernel).owner.read().expect("owners");
        let wanted = owners(&rows);
        for (i, row) in rows.iter().enumerate() {
            let mut sorted = row.clone();
            sorted.sort_by(f64::total_cmp);
            if sorted.len() > 1 && sorted[sorted.len() - 1] - sorted[sorted.len() - 2] < 8.0 * U {
                continue;
            }
            tally.equal("owner", &owner[i], &wanted[i].map_or(u32::MAX, |n| n as u32));
        }
    });
}

/// What a derivative may be off by, one number a Gaussian: the sum over the cells of `z S (1 + q)` times what a weight of
/// the row may be off by. Relative to the weight that is its row's rounding at its own distance, four times for the
/// displacements it is multiplied with, and once for every entry that is added; and all of it where the entry may have been
/// dropped, of which `g` is off too. The background's weight is multiplied with its logit's own slopes, and off by that of its
/// exponent. A transport cost is a slope too, that of the farthest annotation, and of 1 px at least for what it does to means.
fn slack(mix: &Mix, rule: Rule, density: &[f64], (slopes, price): (&[f64], f64), tau: f64) -> Vec<f64> {
    let (set, members) = (&mix.case.set, mix.members());
    let steepest = slopes.iter().fold(0.0_f64, |s, v| s.max(v.abs()));
    let aspect = largest_aspect(&members);
    let alone: Vec<Share> = mix.shares.iter().enumerate().map(|(c, share)| Share { annotation: c, ..*share }).collect();
    let mut slack = vec![0.0; set.len()];
    for (&point, z) in centres(&mix.case.cells).iter().zip(density) {
        let row = mixture::row(set, &alone, alone.len(), point, &rule.oracle(set));
        let background = row[alone.len()];
        let costs =
            set[..mix.annotations].iter().map(|g| (point[0] - g.mean[0]).powi(2) + (point[1] - g.mean[1]).powi(2));
        let largest = steepest + price * costs.fold(1.0, f64::max);
        for (share, k) in mix.shares.iter().zip(&row) {
            let q = set[share.gaussian].mahalanobis_sq(point);
            let (exponent, steepness) = of_background(rule, &members, point).unwrap_or((0.0, 1.0 + q));
            let rounding = (32.0 + 4.0 * aspect) * U * (1.0 + q) * 4.0 + (mix.case.cells.len() + 8) as f64 * U;
            let dropped = if *k <= tau { *k } else { tau * k };
            let own = (1.0 + q) * (rounding * (1.0 + exponent * background) * k + dropped);
            let behind = steepness * (rounding * (1.0 + exponent) + tau) * background;
            slack[share.gaussian] += 3.0 * largest * z * (own + behind);
        }
    }
    slack
}

/// Of a reciprocal background: its exponent at a point, and the sum of the sizes of its logit's slopes by `ln s` and displacement.
fn of_background(rule: Rule, members: &[Gaussian<f64>], point: [f64; 2]) -> Option<(f64, f64)> {
    let (Rule::Reciprocal(_), (n, q)) = (rule, nearest(members, point)?) else { return None };
    let (b, v) = (rule.threshold()[0], (0.5 * members[n].log_det()).exp());
    let d = v * q + 1e-5;
    let (exponent, by_q) = (b / (v * d), b / (d * d));
    Some((exponent, 1.0 + exponent + q * by_q + 2.0 * by_q * (1.0 + q)))
}

/// Derivatives by means, scales, rotations and shares. A scale at its limit is left out on the device, so the oracle gets
/// Gaussians within the limits and its derivatives by clipped scales are put to 0. Measured: 0.032 of the tolerance.
#[test]
fn derivatives_are_those_of_the_oracle() {
    let drawn = (mixes(), any_rule()).prop_flat_map(|(mix, rule)| {
        let density = strategies::density(mix.case.cells.len());
        let slopes = vec((-1.0..1.0).prop_map(single), mix.annotations + 1);
        (Just(mix.scaled()), Just(rule), density, slopes, prop_oneof![Just(0.0), Just(1.0 / 64.0)])
    });
    property("plan", 48, drawn, |(mix, rule, density, slopes, price), tally| {
        let limits = [1.0, 6.0];
        let framing = Framing { least_scale: limits[0], largest_scale: limits[1], ..framing(*rule) };
        let mut clipped = mix.clone();
        clipped.case.set = clip(&mix.case.set, ScaleClip::Range { min: limits[0], max: limits[1] });
        let (members, points) = (clipped.members(), centres(&mix.case.cells));
        let decided = |p| !rule.is_undecided(&members, p) && !is_contested(&members, p);
        let density: Vec<f64> = points.iter().zip(density).map(|(&p, &z)| if decided(p) { z } else { 0.0 }).collect();
        let tau = 1e-6;
        let built = build(mix, *rule, framing, tau, Some((&density, slopes, *price)));
        let by_plan = built.by_plan.expect("derivatives");
        let set = &clipped.case.set;
        let background = (&rule.oracle(set), rule.threshold()[1]);
        let want = mixture::gradient((set, &mix.shares), (&points, &density), background, (slopes, *price));
        let slack = slack(&clipped, *rule, &density, (slopes, *price), tau);
        let got = wide(by_plan.parameters.read().expect("derivatives"));
        for (m, (got, want)) in got.chunks_exact(BY).zip(&want.parameters).enumerate() {
            let [s0, s1] = set[m].scales;
            let least = s0.min(s1);
            let units = [1.0 / least, 1.0 / least, 1.0 / s0, 1.0 / s1, s0.max(s1) / least];
            for k in 0..BY {
                let fixed = (2..4).contains(&k) && set[m].scales[k - 2] != mix.case.set[m].scales[k - 2];
                let want = if fixed { 0.0 } else { want[k] };
                tally.near(
                    ["mean x", "mean y", "scale 0", "scale 1", "rotation"][k],
                    m,
                    (got[k], want),
                    slack[m] * units[k],
                );
            }
        }
        let of = |n: usize| mix.shares.iter().filter(|s| s.annotation == n).map(|s| slack[s.gaussian]).sum::<f64>();
        let got = wide(by_plan.log_weights.read().expect("derivatives"));
        tally.all_near("share", &got, &want.log_weights, |c| 2.0 * of(mix.shares[c].annotation));
    });
}

/// Cells outside every image, no annotations, no Gaussians: nothing to derive, and no error.
#[test]
fn nothing_has_no_derivatives() {
    let cells = Cells::pixels(5, 3);
    let mix = Mix { case: Case { set: vec![], cells }, annotations: 0, shares: vec![] };
    let built = build(&mix, Rule::Exponent(3.0), Framing::default(), 1e-3, Some((&[1.0; 15], &[1.0], 0.5)));
    let by_plan = built.by_plan.expect("derivatives");
    assert!(by_plan.parameters.is_empty() && by_plan.log_weights.is_empty());
    assert_eq!(dense(&built.kernel), vec![vec![1.0]; 15]);
}
