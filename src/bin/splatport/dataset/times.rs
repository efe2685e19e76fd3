//! Where the time of a run goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Seconds that the parts of a run took, over all threads.
#[derive(Debug, Default, Serialize)]
pub struct Times {
    /// Looking for results, reading, decoding.
    pub decode: f64,
    /// Fitting.
    pub fit: f64,
    /// Building kernels, and copying results from the device.
    pub kernel: f64,
    /// Writing.
    pub write: f64,
    /// The devices' threads had nothing to do.
    pub waiting: f64,
    /// From beginning to end.
    pub total: f64,
    /// Photos that each device took.
    pub shares: Vec<usize>,
}

/// A clock that many threads add to.
#[derive(Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// Times `work`.
    pub fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.0.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }

    fn seconds(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64 * 1e-9
    }
}

/// The clocks of [`Times`].
#[derive(Default)]
pub struct Clocks {
    pub decode: Clock,
    pub fit: Clock,
    pub kernel: Clock,
    pub write: Clock,
    pub waiting: Clock,
}

impl Clocks {
    /// What they show after a run that took `total`.
    pub fn read(&self, total: Duration, shares: Vec<usize>) -> Times {
        Times {
            decode: self.decode.seconds(),
            fit: self.fit.seconds(),
            kernel: self.kernel.seconds(),
            write: self.write.seconds(),
            waiting: self.waiting.seconds(),
            total: total.as_secs_f64(),
            shares,
        }
    }
}
