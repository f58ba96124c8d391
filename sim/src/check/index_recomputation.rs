//! `index_recomputation`: every offset index and time index is what can be computed from its log file (S2).
//!
//! The rule of Kafka 4.x: before a batch is written, if more than `index.interval.bytes` were appended since the last
//! entry (or the segment's beginning), the batch's last offset and position go into the offset index, and the largest
//! timestamp so far, with the last offset of the batch that has it, into the time index if it is larger than the last
//! one there. When a segment is closed by a roll or a clean stop, or was the last that a recovery looked through, the time
//! index gets one more entry by the same rule; after a start the segment may grow again behind that entry.
//!
//! Of a segment of the metadata log that was cut, the indexes may have fewer entries than that; those that they have are true.

use super::Violation;
use super::truth::LogTruth;
use crate::disk::{Contents, Disk};
use bytes::Bytes;
use sordini_protocol::batch::BatchHeader;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The entries that a segment's two indexes must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Segment {
    /// Offset and position of each entry of the offset index.
    offsets: Vec<(i64, u64)>,
    /// Timestamp and offset of each entry of the time index.
    times: Vec<(i64, i64)>,
}

/// The indexes of a segment, computed from its log file as far as that was read: what lies behind is read when it is there.
#[derive(Clone, Debug)]
struct Recomputation {
    entries: Segment,
    /// How much of the log file was read.
    position: u64,
    /// How much of that lies behind the last entry.
    since_entry: u64,
    /// The largest timestamp, with the last offset of the first batch that has it.
    largest: (i64, i64),
}

impl Recomputation {
    const fn begin() -> Self {
        let entries = Segment { offsets: Vec::new(), times: Vec::new() };
        Self { entries, position: 0, since_entry: 0, largest: (-1, 0) }
    }

    /// Goes on with `log`, which lies behind what was read. After the batches that end at one of `stops` there may be one more
    /// entry of the time index: whether there is, `times` says.
    fn go_on(&mut self, log: &[u8], index_interval: u64, stops: &[u64], times: &[(i64, i64)]) {
        let mut rest = log;
        loop {
            let is_extra_allowed = stops.contains(&self.position);
            if is_extra_allowed && times.get(self.entries.times.len()) == Some(&self.largest) {
                self.entries.times.extend(self.larger_time());
            }
            let Ok(header) = BatchHeader::parse(rest) else { return };
            if header.max_timestamp > self.largest.0 {
                self.largest = (header.max_timestamp, header.last_offset());
            }
            if self.since_entry > index_interval {
                self.entries.offsets.push((header.last_offset(), self.position));
                self.entries.times.extend(self.larger_time());
                self.since_entry = 0;
            }
            let size = header.size();
            self.since_entry += size as u64;
            self.position += size as u64;
            rest = rest.get(size..).unwrap_or_default();
        }
    }

    /// The largest timestamp, if it is larger than the last one of the time index.
    fn larger_time(&self) -> Option<(i64, i64)> {
        let last = self.entries.times.last().map_or(-1, |(time, _)| *time);
        (self.largest.0 > last).then_some(self.largest)
    }

    /// What the indexes must have. `is_closed` if another segment follows, or nothing was appended since the start.
    fn expected(&self, is_closed: bool) -> Segment {
        let mut expected = self.entries.clone();
        expected.times.extend(self.larger_time().filter(|_| is_closed));
        expected
    }
}

/// Segments whose indexes were found right, by log file.
pub(super) type Verified = BTreeMap<Arc<str>, Right>;

/// A segment whose indexes were found right, and what they were compared with.
#[derive(Clone, Debug)]
pub(super) struct Right {
    looks: Looks,
    computed: Recomputation,
}

/// All that the check of a segment looks at: stamps and lengths of its log file and its two indexes, whether it is closed,
/// and where its growth was interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Looks {
    files: [(u64, u64); 3],
    is_closed: bool,
    stops: Vec<u64>,
}

pub(super) fn check(
    dir: &str,
    log: &LogTruth,
    disk: &Disk,
    index_interval: u64,
    verified: &mut Verified,
) -> Result<(), Violation> {
    let files: Vec<&str> = disk.paths_beneath(dir).filter(|file| file.ends_with(".log")).collect();
    for (index, file) in files.iter().enumerate() {
        let is_closed = index + 1 < files.len() || log.end() == log.recovered_end();
        let name = file.strip_suffix(".log").expect("it was selected by its suffix");
        let base = name.rsplit('/').next().and_then(|name| name.parse::<i64>().ok()).unwrap_or(0);
        let shared: Arc<str> = Arc::from(*file);
        let stops: Vec<u64> = log
            .interruptions
            .range((Arc::clone(&shared), 0)..=(Arc::clone(&shared), u64::MAX))
            .map(|(_, len)| *len)
            .collect();
        let (offset_file, time_file) = (format!("{name}.index"), format!("{name}.timeindex"));
        let look = |file: &str| disk.contents(file).map_or((0, 0), |found| (found.stamp(), found.len()));
        let looks = Looks { files: [look(file), look(&offset_file), look(&time_file)], is_closed, stops };
        let before = verified.get(*file);
        if before.is_some_and(|right| right.looks == looks) {
            continue;
        }
        let contents = disk.contents(file).expect("it was listed");
        let found = Segment {
            offsets: offset_entries(disk, &offset_file, base)?,
            times: time_entries(disk, &time_file, base)?,
        };
        if log.was_cut(file) {
            check_sparse(file, &contents.all(), &found)?;
            verified.insert(shared, Right { looks, computed: Recomputation::begin() });
            continue;
        }
        let compute = |mut computed: Recomputation| {
            let new = contents.read(computed.position, u64::MAX);
            computed.go_on(&new, index_interval, &looks.stops, &found.times);
            computed
        };
        // As long as a log file has its stamp, what was read of it lies there still.
        let grown = before.filter(|right| right.looks.files[0].0 == looks.files[0].0);
        let mut computed = compute(grown.map_or(Recomputation::begin(), |right| right.computed.clone()));
        if computed.expected(is_closed) != found {
            // It may be that somebody has stopped since where the file was read already.
            computed = compute(Recomputation::begin());
        }
        let expected = computed.expected(is_closed);
        if found != expected {
            return Err(Violation {
                property: "index_recomputation",
                sentence: format!(
                    "the indexes of {file} ({} bytes, {}, index.interval.bytes={index_interval}) have {}",
                    contents.len(),
                    if is_closed { "closed" } else { "active" },
                    difference(&found, &expected)
                ),
            });
        }
        verified.insert(shared, Right { looks, computed });
    }
    Ok(())
}

/// Every entry names a batch of the log.
fn check_sparse(file: &str, log: &[u8], found: &Segment) -> Result<(), Violation> {
    let (mut offsets, mut times) = (Vec::new(), Vec::new());
    let mut position = 0_usize;
    while let Some(header) = log.get(position..).and_then(|rest| BatchHeader::parse(rest).ok()) {
        offsets.push((header.last_offset(), position as u64));
        times.push((header.max_timestamp, header.last_offset()));
        position += header.size();
    }
    times.sort_unstable();
    let is_true = found.offsets.is_sorted()
        && found.times.is_sorted()
        && found.offsets.iter().all(|entry| offsets.binary_search(entry).is_ok())
        && found.times.iter().all(|entry| times.binary_search(entry).is_ok());
    if is_true {
        return Ok(());
    }
    let sentence = format!("the indexes of {file}, which was cut, name what is not in it: {found:?}");
    Err(Violation { property: "index_recomputation", sentence })
}

fn read(disk: &Disk, file: &str, entry_len: usize) -> Result<Bytes, Violation> {
    let bytes = disk.contents(file).map(Contents::all).unwrap_or_default();
    if bytes.len().is_multiple_of(entry_len) {
        return Ok(bytes);
    }
    let sentence = format!("{file} has {} bytes, which are no entries of {entry_len} bytes", bytes.len());
    Err(Violation { property: "index_recomputation", sentence })
}

fn offset_entries(disk: &Disk, file: &str, base: i64) -> Result<Vec<(i64, u64)>, Violation> {
    let bytes = read(disk, file, 8)?;
    let (entries, _) = bytes.as_chunks::<8>();
    let entry = |entry: &[u8; 8]| {
        let [a, b, c, d, e, f, g, h] = *entry;
        (base + i64::from(i32::from_be_bytes([a, b, c, d])), u64::from(u32::from_be_bytes([e, f, g, h])))
    };
    Ok(entries.iter().map(entry).collect())
}

fn time_entries(disk: &Disk, file: &str, base: i64) -> Result<Vec<(i64, i64)>, Violation> {
    let bytes = read(disk, file, 12)?;
    let (entries, _) = bytes.as_chunks::<12>();
    let entry = |entry: &[u8; 12]| {
        let (timestamp, offset) = entry.split_first_chunk::<8>().expect("twelve bytes begin with eight");
        let offset = offset.first_chunk::<4>().expect("and end with four");
        (i64::from_be_bytes(*timestamp), base + i64::from(i32::from_be_bytes(*offset)))
    };
    Ok(entries.iter().map(entry).collect())
}

/// The first difference, as the end of a sentence.
fn difference(found: &Segment, expected: &Segment) -> String {
    fn first<T: PartialEq + std::fmt::Debug>(what: &str, found: &[T], expected: &[T]) -> Option<String> {
        let at = (0..found.len().max(expected.len())).find(|at| found.get(*at) != expected.get(*at))?;
        let (there, right) = (found.get(at), expected.get(at));
        Some(format!("{what} entry {at} {there:?} where {right:?} can be computed from the log"))
    }
    let offsets = first("offset index", &found.offsets, &expected.offsets);
    let times = first("time index", &found.times, &expected.times);
    offsets.or(times).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::batch::{BatchBuilder, BatchParams};

    fn log(batches: &[(i64, i64, usize)]) -> Vec<u8> {
        let mut log = Vec::new();
        for (base_offset, timestamp, value_len) in batches {
            let mut builder =
                BatchBuilder::new(BatchParams { base_offset: *base_offset, ..BatchParams::default() });
            builder.append(*timestamp, None, Some(&vec![b'v'; *value_len]), &[]);
            log.extend_from_slice(&builder.build());
        }
        log
    }

    /// The whole of a segment, read at once and batch by batch.
    fn recompute(log: &[u8], interval: u64, is_closed: bool, stops: &[u64], times: &[(i64, i64)]) -> Segment {
        let mut whole = Recomputation::begin();
        whole.go_on(log, interval, stops, times);
        let (mut grown, mut rest) = (Recomputation::begin(), log);
        while let Ok(header) = BatchHeader::parse(rest) {
            let (batch, after) = rest.split_at(header.size());
            grown.go_on(batch, interval, stops, times);
            rest = after;
        }
        assert_eq!(grown.expected(is_closed), whole.expected(is_closed));
        whole.expected(is_closed)
    }

    #[test]
    fn an_entry_stands_before_the_first_batch_after_more_than_the_interval() {
        let log = log(&[(0, 10, 100), (1, 30, 100), (2, 20, 100), (3, 40, 100)]);
        let each = log.len() as u64 / 4;
        let dense = recompute(&log, 0, false, &[], &[]);
        assert_eq!(dense.offsets, [(1, each), (2, 2 * each), (3, 3 * each)]);
        // The third batch is older than the second: the largest timestamp has not grown.
        assert_eq!(dense.times, [(30, 1), (40, 3)]);
        let sparse = recompute(&log, each, true, &[], &[]);
        assert_eq!(sparse.offsets, [(2, 2 * each)]);
        assert_eq!(sparse.times, [(30, 1), (40, 3)], "a closed segment ends with its largest timestamp");
        assert_eq!(recompute(&log, each, false, &[], &[]).times, [(30, 1)]);
    }

    #[test]
    fn a_clean_stop_may_leave_a_time_index_entry_where_it_stopped_and_nowhere_else() {
        let log = log(&[(0, 10, 100), (1, 30, 100), (2, 50, 100)]);
        let each = log.len() as u64 / 3;
        let found = [(30, 1)];
        assert_eq!(recompute(&log, 10_000, false, &[2 * each], &found).times, found);
        assert_eq!(recompute(&log, 10_000, false, &[2 * each], &[]).times, []);
        assert_eq!(recompute(&log, 10_000, false, &[], &found).times, []);
    }
}
