//! Record batches, magic 2: reading, judging, stamping and building them.
//!
//! A batch is a header of [`HEADER_LEN`] bytes and a body of records, the body possibly compressed as one block. Brokers
//! move batches as they are: the leader writes an offset and an epoch into the header, both outside of the checksum, and
//! nobody looks into the body again until a consumer does. Therefore:
//!
//! * [`Batch`] is a slice of a log or of a response: the header is parsed, the rest is opaque until asked for.
//! * [`validate`] judges what a producer sent by its bytes alone. It is pure and costly, and its result
//!   [`ValidatedBatch`] is the only form in which the core takes a produced batch.
//! * [`assign`] stamps offset, epoch and perhaps the append time on it without touching the body.
//! * [`BatchBuilder`] writes batches for brokers' own records.
//!
//! What depends on a topic's configuration is not decided here, only prepared: see the accessors of [`ValidatedBatch`].

use alloc::borrow::Cow;
use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::compression::{self, Compression, CompressionError};
use crate::crc::{crc32c, crc32c_append, crc32c_replace_prefix};
use crate::error_code::ErrorCode;

/// The length of a batch's header in bytes. The records follow it.
pub const HEADER_LEN: usize = 61;

/// The length in bytes of what stands before the part of a batch that its length field counts.
pub const LOG_OVERHEAD: usize = 12;

/// "No timestamp", in records and headers.
pub const NO_TIMESTAMP: i64 = -1;

/// "Not an idempotent producer's", in headers.
pub const NO_PRODUCER_ID: i64 = -1;

/// "Not an idempotent producer's", in headers.
pub const NO_PRODUCER_EPOCH: i16 = -1;

/// "No sequence number", in headers.
pub const NO_SEQUENCE: i32 = -1;

/// "Not yet stamped by a leader", in headers.
pub const NO_PARTITION_LEADER_EPOCH: i32 = -1;

/// The only magic that is still written.
pub const MAGIC: i8 = 2;

/// The smallest legal length field: that of a batch without records.
const BATCH_LENGTH_MIN: i32 = 49;

/// The checksum covers the batch from here to its end: all but offset, length, epoch, magic and itself.
const CRC_COVERS_FROM: usize = 21;

/// The smallest length field of the message formats before this one.
const LEGACY_LENGTH_MIN: i32 = 14;

const TIMESTAMP_TYPE_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
const DELETE_HORIZON_BIT: i16 = 1 << 6;
/// The bits of the attributes that have a meaning. A broker that rewrites a header clears the others.
const KNOWN_BITS: i16 = 0x7F;

/// Whose clock the timestamps of a batch are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimestampType {
    /// The producer's: every record has its own.
    #[default]
    CreateTime,
    /// The leader's at the append: the batch's greatest timestamp stands for all its records.
    LogAppendTime,
}

/// Why bytes are not a batch, or a batch is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// There are fewer bytes than the header or the header's length field asks for.
    #[error("a batch of {needed} bytes is cut off after {available}")]
    Truncated {
        /// The number of bytes that are there.
        available: usize,
        /// The number of bytes that belong there.
        needed: usize,
    },
    /// There are more bytes than one batch.
    #[error("{count} bytes follow the batch")]
    TrailingBytes {
        /// The number of bytes behind the batch.
        count: usize,
    },
    /// The magic is not 2.
    #[error("unsupported magic {0}")]
    UnsupportedMagic(i8),
    /// The length field is smaller than a header.
    #[error("illegal batch length {0}")]
    IllegalLength(i32),
    /// The checksum in the header is not that of the bytes.
    #[error("stored checksum {stored:#010x}, computed {computed:#010x}")]
    CrcMismatch {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// The attributes name a codec that does not exist. Holds its number.
    #[error("unknown compression codec {0}")]
    UnknownCompression(i16),
    /// The batch would be larger than its length field can say.
    #[error("a batch of {0} bytes is too large")]
    TooLarge(usize),
    /// The body could not be decompressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// The body does not hold the records that the header declares.
    #[error(transparent)]
    Records(#[from] RecordError),
}

/// Why the body of a batch is not the records that its header declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The header declares a negative number of records.
    #[error("illegal number of records {0}")]
    IllegalCount(i32),
    /// A record, or a part of one, reaches beyond what encloses it.
    #[error("a record is cut off")]
    Truncated,
    /// A number of variable length does not end.
    #[error("a number of variable length is too long")]
    VarintTooLong,
    /// A length is negative where it may not be.
    #[error("illegal length {0}")]
    IllegalLength(i32),
    /// A number of headers is negative or more than its record has room for.
    #[error("illegal number of headers {0}")]
    IllegalHeaderCount(i32),
    /// A record is shorter than its own length says.
    #[error("{0} bytes are left over within a record")]
    LengthMismatch(usize),
    /// The batch goes on after the declared number of records.
    #[error("{0} bytes are left over after the last record")]
    TrailingBytes(usize),
}

/// The header of a batch, field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record, even if compaction has removed it. Not covered by the checksum.
    pub base_offset: i64,
    /// The number of bytes after this field; the whole batch is [`LOG_OVERHEAD`] longer. Not covered by the checksum.
    pub batch_length: i32,
    /// The epoch of the leader that appended the batch, -1 from a producer. Not covered by the checksum.
    pub partition_leader_epoch: i32,
    /// Always 2 in a parsed header.
    pub magic: i8,
    /// CRC-32C of everything from `attributes` to the end of the batch.
    pub crc: u32,
    /// Codec and flags; see the methods.
    pub attributes: i16,
    /// The offset of the last record, even if compaction has removed it, minus `base_offset`.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to, in milliseconds since the Unix epoch. The first record's, unless a
    /// delete horizon stands here: [`BatchHeader::has_delete_horizon`].
    pub base_timestamp: i64,
    /// The greatest timestamp of the records, or the append time that stands for all of them, in milliseconds.
    pub max_timestamp: i64,
    /// The idempotent producer's id, -1 if there is none.
    pub producer_id: i64,
    /// The idempotent producer's epoch, -1 if there is none.
    pub producer_epoch: i16,
    /// The sequence number of the first record, -1 if there is none.
    pub base_sequence: i32,
    /// The number of records in the body. 0 in a batch that compaction emptied but kept for its producer's sake.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads a header. Checks the magic and that the length field is at least a header's, and nothing else.
    ///
    /// # Errors
    /// [`BatchError::Truncated`] if there are fewer than [`HEADER_LEN`] bytes, [`BatchError::UnsupportedMagic`],
    /// [`BatchError::IllegalLength`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(mut bytes) = bytes.get(..HEADER_LEN) else {
            return Err(BatchError::Truncated { available: bytes.len(), needed: HEADER_LEN });
        };
        let header = Self {
            base_offset: bytes.get_i64(),
            batch_length: bytes.get_i32(),
            partition_leader_epoch: bytes.get_i32(),
            magic: bytes.get_i8(),
            crc: bytes.get_u32(),
            attributes: bytes.get_i16(),
            last_offset_delta: bytes.get_i32(),
            base_timestamp: bytes.get_i64(),
            max_timestamp: bytes.get_i64(),
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            base_sequence: bytes.get_i32(),
            records_count: bytes.get_i32(),
        };
        if header.magic != MAGIC {
            return Err(BatchError::UnsupportedMagic(header.magic));
        }
        if header.batch_length < BATCH_LENGTH_MIN {
            return Err(BatchError::IllegalLength(header.batch_length));
        }
        Ok(header)
    }

    /// Writes the header as it is, checksum included, to the first [`HEADER_LEN`] bytes of `out`.
    ///
    /// # Panics
    /// If `out` is shorter.
    pub fn write(&self, out: &mut [u8]) {
        let mut out = &mut out[..HEADER_LEN];
        out.put_i64(self.base_offset);
        out.put_i32(self.batch_length);
        out.put_i32(self.partition_leader_epoch);
        out.put_i8(self.magic);
        out.put_u32(self.crc);
        out.put_i16(self.attributes);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.records_count);
    }

    /// The header's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        self.write(&mut bytes);
        bytes
    }

    /// The size of the whole batch in bytes, header included.
    #[must_use]
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// The offset of the last record.
    #[must_use]
    pub const fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(self.last_offset_delta as i64)
    }

    /// The offset after the last record.
    #[must_use]
    pub const fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// The sequence number of the last record, -1 if the batch has none. The number after the greatest one is 0.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
        }
    }

    /// The codec of the body.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`].
    pub const fn compression(&self) -> Result<Compression, BatchError> {
        match Compression::from_attributes(self.attributes) {
            Some(codec) => Ok(codec),
            None => Err(BatchError::UnknownCompression(self.attributes & Compression::ATTRIBUTE_MASK)),
        }
    }

    /// Whose clock the timestamps are.
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & TIMESTAMP_TYPE_BIT == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the records belong to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the records are a broker's marks and not data: see [`crate::control`].
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Whether `base_timestamp` is the time after which compaction may remove the batch's tombstones and markers.
    #[must_use]
    pub const fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    /// The time after which compaction may remove the batch's tombstones and markers, in milliseconds.
    #[must_use]
    pub const fn delete_horizon(&self) -> Option<i64> {
        if self.has_delete_horizon() { Some(self.base_timestamp) } else { None }
    }

    /// Whether an idempotent producer wrote the batch.
    #[must_use]
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// The checksum of the part of the header that it covers.
    fn covered_crc(&self) -> u32 {
        crc32c(&self.to_bytes()[CRC_COVERS_FROM..])
    }

    /// Brings the checksum up to date with the header, which was `before` when the checksum was right. The body is the
    /// same and is not read.
    fn update_crc(&mut self, before: &Self, body_len: usize) {
        self.crc = crc32c_replace_prefix(before.crc, before.covered_crc(), self.covered_crc(), body_len);
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, -1 if it has none. The append time if that is the batch's timestamp type.
    pub timestamp: i64,
    /// The key, if there is one.
    pub key: Option<Bytes>,
    /// The value, if there is one. None is a tombstone to compaction.
    pub value: Option<Bytes>,
    /// The headers in the order in which they were written. A key may occur more than once.
    pub headers: Vec<RecordHeader>,
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The key. UTF-8 by convention; nobody checks it.
    pub key: Bytes,
    /// The value, if there is one.
    pub value: Option<Bytes>,
}

/// A whole batch: its header is parsed and its length is that of its bytes. Whether the checksum and the records are
/// right is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    /// Exactly `header.size()` bytes.
    bytes: Bytes,
}

impl Batch {
    /// Takes exactly one batch.
    ///
    /// # Errors
    /// Those of [`BatchHeader::parse`], [`BatchError::Truncated`] and [`BatchError::TrailingBytes`].
    pub fn new(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        let (available, needed) = (bytes.len(), header.size());
        if available < needed {
            return Err(BatchError::Truncated { available, needed });
        }
        if available > needed {
            return Err(BatchError::TrailingBytes { count: available - needed });
        }
        Ok(Self { header, bytes })
    }

    /// Splits off the first whole batch. `Ok(None)` when what is left is empty or the beginning of a batch, as the end of
    /// a fetch response may be; the bytes are then left alone, as they are on an error.
    ///
    /// # Errors
    /// Those of [`BatchHeader::parse`].
    pub fn first_of(bytes: &mut Bytes) -> Result<Option<Self>, BatchError> {
        if bytes.len() < HEADER_LEN {
            return Ok(None);
        }
        let header = BatchHeader::parse(bytes)?;
        if header.size() > bytes.len() {
            return Ok(None);
        }
        Ok(Some(Self { header, bytes: bytes.split_to(header.size()) }))
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole batch, header included.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The records as they are on the wire, compressed or not.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// The records without compression: a slice of the batch if they have none.
    fn decompress(&self, output_limit: usize) -> Result<Bytes, BatchError> {
        let codec = self.header.compression()?;
        if codec == Compression::None {
            Ok(self.bytes.slice(HEADER_LEN..))
        } else {
            Ok(compression::decompress(codec, self.body(), output_limit)?.into())
        }
    }

    /// Compares the checksum in the header with that of the bytes.
    ///
    /// # Errors
    /// [`BatchError::CrcMismatch`].
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let (stored, computed) = (self.header.crc, crc32c(&self.bytes[CRC_COVERS_FROM..]));
        if stored == computed { Ok(()) } else { Err(BatchError::CrcMismatch { stored, computed }) }
    }

    /// The records, one after the other, as slices of the batch or of its decompressed body.
    ///
    /// `output_limit` is the number of bytes that a compressed body may decompress to.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`], [`BatchError::Compression`], [`RecordError::IllegalCount`].
    pub fn records(&self, output_limit: usize) -> Result<RecordIter, BatchError> {
        if self.header.records_count < 0 {
            return Err(RecordError::IllegalCount(self.header.records_count).into());
        }
        let body = self.decompress(output_limit)?;
        Ok(RecordIter { header: self.header, body, left: self.header.records_count, failed: false })
    }

    /// Stamps offset and leader epoch on a batch that a broker built itself and therefore need not be validated.
    #[must_use]
    pub fn assign(self, base_offset: i64, leader_epoch: i32) -> AppendableBatch {
        AppendableBatch::stamp(self, base_offset, leader_epoch, None)
    }
}

/// The records of one batch: see [`Batch::records`]. Ends after the first error.
#[derive(Clone, Debug)]
pub struct RecordIter {
    header: BatchHeader,
    /// What of the decompressed body has not been read yet.
    body: Bytes,
    /// The number of records that the header still promises.
    left: i32,
    /// Nothing follows an error.
    failed: bool,
}

impl RecordIter {
    fn read(&mut self) -> Result<Record, RecordError> {
        let mut rest = &self.body[..];
        let raw = RawRecord::read(&mut rest)?;
        let part = |slice: &[u8]| self.body.slice_ref(slice);
        let mut headers = Vec::with_capacity(raw.headers_count);
        let mut bytes = raw.headers;
        for _ in 0..raw.headers_count {
            let (key, value) = read_header(&mut bytes)?;
            headers.push(RecordHeader { key: part(key), value: value.map(part) });
        }
        let record = Record {
            offset: self.header.base_offset.wrapping_add(i64::from(raw.offset_delta)),
            timestamp: match self.header.timestamp_type() {
                TimestampType::CreateTime => self.header.base_timestamp.wrapping_add(raw.timestamp_delta),
                TimestampType::LogAppendTime => self.header.max_timestamp,
            },
            key: raw.key.map(part),
            value: raw.value.map(part),
            headers,
        };
        let read = self.body.len() - rest.len();
        self.body.advance(read);
        Ok(record)
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let result = if self.left > 0 {
            self.left -= 1;
            self.read()
        } else if self.body.is_empty() {
            return None;
        } else {
            Err(RecordError::TrailingBytes(self.body.len()))
        };
        self.failed = result.is_err();
        Some(result.map_err(BatchError::from))
    }
}

/// A record as slices of a decompressed body. Everything but the headers' order and the batch's own rules is checked.
struct RawRecord<'a> {
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers_count: usize,
    /// `headers_count` legal headers and nothing else.
    headers: &'a [u8],
}

impl<'a> RawRecord<'a> {
    #[inline]
    fn read(rest: &mut &'a [u8]) -> Result<Self, RecordError> {
        let len = read_varint(rest)?;
        let mut bytes = read_bytes(rest, len)?;
        // No bit of a record's attributes has ever had a meaning.
        let _attributes = bytes.split_off_first().ok_or(RecordError::Truncated)?;
        let timestamp_delta = read_varlong(&mut bytes)?;
        let offset_delta = read_varint(&mut bytes)?;
        let key = read_nullable_bytes(&mut bytes)?;
        let value = read_nullable_bytes(&mut bytes)?;
        let count = read_varint(&mut bytes)?;
        let headers = bytes;
        let headers_count = match usize::try_from(count) {
            // A header is two lengths at least.
            Ok(headers_count) if headers_count <= bytes.len() / 2 => headers_count,
            _ => return Err(RecordError::IllegalHeaderCount(count)),
        };
        for _ in 0..headers_count {
            read_header(&mut bytes)?;
        }
        if !bytes.is_empty() {
            return Err(RecordError::LengthMismatch(bytes.len()));
        }
        Ok(Self { timestamp_delta, offset_delta, key, value, headers_count, headers })
    }
}

fn read_header<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), RecordError> {
    let len = read_varint(rest)?;
    let key = read_bytes(rest, len)?;
    Ok((key, read_nullable_bytes(rest)?))
}

#[inline]
fn read_nullable_bytes<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    match read_varint(rest)? {
        -1 => Ok(None),
        len => read_bytes(rest, len).map(Some),
    }
}

#[inline]
fn read_bytes<'a>(rest: &mut &'a [u8], len: i32) -> Result<&'a [u8], RecordError> {
    let len = usize::try_from(len).map_err(|_| RecordError::IllegalLength(len))?;
    rest.split_off(..len).ok_or(RecordError::Truncated)
}

/// A zig-zag encoded number of at most five bytes. Bits beyond the 32nd are dropped, as Kafka does.
#[inline]
fn read_varint(rest: &mut &[u8]) -> Result<i32, RecordError> {
    let mut value = 0_u32;
    for shift in (0..35).step_by(7) {
        let byte = *rest.split_off_first().ok_or(RecordError::Truncated)?;
        value |= u32::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err(RecordError::VarintTooLong)
}

/// A zig-zag encoded number of at most ten bytes. Bits beyond the 64th are dropped, as Kafka does.
#[inline]
fn read_varlong(rest: &mut &[u8]) -> Result<i64, RecordError> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = *rest.split_off_first().ok_or(RecordError::Truncated)?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err(RecordError::VarintTooLong)
}

/// What [`validate`] is allowed to accept and to spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The number of bytes that a compressed body may decompress to.
    pub decompressed_bytes_max: usize,
    /// Whether zstd is legal: from Produce version 7 on.
    pub zstd_allowed: bool,
}

/// Why a produced batch is refused: what the produce response says about its partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct InvalidBatch {
    /// The partition's error code.
    pub code: ErrorCode,
    /// The records that are to blame, by their index in the batch, each with a sentence. Empty if the batch is to blame as
    /// a whole.
    pub record_errors: Vec<(i32, Cow<'static, str>)>,
    /// A sentence about the batch.
    pub message: Cow<'static, str>,
}

impl InvalidBatch {
    fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, record_errors: Vec::new(), message: message.into() }
    }

    fn record(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRecord, message)
    }

    fn corrupt(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::CorruptMessage, message)
    }
}

impl From<BatchError> for InvalidBatch {
    fn from(error: BatchError) -> Self {
        let code = match error {
            BatchError::Truncated { .. } | BatchError::TrailingBytes { .. } | BatchError::Records(_) => {
                ErrorCode::InvalidRecord
            }
            BatchError::UnsupportedMagic(_)
            | BatchError::IllegalLength(_)
            | BatchError::CrcMismatch { .. } => ErrorCode::CorruptMessage,
            BatchError::UnknownCompression(_) => ErrorCode::UnsupportedCompressionType,
            BatchError::TooLarge(_) => ErrorCode::MessageTooLarge,
            BatchError::Compression(error) => match error {
                CompressionError::OutputLimit { .. } => ErrorCode::MessageTooLarge,
                CompressionError::Unavailable { .. } => ErrorCode::UnsupportedCompressionType,
                // The checksum was right, so the producer wrote it like this, and sending it again will not help.
                CompressionError::Corrupt { .. } | CompressionError::Refused { .. } => {
                    ErrorCode::InvalidRecord
                }
            },
        };
        Self::new(code, alloc::format!("{error}."))
    }
}

impl From<RecordError> for InvalidBatch {
    fn from(error: RecordError) -> Self {
        BatchError::from(error).into()
    }
}

/// What one pass over the records of a produced batch finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    max_timestamp: i64,
    min_timestamp: i64,
    offset_of_max_timestamp_delta: i32,
    first_keyless_record: Option<i32>,
}

impl Facts {
    /// `body` is decompressed. Allocates nothing.
    fn gather(header: &BatchHeader, body: &[u8]) -> Result<Self, InvalidBatch> {
        let mut facts = Self {
            max_timestamp: NO_TIMESTAMP,
            min_timestamp: i64::MAX,
            offset_of_max_timestamp_delta: 0,
            first_keyless_record: None,
        };
        let mut rest = body;
        for index in 0..header.records_count {
            let record = RawRecord::read(&mut rest)?;
            if record.offset_delta != index {
                return Err(InvalidBatch::record("The offsets of the records are not contiguous from 0."));
            }
            if record.key.is_none() && facts.first_keyless_record.is_none() {
                facts.first_keyless_record = Some(index);
            }
            let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
            if timestamp > facts.max_timestamp {
                facts.max_timestamp = timestamp;
                facts.offset_of_max_timestamp_delta = index;
            }
            if timestamp != NO_TIMESTAMP {
                facts.min_timestamp = facts.min_timestamp.min(timestamp);
            }
        }
        if !rest.is_empty() {
            return Err(RecordError::TrailingBytes(rest.len()).into());
        }
        if facts.min_timestamp == i64::MAX {
            facts.min_timestamp = NO_TIMESTAMP;
        }
        Ok(facts)
    }
}

/// A produced batch that was judged by its own bytes and found good. [`validate`] is the only way to get one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedBatch {
    batch: Batch,
    facts: Facts,
    /// The length of the body without compression, in bytes.
    decompressed_len: usize,
}

impl ValidatedBatch {
    /// The header. Its greatest timestamp is that of the records, whatever the producer wrote there.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.batch.header
    }

    /// The whole batch, header included.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.batch.bytes
    }

    /// The batch.
    #[must_use]
    pub const fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The number of records, at least 1.
    #[must_use]
    pub const fn records_count(&self) -> i32 {
        self.batch.header.records_count
    }

    /// The length of the body without compression, in bytes.
    #[must_use]
    pub const fn decompressed_len(&self) -> usize {
        self.decompressed_len
    }

    /// The greatest timestamp of a record in milliseconds, -1 if none has one.
    #[must_use]
    pub const fn max_timestamp(&self) -> i64 {
        self.facts.max_timestamp
    }

    /// The smallest timestamp of those records that have one, in milliseconds, -1 if none has one.
    #[must_use]
    pub const fn min_timestamp(&self) -> i64 {
        self.facts.min_timestamp
    }

    /// The index of the first record with the greatest timestamp, 0 if none has a timestamp.
    #[must_use]
    pub const fn offset_of_max_timestamp_delta(&self) -> i32 {
        self.facts.offset_of_max_timestamp_delta
    }

    /// The index of the first record without a key, which a compacted topic does not take.
    #[must_use]
    pub const fn first_keyless_record(&self) -> Option<i32> {
        self.facts.first_keyless_record
    }

    /// The records, to say which of them a topic's configuration refuses. Decompresses the body once more.
    ///
    /// # Errors
    /// None that [`validate`] would have let pass.
    pub fn records(&self) -> Result<RecordIter, BatchError> {
        self.batch.records(self.decompressed_len)
    }

    /// The same batch in the codec that the topic asks for.
    ///
    /// # Errors
    /// Those of [`recompress`].
    pub fn recompress(self, codec: Compression, level: Option<i32>) -> Result<Self, BatchError> {
        let bytes = recompress(&self.batch, codec, level, self.decompressed_len)?;
        Ok(Self { batch: Batch::new(bytes)?, ..self })
    }
}

/// Judges what a producer sent for one partition by its bytes alone: the part of Kafka's validation that needs no topic.
///
/// Good is exactly one whole batch of magic 2 that starts at offset 0, has the right checksum, is not a control batch, and
/// holds at least one record, as many as it declares, with offsets from 0 on without a gap. If the greatest timestamp in
/// the header is not that of the records the header is corrected, checksum included.
///
/// The size of the batch, its timestamps and missing keys are for the caller to judge, who knows the topic.
///
/// # Errors
/// What the produce response says about the partition.
pub fn validate(records: Bytes, limits: &Limits) -> Result<ValidatedBatch, InvalidBatch> {
    let batch = validate_frame(records, limits)?;
    let header = batch.header;
    if header.base_offset != 0 {
        return Err(InvalidBatch::record(alloc::format!(
            "The base offset of the batch should be 0 but is {}.",
            header.base_offset
        )));
    }
    batch.check_crc()?;
    header.compression()?;
    validate_header(&header)?;
    let body = batch.decompress(limits.decompressed_bytes_max)?;
    let facts = Facts::gather(&header, &body)?;
    let decompressed_len = body.len();
    // The correction below works in place only if nobody else holds the buffer.
    drop(body);
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(InvalidBatch {
            code: ErrorCode::InvalidTimestamp,
            record_errors: Vec::new(),
            message: Cow::Borrowed("LogAppendTime is the broker's to set, not a producer's"),
        });
    }
    let batch = if header.max_timestamp == facts.max_timestamp {
        batch
    } else {
        correct_max_timestamp(batch, &facts)
    };
    Ok(ValidatedBatch { batch, facts, decompressed_len })
}

/// Finds the one batch. The order of the checks is Kafka's: a batch that is cut off is no batch at all, and of formats
/// before this one only those that were never legal are corrupt.
fn validate_frame(records: Bytes, limits: &Limits) -> Result<Batch, InvalidBatch> {
    const NO_BATCH: &str = "A produce request must have exactly one record batch per partition but has none.";
    if let Some((_, mut length)) = records.split_at_checked(8)
        && length.len() >= 4
    {
        let length = length.get_i32();
        if length < LEGACY_LENGTH_MIN {
            return Err(InvalidBatch::corrupt(alloc::format!("Illegal batch length {length}.")));
        }
    }
    let Some(&magic) = records.get(16) else { return Err(InvalidBatch::record(NO_BATCH)) };
    match magic.cast_signed() {
        MAGIC => {}
        magic @ (0 | 1) => {
            return Err(InvalidBatch::record(alloc::format!(
                "Only record batches with magic version 2 are allowed, not {magic}."
            )));
        }
        magic => return Err(BatchError::UnsupportedMagic(magic).into()),
    }
    let mut rest = records;
    let Some(batch) = Batch::first_of(&mut rest)? else { return Err(InvalidBatch::record(NO_BATCH)) };
    if batch.header.compression() == Ok(Compression::Zstd) && !limits.zstd_allowed {
        return Err(InvalidBatch::new(
            ErrorCode::UnsupportedCompressionType,
            "Produce requests before version 7 are not allowed to use ZStandard compression.",
        ));
    }
    if !rest.is_empty() {
        return Err(InvalidBatch::record(
            "A produce request must have exactly one record batch per partition but has more.",
        ));
    }
    Ok(batch)
}

fn validate_header(header: &BatchHeader) -> Result<(), InvalidBatch> {
    if header.last_offset_delta < 0 {
        return Err(InvalidBatch::record(alloc::format!(
            "Batch has an invalid offset range: its last offset delta is {}.",
            header.last_offset_delta
        )));
    }
    if header.records_count <= 0 {
        return Err(InvalidBatch::record(alloc::format!(
            "Invalid reported count for record batch: {}.",
            header.records_count
        )));
    }
    if header.last_offset_delta != header.records_count - 1 {
        return Err(InvalidBatch::record(alloc::format!(
            "Inconsistent batch: last offset delta {} and count of records {}.",
            header.last_offset_delta,
            header.records_count
        )));
    }
    if header.is_control() {
        return Err(InvalidBatch::record("Clients are not allowed to write control records."));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(InvalidBatch::record(alloc::format!(
            "Invalid sequence number {} in record batch with producer id {}.",
            header.base_sequence,
            header.producer_id
        )));
    }
    Ok(())
}

/// Writes the records' greatest timestamp into the header, in place if nobody else holds the buffer.
fn correct_max_timestamp(batch: Batch, facts: &Facts) -> Batch {
    let mut header = batch.header;
    header.attributes &= KNOWN_BITS;
    header.max_timestamp = facts.max_timestamp;
    header.update_crc(&batch.header, batch.body().len());
    let mut bytes = BytesMut::from(batch.bytes);
    header.write(&mut bytes);
    Batch { header, bytes: bytes.freeze() }
}

/// A batch that carries its place in the log: what the leader hands to the disk and, from there, to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendableBatch {
    header: BatchHeader,
    /// The stamped header, and the body as it was received.
    bytes: [Bytes; 2],
}

impl AppendableBatch {
    fn stamp(batch: Batch, base_offset: i64, leader_epoch: i32, log_append_time: Option<i64>) -> Self {
        let mut header = batch.header;
        header.base_offset = base_offset;
        header.partition_leader_epoch = leader_epoch;
        if let Some(log_append_time) = log_append_time {
            header.attributes = header.attributes & KNOWN_BITS | TIMESTAMP_TYPE_BIT;
            header.max_timestamp = log_append_time;
            header.update_crc(&batch.header, batch.body().len());
        }
        // Copying the header costs one small allocation. Patching it in the network buffer would need that buffer to have
        // no other owner, which it has as soon as a request carries two partitions.
        Self { header, bytes: [Bytes::copy_from_slice(&header.to_bytes()), batch.bytes.slice(HEADER_LEN..)] }
    }

    /// The header as it stands in the log.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The header's bytes and the body's, to be written one after the other.
    #[must_use]
    pub const fn bytes(&self) -> &[Bytes; 2] {
        &self.bytes
    }

    /// The header's bytes and the body's, to be written one after the other.
    #[must_use]
    pub fn into_bytes(self) -> [Bytes; 2] {
        self.bytes
    }

    /// The size of the whole batch in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.header.size()
    }

    /// The batch in one piece: copies the body.
    #[must_use]
    pub fn to_contiguous(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.size());
        bytes.extend_from_slice(&self.bytes[0]);
        bytes.extend_from_slice(&self.bytes[1]);
        bytes.freeze()
    }
}

/// Stamps its place in the log on a produced batch: base offset, leader epoch and, if the topic says so, the append time
/// (milliseconds since the Unix epoch) that then stands for the timestamps of all its records. The body is not copied and
/// not read.
#[must_use]
pub fn assign(
    batch: ValidatedBatch,
    base_offset: i64,
    leader_epoch: i32,
    log_append_time: Option<i64>,
) -> AppendableBatch {
    AppendableBatch::stamp(batch.batch, base_offset, leader_epoch, log_append_time)
}

/// The same batch with its records in another codec. Everything else in the header, offsets and timestamps included,
/// stays as it is.
///
/// `level` is that of [`compression::compress`]; `output_limit` is the number of bytes that a compressed body may decompress
/// to. The records are not looked at.
///
/// # Errors
/// [`BatchError::UnknownCompression`] and [`BatchError::Compression`].
pub fn recompress(
    batch: &Batch,
    codec: Compression,
    level: Option<i32>,
    output_limit: usize,
) -> Result<Bytes, BatchError> {
    let records = batch.decompress(output_limit)?;
    let mut header = batch.header;
    header.attributes = header.attributes & KNOWN_BITS & !Compression::ATTRIBUTE_MASK | codec.attributes();
    if codec == Compression::None {
        seal(header, &records)
    } else {
        seal(header, &compression::compress(codec, level, &records)?)
    }
}

/// What compaction leaves of a batch: the records that `keep` wants, in the codec of the batch, under the same header.
///
/// The offsets of the batch's first and last record stay as they are even if these records go; so do the producer's
/// fields, so that the rest of the batch can still speak for its producer. The result may hold no record at all: whether
/// such a batch is still of use is the caller's to know. With `delete_horizon` (milliseconds since the Unix epoch) the batch
/// carries that time from then on; one that it has already stays.
///
/// `level` is that of [`compression::compress`]; `output_limit` is the number of bytes that a compressed body may decompress
/// to.
///
/// # Errors
/// Those of [`Batch::records`] and of its iterator, and [`BatchError::TooLarge`].
pub fn retain(
    batch: &Batch,
    level: Option<i32>,
    delete_horizon: Option<i64>,
    output_limit: usize,
    mut keep: impl FnMut(&Record) -> bool,
) -> Result<Bytes, BatchError> {
    let mut header = batch.header;
    header.attributes &= KNOWN_BITS;
    if let Some(delete_horizon) = delete_horizon {
        header.attributes |= DELETE_HORIZON_BIT;
        header.base_timestamp = delete_horizon;
    }
    let mut body = BytesMut::new();
    let mut max_timestamp = NO_TIMESTAMP;
    header.records_count = 0;
    for record in batch.records(output_limit)? {
        let record = record?;
        if !keep(&record) {
            continue;
        }
        if header.records_count == 0 && !header.has_delete_horizon() {
            header.base_timestamp = record.timestamp;
        }
        // Of the same 32 bits that the offset was computed from.
        let [.., d, c, b, a] = record.offset.wrapping_sub(header.base_offset).to_be_bytes();
        let offset_delta = i32::from_be_bytes([d, c, b, a]);
        let timestamp_delta = record.timestamp.wrapping_sub(header.base_timestamp);
        let headers = record.headers.iter().map(|header| (&header.key[..], header.value.as_deref()));
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        put_record(&mut body, offset_delta, timestamp_delta, key, value, headers);
        max_timestamp = max_timestamp.max(record.timestamp);
        header.records_count += 1;
    }
    if header.records_count > 0 && header.timestamp_type() == TimestampType::CreateTime {
        header.max_timestamp = max_timestamp;
    }
    let codec = header.compression()?;
    if header.records_count == 0 {
        header.attributes &= !Compression::ATTRIBUTE_MASK;
        seal(header, &[])
    } else if codec == Compression::None {
        seal(header, &body)
    } else {
        seal(header, &compression::compress(codec, level, &body)?)
    }
}

/// Writes a batch: fills in length and checksum.
fn seal(mut header: BatchHeader, body: &[u8]) -> Result<Bytes, BatchError> {
    let size = HEADER_LEN + body.len();
    header.batch_length = i32::try_from(size - LOG_OVERHEAD).map_err(|_| BatchError::TooLarge(size))?;
    let mut bytes = BytesMut::with_capacity(size);
    header.crc = crc32c_append(header.covered_crc(), body);
    bytes.extend_from_slice(&header.to_bytes());
    bytes.extend_from_slice(body);
    Ok(bytes.freeze())
}

/// What a [`BatchBuilder`] writes into the header of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchParams {
    /// The offset of the first record.
    pub base_offset: i64,
    /// The epoch of the leader that appends the batch.
    pub leader_epoch: i32,
    /// The codec of the body.
    pub compression: Compression,
    /// The codec's level; None is Kafka's default.
    pub compression_level: Option<i32>,
    /// Whose clock the timestamps are.
    pub timestamp_type: TimestampType,
    /// The idempotent producer's id, -1 if there is none.
    pub producer_id: i64,
    /// The idempotent producer's epoch, -1 if there is none.
    pub producer_epoch: i16,
    /// The sequence number of the first record, -1 if there is none.
    pub base_sequence: i32,
    /// Whether the records belong to a transaction.
    pub transactional: bool,
    /// Whether the records are a broker's marks and not data.
    pub control: bool,
}

impl Default for BatchParams {
    /// An uncompressed batch at offset 0, of no producer and no leader.
    fn default() -> Self {
        Self {
            base_offset: 0,
            leader_epoch: NO_PARTITION_LEADER_EPOCH,
            compression: Compression::None,
            compression_level: None,
            timestamp_type: TimestampType::CreateTime,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            transactional: false,
            control: false,
        }
    }
}

/// Writes one batch, record by record.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    params: BatchParams,
    /// Room for the header, then the records, uncompressed.
    buffer: BytesMut,
    /// The number of records so far.
    count: i32,
    /// The delta that the next appended record gets.
    next_delta: i64,
    /// The first record's, which the deltas are relative to.
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new(params: BatchParams) -> Self {
        Self {
            params,
            buffer: BytesMut::zeroed(HEADER_LEN),
            count: 0,
            next_delta: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// Appends a record with the next offset. `timestamp` is in milliseconds since the Unix epoch.
    ///
    /// # Panics
    /// If the batch would hold 2 GiB or more.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        let headers = headers.iter().map(|(key, value)| (key.as_bytes(), *value));
        self.append_record(self.next_delta, timestamp, key, value, headers);
    }

    /// Appends a record that has its offset already. The batch may have gaps.
    ///
    /// # Panics
    /// If the offset is not above that of the record before, or too far above the batch's first, or the batch would hold
    /// 2 GiB or more.
    pub fn append_at(&mut self, record: &Record) {
        let delta = record.offset - self.params.base_offset;
        assert!(delta >= self.next_delta, "the offsets of a batch ascend");
        let headers = record.headers.iter().map(|header| (&header.key[..], header.value.as_deref()));
        self.append_record(delta, record.timestamp, record.key.as_deref(), record.value.as_deref(), headers);
    }

    fn append_record<'a>(
        &mut self,
        offset_delta: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    ) {
        let delta = i32::try_from(offset_delta).expect("a batch spans fewer than 2^31 offsets");
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        put_record(&mut self.buffer, delta, timestamp_delta, key, value, headers);
        self.count += 1;
        self.next_delta = offset_delta + 1;
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }

    /// Whether nothing has been appended.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The number of records so far.
    #[must_use]
    pub const fn records_count(&self) -> i32 {
        self.count
    }

    /// The size of the batch in bytes if it were built at this point, header included and before compression.
    #[must_use]
    pub fn size_estimate(&self) -> usize {
        self.buffer.len()
    }

    /// The batch. A builder without records gives a batch without records.
    ///
    /// In a build that does not have the codec, the batch is not compressed.
    ///
    /// # Panics
    /// If the batch would be 2 GiB or more.
    #[must_use]
    pub fn build(mut self) -> Bytes {
        let params = self.params;
        let mut header = BatchHeader {
            base_offset: params.base_offset,
            batch_length: BATCH_LENGTH_MIN,
            partition_leader_epoch: params.leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes: if params.transactional { TRANSACTIONAL_BIT } else { 0 }
                | if params.control { CONTROL_BIT } else { 0 }
                | match params.timestamp_type {
                    TimestampType::CreateTime => 0,
                    TimestampType::LogAppendTime => TIMESTAMP_TYPE_BIT,
                },
            last_offset_delta: i32::try_from((self.next_delta - 1).max(0))
                .expect("the last record's delta fits"),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: params.producer_id,
            producer_epoch: params.producer_epoch,
            base_sequence: params.base_sequence,
            records_count: self.count,
        };
        if params.compression != Compression::None
            && self.count > 0
            && let Ok(body) = compression::compress(
                params.compression,
                params.compression_level,
                &self.buffer[HEADER_LEN..],
            )
        {
            header.attributes |= params.compression.attributes();
            return seal(header, &body).expect("a batch is smaller than 2 GiB");
        }
        header.batch_length = int32(self.buffer.len() - LOG_OVERHEAD);
        header.crc = crc32c_append(header.covered_crc(), &self.buffer[HEADER_LEN..]);
        header.write(&mut self.buffer);
        self.buffer.freeze()
    }
}

fn put_record<'a>(
    out: &mut BytesMut,
    offset_delta: i32,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
) {
    let headers_count = int32(headers.len());
    let headers_len: usize =
        headers.clone().map(|(key, value)| nullable_bytes_len(Some(key)) + nullable_bytes_len(value)).sum();
    let len = 1
        + varlong_len(timestamp_delta)
        + varint_len(offset_delta)
        + nullable_bytes_len(key)
        + nullable_bytes_len(value)
        + varint_len(headers_count)
        + headers_len;
    out.reserve(varint_len(int32(len)) + len);
    put_varint(out, int32(len));
    out.put_i8(0);
    put_varlong(out, timestamp_delta);
    put_varint(out, offset_delta);
    put_nullable_bytes(out, key);
    put_nullable_bytes(out, value);
    put_varint(out, headers_count);
    for (key, value) in headers {
        put_nullable_bytes(out, Some(key));
        put_nullable_bytes(out, value);
    }
}

/// A length as the format holds it.
fn int32(len: usize) -> i32 {
    i32::try_from(len).expect("a batch is smaller than 2 GiB")
}

const fn zig_zag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn varint_len(value: i32) -> usize {
    varlong_len(i64::from(value))
}

const fn varlong_len(value: i64) -> usize {
    let bits = u64::BITS - (zig_zag(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// The zig-zag encoding of a 32-bit number is that of the same 64-bit number.
fn put_varint(out: &mut BytesMut, value: i32) {
    put_varlong(out, i64::from(value));
}

fn put_varlong(out: &mut BytesMut, value: i64) {
    let mut value = zig_zag(value);
    while value >= 0x80 {
        out.put_u8(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.put_u8(value.to_le_bytes()[0]);
}

fn nullable_bytes_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint_len(int32(bytes.len())) + bytes.len())
}

fn put_nullable_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, int32(bytes.len()));
            out.put_slice(bytes);
        }
    }
}
