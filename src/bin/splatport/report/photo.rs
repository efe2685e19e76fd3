//! What a page shows of one photo.

use anyhow::Result;
use serde::Serialize;
use splatport::{Grid, Image, Precision, Runtime, Splat, splat::Report};

use super::{picture, plot};
use crate::options::size;
use crate::pictures::View;

/// Pictures, plots and numbers of one photo, ready for the page.
#[derive(Default, Serialize)]
pub struct Photo {
    pub id: String,
    /// Why there is nothing else.
    pub error: Option<String>,
    /// What, and the text.
    rows: Vec<(&'static str, String)>,
    /// The legend, and the picture as a data address.
    pictures: Vec<(&'static str, String)>,
    /// The legend, and the drawing as SVG.
    plots: Vec<(&'static str, String)>,
    points: usize,
    loss: Option<f64>,
    aspect: f64,
}

impl Photo {
    /// A photo without results.
    pub fn missing(id: &str, error: String) -> Self {
        Self { id: id.to_owned(), error: Some(error), ..Self::default() }
    }

    /// A splat that knows its photo.
    pub fn of<R: Runtime, P: Precision>(
        id: &str,
        photo: &Image,
        splat: &Splat<R, P>,
        fit: &Report,
        stride: u32,
    ) -> Result<Self> {
        let views = [
            ("Gaussians, outlined at 1.5 standard deviations", View::Ellipses),
            ("The photo rebuilt from them", View::Reconstruction),
            ("Photo minus reconstruction: grey where they agree", View::Residual),
            ("Pixels by the point that they belong to; white is background", View::Ownership),
        ];
        let pictures = views.into_iter().map(|(legend, view)| Ok((legend, picture::address(&view.of(photo, splat)?)?)));
        let table = splat.table()?;
        let scales: Vec<f64> = table.scales.as_flattened().iter().map(|&scale| scale.into()).collect();
        let aspects: Vec<f64> = table.scales.iter().map(|&[a, b]| f64::from(a.max(b) / a.min(b))).collect();
        let losses: Vec<f64> = fit.losses.clone();
        let plots = [
            ("Standard deviations, px", plot::histogram(&scales)?),
            ("Aspects: longer by shorter standard deviation", plot::histogram(&aspects)?),
            ("Reconstruction error by step", plot::curve(&losses)?),
        ];
        Ok(Self {
            id: id.to_owned(),
            error: None,
            rows: rows(photo, splat, fit, stride)?,
            pictures: pictures.collect::<Result<_>>()?,
            plots: plots.into_iter().filter(|(_, drawing)| !drawing.is_empty()).collect(),
            points: splat.annotations(),
            loss: fit.loss(),
            aspect: aspects.into_iter().fold(0.0, f64::max),
        })
    }
}

/// What is known of the photo, its fit and its kernel.
fn rows<R: Runtime, P: Precision>(
    photo: &Image,
    splat: &Splat<R, P>,
    fit: &Report,
    stride: u32,
) -> Result<Vec<(&'static str, String)>> {
    let kernel = splat.kernel(Grid::strided(photo, stride)).build()?;
    let (grid, certificate) = (kernel.grid(), kernel.certificate());
    let mut rows = vec![
        ("Photo", size(photo)),
        ("Points", splat.annotations().to_string()),
        ("Profile", splat.profile().name().to_owned()),
    ];
    if let (Some(first), Some(last)) = (fit.losses.first(), fit.losses.last()) {
        rows.push(("Fit", format!("error {first:.6} to {last:.6} in {} steps", fit.steps)));
        let wrong = format!("{} outside the photo, {} at the place of an earlier one", fit.outside, fit.duplicates);
        rows.push(("Doubtful points", wrong));
    }
    rows.extend([
        (
            "Kernel",
            format!("{} x {} cells of {stride} px, {} weights", grid.columns(), grid.rows(), certificate.entries),
        ),
        ("Certificate", format!("dropping moves a row by at most {}", certificate.tau)),
        ("Dropped mass", format!("{:.2e} at worst, proven {:.2e}", certificate.worst_dropped, certificate.bound)),
        ("Device", format!("{}, {}", splat.device().name(), P::NAME)),
    ]);
    Ok(rows)
}
