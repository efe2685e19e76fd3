//! The trainer: interruption, damage, early stop, progress.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use burn_core as burn;
use burn_core::{
    module::{AutodiffModule, Module, Param},
    tensor::{
        DType, Tensor, TensorData,
        backend::{AutodiffBackend, Backend},
    },
};
use burn_nn::{Dropout, DropoutConfig};
use burn_optim::{
    Adam, AdamConfig,
    adaptor::OptimizerAdaptor,
    lr_scheduler::linear::{LinearLrScheduler, LinearLrSchedulerConfig},
};
use indicatif::{InMemoryTerm, ProgressDrawTarget};
use rand::Rng;
use serde_json::Value;
use splatport::{
    Buffer, Device, Error, Loss, Single,
    burn::{
        Epoch, ProgressBar, Trainer,
        networks::{DensityNetwork, SmallDensity, TransformerDensity, VggDensity, VggDepth, VggTrunk},
    },
    losses::{DensityLoss, Evaluated},
};

use crate::{Cpu, R, Same, crop, numbers, temporary};

type Of<M, B = Cpu> = Trainer<M, OptimizerAdaptor<Adam, M, B>, LinearLrScheduler>;

fn small(seed: u64) -> Of<SmallDensity<Cpu>> {
    Cpu::seed(&Default::default(), seed);
    of(SmallDensity::new(&Default::default()), seed)
}

fn of<B: AutodiffBackend, M: AutodiffModule<B>>(network: M, seed: u64) -> Of<M, B> {
    let schedule = LinearLrSchedulerConfig::new(1e-2, 1e-4, 10).init().expect("schedule");
    Trainer::new(network, AdamConfig::new().init(), schedule, seed)
}

fn times(steps: usize, mut step: impl FnMut() -> f64) -> Vec<f64> {
    (0..steps).map(|_| step()).collect()
}

/// Steps on a photo that is dimmed at random; the losses. `$trainer` of any backend: the inner one of `Autodiff` has no name.
macro_rules! train {
    ($trainer:expr, $loss:expr, $steps:expr) => {{
        let step = || {
            let dimmed = $trainer.rng().random_range(0.5..1.0f32);
            let pixels = numbers(3 * 32 * 48).into_iter().map(|v| v * dimmed).collect();
            let photo = Tensor::from_data(TensorData::new::<f32, _>(pixels, [1, 3, 32, 48]), &Default::default());
            $trainer.step(&[photo], $loss).expect("step")
        };
        times($steps, step)
    }};
}

/// What a network makes of a photo.
fn seen<B: AutodiffBackend>(network: &impl DensityNetwork<B>) -> Vec<f64> {
    let photo = Tensor::from_data(TensorData::new(numbers(3 * 32 * 48), [1, 3, 32, 48]), &Default::default());
    network.density(photo).into_data().iter::<f64>().collect()
}

/// What a trainer's network does.
fn parameters<B: AutodiffBackend, M: DensityNetwork<B>, O>(trainer: &Trainer<M, O, LinearLrScheduler>) -> Vec<f64> {
    seen(trainer.network())
}

/// A trainer that is thrown away two steps after its checkpoint, and another one, of another seed, that takes the checkpoint up.
macro_rules! goes_on {
    ($name:expr, $start:expr, $other:expr) => {{
        let loss = crop(48, 32, &[[9.0, 9.5], [30.0, 20.0]]);
        // Burn's generator is one for all threads of the tests: the two begin as one network.
        let mut whole = $start;
        parameters(&whole);
        let mut first = whole.clone();
        let losses = train!(whole, &loss, 6);

        let path = temporary($name, b"an older file");
        train!(first, &loss, 3);
        first.finish(Epoch { steps: 3, rate: first.rate(), loss: 1.0 / 3.0, mae: 0.1, rmse: 0.2 });
        first.save(&path).expect("save");
        train!(first, &loss, 2);
        drop(first);

        let mut second = $other;
        second.resume(&path, &Default::default()).expect("resume");
        let epochs = second.history().epochs();
        assert_eq!((second.steps(), epochs.len(), epochs[0].loss), (3, 1, 1.0 / 3.0));
        assert_eq!(train!(second, &loss, 3), losses[3..]);
        assert_eq!(parameters(&second), parameters(&whole));
        assert_eq!(second.rate(), whole.rate());
        losses
    }};
}

#[test]
fn resumed_training_has_the_same_bits() {
    let losses = goes_on!("resumed.safetensors", small(3), small(4));
    assert!(losses[5] < losses[0]);
}

/// Where tensors are the loss's memory.
#[test]
fn so_it_has_on_the_device_of_the_loss() {
    let place = Default::default();
    let small = |seed| of(SmallDensity::<Same>::new(&place), seed);
    let losses = goes_on!("resumed-same.safetensors", small(3), small(4));
    assert!(losses[5] < losses[0]);
    let transformer = |seed| of(TransformerDensity::<Same>::new(&place), seed);
    goes_on!("transformer-same.safetensors", transformer(3), transformer(4));
}

/// A network that draws in every step.
#[derive(Module, Debug)]
struct Dropping<B: Backend> {
    network: SmallDensity<B>,
    dropout: Dropout,
}

impl<B: Backend> DensityNetwork<B> for Dropping<B> {
    fn density(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        self.network.density(self.dropout.forward(images))
    }
}

fn dropping<B: AutodiffBackend>(seed: u64) -> Of<Dropping<B>, B> {
    let dropout = DropoutConfig::new(0.5).init();
    of(Dropping { network: SmallDensity::new(&Default::default()), dropout }, seed)
}

/// Five steps at once, and two with a checkpoint after them that another trainer takes up.
macro_rules! draws_again {
    ($backend:ty, $name:expr) => {{
        let loss = crop(48, 32, &[[9.0, 9.5], [30.0, 20.0]]);
        let start = dropping::<$backend>(3);
        parameters(&start);
        let (mut whole, mut first) = (start.clone(), start);
        let losses = train!(whole, &loss, 5);
        let path = temporary($name, b"");
        train!(first, &loss, 2);
        first.save(&path).expect("save");
        train!(first, &loss, 2);
        let mut second = dropping::<$backend>(4);
        second.resume(&path, &Default::default()).expect("resume");
        assert_eq!(train!(second, &loss, 3), losses[2..]);
    }};
}

/// Runs an ignored test in a process of its own: what it needs belongs to all threads, and other tests use it too.
fn alone(name: &str) {
    let program = std::env::current_exe().expect("path");
    let arguments = ["--exact", &format!("trainer::{name}"), "--ignored", "--test-threads=1"];
    let output = std::process::Command::new(program).args(arguments).output().expect("run");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// The backends' generators are those of the process.
#[test]
#[ignore = "needs a process of its own, which the next test gives it"]
fn dropout_alone() {
    draws_again!(Cpu, "dropout.safetensors");
    draws_again!(Same, "dropout-same.safetensors");
}

#[test]
fn resumed_training_drops_what_it_would_have_dropped() {
    alone("dropout_alone");
}

/// One number a parameter: a density of as much a cell as the mean of the photo's red there, times a factor.
#[derive(Module, Debug)]
struct Scaled<B: Backend> {
    factor: Param<Tensor<B, 1>>,
}

impl<B: Backend> Scaled<B> {
    fn new(factor: f64, float: DType) -> Self {
        let place = Default::default();
        Self { factor: Param::from_tensor(Tensor::from_data(TensorData::from([factor]), (&place, float))) }
    }
}

impl<B: Backend> DensityNetwork<B> for Scaled<B> {
    fn density(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let [n, _, height, width] = images.dims();
        let red = images.narrow(1, 0, 1).cast(burn_core::tensor::FloatDType::F64);
        let rows = red.reshape([n, height / 8, 8, width]).sum_dim(2).reshape([n, height / 8, width / 8, 8]);
        let cells = rows.sum_dim(3).reshape([n, 1, height / 8, width / 8]) / 64.0;
        cells * self.factor.val().reshape([1, 1, 1, 1])
    }
}

type Wide = burn_autodiff::Autodiff<burn_cubecl::CubeBackend<R, f64, i32, u32>>;

/// A third has no end in binary.
fn wide(seed: u64) -> Of<Scaled<Wide>, Wide> {
    of(Scaled::new(1.0 / 3.0, DType::F64), seed)
}

/// The first backend on a device decides for the process what float a tensor has there if nothing else is said.
#[test]
#[ignore = "needs a process of its own, which the next test gives it"]
fn wide_alone() {
    goes_on!("wide.safetensors", wide(3), of(Scaled::<Wide>::new(0.5, DType::F64), 4));
}

/// A backend of `f64`: its records keep 64 bits.
#[test]
fn networks_of_64_bits_go_on() {
    alone("wide_alone");
}

/// Where records would be rounded it is said: on a backend of `f32`, and on one of `f64` whose device was one of `f32` before.
#[test]
fn networks_of_another_float() {
    let mut narrow = of(Scaled::<Cpu>::new(1.0 / 3.0, DType::F64), 3);
    let path = temporary("narrow.safetensors", b"an older file");
    let error = narrow.save(&path).expect_err("f64");
    let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(matches!(error, Error::Write { .. }) && why.contains("factor F64") && why.contains("F32"), "{why}");
    assert_eq!(fs::read(&path).expect("file"), b"an older file");
    let error = narrow.resume(saved(&small(3), "small.safetensors"), &Default::default()).expect_err("f64");
    assert!(matches!(error, Error::Format { .. }), "{error:?}");

    let single = Tensor::<Same, 1>::zeros([1], &Default::default());
    assert_eq!(single.dtype(), DType::F32);
    let path = temporary("second.safetensors", b"");
    wide(3).save(&path).expect("save");
    let error = wide(4).resume(&path, &Default::default()).expect_err("rounded").to_string();
    assert!(error.contains("expected `factor F64 [1]`, got `factor F32 [1]`"), "{error}");
}

/// The checkpoint of a trainer that has not stepped.
fn saved(trainer: &Of<SmallDensity<Cpu>>, name: &str) -> PathBuf {
    let path = temporary(name, b"");
    trainer.save(&path).expect("save");
    path
}

/// Networks of one type that are not alike: Burn would panic on some and load others as they are.
#[test]
fn checkpoints_of_other_networks() {
    let place = Default::default();
    let vgg = |depth| of(VggDensity::<Cpu>::new(VggTrunk::new(depth, &place), &place), 3);
    let path = temporary("sixteen.safetensors", b"");
    vgg(VggDepth::Sixteen).save(&path).expect("save");
    let mut nineteen = vgg(VggDepth::Nineteen);
    let error = nineteen.resume(&path, &place).expect_err("16 into 19");
    let text = error.to_string();
    assert!(matches!(error, Error::Format { .. }) && text.contains("sixteen.safetensors"), "{text}");
    assert!(text.contains("trunk.features.7") && !text.contains('\n'), "{text}");
    assert_eq!(nineteen.steps(), 0);
    fs::remove_file(path).expect("clean");

    let one = saved(&small(3), "one.safetensors");
    let mut two = of(SmallDensity::<Cpu>::with_channels(2, &place), 3);
    let before = parameters(&two);
    let text = two.resume(&one, &place).expect_err("another number of channels").to_string();
    assert!(text.contains("one.safetensors") && text.contains("head.weight F32 [2, 32, 1, 1]"), "{text}");
    assert_eq!(parameters(&two), before);
}

/// One line that names the file; the trainer is as it was.
#[test]
fn damaged_checkpoints() {
    let path = saved(&small(3), "whole.safetensors");
    let whole = fs::read(&path).expect("file");
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    };
    let files = [
        ("half.safetensors", whole[..whole.len() / 2].to_vec()),
        ("empty.safetensors", Vec::new()),
        ("header.safetensors", flipped(20)),
        ("middle.safetensors", flipped(whole.len() / 2)),
        ("last.safetensors", flipped(whole.len() - 1)),
    ];
    for (name, bytes) in files {
        let mut other = small(4);
        let before = parameters(&other);
        let error = other.resume(temporary(name, &bytes), &Default::default()).expect_err(name);
        let text = error.to_string();
        assert!(matches!(error, Error::Format { .. }) && text.contains(name) && !text.contains('\n'), "{name}: {text}");
        assert_eq!((other.steps(), parameters(&other)), (0, before));
    }
    let nowhere = small(4).resume("nowhere.safetensors", &Default::default());
    assert!(matches!(nowhere, Err(Error::Read { .. })), "{nowhere:?}");

    let mut transformer = of(TransformerDensity::<Cpu>::new(&Default::default()), 3);
    let error = transformer.resume(&path, &Default::default()).expect_err("another network");
    assert!(matches!(error, Error::Format { .. }), "{error:?}");
}

/// A loss whose value or one number of whose gradient is NaN.
struct Broken {
    of: Loss<R>,
    value: bool,
}

impl DensityLoss<R, Single> for Broken {
    fn device(&self) -> &Device<R> {
        self.of.kernel().device()
    }

    fn shapes(&self) -> Vec<[usize; 2]> {
        self.of.shapes()
    }

    fn evaluated(&self, density: &Buffer<R, f32>) -> splatport::Result<Evaluated<R, Single>> {
        let evaluated = self.of.evaluated(density)?;
        if self.value {
            return Ok(Evaluated { values: crate::device().upload(&[f32::NAN]), ..evaluated });
        }
        let mut gradient = evaluated.gradient.read()?;
        gradient[5] = f32::NAN;
        Ok(Evaluated { gradient: crate::device().upload(&gradient), ..evaluated })
    }
}

/// Nothing is changed by a step that fails.
macro_rules! refuses {
    ($trainer:expr, $broken:expr, $what:expr) => {{
        let mut trainer = $trainer;
        let before = parameters(&trainer);
        let photo = Tensor::from_data(TensorData::new(numbers(3 * 32 * 48), [1, 3, 32, 48]), &Default::default());
        let error = trainer.step(&[photo], $broken).expect_err("not finite");
        assert!(matches!(error, Error::NotFinite { what, index: 0, .. } if what == $what), "{error}");
        assert_eq!((trainer.steps(), trainer.rate(), parameters(&trainer)), (0, 0.0, before));
    }};
}

#[test]
fn a_loss_that_is_no_number_changes_nothing() {
    let of = crop(48, 32, &[[9.0, 9.5]]);
    refuses!(small(3), &Broken { of, value: true }, "loss of step");
}

#[test]
fn nor_does_a_gradient() {
    let broken = Broken { of: crop(48, 32, &[[9.0, 9.5]]), value: false };
    refuses!(small(3), &broken, "gradients of step");
    refuses!(of(SmallDensity::<Same>::new(&Default::default()), 3), &broken, "gradients of step");
}

/// Epochs of two steps and these errors, until patience ends; the errors that were measured.
fn epochs(trainer: &mut Of<SmallDensity<Cpu>>, loss: &Loss<R>, errors: &[f64]) -> Vec<f64> {
    let mut measured = Vec::new();
    for &mae in errors {
        if trainer.is_over() {
            break;
        }
        train!(trainer, loss, 2);
        let (steps, rate) = (trainer.steps(), trainer.rate());
        trainer.finish(Epoch { steps, rate, loss: 1.0, mae, rmse: 4.0 });
        measured.push(mae);
    }
    measured
}

#[test]
fn training_stops_early_and_keeps_the_best_network() {
    let loss = crop(48, 32, &[[9.0, 9.5], [30.0, 20.0]]);
    let errors = [3.0, 2.0, 2.5, 2.0, 1.0];
    let start = small(3).patience(2);
    assert_eq!(seen(start.best()), parameters(&start), "before the first epoch");
    // To the best epoch and no further.
    let mut best = start.clone();
    epochs(&mut best, &loss, &errors[..2]);
    let mut whole = start.clone();
    assert_eq!(epochs(&mut whole, &loss, &errors), errors[..4], "an equal error is no better");
    assert!(whole.is_over());
    assert_eq!(seen(whole.best()), parameters(&best));
    assert_ne!(parameters(&whole), parameters(&best));

    // The same with an interruption behind the best epoch.
    let mut first = start.clone();
    epochs(&mut first, &loss, &errors[..3]);
    let path = temporary("patient.safetensors", b"");
    first.save(&path).expect("save");
    let mut second = small(4).patience(2);
    second.resume(&path, &Default::default()).expect("resume");
    assert!(!second.is_over());
    assert_eq!(seen(second.best()), parameters(&best));
    assert_eq!(epochs(&mut second, &loss, &errors[3..]), errors[3..4]);
    assert_eq!((seen(second.best()), parameters(&second)), (parameters(&best), parameters(&whole)));

    // Whoever has no patience goes on with the network as it is; whoever asks for it too late is told.
    let mut hasty = small(4);
    hasty.resume(&path, &Default::default()).expect("resume");
    assert_eq!((seen(hasty.best()), hasty.is_over()), (parameters(&first), false));
    hasty.save(&path).expect("save");
    let mut late = small(4).patience(2);
    let error = late.resume(&path, &Default::default()).expect_err("no best network").to_string();
    assert!(error.ends_with("patient.safetensors: array `best`: missing: the trainer had no patience"), "{error}");
    assert_eq!(late.steps(), 0);
}

/// The arrays of bytes of a checkpoint.
fn parts(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(path).expect("file");
    let (length, rest) = bytes.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize);
    let header: BTreeMap<String, Value> = serde_json::from_slice(header).expect("a header");
    let arrays = header.into_iter().filter(|(name, _)| name != "__metadata__");
    let place = |array: &Value, end: usize| array["data_offsets"][end].as_u64().expect("a place") as usize;
    arrays.map(|(name, array)| (name, data[place(&array, 0)..place(&array, 1)].to_vec())).collect()
}

/// Writes them without a check sum, which files of others lack: only the records themselves can be wrong.
fn write_parts(path: &Path, parts: &BTreeMap<String, Vec<u8>>) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, bytes) in parts {
        let place = [data.len(), data.len() + bytes.len()];
        let array = serde_json::json!({"dtype": "U8", "shape": [bytes.len()], "data_offsets": place});
        header.insert(name.clone(), array);
        data.extend(bytes);
    }
    let header = Value::Object(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat();
    fs::write(path, bytes).expect("file");
}

#[test]
fn wrong_records_are_errors_or_sound() {
    let loss = crop(48, 32, &[[9.0, 9.5]]);
    let mut trainer = small(3).patience(1);
    epochs(&mut trainer, &loss, &[1.0]);
    let path = temporary("records.safetensors", b"");
    trainer.save(&path).expect("save");
    let whole = parts(&path);
    write_parts(&path, &whole);
    small(4).resume(&path, &Default::default()).expect("no check sum");
    let mut refused = 0;
    for (name, bytes) in &whole {
        // Names, lengths and types are told at the beginning of a record, numbers behind it.
        for (n, at) in (0..bytes.len().min(90)).chain((90..bytes.len()).step_by(997)).enumerate() {
            let mut damaged = whole.clone();
            let byte = &mut damaged.get_mut(name).expect("a part")[at];
            *byte = [*byte ^ 1, 0xff, 0, byte.wrapping_add(1)][n % 4];
            write_parts(&path, &damaged);
            let mut other = small(4).patience(1);
            let before = parameters(&other);
            if let Err(error) = other.resume(&path, &Default::default()) {
                let text = error.to_string();
                assert!(matches!(error, Error::Format { .. }), "{text}");
                assert!(text.contains("records.safetensors") && !text.contains('\n'), "{text}");
                assert_eq!((other.steps(), parameters(&other)), (0, before), "byte {at} of {name}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "every damaged file was read");
}

/// As many numbers as are wanted, of which one is the density's factor.
#[derive(Module, Debug)]
struct Several<B: Backend> {
    factors: Vec<Scaled<B>>,
}

impl<B: Backend> DensityNetwork<B> for Several<B> {
    fn density(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        self.factors[0].density(images)
    }
}

/// Burn loads a list of one length into one of another by a panic.
#[test]
fn a_record_that_panics_is_an_error_of_the_file() {
    let several = |count| of(Several { factors: vec![Scaled::<Cpu>::new(0.5, DType::F32); count] }, 3);
    let (one, two) = (temporary("one-factor.safetensors", b""), temporary("two-factors.safetensors", b""));
    several(1).save(&one).expect("save");
    several(2).save(&two).expect("save");
    // What says that it is of two factors has the record of one.
    let mut mixed = parts(&two);
    mixed.extend(parts(&one).into_iter().filter(|(name, _)| name == "network"));
    write_parts(&two, &mixed);
    let mut trainer = several(2);
    let error = trainer.resume(&two, &Default::default()).expect_err("another length");
    let expected = "two-factors.safetensors: array `network`: it cannot be loaded: standard error tells why";
    assert!(matches!(error, Error::Format { .. }) && error.to_string().ends_with(expected), "{error}");
    assert_eq!(trainer.network().factors.len(), 2);
}

#[test]
fn history_and_early_stop() {
    let mut trainer = small(3);
    for (index, mae) in [3.0, 2.0, 2.0, 2.5].into_iter().enumerate() {
        assert!(!trainer.history().is_stale(2));
        trainer.finish(Epoch { steps: index as u64, rate: 0.5, loss: 1.0, mae, rmse: 4.0 });
    }
    assert_eq!(trainer.history().best(), Some(1));
    assert!(trainer.history().is_stale(2) && !trainer.history().is_stale(3));

    let path: PathBuf = temporary("history.csv", b"");
    trainer.history().save_csv(&path).expect("csv");
    let text = fs::read_to_string(&path).expect("file");
    assert_eq!(text.lines().take(2).collect::<Vec<_>>(), ["steps,rate,loss,mae,rmse", "0,0.5,1.0,3.0,4.0"]);
    assert_eq!(text.lines().count(), 5);
}

/// The bytes that TensorBoard 2.21 was seen to read as scalars `rate`, `loss`, `mae` and `rmse` of step 5.
#[test]
fn history_for_tensorboard() {
    let mut trainer = small(3);
    trainer.finish(Epoch { steps: 5, rate: 0.5, loss: 1.0, mae: 3.0, rmse: 4.0 });
    let path = temporary("run.tfevents", b"");
    trainer.history().save_events(&path).expect("events");
    let version = "0f000000000000006d532b091a0d627261696e2e4576656e743a32fc985129";
    let epoch = "3700000000000000e7e8ca5910052a330a0b0a0472617465150000003f0a0b0a046c6f7373150000803f0a0a0a036d6165150000\
                 40400a0b0a04726d73651500008040050c5f94";
    let bytes = fs::read(&path).expect("file");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, format!("{version}{epoch}"));
}

#[test]
fn progress_is_shown() {
    let terminal = InMemoryTerm::new(1, 80);
    let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
    let bar = ProgressBar::with_draw_target(Some(9), target).with_prefix("crop");
    let loss = crop(48, 32, &[[9.0, 9.5], [30.0, 20.0]]);
    let mut trainer = small(3);
    train!(trainer, &loss, 2);
    trainer.show_on(&bar);
    let shown = || terminal.contents();
    assert!(shown().starts_with("crop ") && shown().ends_with(" 2/9, 0s left"), "{}", shown());
    let value = train!(trainer, &loss, 1)[0];
    assert!(shown().contains(" 3/9, ") && shown().ends_with(&format!("s left, loss {value:.4}")), "{}", shown());
    trainer.finish(Epoch { steps: 3, rate: trainer.rate(), loss: value, mae: 2.25, rmse: 3.0 });
    let value = train!(trainer, &loss, 3)[2];
    assert!(shown().ends_with(&format!("s left, loss {value:.4}, error 2.25")), "{}", shown());

    // Seven steps are shown, one was made since: the time that is left is that of one (1.004 were counted at most).
    let path = temporary("shown.safetensors", b"");
    trainer.save(&path).expect("save");
    let mut resumed = small(4);
    resumed.show_on(&bar);
    assert_eq!(bar.position(), 0);
    resumed.resume(&path, &Default::default()).expect("resume");
    assert_eq!(bar.position(), 6);
    let start = Instant::now();
    train!(resumed, &loss, 1);
    let steps = bar.per_sec() * start.elapsed().as_secs_f64();
    assert!(bar.position() == 7 && steps < 2.0, "{steps} steps");
}
