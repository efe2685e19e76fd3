//! Points as data sets store them, synthetic pictures, folders of data sets, augmentation.

mod folders;
pub mod points;
mod synthetic;
mod views;
