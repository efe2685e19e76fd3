//! Arguments that several commands share.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::error::ErrorKind;
use serde::{Deserialize, de::IgnoredAny};
use splatport::{Annotations, Image, Profile, SplatRecipe, kernel::KernelOptions};

use crate::folder::has_ending;

/// How to fit.
#[derive(Args, Clone)]
pub struct FitArgs {
    /// The set of options: recommended, which it is if not given, paper or reference.
    #[arg(long, value_parser = profile)]
    profile: Option<Profile>,
    /// Steps of the fit at most; the profile's if not given.
    #[arg(long)]
    steps: Option<u32>,
}

impl FitArgs {
    /// Whether anything was asked for.
    pub fn asked(&self) -> bool {
        self.profile.is_some() || self.steps.is_some()
    }

    /// The profile that was asked for, else the default.
    pub fn profile(&self) -> Profile {
        self.profile.unwrap_or_default()
    }

    /// The options as a value.
    pub fn recipe(&self) -> SplatRecipe {
        let recipe = splatport::recipe().profile(self.profile());
        let solver = recipe.options().solver;
        recipe.solver(self.steps.map_or(solver, |steps| solver.at_most(steps)))
    }
}

/// How to build kernels, beside their stride.
#[derive(Args, Clone)]
pub struct KernelArgs {
    /// Largest L1 error of a row for what is not stored, 0 to 1; the profile's if not given.
    #[arg(long, value_parser = tau)]
    tau: Option<f64>,
}

impl KernelArgs {
    /// The options of a profile, with what was asked for.
    pub fn options(&self, profile: Profile) -> KernelOptions {
        let mut options = profile.kernel();
        options.tau = self.tau.unwrap_or(options.tau);
        options
    }
}

/// No option but this one can be wrong: the others are those of a profile.
fn tau(text: &str) -> Result<f64, String> {
    let tau = text.parse().map_err(|_| "not a number".to_owned())?;
    let options = KernelOptions { tau, ..Profile::default().kernel() };
    options.check().map(|()| tau).map_err(|error| error.to_string())
}

fn profile(name: &str) -> Result<Profile, String> {
    Profile::named(name).ok_or_else(|| "use recommended, paper or reference".to_owned())
}

/// Arguments that do not go together, in a way that only their command can see.
pub fn wrong_usage(told: &str) -> clap::Error {
    clap::Error::raw(ErrorKind::ArgumentConflict, format!("{told}\n"))
}

/// The points of a photo. What holds those of many is told where it belongs.
pub fn points(path: &Path) -> Result<Annotations> {
    #[derive(Deserialize)]
    struct Coco {
        #[serde(rename = "images")]
        _images: IgnoredAny,
        #[serde(rename = "annotations")]
        _annotations: IgnoredAny,
    }
    let coco = || {
        let bytes = std::fs::read(path).ok().filter(|_| has_ending(path, &["json"]));
        bytes.is_some_and(|bytes| serde_json::from_slice::<Coco>(&bytes).is_ok())
    };
    Annotations::open(path).map_err(|error| match coco() {
        true => anyhow!("{} has the points of many photos: `splatport manifest --coco` takes it", path.display()),
        false => error.into(),
    })
}

/// A photo's size, in words.
pub fn size(image: &Image) -> String {
    format!("{} x {} px, {}", image.width(), image.height(), if image.channels() == 1 { "grey" } else { "color" })
}

/// A path that ends in one of the `endings`, so that a long run does not end with a name that cannot be written.
pub fn ending(endings: &'static [&'static str]) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path| match has_ending(&path, endings) {
        true => Ok(path),
        false => Err(format!("the name must end in .{}", endings.join(" or ."))),
    })
}

/// The endings of tables.
pub const TABLES: &[&str] = &["npz", "safetensors"];
