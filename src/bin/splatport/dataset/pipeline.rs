//! Photos are decoded on some threads, computed on others, one a device, and written on others again.
//!
//! Devices share the work as it comes: one that is free takes what is ready, but no more than its part of the cost that is left
//! (guided self-scheduling: Polychronopoulos and Kuck, 1987), so that near the end none has a long batch while others wait.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use anyhow::{Error, Result};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use splatport::{Device, Precision, Runtime};

use super::compute::{Done, fit, results};
use super::manifest::Entry;
use super::prepare::Ready;
use super::record::{Outcome, Record};
use super::run::Plan;
use super::shard::cost;
use super::times::{Clocks, Times};

/// Threads that write: each mostly waits for the disk.
const WRITERS: usize = 4;

/// Why a run ends before it is done.
#[derive(Default)]
pub struct Stop {
    /// Set by a signal, or with a failure.
    pub asked: Arc<AtomicBool>,
    /// Nothing can be written any more.
    pub failure: Mutex<Option<Error>>,
}

impl Stop {
    /// Stops, as nothing can be written any more.
    fn fail(&self, error: Error) {
        self.asked.store(true, Ordering::Relaxed);
        if let Ok(mut failure) = self.failure.lock() {
            failure.get_or_insert(error);
        }
    }
}

/// Whether no other photo's results could be written either. A folder under a result's name, or a name that is too
/// long, is one photo's alone.
fn is_of_the_disk(error: &Error) -> bool {
    use ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let mut kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.any(|kind| matches!(kind, StorageFull | ReadOnlyFilesystem | QuotaExceeded | FileTooLarge))
}

/// Everything the threads share.
struct Pipeline<'a> {
    plan: &'a Plan,
    entries: &'a [&'a Entry],
    stop: &'a Stop,
    next: AtomicUsize,
    /// The cost of the photos that no device took yet.
    left: AtomicU64,
    /// Photos that each device took.
    shares: Vec<AtomicUsize>,
    clocks: Clocks,
}

/// Works on `entries` with all `devices`, and writes a line of the report for each.
pub fn run<R: Runtime, P: Precision>(
    plan: &Plan,
    entries: &[&Entry],
    devices: &[Device<R, P>],
    stop: &Stop,
    report: &mut (impl Write + Send),
    mut tell: impl FnMut(&Record) + Send,
) -> Result<Times> {
    let start = Instant::now();
    let pipeline = Pipeline::new(plan, entries, stop, devices.len());
    let pixels = entries.iter().map(|entry| entry.pixels()).fold(0, u64::saturating_add);
    let mean = pixels / entries.len().max(1) as u64;
    // A batch is decoded while another is computed.
    let waiting = plan.threads + devices.len() * (plan.batch / mean.max(1)).min(256) as usize;
    let (ready_in, ready) = bounded(waiting);
    let (done_in, done) = bounded(waiting);
    let (told_in, told) = unbounded();
    let written = thread::scope(|scope| {
        let pipeline = &pipeline;
        for _ in 0..plan.threads {
            let (ready_in, told_in) = (ready_in.clone(), told_in.clone());
            scope.spawn(move || pipeline.decode(&ready_in, &told_in));
        }
        for (device, share) in devices.iter().zip(&pipeline.shares) {
            let (ready, done_in, told_in) = (ready.clone(), done_in.clone(), told_in.clone());
            scope.spawn(move || pipeline.compute((device, share), &ready, &done_in, &told_in));
        }
        for _ in 0..WRITERS {
            let (done, told_in) = (done.clone(), told_in.clone());
            scope.spawn(move || pipeline.write(&done, &told_in));
        }
        let recorder = scope.spawn(move || -> Result<()> {
            let mut written = || -> Result<()> {
                for record in &told {
                    serde_json::to_writer(&mut *report, &record)?;
                    writeln!(report)?;
                    tell(&record);
                    // After every batch at least: by its age `splatport gc` sees whether somebody still writes the
                    // file.
                    if told.is_empty() {
                        report.flush()?;
                    }
                }
                Ok(())
            };
            written().inspect_err(|error| stop.fail(Error::msg(format!("cannot write the report: {error:#}"))))
        });
        // Every channel ends with the last of those who send, or who receive.
        drop((ready_in, ready, done_in, done, told_in));
        recorder.join().unwrap_or_else(|_| Err(Error::msg("the report's thread failed")))
    });
    written?;
    let shares = pipeline.shares.into_iter().map(AtomicUsize::into_inner).collect();
    Ok(pipeline.clocks.read(start.elapsed(), shares))
}

/// A line for a photo without results.
fn failed(entry: &Entry, error: &Error) -> Record {
    Record { id: entry.id.clone(), outcome: Outcome::Failed { error: format!("{error:#}") } }
}

/// Sends; that nobody receives any more says that the run stops.
fn send<T>(channel: &Sender<T>, value: T) -> bool {
    channel.send(value).is_ok()
}

impl<'a> Pipeline<'a> {
    fn new(plan: &'a Plan, entries: &'a [&'a Entry], stop: &'a Stop, devices: usize) -> Self {
        Self {
            plan,
            entries,
            stop,
            next: AtomicUsize::new(0),
            left: entries.iter().map(|entry| cost(entry)).fold(0, u64::saturating_add).into(),
            shares: (0..devices).map(|_| AtomicUsize::new(0)).collect(),
            clocks: Clocks::default(),
        }
    }

    fn stopped(&self) -> bool {
        self.stop.asked.load(Ordering::Relaxed)
    }

    fn decode(&self, ready: &Sender<Ready<'a>>, told: &Sender<Record>) {
        while let Some(&entry) = self.entries.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.stopped() {
                return;
            }
            let looked = self.clocks.decode.time(|| Ready::of(self.plan, entry));
            if !matches!(looked, Ok(Some(_))) {
                self.left.fetch_sub(cost(entry), Ordering::Relaxed);
            }
            let goes_on = match looked {
                Ok(Some(photo)) => send(ready, photo),
                Ok(None) => send(told, Record { id: entry.id.clone(), outcome: Outcome::Kept }),
                Err(error) => send(told, failed(entry, &error)),
            };
            if !goes_on {
                return;
            }
        }
    }

    fn compute<R: Runtime, P: Precision>(
        &self,
        (device, share): (&Device<R, P>, &AtomicUsize),
        ready: &Receiver<Ready<'a>>,
        done: &Sender<Done<'a>>,
        told: &Sender<Record>,
    ) {
        let mut held = None;
        while let Some(batch) = self.batch(ready, &mut held) {
            share.fetch_add(batch.len(), Ordering::Relaxed);
            let mut fitted = Vec::new();
            for (photo, splat) in batch.iter().zip(self.clocks.fit.time(|| fit(self.plan, device, &batch))) {
                match splat {
                    Ok(splat) => fitted.push((photo, splat)),
                    Err(error) => _ = send(told, failed(photo.entry, &error)),
                }
            }
            for ((photo, _), results) in
                fitted.iter().zip(self.clocks.kernel.time(|| results(self.plan, device, &fitted)))
            {
                match results {
                    Ok(results) => _ = send(done, results),
                    Err(error) => _ = send(told, failed(photo.entry, &error)),
                }
            }
        }
    }

    /// What is ready, up to the largest batch and the device's part of what is left; none when nothing more comes or the run stops. A
    /// photo that was taken and has no room any more is `held` for the next.
    fn batch(&self, ready: &Receiver<Ready<'a>>, held: &mut Option<Ready<'a>>) -> Option<Vec<Ready<'a>>> {
        let next = held.take().or_else(|| self.clocks.waiting.time(|| ready.recv()).ok());
        let first = next.filter(|_| !self.stopped())?;
        let part = self.left.load(Ordering::Relaxed) / self.shares.len() as u64;
        let (mut pixels, mut taken) = (first.entry.pixels(), cost(first.entry));
        let mut batch = vec![first];
        while pixels < self.plan.batch
            && taken < part
            && let Ok(photo) = ready.try_recv()
        {
            pixels = pixels.saturating_add(photo.entry.pixels());
            if pixels > self.plan.batch {
                *held = Some(photo);
                break;
            }
            taken = taken.saturating_add(cost(photo.entry));
            batch.push(photo);
        }
        self.left.fetch_sub(taken, Ordering::Relaxed);
        Some(batch)
    }

    fn write(&self, done: &Receiver<Done<'a>>, told: &Sender<Record>) {
        for Done { entry, gaussians, kernel, outcome } in done {
            let save = || self.plan.outputs.save(&entry.id, &self.plan.origin(entry), &gaussians, kernel.as_ref());
            let saved = self.clocks.write.time(save);
            let outcome = match saved {
                Ok(()) => outcome,
                Err(error) => {
                    let record = failed(entry, &error);
                    // Rather than compute for nothing.
                    if is_of_the_disk(&error) {
                        self.stop.fail(error);
                    }
                    record.outcome
                }
            };
            send(told, Record { id: entry.id.clone(), outcome });
        }
    }
}
