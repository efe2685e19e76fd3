//! The float types of device functions, and the precisions that users can choose.

use cubecl::prelude::*;
use half::{bf16, f16};

/// A float that device functions compute with or store: `f32` and `f64`; for storage also `f16` and `bf16`.
pub trait Real: Float + CubeElement {}
impl Real for f32 {}
impl Real for f64 {}
impl Real for f16 {}
impl Real for bf16 {}

/// A number type in which a transport kernel's weights are stored: a float, or `u16` for fixed point.
pub trait Storage: Numeric + CubeElement {
    /// The weight that a stored 1 stands for.
    const UNIT: f32;
    /// The weight as it is stored.
    fn value(self) -> f64;
    /// The largest change of this weight by storing.
    fn error(weight: f64) -> f64;
    /// Rounds the weights of a row. Fixed point keeps their sum; see [`Fixed`].
    fn rounded(row: &[f64]) -> Vec<Self>;
}

impl<F: Real> Storage for F {
    const UNIT: f32 = 1.0;

    fn value(self) -> f64 {
        self.cast_to_f64()
    }

    fn error(weight: f64) -> f64 {
        weight * F::EPSILON.cast_to_f64()
    }

    fn rounded(row: &[f64]) -> Vec<Self> {
        row.iter().map(|&weight| F::cast_from_f64(weight)).collect()
    }
}

/// Units of a fixed-point weight of 1.
const UNITS: f64 = 65_535.0;

impl Storage for u16 {
    const UNIT: f32 = 1.0 / UNITS as f32;

    fn value(self) -> f64 {
        f64::from(self) / UNITS
    }

    fn error(_weight: f64) -> f64 {
        1.0 / UNITS
    }

    fn rounded(row: &[f64]) -> Vec<Self> {
        let floors: Vec<f64> = row.iter().map(|weight| (weight * UNITS).floor()).collect();
        let mut left = ((row.iter().sum::<f64>() - floors.iter().sum::<f64>() / UNITS) * UNITS).round();
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| f64::total_cmp(&(row[b] * UNITS - floors[b]), &(row[a] * UNITS - floors[a])));
        let mut units = floors;
        for at in order {
            if left > 0.0 {
                units[at] += 1.0;
                left -= 1.0;
            }
        }
        // `as` holds at the ends of the range.
        units.into_iter().map(|count| count as u16).collect()
    }
}

/// Whether a number is neither NaN nor infinite. (The difference of a number from itself is 0 only for finite numbers,
/// but a driver that simplifies it, as Mesa's does, makes it 0 for all.)
#[cube]
pub(crate) fn is_finite<F: Real>(x: F) -> bool {
    x.abs() <= F::max_value()
}

/// A stored weight as a float to compute with.
#[cube]
pub(crate) fn weight_of<F: Real, W: Storage>(stored: W) -> F {
    let mut weight = F::cast_from(stored);
    if comptime!(W::UNIT != 1.0) {
        weight *= F::new(comptime!(W::UNIT));
    }
    weight
}

/// `exp(x)` by the device's fast exponential: on CUDA its error is `2 + 1.17 |x|` ulp, which is less than Vulkan allows
/// for any exponential. For `x` up to 0, where that is at most 2 ulp of `exp(0)`.
#[cube(fast_math = FastMath::ReducedPrecision | FastMath::NotNaN | FastMath::NotInf)]
pub(crate) fn fast_exp<F: Real>(x: F) -> F {
    x.exp()
}

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

/// A precision: the types for storage and for accumulation together.
///
/// Sums, exponents and Gaussian parameters use [`Precision::Real`]; the weights of a transport kernel
/// are stored as [`Precision::Weight`].
pub trait Precision: Copy + Default + std::fmt::Debug + Send + Sync + 'static {
    /// The float of parameters, densities, sums and exponents.
    type Real: Real + num_traits::Float;
    /// The type in which kernel weights are stored.
    type Weight: Storage;
    /// The name as written in artifacts.
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
    /// Weights stored in 65535ths as `u16`, sums in `f32`. A row is rounded by largest remainders: every weight changes
    /// by less than one unit and their sum not at all, so that no mass is lost or created. (Remainders that differ by
    /// less than 1/1024 of a unit count as equal; the lowest column wins.)
    Fixed: f32, u16, "fixed";
    /// `f64` throughout; for CUDA devices.
    Double: f64, f64, "double";
}

/// A host number as the device's float type.
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
