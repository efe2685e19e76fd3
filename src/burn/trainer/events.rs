//! A history in TensorBoard's format: records of `Event` messages (its `event.proto` and `summary.proto`).

use std::io::{self, Write};

use prost::{Message, Oneof};

use super::History;

#[derive(Message)]
struct Event {
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    what: Option<What>,
}

#[derive(Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

#[derive(Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// Writes a history without times: equal histories give equal bytes.
pub(super) fn write(history: &History, file: &mut impl Write) -> io::Result<()> {
    let version = What::FileVersion("brain.Event:2".to_owned());
    record(file, &Event { step: 0, what: Some(version) })?;
    for epoch in history.epochs() {
        let named = [("rate", epoch.rate), ("loss", epoch.loss), ("mae", epoch.mae), ("rmse", epoch.rmse)];
        let value = |(tag, value): (&str, f64)| Value { tag: tag.to_owned(), simple_value: Some(value as f32) };
        let summary = What::Summary(Summary { values: named.map(value).into() });
        record(file, &Event { step: epoch.steps as i64, what: Some(summary) })?;
    }
    Ok(())
}

/// Writes the length, its checksum, the message, its checksum.
fn record(file: &mut impl Write, event: &Event) -> io::Result<()> {
    let (message, check) = (event.encode_to_vec(), |bytes: &[u8]| masked(bytes).to_le_bytes());
    let length = (message.len() as u64).to_le_bytes();
    file.write_all(&length)?;
    file.write_all(&check(&length))?;
    file.write_all(&message)?;
    file.write_all(&check(&message))
}

/// The checksum of a record, masked so that it differs from that of data which itself contains checksums.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}
