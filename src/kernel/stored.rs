//! Putting a stored kernel back on a device.

use splatport_kernels::{
    Cells, Device, Error as DeviceError, Mosaic, Precision, Storage,
    correspondence::{self, Correspondence, Dropped, Room, Transposed},
    cubecl::Runtime,
    gaussian::{self, Framing},
};

use super::{Kernel, table::in_table};
use crate::{
    CsrTable, Error, Grid, Profile, Result, Splat,
    error::{check_device, check_length},
};

/// How far the sum of a row may be from 1. Of all storage types `bf16` rounds most: by 2^-8 of each weight, so by 2^-8
/// in total. The sum that the weights were divided by is off by a few 2^-24.
const LARGEST_ERROR: f64 = 1.0 / 256.0 + 1.0 / 65_536.0;

/// What a row may additionally lack for every entry: half the step of `f16` below its least normal number.
const LOST_ENTRY: f64 = 1.0 / 33_554_432.0;

impl<R: Runtime, P: Precision> Kernel<R, P> {
    /// Puts a stored kernel back on a device, without its splat. `table` comes from [`Kernel::table`], from a file of
    /// one, or is a matrix that another program made, with one column per annotation and the background last.
    ///
    /// Every weight is rounded to the precision's storage type (in [`Fixed`](crate::Fixed) by largest remainders). In
    /// the precision that it was built in, a kernel therefore comes back bit for bit, and on the same device so do its
    /// losses and their gradients.
    ///
    /// ```
    /// use splatport::{Annotations, CsrTable, Grid, Kernel, Splat, Vulkan};
    ///
    /// let device = Vulkan::best()?;
    /// let points = Annotations::new(vec![[10.0, 12.0], [22.5, 20.5]])?;
    /// let kernel = Splat::round(&device, &points, [32, 32], 4.0)?.kernel(Grid::over(32, 32, 4)).build()?;
    /// let path = std::env::temp_dir().join("splatport-doc-stored.safetensors");
    /// kernel.table()?.save(&path)?;
    ///
    /// let stored = Kernel::from_table(&device, &CsrTable::open(&path)?)?;
    /// assert_eq!(stored.table()?, kernel.table()?);
    /// let density = device.upload(&[0.1f32; 8 * 8]);
    /// let (before, after) = (kernel.loss().evaluate(&density)?, stored.loss().evaluate(&density)?);
    /// assert_eq!(before.value()?, after.value()?);
    /// # Ok::<(), splatport::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`CsrTable::save`], and: [`Error::Unknown`] for a profile that is not a [`Profile`]; [`Error::Option`]
    /// for a corner that is not a whole pixel, a stride of 0 or `tau` outside 0..1; [`Error::Empty`] for no cell or no
    /// column; [`Error::OutOfRange`] for a row whose columns do not ascend, a weight below 0, a row whose sum differs
    /// from 1 by more than the rounding of 16-bit weights, more mass dropped than the bound, or a grid that ends beyond
    /// 2^32 px; [`Error::Device`] when the device has no room, or a row is too long for it.
    pub fn from_table(device: &Device<R, P>, table: &CsrTable) -> Result<Self> {
        let Checked { profile, grid, annotations } = check(table)?;
        // The arrays with a value for every column are longer than anything in the table.
        for (what, len) in
            [("annotations", table.cols), ("cells", table.rows + 1), ("transport kernel", table.data.len())]
        {
            device.check_room::<P::Real>(what, len)?;
        }
        let longest = table.indptr.windows(2).map(|ends| ends[1] - ends[0]).max().unwrap_or(0);
        device.check_rounds("entries of a row", longest)?;
        let rows = Rows::of(table, annotations as u32);
        let mosaic = Mosaic::new(device, &[(grid.cells(), annotations)])?;
        Ok(Self {
            entries: rows.upload(device, mosaic, Dropped { worst: table.worst_dropped, bound: table.bound }),
            device: device.clone(),
            frames: None,
            origin: None,
            parts: vec![(annotations, grid)],
            tau: table.tau,
            storage: table.storage + rows.moved,
            profile,
            options: None,
            room: Room::default(),
        })
    }

    /// Gives a kernel from a table its Gaussians back; the [transport cost](crate::Loss::transport_cost) needs them.
    /// `splat` must be the one that the kernel was built from, or come from its table.
    ///
    /// # Errors
    /// [`Error::Length`] when the splat has a different number of annotations, [`Error::OtherDevice`] when it is on
    /// another device; [`Error::Device`].
    pub fn with_splat(mut self, splat: &Splat<R, P>) -> Result<Self> {
        let annotations = self.annotations();
        check_length("annotations", annotations, splat.annotations())?;
        check_device("splat", &self.device, splat.device().client())?;
        // The cost needs only the means.
        self.frames = Some(gaussian::frames(&self.device, splat.gaussians(), annotations, Framing::default())?);
        Ok(self)
    }
}

impl CsrTable {
    /// Checks that the table is a transport kernel, without a device.
    ///
    /// # Errors
    /// As [`Kernel::from_table`], except those of a device.
    pub fn check_kernel(&self) -> Result<()> {
        check(self).map(|_| ())
    }
}

/// What a table says about its kernel.
struct Checked {
    profile: Profile,
    grid: Grid,
    annotations: usize,
}

fn check(table: &CsrTable) -> Result<Checked> {
    table.check()?;
    let profile = Profile::stored(&table.profile)?;
    let grid = Grid::stored(table)?;
    let annotations = table.cols.checked_sub(1).ok_or(Error::Empty { what: "columns" })?;
    let (count, most) = (annotations as u64, u64::from(u32::MAX - 1));
    if count > most {
        return Err(DeviceError::TooLarge { what: "annotations", count, most }.into());
    }
    check_certificate(table)?;
    check_rows(table)?;
    Ok(Checked { profile, grid, annotations })
}

/// Rejects certificates that no kernel can have.
fn check_certificate(table: &CsrTable) -> Result<()> {
    let outside = |what, value, max| Err(Error::OutOfRange { what, index: 0, value, min: 0.0, max });
    if !(0.0..1.0).contains(&table.tau) {
        return Err(Error::Option { name: "tau", value: table.tau, why: "must be 0 or more and below 1" });
    }
    if table.bound < 0.0 {
        return outside("bound", table.bound, f64::INFINITY);
    }
    if !(0.0..=table.bound).contains(&table.worst_dropped) {
        return outside("worst_dropped", table.worst_dropped, table.bound);
    }
    if !(0.0..=1.0).contains(&table.storage) {
        return outside("storage", table.storage, 1.0);
    }
    Ok(())
}

/// Rejects rows whose columns do not ascend, whose weights are negative or whose sum is not 1.
fn check_rows(table: &CsrTable) -> Result<()> {
    let last = table.cols as f64 - 1.0;
    for (row, ends) in table.indptr.windows(2).enumerate() {
        let (mut least, mut sum) = (0, 0.0);
        for index in ends[0] as usize..ends[1] as usize {
            let (column, value) = (table.indices[index], table.data[index]);
            if column < least {
                let (value, min) = (f64::from(column), f64::from(least));
                return Err(Error::OutOfRange { what: "indices", index, value, min, max: last });
            }
            if value < 0.0 {
                return Err(Error::OutOfRange { what: "data", index, value, min: 0.0, max: 1.0 });
            }
            least = column + 1;
            sum += value;
        }
        let (min, max) = (1.0 - LARGEST_ERROR - LOST_ENTRY * f64::from(ends[1] - ends[0]), 1.0 + LARGEST_ERROR);
        if !(min..=max).contains(&sum) {
            return Err(Error::OutOfRange { what: "sum of row", index: row, value: sum, min, max });
        }
    }
    Ok(())
}

/// A table's rows, with the background kept apart.
struct Rows<W> {
    starts: Vec<u32>,
    columns: Vec<u32>,
    weights: Vec<W>,
    background: Vec<W>,
    /// Largest change of a weight by rounding to `W`.
    moved: f64,
}

impl<W: Storage> Rows<W> {
    fn of(table: &CsrTable, annotations: u32) -> Self {
        let (columns, weights, background) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = Self { starts: vec![0], columns, weights, background, moved: 0.0 };
        for ends in table.indptr.windows(2) {
            let (mut row, mut background) = (Vec::new(), 0.0);
            for index in ends[0] as usize..ends[1] as usize {
                let weight = table.data[index];
                if table.indices[index] == annotations {
                    background = weight;
                } else {
                    rows.columns.push(table.indices[index]);
                    row.push(weight);
                }
            }
            row.push(background);
            let mut rounded = W::rounded(&row);
            for (stored, &weight) in rounded.iter().zip(&row) {
                // What the table was made of has not moved, even where its value is not exactly that.
                if in_table(stored) != weight {
                    rows.moved = rows.moved.max((stored.value() - weight).abs());
                }
            }
            rows.background.extend(rounded.pop());
            rows.weights.extend(rounded);
            rows.starts.push(rows.columns.len() as u32);
        }
        rows
    }

    fn upload<R: Runtime, P: Precision<Weight = W>>(
        &self,
        device: &Device<R, P>,
        mosaic: Mosaic<R, P::Real>,
        dropped: Dropped,
    ) -> Correspondence<R, P> {
        let (cells, annotations) = mosaic.images()[0];
        let by_annotation = self.transposed(cells, annotations);
        Correspondence {
            mosaic,
            row_starts: device.upload(&self.starts),
            columns: device.upload(&self.columns),
            weights: device.upload(&self.weights),
            background: device.upload(&self.background),
            transposed: Transposed {
                slot_starts: device.upload(&by_annotation.slot_starts),
                entry_starts: device.upload(&by_annotation.entry_starts),
                rows: device.upload(&by_annotation.rows),
                weights: device.upload(&by_annotation.weights),
            },
            components: None,
            dropped: vec![dropped],
        }
    }

    /// The entries by annotation, by counting sort: one slot for every tile in which an annotation has entries, in the
    /// device's order. A sum then consists of the same partial sums as in a kernel that was built on the device.
    fn transposed(&self, cells: Cells, annotations: usize) -> ByAnnotation<W> {
        let starts = self.annotation_starts(annotations);
        let mut next = starts.clone();
        // Tiles are counted from 1; 0 means none.
        let mut last_tile = vec![0_u32; annotations];
        let mut opens_slot = vec![false; self.columns.len()];
        let mut entries = vec![(0, W::from_int(0)); self.columns.len()];
        for (tile, cells) in (1..).zip(correspondence::tiles(cells)) {
            for row in cells {
                for entry in self.starts[row as usize] as usize..self.starts[row as usize + 1] as usize {
                    let n = self.columns[entry] as usize;
                    let at = next[n] as usize;
                    next[n] += 1;
                    entries[at] = (row, self.weights[entry]);
                    opens_slot[at] = last_tile[n] != tile;
                    last_tile[n] = tile;
                }
            }
        }
        let mut entry_starts: Vec<u32> =
            (0..).zip(&opens_slot).filter(|(_, opens)| **opens).map(|(at, _)| at).collect();
        entry_starts.push(entries.len() as u32);
        let slot_starts =
            starts.iter().map(|start| entry_starts.partition_point(|first| first < start) as u32).collect();
        let (rows, weights) = entries.into_iter().unzip();
        ByAnnotation { slot_starts, entry_starts, rows, weights }
    }

    /// Where the sorted entries of every annotation begin, and their total number.
    fn annotation_starts(&self, annotations: usize) -> Vec<u32> {
        let mut starts = vec![0; annotations + 1];
        for &n in &self.columns {
            starts[n as usize + 1] += 1;
        }
        for n in 0..annotations {
            starts[n + 1] += starts[n];
        }
        starts
    }
}

/// [`Transposed`] on the host.
struct ByAnnotation<W> {
    slot_starts: Vec<u32>,
    entry_starts: Vec<u32>,
    rows: Vec<u32>,
    weights: Vec<W>,
}
