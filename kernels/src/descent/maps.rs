//! Choices that change the compiled step: how raw numbers become parameters, and where the deformity loss works.

/// How a raw number becomes a scale, px.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScaleMap {
    /// `max(raw, 0) + 1`: the authors' code.
    ReluPlusOne,
    /// `ln(1 + exp(raw)) + least`.
    Softplus,
    /// `exp(raw)`.
    Exp,
}

/// How a raw number becomes a rotation, rad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RotationMap {
    /// `pi sigmoid(raw)`: the authors' code; cannot wrap.
    PiSigmoid,
    /// The number itself.
    Free,
}

/// How a raw number becomes a color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColorMap {
    /// `sigmoid(raw)`, in 0..1.
    Sigmoid,
    /// `tanh(raw)`, in -1..1: the difference of an object from what surrounds it.
    Tanh,
}

/// On which numbers the deformity loss works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShapeOn {
    /// The scales (paper, Eq. 10).
    Activated,
    /// The raw numbers: the authors' code.
    Raw,
}

/// Over which Gaussians the deformity loss is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShapeReduce {
    /// The worst one (paper, Eq. 10).
    Max,
    /// The mean of all.
    Mean,
}

/// Choices that change the compiled function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Maps {
    /// Scales.
    pub scale: ScaleMap,
    /// Rotation.
    pub rotation: RotationMap,
    /// Colors.
    pub color: ColorMap,
    /// Whether the opacity is learned, as a sigmoid; else it stays.
    pub opacity: bool,
    /// Deformity loss.
    pub shape_on: ShapeOn,
    /// Deformity loss.
    pub shape_reduce: ShapeReduce,
}
