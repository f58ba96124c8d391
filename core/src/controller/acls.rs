//! Access control entries: who may do what to which resources, and who may not.

use sordini_protocol::records::AccessControlEntryRecord;
use sordini_protocol::wire::Str;

/// An access control entry. Types and operations are kept as their numbers: the log may know more than this version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Acl {
    pub(crate) resource_type: i8,
    pub(crate) resource_name: Str,
    pub(crate) pattern_type: i8,
    pub(crate) principal: Str,
    pub(crate) host: Str,
    pub(crate) operation: i8,
    pub(crate) permission: i8,
}

impl Acl {
    pub(crate) fn of_record(record: &AccessControlEntryRecord) -> Self {
        Self {
            resource_type: record.resource_type,
            resource_name: record.resource_name.detached(),
            pattern_type: record.pattern_type,
            principal: record.principal.detached(),
            host: record.host.detached(),
            operation: record.operation,
            permission: record.permission_type,
        }
    }
}
