//! The host side: images, annotations, tables and pictures; and the device, operation by operation.

mod annotations;
mod atomic;
mod damage;
mod device;
mod draw;
mod errors;
mod files;
mod image;
#[cfg(feature = "wgpu")]
mod stages;
mod tables;
