use alloc::vec::Vec;

use bytes::Bytes;

use super::{EncodeError, Records, StoredRange, Str, Structure, TaggedFields, Uuid, uvarint_len};

/// Record bytes at least this long are handed over rather than copied. Below it one write of more bytes is cheaper than
/// one more part of the message.
const SPLICE_LEN_MIN: usize = 4096;

/// Writes fields one after another; see the module for what happens after an error.
///
/// What lies in stored files is left out of the bytes and listed as a [`Splice`].
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    splices: Vec<Splice>,
    /// Bytes that count but are not in `bytes`: those of splices, or all where only the count is wanted.
    beside: usize,
    counting: bool,
    splice_len_min: usize,
    flexible: bool,
    message: &'static str,
    version: i16,
    error: Option<EncodeError>,
}

/// What a [`Writer`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes, without those of the splices.
    pub bytes: Bytes,
    /// What else is to be sent, and where, in ascending order.
    pub splices: Vec<Splice>,
}

impl Encoded {
    /// Bytes to be sent, with those of the splices.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.splices.iter().map(|splice| splice.what.len()).sum::<usize>()
    }

    /// Whether there is nothing to be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Something to be sent in the middle of the bytes of an [`Encoded`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// The position in [`Encoded::bytes`] before which it is to be sent.
    pub at: usize,
    /// What is to be sent.
    pub what: Spliced,
}

/// The content of a [`Splice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spliced {
    /// A stretch of a stored file.
    Stored(StoredRange),
    /// Bytes in memory, too many to be worth copying.
    Bytes(Bytes),
}

impl Spliced {
    /// Bytes to be sent.
    pub fn len(&self) -> usize {
        match self {
            Self::Stored(range) => range.len as usize,
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing to be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The tagged fields of a structure being written.
#[derive(Debug)]
pub struct WrittenTags<'a> {
    unknown: core::slice::Iter<'a, (u32, Bytes)>,
    /// Where the number of fields belongs.
    count_at: Placeholder,
    count: u32,
    last: Option<u32>,
}

/// A byte left for a number that is known later.
#[derive(Debug, Clone, Copy)]
pub struct Placeholder {
    /// Its position in the bytes.
    at: usize,
    /// How much was written before it, with splices.
    written: usize,
}

impl Writer {
    /// An empty writer with room for that many bytes.
    pub fn with_capacity(n: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(n),
            splices: Vec::new(),
            beside: 0,
            counting: false,
            splice_len_min: SPLICE_LEN_MIN,
            flexible: false,
            message: "",
            version: 0,
            error: None,
        }
    }

    /// A writer that copies all bytes in memory, however many.
    pub fn contiguous(n: usize) -> Self {
        Self { splice_len_min: usize::MAX, ..Self::with_capacity(n) }
    }

    /// A writer that keeps nothing but the count.
    pub fn counting() -> Self {
        Self { counting: true, ..Self::with_capacity(0) }
    }

    /// Bytes written, with those of splices.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.beside
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was written.
    pub fn finish(self) -> Encoded {
        Encoded { bytes: Bytes::from(self.bytes), splices: self.splices }
    }

    /// Starts a message; its name and version are for errors.
    pub fn start(&mut self, message: &'static str, version: i16, flexible: bool) {
        self.message = message;
        self.version = version;
        self.flexible = flexible;
    }

    /// The first error, which the writer then forgets; what it has written is of no use.
    pub fn check(&mut self) -> Result<(), EncodeError> {
        match self.error.take() {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    fn fail(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }

    fn too_long(&mut self) {
        self.fail(EncodeError::TooLong { message: self.message });
    }

    /// Refuses a field that the version lacks.
    pub fn refuse(&mut self, field: &'static str) {
        self.fail(EncodeError::FieldNotSupported { message: self.message, version: self.version, field });
    }

    fn null_not_allowed(&mut self, field: &'static str) {
        self.fail(EncodeError::NullNotAllowed { message: self.message, version: self.version, field });
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.counting {
            self.beside += bytes.len();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Overwrites 4 bytes written earlier, at a position in the bytes, with an int32.
    pub(crate) fn patch_i32(&mut self, at: usize, value: i32) {
        if !self.counting {
            self.bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.put(&[u8::from(value)]);
    }

    /// An int8.
    pub fn i8(&mut self, value: i8) {
        self.put(&value.to_be_bytes());
    }

    /// An int16.
    pub fn i16(&mut self, value: i16) {
        self.put(&value.to_be_bytes());
    }

    /// A uint16.
    pub fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// An int32.
    pub fn i32(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }

    /// A uint32.
    pub fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// An int64.
    pub fn i64(&mut self, value: i64) {
        self.put(&value.to_be_bytes());
    }

    /// A float64.
    pub fn f64(&mut self, value: f64) {
        self.put(&value.to_be_bytes());
    }

    /// An id.
    pub fn uuid(&mut self, value: Uuid) {
        self.put(&value.0);
    }

    /// An unsigned integer of up to 32 bits, 7 to a byte, lowest first.
    pub fn uvarint(&mut self, value: u32) {
        let (bytes, len) = uvarint_bytes(value);
        self.put(&bytes[..len]);
    }

    /// The length of a text, at most `max`: compact, or an int16.
    fn string_length(&mut self, length: usize, compact: bool) {
        match i16::try_from(length) {
            Ok(length) if compact => self.uvarint(u32::from(length.unsigned_abs()) + 1),
            Ok(length) => self.i16(length),
            Err(_) => self.too_long(),
        }
    }

    fn length(&mut self, length: usize) {
        match i32::try_from(length) {
            Ok(length) if self.flexible => self.uvarint(length.unsigned_abs() + 1),
            Ok(length) => self.i32(length),
            Err(_) => self.too_long(),
        }
    }

    fn null_string(&mut self, nullable: bool, field: &'static str, compact: bool) {
        if !nullable {
            self.null_not_allowed(field);
        } else if compact {
            self.uvarint(0);
        } else {
            self.i16(-1);
        }
    }

    fn null(&mut self, nullable: bool, field: &'static str) {
        if !nullable {
            self.null_not_allowed(field);
        } else if self.flexible {
            self.uvarint(0);
        } else {
            self.i32(-1);
        }
    }

    /// A text.
    pub fn string(&mut self, value: &Str) {
        self.string_length(value.len(), self.flexible);
        self.put(value.as_bytes());
    }

    /// A text or, where allowed, null.
    pub fn nullable_string(&mut self, nullable: bool, field: &'static str, value: &Option<Str>) {
        match value {
            Some(value) => self.string(value),
            None => self.null_string(nullable, field, self.flexible),
        }
    }

    /// A text or null whose length is an int16 at every version: the client id of a request header.
    pub fn legacy_nullable_string(&mut self, nullable: bool, field: &'static str, value: &Option<Str>) {
        match value {
            Some(value) => {
                self.string_length(value.len(), false);
                self.put(value.as_bytes());
            }
            None => self.null_string(nullable, field, false),
        }
    }

    /// Bytes.
    pub fn bytes(&mut self, value: &Bytes) {
        self.length(value.len());
        self.put(value);
    }

    /// Bytes or, where allowed, null.
    pub fn nullable_bytes(&mut self, nullable: bool, field: &'static str, value: &Option<Bytes>) {
        match value {
            Some(value) => self.bytes(value),
            None => self.null(nullable, field),
        }
    }

    /// Record batches or, where allowed, null.
    pub fn records(&mut self, nullable: bool, field: &'static str, value: &Option<Records>) {
        match value {
            None => self.null(nullable, field),
            Some(Records::Bytes(bytes)) => {
                self.length(bytes.len());
                if bytes.len() < self.splice_len_min {
                    self.put(bytes);
                } else {
                    self.splice(|| Spliced::Bytes(bytes.clone()), bytes.len());
                }
            }
            Some(Records::Stored(range)) => {
                self.length(range.len as usize);
                if range.len > 0 {
                    self.splice(|| Spliced::Stored(range.clone()), range.len as usize);
                }
            }
        }
    }

    fn splice(&mut self, what: impl FnOnce() -> Spliced, len: usize) {
        self.beside += len;
        if !self.counting {
            self.splices.push(Splice { at: self.bytes.len(), what: what() });
        }
    }

    /// An array.
    pub fn array<T: Structure>(&mut self, version: i16, elements: &[T]) {
        self.length(elements.len());
        for element in elements {
            element.write(self, version);
        }
    }

    /// An array or, where allowed, null.
    pub fn nullable_array<T: Structure>(
        &mut self,
        version: i16,
        nullable: bool,
        field: &'static str,
        elements: &Option<Vec<T>>,
    ) {
        match elements {
            Some(elements) => self.array(version, elements),
            None => self.null(nullable, field),
        }
    }

    /// A structure or null outside tagged fields: a byte below 0 for null, or 1 and the structure.
    pub fn nullable_structure<T: Structure>(&mut self, version: i16, value: &Option<T>) {
        match value {
            Some(value) => {
                self.i8(1);
                value.write(self, version);
            }
            None => self.i8(-1),
        }
    }

    /// A structure or null as the content of a tagged field: 0 for null, or 1 and the structure.
    pub fn nullable_tagged_structure<T: Structure>(&mut self, version: i16, value: &Option<T>) {
        match value {
            Some(value) => {
                self.uvarint(1);
                value.write(self, version);
            }
            None => self.uvarint(0),
        }
    }

    /// Starts the tagged fields that end a structure; a version without them writes nothing and refuses unknown ones.
    pub fn tags<'a>(&mut self, unknown: &'a TaggedFields) -> WrittenTags<'a> {
        let count_at = self.placeholder();
        WrittenTags { unknown: unknown.iter(), count_at, count: 0, last: None }
    }

    /// Starts a tagged field that the schema knows; returns where its size belongs, for [`end_tag`](Self::end_tag).
    pub fn tag(&mut self, tags: &mut WrittenTags<'_>, tag: u32) -> Placeholder {
        self.unknown_below(tags, Some(tag));
        self.next_tag(tags, tag);
        self.placeholder()
    }

    /// Ends a tagged field.
    pub fn end_tag(&mut self, size_at: Placeholder) {
        let size = self.len() - size_at.written - 1;
        self.fill(size_at, size);
    }

    /// Ends the tagged fields.
    pub fn end_tags(&mut self, mut tags: WrittenTags<'_>) {
        self.unknown_below(&mut tags, None);
        if self.flexible {
            self.fill(tags.count_at, tags.count as usize);
        } else if tags.count > 0 {
            self.refuse("unknown tagged fields");
        }
    }

    /// The tagged fields of a structure that knows none.
    pub fn unknown_tags(&mut self, unknown: &TaggedFields) {
        if unknown.is_empty() {
            if self.flexible {
                self.put(&[0]);
            }
        } else {
            let tags = self.tags(unknown);
            self.end_tags(tags);
        }
    }

    fn next_tag(&mut self, tags: &mut WrittenTags<'_>, tag: u32) {
        if tags.last.is_some_and(|last| tag <= last) {
            self.fail(EncodeError::InvalidTag { message: self.message, tag });
        }
        tags.last = Some(tag);
        tags.count += 1;
        self.uvarint(tag);
    }

    /// Writes the unknown tagged fields whose place is before `tag`.
    fn unknown_below(&mut self, tags: &mut WrittenTags<'_>, tag: Option<u32>) {
        while let Some((unknown, content)) = tags.unknown.as_slice().first()
            && tag.is_none_or(|tag| *unknown < tag)
        {
            self.next_tag(tags, *unknown);
            match u32::try_from(content.len()) {
                Ok(size) => self.uvarint(size),
                Err(_) => self.too_long(),
            }
            self.put(content);
            tags.unknown.next();
        }
    }

    /// Leaves a byte for a number known later.
    fn placeholder(&mut self) -> Placeholder {
        let place = Placeholder { at: self.bytes.len(), written: self.len() };
        if self.flexible {
            self.put(&[0]);
        }
        place
    }

    /// Fills a placeholder, moving what follows if the number needs more than a byte.
    fn fill(&mut self, place: Placeholder, value: usize) {
        let Ok(value) = u32::try_from(value) else { return self.too_long() };
        let (number, len) = uvarint_bytes(value);
        if self.counting {
            self.beside += len - 1;
            return;
        }
        let at = place.at;
        if len == 1 {
            self.bytes[at] = number[0];
            return;
        }
        self.bytes.splice(at..=at, number[..len].iter().copied());
        for splice in self.splices.iter_mut().rev().take_while(|splice| splice.at > at) {
            splice.at += len - 1;
        }
    }
}

/// A variable-length integer and how many of the bytes it takes.
fn uvarint_bytes(mut value: u32) -> ([u8; 5], usize) {
    let len = uvarint_len(value);
    let mut bytes = [0; 5];
    for byte in &mut bytes[..len] {
        let [low, ..] = value.to_le_bytes();
        *byte = low | 0x80;
        value >>= 7;
    }
    bytes[len - 1] &= 0x7f;
    (bytes, len)
}
