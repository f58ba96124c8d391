use alloc::vec::Vec;

use bytes::Bytes;

use super::{DecodeError, Records, Str, Structure, TaggedFields, Uuid};

/// The longest text, as Kafka's decoder limits it also where the length is an unsigned integer of 32 bits.
const STRING_LEN_MAX: usize = 0x7fff;

/// How many elements of an array to make room for at once, so that arrays in arrays whose lengths lie do not each cost
/// as much as the input could hold.
const RESERVED_ELEMENTS_MAX: usize = 1024;

/// Reads fields from the front of a buffer; see the module for what happens after an error.
#[derive(Debug)]
pub struct Reader<'a> {
    input: &'a Bytes,
    /// Where the next field starts; never beyond `end`.
    at: usize,
    /// Where reading must stop: the input's end, or that of the tagged field being read.
    end: usize,
    flexible: bool,
    error: Option<DecodeError>,
}

/// A pass over a structure's tagged fields.
#[derive(Debug)]
pub struct Tags {
    left: u32,
    /// The tag being read, if one is.
    current: Option<u32>,
    /// The reader's end outside the tag being read.
    outer_end: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the front of `input`; `flexible` is whether lengths are compact and structures end with tagged fields.
    pub fn new(input: &'a Bytes, flexible: bool) -> Self {
        Self { input, at: 0, end: input.len(), flexible, error: None }
    }

    /// How much was read, or the first error.
    pub fn finish(self) -> Result<usize, DecodeError> {
        match self.error {
            None => Ok(self.at),
            Some(error) => Err(error),
        }
    }

    /// Whether an error happened; everything read since is made up.
    pub fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// Bytes left.
    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// Notes an error, unless one came before, and lets nothing more be read.
    pub fn fail(&mut self, error: DecodeError) {
        self.error.get_or_insert(error);
        self.at = 0;
        self.end = 0;
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.input[self.at..self.end].first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                *bytes
            }
            None => {
                self.fail(DecodeError::Truncated);
                [0; N]
            }
        }
    }

    fn slice(&mut self, len: usize) -> Bytes {
        if len > self.remaining() {
            self.fail(DecodeError::Truncated);
        }
        if len == 0 || self.failed() {
            return Bytes::new();
        }
        self.at += len;
        self.input.slice(self.at - len..self.at)
    }

    /// A boolean: any byte but 0 is true.
    pub fn bool(&mut self) -> bool {
        self.i8() != 0
    }

    /// An int8.
    pub fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.take())
    }

    /// An int16.
    pub fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    /// A uint16.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    /// An int32.
    pub fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    /// A uint32.
    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    /// An int64.
    pub fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }

    /// A float64.
    pub fn f64(&mut self) -> f64 {
        f64::from_be_bytes(self.take())
    }

    /// An id.
    pub fn uuid(&mut self) -> Uuid {
        Uuid(self.take())
    }

    /// An unsigned integer of up to 32 bits, 7 to a byte, lowest first.
    pub fn uvarint(&mut self) -> u32 {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take();
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if self.failed() { 0 } else { value };
            }
        }
        self.fail(DecodeError::BadVarint);
        0
    }

    /// What a length on the wire means: none for null.
    fn compact_length(&mut self) -> Option<usize> {
        let length = self.uvarint().checked_sub(1)?;
        if length > i32::MAX.unsigned_abs() {
            self.fail(DecodeError::InvalidLength);
        }
        usize::try_from(length).ok()
    }

    fn string_length(&mut self) -> Option<usize> {
        if self.flexible { self.compact_length() } else { usize::try_from(self.i16()).ok() }
    }

    fn length(&mut self) -> Option<usize> {
        if self.flexible { self.compact_length() } else { usize::try_from(self.i32()).ok() }
    }

    /// What to use for a null: nothing, or an error where null is not allowed.
    fn null<T>(&mut self, allowed: bool) -> Option<T> {
        if !allowed {
            self.fail(DecodeError::NullNotAllowed);
        }
        None
    }

    fn text(&mut self, length: Option<usize>, nullable: bool) -> Option<Str> {
        match length {
            None => self.null(nullable),
            Some(length) if length > STRING_LEN_MAX => {
                self.fail(DecodeError::InvalidLength);
                None
            }
            Some(length) => Some(Str::from_bytes_lossy(self.slice(length))),
        }
    }

    /// A text.
    pub fn string(&mut self) -> Str {
        self.nullable_string(false).unwrap_or_default()
    }

    /// A text or, where allowed, null.
    pub fn nullable_string(&mut self, nullable: bool) -> Option<Str> {
        let length = self.string_length();
        self.text(length, nullable)
    }

    /// A text or null whose length is an int16 at every version: the client id of a request header.
    pub fn legacy_nullable_string(&mut self, nullable: bool) -> Option<Str> {
        let length = usize::try_from(self.i16()).ok();
        self.text(length, nullable)
    }

    /// Bytes.
    pub fn bytes(&mut self) -> Bytes {
        self.nullable_bytes(false).unwrap_or_default()
    }

    /// Bytes or, where allowed, null.
    pub fn nullable_bytes(&mut self, nullable: bool) -> Option<Bytes> {
        match self.length() {
            None => self.null(nullable),
            Some(length) => Some(self.slice(length)),
        }
    }

    /// Record batches or, where allowed, null.
    pub fn records(&mut self, nullable: bool) -> Option<Records> {
        self.nullable_bytes(nullable).map(Records::Bytes)
    }

    /// An array whose elements take at least `element_len_min` bytes each, which bounds what a length can make it
    /// allocate.
    pub fn array<T: Structure>(&mut self, version: i16, element_len_min: usize) -> Vec<T> {
        self.nullable_array(version, element_len_min, false).unwrap_or_default()
    }

    /// An array or, where allowed, null.
    pub fn nullable_array<T: Structure>(
        &mut self,
        version: i16,
        element_len_min: usize,
        nullable: bool,
    ) -> Option<Vec<T>> {
        let count = match self.length() {
            None => return self.null(nullable),
            Some(count) => self.checked_count(count, element_len_min),
        };
        let mut elements = Vec::with_capacity(count.min(RESERVED_ELEMENTS_MAX));
        for _ in 0..count {
            elements.push(T::read(self, version));
            if self.failed() {
                break;
            }
        }
        Some(elements)
    }

    /// How many elements to read: 0 after an error, of which too many for the input is one.
    fn checked_count(&mut self, count: usize, element_len_min: usize) -> usize {
        if count > self.remaining() / element_len_min.max(1) {
            self.fail(DecodeError::Truncated);
        }
        if self.failed() { 0 } else { count }
    }

    /// A structure or, where allowed, null, outside tagged fields: a byte below 0 for null, then the structure.
    pub fn nullable_structure<T: Structure>(&mut self, version: i16) -> Option<T> {
        if self.i8() < 0 { None } else { Some(T::read(self, version)) }
    }

    /// A structure or null as the content of a tagged field: 0 for null.
    pub fn nullable_tagged_structure<T: Structure>(&mut self, version: i16) -> Option<T> {
        if self.uvarint() == 0 { None } else { Some(T::read(self, version)) }
    }

    /// Starts the tagged fields that end a structure; a version without them has none.
    pub fn tags(&mut self) -> Tags {
        let left = if self.flexible { self.uvarint() } else { 0 };
        Tags { left, current: None, outer_end: self.end }
    }

    /// Ends the tagged field being read, if any, and starts the next.
    pub fn next_tag(&mut self, tags: &mut Tags) -> Option<u32> {
        if let Some(current) = tags.current {
            if self.at != self.end {
                self.fail(DecodeError::InvalidTaggedFieldSize(current));
            } else if !self.failed() {
                self.end = tags.outer_end;
            }
        }
        if tags.left == 0 || self.failed() {
            return None;
        }
        tags.left -= 1;
        let tag = self.uvarint();
        let size = self.uvarint();
        if tags.current.is_some_and(|current| tag <= current) {
            self.fail(DecodeError::InvalidTag(tag));
        }
        match usize::try_from(size) {
            Ok(size) if size <= self.remaining() => self.end = self.at + size,
            Ok(_) | Err(_) => self.fail(DecodeError::Truncated),
        }
        tags.current = Some(tag);
        if self.failed() { None } else { Some(tag) }
    }

    /// Keeps the tagged field being read as one that the schema does not know.
    pub fn unknown_tag(&mut self, tag: u32, unknown: &mut TaggedFields) {
        let content = self.slice(self.remaining());
        unknown.0.push((tag, content));
    }

    /// Tagged fields of a structure that knows none.
    pub fn unknown_tags(&mut self) -> TaggedFields {
        let mut unknown = TaggedFields::new();
        let mut tags = self.tags();
        while let Some(tag) = self.next_tag(&mut tags) {
            self.unknown_tag(tag, &mut unknown);
        }
        unknown
    }

    /// Refuses a tagged field that the schema knows, but not at this version.
    pub fn misplaced_tag(&mut self, tag: u32) {
        self.fail(DecodeError::InvalidTag(tag));
    }
}
