//! Access control entries (ACLs, KIP-11, KIP-290): who may do what to which resources, and who may not. They are kept as
//! Kafka's `StandardAuthorizer` keeps them, in the metadata log; nothing here obeys them.

use super::image::MetadataImage;
use super::{Controller, Decision, Refusal, text};
use crate::rng::Rng;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::create_acls_request::AclCreation;
use sordini_protocol::messages::create_acls_response::AclCreationResult;
use sordini_protocol::messages::delete_acls_request::DeleteAclsFilter;
use sordini_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use sordini_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use sordini_protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse,
};
use sordini_protocol::records::{AccessControlEntryRecord, MetadataRecord, RemoveAccessControlEntryRecord};
use sordini_protocol::request::AnyRequest;
use sordini_protocol::wire::{Str, Uuid};

/// Most records that one request may come to, so that a batch of records stays atomic.
const RECORDS_PER_REQUEST_MAX: usize = 10_000;

/// In every kind of code, one that does not exist.
const UNKNOWN: i8 = 0;

/// In every kind of code, what a filter says that asks for all of them.
const ANY: i8 = 1;

/// Numbers of kinds of resource.
mod resource_type {
    pub(super) const CLUSTER: i8 = 4;
    /// Users, who have delegation tokens.
    pub(super) const LAST: i8 = 7;
}

/// Numbers of the ways in which the name of an entry stands for names of resources.
mod pattern_type {
    /// Of filters alone: every pattern that stands for a name.
    pub(super) const MATCH: i8 = 2;
    pub(super) const LITERAL: i8 = 3;
    pub(super) const PREFIXED: i8 = 4;
}

/// The last of the operations, which is to take part in a two-phase commit.
const OPERATION_LAST: i8 = 15;

/// Numbers of what an entry does to an operation.
mod permission {
    pub(super) const DENY: i8 = 2;
    pub(super) const ALLOW: i8 = 3;
}

/// What is said to who wants to change entries where no authorizer keeps any.
const NO_AUTHORIZER: &str = "No Authorizer is configured.";

/// The one name that the resource `CLUSTER` has.
const CLUSTER_NAME: &str = "kafka-cluster";

/// As the name of a literal pattern: every resource of the type.
const WILDCARD: &str = "*";

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

    fn of_creation(creation: &AclCreation) -> Self {
        Self {
            resource_type: creation.resource_type,
            resource_name: creation.resource_name.clone(),
            pattern_type: creation.resource_pattern_type,
            principal: creation.principal.clone(),
            host: creation.host.clone(),
            operation: creation.operation,
            permission: creation.permission_type,
        }
    }

    /// That there is the entry, with this id.
    pub(crate) fn record(&self, id: Uuid) -> AccessControlEntryRecord {
        AccessControlEntryRecord {
            id,
            resource_type: self.resource_type,
            resource_name: self.resource_name.clone(),
            pattern_type: self.pattern_type,
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation: self.operation,
            permission_type: self.permission,
            ..AccessControlEntryRecord::default()
        }
    }

    fn matching(&self) -> DeleteAclsMatchingAcl {
        DeleteAclsMatchingAcl {
            error_message: None,
            resource_type: self.resource_type,
            resource_name: self.resource_name.clone(),
            pattern_type: self.pattern_type,
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation: self.operation,
            permission_type: self.permission,
            ..DeleteAclsMatchingAcl::default()
        }
    }

    /// Whether a part of it is what only filters say.
    const fn is_filter(&self) -> bool {
        self.resource_type == ANY
            || matches!(self.pattern_type, ANY | pattern_type::MATCH)
            || self.operation == ANY
            || self.permission == ANY
    }

    /// Whether the entry can be kept. The first thing that is wrong with it is told, in Kafka's order and words.
    fn judge(&self) -> Result<(), Refusal> {
        if self.resource_type == resource_type::CLUSTER && self.resource_name != CLUSTER_NAME {
            return Err(invalid(format!("The only valid name for the CLUSTER resource is {CLUSTER_NAME}")));
        }
        if self.resource_name.is_empty() {
            return Err(invalid("Invalid empty resource name"));
        }
        if !(ANY + 1..=resource_type::LAST).contains(&self.resource_type) {
            return Err(invalid("Invalid resourceType UNKNOWN"));
        }
        if !matches!(self.pattern_type, pattern_type::LITERAL | pattern_type::PREFIXED) {
            return Err(invalid("Invalid patternType UNKNOWN"));
        }
        if !(ANY + 1..=OPERATION_LAST).contains(&self.operation) {
            return Err(invalid("Invalid operation UNKNOWN"));
        }
        if !matches!(self.permission, permission::DENY | permission::ALLOW) {
            return Err(invalid("Invalid permissionType UNKNOWN"));
        }
        if !self.principal.contains(':') {
            return Err(invalid(format!(
                "Could not parse principal from `{}` \
                 (no colon is present separating the principal type from the principal name)",
                self.principal
            )));
        }
        Ok(())
    }
}

fn invalid(message: impl Into<alloc::string::String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}

/// What entries are asked for. A name, a principal or a host that is absent is any.
struct Filter<'a> {
    resource_type: i8,
    resource_name: Option<&'a Str>,
    pattern_type: i8,
    principal: Option<&'a Str>,
    host: Option<&'a Str>,
    operation: i8,
    permission: i8,
}

impl<'a> Filter<'a> {
    const fn of_description(request: &'a DescribeAclsRequest) -> Self {
        Self {
            resource_type: request.resource_type_filter,
            resource_name: request.resource_name_filter.as_ref(),
            pattern_type: request.pattern_type_filter,
            principal: request.principal_filter.as_ref(),
            host: request.host_filter.as_ref(),
            operation: request.operation,
            permission: request.permission_type,
        }
    }

    const fn of_deletion(filter: &'a DeleteAclsFilter) -> Self {
        Self {
            resource_type: filter.resource_type_filter,
            resource_name: filter.resource_name_filter.as_ref(),
            pattern_type: filter.pattern_type_filter,
            principal: filter.principal_filter.as_ref(),
            host: filter.host_filter.as_ref(),
            operation: filter.operation,
            permission: filter.permission_type,
        }
    }

    /// Whether a part of it says that it stands for nothing.
    const fn has_unknown(&self) -> bool {
        self.resource_type == UNKNOWN
            || self.pattern_type == UNKNOWN
            || self.operation == UNKNOWN
            || self.permission == UNKNOWN
    }

    /// What is deleted has to be said in words that are known: who means more than this version knows would be misunderstood.
    fn judge(&self) -> Result<(), Refusal> {
        let knows = |code: i8, last: i8| (ANY..=last).contains(&code);
        if !knows(self.resource_type, resource_type::LAST)
            || !knows(self.pattern_type, pattern_type::PREFIXED)
        {
            return Err(invalid("Unknown patternFilter."));
        }
        if !knows(self.operation, OPERATION_LAST) || !knows(self.permission, permission::ALLOW) {
            return Err(invalid("Unknown entryFilter."));
        }
        Ok(())
    }

    fn matches(&self, acl: &Acl) -> bool {
        let is = |wanted: i8, code: i8| wanted == ANY || wanted == code;
        let says = |wanted: Option<&Str>, said: &Str| wanted.is_none_or(|wanted| wanted == said);
        is(self.resource_type, acl.resource_type)
            && self.matches_pattern(acl)
            && says(self.principal, &acl.principal)
            && says(self.host, &acl.host)
            && is(self.operation, acl.operation)
            && is(self.permission, acl.permission)
    }

    /// A pattern of a type is asked for by its own name; with `MATCH`, by any name that it stands for.
    fn matches_pattern(&self, acl: &Acl) -> bool {
        let is_match = self.pattern_type == pattern_type::MATCH;
        if !is_match && self.pattern_type != ANY && self.pattern_type != acl.pattern_type {
            return false;
        }
        let Some(name) = self.resource_name else { return true };
        match acl.pattern_type {
            pattern_type::LITERAL if is_match => *name == acl.resource_name || acl.resource_name == WILDCARD,
            pattern_type::PREFIXED if is_match => name.starts_with(&*acl.resource_name),
            _ => *name == acl.resource_name,
        }
    }
}

/// Whether a request speaks of a type, an operation or a permission that does not exist by its own word. Kafka cannot read
/// such a request.
pub(crate) fn is_unreadable(request: &AnyRequest) -> bool {
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other request has such codes")]
    match request {
        AnyRequest::DescribeAcls(request) => Filter::of_description(request).has_unknown(),
        AnyRequest::DeleteAcls(request) => {
            request.filters.iter().any(|filter| Filter::of_deletion(filter).has_unknown())
        }
        AnyRequest::CreateAcls(request) => request.creations.iter().any(|creation| {
            let AclCreation { resource_type, resource_pattern_type, operation, permission_type, .. } =
                creation;
            [resource_type, resource_pattern_type, operation, permission_type].contains(&&UNKNOWN)
        }),
        _ => false,
    }
}

/// An entry that was created has an empty message, as in Kafka, and what was deleted has none.
fn created(outcome: Result<(), Refusal>) -> AclCreationResult {
    outcome.map_or_else(
        |refusal| AclCreationResult {
            error_code: refusal.code.as_i16(),
            error_message: text(&refusal.message),
            ..AclCreationResult::default()
        },
        |()| AclCreationResult::default(),
    )
}

fn deleted(outcome: Result<Vec<DeleteAclsMatchingAcl>, Refusal>) -> DeleteAclsFilterResult {
    let (error_code, error_message, matching_acls) = match outcome {
        Ok(matching_acls) => (ErrorCode::None, None, matching_acls),
        Err(refusal) => (refusal.code, text(&refusal.message), Vec::new()),
    };
    let error_code = error_code.as_i16();
    DeleteAclsFilterResult { error_code, error_message, matching_acls, ..DeleteAclsFilterResult::default() }
}

/// The answer to a request that is not decided on.
pub(super) fn refuse_create(
    request: &CreateAclsRequest,
    code: ErrorCode,
    message: Option<&str>,
) -> CreateAclsResponse {
    let result = AclCreationResult {
        error_code: code.as_i16(),
        error_message: message.and_then(text),
        ..AclCreationResult::default()
    };
    let results = alloc::vec![result; request.creations.len()];
    CreateAclsResponse { results, ..CreateAclsResponse::default() }
}

/// The same to DeleteAcls.
pub(super) fn refuse_delete(
    request: &DeleteAclsRequest,
    code: ErrorCode,
    message: Option<&str>,
) -> DeleteAclsResponse {
    let result = DeleteAclsFilterResult {
        error_code: code.as_i16(),
        error_message: message.and_then(text),
        ..DeleteAclsFilterResult::default()
    };
    let filter_results = alloc::vec![result; request.filters.len()];
    DeleteAclsResponse { filter_results, ..DeleteAclsResponse::default() }
}

impl Controller {
    pub(super) fn create_acls(
        &self,
        request: &CreateAclsRequest,
        rng: &mut Rng,
    ) -> Decision<CreateAclsResponse> {
        if !self.config.keeps_acls {
            let response = refuse_create(request, ErrorCode::SecurityDisabled, Some(NO_AUTHORIZER));
            return Decision { records: Vec::new(), response };
        }
        let wanted: Vec<Acl> = request.creations.iter().map(Acl::of_creation).collect();
        // Kafka trips over such an entry while it reads the request, and creates none of the others either.
        if wanted.iter().any(Acl::is_filter) {
            let response = refuse_create(request, ErrorCode::UnknownServerError, None);
            return Decision { records: Vec::new(), response };
        }
        let outcomes: Vec<Result<(), Refusal>> = wanted.iter().map(Acl::judge).collect();
        let fitting = wanted.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(acl, _)| acl);
        let mut missing: BTreeSet<&Acl> = fitting.clone().collect();
        for kept in self.image.acls().values() {
            missing.remove(kept);
        }
        if missing.len() > RECORDS_PER_REQUEST_MAX {
            let message = "Unable to perform excessively large batch operation.";
            let refused = |()| Err(Refusal::new(ErrorCode::PolicyViolation, message));
            let results = outcomes.into_iter().map(|outcome| created(outcome.and_then(refused)));
            let response = CreateAclsResponse { results: results.collect(), ..CreateAclsResponse::default() };
            return Decision { records: Vec::new(), response };
        }
        // An entry that is there already, or is named before, is created with nothing to be written.
        let new = fitting.filter(|acl| missing.remove(acl));
        let records = new.map(|acl| acl.record(rng.uuid()).into()).collect();
        let results = outcomes.into_iter().map(created).collect();
        Decision { records, response: CreateAclsResponse { results, ..CreateAclsResponse::default() } }
    }

    pub(super) fn delete_acls(&self, request: &DeleteAclsRequest) -> Decision<DeleteAclsResponse> {
        let refused = |code, message: &str| Decision {
            records: Vec::new(),
            response: refuse_delete(request, code, Some(message)),
        };
        if !self.config.keeps_acls {
            return refused(ErrorCode::SecurityDisabled, NO_AUTHORIZER);
        }
        // What two filters match is deleted once and told of both.
        let mut ids: BTreeSet<Uuid> = BTreeSet::new();
        let mut filter_results = Vec::new();
        for filter in &request.filters {
            let filter = Filter::of_deletion(filter);
            if let Err(refusal) = filter.judge() {
                filter_results.push(deleted(Err(refusal)));
                continue;
            }
            let mut matching = Vec::new();
            for (id, acl) in self.image.acls().iter().filter(|(_, acl)| filter.matches(acl)) {
                // With so many, Kafka does not look whether one more is among them.
                if ids.len() == RECORDS_PER_REQUEST_MAX {
                    let message = format!(
                        "Cannot remove more than {RECORDS_PER_REQUEST_MAX} acls in a single delete operation."
                    );
                    return refused(ErrorCode::InvalidRequest, &message);
                }
                ids.insert(*id);
                matching.push(acl.matching());
            }
            filter_results.push(deleted(Ok(matching)));
        }
        let removal = |id| RemoveAccessControlEntryRecord { id, ..Default::default() }.into();
        let records: Vec<MetadataRecord> = ids.into_iter().map(removal).collect();
        Decision { records, response: DeleteAclsResponse { filter_results, ..DeleteAclsResponse::default() } }
    }
}

/// What DescribeAcls answers: the entries that its filter matches, by the patterns that they are about.
pub(crate) fn describe(
    image: &MetadataImage,
    keeps_acls: bool,
    request: &DescribeAclsRequest,
) -> DescribeAclsResponse {
    if !keeps_acls {
        return DescribeAclsResponse {
            error_code: ErrorCode::SecurityDisabled.as_i16(),
            error_message: text("No Authorizer is configured on the broker"),
            ..DescribeAclsResponse::default()
        };
    }
    let filter = Filter::of_description(request);
    // The log may hold an entry twice, under two ids.
    let matching: BTreeSet<&Acl> = image.acls().values().filter(|acl| filter.matches(acl)).collect();
    let mut by_pattern: BTreeMap<(i8, &Str, i8), Vec<AclDescription>> = BTreeMap::new();
    for acl in matching {
        let pattern = (acl.resource_type, &acl.resource_name, acl.pattern_type);
        by_pattern.entry(pattern).or_default().push(AclDescription {
            principal: acl.principal.clone(),
            host: acl.host.clone(),
            operation: acl.operation,
            permission_type: acl.permission,
            ..AclDescription::default()
        });
    }
    let resource = |((resource_type, name, pattern_type), acls): ((i8, &Str, i8), _)| DescribeAclsResource {
        resource_type,
        resource_name: name.clone(),
        pattern_type,
        acls,
        ..DescribeAclsResource::default()
    };
    let resources = by_pattern.into_iter().map(resource).collect();
    DescribeAclsResponse { resources, ..DescribeAclsResponse::default() }
}
