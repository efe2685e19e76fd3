//! The messages of variants that no reader or writer of files returns.

use splatport::Error;

use crate::files::all_equal;

#[test]
fn messages_carry_the_values() {
    let option = Error::Option { name: "tau", value: -1.0, why: "must not be negative" };
    let inner = Error::NotFinite { what: "x", index: 4, value: f64::INFINITY };
    let wrapped = Error::In { path: "points.csv".into(), error: Box::new(inner) };
    let range = Error::OutOfRange { what: "pixels", index: 2, value: 1.5, min: 0.0, max: 1.0 };
    all_equal(&[
        (option.to_string(), "option `tau` is -1: must not be negative"),
        (wrapped.to_string(), "points.csv: x[4] is inf, not a finite number"),
        (range.to_string(), "pixels[2] is 1.5, outside 0..=1"),
        (Error::Empty { what: "image" }.to_string(), "image is empty"),
        (Error::Channels { got: 4 }.to_string(), "expected 1 or 3 channels, got 4"),
    ]);
}

#[test]
fn errors_can_cross_threads() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Error>();
}
