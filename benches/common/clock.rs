//! Device time where the device tells it, wall time where it does not.
//!
//! **Device time** is what `client.profile` reports: timestamps at the beginning and the end of the compute pass, without
//! what the host needs to launch. It holds for *one* pass. CubeCL 0.10 stamps only the first pass after `profile` starts,
//! and a pass ends at every upload, at every read-back and after 32 launches (`CUBECL_WGPU_MAX_TASKS`): whatever comes
//! later is silently missing (the lists of tiles, which read their totals back, come out at 0.2 of 76 ms). So only
//! [`Group::launches`] uses it, for operations of few launches and nothing else.
//!
//! **Wall time** is taken around many calls and one `device.wait()` at their end; uploads come before. [`Group::stage`] uses
//! it for operations that read back: there the host's part is part of what a user waits for. It is also what [`Clock::of`]
//! falls back to where `profile` has no timestamps (CUDA in CubeCL 0.10: it waits for the device before and after and takes
//! the wall time of that, which adds a wait to every call) or where they fail a check.

use std::{
    fmt,
    time::{Duration, Instant},
};

use criterion::{BenchmarkGroup, BenchmarkId, Throughput, measurement::WallTime};
use splatport::{
    Device,
    kernels::{
        cubecl::{future, profile::TimingMethod},
        reduce::{Reduction, reduce},
    },
};

use super::Backend;

/// Elements of the checked sum (64 MB): long enough that launching it does not count on any device.
const PROBE: usize = 1 << 24;
/// Calls of it in one pass: 16 launches.
const CALLS: u32 = 4;
const TRIES: usize = 3;

/// How [`Group::launches`] takes time.
#[derive(Clone, Copy)]
pub enum Clock {
    Device,
    /// With the reason.
    Wall(&'static str),
}

impl Clock {
    /// Device time if it passes a check on a long operation: it is no longer than the call that it was taken in, not far
    /// shorter than the wall time without `profile`, and four operations take longer than one. The best of some tries
    /// counts, so that other work on the machine does not decide.
    pub fn of(device: &Device<Backend>) -> Self {
        let values = device.filled(1.0f32, PROBE);
        let probe = || {
            reduce(device, &values, Reduction::Sum);
        };
        let many = || (0..CALLS).for_each(|_| probe());
        // Compiles it.
        wall(device, 1, probe);
        let Some(one) = best_of(|| profiled(device, &probe)) else {
            return Self::Wall("profile has no timestamps of the device");
        };
        let mut contained = true;
        let four = best_of(|| {
            let start = Instant::now();
            let time = profiled(device, &many)?;
            contained &= time <= start.elapsed();
            Some(time)
        });
        let (four, plain) = (four.unwrap_or_default(), best_of(|| Some(wall(device, 1, many))).unwrap_or_default());
        println!("profile  {four:.2?} for four sums of 64 MB, {one:.2?} for one; wall time of four {plain:.2?}");
        match contained && four > plain / 10 && four > one * 3 / 2 {
            true => Self::Device,
            false => Self::Wall("profile disagrees with wall time"),
        }
    }
}

fn best_of(measure: impl FnMut() -> Option<Duration>) -> Option<Duration> {
    std::iter::repeat_with(measure).take(TRIES).collect::<Option<Vec<_>>>()?.into_iter().min()
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device => f.write_str("device time for launches, wall time for what reads back"),
            Self::Wall(reason) => write!(f, "wall time ({reason})"),
        }
    }
}

/// A group of criterion that takes time as this module says.
pub struct Group<'a> {
    group: BenchmarkGroup<'a, WallTime>,
    device: Device<Backend>,
    clock: Clock,
}

impl<'a> Group<'a> {
    pub fn new(group: BenchmarkGroup<'a, WallTime>, device: Device<Backend>, clock: Clock) -> Self {
        Self { group, device, clock }
    }

    /// Also reports the time per element.
    pub fn elements(&mut self, count: usize) {
        self.group.throughput(Throughput::Elements(count as u64));
    }

    /// At most 32 launches, no upload, no read-back.
    pub fn launches(&mut self, name: &str, size: impl fmt::Display, operation: impl Fn() + Sync) {
        let (device, clock) = (&self.device, self.clock);
        self.group.bench_function(BenchmarkId::new(name, size), |bencher| {
            // Compiling belongs to no measurement, nor to criterion's guess of how many calls fill a sample.
            wall(device, 1, &operation);
            bencher.iter_custom(|calls| match clock {
                Clock::Device => (0..calls).filter_map(|_| profiled(device, &operation)).sum(),
                Clock::Wall(_) => wall(device, calls, &operation),
            });
        });
    }

    /// Anything.
    pub fn stage(&mut self, name: &str, size: impl fmt::Display, operation: impl Fn()) {
        let device = &self.device;
        self.group.bench_function(BenchmarkId::new(name, size), |bencher| {
            wall(device, 1, &operation);
            bencher.iter_custom(|calls| wall(device, calls, &operation));
        });
    }

    pub fn finish(self) {
        self.group.finish();
    }
}

fn wall(device: &Device<Backend>, calls: u64, operation: impl Fn()) -> Duration {
    timed(device, || (0..calls).for_each(|_| operation()))
}

fn timed(device: &Device<Backend>, work: impl FnOnce()) -> Duration {
    device.wait().expect("uploads and earlier launches succeed");
    let start = Instant::now();
    work();
    device.wait().expect("timed launches succeed");
    start.elapsed()
}

/// None where the driver has no timestamps.
fn profiled(device: &Device<Backend>, operation: &(impl Fn() + Sync)) -> Option<Duration> {
    let (_, profile) = device.client().profile(operation, "splatport").ok()?;
    let stamped = profile.timing_method() == TimingMethod::Device;
    stamped.then(|| future::block_on(profile.resolve()).duration())
}
