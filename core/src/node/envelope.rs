//! Requests that a broker forwards for its clients: Envelope (KIP-590), closed by the broker and opened by the controller.

use super::broker::{Broker, ReplyTo};
use super::find_coordinator::ParkedFind;
use super::metadata::ParkedMetadata;
use super::{RequestContext, describe};
use crate::controller::acls;
use crate::ids::ConnectionId;
use crate::time::Instant;
use alloc::vec::Vec;
use core::net::IpAddr;
use sordini_protocol::api_key::ApiKey;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::frame::{
    RequestError, decode_request, decode_response, encode_request, encode_response,
};
use sordini_protocol::messages::{
    AddRaftVoterResponse, DescribeQuorumResponse, EnvelopeRequest, EnvelopeResponse,
    ListPartitionReassignmentsResponse, RemoveRaftVoterResponse, RequestHeader,
};
use sordini_protocol::records::DefaultPrincipalData;
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Message as _, Str, Writer};

/// The one version of an envelope.
pub(super) const VERSION: i16 = 0;

/// What a broker forwards, of what is served here.
const FORWARDABLE: [ApiKey; 17] = [
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
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
];

/// Whether a broker has the active controller answer requests of this API.
pub(super) fn is_forwarded(api: ApiKey) -> bool {
    FORWARDABLE.contains(&api)
}

/// Who waits for the answer to what is forwarded.
#[derive(Clone, Debug)]
pub(super) enum Asker {
    Client(ReplyTo),
    /// A client that asked for topics which are being created.
    Metadata(ParkedMetadata),
    /// A client that asked for the coordinator of a group, and the topic of groups is being created.
    Coordinator(ParkedFind),
}

/// A client's request on its way to the active controller.
#[derive(Clone, Debug)]
pub(super) struct Forward {
    /// In the order in which they came.
    pub(super) number: u64,
    pub(super) asker: Asker,
    pub(super) context: RequestContext,
    pub(super) body: AnyRequest,
    /// When its client is told that it took too long.
    pub(super) give_up_at: Instant,
}

impl Forward {
    /// Who waits for it.
    pub(super) const fn connection(&self) -> ConnectionId {
        match &self.asker {
            Asker::Client(reply_to) => reply_to.connection,
            Asker::Metadata(parked) => parked.reply_to.connection,
            Asker::Coordinator(parked) => parked.reply_to.connection,
        }
    }

    /// Puts the request into an envelope, as its client sent it. `None` if it cannot be written.
    pub(super) fn enclose(&self) -> Option<EnvelopeRequest> {
        let header = RequestHeader {
            request_api_key: self.body.api_key().as_i16(),
            request_api_version: self.context.api_version,
            client_id: self.context.client_id.clone(),
            ..RequestHeader::default()
        };
        let encoded =
            encode_request(&header, &self.body).ok().filter(|encoded| encoded.splices.is_empty())?;
        let version: i16 = 0;
        let mut principal = Writer::with_capacity(size_of::<i16>());
        principal.i16(version);
        let anonymous = DefaultPrincipalData {
            type_: Str::from_static("User"),
            name: Str::from_static("ANONYMOUS"),
            ..DefaultPrincipalData::default()
        };
        anonymous.encode(version, &mut principal).ok()?;
        let address: Vec<u8> = match self.context.client_address {
            IpAddr::V4(address) => address.octets().into(),
            IpAddr::V6(address) => address.octets().into(),
        };
        Some(EnvelopeRequest {
            request_data: encoded.bytes.slice(size_of::<i32>()..),
            request_principal: Some(principal.finish().bytes),
            client_host_address: address.into(),
            ..EnvelopeRequest::default()
        })
    }
}

/// Takes the answer to a request that was forwarded out of its envelope.
pub(super) fn disclose(forward: &Forward, response: EnvelopeResponse) -> Result<AnyResponse, ErrorCode> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other codes are for this broker")]
    match ErrorCode::from_i16(response.error_code) {
        ErrorCode::None => {}
        code @ (ErrorCode::NotController | ErrorCode::UnsupportedVersion) => return Err(code),
        // That this broker may not forward, or not so, is not for its client to mend.
        _ => return Err(ErrorCode::UnknownServerError),
    }
    let (api, version) = (forward.body.api_key(), forward.context.api_version);
    let data = response.response_data.unwrap_or_default();
    let response = decode_response(api, version, data).map_err(|_| ErrorCode::UnknownServerError)?;
    Ok(response.1)
}

/// The answer with an error to a request that is forwarded and is none for the controller to decide.
pub(super) fn refusal(request: &AnyRequest, code: ErrorCode) -> Option<AnyResponse> {
    let error_code = code.as_i16();
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is forwarded")]
    Some(match request {
        AnyRequest::DescribeQuorum(_) => {
            AnyResponse::DescribeQuorum(DescribeQuorumResponse { error_code, ..Default::default() })
        }
        AnyRequest::ListPartitionReassignments(_) => {
            let response = ListPartitionReassignmentsResponse { error_code, ..Default::default() };
            AnyResponse::ListPartitionReassignments(response)
        }
        AnyRequest::AddRaftVoter(_) => {
            AnyResponse::AddRaftVoter(AddRaftVoterResponse { error_code, ..Default::default() })
        }
        AnyRequest::RemoveRaftVoter(_) => {
            AnyResponse::RemoveRaftVoter(RemoveRaftVoterResponse { error_code, ..Default::default() })
        }
        _ => return None,
    })
}

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
    /// Who sent it must be readable, and is not asked for more: nothing is refused to anybody. The same holds for the
    /// address.
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
        if !is_forwarded(body.api_key()) || acls::is_unreadable(&body) {
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
