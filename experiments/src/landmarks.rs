//! Joints of drawn figures: one density channel a joint, one plan a joint.

use burn_core::{module::AutodiffModule, tensor::Tensor};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use splatport::{
    Annotations, Device, Discrepancy, GaussianTable, Grid, Image, Kernel, Profile, Single, Splat,
    burn::{
        CubeRuntime,
        networks::{STRIDE, SmallDensity, image_tensor},
        predict,
    },
    data::{Figures, JOINTS},
    draw,
    evaluation::{CountErrors, pck, peaks},
    kernel::KernelOptions,
    losses::{Demanders, DensityLoss, HeatmapTransport, L2, Scales},
};

use crate::{
    method::POISSON,
    network::Learning,
    run::{Learner, Run},
    table::Row,
};

/// Figures in a step.
const BATCH: usize = 4;

const FIGURES: Figures = Figures { size: [128, 160], figures: [1, 1], boards: 1 };

/// Half the segment from neck to crown of a drawn figure, as a share of its height: the radius of PCKh@0.5.
const HALF_HEAD: f64 = 0.07;

/// Scale of heatmaps and of the round plan, px: one cell.
const SIGMA: f64 = 8.0;

/// One joint, if it is in the picture.
type Joint = Option<[f64; 2]>;

/// A figure with its joints.
struct Posed {
    image: Image,
    joints: [Joint; JOINTS.len()],
    annotations: Annotations,
    /// What counts as found, px.
    radius: f64,
}

impl Posed {
    fn drawn(seed: u64) -> anyhow::Result<Self> {
        let sample = FIGURES.sample(seed)?;
        let annotations = sample.annotations;
        let mut joints = [None; JOINTS.len()];
        let names = annotations.columns().iter().find(|column| column.name() == "name");
        for (name, point) in names.iter().flat_map(|column| column.values()).zip(annotations.points()) {
            if let Some(joint) = JOINTS.iter().position(|joint| joint == name) {
                joints[joint] = Some(*point);
            }
        }
        let radius = HALF_HEAD * annotations.numeric("height")?.first().copied().unwrap_or_default();
        Ok(Self { image: sample.image, joints, annotations, radius })
    }
}

fn grid() -> Grid {
    Grid::over(FIGURES.size[0], FIGURES.size[1], STRIDE)
}

/// What figures are learned with.
#[derive(Debug, Clone)]
pub enum Method {
    Heatmaps(L2),
    Transport(HeatmapTransport),
    /// A kernel from Gaussians of this scale, px, or from fitted ones.
    Plan(Option<f64>, KernelOptions, Discrepancy),
}

/// With their names.
pub fn methods() -> [(&'static str, Method); 4] {
    let plan = |scale| Method::Plan(scale, Profile::Recommended.kernel(), POISSON);
    [
        ("heatmaps", Method::Heatmaps(L2::new(Scales::Fixed(SIGMA)))),
        // The joint as the only demander: that plan has a closed form.
        ("hdm-style", Method::Transport(HeatmapTransport::default().demanders(Demanders::Joint))),
        ("round", plan(Some(SIGMA))),
        ("gst", plan(None)),
    ]
}

/// What decides the outcome beside the method, as text.
pub fn settings(count: u64) -> String {
    format!(
        "{count} figures to learn from, {BATCH} a step, {FIGURES:?}, fitted with {:?}",
        splatport::recipe().options()
    )
}

/// What is learned from, with what a method does once.
pub struct Landmarks<R: CubeRuntime> {
    method: Method,
    device: Device<R>,
    train: Vec<Posed>,
    test: Vec<Posed>,
    /// Of the methods with a plan: one splat of at most one Gaussian for every joint of every figure.
    splats: Vec<Vec<Splat<R>>>,
}

impl<R: CubeRuntime> Landmarks<R> {
    /// `count` figures to learn from, as many others to be scored on.
    pub fn prepare(device: &Device<R>, method: &Method, count: u64) -> anyhow::Result<Self> {
        let train = (1..=count).map(Posed::drawn).collect::<anyhow::Result<Vec<_>>>()?;
        let test = (count + 1..=2 * count).map(Posed::drawn).collect::<anyhow::Result<Vec<_>>>()?;
        let splats = match method {
            Method::Plan(None, ..) => {
                // All joints of a figure together, so that each explains its own part of the picture.
                let images: Vec<_> = train.iter().map(|posed| (&posed.image, &posed.annotations)).collect();
                let fitted = splatport::recipe().fit_all(device, &images)?;
                let pairs = train.iter().zip(&fitted);
                pairs.map(|(posed, splat)| one_by_one(device, posed, splat)).collect::<anyhow::Result<_>>()?
            }
            Method::Plan(Some(scale), ..) => {
                let round = |joint: &Joint| {
                    let points = Annotations::new(joint.iter().copied().collect::<Vec<_>>())?;
                    Splat::round(device, &points, FIGURES.size, *scale)
                };
                let of_figure = |posed: &Posed| posed.joints.iter().map(round).collect::<splatport::Result<Vec<_>>>();
                train.iter().map(of_figure).collect::<splatport::Result<_>>()?
            }
            Method::Heatmaps(_) | Method::Transport(_) => Vec::new(),
        };
        Ok(Self { method: method.clone(), device: device.clone(), train, test, splats })
    }

    /// The loss of these figures: an image of it is a channel.
    fn loss(&self, figures: &[usize]) -> anyhow::Result<Box<dyn DensityLoss<R, Single>>> {
        let grid = grid();
        Ok(match &self.method {
            Method::Heatmaps(loss) => {
                let joints = figures.iter().flat_map(|&figure| self.train[figure].joints);
                let points = joints.map(|joint| Annotations::new(joint.into_iter().collect::<Vec<_>>()));
                let points = points.collect::<splatport::Result<Vec<_>>>()?;
                let scenes: Vec<_> = points.iter().map(|points| (grid, points)).collect();
                Box::new(loss.on(&self.device, &scenes)?)
            }
            Method::Transport(loss) => {
                let poses: Vec<_> = figures.iter().map(|&f| (grid, self.train[f].joints.as_slice())).collect();
                Box::new(loss.on(&self.device, &poses)?)
            }
            Method::Plan(_, options, discrepancy) => {
                let images = figures.iter().flat_map(|&figure| &self.splats[figure]);
                let images: Vec<_> = images.map(|splat| (splat, grid)).collect();
                let kernel = Kernel::of_all(&self.device, &images, *options)?;
                Box::new(kernel.loss().discrepancy(*discrepancy)?)
            }
        })
    }

    /// What training gives.
    pub fn outcome(&self, run: &Run<'_>) -> anyhow::Result<Outcome> {
        let start = run.started(|| Ok(SmallDensity::<Learning>::with_channels(JOINTS.len(), &Default::default())))?;
        let (network, seconds_a_step) =
            run.trained(start, |learner| self.step(learner), |network| Ok(distances(&self.located(network)?)))?;
        self.score(run, &network, seconds_a_step)
    }

    fn step(&self, learner: &mut Learner<SmallDensity<Learning>>) -> anyhow::Result<f64> {
        let mut rng = learner.rng();
        let figures: Vec<_> = (0..BATCH).map(|_| rng.random_range(0..self.train.len())).collect();
        let images =
            figures.iter().map(|&figure| image_tensor::<Learning>(&self.train[figure].image, &Default::default()));
        let images = Tensor::cat(images.collect(), 0);
        Ok(learner.step(&[images], self.loss(&figures)?.as_ref())?)
    }

    /// Predicted place, true place and radius of every joint that is in a picture.
    fn located(&self, network: &SmallDensity<Learning>) -> anyhow::Result<Vec<Located>> {
        let (network, grid) = (network.valid(), grid());
        let mut all = Vec::new();
        for posed in &self.test {
            let density = predict(&network, &posed.image, None, &Default::default())?;
            for (channel, joint) in density.chunks_exact(grid.len()).zip(posed.joints) {
                let Some(joint) = joint else { continue };
                let middle = FIGURES.size.map(|side| f64::from(side) / 2.0);
                let place = peaks(channel, grid, 0.0)?.first().map_or(middle, |peak| peak.at);
                all.push(Located { place, joint, radius: posed.radius });
            }
        }
        Ok(all)
    }

    /// Of the figures that were held back; the first of them as a picture.
    fn score(&self, run: &Run<'_>, network: &SmallDensity<Learning>, seconds_a_step: f64) -> anyhow::Result<Outcome> {
        let located = self.located(network)?;
        let (places, joints): (Vec<_>, Vec<_>) = located.iter().map(|one| (one.place, one.joint)).unzip();
        let within = |share: f64| {
            let radii: Vec<_> = located.iter().map(|one| 2.0 * share * one.radius).collect();
            pck(&places, &joints, &radii)
        };
        let first = &self.test[0];
        let seen = first.joints.iter().flatten().count();
        draw::ellipses(&first.image, &places[..seen], &vec![[2.0; 2]; seen], &vec![0.0; seen], 1.0)?
            .save(run.kept.file("png"))?;
        Ok(Outcome {
            method: run.method.to_owned(),
            seed: run.seed,
            steps: run.length.steps,
            distance: distances(&located).mae,
            pckh_half: within(0.5)?,
            pckh_fifth: within(0.2)?,
            seconds_a_step,
        })
    }
}

struct Located {
    place: [f64; 2],
    joint: [f64; 2],
    radius: f64,
}

/// Distances between predicted and true places, px.
fn distances(located: &[Located]) -> CountErrors {
    let distance = |one: &Located| [(one.place[0] - one.joint[0]).hypot(one.place[1] - one.joint[1]), 0.0];
    CountErrors::of(&located.iter().map(distance).collect::<Vec<_>>())
}

/// A splat for every joint, of the figure's.
fn one_by_one<R: CubeRuntime>(device: &Device<R>, posed: &Posed, splat: &Splat<R>) -> anyhow::Result<Vec<Splat<R>>> {
    let table = splat.table()?;
    let mut next = 0..table.means.len();
    let alone = |joint: &Joint| {
        // Annotations are in the order of the joints, without those off the picture.
        let rows: Vec<usize> = joint.iter().filter_map(|_| next.next()).collect();
        let [width, height] = FIGURES.size;
        Ok(Splat::from_table(
            device,
            &GaussianTable {
                means: rows.iter().map(|&n| table.means[n]).collect(),
                scales: rows.iter().map(|&n| table.scales[n]).collect(),
                rotations: rows.iter().map(|&n| table.rotations[n]).collect(),
                colors: vec![1.0; rows.len()],
                channels: 1,
                opacities: vec![1.0; rows.len()],
                width,
                height,
                ..GaussianTable::default()
            },
        )?)
    };
    posed.joints.iter().map(alone).collect()
}

/// What came out of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub method: String,
    pub seed: u64,
    pub steps: u64,
    /// Mean distance of predicted from true joints, px.
    pub distance: f64,
    pub pckh_half: f64,
    pub pckh_fifth: f64,
    pub seconds_a_step: f64,
}

impl Row for Outcome {
    const COLUMNS: &'static [&'static str] = &["distance px", "PCKh@0.5", "PCKh@0.2", "seconds a step"];

    fn method(&self) -> &str {
        &self.method
    }

    fn values(&self) -> Vec<f64> {
        vec![self.distance, self.pckh_half, self.pckh_fifth, self.seconds_a_step]
    }
}
