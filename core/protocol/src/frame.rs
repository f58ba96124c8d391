//! A header and a body in one frame, and the 4 bytes of size in front of it.
//!
//! Frames to decode come without their size: whoever reads the connection has checked it and cut the frame.

use bytes::Bytes;

use crate::api_key::ApiKey;
use crate::messages::{RequestHeader, ResponseHeader};
use crate::request::{AnyRequest, AnyResponse};
use crate::wire::{DecodeError, EncodeError, Encoded, Message, Reader, Writer};

/// Room for a header and the size in front of it, to save an allocation.
const HEADER_LEN_GUESS: usize = 64;

/// Why a frame is not a request that can be served. Each but one leaves nothing to do but close the connection.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// The frame does not start with a header.
    #[error("the request header cannot be read: {0}")]
    Header(DecodeError),
    /// No live API has this key.
    #[error("no API has the key {key}")]
    UnknownApiKey {
        /// The key in the header.
        key: i16,
    },
    /// The API has no such version, and is not ApiVersions.
    #[error("{api_key} has no version {version}")]
    UnsupportedVersion {
        /// The API.
        api_key: ApiKey,
        /// The version in the header.
        version: i16,
    },
    /// ApiVersions at a version there is not: to be answered at version 0 with UNSUPPORTED_VERSION, so that the client
    /// learns which versions there are. The body is not looked at.
    #[error("ApiVersions has no version {}", header.request_api_version)]
    UnsupportedApiVersions {
        /// The header, for the answer.
        header: RequestHeader,
    },
    /// The body is not what the header says.
    #[error("the request cannot be read: {error}")]
    Body {
        /// The header.
        header: RequestHeader,
        /// What is wrong with the body.
        error: DecodeError,
    },
}

/// Takes a request's frame apart.
pub fn decode_request(mut frame: Bytes) -> Result<(RequestHeader, AnyRequest), RequestError> {
    // The header's own form depends on the first two of its fields.
    let mut reader = Reader::new(&frame, false);
    let (key, version) = (reader.i16(), reader.i16());
    reader.finish().map_err(RequestError::Header)?;
    let api_key = ApiKey::try_from(key).map_err(|_| RequestError::UnknownApiKey { key })?;
    let supported = api_key.versions().contains(&version);
    if !supported && api_key != ApiKey::ApiVersions {
        return Err(RequestError::UnsupportedVersion { api_key, version });
    }
    let header = RequestHeader::decode(api_key.request_header_version(version), &mut frame);
    let header = header.map_err(RequestError::Header)?;
    if !supported {
        return Err(RequestError::UnsupportedApiVersions { header });
    }
    match AnyRequest::decode(api_key, version, &mut frame) {
        Ok(request) => Ok((header, request)),
        Err(error) => Err(RequestError::Body { header, error }),
    }
}

/// A request's frame with its size in front. The header's key and version say how the request is written.
///
/// # Panics
///
/// If the header's key is not the request's.
pub fn encode_request(header: &RequestHeader, request: &AnyRequest) -> Result<Encoded, EncodeError> {
    let api_key = request.api_key();
    assert_eq!(header.request_api_key, api_key.as_i16(), "a header belongs to its request");
    let version = header.request_api_version;
    framed(|out| {
        header.encode(api_key.request_header_version(version), out)?;
        request.encode(version, out)
    })
}

/// Takes the frame of a response apart, of which only whoever sent the request knows the API and the version.
pub fn decode_response(
    api_key: ApiKey,
    version: i16,
    mut frame: Bytes,
) -> Result<(ResponseHeader, AnyResponse), DecodeError> {
    let header = ResponseHeader::decode(api_key.response_header_version(version), &mut frame)?;
    let response = AnyResponse::decode(api_key, version, &mut frame)?;
    Ok((header, response))
}

/// A response's frame with its size in front, which counts the splices.
///
/// # Panics
///
/// If the response is not of this API.
pub fn encode_response(
    correlation_id: i32,
    api_key: ApiKey,
    version: i16,
    response: &AnyResponse,
) -> Result<Encoded, EncodeError> {
    assert_eq!(api_key, response.api_key(), "a response answers a request of its own API");
    let header = ResponseHeader { correlation_id, ..ResponseHeader::default() };
    framed(|out| {
        header.encode(api_key.response_header_version(version), out)?;
        response.encode(version, out)
    })
}

/// What `write` writes, with its size in front.
fn framed(write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>) -> Result<Encoded, EncodeError> {
    let mut out = Writer::with_capacity(HEADER_LEN_GUESS);
    out.i32(0);
    write(&mut out)?;
    let size = i32::try_from(out.len() - size_of::<i32>());
    out.patch_i32(0, size.map_err(|_| EncodeError::TooLong { message: "the frame" })?);
    Ok(out.finish())
}
