//! What members of the classic protocol say of themselves, as far as a coordinator reads it: consumers name their topics.

use alloc::vec::Vec;
use bytes::{Buf, Bytes};
use sordini_protocol::records::ConsumerProtocolSubscription;
use sordini_protocol::wire::{Message, Str};

/// The topics that a consumer's metadata names. A version that is not known is read as the newest that is, as Kafka reads it.
pub(super) fn topics(metadata: &Bytes) -> Option<Vec<Str>> {
    let mut metadata = metadata.clone();
    if metadata.len() < size_of::<i16>() {
        return None;
    }
    let version = metadata.get_i16();
    if version < 0 {
        return None;
    }
    let version = version.min(*ConsumerProtocolSubscription::VERSIONS.end());
    ConsumerProtocolSubscription::decode(version, &mut metadata).ok().map(|read| read.topics)
}
