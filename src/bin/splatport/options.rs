//! Arguments that several commands share.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};
use splatport::{Image, Profile, SplatRecipe, kernel::KernelOptions};

/// How to fit.
#[derive(Args, Clone)]
pub struct FitArgs {
    /// The set of options: recommended, paper or reference.
    #[arg(long, default_value = "recommended", value_parser = profile)]
    pub profile: Profile,
    /// Steps of the fit at most; the profile's if not given.
    #[arg(long)]
    steps: Option<u32>,
}

impl FitArgs {
    /// The options as a value.
    pub fn recipe(&self) -> SplatRecipe {
        let recipe = splatport::recipe().profile(self.profile);
        let solver = recipe.options().solver;
        recipe.solver(self.steps.map_or(solver, |steps| solver.at_most(steps)))
    }
}

/// How to build kernels, beside their stride.
#[derive(Args, Clone)]
pub struct KernelArgs {
    /// Largest L1 error of a row for what is not stored, 0 to 1; the profile's if not given.
    #[arg(long)]
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

fn profile(name: &str) -> Result<Profile, String> {
    Profile::named(name).ok_or_else(|| "use recommended, paper or reference".to_owned())
}

/// A photo's size, in words.
pub fn size(image: &Image) -> String {
    format!("{} x {} px, {}", image.width(), image.height(), if image.channels() == 1 { "grey" } else { "color" })
}

/// A path that ends in one of the `endings`, so that a long run does not end with a name that cannot be written.
pub fn ending(endings: &'static [&'static str]) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path| {
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        match ending.as_ref().and_then(|ending| ending.to_str()).is_some_and(|ending| endings.contains(&ending)) {
            true => Ok(path),
            false => Err(format!("the name must end in .{}", endings.join(" or ."))),
        }
    })
}

/// The endings of tables.
pub const TABLES: &[&str] = &["npz", "safetensors"];
