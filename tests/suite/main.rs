//! The host side: images, annotations, tables and pictures.

mod annotations;
mod atomic;
mod damage;
mod draw;
mod errors;
mod files;
mod image;
mod tables;
#[cfg(feature = "wgpu")]
mod stages;
mod compile_fail;
