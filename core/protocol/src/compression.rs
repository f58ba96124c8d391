//! The four codecs of a record batch: compressing, and decompressing within a limit.
//!
//! What arrives compressed is hostile until proven otherwise: a few bytes can stand for terabytes. Decompression
//! therefore has an output limit, and its memory grows with what really comes out, never with what a header claims.
//!
//! The codecs need `std`. Without it every compressed body is [`CompressionError::Unavailable`].

use alloc::vec::Vec;

use bytes::Bytes;

/// How the records of a batch are compressed: bits 0 to 2 of its attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// A gzip stream (RFC 1952).
    Gzip,
    /// Raw snappy blocks in the framing of the Java library, after its author's user name called xerial.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

impl Compression {
    /// Bits 0 to 2 of a batch's attributes.
    pub const ATTRIBUTE_MASK: i16 = 0b111;

    /// Every codec, `None` included.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec in a batch's attributes, or nothing when its three bits hold a number without a meaning.
    #[must_use]
    pub const fn from_attributes(attributes: i16) -> Option<Self> {
        match attributes & Self::ATTRIBUTE_MASK {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The codec's bits in a batch's attributes.
    #[must_use]
    pub const fn attributes(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec's name in configuration values: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec with this name in configuration values. `uncompressed`, the topic configuration's word for `none`,
    /// is accepted too; `producer` is not a codec.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" | "uncompressed" => Some(Self::None),
            "gzip" => Some(Self::Gzip),
            "snappy" => Some(Self::Snappy),
            "lz4" => Some(Self::Lz4),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Why bytes could not be compressed or decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// The bytes are not what the codec writes.
    #[error("the {} stream is corrupt", codec.name())]
    Corrupt {
        /// The codec that refused them.
        codec: Compression,
    },
    /// More bytes come out than the caller allows.
    #[error("the records decompress to more than {limit} bytes")]
    OutputLimit {
        /// The number of bytes the caller allows.
        limit: usize,
    },
    /// This build has no such codec: it was compiled without `std`.
    #[error("this build does not contain the codec {}", codec.name())]
    Unavailable {
        /// The codec that is missing.
        codec: Compression,
    },
    /// The codec refused to compress, for instance a level that it does not have.
    #[error("the codec {} could not compress", codec.name())]
    Refused {
        /// The codec that refused.
        codec: Compression,
    },
}

/// Compresses `bytes` in the framing that Kafka uses for `codec`.
///
/// `level` is the codec's own scale: 1 to 9 for gzip, -131072 to 22 for zstd, and without effect on the others. `None`
/// is Kafka's default: gzip's own (6) and 3 for zstd. A level outside of the scale is brought to its nearest end.
///
/// # Errors
/// [`CompressionError::Unavailable`] without `std`.
pub fn compress(codec: Compression, level: Option<i32>, bytes: &[u8]) -> Result<Bytes, CompressionError> {
    match codec {
        Compression::None => Ok(Bytes::copy_from_slice(bytes)),
        Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd => {
            codecs::compress(codec, level, bytes).map(Bytes::from)
        }
    }
}

/// Decompresses `bytes`, the whole body of one batch, to at most `limit` bytes.
///
/// # Errors
/// [`CompressionError::Corrupt`] when the codec refuses them, [`CompressionError::OutputLimit`] when more than `limit` bytes
/// would come out, [`CompressionError::Unavailable`] without `std`.
pub fn decompress(codec: Compression, bytes: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    match codec {
        Compression::None if bytes.len() > limit => Err(CompressionError::OutputLimit { limit }),
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd => {
            codecs::decompress(codec, bytes, limit)
        }
    }
}

#[cfg(not(feature = "std"))]
mod codecs {
    use alloc::vec::Vec;

    use super::{Compression, CompressionError};

    pub(super) const fn compress(
        codec: Compression,
        _level: Option<i32>,
        _bytes: &[u8],
    ) -> Result<Vec<u8>, CompressionError> {
        Err(CompressionError::Unavailable { codec })
    }

    pub(super) const fn decompress(
        codec: Compression,
        _bytes: &[u8],
        _limit: usize,
    ) -> Result<Vec<u8>, CompressionError> {
        Err(CompressionError::Unavailable { codec })
    }
}

#[cfg(feature = "std")]
mod codecs {
    use alloc::vec::Vec;
    use std::io::{Read, Write};

    use super::{Compression, CompressionError, lz4_frame, xerial};

    pub(super) fn compress(
        codec: Compression,
        level: Option<i32>,
        bytes: &[u8],
    ) -> Result<Vec<u8>, CompressionError> {
        let refused = |_| CompressionError::Refused { codec };
        match codec {
            Compression::None => Ok(bytes.to_vec()),
            Compression::Gzip => {
                let level = match level {
                    None | Some(-1) => flate2::Compression::default(),
                    Some(level) => flate2::Compression::new(level.clamp(1, 9).unsigned_abs()),
                };
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).map_err(refused)?;
                encoder.finish().map_err(refused)
            }
            Compression::Snappy => xerial::compress(bytes),
            Compression::Lz4 => {
                // Kafka's own readers refuse linked blocks and do not look for a content size.
                let frame = lz4_flex::frame::FrameInfo::new()
                    .block_mode(lz4_flex::frame::BlockMode::Independent)
                    .block_size(lz4_flex::frame::BlockSize::Max64KB);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
                encoder.write_all(bytes).map_err(refused)?;
                encoder.finish().map_err(|_| CompressionError::Refused { codec })
            }
            Compression::Zstd => {
                let range = zstd::compression_level_range();
                let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
                let mut encoder =
                    zstd::stream::write::Encoder::new(Vec::new(), level.clamp(*range.start(), *range.end()))
                        .map_err(refused)?;
                encoder.write_all(bytes).map_err(refused)?;
                encoder.finish().map_err(refused)
            }
        }
    }

    pub(super) fn decompress(
        codec: Compression,
        bytes: &[u8],
        limit: usize,
    ) -> Result<Vec<u8>, CompressionError> {
        match codec {
            Compression::None => Ok(bytes.to_vec()),
            Compression::Gzip => read_to_limit(codec, flate2::bufread::MultiGzDecoder::new(bytes), limit),
            Compression::Snappy => xerial::decompress(bytes, limit),
            Compression::Lz4 => {
                let mut output = Vec::new();
                let mut rest = bytes;
                // Some writers put several frames into one batch.
                while !rest.is_empty() {
                    let (frame, behind) =
                        lz4_frame::split_first(rest).ok_or(CompressionError::Corrupt { codec })?;
                    append_to_limit(codec, lz4_flex::frame::FrameDecoder::new(frame), limit, &mut output)?;
                    rest = behind;
                }
                Ok(output)
            }
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(bytes)
                    .map_err(|_| CompressionError::Corrupt { codec })?;
                read_to_limit(codec, decoder, limit)
            }
        }
    }

    fn read_to_limit(
        codec: Compression,
        reader: impl Read,
        limit: usize,
    ) -> Result<Vec<u8>, CompressionError> {
        let mut output = Vec::new();
        append_to_limit(codec, reader, limit, &mut output)?;
        Ok(output)
    }

    /// Reads to the end of `reader`, but at most one byte beyond `limit`, which proves that there is more.
    fn append_to_limit(
        codec: Compression,
        reader: impl Read,
        limit: usize,
        output: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let left = limit - output.len();
        let allowed = u64::try_from(left).unwrap_or(u64::MAX).saturating_add(1);
        let read =
            reader.take(allowed).read_to_end(output).map_err(|_| CompressionError::Corrupt { codec })?;
        if read > left { Err(CompressionError::OutputLimit { limit }) } else { Ok(()) }
    }
}

/// The outline of an LZ4 frame: a header, blocks with their sizes, an end mark.
///
/// The decoder takes the end of its input for the end of the frame. Kafka's does not, and a consumer would stop at
/// such a batch for ever, so the end mark is looked for here.
#[cfg(feature = "std")]
mod lz4_frame {
    const MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();
    const DICTIONARY_ID: u8 = 1;
    const CONTENT_CHECKSUM: u8 = 1 << 2;
    const CONTENT_SIZE: u8 = 1 << 3;
    const BLOCK_CHECKSUM: u8 = 1 << 4;
    /// The bit of a block's size that says that the block is not compressed.
    const UNCOMPRESSED: u32 = 1 << 31;

    /// The first frame of `bytes` and what follows it. None if there is no whole frame.
    pub(super) fn split_first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let flags = *bytes.strip_prefix(&MAGIC)?.first()?;
        let optional = |flag, len| if flags & flag == 0 { 0 } else { len };
        // Magic, flags, block descriptor, what the flags announce, header checksum.
        let mut at = MAGIC.len() + 2 + optional(CONTENT_SIZE, 8) + optional(DICTIONARY_ID, 4) + 1;
        loop {
            let size = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
            at += 4;
            if size == 0 {
                return bytes.split_at_checked(at + optional(CONTENT_CHECKSUM, 4));
            }
            at += usize::try_from(size & !UNCOMPRESSED).ok()? + optional(BLOCK_CHECKSUM, 4);
        }
    }
}

/// The framing of the Java snappy library: a header, then blocks of a length and that many bytes of raw snappy.
#[cfg(feature = "std")]
mod xerial {
    use alloc::vec::Vec;

    use super::{Compression, CompressionError};

    const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
    /// Version 1, compatible since version 1.
    const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
    const HEADER_LEN: usize = MAGIC.len() + VERSIONS.len();
    /// What Kafka's own writer puts into one block, before compression.
    const BLOCK_LEN: usize = 32 * 1024;
    /// The densest thing in raw snappy is a copy of 64 bytes in an element of 3. A block that claims more than this
    /// many times its size lies, and nothing is allocated for it.
    const EXPANSION_MAX: usize = 22;

    const CORRUPT: CompressionError = CompressionError::Corrupt { codec: Compression::Snappy };

    pub(super) fn compress(bytes: &[u8]) -> Result<Vec<u8>, CompressionError> {
        const REFUSED: CompressionError = CompressionError::Refused { codec: Compression::Snappy };
        let mut encoder = snap::raw::Encoder::new();
        let mut output = Vec::with_capacity(HEADER_LEN + bytes.len() / 2);
        output.extend_from_slice(&MAGIC);
        output.extend_from_slice(&VERSIONS);
        let mut block = alloc::vec![0; snap::raw::max_compress_len(bytes.len().min(BLOCK_LEN))];
        for chunk in bytes.chunks(BLOCK_LEN) {
            let len = encoder.compress(chunk, &mut block).map_err(|_| REFUSED)?;
            output.extend_from_slice(&i32::try_from(len).map_err(|_| REFUSED)?.to_be_bytes());
            output.extend_from_slice(&block[..len]);
        }
        Ok(output)
    }

    pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
        let mut output = Vec::new();
        let Some(mut rest) = strip_header(bytes) else {
            // Some clients write one raw block without any framing.
            append_block(bytes, limit, &mut output)?;
            return Ok(output);
        };
        while !rest.is_empty() {
            // Concatenated streams repeat the header; its first bytes are no legal block length.
            if let Some(next) = strip_header(rest) {
                rest = next;
                continue;
            }
            let (len, blocks) = rest.split_first_chunk::<4>().ok_or(CORRUPT)?;
            let len = usize::try_from(i32::from_be_bytes(*len)).map_err(|_| CORRUPT)?;
            let (block, behind) = blocks.split_at_checked(len).ok_or(CORRUPT)?;
            append_block(block, limit, &mut output)?;
            rest = behind;
        }
        Ok(output)
    }

    /// What follows the header, if there is one. The two versions in it are not looked at: there has only ever been one.
    fn strip_header(bytes: &[u8]) -> Option<&[u8]> {
        bytes.strip_prefix(&MAGIC)?.get(VERSIONS.len()..)
    }

    fn append_block(block: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), CompressionError> {
        let len = snap::raw::decompress_len(block).map_err(|_| CORRUPT)?;
        if len > block.len().saturating_mul(EXPANSION_MAX) {
            return Err(CORRUPT);
        }
        if len > limit - output.len() {
            return Err(CompressionError::OutputLimit { limit });
        }
        let start = output.len();
        output.resize(start + len, 0);
        let written =
            snap::raw::Decoder::new().decompress(block, &mut output[start..]).map_err(|_| CORRUPT)?;
        if written == len { Ok(()) } else { Err(CORRUPT) }
    }
}
