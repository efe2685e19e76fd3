//! Which steps of a fit count, decided on the device.
//!
//! Launches are queued for many steps ahead. A Gaussian that leaves the ellipse that the tile lists were made for stops the
//! clock: what is queued behind that step does nothing, until the host has made new lists and goes on from there. So lists
//! are exact at every step, whatever their margin, and nothing is read back between two steps.

use std::ops::Range;

use cubecl::prelude::*;

use crate::{Result, buffer::Buffer, device::Device, real::Precision};

/// The first step that does not run: for the whole batch, then for every image.
#[derive(Debug)]
pub struct Clock<R: Runtime> {
    stops: Buffer<R, u32>,
}

impl<R: Runtime> Clock<R> {
    /// A clock that runs.
    pub fn new<P: Precision>(device: &Device<R, P>, images: usize) -> Self {
        Self::with_stops(device, &vec![None; images])
    }

    /// A clock that runs, but for images that are finished: they stand still from the given step.
    pub fn with_stops<P: Precision>(device: &Device<R, P>, finished: &[Option<u32>]) -> Self {
        let stops: Vec<u32> =
            std::iter::once(None).chain(finished.iter().copied()).map(|stop| stop.unwrap_or(u32::MAX)).collect();
        Self { stops: device.upload(&stops) }
    }

    /// Reads these elements of a buffer, and the step from which the whole batch waits for new lists, if it does.
    ///
    /// # Errors
    /// [`crate::Error::Length`] when the buffer ends before; [`crate::Error::Device`].
    pub fn read_with<E: CubeElement>(
        &self,
        values: &Buffer<R, E>,
        elements: Range<usize>,
    ) -> Result<(Vec<E>, Option<u32>)> {
        let (values, stops) = values.read_part_with(elements, &self.stops)?;
        Ok((values, stops.first().copied().filter(|&step| step != u32::MAX)))
    }

    pub(crate) fn arg(&self) -> ArrayArg<R> {
        self.stops.arg()
    }
}

#[cube]
pub(crate) fn is_running(stops: &Array<u32>, image: u32, step: u32) -> bool {
    stops[0] > step && stops[image as usize + 1] > step
}

/// [`is_running`] where other units may stop the clock for a later step meanwhile.
#[cube]
pub(crate) fn still_running(stops: &Array<Atomic<u32>>, image: u32, step: u32) -> bool {
    stops[0].load() > step && stops[image as usize + 1].load() > step
}

/// Lets `step` be the first that does not run.
#[cube]
pub(crate) fn stop_at(stops: &mut Array<Atomic<u32>>, step: u32) {
    stops[0].fetch_min(step);
}
