//! A synthetic picture with everything that is known about it.

use super::Sample;

/// A synthetic picture with the truth about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The photo, its points as a person might have clicked them, and the true scales.
    pub sample: Sample,
    /// The true positions of the annotations, px, `[n]`.
    pub exact: Vec<[f64; 2]>,
    /// The annotation that every pixel shows, `None` for everything else, `[height * width]`.
    pub owners: Vec<Option<u32>>,
    /// The number of objects that were drawn but are not annotated, because too little of them is visible.
    pub hidden: usize,
}

/// The owners, from labels. The object with index `i` has the label `i + 1`; `kept[n]` is the index of annotation `n`,
/// and `count` the number of all objects.
pub(super) fn owners(labels: &[u32], kept: &[usize], count: usize) -> Vec<Option<u32>> {
    let mut owner_of = vec![None; count + 1];
    for (n, &label) in kept.iter().enumerate() {
        owner_of[label + 1] = Some(n as u32);
    }
    labels.iter().map(|&label| owner_of[label as usize]).collect()
}
