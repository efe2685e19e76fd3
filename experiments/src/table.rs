//! The table of an experiment.

use std::{fmt::Write, path::Path};

use crate::run::Outcome;

/// Writes all outcomes as CSV, and gives mean and standard deviation over the seeds of each method as text.
pub fn write(outcomes: &[Outcome], path: &Path) -> anyhow::Result<String> {
    let mut rows = csv::Writer::from_path(path)?;
    outcomes.iter().try_for_each(|outcome| rows.serialize(outcome))?;
    rows.flush()?;

    let mut text = String::from("| method | MAE | RMSE | F1 | seconds a step |\n|---|---:|---:|---:|---:|\n");
    for of_method in outcomes.chunk_by(|a, b| a.method == b.method) {
        let cell = |value: fn(&Outcome) -> f64| {
            let (mean, deviation) = spread(&of_method.iter().map(value).collect::<Vec<_>>());
            format!("{mean:.3} ± {deviation:.3}")
        };
        let cells = [cell(|o| o.mae), cell(|o| o.rmse), cell(|o| o.f1), cell(|o| o.seconds_a_step)];
        writeln!(text, "| {} | {} |", of_method[0].method, cells.join(" | "))?;
    }
    Ok(text)
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
