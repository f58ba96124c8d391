//! Requests that a broker forwards for its clients: Envelope (KIP-590).

use super::broker::{Broker, ReplyTo};
use super::describe;
use sordini_protocol::api_key::ApiKey;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::frame::{RequestError, decode_request, encode_response};
use sordini_protocol::messages::{EnvelopeRequest, EnvelopeResponse};
use sordini_protocol::records::DefaultPrincipalData;
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Message as _;

/// The one version of an envelope.
pub(super) const VERSION: i16 = 0;

/// What a broker forwards, of what is served here.
const FORWARDABLE: [ApiKey; 15] = [
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::CreateAcls,
    ApiKey::DeleteAcls,
    ApiKey::AlterConfigs,
    ApiKey::CreatePartitions,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::AlterClientQuotas,
    ApiKey::AlterUserScramCredentials,
    ApiKey::DescribeQuorum,
    ApiKey::UpdateFeatures,
    ApiKey::UnregisterBroker,
];

/// What of a request in an envelope its answer needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forwarded {
    correlation_id: i32,
}

impl Forwarded {
    /// Puts the answer into an envelope.
    pub(crate) fn wrap(self, version: i16, response: &AnyResponse) -> AnyResponse {
        match encode_response(self.correlation_id, response.api_key(), version, response) {
            // An envelope says by itself how long its content is.
            Ok(encoded) if encoded.splices.is_empty() => AnyResponse::Envelope(EnvelopeResponse {
                response_data: Some(encoded.bytes.slice(size_of::<i32>()..)),
                ..EnvelopeResponse::default()
            }),
            Ok(_) | Err(_) => refuse(ErrorCode::UnknownServerError),
        }
    }
}

/// The answer to an envelope whose content is not looked at.
pub(super) fn refuse(code: ErrorCode) -> AnyResponse {
    let error_code = code.as_i16();
    AnyResponse::Envelope(EnvelopeResponse { error_code, ..EnvelopeResponse::default() })
}

impl Broker {
    /// Takes a request out of its envelope.
    ///
    /// Who sent it must be readable, and is not asked for more: there is no authorizer that could refuse it anything. The
    /// same holds for the address.
    pub(super) fn unwrap(
        &self,
        reply_to: &ReplyTo,
        envelope: EnvelopeRequest,
    ) -> Result<(ReplyTo, AnyRequest), ErrorCode> {
        if self.active_epoch.is_none() {
            // In the envelope's own words, so that the broker looks for the controller and tries again, unseen by its client.
            return Err(ErrorCode::NotController);
        }
        let principal = envelope.request_principal.as_ref().and_then(|bytes| bytes.split_first_chunk());
        let (version, principal) = principal.ok_or(ErrorCode::PrincipalDeserializationFailure)?;
        let mut principal = bytes::Bytes::copy_from_slice(principal);
        DefaultPrincipalData::decode(i16::from_be_bytes(*version), &mut principal)
            .map_err(|_| ErrorCode::PrincipalDeserializationFailure)?;
        if !matches!(envelope.client_host_address.len(), 4 | 16) {
            return Err(ErrorCode::InvalidRequest);
        }
        let (header, body) = decode_request(envelope.request_data).map_err(|error| match error {
            RequestError::UnsupportedVersion { .. } | RequestError::UnsupportedApiVersions { .. } => {
                ErrorCode::UnsupportedVersion
            }
            RequestError::Header(_) | RequestError::UnknownApiKey { .. } | RequestError::Body { .. } => {
                ErrorCode::InvalidRequest
            }
        })?;
        if !FORWARDABLE.contains(&body.api_key()) {
            return Err(ErrorCode::InvalidRequest);
        }
        let version = header.request_api_version;
        if !describe::served_versions(body.api_key()).contains(&version) {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let forwarded = Some(Forwarded { correlation_id: header.correlation_id });
        Ok((ReplyTo { version, forwarded, ..*reply_to }, body))
    }
}
