//! The host side (images, annotations, tables, pictures), the device operation by operation, and the stages made of them.

mod annotations;
mod atomic;
#[path = "../common/mod.rs"]
mod common;
// What does not compile does not depend on the shader compiler; once is enough.
#[cfg(feature = "vulkan")]
mod compile_fail;
mod damage;
mod data;
mod device;
mod draw;
mod errors;
mod files;
mod formats;
mod image;
mod losses;
mod mutations;
mod params;
mod readers;
mod safetensors;
mod stages;
mod tables;
