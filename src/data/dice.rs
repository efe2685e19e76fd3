//! Random numbers that are the same on every machine.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Where the tail of `rand_distr`'s normal law begins, which one draw in 3800 reaches.
const TAIL: f64 = 3.654_152_885_361_009;

/// A random generator with the few laws that are needed. Logarithms and exponentials come from `libm`, because those of
/// the platforms differ in the last bit.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The generator of a `seed`; `stream` separates different uses of one seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// Uniform in `low..high`, or `low` if that range is empty.
    pub(super) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low).max(0.0) * self.0.random::<f64>()
    }

    /// Uniform in the logarithm.
    pub(super) fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        libm::exp(self.uniform(libm::log(low), libm::log(high)))
    }

    /// Normal, clamped at 3.65 standard deviations, because beyond that `rand_distr` uses the platform's logarithm.
    /// Elsewhere the platform matters only for draws that are within an exponential's last bit, one in 10^16, of being
    /// rejected.
    pub(super) fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        mean + deviation * self.0.sample::<f64, _>(StandardNormal).clamp(-TAIL, TAIL)
    }

    /// Log-normal with this median and standard deviation of the logarithm.
    pub(super) fn log_normal(&mut self, median: f64, spread: f64) -> f64 {
        median * libm::exp(self.normal(0.0, spread))
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// Uniform in `0..end`; 0 if that range is empty.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        self.0.random_range(0..end.max(1))
    }

    /// A color, each channel in `low..high`, more gray than bright: six tenths are common to all channels.
    pub(super) fn color(&mut self, low: f64, high: f64) -> [f64; 3] {
        let level = self.uniform(low, high);
        [(); 3].map(|()| 0.6 * level + 0.4 * self.uniform(low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a million draws some 260 are beyond the tail's edge; all of them are clamped to it.
    #[test]
    fn normals_end_where_the_platform_has_a_say() {
        let mut dice = Dice::new(1, 0);
        let draws: Vec<f64> = (0..1_000_000).map(|_| dice.normal(0.0, 1.0)).collect();
        let at_edge = draws.iter().filter(|z| z.abs() == TAIL).count();
        assert!(draws.iter().all(|z| z.abs() <= TAIL) && (200..330).contains(&at_edge), "{at_edge}");
    }
}
