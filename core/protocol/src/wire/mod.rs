//! The primitive types of the wire, reading and writing them, and what every message can do.
//!
//! [`Reader`] and [`Writer`] keep their first error and go on with nothing: a read after an error yields defaults, so
//! that the generated code is a list of fields without a branch after each. [`Message::decode`] and
//! [`Message::encode`] report the error at the end.

mod error;
mod reader;
mod text;
mod uuid;
mod writer;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use bytes::{Buf, Bytes};

pub use error::{DecodeError, EncodeError};
pub use reader::{Reader, Tags};
pub use text::Str;
pub use uuid::{InvalidUuid, Uuid};
pub use writer::{Encoded, Placeholder, Splice, Spliced, Writer, WrittenTags};

use crate::api_key::ApiKey;

/// A message of the protocol or a persisted record: named, versioned, at the top level.
pub trait Message: Structure + Default + Clone + PartialEq + core::fmt::Debug {
    /// The name in Kafka's schema.
    const NAME: &'static str;
    /// The versions this crate reads and writes.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields, if any has them.
    const FLEXIBLE_FROM: Option<i16>;

    /// Whether a version has compact lengths and tagged fields.
    fn is_flexible(version: i16) -> bool {
        Self::FLEXIBLE_FROM.is_some_and(|from| version >= from)
    }

    /// Takes the message from the front of `buf` and leaves what follows it. On an error `buf` is as it was.
    fn decode(version: i16, buf: &mut Bytes) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(DecodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        let mut reader = Reader::new(buf, Self::is_flexible(version));
        let message = Self::read(&mut reader, version);
        let read = reader.finish()?;
        buf.advance(read);
        Ok(message)
    }

    /// Like [`decode`](Self::decode), and an error if anything follows the message.
    fn decode_all(version: i16, mut bytes: Bytes) -> Result<Self, DecodeError> {
        let message = Self::decode(version, &mut bytes)?;
        if bytes.is_empty() { Ok(message) } else { Err(DecodeError::TrailingBytes(bytes.len())) }
    }

    /// How many bytes [`encode`](Self::encode) writes, with those of stored ranges.
    fn encoded_len(&self, version: i16) -> Result<usize, EncodeError> {
        let mut counter = Writer::counting();
        self.encode(version, &mut counter)?;
        Ok(counter.len())
    }

    /// Writes the message.
    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(EncodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        out.start(Self::NAME, version, Self::is_flexible(version));
        self.write(out, version);
        out.check()
    }

    /// The message as bytes. A stored range is an error: its bytes are not here.
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut out = Writer::contiguous(self.encoded_len(version)?);
        self.encode(version, &mut out)?;
        let Encoded { bytes, splices } = out.finish();
        if splices.is_empty() { Ok(bytes) } else { Err(EncodeError::StoredRange { message: Self::NAME }) }
    }
}

/// A request, with its API and its answer.
pub trait Request: Message {
    /// The API.
    const API_KEY: ApiKey;
    /// What answers it.
    type Response: Message;
}

/// A persisted record's key or value, or a metadata record: a message with a type number in its log's frame.
pub trait PersistedRecord: Message {
    /// The type in the frame. Numbers are unique within one log, keys and values of one type share theirs.
    const RECORD_TYPE: i16;
}

/// A structure of the wire, nested or not: fields in order, then the tagged ones.
pub trait Structure: Sized {
    /// Reads the fields that the version has; the others keep their defaults.
    fn read(r: &mut Reader<'_>, version: i16) -> Self;

    /// Writes the fields that the version has.
    fn write(&self, w: &mut Writer, version: i16);
}

/// The content of a `records` field: record batches, opaque at this level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// Batches in memory. Decoding always gives these, as a slice of the frame.
    Bytes(Bytes),
    /// Batches in a file, which whoever sends the message sends from there.
    Stored(StoredRange),
}

impl Records {
    /// Bytes on the wire, without the length in front of them.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Stored(range) => range.len as usize,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<StoredRange> for Records {
    fn from(range: StoredRange) -> Self {
        Self::Stored(range)
    }
}

/// A stretch of a stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRange {
    /// The file, by whatever name the storage knows it.
    pub file: Arc<str>,
    /// Where the stretch starts, in bytes.
    pub position: u64,
    /// How long it is, in bytes.
    pub len: u32,
}

/// Tagged fields that this crate's schema does not know, kept so that they survive being passed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaggedFields(Vec<(u32, Bytes)>);

impl TaggedFields {
    /// No fields.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The fields in ascending order of their tags.
    pub fn iter(&self) -> core::slice::Iter<'_, (u32, Bytes)> {
        self.0.iter()
    }

    /// Sets a field, in its place.
    pub fn insert(&mut self, tag: u32, content: Bytes) {
        match self.0.binary_search_by_key(&tag, |(tag, _)| *tag) {
            Ok(at) => self.0[at].1 = content,
            Err(at) => self.0.insert(at, (tag, content)),
        }
    }
}

impl<'a> IntoIterator for &'a TaggedFields {
    type Item = &'a (u32, Bytes);
    type IntoIter = core::slice::Iter<'a, (u32, Bytes)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Whether a nullable array, text or byte field differs from its default of "there and empty".
pub(crate) fn differs_from_empty<T: Length>(field: &Option<T>) -> bool {
    field.as_ref().is_none_or(|content| content.length() != 0)
}

/// Things with a length.
pub(crate) trait Length {
    fn length(&self) -> usize;
}

impl Length for Str {
    fn length(&self) -> usize {
        self.len()
    }
}

impl Length for Bytes {
    fn length(&self) -> usize {
        self.len()
    }
}

impl<T> Length for Vec<T> {
    fn length(&self) -> usize {
        self.len()
    }
}

/// Bytes of an unsigned variable-length integer.
pub(crate) const fn uvarint_len(value: u32) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        0x20_0000..=0xfff_ffff => 4,
        _ => 5,
    }
}

macro_rules! structure_of_primitive {
    ($($primitive:ty => $method:ident),*) => { $(
        impl Structure for $primitive {
            fn read(r: &mut Reader<'_>, _: i16) -> Self {
                r.$method()
            }

            fn write(&self, w: &mut Writer, _: i16) {
                w.$method(*self);
            }
        }
    )* };
}

structure_of_primitive!(i8 => i8, i16 => i16, i32 => i32, i64 => i64, Uuid => uuid);

impl Structure for Str {
    fn read(r: &mut Reader<'_>, _: i16) -> Self {
        r.string()
    }

    fn write(&self, w: &mut Writer, _: i16) {
        w.string(self);
    }
}
