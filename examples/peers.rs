//! Results of the losses that solve a transport problem, for `tests/peers/check_losses.py`, which compares them with
//! those of other libraries.
//!
//! `cargo run --example peers [FILE]` writes JSON, by default `target/peers.json`.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};
use splatport::{
    Annotations, Device, Grid, HostReal, Precision, Runtime,
    losses::{
        Coordinates, DmCount, DmProfile, Epsilon, Generalized, GlProfile, Ground, L2, Marginals, OtEntropy,
        ReferenceMeasure, Scales, Sinkhorn, Solver, TransportLoss, Unbalanced, UotForm,
    },
};

const POINTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/trees_osbs_029_points.csv");

fn main() -> Result<()> {
    let file = std::env::args().nth(1).map_or_else(|| PathBuf::from("target/peers.json"), PathBuf::from);
    #[cfg(feature = "cuda")]
    let device = splatport::Cuda::device(0)?;
    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    let device = splatport::Wgpu::best()?;
    std::fs::write(&file, serde_json::to_string(&numbers(&device)?)?)?;
    println!("wrote {}", file.display());
    Ok(())
}

fn numbers<R: Runtime, P: Precision>(device: &Device<R, P>) -> Result<Value> {
    let points = Annotations::from_csv(POINTS)?;
    let grid = Grid::over(400, 400, 20);
    let scenes = [(grid, &points)];
    // Gaussians 10 px off their trees, and nothing in every third cell.
    let moved = Annotations::new(points.points().iter().map(|[x, y]| [x + 8.0, y + 6.0]).collect::<Vec<_>>())?;
    let painted = wide(&L2::new(Scales::Fixed(16.0)).on(device, &[(grid, &moved)])?.target().read()?);
    let density: Vec<f64> = painted.iter().enumerate().map(|(i, &z)| if i % 3 == 0 { 0.0 } else { z }).collect();
    let density = device.upload_f64(&density);

    // An epsilon at which every library reaches the optimum, px².
    let epsilon = Epsilon::Absolute(1000.0);
    let balanced = Sinkhorn::default().epsilon(epsilon).rounds(5000).tolerance(1e-5).on(device, &scenes)?;
    let (unit, rho) = (Coordinates::LongerSide, 0.5);
    let relaxed = Sinkhorn::default().marginals(Marginals::Relaxed { rho }).ground(Ground::Squared).coordinates(unit);
    let relaxed = relaxed.epsilon(Epsilon::Absolute(0.01)).tolerance(1e-5).on(device, &scenes)?;
    let unbalanced = |form| Unbalanced::default().form(form).rho(rho).tolerance(1e-5).on(device, &scenes);
    let dm = |profile| DmCount::new(profile).epsilon(epsilon);
    let exact = |entropy| {
        dm(DmProfile::Exact { entropy, solver: Solver::Newton }).rounds(5000).tolerance(1e-5).on(device, &scenes)
    };
    let losses: [(&str, TransportLoss<R, P>); 8] = [
        ("sinkhorn balanced", balanced),
        ("sinkhorn relaxed", relaxed),
        ("unbalanced semi-dual", unbalanced(UotForm::SemiDual)?),
        ("unbalanced product", unbalanced(UotForm::SinkhornKl(ReferenceMeasure::Product))?),
        ("dm-count exact", exact(OtEntropy::RelativeKl)?),
        ("dm-count exact shannon", exact(OtEntropy::Shannon)?),
        ("dm-count reference", DmCount::new(DmProfile::Reference).on(device, &scenes)?),
        ("generalized reference", Generalized::new(GlProfile::Reference).on(device, &scenes)?),
    ];
    let mut results = serde_json::Map::new();
    for (name, loss) in &losses {
        let step = loss.evaluate(&density)?;
        let (cells, annotations) = step.potentials();
        let result = json!({
            "value": step.value()?,
            "dual": step.dual_values()?[0],
            "cost": step.costs()?[0],
            "residual": step.reports()[0].residual,
            "rounds": step.reports()[0].rounds,
            "gradient": wide(&step.gradient().read()?),
            "received": wide(&step.transported().read()?),
            "cells": wide(&cells.read()?),
            "annotations": wide(&annotations.read()?),
        });
        results.insert((*name).to_owned(), result);
    }
    Ok(json!({
        "stride": grid.stride(),
        "columns": grid.columns(),
        "rows": grid.rows(),
        "points": points.points(),
        "density": wide(&density.read()?),
        "losses": results,
    }))
}

fn wide<F: HostReal + Copy>(values: &[F]) -> Vec<f64> {
    values.iter().map(|value| value.cast_to_f64()).collect()
}
