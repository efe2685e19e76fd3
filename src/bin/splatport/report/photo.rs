//! What a page shows of one photo.

use anyhow::Result;
use serde::Serialize;
use splatport::{CsrTable, Grid, Image, Precision, Runtime, Splat, splat::Report};

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
        cells: Cells,
    ) -> Result<Self> {
        let views = [
            ("Gaussians, outlined at 1.5 standard deviations", View::Ellipses),
            ("The photo rebuilt from them", View::Reconstruction),
            ("Photo minus reconstruction: grey where they agree", View::Residual),
            ("Pixels by the point that they belong to; white is background", View::Ownership),
        ];
        let pictures = views.into_iter().map(|(legend, view)| Ok((legend, picture::address(&view.of(photo, splat)?)?)));
        let table = splat.table()?;
        let scales: Vec<f64> = table.scales.as_flattened().to_vec();
        let aspects: Vec<f64> = table.scales.iter().map(|&[a, b]| a.max(b) / a.min(b)).collect();
        let losses: Vec<f64> = fit.losses.clone();
        let plots = [
            ("Standard deviations, px", plot::histogram(&scales)?),
            ("Aspects: longer by shorter standard deviation", plot::histogram(&aspects)?),
            ("Reconstruction error by step", plot::curve(&losses)?),
        ];
        Ok(Self {
            id: id.to_owned(),
            error: None,
            rows: rows(photo, splat, fit, cells)?,
            pictures: pictures.collect::<Result<_>>()?,
            plots: plots.into_iter().filter(|(_, drawing)| !drawing.is_empty()).collect(),
            points: splat.annotations(),
            loss: fit.loss(),
            aspect: aspects.into_iter().fold(0.0, f64::max),
        })
    }
}

/// The kernel that a page tells of.
pub enum Cells {
    /// The one of the results.
    Stored(Box<CsrTable>),
    /// One with cells of this side, px, where there is none.
    Built(u32),
}

/// What is known of the photo, its fit and its kernel.
fn rows<R: Runtime, P: Precision>(
    photo: &Image,
    splat: &Splat<R, P>,
    fit: &Report,
    cells: Cells,
) -> Result<Vec<(&'static str, String)>> {
    let (kernel, made) = match cells {
        Cells::Stored(kernel) => (*kernel, "stored"),
        Cells::Built(stride) => (splat.kernel(Grid::strided(photo, stride)).build()?.table()?, "built for this page"),
    };
    kernel.check_kernel()?;
    let CsrTable { grid_width, grid_height, stride, tau, worst_dropped, bound, .. } = &kernel;
    let weights = kernel.indices.iter().filter(|&&column| (column as usize) < kernel.cols - 1).count();
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
        ("Kernel", format!("{grid_width} x {grid_height} cells of {stride} px, {weights} weights, {made}")),
        ("Certificate", format!("dropping moves a row by at most {tau}")),
        ("Dropped mass", format!("{worst_dropped:.2e} at worst, proven {bound:.2e}")),
        ("Device", format!("{}, {}", splat.device().name(), P::NAME)),
    ]);
    Ok(rows)
}
