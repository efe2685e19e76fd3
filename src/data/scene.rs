//! A picture that was drawn, with everything that is known of it.

use super::Sample;

/// A synthetic picture with the truth about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The photo, its points as a person would have clicked them, and the true scales.
    pub sample: Sample,
    /// True places of the annotations, px, `[n]`.
    pub exact: Vec<[f64; 2]>,
    /// Which annotation every pixel shows, none for everything else, `[height * width]`.
    pub owners: Vec<Option<u32>>,
    /// What was drawn but is not annotated, because too little of it is seen.
    pub hidden: usize,
}

/// Owners from labels of which `kept[n]` is the annotation `n`'s, counted from 1; `count` is the number of all.
pub(super) fn owners(labels: &[u32], kept: &[usize], count: usize) -> Vec<Option<u32>> {
    let mut owner_of = vec![None; count + 1];
    for (n, &label) in kept.iter().enumerate() {
        owner_of[label + 1] = Some(n as u32);
    }
    labels.iter().map(|&label| owner_of[label as usize]).collect()
}
