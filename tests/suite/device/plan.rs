//! Transport kernels for the tests: rules both sides understand, and a copy of the sparse matrix.

use proptest::prelude::*;
use splatport::kernels::{
    Cells, Precision,
    correspondence::{self, Correspondence},
    gaussian::{Framing, frames},
};
use splatport::reference::{gaussian::Gaussian, kernel::Background, nearest::nearest};
use splatport::{Device, Gaussians, Single, Storage};

use super::{R, U, device, framed, largest_aspect, poison, q_error, rows, single};

/// A background rule with a distance in scales.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    None,
    Exponent(f64),
    Crossover(f64),
    Ratio(f64),
    Hard(f64),
    /// By how many scales of 2 px the background is mirrored.
    Reciprocal(f64),
}

/// Every rule, with distances whose squares are exact.
pub fn any_rule() -> impl Strategy<Value = Rule> {
    let d = || (4..32u8).prop_map(|eighths| f64::from(eighths) / 8.0);
    prop_oneof![
        Just(Rule::None),
        d().prop_map(Rule::Exponent),
        d().prop_map(Rule::Crossover),
        d().prop_map(Rule::Ratio),
        d().prop_map(Rule::Hard),
        d().prop_map(Rule::Reciprocal),
    ]
}

impl Rule {
    /// Constant part of `b`, and part per `log |Sigma|`.
    pub fn threshold(self) -> [f64; 2] {
        match self {
            Self::None => [0.0, 0.0],
            Self::Exponent(d) => [d * d / 2.0, 0.0],
            Self::Crossover(d) | Self::Hard(d) => [d * d, 0.0],
            Self::Reciprocal(d) => [2.0 * d * d, 0.0],
            Self::Ratio(d) => [single(d * d / 2.0 - 0.015_f64.ln()), 0.5],
        }
    }

    pub fn framing(self) -> Framing {
        let [threshold, threshold_per_log_det] = self.threshold();
        Framing { threshold, threshold_per_log_det, ..Framing::default() }
    }

    pub fn on_device(self) -> correspondence::Background {
        match self {
            Self::None => correspondence::Background::None,
            Self::Hard(_) => correspondence::Background::Hard,
            Self::Reciprocal(_) => correspondence::Background::Reciprocal,
            _ => correspondence::Background::Odds,
        }
    }

    pub fn oracle(self, set: &[Gaussian<f64>]) -> Background<f64> {
        let [constant, per_log_det] = self.threshold();
        match self {
            Self::None => Background::None,
            Self::Hard(cut_off) => Background::Hard { cut_off },
            Self::Reciprocal(_) => Background::Reciprocal { strength: constant },
            _ => Background::Odds { b: set.iter().map(|g| constant + per_log_det * g.log_det()).collect() },
        }
    }

    /// Whether rounding may decide what the background gets at a point: it depends on which gaussian is nearest, and where
    /// it is hard on which side of the boundary the point lies.
    pub fn is_undecided(self, set: &[Gaussian<f64>], point: [f64; 2]) -> bool {
        let Some((best, q)) = nearest(set, point) else { return false };
        let band = 2.0 * q_error(largest_aspect(set)) * q;
        match self {
            Self::None => false,
            Self::Hard(d) => (q - d * d).abs() <= band,
            _ => set
                .iter()
                .enumerate()
                .any(|(n, g)| n != best && g.scales != set[best].scales && g.mahalanobis_sq(point) - q <= band),
        }
    }
}

/// L1 error that rounding may give a row: `(32 + 4 a) U (1 + q*)`.
///
/// A weight is off by its own and the row's other logits' errors, each half of `q`'s (`(3 a + 4) U q`) and a few U for the
/// log normaliser; far columns have weights that shrink faster than their `q` grows, so `q*` stands for all.
pub fn row_error(set: &[Gaussian<f64>], point: [f64; 2]) -> f64 {
    let q = nearest(set, point).map_or(0.0, |(_, q)| q);
    (32.0 + 4.0 * largest_aspect(set)) * U * (1.0 + q)
}

/// Builds on the shared device.
pub fn build(set: &[Gaussian<f64>], cells: Cells, rule: Rule, tau: f64) -> Correspondence<R, Single> {
    poison(&[cells.len(), 8 * set.len(), cells.len() * (1 + set.len() / 4)]);
    let frames = framed(set, 1, rule.framing());
    correspondence::correspondence(device(), &frames, cells, rule.on_device(), tau).expect("a kernel")
}

/// Builds in another precision.
pub fn build_on<P: Precision>(
    device: &Device<R, P>,
    (set, cells): (&[Gaussian<f64>], Cells),
    rule: Rule,
    tau: f64,
) -> Correspondence<R, P> {
    let gaussians = Gaussians { parameters: device.upload_f64(&rows(set, 1)), channels: 1 };
    let frames = frames(device, &gaussians, set.len(), rule.framing()).expect("frames");
    correspondence::correspondence(device, &frames, cells, rule.on_device(), tau).expect("a kernel")
}

/// A copy of the sparse matrix on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub starts: Vec<usize>,
    pub columns: Vec<usize>,
    pub weights: Vec<f64>,
    pub background: Vec<f64>,
    pub annotations: usize,
}

impl Plan {
    pub fn read<P: Precision>(kernel: &Correspondence<R, P>) -> Self {
        let indices = |values: Vec<u32>| values.into_iter().map(|v| v as usize).collect();
        Self {
            starts: indices(kernel.row_starts.read().expect("row starts")),
            columns: indices(kernel.columns.read().expect("columns")),
            weights: kernel.weights.read().expect("weights").into_iter().map(Storage::value).collect(),
            background: kernel.background.read().expect("background").into_iter().map(Storage::value).collect(),
            annotations: kernel.transposed.slot_starts.len() - 1,
        }
    }

    /// Columns and weights of a row, background aside.
    pub fn entries(&self, row: usize) -> impl Iterator<Item = (usize, f64)> {
        let range = self.starts[row]..self.starts[row + 1];
        self.columns[range.clone()].iter().copied().zip(self.weights[range].iter().copied())
    }

    /// Number of entries of a row.
    pub fn count(&self, row: usize) -> usize {
        self.starts[row + 1] - self.starts[row]
    }

    /// All rows, with the background as the last column.
    pub fn dense(&self) -> Vec<Vec<f64>> {
        let row = |(i, &background): (usize, &f64)| {
            let mut row = vec![0.0; self.annotations];
            self.entries(i).for_each(|(n, weight)| row[n] = weight);
            row.push(background);
            row
        };
        self.background.iter().enumerate().map(row).collect()
    }
}

/// Sum of the absolute differences of two rows.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "columns");
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum()
}
