//! Which part of a data set a process works on.

use std::cmp::Reverse;
use std::env;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

use super::manifest::Entry;

/// Pixels that cost as much as one point: a fit of Gauss-Newton on software Vulkan takes 0.15 us a pixel and 1.9 ms a point
/// (from the whole fits of two sizes in BENCHMARKS.md). Only the balance of the shards depends on it.
const PIXELS_A_POINT: u64 = 12_000;

/// The part `index` of `count` parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub index: usize,
    pub count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (index, count) = text.split_once('/').ok_or("write INDEX/COUNT, 0/4 for the first of four")?;
        let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is no number"));
        let shard = Self { index: number(index)?, count: number(count)? };
        match shard.index < shard.count {
            true => Ok(shard),
            false => Err(format!("there is no shard {index} of {count}: the first is 0")),
        }
    }
}

impl Shard {
    /// The one that was asked for, else the task of a Slurm array or the index of a Kubernetes job, else everything.
    pub fn chosen(asked: Option<Self>) -> Result<Self> {
        Self::from_environment(asked, |name| env::var(name).ok())
    }

    fn from_environment(asked: Option<Self>, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let number = |name: &'static str| -> Result<usize> {
            let text = variable(name).with_context(|| format!("{name} is not set: give --shard INDEX/COUNT"))?;
            text.parse().with_context(|| format!("{name} is `{text}`, not a number"))
        };
        let shard = if let Some(shard) = asked {
            shard
        } else if variable("SLURM_ARRAY_TASK_ID").is_some() {
            let (task, first) = (number("SLURM_ARRAY_TASK_ID")?, number("SLURM_ARRAY_TASK_MIN")?);
            let index = task.checked_sub(first).context("SLURM_ARRAY_TASK_ID is below SLURM_ARRAY_TASK_MIN")?;
            Self {
                index: index / number("SLURM_ARRAY_TASK_STEP").unwrap_or(1).max(1),
                count: number("SLURM_ARRAY_TASK_COUNT")?,
            }
        } else if variable("JOB_COMPLETION_INDEX").is_some() {
            Self { index: number("JOB_COMPLETION_INDEX")?, count: number("JOB_COMPLETIONS")? }
        } else {
            Self { index: 0, count: 1 }
        };
        ensure!(shard.index < shard.count, "there is no shard {} of {}: the first is 0", shard.index, shard.count);
        Ok(shard)
    }

    /// Its entries: the dearest first goes to the shard that has least so far, so that no two shards differ by more than one
    /// photo's cost. The same manifest gives the same parts, in whatever order its lines are.
    pub fn of(self, entries: &[Entry]) -> Vec<&Entry> {
        let mut sorted: Vec<&Entry> = entries.iter().collect();
        sorted.sort_by_key(|entry| (Reverse(cost(entry)), &entry.id));
        // The first of the shards that have nothing is next: of more shards than photos the last ones stay without.
        let mut loads = vec![0_u64; self.count.min(entries.len())];
        let mut own = Vec::new();
        for entry in sorted {
            // The first of the least.
            let lightest = (0..loads.len()).min_by_key(|&shard| loads[shard]).unwrap_or(0);
            loads[lightest] = loads[lightest].saturating_add(cost(entry));
            if lightest == self.index {
                own.push(entry);
            }
        }
        own
    }
}

/// What a photo costs, in pixels. A manifest may claim any size, so sums of costs end at the largest number: what depends on them is how
/// level the work is.
pub fn cost(entry: &Entry) -> u64 {
    entry.pixels().saturating_add(PIXELS_A_POINT.saturating_mul(entry.count as u64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::dataset::manifest::VERSION;

    fn entry(at: usize, (width, height, count): (u32, u32, usize)) -> Entry {
        Entry {
            version: VERSION,
            id: format!("photo {at}"),
            photo: PathBuf::new(),
            points: PathBuf::new(),
            width,
            height,
            count,
            photo_sha256: String::new(),
            points_sha256: String::new(),
        }
    }

    proptest! {
        #[test]
        fn every_photo_is_in_one_shard_and_shards_are_level(
            sizes in prop::collection::vec((1_u32..4000, 1_u32..4000, 0_usize..3000), 0..60),
            count in 1_usize..9,
            turned in 0_usize..60,
        ) {
            let mut entries: Vec<Entry> = sizes.iter().enumerate().map(|(at, &size)| entry(at, size)).collect();
            let parts: Vec<Vec<Entry>> = (0..count)
                .map(|index| Shard { index, count }.of(&entries).into_iter().cloned().collect())
                .collect();
            let ids: BTreeSet<_> = parts.iter().flatten().map(|entry| &entry.id).collect();
            prop_assert_eq!((ids.len(), parts.iter().map(Vec::len).sum::<usize>()), (sizes.len(), sizes.len()));
            let loads = parts.iter().map(|part| part.iter().map(cost).sum::<u64>());
            let apart = loads.clone().max().unwrap_or(0) - loads.min().unwrap_or(0);
            prop_assert!(apart <= entries.iter().map(cost).max().unwrap_or(0));
            let turned = turned.min(entries.len());
            entries.rotate_left(turned);
            for (index, part) in parts.iter().enumerate() {
                prop_assert!(Shard { index, count }.of(&entries).into_iter().eq(part), "the order of lines matters");
            }
        }
    }

    #[test]
    fn any_number_of_shards_and_any_size_will_do() {
        let entries = [entry(0, (3, 4, 1)), entry(1, (u32::MAX, u32::MAX, usize::MAX)), entry(2, (u32::MAX, 9, 7))];
        for count in [1, 2, usize::MAX] {
            let part = |index| Shard { index, count }.of(&entries).into_iter().map(|entry| &entry.id[6..]).collect();
            let parts: Vec<String> = (0..count.min(4)).map(part).collect();
            let expected: &[&str] = match count {
                1 => &["120"],
                2 => &["1", "20"],
                _ => &["1", "2", "0", ""],
            };
            assert_eq!(parts, expected, "{count} shards");
            assert_eq!(part(count - 1), *expected.last().expect("a shard"));
        }
    }

    #[test]
    fn shards_come_from_the_argument_slurm_or_kubernetes() {
        let chosen = |asked: Option<&str>, variables: &[(&str, &str)]| {
            let asked = asked.map(|text| text.parse().expect("a shard"));
            let find =
                |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            Shard::from_environment(asked, find)
                .map(|shard| (shard.index, shard.count))
                .map_err(|error| error.to_string())
        };
        let slurm = [("SLURM_ARRAY_TASK_ID", "12"), ("SLURM_ARRAY_TASK_MIN", "10"), ("SLURM_ARRAY_TASK_COUNT", "4")];
        let stepped = [&slurm[..], &[("SLURM_ARRAY_TASK_STEP", "2")]].concat();
        let job = [("JOB_COMPLETION_INDEX", "3"), ("JOB_COMPLETIONS", "4")];
        assert_eq!(chosen(None, &[]), Ok((0, 1)));
        assert_eq!(chosen(None, &slurm), Ok((2, 4)));
        assert_eq!(chosen(None, &stepped), Ok((1, 4)));
        assert_eq!(chosen(None, &job), Ok((3, 4)));
        assert_eq!(chosen(Some("1/2"), &slurm), Ok((1, 2)));
        let missing = "JOB_COMPLETIONS is not set: give --shard INDEX/COUNT".to_owned();
        assert_eq!(chosen(None, &job[..1]), Err(missing));
        let beyond = [("JOB_COMPLETION_INDEX", "4"), ("JOB_COMPLETIONS", "4")];
        assert_eq!(chosen(None, &beyond), Err("there is no shard 4 of 4: the first is 0".to_owned()));
        for wrong in ["2/2", "1", "a/3", "0/0", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
