//! The host side (images, annotations, tables, pictures), the device operation by operation, and the stages made of them.

mod annotations;
mod atomic;
mod compile_fail;
mod damage;
mod device;
mod draw;
mod errors;
mod files;
mod image;
mod stages;
mod tables;
