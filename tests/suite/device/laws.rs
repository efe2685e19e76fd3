//! What a transport kernel obeys whatever the numbers.

use std::f64::consts::{FRAC_PI_2, PI};

use proptest::prelude::*;
use splatport::kernels::Cells;
use splatport::reference::{gaussian::Gaussian, nearest::nearest};
use splatport::strategies;

use super::plan::{Plan, Rule, any_rule, build, distance, row_error};
use super::{Case, Tally, U, aspect, cases, centres, largest_aspect, once, property, q_error, single};

const TAU: f64 = 1e-6;

fn rows_of(set: &[Gaussian<f64>], cells: Cells, rule: Rule) -> Vec<Vec<f64>> {
    Plan::read(&build(set, cells, rule, TAU)).dense()
}

#[test]
fn without_annotations_all_is_background() {
    property("no annotation", 10, (cases(0, 1.0), any_rule()), |(Case { set, cells }, rule), tally| {
        let kernel = build(set, *cells, *rule, TAU);
        tally.equal("rows", &Plan::read(&kernel).dense(), &vec![vec![1.0]; cells.len()]);
        tally.equal("dropped", &kernel.dropped[0].worst, &0.0);
    });
}

/// `K_i0 = sigmoid(q - b)`: 8 U (1 + q) for the odds, and the error of `q` times the sigmoid's slope, ¼ at most. An entry of
/// less than `TAU / 2` may be dropped. Measured: 0.14 of it.
#[test]
fn one_annotation_gives_a_sigmoid() {
    let one = (strategies::gaussian(61, 37, 10.0), 0.5..4.0);
    property("sigmoid", 32, one, |&(g, d), tally| {
        let rule = Rule::Crossover(single(d));
        let b = single(single(d) * single(d));
        let cells = Cells::pixels(61, 37);
        for (i, (row, &x)) in rows_of(&[g], cells, rule).iter().zip(&centres(&cells)).enumerate() {
            let q = g.mahalanobis_sq(x);
            let tolerance = 8.0 * U * (1.0 + q + b) + q_error(aspect(&g)) * q / 4.0 + TAU / 2.0;
            tally.near("background", i, (row[1], 1.0 / (1.0 + (b - q).exp())), tolerance);
            tally.near("annotation", i, (row[0], 1.0 / (1.0 + (q - b).exp())), tolerance);
        }
    });
}

/// Half at exactly `d` scales. Measured: 0 of 8 U (1 + b).
#[test]
fn crossover_is_even_at_the_cut_off() {
    once("crossover", |tally| {
        for d in [1.0, 1.5, 2.0, 3.0] {
            let cells = Cells::pixels(40, 9);
            let rows = rows_of(&[Gaussian::round([8.5, 4.5], 4.0)], cells, Rule::Crossover(d));
            let at = 4 * 40 + 8 + (4.0 * d) as usize;
            for (column, &weight) in rows[at].iter().enumerate() {
                tally.near("column", column, (weight, 0.5), 8.0 * U * (1.0 + d * d));
            }
        }
    });
}

/// Equal gaussians are treated by equal instructions: equal bits. Measured for merged rows: 0.06 of the tolerance.
#[test]
fn duplicates_have_equal_columns() {
    property("duplicates", 24, (cases(10, 8.0), any_rule()), |(Case { set, cells }, rule), tally| {
        let doubled: Vec<_> = set.iter().chain(set).copied().collect();
        let single = rows_of(set, *cells, *rule);
        for (i, row) in rows_of(&doubled, *cells, *rule).iter().enumerate() {
            for n in 0..set.len() {
                tally.equal("columns", &(i, row[n]), &(i, row[n + set.len()]));
            }
            if matches!(rule, Rule::None) && !set.is_empty() {
                // Without a background each gets half of what one alone gets.
                let merged: Vec<f64> = (0..set.len()).map(|n| row[n] + row[n + set.len()]).collect();
                let error = 2.0 * (TAU + row_error(set, centres(cells)[i]));
                tally.near("merged row", i, (distance(&merged, &single[i][..set.len()]), 0.0), error);
            }
        }
    });
}

/// Compares rows of two kernels on the device, `of` naming the row of the first for each of the other.
///
/// Both are within `TAU` and rounding of the same posterior; turning rounds the angle, by up to 8 U, which moves `q` by up to
/// the aspect times that.
fn same_rows(case: &Case, other: &[Vec<f64>], rule: Rule, of: impl Fn(usize) -> usize, tally: &mut Tally) {
    let (first, points) = (rows_of(&case.set, case.cells, rule), centres(&case.cells));
    for (i, row) in other.iter().enumerate() {
        let (from, point) = (of(i), points[of(i)]);
        if rule.is_undecided(&case.set, point) {
            continue;
        }
        let q = nearest(&case.set, point).map_or(0.0, |(_, q)| q);
        let turned = 8.0 * largest_aspect(&case.set) * U * (1.0 + q);
        let tolerance = 2.0 * (TAU + row_error(&case.set, point)) + turned;
        tally.near("row", i, (distance(row, &first[from]), 0.0), tolerance);
    }
}

/// Means that move without rounding: multiples of 1/64 px.
fn steady(case: &Case) -> Case {
    let place = |g: &Gaussian<f64>| Gaussian { mean: g.mean.map(|v| (v * 64.0).round() / 64.0), ..*g };
    Case { set: case.set.iter().map(place).collect(), cells: case.cells }
}

/// A half turn and exchanged axes name the same gaussian. Measured: 0.2 of it.
#[test]
fn axes_have_many_names() {
    property("axes", 24, (cases(12, 8.0), any_rule()), |(case, rule), tally| {
        let renamed =
            |f: fn(&Gaussian<f64>) -> Gaussian<f64>| Case { set: case.set.iter().map(f).collect(), cells: case.cells };
        let turned = renamed(|g| Gaussian { rotation: single(g.rotation + PI), ..*g });
        let swapped = renamed(|g| Gaussian {
            scales: [g.scales[1], g.scales[0]],
            rotation: single(g.rotation + FRAC_PI_2),
            ..*g
        });
        same_rows(case, &rows_of(&turned.set, turned.cells, *rule), *rule, |i| i, tally);
        same_rows(case, &rows_of(&swapped.set, swapped.cells, *rule), *rule, |i| i, tally);
    });
}

/// Moving and turning image and gaussians together, or mirroring them, only renames the cells. Measured: 0.1 of it.
#[test]
fn rigid_motions_and_mirrors_rename_cells() {
    property("motion", 24, (cases(12, 8.0), any_rule(), 0..500u16), |(case, rule, shift), tally| {
        let case = steady(case);
        let Cells { left, top, stride, columns, rows } = case.cells;
        let (width, height) = (f64::from(columns) * stride, f64::from(rows) * stride);
        let shift = f64::from(*shift);
        let place = |f: &dyn Fn(&Gaussian<f64>) -> Gaussian<f64>| case.set.iter().map(f).collect::<Vec<_>>();

        let moved = place(&|g| Gaussian { mean: [g.mean[0] + shift, g.mean[1] + 1.0], ..*g });
        let cells = Cells { left: left + shift, top: top + 1.0, ..case.cells };
        same_rows(&case, &rows_of(&moved, cells, *rule), *rule, |i| i, tally);

        let mirror =
            place(&|g| Gaussian { mean: [2.0 * left + width - g.mean[0], g.mean[1]], rotation: -g.rotation, ..*g });
        let across = columns as usize;
        let flipped = |i: usize| i / across * across + across - 1 - i % across;
        same_rows(&case, &rows_of(&mirror, case.cells, *rule), *rule, flipped, tally);

        // (x, y) -> (height - y, x) about the first corner.
        let turned = place(&|g| Gaussian {
            mean: [left + height - (g.mean[1] - top), top + g.mean[0] - left],
            rotation: single(g.rotation + FRAC_PI_2),
            ..*g
        });
        let cells = Cells { columns: rows, rows: columns, ..case.cells };
        let down = rows as usize;
        let from = |i: usize| (down - 1 - i % down) * across + i / down;
        same_rows(&case, &rows_of(&turned, cells, *rule), *rule, from, tally);
    });
}

/// A picture of twice or half the size has the same kernel, as long as no length stands in the rule: the ratio's and the reciprocal
/// one have one.
#[test]
fn sizes_do_not_matter() {
    let rules = prop_oneof![Just(Rule::None), (1..4u8).prop_map(|d| Rule::Crossover(d.into()))];
    let rules = prop_oneof![rules, (1..4u8).prop_map(|d| Rule::Hard(d.into())), Just(Rule::Exponent(3.0))];
    property("sizes", 24, (cases(12, 8.0), rules, any::<bool>()), |(case, rule, larger), tally| {
        let by = if *larger { 2.0 } else { 0.5 };
        let place =
            |g: &Gaussian<f64>| Gaussian { mean: g.mean.map(|v| by * v), scales: g.scales.map(|s| by * s), ..*g };
        let Cells { left, top, stride, .. } = case.cells;
        let cells = Cells { left: by * left, top: by * top, stride: by * stride, ..case.cells };
        let scaled: Vec<_> = case.set.iter().map(place).collect();
        same_rows(case, &rows_of(&scaled, cells, *rule), *rule, |i| i, tally);
    });
}

/// The order of the annotations is that of the columns and nothing else.
#[test]
fn columns_follow_the_annotations() {
    property("order", 24, (cases(12, 8.0), any_rule()), |(case, rule), tally| {
        let reversed: Vec<_> = case.set.iter().rev().copied().collect();
        let mut rows = rows_of(&reversed, case.cells, *rule);
        rows.iter_mut().for_each(|row| row[..reversed.len()].reverse());
        same_rows(case, &rows, *rule, |i| i, tally);
    });
}

/// `K_i0 <= exp(q - b)`: with a distant background the rest is the plan without one, to twice what the background has.
#[test]
fn distant_backgrounds_vanish() {
    property("distant", 24, (cases(12, 8.0), 1..6u8), |(Case { set, cells }, d), tally| {
        let (d, points) = (f64::from(*d), centres(cells));
        let without = rows_of(set, *cells, Rule::None);
        for (i, row) in rows_of(set, *cells, Rule::Crossover(d)).iter().enumerate() {
            let Some((_, q)) = nearest(set, points[i]) else { continue };
            let error = TAU + row_error(set, points[i]);
            let share = (q - d * d).min(0.0).exp();
            tally.near("background", i, ((row[set.len()] - share).max(0.0), 0.0), error);
            let apart = distance(&row[..set.len()], &without[i][..set.len()]);
            tally.near("row", i, ((apart - 2.0 * share).max(0.0), 0.0), 2.0 * error);
        }
    });
}

/// Theorem 1 of the paper on cells: where the density is the sum of the annotations' own, each gets back its own.
#[test]
fn likelihoods_come_back() {
    property("marginals", 24, cases(12, 8.0), |Case { set, cells }, tally| {
        let points = centres(cells);
        let own = |g: &Gaussian<f64>| points.iter().map(|&x| g.log_density(x).exp()).collect::<Vec<_>>();
        let likelihoods: Vec<_> = set.iter().map(own).collect();
        let density: Vec<f64> = (0..points.len()).map(|i| likelihoods.iter().map(|own| own[i]).sum()).collect();
        let rows = rows_of(set, *cells, Rule::None);
        let errors = points.iter().zip(&density).map(|(&x, z)| z * (TAU + row_error(set, x)));
        let error: f64 = errors.sum();
        for (n, own) in likelihoods.iter().enumerate() {
            let got: f64 = rows.iter().zip(&density).map(|(row, z)| z * row[n]).sum();
            tally.near("annotation", n, (got, own.iter().sum()), error);
        }
    });
}

/// Equal round gaussians without a background: a softmax of squared distances (the Bayesian loss). Measured: 0.2 of it.
#[test]
fn equal_round_gaussians_are_a_softmax() {
    property("softmax", 24, (strategies::points(20, 53, 41), 1.0..12.0), |(points, scale), tally| {
        let scale = single(*scale);
        let set: Vec<_> = points.iter().map(|&p| Gaussian::round(p, scale)).collect();
        let cells = Cells::pixels(53, 41);
        for (i, (row, &x)) in rows_of(&set, cells, Rule::None).iter().zip(&centres(&cells)).enumerate() {
            if points.is_empty() {
                continue;
            }
            let half = |p: &[f64; 2]| ((x[0] - p[0]).powi(2) + (x[1] - p[1]).powi(2)) / (2.0 * scale * scale);
            let least = points.iter().map(half).fold(f64::INFINITY, f64::min);
            let weights: Vec<f64> = points.iter().map(|p| (least - half(p)).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let want: Vec<f64> = weights.iter().map(|w| w / sum).chain([0.0]).collect();
            tally.near("row", i, (distance(row, &want), 0.0), TAU + row_error(&set, x));
        }
    });
}
