//! The table and the plot of an experiment.

use std::{fmt::Write, path::Path};

use serde::Serialize;

use crate::{
    kept,
    plot::{self, Dot, Series},
};

/// What a table shows of a run.
pub trait Row: Serialize {
    /// Names of the numbers; the first two are plotted.
    const COLUMNS: &'static [&'static str];

    fn method(&self) -> &str;

    /// One number a column.
    fn values(&self) -> Vec<f64>;
}

/// Writes all rows as `<name>.csv` and draws them as `<name>.svg`; gives mean and standard deviation over the seeds of
/// each method as text.
pub fn write<T: Row>(rows: &[T], folder: &Path, name: &str) -> anyhow::Result<String> {
    kept::write(&folder.join(format!("{name}.csv")), rows)?;
    kept::write_text(&folder.join(format!("{name}.svg")), &plot(rows)?)?;

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
    let of_method = |rows: &[T]| {
        let values = rows.iter().map(T::values);
        let dots = values.map(|values| Dot { at: (values[0], values[1]), deviation: 0.0 }).collect();
        Series { name: rows[0].method().to_owned(), dots, is_joined: false }
    };
    let series: Vec<_> = rows.chunk_by(|a, b| a.method() == b.method()).map(of_method).collect();
    let largest = rows.iter().map(|row| row.values()[0]).fold(0.0, f64::max).max(1e-3);
    plot::svg(&series, [T::COLUMNS[0], T::COLUMNS[1]], 0.0..1.1 * largest)
}

/// Mean and sample standard deviation, 0 of a single value.
pub fn spread(values: &[f64]) -> (f64, f64) {
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
