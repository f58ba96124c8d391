//! The form of a snapshot of the metadata log (KIP-630), and of the files that formatting leaves: batches as in a log, from
//! offset 0 of the file. The first holds a header and, where voters stand in the log, who they are (KIP-853); data follows;
//! the last holds a footer, by which a reader knows that it has all.

use super::DECOMPRESSED_BYTES_MAX;
use crate::features::record_bytes;
use crate::ids::{LeaderEpoch, Offset};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Buf as _, Bytes, BytesMut};
use sordini_protocol::batch::{Batch, BatchBuilder, BatchParams};
use sordini_protocol::compression::Compression;
use sordini_protocol::control::{self, ControlType, control_batch};
use sordini_protocol::records::{
    KRaftVersionRecord, MetadataRecord, SnapshotFooterRecord, SnapshotHeaderRecord, VotersRecord,
};
use sordini_protocol::wire::Message;

/// How many records a batch holds at most.
const RECORDS_PER_BATCH: usize = 1024;

const SUFFIX: &str = ".checkpoint";

/// What a snapshot contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SnapshotId {
    /// Everything of the log below it is contained.
    pub(crate) end: Offset,
    /// Epoch of the last of that.
    pub(crate) epoch: LeaderEpoch,
}

impl SnapshotId {
    /// `<end, 20 digits>-<epoch, 10 digits>.checkpoint`.
    pub(crate) fn file_name(self) -> String {
        format!("{:020}-{:010}{SUFFIX}", self.end.0, self.epoch.0)
    }

    pub(crate) fn of_file(name: &str) -> Option<Self> {
        let (end, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let is_number =
            |text: &str, len: usize| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(end, 20) || !is_number(epoch, 10) {
            return None;
        }
        Some(Self { end: Offset(end.parse().ok()?), epoch: LeaderEpoch(epoch.parse().ok()?) })
    }
}

/// What is read of a snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Contents {
    /// Time of the last record that went into it.
    pub(crate) last_timestamp_ms: i64,
    pub(crate) voters: Option<VotersRecord>,
    pub(crate) records: Vec<MetadataRecord>,
}

/// A snapshot file with these contents, of an epoch, written at a time.
pub(crate) fn write(
    epoch: LeaderEpoch,
    last_timestamp_ms: i64,
    voters: Option<&VotersRecord>,
    records: &[MetadataRecord],
    metadata_version: i16,
    wall_ms: i64,
) -> Bytes {
    let header = SnapshotHeaderRecord {
        last_contained_log_timestamp: last_timestamp_ms,
        ..SnapshotHeaderRecord::default()
    };
    let mut control = alloc::vec![(ControlType::SnapshotHeader, encoded(&header))];
    if let Some(voters) = voters {
        let version = KRaftVersionRecord { kraft_version: 1, ..KRaftVersionRecord::default() };
        control.push((ControlType::KraftVersion, encoded(&version)));
        control.push((ControlType::KraftVoters, encoded(voters)));
    }
    let mut file = BytesMut::new();
    let mut offset = 0;
    let params = |base_offset: i64, control: bool| BatchParams {
        base_offset,
        control,
        leader_epoch: epoch.0,
        ..BatchParams::default()
    };
    let count = |len: usize| i64::try_from(len).expect("records are counted in 63 bits");
    file.extend_from_slice(&control_batch(params(offset, true), wall_ms, &control));
    offset += count(control.len());
    for chunk in records.chunks(RECORDS_PER_BATCH) {
        let mut builder = BatchBuilder::new(params(offset, false));
        for record in chunk {
            builder.append(wall_ms, None, Some(&record_bytes(record, metadata_version)), &[]);
        }
        file.extend_from_slice(&builder.build());
        offset += count(chunk.len());
    }
    let footer = [(ControlType::SnapshotFooter, encoded(&SnapshotFooterRecord::default()))];
    file.extend_from_slice(&control_batch(params(offset, true), wall_ms, &footer));
    file.freeze()
}

fn encoded(message: &impl Message) -> Bytes {
    message.to_bytes(0).expect("control records have a version 0")
}

/// What a snapshot file says; an error is what is wrong with it.
pub(crate) fn read(bytes: &Bytes) -> Result<Contents, String> {
    let mut reader = Reader::default();
    let mut rest = bytes.clone();
    while let Some(batch) = Batch::first_of(&mut rest).map_err(|error| format!("{error}"))? {
        reader.take(&batch)?;
    }
    if rest.has_remaining() {
        return Err(format!("its last {} bytes are no batch", rest.remaining()));
    }
    reader.finish()
}

/// A snapshot file, read batch by batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader {
    contents: Contents,
    has_header: bool,
    has_footer: bool,
}

impl Reader {
    pub(crate) fn take(&mut self, batch: &Batch) -> Result<(), String> {
        let base = batch.header().base_offset;
        let damaged =
            |why: &dyn core::fmt::Display| format!("the batch at offset {base} cannot be read: {why}");
        batch.check_crc().map_err(|error| damaged(&error))?;
        // Nobody writes compressed ones, and one may unfold to more than there is room for.
        if batch.header().compression() != Ok(Compression::None) {
            return Err(format!("the batch at offset {base} is compressed"));
        }
        if self.has_footer {
            return Err(format!("it goes on behind its footer, at offset {base}"));
        }
        for record in batch.records(DECOMPRESSED_BYTES_MAX).map_err(|error| damaged(&error))? {
            let record = record.map_err(|error| damaged(&error))?;
            if batch.header().is_control() {
                let Some((kind, mut value)) = control::parse(&record).map_err(|error| damaged(&error))?
                else {
                    continue;
                };
                match kind {
                    ControlType::SnapshotHeader => {
                        let header = SnapshotHeaderRecord::decode(0, &mut value);
                        let header = header.map_err(|error| damaged(&error))?;
                        self.has_header = true;
                        self.contents.last_timestamp_ms = header.last_contained_log_timestamp;
                    }
                    ControlType::KraftVoters => {
                        let voters = VotersRecord::decode(0, &mut value).map_err(|error| damaged(&error))?;
                        if voters.voters.is_empty() {
                            return Err("it says that nobody votes".into());
                        }
                        self.contents.voters = Some(voters);
                    }
                    ControlType::SnapshotFooter => self.has_footer = true,
                    ControlType::Abort
                    | ControlType::Commit
                    | ControlType::LeaderChange
                    | ControlType::KraftVersion => {}
                }
            } else {
                let value = record.value.ok_or_else(|| damaged(&"a record has no value"))?;
                let record = MetadataRecord::decode(value).map_err(|error| damaged(&error))?;
                self.contents.records.push(record);
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Contents, String> {
        if !self.has_header {
            return Err(String::from("it has no header"));
        }
        if !self.has_footer {
            return Err(String::from("it has no footer: its end is missing"));
        }
        Ok(self.contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::cluster::METADATA_VERSION;
    use crate::quorum::Voter;
    use sordini_protocol::records::NoOpRecord;

    #[test]
    fn a_name_tells_what_a_snapshot_contains() {
        let id = SnapshotId { end: Offset(1234), epoch: LeaderEpoch(5) };
        assert_eq!(id.file_name(), "00000000000000001234-0000000005.checkpoint");
        assert_eq!(SnapshotId::of_file(&id.file_name()), Some(id));
        for other in ["00000000000000001234.log", "1234-5.checkpoint", "bootstrap.checkpoint"] {
            assert_eq!(SnapshotId::of_file(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_written_is_read_and_nothing_that_lacks_a_byte_or_has_another() {
        let records: Vec<MetadataRecord> = (0..2500).map(|_| NoOpRecord::default().into()).collect();
        let voters = VotersRecord { voters: alloc::vec![Voter::default()], ..VotersRecord::default() };
        let file = write(LeaderEpoch(3), 77, Some(&voters), &records, METADATA_VERSION.2, 99);
        let contents = Contents { last_timestamp_ms: 77, voters: Some(voters), records };
        assert_eq!(read(&file), Ok(contents));
        let none = write(LeaderEpoch(3), 77, Some(&VotersRecord::default()), &[], METADATA_VERSION.2, 99);
        assert!(read(&none).is_err_and(|why| why.contains("nobody votes")));
        for len in (0..file.len()).step_by(257) {
            assert!(read(&file.slice(..len)).is_err(), "cut to {len}");
        }
        for at in (16..file.len()).step_by(257) {
            let mut flipped = BytesMut::from(&*file);
            flipped[at] ^= 1;
            let result = read(&flipped.freeze());
            // The epoch of a batch stands outside of what its sum is of.
            assert!(result.is_err() || result == read(&file), "flipped at {at}");
        }
        let twice = [&*file, &*file].concat();
        assert!(read(&Bytes::from(twice)).is_err(), "it goes on behind its footer");
    }
}
