//! Points as data sets store them, synthetic pictures, folders of data sets, augmentation.

mod points;
mod synthetic;
