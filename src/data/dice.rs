//! Random numbers that are the same on every machine.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// A generator with the few laws that are drawn from. Logarithms and exponentials are those of `libm`, because a platform's own
/// differ in the last bit.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The generator of a `seed`; `stream` separates uses of one seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// Uniform in `low..high`, or `low` where that is empty.
    pub(super) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low).max(0.0) * self.0.random::<f64>()
    }

    /// Uniform in the logarithm.
    pub(super) fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        libm::exp(self.uniform(libm::log(low), libm::log(high)))
    }

    pub(super) fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        mean + deviation * self.0.sample::<f64, _>(StandardNormal)
    }

    /// Log-normal with this median and standard deviation of the logarithm.
    pub(super) fn log_normal(&mut self, median: f64, spread: f64) -> f64 {
        median * libm::exp(self.normal(0.0, spread))
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// Uniform in `0..end`; 0 where that is empty.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        self.0.random_range(0..end.max(1))
    }

    /// A colour, each channel in `low..high`, more grey than bright: six parts of ten are common to all channels.
    pub(super) fn color(&mut self, low: f64, high: f64) -> [f64; 3] {
        let level = self.uniform(low, high);
        [(); 3].map(|()| 0.6 * level + 0.4 * self.uniform(low, high))
    }
}
