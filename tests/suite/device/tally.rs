//! All failures of a case at once, and how much of a tolerance was used.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

/// What a case found wrong, and the largest share of a tolerance that it used.
#[derive(Debug, Default)]
pub struct Tally {
    wrong: Vec<String>,
    worst: f64,
}

impl Tally {
    /// Compares two numbers; `what` and `index` name them.
    pub fn near(&mut self, what: &str, index: usize, (got, want): (f64, f64), tolerance: f64) {
        let difference = (got - want).abs();
        if difference <= tolerance {
            if difference > 0.0 {
                self.worst = self.worst.max(difference / tolerance);
            }
        } else {
            self.wrong.push(format!("{what}[{index}]: {got:e}, not {want:e}: off by {difference:e} of {tolerance:e}"));
        }
    }

    /// Compares two slices, with one tolerance each.
    pub fn all_near(&mut self, what: &str, got: &[f64], want: &[f64], tolerance: impl Fn(usize) -> f64) {
        self.equal(&format!("length of {what}"), &got.len(), &want.len());
        for (index, (&got, &want)) in got.iter().zip(want).enumerate() {
            self.near(what, index, (got, want), tolerance(index));
        }
    }

    /// Compares exactly.
    pub fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, got: &T, want: &T) {
        self.holds(got == want, || format!("{what}: {got:?}, not {want:?}"));
    }

    /// Notes a failure.
    pub fn holds(&mut self, truth: bool, message: impl FnOnce() -> String) {
        if !truth {
            self.wrong.push(message());
        }
    }

    fn outcome(&self) -> Result<(), TestCaseError> {
        if self.wrong.is_empty() {
            return Ok(());
        }
        let shown: Vec<&str> = self.wrong.iter().take(12).map(String::as_str).collect();
        Err(TestCaseError::fail(format!("{} wrong:\n{}", self.wrong.len(), shown.join("\n"))))
    }
}

/// Runs `test` on `cases` draws, the same ones every time unless `PROPTEST_RNG_SEED` says otherwise.
pub fn property<S: Strategy>(name: &str, cases: u32, strategy: S, test: impl Fn(&S::Value, &mut Tally)) {
    let given = ProptestConfig::default();
    let rng_seed = match given.rng_seed {
        RngSeed::Random => RngSeed::Fixed(7),
        fixed => fixed,
    };
    // A shrunk case costs as much as a drawn one.
    let config = ProptestConfig { cases, rng_seed, failure_persistence: None, max_shrink_iters: 60, ..given };
    let worst = Cell::new(0.0);
    let outcome = TestRunner::new(config).run(&strategy, |value| {
        let mut tally = Tally::default();
        test(&value, &mut tally);
        worst.set(tally.worst.max(worst.get()));
        tally.outcome()
    });
    println!("{name}: {:.5} of the tolerance", worst.get());
    if let Err(error) = outcome {
        panic!("{name}: {error}");
    }
}

/// Runs `test` once.
pub fn once(name: &str, test: impl FnOnce(&mut Tally)) {
    let mut tally = Tally::default();
    test(&mut tally);
    println!("{name}: {:.5} of the tolerance", tally.worst);
    if let Err(error) = tally.outcome() {
        panic!("{name}: {error}");
    }
}
