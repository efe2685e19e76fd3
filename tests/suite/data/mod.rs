//! Points as data sets store them, synthetic pictures, folders of data sets, augmentation.

mod folders;
mod points;
mod synthetic;
mod views;
