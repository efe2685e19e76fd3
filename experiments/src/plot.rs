//! Numbers against numbers, as SVG.

use std::ops::Range;

use plotters::prelude::*;

/// Dots of one color, with a name in the legend.
pub struct Series {
    pub name: String,
    pub dots: Vec<Dot>,
    /// Whether a line goes through them.
    pub is_joined: bool,
}

pub struct Dot {
    pub at: (f64, f64),
    /// Half the length of the bar through it.
    pub deviation: f64,
}

/// All series over `across` and from 0 to 1 up; `names` are the axes'.
pub fn svg(series: &[Series], names: [&str; 2], across: Range<f64>) -> anyhow::Result<String> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (720, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(across, 0.0..1.0)?;
    chart.configure_mesh().x_desc(names[0]).y_desc(names[1]).draw()?;
    for (index, Series { name, dots, is_joined }) in series.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let circles = dots.iter().map(|dot| Circle::new(dot.at, 5, color.filled()));
        let label = chart.draw_series(circles)?.label(name);
        label.legend(move |at| Circle::new((at.0 + 8, at.1), 5, color.filled()));
        let bars = dots.iter().filter(|dot| dot.deviation > 0.0).map(|Dot { at: (x, y), deviation }| {
            PathElement::new(vec![(*x, (y - deviation).max(0.0)), (*x, (y + deviation).min(1.0))], color)
        });
        let line = is_joined.then(|| PathElement::new(dots.iter().map(|dot| dot.at).collect::<Vec<_>>(), color));
        chart.draw_series(bars.chain(line))?;
    }
    let labels = &mut chart.configure_series_labels();
    labels.background_style(WHITE.mix(0.8)).border_style(BLACK).position(SeriesLabelPosition::UpperRight).draw()?;
    root.present()?;
    drop(chart);
    drop(root);
    Ok(svg)
}
