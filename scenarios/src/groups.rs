//! What members of groups ask, and whoever commits offsets or looks at a group.

use crate::clients::Membership;
use crate::script::{Args, PartitionName, Wrong, duration};
use crate::world::World;
use bytes::Bytes;
use sordini_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use sordini_protocol::messages::leave_group_request::MemberIdentity;
use sordini_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use sordini_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use sordini_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use sordini_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use sordini_protocol::wire::Str;

const FIND_COORDINATOR_VERSION: i16 = 4;
const JOIN_GROUP_VERSION: i16 = 9;
const SYNC_GROUP_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
const LEAVE_GROUP_VERSION: i16 = 5;
/// The newest version in which topics have their names.
const OFFSET_COMMIT_VERSION: i16 = 9;
/// As [`OFFSET_COMMIT_VERSION`].
const OFFSET_FETCH_VERSION: i16 = 9;
const DESCRIBE_GROUPS_VERSION: i16 = 6;
const DELETE_GROUPS_VERSION: i16 = 2;

/// The clients that ask about groups and are no members.
const ADMIN: &str = "admin";

fn name(text: &str) -> Str {
    Str::from(text)
}

fn millis(text: &str) -> Result<i32, Wrong> {
    i32::try_from(duration(text)? / 1_000).map_err(|_| format!("{text} is too long"))
}

/// `find-coordinator GROUP`
pub(crate) fn find_coordinator(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let group = args.need("the group")?;
    let request =
        FindCoordinatorRequest { coordinator_keys: vec![name(group)], ..FindCoordinatorRequest::default() };
    world.ask(ADMIN, &format!("who coordinates {group}?"), FIND_COORDINATOR_VERSION, request.into())
}

/// `join GROUP by=NAME [instance=ID] [session=10s] [rebalance=20s] [protocols=range,sticky]`
pub(crate) fn join(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let (group, who) = group_and_member(args)?;
    let instance = args.value("instance");
    let session_timeout_ms = millis(args.value("session").unwrap_or("10s"))?;
    let rebalance_timeout_ms = millis(args.value("rebalance").unwrap_or("20s"))?;
    let protocols = args.value("protocols").unwrap_or("range");
    let offered = protocols.split(',').map(|protocol| JoinGroupRequestProtocol {
        name: name(protocol),
        metadata: Bytes::copy_from_slice(who.as_bytes()),
        ..JoinGroupRequestProtocol::default()
    });
    let protocols = offered.collect();
    let member = world.client(who);
    member.membership.instance_id = instance.map(name);
    let request = JoinGroupRequest {
        group_id: name(group),
        session_timeout_ms,
        rebalance_timeout_ms,
        member_id: member.membership.member_id.clone(),
        group_instance_id: member.membership.instance_id.clone(),
        protocol_type: name("consumer"),
        protocols,
        ..JoinGroupRequest::default()
    };
    let known = if request.member_id.is_empty() { "" } else { " again" };
    world.ask(who, &format!("join {group}{known}"), JOIN_GROUP_VERSION, request.into())
}

/// `sync GROUP by=NAME [NAME=ASSIGNMENT]...`: the leader says who gets what, in words.
pub(crate) fn sync(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let (group, who) = group_and_member(args)?;
    let mut assignments = Vec::new();
    let mut told = String::new();
    for (member, assignment) in args.pairs() {
        told.push_str(&format!(" {member}={assignment}"));
        assignments.push(SyncGroupRequestAssignment {
            member_id: world.client(member).membership.member_id.clone(),
            assignment: Bytes::copy_from_slice(assignment.as_bytes()),
            ..SyncGroupRequestAssignment::default()
        });
    }
    let Membership { member_id, instance_id, generation } = world.client(who).membership.clone();
    let request = SyncGroupRequest {
        group_id: name(group),
        generation_id: generation,
        member_id,
        group_instance_id: instance_id,
        protocol_type: Some(name("consumer")),
        assignments,
        ..SyncGroupRequest::default()
    };
    let told = if told.is_empty() { String::new() } else { format!(", with{told}") };
    world.ask(who, &format!("sync {group} generation {generation}{told}"), SYNC_GROUP_VERSION, request.into())
}

/// A group and one of its members, as most steps name them.
fn group_and_member<'a>(args: &mut Args<'a>) -> Result<(&'a str, &'a str), Wrong> {
    Ok((args.need("the group")?, args.value("by").ok_or("by=NAME is missing")?))
}

/// `heartbeat GROUP by=NAME`
pub(crate) fn heartbeat(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let (group, who) = group_and_member(args)?;
    let Membership { member_id, instance_id, generation } = world.client(who).membership.clone();
    let request = HeartbeatRequest {
        group_id: name(group),
        generation_id: generation,
        member_id,
        group_instance_id: instance_id,
        ..HeartbeatRequest::default()
    };
    world.ask(who, &format!("heartbeat {group} generation {generation}"), HEARTBEAT_VERSION, request.into())
}

/// `leave GROUP by=NAME`
pub(crate) fn leave(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let (group, who) = group_and_member(args)?;
    let Membership { member_id, instance_id, .. } = world.client(who).membership.clone();
    let member = MemberIdentity { member_id, group_instance_id: instance_id, ..MemberIdentity::default() };
    let request =
        LeaveGroupRequest { group_id: name(group), members: vec![member], ..LeaveGroupRequest::default() };
    world.ask(who, &format!("leave {group}"), LEAVE_GROUP_VERSION, request.into())
}

/// `commit GROUP TOPIC-P offset=N [by=NAME] [metadata=TEXT]`: without a name, as somebody who is in no group.
pub(crate) fn commit(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let group = args.need("the group")?;
    let partition = PartitionName::parse(args.need("the partition")?)?;
    let offset = args.number("offset")?.ok_or("offset=N is missing")?;
    let who = args.value("by");
    let metadata = args.value("metadata").map(name);
    let Membership { member_id, instance_id, generation } = match who {
        Some(who) => world.client(who).membership.clone(),
        None => Membership::default(),
    };
    let committed = OffsetCommitRequestPartition {
        partition_index: partition.index,
        committed_offset: offset,
        committed_metadata: metadata,
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: name(&partition.topic),
        partitions: vec![committed],
        ..OffsetCommitRequestTopic::default()
    };
    let request = OffsetCommitRequest {
        group_id: name(group),
        generation_id_or_member_epoch: generation,
        member_id,
        group_instance_id: instance_id,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    let told = format!("commit {offset} of {partition} for {group}");
    world.ask(who.unwrap_or("client"), &told, OFFSET_COMMIT_VERSION, request.into())
}

/// `committed GROUP TOPIC-P`
pub(crate) fn committed(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let group = args.need("the group")?;
    let partition = PartitionName::parse(args.need("the partition")?)?;
    let topic = OffsetFetchRequestTopics {
        name: name(&partition.topic),
        partition_indexes: vec![partition.index],
        ..OffsetFetchRequestTopics::default()
    };
    let group_id = name(group);
    let wanted = OffsetFetchRequestGroup { group_id, topics: Some(vec![topic]), ..Default::default() };
    let request =
        OffsetFetchRequest { groups: vec![wanted], require_stable: true, ..OffsetFetchRequest::default() };
    let told = format!("what has {group} committed of {partition}?");
    world.ask(ADMIN, &told, OFFSET_FETCH_VERSION, request.into())
}

/// `describe-group GROUP`
pub(crate) fn describe(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let group = args.need("the group")?;
    let request = DescribeGroupsRequest { groups: vec![name(group)], ..DescribeGroupsRequest::default() };
    world.ask(ADMIN, &format!("describe {group}"), DESCRIBE_GROUPS_VERSION, request.into())
}

/// `delete-group GROUP`
pub(crate) fn delete(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let group = args.need("the group")?;
    let request = DeleteGroupsRequest { groups_names: vec![name(group)], ..DeleteGroupsRequest::default() };
    world.ask(ADMIN, &format!("delete {group}"), DELETE_GROUPS_VERSION, request.into())
}
