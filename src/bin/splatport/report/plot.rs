//! Plots inside a page, as SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// Width and height, px.
const SIZE: (u32, u32) = (400, 240);
/// Bars of a histogram.
const BARS: usize = 24;
const COLOR: RGBColor = RGBColor(43, 108, 176);

/// How often values fall into equal parts of their range; empty for no values.
pub fn histogram(values: &[f64]) -> Result<String> {
    let (Some(least), Some(most)) = (values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max))
    else {
        return Ok(String::new());
    };
    // Equal values get a bar of some width too.
    let width = ((most - least) / BARS as f64).max(1e-3 * most.abs()).max(f64::MIN_POSITIVE);
    let mut counts = [0_u32; BARS];
    for value in values {
        counts[(((value - least) / width) as usize).min(BARS - 1)] += 1;
    }
    let highest = counts.iter().copied().max().unwrap_or(0);
    let bars = counts.iter().enumerate().map(|(bar, &count)| {
        let left = least + bar as f64 * width;
        Rectangle::new([(left, 0.0), (left + 0.9 * width, f64::from(count))], COLOR.filled())
    });
    draw((least, least + BARS as f64 * width), (0.0, 1.05 * f64::from(highest)), |chart| {
        chart.draw_series(bars).map(|_| ())
    })
}

/// Values by their index; empty for fewer than two.
pub fn curve(values: &[f64]) -> Result<String> {
    let Some(most) = values.iter().copied().reduce(f64::max).filter(|_| values.len() > 1) else {
        return Ok(String::new());
    };
    let points = values.iter().enumerate().map(|(step, &value)| (step as f64, value));
    draw((0.0, (values.len() - 1) as f64), (0.0, (1.05 * most).max(f64::MIN_POSITIVE)), |chart| {
        chart.draw_series(LineSeries::new(points, COLOR.stroke_width(2))).map(|_| ())
    })
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;
type Drawn = std::result::Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A plot over ranges of x and y.
fn draw(x: (f64, f64), y: (f64, f64), series: impl FnOnce(&mut Chart<'_, '_>) -> Drawn) -> Result<String> {
    let mut svg = String::new();
    // The backend's errors are not Send.
    let failed = |error: DrawingAreaErrorKind<std::io::Error>| anyhow!("a plot failed: {error}");
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut builder = ChartBuilder::on(&area);
        builder.margin(8).margin_right(16).x_label_area_size(28).y_label_area_size(52);
        let mut chart = builder.build_cartesian_2d(x.0..x.1, y.0..y.1).map_err(failed)?;
        // In single precision a tick has no rounding behind its last digit.
        let number = |value: &f64| match *value as f32 {
            small if small != 0.0 && small.abs() < 0.01 => format!("{small:e}"),
            other => other.to_string(),
        };
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().light_line_style(TRANSPARENT).bold_line_style(RGBColor(228, 228, 228));
        mesh.x_labels(6).y_labels(5).x_label_formatter(&number).y_label_formatter(&number).draw().map_err(failed)?;
        series(&mut chart).map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}
