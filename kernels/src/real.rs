//! The float bound of every device function, and the precisions a user can choose.

use cubecl::prelude::*;
use half::{bf16, f16};

/// A float that device functions compute with or store: `f32`, `f64`, and for storage `f16`, `bf16`.
pub trait Real: Float + CubeElement {}
impl<T: Float + CubeElement> Real for T {}

/// Four numbers that are loaded and stored at once: 128 bits of `f32`.
pub(crate) type Quad<F> = Vector<F, Const<4>>;

#[cube]
pub(crate) fn quad<F: Real>(a: F, b: F, c: F, d: F) -> Quad<F> {
    let mut quad = Quad::<F>::empty();
    quad[0] = a;
    quad[1] = b;
    quad[2] = c;
    quad[3] = d;
    quad
}

/// Chooses storage and accumulator together.
///
/// Sums, exponents and Gaussian parameters use [`Precision::Real`]; the weights of a transport kernel
/// are stored as [`Precision::Weight`].
pub trait Precision: Copy + Default + std::fmt::Debug + Send + Sync + 'static {
    /// The float of parameters, densities, sums and exponents.
    type Real: Real + num_traits::Float;
    /// The float in which kernel weights are stored.
    type Weight: Real;
    /// Name as written in artefacts.
    const NAME: &'static str;
}

macro_rules! precision {
    ($($(#[$doc:meta])* $name:ident: $real:ty, $weight:ty, $text:literal;)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name;
        impl Precision for $name {
            type Real = $real;
            type Weight = $weight;
            const NAME: &'static str = $text;
        }
    )* };
}
precision! {
    /// `f32` throughout: the default.
    Single: f32, f32, "single";
    /// Weights stored as `f16`, sums in `f32`.
    Half: f32, f16, "half";
    /// Weights stored as `bf16`, sums in `f32`.
    BFloat: f32, bf16, "bfloat";
    /// `f64` throughout; CUDA devices.
    Double: f64, f64, "double";
}

/// A host number as the device's float.
pub(crate) fn real<F: Real>(value: f64) -> F {
    F::cast_from_f64(value)
}

/// Exact conversions between host `f64` and a device float.
pub trait HostReal {
    /// Rounds `value` to this type.
    fn cast_from_f64(value: f64) -> Self;
    /// Widens to `f64`.
    fn cast_to_f64(self) -> f64;
}
impl<F: Real> HostReal for F {
    fn cast_from_f64(value: f64) -> Self {
        // Every float type converts from every f64 (to infinity where it is too large).
        num_traits::cast(value).unwrap_or_else(F::max_value)
    }
    fn cast_to_f64(self) -> f64 {
        num_traits::cast(self).unwrap_or(f64::NAN)
    }
}
