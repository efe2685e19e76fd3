//! A splat's parameters on the host.

use splatport_kernels::{Buffer, HostReal, Precision, cubecl::Runtime};

use super::{LEAST_SCALE, REACH, Splat, check_reach, mixture};
use crate::{Error, Profile, Result, error::check_device, io::GaussianTable};

impl<R: Runtime, P: Precision> Splat<R, P> {
    /// Copies the parameters to the host.
    ///
    /// # Errors
    /// [`Error::Device`] when the device failed.
    pub fn table(&self) -> Result<GaussianTable> {
        Ok(self.table_of(&self.gaussians.parameters.read()?))
    }

    /// Copies the parameters of many splats on one device to the host, as each splat's [`table`](Self::table) does, but
    /// waits for the device only once.
    ///
    /// # Errors
    /// [`Error::OtherDevice`] for splats on different devices, [`Error::Device`] when the device failed.
    pub fn tables(splats: &[&Self]) -> Result<Vec<GaussianTable>> {
        if let Some((first, others)) = splats.split_first() {
            others.iter().try_for_each(|splat| check_device("splat", &first.device, splat.device.client()))?;
        }
        let parameters: Vec<_> = splats.iter().map(|splat| &splat.gaussians.parameters).collect();
        let rows = Buffer::read_all(&parameters)?;
        Ok(splats.iter().zip(rows).map(|(splat, rows)| splat.table_of(&rows)).collect())
    }

    fn table_of(&self, rows: &[P::Real]) -> GaussianTable {
        let mut table = GaussianTable {
            channels: self.gaussians.channels as u8,
            free: (self.len() - self.annotations()) as u32,
            shares: self.shares.clone(),
            profile: self.profile.name().to_owned(),
            width: self.size[0],
            height: self.size[1],
            ..GaussianTable::default()
        };
        for row in rows.chunks_exact(self.gaussians.stride()) {
            let value = |k: usize| row[k].cast_to_f64();
            table.means.push([value(0), value(1)]);
            table.scales.push([value(2), value(3)]);
            table.rotations.push(value(4));
            table.opacities.push(value(5));
            table.colors.extend((6..row.len()).map(value));
        }
        table
    }
}

impl GaussianTable {
    /// Checks that the table is a splat, without a device.
    ///
    /// # Errors
    /// As [`Splat::from_table`], except those of a device.
    pub fn check_splat(&self) -> Result<()> {
        self.profile_of_splat().map(|_| ())
    }

    /// Checks that the table is a splat, and returns its profile.
    pub(super) fn profile_of_splat(&self) -> Result<Profile> {
        self.check()?;
        check_reach(self.means.as_flattened())?;
        within("scales", self.scales.as_flattened(), 2, [LEAST_SCALE, REACH])?;
        // What is larger is infinite on most devices.
        let most = f64::from(f32::MAX);
        within("rotations", &self.rotations, 1, [-most, most])?;
        within("colors", &self.colors, self.channels.into(), [-most, most])?;
        within("opacities", &self.opacities, 1, [0.0, 1.0])?;
        if !self.shares.is_empty() {
            mixture::check_complete(&self.shares, self.means.len() - self.free as usize)?;
        }
        Profile::stored(&self.profile)
    }
}

/// Rejects finite values out of range; the index in the error is the row, of `per_row` values.
fn within(what: &'static str, values: &[f64], per_row: usize, [min, max]: [f64; 2]) -> Result<()> {
    match values.iter().position(|&value| !(min..=max).contains(&value)) {
        None => Ok(()),
        Some(at) => Err(Error::OutOfRange { what, index: at / per_row, value: values[at], min, max }),
    }
}
