//! The measurements of every epoch.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::events;
use crate::{Result, io::atomic};

/// The measurements of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// The number of steps done at its end.
    pub steps: u64,
    /// Learning rate of its last step.
    pub rate: f64,
    /// Mean loss of its steps.
    pub loss: f64,
    /// Mean absolute error of the counts on the held-out set.
    pub mae: f64,
    /// Root mean squared error of the counts on the held-out set.
    pub rmse: f64,
}

/// All epochs, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    epochs: Vec<Epoch>,
}

impl History {
    pub(super) fn push(&mut self, epoch: Epoch) {
        self.epochs.push(epoch);
    }

    /// The epochs.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Index of the epoch with the lowest mean absolute error; the first one if several are equal.
    pub fn best(&self) -> Option<usize> {
        (0..self.epochs.len()).min_by(|&a, &b| self.epochs[a].mae.total_cmp(&self.epochs[b].mae))
    }

    /// Whether it is time to stop: the last `patience` epochs were no better than one before them.
    pub fn is_stale(&self, patience: usize) -> bool {
        self.best().is_some_and(|best| self.epochs.len() - 1 - best >= patience.max(1))
    }

    /// Writes one row per epoch: steps, rate, loss, mae, rmse. The file is replaced as a whole.
    ///
    /// # Errors
    /// [`crate::Error::Write`].
    pub fn save_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        atomic::write(path.as_ref(), |file| {
            let mut rows = csv::Writer::from_writer(file);
            self.epochs.iter().try_for_each(|epoch| rows.serialize(epoch))?;
            Ok(rows.flush()?)
        })
    }

    /// Writes the same for TensorBoard, as scalars over steps. TensorBoard reads files whose names contain `tfevents`
    /// and names a run after their folder. The file is replaced as a whole.
    ///
    /// # Errors
    /// [`crate::Error::Write`].
    pub fn save_events(&self, path: impl AsRef<Path>) -> Result<()> {
        atomic::write(path.as_ref(), |file| Ok(events::write(self, file)?))
    }
}
