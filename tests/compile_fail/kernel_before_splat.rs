//! A kernel is built on a fitted splat, not on the recipe of one that has its photo.
use splatport::{Annotations, Grid, Image, Runtime, Single, Splat};

fn kernel<R: Runtime>(image: &Image, points: &Annotations) {
    Splat::<R, Single>::of(image, points).kernel(Grid::strided(image, 8));
}

fn main() {}
