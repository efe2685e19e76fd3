//! Which annotation owns a cell, and how well that agrees with true object masks.
//!
//! ```
//! use splatport::reference::ownership;
//!
//! let kernel = [vec![0.9_f64, 0.1], vec![0.6, 0.4], vec![0.2, 0.8]];
//! let owners = ownership::owners(&kernel);
//! assert_eq!(owners, [Some(0), Some(0), None]);
//! // The true mask of label 7 covers the first cell only: 1 shared of 2.
//! assert_eq!(ownership::mean_overlap::<f64>(&owners, &[7, 0, 0], &[7]), Some(0.5));
//! ```

use super::{Scalar, count};

/// The annotation with the largest entry of every row, `None` where that is the background (the last column).
///
/// The lowest column wins ties, so an annotation wins against the background at exactly 1/2.
pub fn owners<T: Scalar>(kernel: &[Vec<T>]) -> Vec<Option<usize>> {
    let owner = |row: &Vec<T>| {
        let mut best = 0;
        for (column, &entry) in row.iter().enumerate() {
            if entry > row[best] {
                best = column;
            }
        }
        (best + 1 < row.len()).then_some(best)
    };
    kernel.iter().map(owner).collect()
}

/// Intersection over union of "cells owned by n" and "cells labeled `labels_of[n]`", per annotation, 0..1.
///
/// `owners` and `labels` have one entry per cell; any label that is not in `labels_of` is background, and labels may be
/// in any order. `None` where both sets are empty, so that there is nothing to compare.
///
/// # Panics
/// If `owners` and `labels` differ in length.
pub fn overlaps<T: Scalar>(owners: &[Option<usize>], labels: &[u32], labels_of: &[u32]) -> Vec<Option<T>> {
    assert_eq!(labels.len(), owners.len(), "length of labels");
    let one = |(n, &label): (usize, &u32)| {
        let cells = || owners.iter().zip(labels).map(|(&owner, &at)| (owner == Some(n), at == label));
        let both = cells().filter(|&(owned, labelled)| owned && labelled).count();
        let either = cells().filter(|&(owned, labelled)| owned || labelled).count();
        (either > 0).then(|| count::<T>(both) / count(either))
    };
    labels_of.iter().enumerate().map(one).collect()
}

/// Mean of the [`overlaps`] that are defined; `None` if there is none.
///
/// # Panics
/// If `owners` and `labels` differ in length.
pub fn mean_overlap<T: Scalar>(owners: &[Option<usize>], labels: &[u32], labels_of: &[u32]) -> Option<T> {
    let defined: Vec<T> = overlaps(owners, labels, labels_of).into_iter().flatten().collect();
    (!defined.is_empty()).then(|| defined.iter().copied().sum::<T>() / count(defined.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lowest_column() {
        let kernel = [vec![0.25, 0.5, 0.25], vec![0.5, 0.0, 0.5], vec![0.4, 0.4, 0.2], vec![0.2, 0.2, 0.6]];
        assert_eq!(owners(&kernel), [Some(1), Some(0), Some(0), None]);
        assert_eq!(owners(&[vec![1.0_f64]]), [None]);
    }

    #[test]
    fn overlap_by_hand() {
        let owners = [Some(0), Some(0), None, Some(1), None, None];
        let labels = [9, 9, 9, 4, 4, 0];
        let each = overlaps::<f64>(&owners, &labels, &[9, 4, 5]);
        assert_eq!(each, [Some(2.0 / 3.0), Some(0.5), None]);
        let mean = mean_overlap::<f64>(&owners, &labels, &[9, 4, 5]);
        assert_eq!(mean, Some((2.0 / 3.0 + 0.5) / 2.0));
        assert_eq!(mean_overlap::<f64>(&owners, &labels, &[]), None);
    }
}
