//! The command line, run as a program.

mod dataset;
mod disk;
mod folders;
mod kernels;
mod manifest;
mod memory;
mod one_photo;
mod report;
mod scene;
mod terminal;
mod usage;
