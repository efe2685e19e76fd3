//! The losses that are compared, by name.

use splatport::{
    Device, Discrepancy, Grid, Kernel, Profile, Single, Splat,
    burn::{CubeRuntime, networks::STRIDE},
    data::{Drawn, Sample},
    kernel::{Background, CutOff, KernelOptions, ScaleClip},
    losses::{Bayesian, DensityLoss, DmCount, DmProfile, Generalized, GlProfile, L2, Scales, Unbalanced},
    splat::{BackgroundImage, CropTarget, Shape, SplatOptions},
};

use crate::task::Task;

/// A loss with a name.
#[derive(Debug, Clone)]
pub struct Method {
    pub name: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Plan(Plan),
    L2(Scales),
    Bayesian(Discrepancy),
    /// With its weight of transport.
    DmCount(DmProfile, f64),
    Unbalanced,
    Generalized,
}

/// A kernel, and what is done with the mass that it transports.
#[derive(Debug, Clone, Copy)]
struct Plan {
    gaussians: Gaussians,
    kernel: KernelOptions,
    discrepancy: Discrepancy,
    /// Factor of the background's discrepancy.
    background: f64,
}

#[derive(Debug, Clone, Copy)]
enum Gaussians {
    Fitted(SplatOptions),
    /// Round ones of 8 px: the paper's heuristic plan.
    Round,
    /// Of the objects' true scales.
    True,
}

const SIGMA: f64 = 8.0;

/// Bayesian loss's published constant, for a photo whose shorter side is 512 px: background and annotation weigh the
/// same at `sqrt(512)` px from it.
const BAYESIAN: Background = Background::Reciprocal { kappa: 1.0, side: Some(512.0) };

/// The divergence of Poisson counts: why not the paper's L1 says EXPERIMENTS.md.
pub const POISSON: Discrepancy = Discrepancy::PoissonKl { least: 0.01 };

/// DM-Count's published weight of transport.
const TRANSPORT: f64 = 0.1;
/// And of total variation.
const VARIATION: f64 = 0.01;

/// The method by a profile, with the divergence of Poisson counts.
fn of_profile(profile: Profile) -> Plan {
    let (gaussians, kernel) = (Gaussians::Fitted(profile.splat()), profile.kernel());
    Plan { gaussians, kernel, discrepancy: POISSON, background: 1.0 }
}

fn gst() -> Plan {
    of_profile(Profile::Recommended)
}

fn hard(plan: Plan, cut_off: f64) -> Plan {
    Plan { kernel: KernelOptions { background: Background::Hard { cut_off }, ..plan.kernel }, ..plan }
}

fn without_background(plan: Plan) -> Plan {
    Plan { kernel: KernelOptions { background: Background::None, ..plan.kernel }, ..plan }
}

/// An experiment: its methods. Those that compare transported mass with targets stand here with L1, as published, and
/// with the divergence of Poisson counts, so that neither the plan nor the discrepancy gets the credit of the other.
pub fn losses() -> Vec<Method> {
    let heuristic = Plan { gaussians: Gaussians::Round, ..without_background(gst()) };
    let (paper, reference) = (of_profile(Profile::Paper), of_profile(Profile::Reference));
    let exact = DmProfile::default();
    let mut methods = vec![
        Method::new("l2", Kind::L2(Scales::Fixed(SIGMA))),
        Method::new("bayesian", Kind::Bayesian(Discrepancy::L1)),
        Method::new("bayesian-poisson", Kind::Bayesian(POISSON)),
    ];
    for (plan, with_l1, with_poisson) in [
        (heuristic, "heuristic", "round-without-background"),
        (paper, "paper", "paper-poisson"),
        (reference, "reference", "reference-poisson"),
        (gst(), "gst-l1", "gst"),
    ] {
        methods.push(Method::plan(with_l1, Plan { discrepancy: Discrepancy::L1, ..plan }));
        methods.push(Method::plan(with_poisson, plan));
    }
    methods.extend([
        Method::new("dm-count", Kind::DmCount(exact, TRANSPORT)),
        Method::new("dm-count-light", Kind::DmCount(exact, TRANSPORT / 10.0)),
        Method::new("dm-count-reference", Kind::DmCount(DmProfile::Reference, TRANSPORT)),
        Method::new("unbalanced", Kind::Unbalanced),
        Method::new("generalized", Kind::Generalized),
    ]);
    methods
}

/// What the parts of the plan are worth.
pub fn plans() -> Vec<Method> {
    let round = Plan { gaussians: Gaussians::Round, ..gst() };
    let truth = Plan { gaussians: Gaussians::True, ..gst() };
    let mask = SplatOptions { background_image: BackgroundImage::KnnMask, ..Profile::Recommended.splat() };
    vec![
        Method::plan("round-without-background", without_background(round)),
        Method::plan("round", round),
        Method::plan("fitted-without-background", without_background(gst())),
        Method::plan("gst", gst()),
        Method::plan("gst-authors-mask", Plan { gaussians: Gaussians::Fitted(mask), ..gst() }),
        Method::plan("true-without-background", without_background(truth)),
        Method::plan("true", hard(truth, 2.0)),
    ]
}

/// How what arrives is compared with what should.
pub fn discrepancies() -> Vec<Method> {
    let huber = Discrepancy::Huber { width: 1.0 };
    let mut methods = Vec::new();
    for (name, discrepancy) in [("l1", Discrepancy::L1), ("l2", Discrepancy::L2), ("huber", huber), ("kl", POISSON)] {
        for (weight, background) in [("", 1.0), ("-light-background", 0.1)] {
            let name = if (name, weight) == ("kl", "") { "gst".into() } else { format!("gst-{name}{weight}") };
            methods.push(Method::plan(&name, Plan { discrepancy, background, ..gst() }));
        }
    }
    // Softness apart from distance: the paper's rule is even at 2.1 standard deviations.
    let soft = |cut_off| Background::Soft { cut_off, rule: CutOff::Crossover };
    for (name, background) in [
        ("hard-2.1", Background::Hard { cut_off: 2.1 }),
        ("hard-3", Background::Hard { cut_off: 3.0 }),
        ("soft-1.5", soft(1.5)),
        ("soft-2.1", soft(2.1)),
    ] {
        let kernel = KernelOptions { background, ..gst().kernel };
        methods.push(Method::plan(&format!("gst-l1-{name}"), Plan { kernel, discrepancy: Discrepancy::L1, ..gst() }));
    }
    methods
}

/// Cut-off distances with and without the limit of aspects.
pub fn cut_offs() -> Vec<Method> {
    let mut methods = Vec::new();
    for (limit, shape) in [
        ("", Profile::Recommended.splat().shape),
        ("-no-limit", Shape { weight: 0.0, limit: 1e3, ..Profile::Recommended.splat().shape }),
    ] {
        let gaussians = Gaussians::Fitted(SplatOptions { shape, ..Profile::Recommended.splat() });
        for cut_off in [1.5, 2.4, 3.0, 3.6] {
            // The paper's rule is even at `cut_off / sqrt(2)`.
            let background = Background::Soft { cut_off, rule: CutOff::Exponent };
            let kernel = KernelOptions { background, scale_clip: ScaleClip::Coverage, ..gst().kernel };
            methods.push(Method::plan(&format!("soft-{cut_off}{limit}"), Plan { gaussians, kernel, ..gst() }));
        }
        for cut_off in [1.25, 1.5, 2.0] {
            let name = if cut_off == 1.5 && limit.is_empty() { "gst".into() } else { format!("hard-{cut_off}{limit}") };
            methods.push(Method::plan(&name, hard(Plan { gaussians, ..gst() }, cut_off)));
        }
    }
    methods
}

impl Method {
    fn new(name: &str, kind: Kind) -> Self {
        Self { name: name.into(), kind }
    }

    fn plan(name: &str, plan: Plan) -> Self {
        Self::new(name, Kind::Plan(plan))
    }

    /// The same with so many steps of a fit at most.
    pub fn fitted_in(mut self, steps: u32) -> Self {
        if let Kind::Plan(Plan { gaussians: Gaussians::Fitted(options), .. }) = &mut self.kind {
            options.solver = options.solver.at_most(steps);
        }
        self
    }

    /// What is done once.
    pub fn prepare<R: CubeRuntime>(&self, device: &Device<R>, task: &Task) -> anyhow::Result<Prepared<R>> {
        let splat = |sample: &Sample, gaussians| -> anyhow::Result<_> {
            let size = [sample.image.width(), sample.image.height()];
            Ok(match gaussians {
                Gaussians::Fitted(options) => {
                    Splat::of(&sample.image, &sample.annotations).with_options(options).fit(device)?
                }
                Gaussians::Round => Splat::round(device, &sample.annotations, size, SIGMA)?,
                Gaussians::True => {
                    let table = sample.true_gaussians().ok_or_else(|| anyhow::anyhow!("true scales are not known"))?;
                    Splat::from_table(device, &table)?
                }
            })
        };
        let splats = match self.kind {
            Kind::Plan(Plan { gaussians, .. }) => {
                task.train.iter().map(|sample| splat(sample, gaussians)).collect::<anyhow::Result<_>>()?
            }
            _ => Vec::new(),
        };
        let grid = Grid::over(task.augmentation.crop, task.augmentation.crop, STRIDE);
        Ok(Prepared { method: self.clone(), device: device.clone(), grid, splats })
    }
}

/// A method on the photos that are learned from.
pub struct Prepared<R: CubeRuntime> {
    pub method: Method,
    device: Device<R>,
    /// Of a crop.
    grid: Grid,
    /// Of the methods that have a plan, one a photo.
    splats: Vec<Splat<R>>,
}

/// A crop of the photo `photo`.
pub struct Shown {
    pub photo: usize,
    pub drawn: Drawn,
    pub sample: Sample,
}

impl<R: CubeRuntime> Prepared<R> {
    /// The loss of these crops.
    pub fn loss(&self, crops: &[Shown]) -> splatport::Result<Box<dyn DensityLoss<R, Single>>> {
        let grid = self.grid;
        let scenes: Vec<_> = crops.iter().map(|crop| (grid, &crop.sample.annotations)).collect();
        let device = &self.device;
        Ok(match &self.method.kind {
            Kind::Plan(plan) => Box::new(self.planned(plan, crops, grid)?),
            Kind::L2(scales) => Box::new(L2::new(scales.clone()).on(device, &scenes)?),
            Kind::Bayesian(discrepancy) => {
                let loss = Bayesian::default().background(BAYESIAN).on(device, &scenes)?;
                Box::new(loss.discrepancy(*discrepancy)?)
            }
            Kind::DmCount(profile, transport) => {
                Box::new(DmCount::new(*profile).weights(*transport, VARIATION).on(device, &scenes)?)
            }
            Kind::Unbalanced => Box::new(Unbalanced::default().on(device, &scenes)?),
            Kind::Generalized => Box::new(Generalized::new(GlProfile::Converged).on(device, &scenes)?),
        })
    }

    fn planned(&self, plan: &Plan, crops: &[Shown], grid: Grid) -> splatport::Result<splatport::Loss<R>> {
        let shown = crops.iter().map(|crop| self.splats[crop.photo].through(&crop.drawn.view(), CropTarget::Unit));
        let shown = shown.collect::<splatport::Result<Vec<_>>>()?;
        let images: Vec<_> = shown.iter().map(|crop| (&crop.splat, grid)).collect();
        let loss = Kernel::of_all(&self.device, &images, plan.kernel)?.loss().discrepancy(plan.discrepancy)?;
        let annotations = shown.iter().map(|crop| crop.splat.annotations()).sum();
        loss.weights(&vec![1.0; annotations], plan.background)
    }
}
