//! Kafka's small text files: a version, a count, then as many lines.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// The text is not a checkpoint of version 0, or its count is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a checkpoint file of version 0")]
pub(crate) struct MalformedCheckpoint;

/// The entry lines of a checkpoint.
pub(crate) fn entries(text: &[u8]) -> Result<Vec<&str>, MalformedCheckpoint> {
    let text = core::str::from_utf8(text).map_err(|_| MalformedCheckpoint)?;
    let mut lines = text.lines();
    if lines.next() != Some("0") {
        return Err(MalformedCheckpoint);
    }
    let count: usize = lines.next().and_then(|line| line.parse().ok()).ok_or(MalformedCheckpoint)?;
    let entries: Vec<&str> = lines.collect();
    if entries.len() == count { Ok(entries) } else { Err(MalformedCheckpoint) }
}

/// The `N` words of a line.
pub(crate) fn fields<const N: usize>(line: &str) -> Result<[&str; N], MalformedCheckpoint> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    words.try_into().map_err(|_| MalformedCheckpoint)
}

/// A checkpoint's text.
pub(crate) fn text(entries: impl Iterator<Item = String>) -> String {
    let entries: Vec<String> = entries.collect();
    let mut text = String::new();
    writeln!(text, "0\n{}", entries.len()).expect("a string takes all that is written");
    for entry in entries {
        text.push_str(&entry);
        text.push('\n');
    }
    text
}

/// An offset of each partition of a log directory: the shape of `recovery-point-offset-checkpoint`,
/// `log-start-offset-checkpoint` and `replication-offset-checkpoint`.
pub(crate) fn partition_offsets(
    text: &[u8],
) -> Result<alloc::collections::BTreeMap<(String, i32), crate::ids::Offset>, MalformedCheckpoint> {
    entries(text)?
        .into_iter()
        .map(|line| {
            let [topic, partition, offset] = fields(line)?;
            let partition = partition.parse().map_err(|_| MalformedCheckpoint)?;
            let offset = offset.parse().map_err(|_| MalformedCheckpoint)?;
            Ok(((String::from(topic), partition), crate::ids::Offset(offset)))
        })
        .collect()
}
