//! What a kernel was made from, kept for derivatives with respect to it.

use std::sync::OnceLock;

use splatport_kernels::{
    Device, Gaussians, Precision, Real, correspondence,
    cubecl::Runtime,
    gaussian::{Frames, Framing, Part},
    mixture::{Component, Mixed, Mixture},
};

use crate::Result;

/// An image's Gaussians, how many frames were made from them (one for each annotation or component), and how.
pub(crate) type Source<R, F> = (Gaussians<R, F>, usize, Framing);

/// What a kernel was made from.
#[derive(Debug, Clone)]
pub(crate) struct Origin<R: Runtime, P: Precision> {
    pub sources: Vec<Source<R, P::Real>>,
    /// One for each annotation or component.
    pub frames: Frames<R, P::Real>,
    pub background: correspondence::Background,
    /// Used if the kernel is not a mixture: made on first use.
    pub mixture: OnceLock<Mixture<R, P::Real>>,
}

/// The images in the form that device functions take.
pub(crate) fn parts<R: Runtime, F: Real>(sources: &[Source<R, F>]) -> Vec<Part<'_, R, F>> {
    sources.iter().map(|(gaussians, first, framing)| Part { gaussians, first: *first, framing: *framing }).collect()
}

impl<R: Runtime, P: Precision> Origin<R, P> {
    /// The components. If the kernel is not a mixture, there is one for each annotation.
    pub fn mixture(&self, device: &Device<R, P>) -> Result<&Mixture<R, P::Real>> {
        if let Some(mixture) = self.mixture.get() {
            return Ok(mixture);
        }
        let alone = |(_, count, _): &Source<R, P::Real>| (0..*count as u32).map(Component::alone).collect();
        let components: Vec<Vec<Component>> = self.sources.iter().map(alone).collect();
        let mixed = |((gaussians, count, _), components): (&Source<R, P::Real>, _)| Mixed {
            annotations: *count,
            gaussians: gaussians.len(),
            components,
        };
        let images: Vec<Mixed<'_>> = self.sources.iter().zip(components.iter().map(Vec::as_slice)).map(mixed).collect();
        let mixture = Mixture::new(device, &images)?;
        Ok(self.mixture.get_or_init(|| mixture))
    }
}
