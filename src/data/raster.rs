//! Windows of photos.

use crate::{Error, Image, Pixels, Result};

impl Image {
    /// The part of `[width, height]` px whose first pixel is at `[left, top]`.
    pub(crate) fn window(&self, corner: [u32; 2], size: [u32; 2]) -> Result<Self> {
        for (axis, side) in [self.width(), self.height()].into_iter().enumerate() {
            let (value, max) = (f64::from(corner[axis]) + f64::from(size[axis]), f64::from(side));
            if value > max {
                return Err(Error::OutOfRange { what: "end of the window, axis", index: axis, value, min: 0.0, max });
            }
        }
        let channels = self.channels();
        let row = self.width() as usize * usize::from(channels);
        let start = corner[0] as usize * usize::from(channels);
        let length = size[0] as usize * usize::from(channels);
        let rows = (corner[1] as usize..).take(size[1] as usize).map(|y| y * row + start..y * row + start + length);
        match self.pixels() {
            Pixels::U8(values) => {
                let part: Vec<u8> = rows.flat_map(|row| &values[row]).copied().collect();
                Self::from_u8(size[0], size[1], channels, part)
            }
            Pixels::F32(values) => {
                let part: Vec<f32> = rows.flat_map(|row| &values[row]).copied().collect();
                Self::from_f32(size[0], size[1], channels, &part)
            }
        }
    }
}
