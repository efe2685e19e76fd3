//! The operation against the loss itself and against finite differences.

use burn_autodiff::Autodiff;
use burn_core::tensor::{DType, ElementConversion, Tensor, TensorData, backend::Backend};
use burn_cubecl::tensor::CubeTensor;
use splatport::{
    Annotations, Discrepancy, Error, Grid, Loss,
    burn::loss,
    losses::{
        Bayesian, DensityLoss, DmCount, DmProfile, Generalized, GlProfile, HeatmapTransport, L2, Scales, Sinkhorn,
        Unbalanced,
    },
};

use crate::{Cpu, R, Same, crop, crops, device, numbers};

const POINTS: [[f64; 2]; 3] = [[9.0, 9.5], [30.0, 20.0], [40.0, 22.0]];

/// Leaves of the graph with these numbers, cut into the images of the loss.
fn leaves<B: Backend>(values: &[f32], shapes: &[[usize; 2]]) -> Vec<Tensor<Autodiff<B>, 4>> {
    let mut rest = values;
    let cut = |&[rows, columns]: &[usize; 2]| {
        let (own, others) = rest.split_at(rows * columns);
        rest = others;
        let data = TensorData::new(own.to_vec(), [1, 1, rows, columns]);
        Tensor::from_data(data, &Default::default()).require_grad()
    };
    shapes.iter().map(cut).collect()
}

/// Value and gradient (of all leaves, one behind the other) of `factor` times the loss.
fn through_burn<B: Backend>(of: &impl DensityLoss<R, splatport::Single>, factor: f32) -> (f32, Vec<f32>) {
    let shapes = of.shapes();
    let values = numbers(shapes.iter().map(|[rows, columns]| rows * columns).sum());
    let leaves = leaves::<B>(&values, &shapes);
    let value = loss(of, &leaves).expect("loss");
    let gradients = value.clone().mul_scalar(factor).backward();
    let of_leaf = |leaf: &Tensor<Autodiff<B>, 4>| {
        assert_eq!(leaf.grad(&gradients).expect("gradient").dims(), leaf.dims());
        leaf.grad(&gradients).expect("gradient").into_data().to_vec::<f32>().expect("f32")
    };
    (value.into_scalar().elem(), leaves.iter().flat_map(of_leaf).collect())
}

/// Value, as a sum in `f64`, and gradient without Burn.
fn directly(of: &impl DensityLoss<R, splatport::Single>) -> (f64, Vec<f32>) {
    let cells = of.shapes().iter().map(|[rows, columns]| rows * columns).sum();
    let step = of.evaluated(&device().upload(&numbers(cells))).expect("step");
    let values = step.values.read().expect("values");
    (values.into_iter().map(f64::from).sum(), step.gradient.read().expect("gradient"))
}

fn agrees(of: &impl DensityLoss<R, splatport::Single>) {
    let (value, gradient) = directly(of);
    assert!(gradient.iter().any(|g| *g != 0.0), "a gradient to compare");
    let images = of.shapes().len() as f64;
    for (burn, bits) in
        [through_burn::<burn_flex::Flex>(of, 1.0), through_burn::<burn_cubecl::CubeBackend<R, f32, i32, u32>>(of, 1.0)]
    {
        // The images' values are summed in f32: at most one rounding each. They are positive here.
        let error = (f64::from(burn) - value).abs();
        assert!(error <= images * f64::from(f32::EPSILON) * value.abs(), "{burn} against {value}");
        assert_eq!(bits, gradient);
    }
}

#[test]
fn the_gradient_has_the_bits_of_the_loss() {
    agrees(&crop(48, 32, &POINTS));
}

/// Images of four sizes, one without annotations, one of a single cell.
#[test]
fn ragged_batches_with_empty_crops() {
    agrees(&crops(&[(48, 32, &POINTS), (24, 40, &[]), (8, 8, &[[3.0, 4.0]]), (61, 29, &[[60.0, 5.0]])]));
}

#[test]
fn other_losses() {
    let (full, empty) = (Annotations::new(POINTS.to_vec()).expect("points"), Annotations::new(vec![]).expect("none"));
    let scenes = [(Grid::over(48, 32, 8), &full), (Grid::over(24, 40, 8), &empty)];
    agrees(&L2::new(Scales::Fixed(8.0)).on(device(), &scenes).expect("l2"));
    agrees(&Bayesian::default().on(device(), &scenes).expect("bayesian"));
    agrees(&DmCount::new(DmProfile::default()).on(device(), &scenes).expect("dm-count"));
    agrees(&Unbalanced::default().on(device(), &scenes).expect("unbalanced"));
    agrees(&Sinkhorn::default().on(device(), &scenes[..1]).expect("sinkhorn"));
    for profile in [GlProfile::Reference, GlProfile::Converged] {
        agrees(&Generalized::new(profile).on(device(), &scenes).expect("generalized"));
    }
    let joints = [Some(POINTS[0]), None, Some(POINTS[1])];
    agrees(&HeatmapTransport::default().on(device(), &[(scenes[0].0, &joints)]).expect("heatmaps"));
}

/// What comes from above is one factor: the gradient is rounded once more.
#[test]
fn the_chain_rule() {
    let of = crop(48, 32, &POINTS);
    let (_, gradient) = directly(&of);
    let wanted: Vec<f32> = gradient.iter().map(|g| g * 0.3).collect();
    assert_eq!(through_burn::<burn_flex::Flex>(&of, 0.3).1, wanted);
}

/// Two images of two channels, four images to the loss, are one tensor.
#[test]
fn channels_are_images() {
    let of = crops(&[(48, 32, &POINTS), (48, 32, &[]), (48, 32, &POINTS[..1]), (48, 32, &POINTS[1..])]);
    let data = TensorData::new(numbers(96), [2, 2, 4, 6]);
    let density = Tensor::<Cpu, 4>::from_data(data, &Default::default()).require_grad();
    let gradients = loss(&of, std::slice::from_ref(&density)).expect("loss").backward();
    let gradient = density.grad(&gradients).expect("gradient").into_data().to_vec::<f32>().expect("f32");
    assert_eq!(gradient, directly(&of).1);
}

/// A network in `f64` gets its gradient in `f64`: that of the density rounded to the loss's float.
#[test]
fn another_float() {
    let of = crop(48, 32, &POINTS);
    let wide: Vec<f64> = numbers(24).into_iter().map(f64::from).collect();
    let data = TensorData::new(wide, [1, 1, 4, 6]);
    let density = Tensor::<Cpu, 4>::from_data(data, (&Default::default(), DType::F64)).require_grad();
    let gradients = loss(&of, std::slice::from_ref(&density)).expect("loss").backward();
    let gradient = density.grad(&gradients).expect("gradient").into_data().to_vec::<f64>().expect("f64");
    assert_eq!(gradient, directly(&of).1.into_iter().map(f64::from).collect::<Vec<_>>());
}

/// A quadratic loss: central differences have no error but rounding. Of `n = cells + columns + 4` numbers that are summed, none
/// negative, each value is off by `n u` of itself at most, hence a difference by `n u value / h`. Worst seen: 0.0082 of that.
#[test]
fn finite_differences() {
    let of: Loss<R> = crop(48, 32, &POINTS).discrepancy(Discrepancy::L2).expect("L2");
    let (values, h) = (numbers(24), 0.125f32);
    let at = |values: &[f32]| -> f64 {
        let leaves = leaves::<burn_flex::Flex>(values, &[[4, 6]]);
        f64::from(loss(&of, &leaves).expect("loss").into_scalar())
    };
    let (value, gradient) = through_burn::<burn_flex::Flex>(&of, 1.0);
    for (cell, slope) in gradient.iter().enumerate() {
        // Exact in f32: the numbers are multiples of 1/1024.
        let moved =
            |by: f32| values.iter().enumerate().map(|(i, z)| if i == cell { z + by } else { *z }).collect::<Vec<_>>();
        let (above, below) = (at(&moved(h)), at(&moved(-h)));
        let difference = (above - below) / f64::from(2.0 * h);
        let n = 24.0 + 4.0 + 4.0;
        let tolerance = n * f64::from(f32::EPSILON) * above.max(below).max(f64::from(value)) / f64::from(h);
        let error = (difference - f64::from(*slope)).abs();
        assert!(error <= tolerance, "cell {cell}: {difference} against {slope}");
    }
}

/// The buffer of a tensor on the same device holds on to the tensor's memory; of another backend it does not. In one dimension: with
/// two, CUDA leaves room behind every row of what comes from the host.
#[test]
fn the_same_device_copies_nothing() {
    let tensor = Tensor::<Same, 1>::from_data(TensorData::new(numbers(24), [24]), &Default::default()).inner();
    let memory: CubeTensor<R> = tensor.clone().into_primitive().tensor();
    drop(tensor);
    assert!(memory.handle.can_mut(), "nobody else holds it");
    let tensor = Tensor::<<Same as burn_core::tensor::backend::AutodiffBackend>::InnerBackend, 1>::from_primitive(
        burn_core::tensor::TensorPrimitive::Float(memory.clone()),
    );
    let buffer = splatport::burn::buffer(device(), tensor).expect("buffer");
    assert!(!memory.handle.can_mut(), "the buffer holds it");
    assert_eq!(buffer.read().expect("read"), numbers(24));
    drop(buffer);
    assert!(memory.handle.can_mut());
}

/// And the other way round: a gradient becomes a tensor by being held.
#[test]
fn nor_do_tensors_of_buffers() {
    type Inner = <Same as burn_core::tensor::backend::AutodiffBackend>::InnerBackend;
    let buffer = device().upload(&numbers(24));
    assert!(buffer.handle().can_mut(), "nobody else holds it");
    let place = Default::default();
    let tensor = splatport::burn::tensor::<Inner, 2, _, _>(device(), &buffer, [4, 6], &place).expect("tensor");
    assert!(!buffer.handle().can_mut(), "the tensor holds it");
    assert_eq!(tensor.clone().into_data().to_vec::<f32>().expect("f32"), numbers(24));
    drop(tensor);
    assert!(buffer.handle().can_mut());
    let copied =
        splatport::burn::tensor::<Cpu, 2, _, _>(device(), &buffer, [4, 6], &Default::default()).expect("tensor");
    assert!(buffer.handle().can_mut(), "another backend's is a copy");
    assert_eq!(copied.into_data().to_vec::<f32>().expect("f32"), numbers(24));
}

/// A transposed tensor is not row-major in memory.
#[test]
fn transposed_tensors_are_put_in_order() {
    let data = TensorData::new(numbers(24), [4, 6]);
    let wanted: Vec<f32> = (0..24).map(|i| numbers(24)[i % 4 * 6 + i / 4]).collect();
    let same = Tensor::<Same, 2>::from_data(data.clone(), &Default::default()).transpose();
    let cpu = Tensor::<Cpu, 2>::from_data(data, &Default::default()).transpose();
    assert_eq!(splatport::burn::buffer(device(), same).expect("buffer").read().expect("read"), wanted);
    assert_eq!(splatport::burn::buffer(device(), cpu).expect("buffer").read().expect("read"), wanted);
}

#[test]
fn shapes_that_do_not_fit() {
    let of = crop(48, 32, &POINTS);
    let of_shape = |shape: [usize; 4]| loss(&of, &[Tensor::<Cpu, 4>::zeros(shape, &Default::default())]).unwrap_err();
    assert_eq!(of_shape([2, 1, 4, 6]).to_string(), "densities: expected 1 values, got 2");
    assert_eq!(of_shape([1, 1, 6, 4]).to_string(), "rows of density[0] is 6, outside 4..=4");
    assert_eq!(of_shape([1, 1, 4, 5]).to_string(), "columns of density[0] is 5, outside 6..=6");
    let short = splatport::burn::tensor::<burn_flex::Flex, 1, _, _>(
        device(),
        &device().upload(&[0.0f32; 3]),
        [4],
        &Default::default(),
    );
    assert!(matches!(short, Err(Error::Length { expected: 4, got: 3, .. })));
}
