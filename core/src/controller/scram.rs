//! What users of SASL/SCRAM prove themselves by (KIP-554, RFC 5802).

use super::image::MetadataImage;
use super::{Controller, Decision, Refusal, text};
use crate::features::SCRAM_FROM;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use sordini_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use sordini_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use sordini_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
};
use sordini_protocol::records::{MetadataRecord, RemoveUserScramCredentialRecord, UserScramCredentialRecord};
use sordini_protocol::wire::Str;

/// How often the password may have been hashed: less is too easy to guess, more too easy a way to keep a server busy.
pub const ITERATIONS: core::ops::RangeInclusive<i32> = 4096..=16_384;

/// A user under one mechanism, which is kept as its number: the log may know more than this version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ScramUser {
    pub(crate) name: Str,
    pub(crate) mechanism: i8,
}

/// What a server has to know in order to check a password without knowing it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ScramCredential {
    pub(crate) salt: Bytes,
    pub(crate) stored_key: Bytes,
    pub(crate) server_key: Bytes,
    pub(crate) iterations: i32,
}

impl fmt::Debug for ScramCredential {
    /// Whoever has the keys can pretend to be the server, and guess at the password at leisure. They are not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramCredential").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl ScramCredential {
    pub(crate) fn of_record(record: &UserScramCredentialRecord) -> Self {
        Self {
            salt: Bytes::copy_from_slice(&record.salt),
            stored_key: Bytes::copy_from_slice(&record.stored_key),
            server_key: Bytes::copy_from_slice(&record.server_key),
            iterations: record.iterations,
        }
    }
}

/// How a password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// `SCRAM-SHA-256`.
    Sha256,
    /// `SCRAM-SHA-512`.
    Sha512,
}

impl Mechanism {
    /// The number that records and requests have for it.
    const fn code(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// What the log is to hold of a user whose password became `salted_password` with `salt` and so many iterations.
    #[must_use]
    pub fn credential(
        self,
        name: &str,
        salt: Bytes,
        iterations: i32,
        salted_password: &[u8],
    ) -> UserScramCredentialRecord {
        let (stored_key, server_key) = self.keys(salted_password);
        UserScramCredentialRecord {
            name: Str::from(name),
            mechanism: self.code(),
            salt,
            stored_key,
            server_key,
            iterations,
            ..UserScramCredentialRecord::default()
        }
    }

    fn of_user(user: &ScramUser) -> Result<Self, Refusal> {
        if user.name.is_empty() {
            let message = "the name of a user must not be empty";
            return Err(Refusal::new(ErrorCode::UnacceptableCredential, message));
        }
        match user.mechanism {
            1 => Ok(Self::Sha256),
            2 => Ok(Self::Sha512),
            other => {
                let message = format!("there is no SCRAM mechanism {other}");
                Err(Refusal::new(ErrorCode::UnsupportedSaslMechanism, message))
            }
        }
    }

    /// `StoredKey` and `ServerKey` of RFC 5802, section 3.
    fn keys(self, salted_password: &[u8]) -> (Bytes, Bytes) {
        match self {
            Self::Sha256 => keys::<Hmac<Sha256>, Sha256>(salted_password),
            Self::Sha512 => keys::<Hmac<Sha512>, Sha512>(salted_password),
        }
    }
}

fn keys<M: Mac + KeyInit, D: Digest>(salted_password: &[u8]) -> (Bytes, Bytes) {
    let mac = |message: &[u8]| {
        let mut mac = <M as KeyInit>::new_from_slice(salted_password).expect("a key may have any length");
        mac.update(message);
        mac.finalize().into_bytes()
    };
    let stored_key = D::digest(mac(b"Client Key"));
    (Bytes::copy_from_slice(&stored_key), Bytes::copy_from_slice(&mac(b"Server Key")))
}

/// One wish of an AlterUserScramCredentials request.
enum Wish<'a> {
    Delete(&'a ScramCredentialDeletion),
    Upsert(&'a ScramCredentialUpsertion),
}

impl Wish<'_> {
    fn user(&self) -> &Str {
        match self {
            Self::Delete(deletion) => &deletion.name,
            Self::Upsert(upsertion) => &upsertion.name,
        }
    }
}

/// The answer to a request that is not decided on.
pub(super) fn refuse(
    request: &AlterUserScramCredentialsRequest,
    code: ErrorCode,
) -> AlterUserScramCredentialsResponse {
    let deleted = request.deletions.iter().map(|deletion| &deletion.name);
    let users: BTreeSet<&Str> = deleted.chain(request.upsertions.iter().map(|made| &made.name)).collect();
    let refused = |user: &Str| AlterUserScramCredentialsResult {
        user: user.clone(),
        error_code: code.as_i16(),
        error_message: None,
        ..AlterUserScramCredentialsResult::default()
    };
    let results = users.into_iter().map(refused).collect();
    AlterUserScramCredentialsResponse { results, ..AlterUserScramCredentialsResponse::default() }
}

impl Controller {
    pub(super) fn alter_user_scram_credentials(
        &self,
        request: &AlterUserScramCredentialsRequest,
    ) -> Decision<AlterUserScramCredentialsResponse> {
        let deletions = request.deletions.iter().map(Wish::Delete);
        let wishes: Vec<Wish<'_>> = deletions.chain(request.upsertions.iter().map(Wish::Upsert)).collect();
        let mut times_named: BTreeMap<&Str, usize> = BTreeMap::new();
        for wish in &wishes {
            *times_named.entry(wish.user()).or_default() += 1;
        }
        let mut records = Vec::new();
        let mut results = Vec::new();
        for wish in &wishes {
            // Taking the count away is what makes the second of a name the one that is passed over.
            let Some(times) = times_named.remove(wish.user()) else { continue };
            let outcome = if times > 1 {
                let message = "the credentials of a user can be altered only once in a request";
                Err(Refusal::new(ErrorCode::DuplicateResource, message))
            } else {
                self.alter_credential(wish)
            };
            let mut result = AlterUserScramCredentialsResult {
                user: wish.user().clone(),
                error_message: None,
                ..AlterUserScramCredentialsResult::default()
            };
            match outcome {
                Ok(record) => records.push(record),
                Err(refusal) => {
                    result.error_code = refusal.code.as_i16();
                    result.error_message = text(&refusal.message);
                }
            }
            results.push(result);
        }
        Decision { records, response: AlterUserScramCredentialsResponse { results, ..Default::default() } }
    }

    fn alter_credential(&self, wish: &Wish<'_>) -> Result<MetadataRecord, Refusal> {
        if self.image.metadata_version() < SCRAM_FROM {
            let message = "the cluster's metadata.version is too low for SCRAM credentials";
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
        }
        match wish {
            Wish::Delete(deletion) => {
                let user = ScramUser { name: deletion.name.clone(), mechanism: deletion.mechanism };
                Mechanism::of_user(&user)?;
                if !self.image.scram_credentials().contains_key(&user) {
                    let message = "the user has no credential of this mechanism";
                    return Err(Refusal::new(ErrorCode::ResourceNotFound, message));
                }
                let ScramUser { name, mechanism } = user;
                Ok(RemoveUserScramCredentialRecord { name, mechanism, ..Default::default() }.into())
            }
            Wish::Upsert(upsertion) => {
                let user = ScramUser { name: upsertion.name.clone(), mechanism: upsertion.mechanism };
                let mechanism = Mechanism::of_user(&user)?;
                if !ITERATIONS.contains(&upsertion.iterations) {
                    let message = format!(
                        "the password was hashed {} times; {} to {} are allowed",
                        upsertion.iterations,
                        ITERATIONS.start(),
                        ITERATIONS.end()
                    );
                    return Err(Refusal::new(ErrorCode::UnacceptableCredential, message));
                }
                let (salt, iterations) = (upsertion.salt.clone(), upsertion.iterations);
                Ok(mechanism.credential(&user.name, salt, iterations, &upsertion.salted_password).into())
            }
        }
    }
}

/// What DescribeUserScramCredentials answers: which credentials there are, and nothing that they consist of.
pub(crate) fn describe(
    image: &MetadataImage,
    request: &DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let mut times_named: BTreeMap<&Str, usize> = BTreeMap::new();
    match request.users.as_deref() {
        None | Some([]) => {
            times_named.extend(image.scram_credentials().keys().map(|user| (&user.name, 1)));
        }
        Some(users) => {
            for user in users {
                *times_named.entry(&user.name).or_default() += 1;
            }
        }
    }
    let results = times_named.into_iter().map(|(user, times)| {
        let outcome = if times > 1 {
            Err((ErrorCode::DuplicateResource, "the request names the user more than once"))
        } else {
            let first = ScramUser { name: user.clone(), mechanism: i8::MIN };
            let of_user = image.scram_credentials().range(first..).take_while(|(at, _)| at.name == *user);
            let infos: Vec<CredentialInfo> = of_user
                .map(|(at, credential)| CredentialInfo {
                    mechanism: at.mechanism,
                    iterations: credential.iterations,
                    ..CredentialInfo::default()
                })
                .collect();
            if infos.is_empty() {
                Err((ErrorCode::ResourceNotFound, "the user has no SCRAM credentials"))
            } else {
                Ok(infos)
            }
        };
        let mut result = DescribeUserScramCredentialsResult {
            user: user.clone(),
            error_message: None,
            ..DescribeUserScramCredentialsResult::default()
        };
        match outcome {
            Ok(infos) => result.credential_infos = infos,
            Err((code, message)) => {
                result.error_code = code.as_i16();
                result.error_message = text(message);
            }
        }
        result
    });
    DescribeUserScramCredentialsResponse {
        error_message: None,
        results: results.collect(),
        ..DescribeUserScramCredentialsResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Computed by another implementation. The first salted password is that of the example in RFC 7677, "pencil" with
    /// 4096 iterations; the signature that stands there follows from the server key here.
    #[test]
    fn keys_are_those_of_the_rfc() {
        let salted = [
            0xc4, 0xa4, 0x95, 0x10, 0x32, 0x3a, 0xb4, 0xf9, 0x52, 0xca, 0xc1, 0xfa, 0x99, 0x44, 0x19, 0x39,
            0xe7, 0x8e, 0xa7, 0x4d, 0x6b, 0xe8, 0x1d, 0xdf, 0x70, 0x96, 0xe8, 0x75, 0x13, 0xdc, 0x61, 0x5d,
        ];
        let (stored_key, server_key) = Mechanism::Sha256.keys(&salted);
        assert_eq!(hex(&stored_key), "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6");
        assert_eq!(hex(&server_key), "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5");
        let (stored_key, server_key) = Mechanism::Sha512.keys(b"any password");
        assert_eq!(
            (stored_key.len(), hex(&stored_key[..16])),
            (64, "96f56c8292f4209a102653fcc8e0f078".into())
        );
        assert_eq!(
            (server_key.len(), hex(&server_key[..16])),
            (64, "b15faa1a802011cfcd238e70b4ad6ba1".into())
        );
    }

    #[test]
    fn keys_are_not_printed() {
        let secret = Bytes::from_static(b"secret");
        let credential = ScramCredential {
            salt: secret.clone(),
            stored_key: secret.clone(),
            server_key: secret,
            iterations: 4096,
        };
        assert_eq!(format!("{credential:?}"), "ScramCredential { iterations: 4096, .. }");
    }
}
