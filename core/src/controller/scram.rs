//! What users of SASL/SCRAM prove themselves by (KIP-554, RFC 5802).

use bytes::Bytes;
use core::fmt;
use sordini_protocol::records::UserScramCredentialRecord;
use sordini_protocol::wire::Str;

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
