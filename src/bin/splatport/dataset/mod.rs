//! Many photos: a manifest of them, runs over it in shards, and what is done with a folder of results.

mod coco;
mod compute;
mod gc;
mod make;
mod manifest;
mod merge;
mod outputs;
mod pipeline;
mod prepare;
mod record;
mod run;
mod shard;
mod times;

pub use gc::Gc;
pub use make::Make;
pub use manifest::{Entry, Manifest};
pub use merge::Merge;
pub use outputs::{OTHER_GAUSSIANS, Outputs, incomplete, result};
pub use run::Run;
