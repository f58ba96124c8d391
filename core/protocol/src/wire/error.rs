/// Why bytes are not the message they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field reaches past the end of its input.
    #[error("the input ends in the middle of a field")]
    Truncated,
    /// A length is not one this kind of field can have, whatever follows.
    #[error("a length is out of range")]
    InvalidLength,
    /// A field that cannot be null at this version is null.
    #[error("a field that cannot be null is null")]
    NullNotAllowed,
    /// The message ended before its input did.
    #[error("{0} bytes follow the message")]
    TrailingBytes(usize),
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    UnsupportedVersion {
        /// The message's schema name.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// No live API has this key.
    #[error("no API has the key {0}")]
    UnknownApiKey(i16),
    /// No persisted record of this kind has this type.
    #[error("no record has the type {0}")]
    UnknownRecordType(u32),
    /// A persisted record's frame is of another version than 1.
    #[error("a record frame has the version {0}")]
    UnsupportedFrameVersion(u32),
    /// Tagged fields are not in strictly ascending order, or one is not allowed at this version.
    #[error("the tagged field {0} is out of order or not allowed here")]
    InvalidTag(u32),
    /// A tagged field's content is shorter than its size says.
    #[error("the tagged field {0} is shorter than its size")]
    InvalidTaggedFieldSize(u32),
    /// A variable-length integer does not fit 32 bits.
    #[error("a variable-length integer is longer than 32 bits")]
    BadVarint,
}

/// Why a message cannot be written at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    UnsupportedVersion {
        /// The message's schema name.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field that the version lacks is not at its default, and dropping it would change what the message says.
    #[error("{message} version {version} cannot carry {field}")]
    FieldNotSupported {
        /// The message's schema name.
        message: &'static str,
        /// The version asked for.
        version: i16,
        /// The field's schema name.
        field: &'static str,
    },
    /// A field is null that cannot be at this version.
    #[error("{field} of {message} cannot be null at version {version}")]
    NullNotAllowed {
        /// The message's schema name.
        message: &'static str,
        /// The version asked for.
        version: i16,
        /// The field's schema name.
        field: &'static str,
    },
    /// A text is longer than 32767 bytes, or something else longer than an int32 can say.
    #[error("a field of {message} is too long")]
    TooLong {
        /// The message's schema name.
        message: &'static str,
    },
    /// An unknown tagged field has the tag of a known one, or the unknown ones are not in ascending order.
    #[error("{message} has the tagged field {tag} twice or out of order")]
    InvalidTag {
        /// The message's schema name.
        message: &'static str,
        /// The tag.
        tag: u32,
    },
    /// The message holds a stored range where only bytes can be written.
    #[error("{message} holds a stored range, which has no bytes here")]
    StoredRange {
        /// The message's schema name.
        message: &'static str,
    },
}
