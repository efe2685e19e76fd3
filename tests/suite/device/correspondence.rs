//! Rows of the transport kernel: against the oracle's dense ones, their certificate, both orders of storage.

use proptest::prelude::*;
use splatport::kernels::{
    Cells, Mosaic, Shape,
    correspondence::{Dropped, Room, correspondence_of_batch},
};
use splatport::reference::{gaussian::Gaussian, kernel::dense};

use super::plan::{Plan, Rule, any_rule, build, distance, row_error};
use super::{Case, Tally, U, cases, centres, device, framed, poison, property};

/// A case, a rule and a tolerance.
fn kernels() -> impl Strategy<Value = (Case, Rule, f64)> {
    (cases(24, 8.0), any_rule(), prop_oneof![Just(1e-1), Just(1e-3), Just(1e-6)])
}

/// Each row is within `tau` of the oracle's, plus rounding. Measured: 0.90 of it, by dropping.
#[test]
fn rows_are_the_posterior() {
    property("row", 48, kernels(), |(case, rule, tau), tally| {
        let Case { set, cells } = case;
        let got = Plan::read(&build(set, *cells, *rule, *tau)).dense();
        let points = centres(cells);
        let wanted = dense(set, &points, &rule.oracle(set));
        tally.equal("rows", &got.len(), &wanted.len());
        for (i, (got, want)) in got.iter().zip(&wanted).enumerate() {
            if !rule.is_undecided(set, points[i]) {
                tally.near("row", i, (distance(got, want), 0.0), tau + row_error(set, points[i]));
            }
        }
    });
}

/// A row keeps no more than it must: without what is lighter than a hair above its least weight, it would drop more than its
/// share of `tau`. The hair is 1/1024 of the range in which the device looks for the threshold. Rounding moves
/// masses by a row's error.
#[test]
fn rows_are_as_short_as_their_tolerance_lets_them() {
    property("nucleus", 32, kernels(), |(Case { set, cells }, rule, tau), tally| {
        let (plan, points) = (Plan::read(&build(set, *cells, *rule, *tau)), centres(cells));
        let wanted = dense(set, &points, &rule.oracle(set));
        let limit = 0.9 * tau / 2.0;
        for (i, &point) in points.iter().enumerate() {
            let least = plan.entries(i).map(|(n, _)| wanted[i][n]).fold(f64::INFINITY, f64::min);
            if rule.is_undecided(set, point) || plan.entries(i).count() < 2 {
                continue;
            }
            let range = (set.len() as f64 / limit).ln();
            let hair = (range / 1024.0 + row_error(set, point)).exp();
            let lighter: f64 = wanted[i][..set.len()].iter().filter(|&&w| w <= least * hair).sum();
            let slack = row_error(set, point) + set.len() as f64 * U;
            tally.holds(lighter > limit * (1.0 - slack) - slack, || format!("row {i} could drop {lighter} of {limit}"));
        }
    });
}

/// `k` weights are added one by one, each is a quotient (3 ulp) of that sum: `(k + 6) U`. Measured: 0.36 of it.
#[test]
fn rows_sum_to_one() {
    property("row sum", 24, kernels(), |(Case { set, cells }, rule, tau), tally| {
        let plan = Plan::read(&build(set, *cells, *rule, *tau));
        for (i, row) in plan.dense().iter().enumerate() {
            let tolerance = (plan.count(i) as f64 + 6.0) * U;
            tally.near("sum of row", i, (row.iter().sum(), 1.0), tolerance);
            tally.holds(row.iter().all(|w| (0.0..=1.0).contains(w)), || format!("row {i}: {row:?}"));
        }
    });
}

/// What a row leaves out, by the oracle, is at most what the kernel says; half of `tau` at most; and what it says it saw
/// being dropped was dropped. Masses are off by the rounding of a row, relative to themselves, as `exp` of their logits.
#[test]
fn the_certificate_is_true() {
    property("certificate", 32, kernels(), |(Case { set, cells }, rule, tau), tally| {
        let kernel = build(set, *cells, *rule, *tau);
        let (plan, points) = (Plan::read(&kernel), centres(cells));
        let wanted = dense(set, &points, &rule.oracle(set));
        let (mut worst, mut error) = (0.0_f64, 0.0_f64);
        for (i, &point) in points.iter().enumerate() {
            if rule.is_undecided(set, point) {
                // What is dropped there is not what the oracle would drop; the sum over all points is still bounded.
                continue;
            }
            let kept: f64 = plan.entries(i).map(|(n, _)| wanted[i][n]).sum();
            let all: f64 = wanted[i][..set.len()].iter().sum();
            worst = worst.max(all - kept);
            error = error.max(row_error(set, point));
        }
        let relative = 1.0 + error + 64.0 * U;
        let Dropped { worst: seen, bound } = kernel.dropped[0];
        tally.holds(worst <= bound * relative + 1e-15, || format!("{worst:e} dropped of {bound:e}"));
        tally.holds(2.0 * bound <= tau * (1.0 + 4.0 * U), || format!("bound {bound:e} for {tau}"));
        tally.holds(seen <= bound, || format!("{seen:e} seen"));
    });
}

/// Columns ascend within a row, and the transposed entries are the same ones, bit by bit.
#[test]
fn both_orders_hold_the_same_entries() {
    property("orders", 32, kernels(), |(Case { set, cells }, rule, tau), tally| {
        let kernel = build(set, *cells, *rule, *tau);
        let plan = Plan::read(&kernel);
        let mut by_row = Vec::new();
        for row in 0..cells.len() {
            let columns: Vec<usize> = plan.entries(row).map(|(n, _)| n).collect();
            tally.holds(columns.is_sorted_by(|a, b| a < b), || format!("row {row}: {columns:?}"));
            tally.holds(columns.iter().all(|&n| n < set.len()), || format!("row {row}: {columns:?}"));
            by_row.extend(plan.entries(row).map(|(n, weight)| (n, row, weight.to_bits())));
        }
        by_row.sort_unstable();
        let mut by_column = transposed(&kernel);
        by_column.sort_unstable();
        tally.holds(by_row == by_column, || first_difference(&by_row, &by_column));
    });
}

type Entry = (usize, usize, u64);

/// Annotation, cell and weight's bits of every transposed entry.
fn transposed(kernel: &splatport::kernels::correspondence::Correspondence<super::R, splatport::Single>) -> Vec<Entry> {
    let table = &kernel.transposed;
    let slots = table.slot_starts.read().expect("slots");
    let starts = table.entry_starts.read().expect("entries");
    let (rows, weights) = (table.rows.read().expect("rows"), table.weights.read().expect("weights"));
    assert_eq!(*starts.last().expect("a total") as usize, rows.len(), "entries of all slots");
    let mut entries = Vec::new();
    for n in 0..slots.len() - 1 {
        for slot in slots[n] as usize..slots[n + 1] as usize {
            for at in starts[slot] as usize..starts[slot + 1] as usize {
                entries.push((n, rows[at] as usize, f64::from(weights[at]).to_bits()));
            }
        }
    }
    entries
}

fn first_difference(a: &[Entry], b: &[Entry]) -> String {
    let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    format!("{} and {} entries, first difference at {at}: {:?}, {:?}", a.len(), b.len(), a.get(at), b.get(at))
}

/// The same bits from a fresh build over other poison.
#[test]
fn a_second_build_has_the_same_bits() {
    property("second build", 12, kernels(), |(Case { set, cells }, rule, tau), tally| {
        let first = build(set, *cells, *rule, *tau);
        super::poison_with(3.5, &[cells.len(), 8 * set.len(), cells.len() * 8]);
        let frames = super::framed(set, 1, rule.framing());
        let made = splatport::kernels::correspondence::correspondence(
            super::device(),
            &frames,
            *cells,
            rule.on_device(),
            *tau,
        );
        let second = made.expect("a kernel");
        poison(&[16]);
        let seen = [&first, &second].map(|kernel| {
            let Dropped { worst, bound } = kernel.dropped[0];
            (Plan::read(kernel), transposed(kernel), [worst, bound].map(f64::to_bits))
        });
        tally.holds(seen[0] == seen[1], || "the bits differ".to_owned());
    });
}

/// Fewer entries are stored than a dense matrix has, and the tighter `tau`, the more.
#[test]
fn sparse_where_it_may_be() {
    let at = |n: u32| [f64::from(n % 12) * 20.0 + 10.0, f64::from(n / 12) * 20.0 + 10.0];
    let set: Vec<_> = (0..144).map(|n| splatport::reference::gaussian::Gaussian::round(at(n), 4.0)).collect();
    let cells = splatport::kernels::Cells { stride: 4.0, ..splatport::kernels::Cells::pixels(60, 60) };
    let entries = |tau| build(&set, cells, Rule::Crossover(3.0), tau).columns.len();
    let stored = [1e-1, 1e-3, 1e-6].map(entries);
    let dense = cells.len() * set.len();
    assert!(stored[0] < stored[1] && stored[1] < stored[2] && stored[2] < dense / 10, "{stored:?} of {dense}");
}

/// A helper's test: a wrong row is seen.
#[test]
fn a_missing_row_is_seen() {
    let mut tally = Tally::default();
    tally.near("row", 0, (distance(&[1.0, 0.0], &[0.5, 0.5]), 0.0), 0.1);
    assert!(format!("{tally:?}").contains("row[0]"));
}

/// Everything that is stored of the first image of a batch.
fn stored(images: &[(Cells, &[Gaussian<f64>])], rule: Rule, shape: Shape) -> (Vec<Vec<u32>>, Dropped) {
    let set: Vec<_> = images.iter().flat_map(|(_, set)| set.iter().copied()).collect();
    let plots: Vec<_> = images.iter().map(|(cells, set)| (*cells, set.len())).collect();
    poison(&[set.len(), 100, 4000]);
    let (on, frames) = (device().with_shape(shape), framed(&set, 1, rule.framing()));
    let mosaic = Mosaic::new(&on, &plots).expect("a mosaic");
    let kernel = correspondence_of_batch(&on, &frames, &mosaic, rule.on_device(), 1e-3, &mut Room::default());
    let kernel = kernel.expect("a kernel");
    let (cells, gaussians) = (images[0].0.len(), images[0].1.len());
    let first = |buffer: Vec<u32>, count: usize| buffer[..count].to_vec();
    let bits = |buffer: Vec<f32>, count: usize| buffer[..count].iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let row_starts = first(kernel.row_starts.read().expect("starts"), cells + 1);
    let slot_starts = first(kernel.transposed.slot_starts.read().expect("starts"), gaussians + 1);
    let (entries, slots) = (row_starts[cells] as usize, slot_starts[gaussians] as usize);
    let arrays = vec![
        first(kernel.columns.read().expect("columns"), entries),
        bits(kernel.weights.read().expect("weights"), entries),
        bits(kernel.background.read().expect("weights"), cells),
        first(kernel.transposed.entry_starts.read().expect("starts"), slots + 1),
        first(kernel.transposed.rows.read().expect("rows"), entries),
        bits(kernel.transposed.weights.read().expect("weights"), entries),
        row_starts,
        slot_starts,
    ];
    (arrays, kernel.dropped[0])
}

/// Neither the shape of the device nor the images beside it change a bit, whichever way lists are made: a wide image has two levels of
/// tiles, the others may have one.
#[test]
fn shape_and_company_change_nothing() {
    let wide = (cases(6, 8.0), cases(24, 8.0), any_rule());
    property("company", 24, wide, |(beside, Case { set, cells }, rule), tally| {
        let company = (Cells { columns: 130, ..beside.cells }, beside.set.as_slice());
        let alone = stored(&[(*cells, set)], *rule, Shape::Gathered);
        for shape in [Shape::Gathered, Shape::Tiled] {
            tally.equal("alone", &stored(&[(*cells, set)], *rule, shape), &alone);
            tally.equal("with another", &stored(&[(*cells, set), (beside.cells, &beside.set)], *rule, shape), &alone);
            tally.equal("with a wide one", &stored(&[(*cells, set), company], *rule, shape), &alone);
        }
    });
}

/// What a build runs over is its room: of a guess nothing stays but a quarter more than was needed, a larger batch's room goes slowly,
/// and all of it has the same bits.
#[test]
fn room_is_what_was_needed() {
    let at = |n: u32| [f64::from(n % 20) * 3.0 + 1.0, f64::from(n / 20) * 3.0 + 1.0];
    let set = |count: u32| (0..count).map(|n| Gaussian::round(at(n), 0.5)).collect::<Vec<_>>();
    let mut room = Room::default();
    let mut build = |count: u32| {
        let (set, cells) = (set(count), Cells::pixels(64, 64));
        let frames = framed(&set, 1, Rule::Hard(1.5).framing());
        let mosaic = Mosaic::new(device(), &[(cells, set.len())]).expect("a mosaic");
        poison(&[set.len(), 100, 4000]);
        let background = Rule::Hard(1.5).on_device();
        let kernel =
            correspondence_of_batch(device(), &frames, &mosaic, background, 1e-3, &mut room).expect("a kernel");
        (kernel.transposed.entry_starts.len() - 1, kernel.columns.len(), room, Plan::read(&kernel))
    };
    let enough = |needed: usize| (needed as f64 * 1.25) as usize + 64;
    let (pairs, entries, room, first) = build(400);
    assert!(pairs < 400 * 12, "{pairs} pairs leave nothing to give back of a guess of 60 each");
    assert_eq!((room.pairs(), room.entries()), (enough(pairs), enough(entries)));
    let (few, _, after, _) = build(20);
    assert!(enough(few) < room.pairs() / 2);
    assert_eq!(
        (after.pairs(), after.entries()),
        (room.pairs() - room.pairs() / 16, room.entries() - room.entries() / 16)
    );
    let (.., again, second) = build(400);
    assert!(again.pairs() >= enough(pairs) && first == second);
}
