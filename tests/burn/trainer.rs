//! The trainer: interruption, damage, early stop, progress.

use std::{fs, path::PathBuf, time::Instant};

use burn_core::tensor::{Tensor, TensorData, backend::Backend};
use burn_optim::{
    Adam, AdamConfig,
    adaptor::OptimizerAdaptor,
    lr_scheduler::linear::{LinearLrScheduler, LinearLrSchedulerConfig},
};
use indicatif::{InMemoryTerm, ProgressDrawTarget};
use rand::Rng;
use splatport::{
    Buffer, Device, Error, Loss, Single,
    burn::{
        Epoch, ProgressBar, Trainer,
        networks::{DensityNetwork, SmallDensity, TransformerDensity},
    },
    losses::{DensityLoss, Evaluated},
};

use crate::{Cpu, R, crop, numbers, temporary};

type Of<M> = Trainer<M, OptimizerAdaptor<Adam, M, Cpu>, LinearLrScheduler>;

fn small(seed: u64) -> Of<SmallDensity<Cpu>> {
    Cpu::seed(&Default::default(), seed);
    of(SmallDensity::new(&Default::default()), seed)
}

fn of<M: burn_core::module::AutodiffModule<Cpu>>(network: M, seed: u64) -> Of<M> {
    let schedule = LinearLrSchedulerConfig::new(1e-2, 1e-4, 10).init().expect("schedule");
    Trainer::new(network, AdamConfig::new().init(), schedule, seed)
}

/// Steps on a photo that is dimmed at random; the losses.
fn train(trainer: &mut Of<SmallDensity<Cpu>>, loss: &Loss<R>, steps: usize) -> Vec<f64> {
    let mut step = || {
        let dimmed = trainer.rng().random_range(0.5..1.0f32);
        let pixels = numbers(3 * 32 * 48).into_iter().map(|v| v * dimmed).collect();
        let photo = Tensor::from_data(TensorData::new::<f32, _>(pixels, [1, 3, 32, 48]), &Default::default());
        trainer.step(&[photo], loss).expect("step")
    };
    (0..steps).map(|_| step()).collect()
}

fn parameters(trainer: &Of<SmallDensity<Cpu>>) -> Vec<f32> {
    let photo = Tensor::from_data(TensorData::new(numbers(3 * 32 * 48), [1, 3, 32, 48]), &Default::default());
    trainer.network().density(photo).into_data().to_vec().expect("f32")
}

/// A trainer that is thrown away two steps after its checkpoint, and another one, of another seed, that takes the checkpoint up.
#[test]
fn resumed_training_has_the_same_bits() {
    let loss = crop(48, 32, &[[9.0, 9.5], [30.0, 20.0]]);
    // Burn's generator is one for all threads of the tests: the two begin as one network.
    let mut whole = small(3);
    parameters(&whole);
    let mut first = whole.clone();
    let losses = train(&mut whole, &loss, 6);
    assert!(losses[5] < losses[0]);

    let path = temporary("resumed.safetensors", b"an older file");
    train(&mut first, &loss, 3);
    first.finish(Epoch { steps: 3, rate: first.rate(), loss: 1.0 / 3.0, mae: 0.1, rmse: 0.2 });
    first.save(&path).expect("save");
    train(&mut first, &loss, 2);
    drop(first);

    let mut second = small(4);
    second.resume(&path, &Default::default()).expect("resume");
    assert_eq!((second.steps(), second.history().epochs().len(), second.history().epochs()[0].loss), (3, 1, 1.0 / 3.0));
    assert_eq!(train(&mut second, &loss, 3), losses[3..]);
    assert_eq!(parameters(&second), parameters(&whole));
    assert_eq!(second.rate(), whole.rate());
}

/// One line that names the file; the trainer is as it was.
#[test]
fn damaged_checkpoints() {
    let trainer = small(3);
    let path = temporary("whole.safetensors", b"");
    trainer.save(&path).expect("save");
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

/// A loss whose value is NaN.
struct Broken(Loss<R>);

impl DensityLoss<R, Single> for Broken {
    fn device(&self) -> &Device<R> {
        self.0.kernel().device()
    }

    fn shapes(&self) -> Vec<[usize; 2]> {
        self.0.shapes()
    }

    fn evaluated(&self, density: &Buffer<R, f32>) -> splatport::Result<Evaluated<R, Single>> {
        Ok(Evaluated { values: crate::device().upload(&[f32::NAN]), ..self.0.evaluated(density)? })
    }
}

#[test]
fn a_loss_that_is_no_number_changes_nothing() {
    let mut trainer = small(3);
    let before = parameters(&trainer);
    let photo = Tensor::<Cpu, 4>::zeros([1, 3, 32, 48], &Default::default());
    let error = trainer.step(&[photo], &Broken(crop(48, 32, &[[9.0, 9.5]]))).expect_err("not finite");
    assert!(matches!(error, Error::NotFinite { what: "loss of step", index: 0, .. }), "{error}");
    assert_eq!((trainer.steps(), parameters(&trainer)), (0, before));
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
    trainer.history().to_csv(&path).expect("csv");
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
    trainer.history().to_events(&path).expect("events");
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
    train(&mut trainer, &loss, 2);
    trainer.show_on(&bar);
    let shown = || terminal.contents();
    assert!(shown().starts_with("crop ") && shown().ends_with(" 2/9, 0s left"), "{}", shown());
    let value = train(&mut trainer, &loss, 1)[0];
    assert!(shown().contains(" 3/9, ") && shown().ends_with(&format!("s left, loss {value:.4}")), "{}", shown());
    trainer.finish(Epoch { steps: 3, rate: trainer.rate(), loss: value, mae: 2.25, rmse: 3.0 });
    let value = train(&mut trainer, &loss, 3)[2];
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
    train(&mut resumed, &loss, 1);
    let steps = bar.per_sec() * start.elapsed().as_secs_f64();
    assert!(bar.position() == 7 && steps < 2.0, "{steps} steps");
}
