//! An operator of a quorum. It gives the cluster's features other levels (KIP-584), and where the voters stand in the log (KIP-853)
//! it makes controllers voters, and takes their votes from them, and looks before whether the quorum stands it.

use super::{ClientOutbox, Link, Surroundings, Turn, with_last_answer};
use crate::check::VoterSet;
use crate::history::{Entry, Operation, Stage};
use crate::plan::{Direction, Feature, OperatorPlan, Plan, QuorumChange, QuorumChangePlan};
use sordini_core::ids::RequestId;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::add_raft_voter_request::Listener;
use sordini_protocol::messages::update_features_request::FeatureUpdateKey;
use sordini_protocol::messages::{AddRaftVoterRequest, RemoveRaftVoterRequest, UpdateFeaturesRequest};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Str, Uuid};

const ADD_RAFT_VOTER_VERSION: i16 = 1;
const REMOVE_RAFT_VOTER_VERSION: i16 = 0;
const UPDATE_FEATURES_VERSION: i16 = 2;
/// How long a change whose outcome was not told may still come about: no fault of a plan holds a request back for longer.
const DOUBT_US: u64 = 30_000_000;

/// What an operator knows who walks through the machine room.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// Who votes, by the log that has come furthest.
    pub newest: VoterSet,
    /// Who votes or may still come to, by any log.
    pub sets: Vec<VoterSet>,
    /// The directory that each controller has, by its place in the plan.
    pub directories: Vec<Uuid>,
    /// How many voters may yet appear whose disks are gone.
    pub ghosts: usize,
}

impl Outlook {
    /// Whether in any case more than half of the voters have the disks that they had when they became voters, if `removed` is
    /// none any more, the disk of node `lost` is gone, and so many others may lose their votes.
    #[must_use]
    pub fn stands(&self, removed: Option<(i32, Uuid)>, lost: Option<usize>, more: usize) -> bool {
        self.sets.iter().filter(|set| !set.is_empty()).all(|set| {
            let left = || set.keys().filter(|key| removed != Some(*key));
            let has_disk = |(id, directory): (i32, Uuid)| {
                let node = usize::try_from(id - 1).ok().filter(|node| Some(*node) != lost);
                node.and_then(|node| self.directories.get(node)) == Some(&directory)
            };
            let having = left().filter(|key| has_disk(*key)).count();
            let all = left().count() + self.ghosts;
            having > more && 2 * (having - more) > all - more
        })
    }
}

/// Makes one change after the other. It asks again until it is told what has become of one.
#[derive(Clone, Debug)]
pub struct Operator {
    pub(super) link: Link,
    plan: OperatorPlan,
    cluster_id: Str,
    turn: Turn,
    /// How many of its changes it has done with.
    done: usize,
    /// What it asks for, once it has asked.
    asked: Option<Entry>,
    /// Whether what it asks for was asked of a controller that did not say what became of it.
    may_have_happened: bool,
    /// Whether it knows that the voters stand in the log.
    are_voters_logged: bool,
    outlook: Outlook,
    /// Until when a voter may lose its vote by a request that was not answered.
    in_doubt_until: u64,
    refusals: Vec<String>,
    last_error: Option<(ErrorCode, String)>,
}

impl Operator {
    /// A client that does what `plan` says, of a cluster with `nodes` controllers, whose voters stand in the log or do not.
    #[must_use]
    pub fn new(
        plan: OperatorPlan,
        cluster_id: Str,
        nodes: usize,
        are_voters_logged: bool,
        surroundings: Surroundings,
    ) -> Self {
        Self {
            link: Link::new(plan.client, surroundings),
            turn: Turn::new(plan.node, nodes),
            plan,
            cluster_id,
            done: 0,
            asked: None,
            may_have_happened: false,
            are_voters_logged,
            outlook: Outlook::default(),
            in_doubt_until: 0,
            refusals: Vec::new(),
            last_error: None,
        }
    }

    /// Takes the answers that a correct controller never gives, each as a sentence.
    pub fn take_refusals(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refusals)
    }

    /// Whether it looks around before it does what it has to do at this time.
    #[must_use]
    pub fn looks_around(&self, now: u64) -> bool {
        self.turn.is_connected && self.next_change().is_some_and(|planned| planned.at_us <= now)
    }

    /// It has looked around.
    pub fn see(&mut self, outlook: Outlook) {
        self.outlook = outlook;
    }

    /// Whether a voter may lose its vote by what it has asked.
    #[must_use]
    pub fn may_remove(&self, now: u64) -> bool {
        let is_under_way = self.asked.as_ref().is_some_and(|asked| asked.operation == Operation::RemoveVoter);
        is_under_way || self.in_doubt_until > now
    }

    fn next_change(&self) -> Option<QuorumChangePlan> {
        self.plan.changes.get(self.done).copied()
    }

    pub(super) fn on_wake(&mut self, now: u64, out: &mut ClientOutbox) {
        if !self.link.deadlines.is_empty() || self.link.backoff_until > now {
            return;
        }
        while let Some(planned) = self.next_change().filter(|planned| planned.at_us <= now) {
            let deadline = Some(now + self.plan.request_timeout_us);
            if !self.turn.is_connected {
                self.link.greet(deadline, out);
                return;
            }
            if let Some((version, request)) = self.request(now, planned.change, out) {
                self.link.send(version, request, deadline, out);
                return;
            }
            // There is nothing to change, or it may not be changed.
            self.end(now, Stage::Info, ErrorCode::None, out);
        }
    }

    /// The request for a change, if there is one to be made.
    fn request(
        &mut self,
        now: u64,
        change: QuorumChange,
        out: &mut ClientOutbox,
    ) -> Option<(i16, AnyRequest)> {
        let id_of = |node: usize| i32::try_from(node).expect("a handful of nodes") + 1;
        let name_of = |(id, directory): (i32, Uuid)| Str::from(format!("{id}@{directory}"));
        let cluster_id = Some(self.cluster_id.clone());
        let (operation, name, values, request): (_, _, Vec<(u64, u64)>, (i16, AnyRequest)) = match change {
            QuorumChange::Add { node } => {
                let key = (id_of(node), *self.outlook.directories.get(node)?);
                if self.outlook.sets.iter().all(|set| set.has(key)) {
                    return None;
                }
                let listener = Listener {
                    name: Str::from_static(Plan::CONTROLLER_LISTENER),
                    host: Str::from(Plan::host(node)),
                    port: Plan::CONTROLLER_PORT,
                    ..Listener::default()
                };
                let request = AddRaftVoterRequest {
                    cluster_id,
                    timeout_ms: 5_000,
                    voter_id: key.0,
                    voter_directory_id: key.1,
                    listeners: vec![listener],
                    ack_when_committed: true,
                    ..AddRaftVoterRequest::default()
                };
                let request = (ADD_RAFT_VOTER_VERSION, request.into());
                (Operation::AddVoter, name_of(key), Vec::new(), request)
            }
            QuorumChange::Remove { node } => {
                let key = self.outlook.newest.keys().find(|(voter, _)| *voter == id_of(node))?;
                if !self.outlook.stands(Some(key), None, 0) {
                    return None;
                }
                let request = RemoveRaftVoterRequest {
                    cluster_id,
                    voter_id: key.0,
                    voter_directory_id: key.1,
                    ..RemoveRaftVoterRequest::default()
                };
                let request = (REMOVE_RAFT_VOTER_VERSION, request.into());
                (Operation::RemoveVoter, name_of(key), Vec::new(), request)
            }
            QuorumChange::UpdateFeature { feature, level, direction, is_dry_run } => {
                let name = Str::from_static(feature.name());
                let upgrade_type = match direction {
                    Direction::Upgrade => 1,
                    Direction::SafeDowngrade => 2,
                    Direction::UnsafeDowngrade => 3,
                };
                let update = FeatureUpdateKey {
                    feature: name.clone(),
                    max_version_level: level,
                    upgrade_type,
                    ..FeatureUpdateKey::default()
                };
                let request = UpdateFeaturesRequest {
                    feature_updates: vec![update],
                    validate_only: is_dry_run,
                    ..UpdateFeaturesRequest::default()
                };
                let operation = if is_dry_run { Operation::TryFeature } else { Operation::UpdateFeature };
                let values =
                    vec![(u64::try_from(level).unwrap_or(0), u64::from(upgrade_type.unsigned_abs()))];
                (operation, name, values, (UPDATE_FEATURES_VERSION, request.into()))
            }
        };
        if self.asked.as_ref().is_none_or(|asked| asked.topic != name) {
            // The disk that a node had may have been replaced since it was asked for.
            let entry = Entry::new(now, self.link.client, Stage::Invoke, operation, name);
            self.asked = Some(Entry { values, ..entry });
            out.history.extend(self.asked.clone());
        }
        Some(request)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is an answer to what it asks")]
    pub(super) fn on_response(
        &mut self,
        now: u64,
        request: RequestId,
        body: &AnyResponse,
        out: &mut ClientOutbox,
    ) {
        if self.link.deadlines.remove(&request).is_none() {
            return;
        }
        let (error, text) = match body {
            AnyResponse::ApiVersions(_) => {
                self.turn.is_connected = true;
                return;
            }
            AnyResponse::AddRaftVoter(response) => (response.error_code, response.error_message.as_ref()),
            AnyResponse::RemoveRaftVoter(response) => (response.error_code, response.error_message.as_ref()),
            AnyResponse::UpdateFeatures(response) => (response.error_code, response.error_message.as_ref()),
            body => {
                self.refusals.push(format!("{body:?} to an operator"));
                return;
            }
        };
        let (error, text) = (ErrorCode::from_i16(error), text.map(ToString::to_string).unwrap_or_default());
        self.last_error = Some((error, text.clone()));
        let Some(operation) = self.asked.as_ref().map(|asked| asked.operation) else { return };
        if matches!(operation, Operation::UpdateFeature | Operation::TryFeature) {
            return self.on_feature_update(now, operation, error, &text, out);
        }
        let is_addition = operation == Operation::AddVoter;
        // Another's request, or one of its own that it was not told about, may leave one that is alone.
        let may_be_last = || self.outlook.sets.iter().any(|set| set.keys().count() <= 2);
        match error {
            ErrorCode::None => self.end(now, Stage::Ok, error, out),
            // It was made before, or another made it, or one that stands in its way.
            ErrorCode::DuplicateVoter if is_addition => self.end(now, Stage::Info, error, out),
            ErrorCode::VoterNotFound if !is_addition => self.end(now, Stage::Info, error, out),
            // What it was asked it may be doing, or another is under way.
            ErrorCode::RequestTimedOut => self.link.back_off(now),
            ErrorCode::NotLeaderOrFollower => self.turn_to_the_next(now, out),
            ErrorCode::InvalidRequest if !is_addition && may_be_last() => {
                self.end(now, Stage::Info, error, out);
            }
            // What names the voters was in a log that it saw, and may be cut off there.
            ErrorCode::UnsupportedVersion if !self.are_voters_logged => {
                self.end(now, Stage::Info, error, out);
            }
            _ => {
                self.refusals.push(format!("{error:?} {text:?} to a change of the voters"));
                self.end(now, Stage::Fail, error, out);
            }
        }
    }

    fn on_feature_update(
        &mut self,
        now: u64,
        operation: Operation,
        error: ErrorCode,
        text: &str,
        out: &mut ClientOutbox,
    ) {
        // A controller makes itself known when it has found its leader.
        let is_early =
            text.contains("has not registered") || text.contains("not all of the voters support it");
        if error == ErrorCode::None {
            let kraft = Feature::KraftVersion.name();
            let is_kraft = self.asked.as_ref().is_some_and(|asked| *asked.topic == *kraft);
            self.are_voters_logged |= is_kraft && operation == Operation::UpdateFeature;
            self.end(now, Stage::Ok, error, out);
        } else if error == ErrorCode::NotController {
            self.turn_to_the_next(now, out);
        } else if error == ErrorCode::InvalidUpdateVersion && is_early {
            self.link.back_off(now);
        } else {
            if error != ErrorCode::InvalidUpdateVersion {
                self.refusals.push(format!("{error:?} {text:?} to the update of a feature"));
            }
            let stage = if self.may_have_happened { Stage::Info } else { Stage::Fail };
            self.end(now, stage, error, out);
        }
    }

    /// The change under way was made, or was not, or nobody can tell.
    fn end(&mut self, now: u64, stage: Stage, error: ErrorCode, out: &mut ClientOutbox) {
        if stage == Stage::Info && self.may_remove(now) {
            self.in_doubt_until = now + DOUBT_US;
        }
        out.history.extend(self.asked.take().map(|asked| Entry { at_us: now, stage, error, ..asked }));
        self.may_have_happened = false;
        self.done += 1;
    }

    fn turn_to_the_next(&mut self, now: u64, out: &mut ClientOutbox) {
        if self.may_remove(now) {
            self.in_doubt_until = now + DOUBT_US;
        }
        self.may_have_happened |= self.asked.is_some();
        self.turn.advance(&mut self.link, now, out);
    }

    pub(super) fn on_disconnected(&mut self, now: u64, out: &mut ClientOutbox) {
        self.turn_to_the_next(now, out);
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        let next_change = || Some(self.next_change()?.at_us.max(self.link.backoff_until));
        self.link.earliest_deadline().map_or_else(next_change, Some)
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.done == self.plan.changes.len()
    }

    pub(super) fn waits_for(&self) -> String {
        let left = self.plan.changes.len() - self.done;
        let what = format!("{left} changes of the quorum");
        with_last_answer(what, self.last_error.as_ref())
    }
}
