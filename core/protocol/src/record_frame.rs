//! The frame around a metadata record: frame version, record type and record version, each an unsigned variable-length
//! integer, then the record.

use bytes::{Buf, Bytes};

use crate::wire::{DecodeError, EncodeError, PersistedRecord, Reader, Writer};

/// The only frame version there is.
const FRAME_VERSION: u32 = 1;

/// The record's type, its version and its bytes.
pub(crate) fn decode(mut value: Bytes) -> Result<(u32, i16, Bytes), DecodeError> {
    let mut reader = Reader::new(&value, true);
    let frame_version = reader.uvarint();
    let record_type = reader.uvarint();
    let version = reader.uvarint();
    let read = reader.finish()?;
    if frame_version != FRAME_VERSION {
        return Err(DecodeError::UnsupportedFrameVersion(frame_version));
    }
    value.advance(read);
    // A version that does not fit is one that no record has; the record's own check names it.
    Ok((record_type, i16::try_from(version).unwrap_or(i16::MAX), value))
}

/// A record with its frame.
pub(crate) fn encode<R: PersistedRecord>(record: &R, version: i16) -> Result<Bytes, EncodeError> {
    let unsupported = EncodeError::UnsupportedVersion { message: R::NAME, version };
    let record_type = u32::from(R::RECORD_TYPE.unsigned_abs());
    let frame_len_max = 1 + 3 + 3;
    let mut out = Writer::contiguous(frame_len_max + record.encoded_len(version)?);
    out.uvarint(FRAME_VERSION);
    out.uvarint(record_type);
    out.uvarint(u32::try_from(version).map_err(|_| unsupported)?);
    record.encode(version, &mut out)?;
    Ok(out.finish().bytes)
}
