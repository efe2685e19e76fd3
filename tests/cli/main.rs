//! The command line, run as a program.

mod one_photo;
mod scene;
mod usage;
