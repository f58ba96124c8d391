//! A client of a quorum that says who may do what: it creates access control entries, deletes them, and asks which there are.

use super::{ClientOutbox, Link, Surroundings, Turn, with_last_answer};
use crate::history::{Entry, Operation, Stage};
use crate::plan::{GatekeeperDeed, GatekeeperDeedPlan, GatekeeperPlan, PlannedAcl, PlannedFilter};
use sordini_core::ids::RequestId;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::create_acls_request::AclCreation;
use sordini_protocol::messages::delete_acls_request::DeleteAclsFilter;
use sordini_protocol::messages::delete_acls_response::DeleteAclsMatchingAcl;
use sordini_protocol::messages::{
    CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest, DescribeAclsResponse,
};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;

const ACLS_VERSION: i16 = 3;
const ANY_HOST: &str = "*";
const PERMISSION_ANY: i8 = 1;
const PERMISSION_ALLOW: i8 = 3;

/// Does one thing after the other. What it was not told the outcome of it does not try again: it may have happened, or happen
/// yet.
#[derive(Clone, Debug)]
pub struct Gatekeeper {
    pub(super) link: Link,
    plan: GatekeeperPlan,
    turn: Turn,
    /// Whether every node keeps entries.
    are_kept: bool,
    /// How many of its deeds it has done with.
    done: usize,
    /// What it asks for, once it has asked.
    asked: Option<Entry>,
    refusals: Vec<String>,
    last_error: Option<(ErrorCode, String)>,
}

impl Gatekeeper {
    /// A client that does what `plan` says with `nodes` nodes, which keep entries or do not.
    #[must_use]
    pub const fn new(plan: GatekeeperPlan, nodes: usize, are_kept: bool, surroundings: Surroundings) -> Self {
        Self {
            link: Link::new(plan.client, surroundings),
            turn: Turn::new(plan.node, nodes),
            plan,
            are_kept,
            done: 0,
            asked: None,
            refusals: Vec::new(),
            last_error: None,
        }
    }

    /// Takes the answers that a correct node never gives, each as a sentence.
    pub fn take_refusals(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refusals)
    }

    fn next_deed(&self) -> Option<&GatekeeperDeedPlan> {
        self.plan.deeds.get(self.done)
    }

    pub(super) fn on_wake(&mut self, now: u64, out: &mut ClientOutbox) {
        let Some(planned) = self.next_deed().filter(|planned| planned.at_us <= now) else { return };
        if !self.link.deadlines.is_empty() || self.link.backoff_until > now {
            return;
        }
        let deadline = Some(now + self.plan.request_timeout_us);
        let (asked, request) = ask(now, self.link.client, &planned.deed);
        if !self.turn.is_connected {
            self.link.greet(deadline, out);
            return;
        }
        if self.asked.is_none() {
            out.history.push(asked.clone());
            self.asked = Some(asked);
        }
        self.link.send(ACLS_VERSION, request, deadline, out);
    }

    pub(super) fn on_response(
        &mut self,
        now: u64,
        request: RequestId,
        body: &AnyResponse,
        out: &mut ClientOutbox,
    ) {
        self.link.deadlines.remove(&request);
        if let AnyResponse::ApiVersions(_) = body {
            self.turn.is_connected = true;
            return;
        }
        let Some(mut asked) = self.asked.clone() else { return };
        let told = told(&asked, body);
        match told {
            Some((ErrorCode::None, _, matched)) => {
                if asked.operation != Operation::CreateAcls {
                    asked.values = matched.iter().filter_map(|acl| Some((number_of(acl)?, 1))).collect();
                    asked.values.sort_unstable();
                }
                if asked.values.len() < matched.len() {
                    self.refusals.push(format!("entries that nobody has created: {matched:?}"));
                }
                self.asked = Some(asked);
                self.end(now, Stage::Ok, ErrorCode::None, out);
            }
            Some((error @ ErrorCode::NotController, text, _)) => {
                // What a controller had begun when it lost its office is in the log before all that the next one writes: to
                // ask for the same once more changes nothing.
                self.last_error = Some((error, text));
                self.turn.advance(&mut self.link, now, out);
            }
            Some((error @ ErrorCode::RequestTimedOut, text, _)) => {
                self.last_error = Some((error, text));
                self.end(now, Stage::Info, error, out);
                self.turn.advance(&mut self.link, now, out);
            }
            Some((error @ ErrorCode::SecurityDisabled, ..)) if !self.are_kept => {
                self.end(now, Stage::Fail, error, out);
            }
            Some((error, text, _)) => {
                self.refusals.push(format!("{error:?} {text:?} to {asked:?}, which every node takes"));
                self.end(now, Stage::Fail, error, out);
            }
            None => {
                self.refusals.push(format!("an answer to {asked:?} that is none: {body:?}"));
                self.end(now, Stage::Fail, ErrorCode::UnknownServerError, out);
            }
        }
    }

    /// What was asked for came about, or did not, or nobody can tell.
    fn end(&mut self, now: u64, stage: Stage, error: ErrorCode, out: &mut ClientOutbox) {
        out.history.extend(self.asked.take().map(|asked| Entry { at_us: now, stage, error, ..asked }));
        self.done += 1;
    }

    pub(super) fn on_disconnected(&mut self, now: u64, out: &mut ClientOutbox) {
        let was_asked = self.turn.is_connected && !self.link.deadlines.is_empty();
        if was_asked {
            self.end(now, Stage::Info, ErrorCode::None, out);
        }
        self.turn.advance(&mut self.link, now, out);
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        let next_deed = || Some(self.next_deed()?.at_us.max(self.link.backoff_until));
        self.link.earliest_deadline().map_or_else(next_deed, Some)
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.done == self.plan.deeds.len()
    }

    pub(super) fn waits_for(&self) -> String {
        let left = self.plan.deeds.len() - self.done;
        let what = format!("{left} requests about access control entries");
        with_last_answer(what, self.last_error.as_ref())
    }
}

/// A deed as the history has it, and as a request.
fn ask(now: u64, client: u64, deed: &GatekeeperDeed) -> (Entry, AnyRequest) {
    let entry = |operation, topic: String| Entry::new(now, client, Stage::Invoke, operation, topic.into());
    let filtered = |operation, filter: u64| Entry {
        offset: i64::try_from(filter).ok(),
        ..entry(operation, format!("{:?}", PlannedFilter::of(filter)))
    };
    match deed {
        GatekeeperDeed::Create { acls } => {
            let values = acls.iter().map(|number| (*number, 1)).collect();
            let creations = acls.iter().map(|number| creation(PlannedAcl::of(*number))).collect();
            let request = CreateAclsRequest { creations, ..CreateAclsRequest::default() };
            (Entry { values, ..entry(Operation::CreateAcls, String::new()) }, request.into())
        }
        GatekeeperDeed::Delete { filter } => {
            let filters = vec![deletion(PlannedFilter::of(*filter))];
            let request = DeleteAclsRequest { filters, ..DeleteAclsRequest::default() };
            (filtered(Operation::DeleteAcls, *filter), request.into())
        }
        GatekeeperDeed::Describe { filter } => {
            let wanted = deletion(PlannedFilter::of(*filter));
            let request = DescribeAclsRequest {
                resource_type_filter: wanted.resource_type_filter,
                resource_name_filter: wanted.resource_name_filter,
                pattern_type_filter: wanted.pattern_type_filter,
                principal_filter: wanted.principal_filter,
                host_filter: wanted.host_filter,
                operation: wanted.operation,
                permission_type: wanted.permission_type,
                ..DescribeAclsRequest::default()
            };
            (filtered(Operation::DescribeAcls, *filter), request.into())
        }
    }
}

fn creation(acl: PlannedAcl) -> AclCreation {
    AclCreation {
        resource_type: acl.resource_type,
        resource_name: Str::from_static(acl.name),
        resource_pattern_type: acl.pattern,
        principal: Str::from_static(acl.principal),
        host: Str::from_static(ANY_HOST),
        operation: acl.operation,
        permission_type: PERMISSION_ALLOW,
        ..AclCreation::default()
    }
}

fn deletion(filter: PlannedFilter) -> DeleteAclsFilter {
    DeleteAclsFilter {
        resource_type_filter: filter.resource_type,
        resource_name_filter: filter.name.map(Str::from_static),
        pattern_type_filter: filter.pattern,
        principal_filter: filter.principal.map(Str::from_static),
        host_filter: None,
        operation: filter.operation,
        permission_type: PERMISSION_ANY,
        ..DeleteAclsFilter::default()
    }
}

/// What an answer says: why something was refused, or what a filter matches. `None` if it is no answer to what was asked.
fn told(asked: &Entry, body: &AnyResponse) -> Option<(ErrorCode, String, Vec<DeleteAclsMatchingAcl>)> {
    let refusal = |code: i16, text: &Option<Str>| {
        (ErrorCode::from_i16(code), text.as_ref().map(ToString::to_string).unwrap_or_default())
    };
    if let (Operation::CreateAcls, AnyResponse::CreateAcls(response)) = (asked.operation, body) {
        let is_whole = response.results.len() == asked.values.len();
        let worst = response.results.iter().find(|result| result.error_code != 0);
        let worst = worst.or_else(|| response.results.first()).filter(|_| is_whole)?;
        let (error, text) = refusal(worst.error_code, &worst.error_message);
        return Some((error, text, Vec::new()));
    }
    if let (Operation::DeleteAcls, AnyResponse::DeleteAcls(response)) = (asked.operation, body) {
        let [result] = &response.filter_results[..] else { return None };
        let (error, text) = refusal(result.error_code, &result.error_message);
        return Some((error, text, result.matching_acls.clone()));
    }
    if let (Operation::DescribeAcls, AnyResponse::DescribeAcls(response)) = (asked.operation, body) {
        let (error, text) = refusal(response.error_code, &response.error_message);
        return Some((error, text, described(response)));
    }
    None
}

fn described(response: &DescribeAclsResponse) -> Vec<DeleteAclsMatchingAcl> {
    let of_resources = response.resources.iter().flat_map(|resource| {
        resource.acls.iter().map(|acl| DeleteAclsMatchingAcl {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            pattern_type: resource.pattern_type,
            principal: acl.principal.clone(),
            host: acl.host.clone(),
            operation: acl.operation,
            permission_type: acl.permission_type,
            ..DeleteAclsMatchingAcl::default()
        })
    });
    of_resources.collect()
}

/// The number of an entry, if it is one that a plan can have.
fn number_of(acl: &DeleteAclsMatchingAcl) -> Option<u64> {
    let is = |planned: &PlannedAcl| {
        let of_resource = (planned.resource_type, planned.name, planned.pattern);
        of_resource == (acl.resource_type, &*acl.resource_name, acl.pattern_type)
            && (planned.principal, planned.operation) == (&*acl.principal, acl.operation)
            && (&*acl.host, acl.permission_type) == (ANY_HOST, PERMISSION_ALLOW)
    };
    PlannedAcl::all().find(|(_, planned)| is(planned)).map(|(number, _)| number)
}
