//! Control records: the marks that brokers and controllers write among the data.
//!
//! They stand in batches of their own, with the control bit set. The key says which kind of mark it is, the value is a message
//! of that kind. Transaction markers are written here in full; the messages of the controllers' log are among the generated
//! ones.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::batch::{BatchBuilder, BatchParams, Record};

/// The version of the key: int16 version, int16 type. A key of a later version begins the same way.
const KEY_VERSION: i16 = 0;

/// The version of the end of transaction marker: int16 version, int32 coordinator epoch.
const END_TXN_MARKER_VERSION: i16 = 0;

/// The kinds of control records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ControlType {
    /// The transaction of the batch's producer is aborted: its records are void.
    Abort,
    /// The transaction of the batch's producer is committed.
    Commit,
    /// A controller became the leader of the metadata log.
    LeaderChange,
    /// The first record of a snapshot.
    SnapshotHeader,
    /// The last record of a snapshot.
    SnapshotFooter,
    /// The version of the quorum's protocol changed.
    KraftVersion,
    /// The set of voters changed.
    KraftVoters,
}

impl ControlType {
    /// The kind with this number, or nothing: kinds that nobody knows are to be skipped.
    #[must_use]
    pub const fn from_i16(number: i16) -> Option<Self> {
        match number {
            0 => Some(Self::Abort),
            1 => Some(Self::Commit),
            2 => Some(Self::LeaderChange),
            3 => Some(Self::SnapshotHeader),
            4 => Some(Self::SnapshotFooter),
            5 => Some(Self::KraftVersion),
            6 => Some(Self::KraftVoters),
            _ => None,
        }
    }

    /// The number of the kind.
    #[must_use]
    pub const fn as_i16(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KraftVersion => 5,
            Self::KraftVoters => 6,
        }
    }

    /// The key of a record of this kind.
    #[must_use]
    pub fn key(self) -> [u8; 4] {
        let mut key = [0; 4];
        let mut out = &mut key[..];
        out.put_i16(KEY_VERSION);
        out.put_i16(self.as_i16());
        key
    }

    /// The kind of a record with this key. `Ok(None)` for a kind that nobody knows.
    ///
    /// # Errors
    /// [`ControlError::Key`] if it is too short or its version is negative.
    pub fn of_key(mut key: &[u8]) -> Result<Option<Self>, ControlError> {
        match (key.try_get_i16(), key.try_get_i16()) {
            (Ok(version), Ok(number)) if version >= KEY_VERSION => Ok(Self::from_i16(number)),
            _ => Err(ControlError::Key),
        }
    }
}

/// Why a record of a control batch is not a control record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The key is missing, too short, or of a negative version.
    #[error("the key of a control record is malformed")]
    Key,
    /// The value is missing, too short, or of a negative version.
    #[error("the value of a control record is malformed")]
    Value,
}

/// Takes a record of a control batch apart: its kind and its message. `Ok(None)` for a kind that nobody knows.
///
/// # Errors
/// [`ControlError`].
pub fn parse(record: &Record) -> Result<Option<(ControlType, Bytes)>, ControlError> {
    let key = record.key.as_ref().ok_or(ControlError::Key)?;
    let Some(kind) = ControlType::of_key(key)? else { return Ok(None) };
    Ok(Some((kind, record.value.clone().ok_or(ControlError::Value)?)))
}

/// The message of [`ControlType::Abort`] and [`ControlType::Commit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// The epoch of the transaction coordinator that wrote the marker, to refuse markers of its predecessors.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// Reads the message. A later version begins the same way.
    ///
    /// # Errors
    /// [`ControlError::Value`] if it is too short or its version is negative.
    pub fn parse(mut value: &[u8]) -> Result<Self, ControlError> {
        match (value.try_get_i16(), value.try_get_i32()) {
            (Ok(version), Ok(coordinator_epoch)) if version >= END_TXN_MARKER_VERSION => {
                Ok(Self { coordinator_epoch })
            }
            _ => Err(ControlError::Value),
        }
    }

    /// The bytes of the message.
    #[must_use]
    pub fn to_bytes(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(6);
        bytes.put_i16(END_TXN_MARKER_VERSION);
        bytes.put_i32(self.coordinator_epoch);
        bytes.freeze()
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TxnResult {
    /// Its records are void.
    Abort,
    /// Its records are valid.
    Commit,
}

impl From<TxnResult> for ControlType {
    fn from(result: TxnResult) -> Self {
        match result {
            TxnResult::Abort => Self::Abort,
            TxnResult::Commit => Self::Commit,
        }
    }
}

/// The batch that ends a transaction on one partition.
///
/// Of `params` it takes the place in the log and the producer's id and epoch; what makes it a marker is set here.
/// `timestamp` is the time of writing in milliseconds since the Unix epoch.
#[must_use]
pub fn end_txn_marker(params: BatchParams, timestamp: i64, result: TxnResult, marker: EndTxnMarker) -> Bytes {
    let params = BatchParams { transactional: true, ..params };
    control_batch(params, timestamp, &[(result.into(), marker.to_bytes())])
}

/// A batch of control records, uncompressed and without sequence numbers, whatever `params` says about these.
///
/// `timestamp` is the time of writing in milliseconds since the Unix epoch.
#[must_use]
pub fn control_batch(params: BatchParams, timestamp: i64, records: &[(ControlType, Bytes)]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchParams {
        control: true,
        compression: crate::compression::Compression::None,
        base_sequence: crate::batch::NO_SEQUENCE,
        ..params
    });
    for (kind, message) in records {
        builder.append(timestamp, Some(&kind.key()), Some(message), &[]);
    }
    builder.build()
}
