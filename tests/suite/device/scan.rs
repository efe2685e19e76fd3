//! Prefix sums, exactly.

use proptest::collection::vec;
use proptest::prelude::*;
use splatport::kernels::{Error, scan::starts};

use super::{Tally, device, once, poison, property};

/// Compares with the sum of the host.
fn check(counts: &[u32], tally: &mut Tally) {
    poison(&[counts.len() + 1, 1]);
    let scanned = starts(device(), &device().upload(counts));
    let mut wanted = vec![0u32];
    for count in counts {
        wanted.push(wanted[wanted.len() - 1] + count);
    }
    let got = scanned.starts.read().expect("starts");
    tally.equal("length", &got.len(), &wanted.len());
    for (index, (got, want)) in got.iter().zip(&wanted).enumerate() {
        tally.holds(got == want, || format!("start {index} of {}: {got}, not {want}", counts.len()));
    }
    tally.equal("total", &scanned.total("lists").ok(), &wanted.last().map(|&total| total as usize));
}

/// One unit scans 64 counts: lengths around one, two and three levels of that.
#[test]
fn every_level_is_exact() {
    once("scan", |tally| {
        for len in [0, 1, 2, 63, 64, 65, 127, 128, 129, 4095, 4096, 4097, 64 * 64 * 64 + 1] {
            let counts: Vec<u32> = (0..len).map(|i: u32| i.wrapping_mul(2_654_435_761) >> 20).collect();
            check(&counts, tally);
        }
    });
}

#[test]
fn any_counts() {
    property("scan", 32, vec(prop_oneof![Just(0u32), 0..9u32, 0..100_000u32], 0..700), |counts, tally| {
        check(counts, tally);
    });
}

/// What does not fit is told by name, wherever the sum overflows; the largest that fits does.
#[test]
fn an_overflow_is_an_error() {
    let total = |counts: &[u32]| starts(device(), &device().upload(counts)).total("lists");
    let mut far = vec![1u32; 9000];
    far[8999] = u32::MAX - 3;
    for counts in [vec![u32::MAX], vec![u32::MAX / 2; 3], vec![1 << 25; 128], vec![1 << 20; 4097], far] {
        match total(&counts) {
            Err(Error::TooLarge { what: "lists", .. }) => {}
            other => panic!("{} counts from {}: {other:?}", counts.len(), counts[0]),
        }
    }
    assert_eq!(total(&[u32::MAX - 1]).expect("fits"), u32::MAX as usize - 1);
    assert_eq!(total(&[1 << 30, 1 << 30, 1 << 30, (1 << 30) - 2]).expect("fits"), u32::MAX as usize - 1);
}
