//! What administrators ask of the controller, from the request to the answer and over a restart.

#[expect(dead_code, reason = "these tests use less of the host than those of one node do")]
mod support;

use bytes::Bytes;
use sordini_core::node::RequestBody;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use sordini_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use sordini_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use sordini_protocol::messages::api_versions_response::FinalizedFeatureKey;
use sordini_protocol::messages::create_acls_request::AclCreation;
use sordini_protocol::messages::create_topics_request::CreatableTopic;
use sordini_protocol::messages::delete_acls_request::DeleteAclsFilter;
use sordini_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use sordini_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use sordini_protocol::messages::describe_client_quotas_request::ComponentData;
use sordini_protocol::messages::describe_configs_request::DescribeConfigsResource;
use sordini_protocol::messages::describe_user_scram_credentials_request::UserName;
use sordini_protocol::messages::elect_leaders_request::TopicPartitions;
use sordini_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use sordini_protocol::messages::update_features_request::FeatureUpdateKey;
use sordini_protocol::messages::{
    AlterClientQuotasRequest, AlterPartitionReassignmentsRequest, AlterUserScramCredentialsRequest,
    ApiVersionsRequest, CreateAclsRequest, CreateTopicsRequest, DeleteAclsRequest, DescribeAclsRequest,
    DescribeClientQuotasRequest, DescribeConfigsRequest, DescribeUserScramCredentialsRequest,
    ElectLeadersRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    ListPartitionReassignmentsRequest, UnregisterBrokerRequest, UpdateFeaturesRequest,
};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;
use std::collections::BTreeMap;
use support::Host;

type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

/// A key, and a value or `None` to remove it.
type Op<'a> = (&'a str, Option<f64>);

fn quota_entry(entity: Entity<'_>, ops: &[Op<'_>]) -> EntryData {
    let part = |(kind, name): &(&str, Option<&str>)| EntityData {
        entity_type: Str::from(*kind),
        entity_name: name.map(Str::from),
        ..EntityData::default()
    };
    let op = |(key, value): &Op<'_>| OpData {
        key: Str::from(*key),
        value: value.unwrap_or(0.0),
        remove: value.is_none(),
        ..OpData::default()
    };
    EntryData {
        entity: entity.iter().map(part).collect(),
        ops: ops.iter().map(op).collect(),
        ..EntryData::default()
    }
}

fn alter_quotas(host: &mut Host, entries: Vec<EntryData>, validate_only: bool) -> Vec<i16> {
    let request = AlterClientQuotasRequest { entries, validate_only, ..AlterClientQuotasRequest::default() };
    let AnyResponse::AlterClientQuotas(response) = host.ask(1, AnyRequest::AlterClientQuotas(request)) else {
        panic!("a response is of its request's API")
    };
    for entry in &response.entries {
        assert_eq!(entry.error_code == 0, entry.error_message.is_none(), "a refusal says why");
    }
    response.entries.iter().map(|entry| entry.error_code).collect()
}

/// Components are a type, a way to match, and a name.
fn describe_quotas(
    host: &mut Host,
    components: &[(&str, i8, Option<&str>)],
    strict: bool,
) -> Result<Vec<String>, i16> {
    let component = |(kind, match_type, name): &(&str, i8, Option<&str>)| ComponentData {
        entity_type: Str::from(*kind),
        match_type: *match_type,
        match_: name.map(Str::from),
        ..ComponentData::default()
    };
    let components = components.iter().map(component).collect();
    let request =
        DescribeClientQuotasRequest { components, strict, ..DescribeClientQuotasRequest::default() };
    let AnyResponse::DescribeClientQuotas(response) = host.ask(1, AnyRequest::DescribeClientQuotas(request))
    else {
        panic!("a response is of its request's API")
    };
    let Some(entries) = response.entries else { return Err(response.error_code) };
    let text = |entry: &sordini_protocol::messages::describe_client_quotas_response::EntryData| {
        let parts = entry.entity.iter().map(|part| {
            format!("{}={}", part.entity_type, part.entity_name.as_deref().unwrap_or("<default>"))
        });
        let values = entry.values.iter().map(|value| format!("{}:{}", value.key, value.value));
        parts.chain(values).collect::<Vec<_>>().join(" ")
    };
    Ok(entries.iter().map(text).collect())
}

const INVALID_REQUEST: i16 = ErrorCode::InvalidRequest.as_i16();

#[test]
fn quotas_are_set_shown_and_removed() {
    let mut host = Host::formatted(&[]);
    let entries = vec![
        quota_entry(&[("user", Some("ada"))], &[("producer_byte_rate", Some(1024.0))]),
        quota_entry(&[("user", Some("ada")), ("client-id", None)], &[("request_percentage", Some(12.5))]),
        quota_entry(&[("ip", Some("::1"))], &[("connection_creation_rate", Some(7.0))]),
        quota_entry(&[("user", None)], &[("consumer_byte_rate", Some(1.0))]),
    ];
    assert_eq!(alter_quotas(&mut host, entries.clone(), true), [0; 4]);
    assert_eq!(describe_quotas(&mut host, &[], false), Ok(vec![]), "a validation changes nothing");
    assert_eq!(alter_quotas(&mut host, entries, false), [0; 4]);

    let ada = "user=ada producer_byte_rate:1024";
    let ada_clients = "client-id=<default> user=ada request_percentage:12.5";
    let ip = "ip=::1 connection_creation_rate:7";
    let users = "user=<default> consumer_byte_rate:1";
    type Row<'a> = (&'a [(&'a str, i8, Option<&'a str>)], bool, &'a [&'a str]);
    let table: [Row<'_>; 8] = [
        (&[], false, &[ada_clients, ip, users, ada]),
        (&[], true, &[]),
        (&[("user", 0, Some("ada"))], false, &[ada_clients, ada]),
        (&[("user", 0, Some("ada"))], true, &[ada]),
        (&[("user", 1, None)], true, &[users]),
        (&[("user", 2, None)], false, &[ada_clients, users, ada]),
        (&[("user", 2, None), ("client-id", 1, None)], true, &[ada_clients]),
        (&[("ip", 2, None)], true, &[ip]),
    ];
    host.restart();
    for (components, strict, expected) in table {
        let expected = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(describe_quotas(&mut host, components, strict), Ok(expected), "{components:?} {strict}");
    }

    let removal = quota_entry(&[("user", Some("ada"))], &[("producer_byte_rate", None)]);
    assert_eq!(alter_quotas(&mut host, vec![removal], false), [0]);
    assert_eq!(describe_quotas(&mut host, &[("user", 0, Some("ada"))], true), Ok(vec![]));
}

#[test]
fn quotas_that_make_no_sense_are_refused_and_the_others_set() {
    let mut host = Host::formatted(&[]);
    let ada: Entity<'_> = &[("user", Some("ada"))];
    let rate: &[Op<'_>] = &[("producer_byte_rate", Some(5.0))];
    let refused: [(Entity<'_>, &[Op<'_>]); 14] = [
        (&[], rate),
        (&[("group", Some("g"))], rate),
        (&[("user", Some(""))], rate),
        (&[("user", Some("ada")), ("user", Some("bob"))], rate),
        (&[("user", Some("ada")), ("ip", None)], rate),
        (&[("ip", Some("not an address"))], &[("connection_creation_rate", Some(1.0))]),
        (&[("ip", None)], rate),
        (ada, &[("connection_creation_rate", Some(1.0))]),
        (ada, &[("producer_byte_rate", Some(0.0))]),
        (ada, &[("producer_byte_rate", Some(f64::NAN))]),
        (ada, &[("producer_byte_rate", Some(1.5))]),
        (ada, &[("producer_byte_rate", Some(1e300))]),
        (ada, &[("producer_byte_rate", Some(1.0)), ("producer_byte_rate", None)]),
        (&[("ip", None)], &[("connection_creation_rate", Some(2_147_483_648.0))]),
    ];
    for (entity, ops) in refused {
        let entries = vec![quota_entry(entity, ops)];
        assert_eq!(alter_quotas(&mut host, entries, false), [INVALID_REQUEST], "{entity:?} {ops:?}");
    }
    let bob = quota_entry(&[("user", Some("bob"))], rate);
    let twice = vec![quota_entry(ada, rate), bob, quota_entry(ada, rate)];
    assert_eq!(alter_quotas(&mut host, twice, false), [INVALID_REQUEST, 0, INVALID_REQUEST]);
    let bob = "user=bob producer_byte_rate:5".to_owned();
    assert_eq!(describe_quotas(&mut host, &[], false), Ok(vec![bob]));
}

#[test]
fn filters_of_quotas_that_make_no_sense_are_refused() {
    let mut host = Host::formatted(&[]);
    type Row<'a> = (&'a [(&'a str, i8, Option<&'a str>)], ErrorCode);
    let table: [Row<'_>; 8] = [
        (&[("", 2, None)], ErrorCode::InvalidRequest),
        (&[("group", 2, None)], ErrorCode::UnsupportedVersion),
        (&[("user", 0, None)], ErrorCode::InvalidRequest),
        (&[("user", 1, Some("ada"))], ErrorCode::InvalidRequest),
        (&[("user", 2, Some("ada"))], ErrorCode::InvalidRequest),
        (&[("user", 3, None)], ErrorCode::InvalidRequest),
        (&[("user", 1, None), ("user", 2, None)], ErrorCode::InvalidRequest),
        (&[("user", 2, None), ("ip", 2, None)], ErrorCode::InvalidRequest),
    ];
    for (components, code) in table {
        assert_eq!(describe_quotas(&mut host, components, false), Err(code.as_i16()), "{components:?}");
    }
}

fn upsertion(name: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion {
        name: Str::from(name),
        mechanism,
        iterations,
        salt: Bytes::from_static(b"salt"),
        salted_password: Bytes::from_static(b"salted password"),
        ..ScramCredentialUpsertion::default()
    }
}

fn deletion(name: &str, mechanism: i8) -> ScramCredentialDeletion {
    ScramCredentialDeletion { name: Str::from(name), mechanism, ..ScramCredentialDeletion::default() }
}

fn alter_scram(
    host: &mut Host,
    deletions: Vec<ScramCredentialDeletion>,
    upsertions: Vec<ScramCredentialUpsertion>,
) -> Vec<(String, i16)> {
    let request = AlterUserScramCredentialsRequest { deletions, upsertions, ..Default::default() };
    let AnyResponse::AlterUserScramCredentials(response) =
        host.ask(0, AnyRequest::AlterUserScramCredentials(request))
    else {
        panic!("a response is of its request's API")
    };
    for result in &response.results {
        assert_eq!(result.error_code == 0, result.error_message.is_none(), "a refusal says why");
    }
    response.results.iter().map(|result| (result.user.to_string(), result.error_code)).collect()
}

/// User, error code, and mechanisms with iterations.
type Described = (String, i16, Vec<(i8, i32)>);

fn describe_scram(host: &mut Host, users: Option<&[&str]>) -> Vec<Described> {
    let user = |name: &&str| UserName { name: Str::from(*name), ..UserName::default() };
    let users = users.map(|users| users.iter().map(user).collect());
    let request = DescribeUserScramCredentialsRequest { users, ..Default::default() };
    let AnyResponse::DescribeUserScramCredentials(response) =
        host.ask(0, AnyRequest::DescribeUserScramCredentials(request))
    else {
        panic!("a response is of its request's API")
    };
    assert_eq!((response.error_code, response.error_message), (0, None));
    let described = response.results.into_iter().map(|result| {
        let infos = result.credential_infos.iter().map(|info| (info.mechanism, info.iterations));
        (result.user.to_string(), result.error_code, infos.collect())
    });
    described.collect()
}

#[test]
fn credentials_are_made_shown_and_deleted() {
    let mut host = Host::formatted(&[]);
    assert_eq!(describe_scram(&mut host, None), []);
    let made = alter_scram(&mut host, vec![], vec![upsertion("ada", 1, 4096), upsertion("bob", 2, 16_384)]);
    assert_eq!(made, [("ada".to_owned(), 0), ("bob".to_owned(), 0)]);
    alter_scram(&mut host, vec![], vec![upsertion("ada", 2, 8192)]);
    host.restart();
    let ada = ("ada".to_owned(), 0, vec![(1, 4096), (2, 8192)]);
    let bob = ("bob".to_owned(), 0, vec![(2, 16_384)]);
    assert_eq!(describe_scram(&mut host, None), [ada.clone(), bob.clone()]);
    assert_eq!(describe_scram(&mut host, Some(&[])), [ada.clone(), bob]);
    let missing = ("eve".to_owned(), ErrorCode::ResourceNotFound.as_i16(), vec![]);
    let twice = ("bob".to_owned(), ErrorCode::DuplicateResource.as_i16(), vec![]);
    let asked = describe_scram(&mut host, Some(&["ada", "eve", "bob", "bob"]));
    assert_eq!(asked, [ada, twice, missing]);

    assert_eq!(alter_scram(&mut host, vec![deletion("ada", 1)], vec![]), [("ada".to_owned(), 0)]);
    assert_eq!(describe_scram(&mut host, Some(&["ada"])), [("ada".to_owned(), 0, vec![(2, 8192)])]);
}

#[test]
fn credentials_that_cannot_be_are_refused() {
    let mut host = Host::formatted(&[]);
    let upsertions = [
        (upsertion("", 1, 4096), ErrorCode::UnacceptableCredential),
        (upsertion("ada", 3, 4096), ErrorCode::UnsupportedSaslMechanism),
        (upsertion("ada", 1, 4095), ErrorCode::UnacceptableCredential),
        (upsertion("ada", 1, 16_385), ErrorCode::UnacceptableCredential),
    ];
    for (upsertion, code) in upsertions {
        let name = upsertion.name.to_string();
        assert_eq!(alter_scram(&mut host, vec![], vec![upsertion]), [(name, code.as_i16())]);
    }
    let missing = ("ada".to_owned(), ErrorCode::ResourceNotFound.as_i16());
    assert_eq!(alter_scram(&mut host, vec![deletion("ada", 1)], vec![]), [missing]);
    let twice = alter_scram(
        &mut host,
        vec![deletion("ada", 1)],
        vec![upsertion("ada", 1, 4096), upsertion("bob", 1, 4096)],
    );
    let refused = ("ada".to_owned(), ErrorCode::DuplicateResource.as_i16());
    assert_eq!(twice, [refused, ("bob".to_owned(), 0)]);
    assert_eq!(describe_scram(&mut host, None), [("bob".to_owned(), 0, vec![(1, 4096)])]);
}

/// The authorizer that keeps access control entries.
const WITH_ACLS: (&str, &str) =
    ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer");

const ANY: i8 = 1;
const MATCH: i8 = 2;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const CLUSTER: i8 = 4;
const READ: i8 = 3;
const WRITE: i8 = 4;
const DENY: i8 = 2;
const ALLOW: i8 = 3;

/// An entry of a topic, or of what else it is made to be about, that lets a principal read.
fn acl(name: &str, resource_pattern_type: i8, principal: &str) -> AclCreation {
    AclCreation {
        resource_type: TOPIC,
        resource_name: Str::from(name),
        resource_pattern_type,
        principal: Str::from(principal),
        host: Str::from_static("*"),
        operation: READ,
        permission_type: ALLOW,
        ..AclCreation::default()
    }
}

fn create_acls(host: &mut Host, creations: Vec<AclCreation>) -> Vec<(i16, String)> {
    let request = CreateAclsRequest { creations, ..CreateAclsRequest::default() };
    let AnyResponse::CreateAcls(response) = host.ask(3, AnyRequest::CreateAcls(request)) else {
        panic!("a response is of its request's API")
    };
    let results = response.results.into_iter();
    results.map(|it| (it.error_code, it.error_message.as_deref().unwrap_or("<none>").to_owned())).collect()
}

/// The filter that matches everything.
fn any_acl() -> DeleteAclsFilter {
    DeleteAclsFilter {
        resource_type_filter: ANY,
        resource_name_filter: None,
        pattern_type_filter: ANY,
        principal_filter: None,
        host_filter: None,
        operation: ANY,
        permission_type: ANY,
        ..DeleteAclsFilter::default()
    }
}

/// What a filter matches of topics that have a name.
fn of_topic(name: &str, pattern_type_filter: i8) -> DeleteAclsFilter {
    let resource_name_filter = Some(Str::from(name));
    DeleteAclsFilter { resource_type_filter: TOPIC, resource_name_filter, pattern_type_filter, ..any_acl() }
}

/// The entries that a filter matches, each as words, by their patterns.
fn describe_acls(host: &mut Host, filter: DeleteAclsFilter) -> Vec<String> {
    let request = DescribeAclsRequest {
        resource_type_filter: filter.resource_type_filter,
        resource_name_filter: filter.resource_name_filter,
        pattern_type_filter: filter.pattern_type_filter,
        principal_filter: filter.principal_filter,
        host_filter: filter.host_filter,
        operation: filter.operation,
        permission_type: filter.permission_type,
        ..DescribeAclsRequest::default()
    };
    let AnyResponse::DescribeAcls(response) = host.ask(3, AnyRequest::DescribeAcls(request)) else {
        panic!("a response is of its request's API")
    };
    assert_eq!((response.error_code, response.error_message.as_deref()), (0, Some("")));
    let resource = |resource: &DescribeAclsResource| {
        let entry = |acl: &AclDescription| {
            format!(" {}@{}:{}:{}", acl.principal, acl.host, acl.operation, acl.permission_type)
        };
        let entries: String = resource.acls.iter().map(entry).collect();
        format!("{} {} {}{entries}", resource.resource_type, resource.resource_name, resource.pattern_type)
    };
    response.resources.iter().map(resource).collect()
}

/// How many entries each filter has deleted, or why it has deleted none.
fn delete_acls(host: &mut Host, filters: Vec<DeleteAclsFilter>) -> Vec<Result<Vec<String>, (i16, String)>> {
    let request = DeleteAclsRequest { filters, ..DeleteAclsRequest::default() };
    let AnyResponse::DeleteAcls(response) = host.ask(3, AnyRequest::DeleteAcls(request)) else {
        panic!("a response is of its request's API")
    };
    let result = |result: DeleteAclsFilterResult| match (result.error_code, result.error_message) {
        (0, None) => {
            assert!(
                result.matching_acls.iter().all(|acl| (acl.error_code, &acl.error_message) == (0, &None))
            );
            let acls = result.matching_acls.into_iter();
            let mut acls: Vec<String> =
                acls.map(|acl| format!("{} {}", acl.resource_name, acl.principal)).collect();
            acls.sort();
            Ok(acls)
        }
        (code, message) => Err((code, message.expect("a refusal says why").to_string())),
    };
    response.filter_results.into_iter().map(result).collect()
}

fn fine(count: usize) -> Vec<(i16, String)> {
    vec![(0, String::new()); count]
}

#[test]
fn access_control_entries_are_created_described_and_deleted() {
    let mut host = Host::formatted(&[WITH_ACLS]);
    let ada = acl("orders", LITERAL, "User:ada");
    let write = AclCreation { operation: WRITE, permission_type: DENY, ..ada.clone() };
    let cluster = AclCreation {
        resource_type: CLUSTER,
        host: Str::from_static("::1"),
        ..acl("kafka-cluster", LITERAL, "User:*")
    };
    let bob = acl("ord", PREFIXED, "Role:bob:builder");
    assert_eq!(create_acls(&mut host, vec![ada.clone(), write, cluster, ada, bob.clone()]), fine(5));
    let all = [
        "2 ord 4 Role:bob:builder@*:3:3",
        "2 orders 3 User:ada@*:3:3 User:ada@*:4:2",
        "4 kafka-cluster 3 User:*@::1:3:3",
    ];
    assert_eq!(describe_acls(&mut host, any_acl()), all, "what is wanted twice is there once");
    assert_eq!(create_acls(&mut host, vec![bob]), fine(1));
    host.restart();
    assert_eq!(describe_acls(&mut host, any_acl()), all, "and survives");

    let of_ada = DeleteAclsFilter { principal_filter: Some(Str::from_static("User:ada")), ..any_acl() };
    let denied = DeleteAclsFilter { permission_type: DENY, ..any_acl() };
    let of_nobody = DeleteAclsFilter { principal_filter: Some(Str::from_static("User:eve")), ..any_acl() };
    let deleted = delete_acls(&mut host, vec![denied, of_nobody, of_ada]);
    let orders = || "orders User:ada".to_owned();
    assert_eq!(deleted, [Ok(vec![orders()]), Ok(vec![]), Ok(vec![orders(), orders()])]);
    assert_eq!(describe_acls(&mut host, any_acl()), [all[0], all[2]]);
    host.restart();
    assert_eq!(describe_acls(&mut host, any_acl()), [all[0], all[2]]);
    assert_eq!(delete_acls(&mut host, vec![]), []);
}

#[test]
fn access_control_entries_are_found_by_every_part() {
    let mut host = Host::formatted(&[WITH_ACLS]);
    let group = AclCreation { resource_type: 3, ..acl("orders", LITERAL, "User:ada") };
    let local = AclCreation { host: Str::from_static("::1"), ..acl("orders", LITERAL, "User:bob") };
    let created = vec![
        acl("orders", LITERAL, "User:ada"),
        acl("orders", PREFIXED, "User:ada"),
        acl("ord", PREFIXED, "User:ada"),
        acl("*", LITERAL, "User:ada"),
        acl("*", PREFIXED, "User:ada"),
        acl("orders-2", LITERAL, "User:ada"),
        group,
        local,
    ];
    assert_eq!(create_acls(&mut host, created), fine(8));
    let literal = "2 orders 3 User:ada@*:3:3 User:bob@::1:3:3";
    let prefixed = "2 orders 4 User:ada@*:3:3";
    let (prefix, star) = ("2 ord 4 User:ada@*:3:3", "2 * 3 User:ada@*:3:3");
    let (other, star_prefixed) = ("2 orders-2 3 User:ada@*:3:3", "2 * 4 User:ada@*:3:3");
    let topics = DeleteAclsFilter { resource_type_filter: TOPIC, ..any_acl() };
    let every = vec![star, star_prefixed, prefix, literal, prefixed, other];
    let with = |pattern_type_filter| DeleteAclsFilter { pattern_type_filter, ..topics.clone() };
    let table = [
        (topics.clone(), every.clone()),
        (with(MATCH), every),
        (with(LITERAL), vec![star, literal, other]),
        (with(PREFIXED), vec![star_prefixed, prefix, prefixed]),
        (of_topic("orders", ANY), vec![literal, prefixed]),
        (of_topic("orders", LITERAL), vec![literal]),
        (of_topic("orders", PREFIXED), vec![prefixed]),
        (of_topic("orders", MATCH), vec![star, prefix, literal, prefixed]),
        (of_topic("orders-2", MATCH), vec![star, prefix, prefixed, other]),
        (of_topic("or", MATCH), vec![star]),
        (of_topic("*", MATCH), vec![star, star_prefixed]),
        (of_topic("*", LITERAL), vec![star]),
        // An empty name is a name.
        (of_topic("", ANY), vec![]),
        (
            DeleteAclsFilter { host_filter: Some(Str::from_static("::1")), ..topics.clone() },
            vec!["2 orders 3 User:bob@::1:3:3"],
        ),
        (
            DeleteAclsFilter { principal_filter: Some(Str::from_static("User:bob")), ..any_acl() },
            vec!["2 orders 3 User:bob@::1:3:3"],
        ),
        (DeleteAclsFilter { resource_type_filter: 3, ..any_acl() }, vec!["3 orders 3 User:ada@*:3:3"]),
        // What reads is not what writes, nor what does everything.
        (DeleteAclsFilter { operation: WRITE, ..any_acl() }, vec![]),
        (DeleteAclsFilter { operation: 2, ..any_acl() }, vec![]),
        (DeleteAclsFilter { permission_type: DENY, ..any_acl() }, vec![]),
        // Codes that are too new match nothing.
        (DeleteAclsFilter { resource_type_filter: 77, ..any_acl() }, vec![]),
        (DeleteAclsFilter { pattern_type_filter: 77, ..any_acl() }, vec![]),
    ];
    for (filter, expected) in table {
        assert_eq!(describe_acls(&mut host, filter.clone()), expected, "{filter:?}");
    }
    let deleted = delete_acls(&mut host, vec![of_topic("orders-2", MATCH)]);
    let expected = ["* User:ada", "ord User:ada", "orders User:ada", "orders-2 User:ada"];
    assert_eq!(deleted, [Ok(expected.map(str::to_owned).to_vec())]);
    assert_eq!(describe_acls(&mut host, topics), [star_prefixed, literal]);
}

#[test]
fn access_control_entries_that_cannot_be_are_refused() {
    let mut host = Host::formatted(&[WITH_ACLS]);
    let ada = acl("orders", LITERAL, "User:ada");
    let table = [
        (AclCreation { resource_type: 8, ..ada.clone() }, "Invalid resourceType UNKNOWN"),
        (AclCreation { resource_type: -1, ..ada.clone() }, "Invalid resourceType UNKNOWN"),
        (AclCreation { resource_pattern_type: 5, ..ada.clone() }, "Invalid patternType UNKNOWN"),
        (AclCreation { operation: 16, ..ada.clone() }, "Invalid operation UNKNOWN"),
        (AclCreation { permission_type: 4, ..ada.clone() }, "Invalid permissionType UNKNOWN"),
        (acl("", LITERAL, "User:ada"), "Invalid empty resource name"),
        (
            AclCreation { resource_type: CLUSTER, ..ada.clone() },
            "The only valid name for the CLUSTER resource is kafka-cluster",
        ),
        (
            acl("orders", LITERAL, "ada"),
            "Could not parse principal from `ada` (no colon is present separating the principal type from the \
             principal name)",
        ),
    ];
    for (creation, message) in table {
        let outcomes = create_acls(&mut host, vec![creation, ada.clone()]);
        assert_eq!(outcomes, [(INVALID_REQUEST, message.to_owned()), (0, String::new())]);
    }
    // What only filters say spoils the whole request.
    for filter in [
        AclCreation { resource_type: ANY, ..ada.clone() },
        AclCreation { resource_pattern_type: ANY, ..ada.clone() },
        AclCreation { resource_pattern_type: MATCH, ..ada.clone() },
        AclCreation { operation: ANY, ..ada.clone() },
        AclCreation { permission_type: ANY, ..ada.clone() },
    ] {
        let outcomes = create_acls(&mut host, vec![acl("returns", LITERAL, "User:ada"), filter]);
        let refused = (ErrorCode::UnknownServerError.as_i16(), "<none>".to_owned());
        assert_eq!(outcomes, [refused.clone(), refused]);
    }
    // Kinds of resource, operations and names that are as far as they go.
    let token = AclCreation { resource_type: 7, operation: 15, ..acl("x", PREFIXED, ":") };
    assert_eq!(create_acls(&mut host, vec![AclCreation { host: Str::new(), ..token }]), fine(1));
    let all = ["2 orders 3 User:ada@*:3:3", "7 x 4 :@:15:3"];
    assert_eq!(describe_acls(&mut host, any_acl()), all);

    let unknown = |part: &str| Err((INVALID_REQUEST, format!("Unknown {part}.")));
    let filters = vec![
        DeleteAclsFilter { resource_type_filter: 8, ..any_acl() },
        DeleteAclsFilter { pattern_type_filter: 5, ..any_acl() },
        DeleteAclsFilter { operation: 16, ..any_acl() },
        DeleteAclsFilter { permission_type: -1, ..any_acl() },
        of_topic("orders", LITERAL),
    ];
    let deleted = Ok(vec!["orders User:ada".to_owned()]);
    let (of_pattern, of_entry) = (unknown("patternFilter"), unknown("entryFilter"));
    let expected = [of_pattern.clone(), of_pattern, of_entry.clone(), of_entry, deleted];
    assert_eq!(delete_acls(&mut host, filters), expected);
    assert_eq!(describe_acls(&mut host, any_acl()), all[1..]);
}

#[test]
fn one_request_changes_so_many_access_control_entries_and_no_more() {
    const MAX: usize = 10_000;
    let mut host = Host::formatted(&[WITH_ACLS]);
    let many = |count: usize| (0..count).map(|at| acl(&format!("topic-{at}"), LITERAL, "User:ada"));
    let mut too_many: Vec<AclCreation> = many(MAX + 1).collect();
    too_many.push(acl("", LITERAL, "User:ada"));
    let outcomes = create_acls(&mut host, too_many);
    let too_large = "Unable to perform excessively large batch operation.".to_owned();
    let refused = (ErrorCode::PolicyViolation.as_i16(), too_large);
    assert!(outcomes[..=MAX].iter().all(|outcome| *outcome == refused));
    assert_eq!(outcomes[MAX + 1], (INVALID_REQUEST, "Invalid empty resource name".to_owned()));
    assert_eq!(describe_acls(&mut host, any_acl()).len(), 0);

    let repeated = many(MAX).chain(many(1)).collect();
    assert_eq!(create_acls(&mut host, repeated), fine(MAX + 1), "what is named twice is one");
    assert_eq!(
        create_acls(&mut host, many(MAX + 1).collect()),
        fine(MAX + 1),
        "what is there is not counted"
    );
    let message = "Cannot remove more than 10000 acls in a single delete operation.".to_owned();
    let refused = Err((INVALID_REQUEST, message));
    let deleted = delete_acls(&mut host, vec![of_topic("topic-0", LITERAL), any_acl()]);
    assert_eq!(deleted, [refused.clone(), refused.clone()], "nothing of it is done");
    assert_eq!(describe_acls(&mut host, any_acl()).len(), MAX + 1);
    assert_eq!(delete_acls(&mut host, vec![of_topic("topic-0", LITERAL)]).len(), 1);
    let deleted = delete_acls(&mut host, vec![any_acl(), of_topic("topic-1", LITERAL)]);
    assert_eq!(deleted, [refused.clone(), refused], "what is matched once more counts once more at the end");
    let deleted = delete_acls(&mut host, vec![any_acl(), of_topic("topic-0", LITERAL)]);
    assert_eq!(deleted.iter().map(|it| it.as_ref().map(Vec::len)).collect::<Vec<_>>(), [Ok(MAX), Ok(0)]);
    assert_eq!(describe_acls(&mut host, any_acl()).len(), 0);
}

#[test]
fn a_connection_that_asks_for_what_is_unknown_by_name_is_closed() {
    let unknown = [
        AnyRequest::CreateAcls(CreateAclsRequest {
            creations: vec![AclCreation { operation: 0, ..acl("orders", LITERAL, "User:ada") }],
            ..CreateAclsRequest::default()
        }),
        AnyRequest::DescribeAcls(DescribeAclsRequest::default()),
        AnyRequest::DeleteAcls(DeleteAclsRequest {
            filters: vec![any_acl(), DeleteAclsFilter { permission_type: 0, ..any_acl() }],
            ..DeleteAclsRequest::default()
        }),
    ];
    for request in unknown {
        let mut host = Host::formatted(&[WITH_ACLS]);
        host.send(3, RequestBody::Other(request));
        assert_eq!(host.closed.len(), 1);
    }
}

#[test]
fn access_control_entries_are_refused_while_there_is_no_authorizer() {
    let mut host = Host::formatted(&[]);
    let disabled = ErrorCode::SecurityDisabled.as_i16();
    let refused = (disabled, "No Authorizer is configured.".to_owned());
    let created = create_acls(&mut host, vec![acl("orders", LITERAL, "User:ada"), acl("", LITERAL, "ada")]);
    assert_eq!(created, [refused.clone(), refused.clone()]);
    assert_eq!(delete_acls(&mut host, vec![any_acl()]), [Err(refused)]);
    let filter = DescribeAclsRequest {
        resource_type_filter: ANY,
        pattern_type_filter: ANY,
        operation: ANY,
        permission_type: ANY,
        ..DescribeAclsRequest::default()
    };
    let AnyResponse::DescribeAcls(response) = host.ask(3, AnyRequest::DescribeAcls(filter)) else {
        panic!("a response is of its request's API")
    };
    assert_eq!((response.error_code, response.resources.len()), (disabled, 0));
    assert_eq!(response.error_message.as_deref(), Some("No Authorizer is configured on the broker"));
}

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// Sets a key, or deletes it.
fn alter_config(host: &mut Host, kind: i8, name: &str, key: &str, value: Option<&str>) -> i16 {
    let config = AlterableConfig {
        name: Str::from(key),
        config_operation: i8::from(value.is_none()),
        value: value.map(Str::from),
        ..AlterableConfig::default()
    };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: Str::from(name),
        configs: vec![config],
        ..AlterConfigsResource::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let AnyResponse::IncrementalAlterConfigs(response) =
        host.ask(1, AnyRequest::IncrementalAlterConfigs(request))
    else {
        panic!("a response is of its request's API")
    };
    response.responses[0].error_code
}

/// Value and source of a key.
fn described_config(host: &mut Host, kind: i8, name: &str, key: &str) -> Result<(String, i8), i16> {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: Str::from(name),
        configuration_keys: Some(vec![Str::from(key)]),
        ..DescribeConfigsResource::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() };
    let AnyResponse::DescribeConfigs(response) = host.ask(4, AnyRequest::DescribeConfigs(request)) else {
        panic!("a response is of its request's API")
    };
    let result = &response.results[0];
    if result.error_code != 0 {
        return Err(result.error_code);
    }
    let config = &result.configs[0];
    Ok((config.value.as_deref().unwrap_or("none").to_owned(), config.config_source))
}

fn listed(host: &mut Host, version: i16, kinds: &[i8]) -> Result<Vec<(i8, String)>, i16> {
    let request = ListConfigResourcesRequest { resource_types: kinds.to_vec(), ..Default::default() };
    let AnyResponse::ListConfigResources(response) =
        host.ask(version, AnyRequest::ListConfigResources(request))
    else {
        panic!("a response is of its request's API")
    };
    if response.error_code != 0 {
        return Err(response.error_code);
    }
    let resources = response.config_resources.iter();
    Ok(resources.map(|resource| (resource.resource_type, resource.resource_name.to_string())).collect())
}

#[test]
fn groups_and_subscriptions_are_configured_described_and_listed() {
    let mut host = Host::formatted(&[]);
    let session = "consumer.session.timeout.ms";
    assert_eq!(described_config(&mut host, GROUP, "readers", session), Ok(("45000".to_owned(), 5)));
    assert_eq!(listed(&mut host, 1, &[]), Ok(vec![(BROKER, "1".to_owned())]));
    assert_eq!(alter_config(&mut host, GROUP, "readers", session, Some("50000")), 0);
    assert_eq!(alter_config(&mut host, CLIENT_METRICS, "slow", "interval.ms", Some("1000")), 0);
    assert_eq!(alter_config(&mut host, BROKER, "", "message.max.bytes", Some("2000000")), 0);
    host.restart();
    assert_eq!(described_config(&mut host, GROUP, "readers", session), Ok(("50000".to_owned(), 8)));
    assert_eq!(
        described_config(&mut host, CLIENT_METRICS, "slow", "interval.ms"),
        Ok(("1000".to_owned(), 7))
    );
    assert_eq!(described_config(&mut host, CLIENT_METRICS, "slow", "match"), Ok((String::new(), 5)));

    let group = (GROUP, "readers".to_owned());
    let subscription = (CLIENT_METRICS, "slow".to_owned());
    let broker = (BROKER, "1".to_owned());
    assert_eq!(listed(&mut host, 1, &[]), Ok(vec![group.clone(), subscription.clone(), broker]));
    assert_eq!(listed(&mut host, 1, &[TOPIC, GROUP]), Ok(vec![group]));
    assert_eq!(listed(&mut host, 0, &[]), Ok(vec![subscription]));
    assert_eq!(listed(&mut host, 1, &[3]), Err(ErrorCode::UnsupportedVersion.as_i16()));

    assert_eq!(alter_config(&mut host, GROUP, "readers", session, None), 0);
    assert_eq!(described_config(&mut host, GROUP, "readers", session), Ok(("45000".to_owned(), 5)));
    assert_eq!(listed(&mut host, 1, &[GROUP]), Ok(vec![]));
}

#[test]
fn groups_and_subscriptions_refuse_what_cannot_be() {
    let mut host = Host::formatted(&[]);
    let table = [
        (GROUP, "", "consumer.session.timeout.ms", "50000", ErrorCode::InvalidRequest),
        (GROUP, "readers", "consumer.session.timeout.ms", "1", ErrorCode::InvalidConfig),
        (GROUP, "readers", "session.timeout.ms", "50000", ErrorCode::InvalidConfig),
        (CLIENT_METRICS, "", "interval.ms", "1000", ErrorCode::InvalidRequest),
        (CLIENT_METRICS, "slow", "interval.ms", "1", ErrorCode::InvalidRequest),
        (CLIENT_METRICS, "slow", "match", "everybody", ErrorCode::InvalidConfig),
        (8, "1", "org.apache.kafka", "DEBUG", ErrorCode::InvalidRequest),
    ];
    for (kind, name, key, value, code) in table {
        assert_eq!(alter_config(&mut host, kind, name, key, Some(value)), code.as_i16(), "{key}={value}");
    }
    for kind in [GROUP, CLIENT_METRICS] {
        assert_eq!(described_config(&mut host, kind, "", "match"), Err(INVALID_REQUEST));
    }
}

/// Error code and how many features are answered for one by one.
fn update_feature(host: &mut Host, version: i16, update: FeatureUpdateKey) -> (i16, usize) {
    let request = UpdateFeaturesRequest { feature_updates: vec![update], ..UpdateFeaturesRequest::default() };
    let AnyResponse::UpdateFeatures(response) = host.ask(version, AnyRequest::UpdateFeatures(request)) else {
        panic!("a response is of its request's API")
    };
    assert_eq!(response.error_code == 0, response.error_message.is_none(), "a refusal says why");
    (response.error_code, response.results.len())
}

fn finalized(host: &mut Host) -> BTreeMap<String, i16> {
    let request = ApiVersionsRequest {
        client_software_name: Str::from_static("test"),
        client_software_version: Str::from_static("1"),
        ..ApiVersionsRequest::default()
    };
    let AnyResponse::ApiVersions(response) = host.ask(4, AnyRequest::ApiVersions(request)) else {
        panic!("a response is of its request's API")
    };
    let level = |feature: FinalizedFeatureKey| (feature.name.to_string(), feature.max_version_level);
    response.finalized_features.into_iter().map(level).collect()
}

#[test]
fn levels_of_features_are_answered_for_in_the_way_of_each_version() {
    let mut host = Host::formatted(&[]);
    let invalid = ErrorCode::InvalidUpdateVersion.as_i16();
    let update = |feature: &str, level, upgrade_type| FeatureUpdateKey {
        feature: Str::from(feature),
        max_version_level: level,
        upgrade_type,
        ..FeatureUpdateKey::default()
    };
    assert_eq!(finalized(&mut host)["metadata.version"], 30);
    assert_eq!(update_feature(&mut host, 2, update("metadata.version", 30, 1)), (0, 0));
    assert_eq!(update_feature(&mut host, 1, update("metadata.version", 30, 1)), (0, 1));
    assert_eq!(update_feature(&mut host, 0, update("metadata.version", 30, 1)), (0, 1));
    assert_eq!(update_feature(&mut host, 2, update("metadata.version", 29, 1)), (invalid, 0));
    assert_eq!(update_feature(&mut host, 1, update("metadata.version", 29, 3)), (invalid, 0));
    let v0 = FeatureUpdateKey { allow_downgrade: true, ..update("metadata.version", 29, 1) };
    assert_eq!(update_feature(&mut host, 0, v0), (invalid, 0));
    assert_eq!(update_feature(&mut host, 2, update("kraft.version", 1, 1)), (0, 0));
    assert_eq!(update_feature(&mut host, 2, update("kraft.version", 0, 3)), (invalid, 0));
    assert_eq!(update_feature(&mut host, 2, update("group.version", 0, 2)), (0, 0));
    assert_eq!(update_feature(&mut host, 2, update("nonsense", 1, 1)), (invalid, 0));
    let levels = [
        ("eligible.leader.replicas.version", 1),
        ("kraft.version", 1),
        ("metadata.version", 30),
        ("share.version", 1),
        ("streams.version", 1),
        ("transaction.version", 2),
    ];
    assert_eq!(finalized(&mut host), levels.map(|(name, level)| (name.to_owned(), level)).into());
}

fn create_topic(host: &mut Host, name: &str, partitions: i32) {
    let topic = CreatableTopic {
        name: Str::from(name),
        num_partitions: partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    let AnyResponse::CreateTopics(response) = host.ask(7, AnyRequest::CreateTopics(request)) else {
        panic!("a response is of its request's API")
    };
    assert_eq!(response.topics[0].error_code, 0);
}

/// Partition and error code of each result, over all topics.
fn elect(host: &mut Host, version: i16, election_type: i8, of: Option<(&str, &[i32])>) -> Vec<(i32, i16)> {
    let wanted = of.map(|(topic, partitions)| {
        vec![TopicPartitions {
            topic: Str::from(topic),
            partitions: partitions.to_vec(),
            ..TopicPartitions::default()
        }]
    });
    let request = ElectLeadersRequest { election_type, topic_partitions: wanted, ..Default::default() };
    let AnyResponse::ElectLeaders(response) = host.ask(version, AnyRequest::ElectLeaders(request)) else {
        panic!("a response is of its request's API")
    };
    let results = response.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
    results.map(|result| (result.partition_id, result.error_code)).collect()
}

#[test]
fn a_broker_that_is_alone_leads_everything_without_an_election() {
    let mut host = Host::formatted(&[]);
    create_topic(&mut host, "orders", 2);
    let not_needed = ErrorCode::ElectionNotNeeded.as_i16();
    let unknown = ErrorCode::UnknownTopicOrPartition.as_i16();
    let expected = [(0, not_needed), (1, not_needed), (2, unknown)];
    for (version, election_type) in [(0, 0), (1, 0), (2, 0), (2, 1)] {
        assert_eq!(elect(&mut host, version, election_type, Some(("orders", &[0, 1, 2]))), expected);
        assert_eq!(elect(&mut host, version, election_type, None), []);
    }
    assert_eq!(elect(&mut host, 2, 0, Some(("bills", &[0]))), [(0, unknown)]);
    assert_eq!(elect(&mut host, 2, 2, Some(("orders", &[0]))), [(0, INVALID_REQUEST)]);
}

fn reassign(host: &mut Host, topic: &str, replicas: Option<&[i32]>) -> i16 {
    let partition = ReassignablePartition {
        partition_index: 0,
        replicas: replicas.map(<[i32]>::to_vec),
        ..ReassignablePartition::default()
    };
    let topic = ReassignableTopic {
        name: Str::from(topic),
        partitions: vec![partition],
        ..ReassignableTopic::default()
    };
    let request = AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() };
    let AnyResponse::AlterPartitionReassignments(response) =
        host.ask(1, AnyRequest::AlterPartitionReassignments(request))
    else {
        panic!("a response is of its request's API")
    };
    assert!(response.allow_replication_factor_change);
    response.responses[0].partitions[0].error_code
}

#[test]
fn a_partition_stays_on_the_broker_that_is_alone() {
    let mut host = Host::formatted(&[]);
    create_topic(&mut host, "orders", 1);
    assert_eq!(reassign(&mut host, "orders", Some(&[1])), 0);
    let table = [
        ("orders", Some(&[2][..]), ErrorCode::InvalidReplicaAssignment),
        ("orders", Some(&[]), ErrorCode::InvalidReplicaAssignment),
        ("orders", None, ErrorCode::NoReassignmentInProgress),
        ("bills", Some(&[1]), ErrorCode::UnknownTopicOrPartition),
    ];
    for (topic, replicas, code) in table {
        assert_eq!(reassign(&mut host, topic, replicas), code.as_i16(), "{topic} {replicas:?}");
    }
    let request = ListPartitionReassignmentsRequest::default();
    let AnyResponse::ListPartitionReassignments(response) =
        host.ask(0, AnyRequest::ListPartitionReassignments(request))
    else {
        panic!("a response is of its request's API")
    };
    assert_eq!((response.error_code, response.topics), (0, vec![]));
}

fn unregister(host: &mut Host, broker_id: i32) -> i16 {
    let request = UnregisterBrokerRequest { broker_id, ..UnregisterBrokerRequest::default() };
    let AnyResponse::UnregisterBroker(response) = host.ask(0, AnyRequest::UnregisterBroker(request)) else {
        panic!("a response is of its request's API")
    };
    response.error_code
}

#[test]
fn an_unregistered_broker_is_forgotten_until_it_registers_again() {
    let mut host = Host::formatted(&[]);
    create_topic(&mut host, "orders", 1);
    assert_eq!(unregister(&mut host, 2), ErrorCode::BrokerIdNotRegistered.as_i16());
    assert_eq!(unregister(&mut host, 1), 0);
    assert_eq!(unregister(&mut host, 1), ErrorCode::BrokerIdNotRegistered.as_i16());
    let gone = ErrorCode::PreferredLeaderNotAvailable.as_i16();
    assert_eq!(elect(&mut host, 2, 0, Some(("orders", &[0]))), [(0, gone)]);
    host.restart();
    assert_eq!(elect(&mut host, 2, 0, Some(("orders", &[0]))), [(0, ErrorCode::ElectionNotNeeded.as_i16())]);
}
