//! The table and the plot of an experiment.

use std::{fmt::Write, io::Write as _, path::Path};

use plotters::prelude::*;
use serde::Serialize;
use splatport::write_whole;

/// What a table shows of a run.
pub trait Row: Serialize {
    /// Names of the numbers; the first two are plotted.
    const COLUMNS: &'static [&'static str];

    fn method(&self) -> &str;

    /// One number a column.
    fn values(&self) -> Vec<f64>;
}

/// Writes all rows as `<name>.csv` and draws them as `<name>.svg`; gives mean and standard deviation over the seeds of each method as
/// text.
pub fn write<T: Row>(rows: &[T], folder: &Path, name: &str) -> anyhow::Result<String> {
    write_whole(&folder.join(format!("{name}.csv")), |file| {
        let mut table = csv::Writer::from_writer(file);
        rows.iter().try_for_each(|row| table.serialize(row))?;
        Ok(table.flush()?)
    })?;
    let plot = plot(rows)?;
    write_whole(&folder.join(format!("{name}.svg")), |file| Ok(file.write_all(plot.as_bytes())?))?;

    let rule = "---:|".repeat(T::COLUMNS.len());
    let mut text = format!("| method | {} |\n|---|{rule}\n", T::COLUMNS.join(" | "));
    for of_method in rows.chunk_by(|a, b| a.method() == b.method()) {
        let values: Vec<_> = of_method.iter().map(T::values).collect();
        let cell = |column| {
            let (mean, deviation) = spread(&values.iter().map(|row| row[column]).collect::<Vec<_>>());
            format!("{mean:.3} ± {deviation:.3}")
        };
        let cells: Vec<_> = (0..T::COLUMNS.len()).map(cell).collect();
        writeln!(text, "| {} | {} |", of_method[0].method(), cells.join(" | "))?;
    }
    Ok(text)
}

/// The first column (across) and the second (up) of every run, one color a method.
fn plot<T: Row>(rows: &[T]) -> anyhow::Result<String> {
    let mut svg = String::new();
    let largest = rows.iter().map(|row| row.values()[0]).fold(0.0, f64::max).max(1e-3);
    let root = SVGBackend::with_string(&mut svg, (720, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..1.1 * largest, 0.0..1.0)?;
    chart.configure_mesh().x_desc(T::COLUMNS[0]).y_desc(T::COLUMNS[1]).draw()?;
    for (index, of_method) in rows.chunk_by(|a, b| a.method() == b.method()).enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let dots = of_method.iter().map(|row| row.values());
        let dots = dots.map(|values| Circle::new((values[0], values[1]), 5, color.filled()));
        let label = chart.draw_series(dots)?.label(of_method[0].method());
        label.legend(move |at| Circle::new((at.0 + 8, at.1), 5, color.filled()));
    }
    let labels = &mut chart.configure_series_labels();
    labels.background_style(WHITE.mix(0.8)).border_style(BLACK).position(SeriesLabelPosition::UpperRight).draw()?;
    root.present()?;
    drop(chart);
    drop(root);
    Ok(svg)
}

/// Mean and sample standard deviation, 0 of a single value.
fn spread(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    #[test]
    fn mean_and_sample_deviation() {
        assert_eq!(super::spread(&[1.0, 2.0, 3.0]), (2.0, 1.0));
        assert_eq!(super::spread(&[4.0]), (4.0, 0.0));
    }
}
