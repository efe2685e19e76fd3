//! Which annotation owns which cell, and how well that matches known objects.

use crate::{CsrTable, Result, error::check_length};

/// The owner of each cell of a grid: the column with the largest weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Owners {
    /// The owning annotation, or `None` for the background, `[cells]`.
    pub owner: Vec<Option<u32>>,
    /// The owner's weight, 0..1, `[cells]`.
    pub weight: Vec<f64>,
}

impl Owners {
    /// The owners in a stored kernel, whose last column is the background. Ties go to the background, then to the
    /// lowest index.
    ///
    /// ```
    /// use splatport::{CsrTable, kernel::Owners};
    ///
    /// let table = CsrTable {
    ///     rows: 2,
    ///     cols: 2,
    ///     indptr: vec![0, 2, 3],
    ///     indices: vec![0, 1, 1],
    ///     data: vec![0.75, 0.25, 1.0],
    ///     grid_width: 2,
    ///     grid_height: 1,
    ///     ..CsrTable::default()
    /// };
    /// assert_eq!(Owners::of(&table)?.owner, [Some(0), None]);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`CsrTable::save`].
    pub fn of(table: &CsrTable) -> Result<Self> {
        table.check()?;
        let (mut owner, mut weight) = (Vec::with_capacity(table.rows), Vec::with_capacity(table.rows));
        for ends in table.indptr.windows(2) {
            let entries = ends[0] as usize..ends[1] as usize;
            let share = |at: &usize| (table.data[*at], table.indices[*at] as usize + 1 == table.cols);
            // Among equals the last is taken: the background, or the lowest index.
            let largest =
                entries.rev().max_by(|a, b| share(a).0.total_cmp(&share(b).0).then(share(a).1.cmp(&share(b).1)));
            owner.push(largest.filter(|at| !share(at).1).map(|at| table.indices[at]));
            weight.push(largest.map_or(0.0, |at| table.data[at]));
        }
        Ok(Self { owner, weight })
    }

    /// Mean intersection over union of "cells owned by `n`" and "cells with label `label_of[n]`", over all annotations
    /// `n`.
    ///
    /// `labels` has one label per cell. An annotation with neither an owned nor a labeled cell is left out. `None` if
    /// all are left out.
    ///
    /// ```
    /// use splatport::kernel::Owners;
    ///
    /// let owners = Owners { owner: vec![Some(0), Some(0), None, Some(1)], weight: vec![1.0; 4] };
    /// // Label 7 is found exactly; of label 9 one cell of two.
    /// assert_eq!(owners.mean_iou(&[7, 7, 9, 9], &[7, 9])?, Some(0.75));
    /// # Ok::<(), splatport::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Length`] unless there is one label per cell.
    pub fn mean_iou(&self, labels: &[u32], label_of: &[u32]) -> Result<Option<f64>> {
        check_length("labels", self.owner.len(), labels.len())?;
        let mut owned = vec![0u32; label_of.len()];
        let mut shared = vec![0u32; label_of.len()];
        let mut labelled = std::collections::HashMap::<u32, u32>::new();
        for (owner, &label) in self.owner.iter().zip(labels) {
            *labelled.entry(label).or_default() += 1;
            if let Some(n) = owner.map(|n| n as usize).filter(|&n| n < label_of.len()) {
                owned[n] += 1;
                shared[n] += u32::from(label_of[n] == label);
            }
        }
        let overlaps: Vec<f64> = label_of
            .iter()
            .enumerate()
            .filter_map(|(n, label)| {
                let union = owned[n] + labelled.get(label).copied().unwrap_or(0) - shared[n];
                (union > 0).then(|| f64::from(shared[n]) / f64::from(union))
            })
            .collect();
        Ok((!overlaps.is_empty()).then(|| overlaps.iter().sum::<f64>() / overlaps.len() as f64))
    }
}
