//! Quotas of users, clients and addresses (KIP-546, KIP-612).

use alloc::collections::BTreeMap;
use sordini_protocol::wire::Str;

/// Whom a quota is for: names by type of entity, `user`, `client-id` or `ip`. Without a name it is for everybody of whom
/// nothing closer is said.
pub(crate) type QuotaEntity = BTreeMap<Str, Option<Str>>;

/// A limit, in the unit of its key. Equal is what has the same bits, as in Kafka.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuotaValue(pub(crate) f64);

impl PartialEq for QuotaValue {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for QuotaValue {}
