//! Clients of a quorum: one sets configurations that hold for all brokers, one value after the other, and one reads at the
//! end what became of them and of the topics.

use super::{ClientOutbox, Link, Surroundings, Turn, with_last_answer};
use crate::check::Reading;
use crate::history::{Entry, Operation, Stage};
use crate::plan::{BrokerPlan, ConfiguratorPlan, SetPlan};
use sordini_core::ids::RequestId;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::describe_configs_request::DescribeConfigsResource;
use sordini_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use sordini_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;
use std::collections::BTreeMap;

const DESCRIBE_CONFIGS_VERSION: i16 = 4;
const INCREMENTAL_ALTER_CONFIGS_VERSION: i16 = 1;
/// What configurations call a broker; the one without a name is all of them.
const RESOURCE_BROKER: i8 = 4;
const RESOURCE_TOPIC: i8 = 2;
/// Of a value that was set for all brokers, where it comes from.
const SOURCE_ALL_BROKERS: i8 = 3;
/// The same of a value that was set of a topic.
const SOURCE_TOPIC: i8 = 1;
const READ_TIMEOUT_US: u64 = 5_000_000;

/// Sets one value after the other. What it was not told the outcome of it does not try again: it may have happened, or happen
/// yet.
#[derive(Clone, Debug)]
pub struct Configurator {
    pub(super) link: Link,
    plan: ConfiguratorPlan,
    turn: Turn,
    /// How many of its values it has done with.
    done: usize,
    /// What it asks for, once it has asked.
    asked: Option<Entry>,
    refusals: Vec<String>,
    last_error: Option<(ErrorCode, String)>,
}

impl Configurator {
    /// A client that does what `plan` says with `nodes` controllers.
    #[must_use]
    pub const fn new(plan: ConfiguratorPlan, nodes: usize, surroundings: Surroundings) -> Self {
        Self {
            link: Link::new(plan.client, surroundings),
            turn: Turn::new(plan.node, nodes),
            plan,
            done: 0,
            asked: None,
            refusals: Vec::new(),
            last_error: None,
        }
    }

    /// Takes the answers that a correct controller never gives, each as a sentence.
    pub fn take_refusals(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refusals)
    }

    fn next_set(&self) -> Option<SetPlan> {
        self.plan.sets.get(self.done).copied()
    }

    /// The value that is set, which no other is.
    fn value(&self) -> u64 {
        self.plan.client * ConfiguratorPlan::SETS_MAX as u64 + self.done as u64
    }

    pub(super) fn on_wake(&mut self, now: u64, out: &mut ClientOutbox) {
        let Some(set) = self.next_set().filter(|set| set.at_us <= now) else { return };
        if !self.link.deadlines.is_empty() || self.link.backoff_until > now {
            return;
        }
        let deadline = Some(now + self.plan.request_timeout_us);
        if !self.turn.is_connected {
            self.link.greet(deadline, out);
            return;
        }
        let key = Str::from_static(ConfiguratorPlan::KEYS[set.key]);
        if self.asked.is_none() {
            let entry = Entry::new(now, self.link.client, Stage::Invoke, Operation::SetConfig, key.clone());
            let entry = Entry { values: vec![(self.value(), 1)], ..entry };
            out.history.push(entry.clone());
            self.asked = Some(entry);
        }
        let config = AlterableConfig {
            name: key,
            // 0 sets a value.
            config_operation: 0,
            value: Some(Str::from(self.value().to_string())),
            ..Default::default()
        };
        let resource = AlterConfigsResource {
            resource_type: RESOURCE_BROKER,
            configs: vec![config],
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        self.link.send(INCREMENTAL_ALTER_CONFIGS_VERSION, request.into(), deadline, out);
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
        } else if let AnyResponse::IncrementalAlterConfigs(response) = body {
            let Some(resource) = response.responses.first() else { return };
            let error = ErrorCode::from_i16(resource.error_code);
            let text = resource.error_message.as_ref().map(ToString::to_string).unwrap_or_default();
            if error == ErrorCode::None {
                self.end(now, Stage::Ok, error, out);
            } else if error == ErrorCode::NotController {
                // What a controller had begun when it lost its office is in the log before all that the next one writes: to
                // ask for the same once more changes nothing.
                self.last_error = Some((error, text));
                self.turn.advance(&mut self.link, now, out);
            } else if error == ErrorCode::RequestTimedOut {
                self.last_error = Some((error, text));
                self.end(now, Stage::Info, error, out);
                self.turn.advance(&mut self.link, now, out);
            } else {
                self.refusals.push(format!("{error:?} {text:?} to a value that every controller takes"));
                self.end(now, Stage::Fail, error, out);
            }
        }
    }

    /// The value under way was set, or was not, or nobody can tell.
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
        let next_set = || Some(self.next_set()?.at_us.max(self.link.backoff_until));
        self.link.earliest_deadline().map_or_else(next_set, Some)
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.done == self.plan.sets.len()
    }

    pub(super) fn waits_for(&self) -> String {
        let left = self.plan.sets.len() - self.done;
        let what = format!("{left} configurations to be set");
        with_last_answer(what, self.last_error.as_ref())
    }
}

/// Reads what is set for all brokers, in the words of one controller, once it is told to.
#[derive(Clone, Debug)]
pub struct ConfigReader {
    pub(super) link: Link,
    /// Topics that may exist.
    asks_for: Vec<String>,
    begins_at: Option<u64>,
    read: Option<Read>,
}

/// What a controller has said.
#[derive(Clone, Debug, Default)]
struct Read {
    /// What is set for all brokers, by key.
    values: BTreeMap<String, String>,
    /// What is set of each topic that exists.
    topics: BTreeMap<String, Option<String>>,
}

impl ConfigReader {
    /// A client that waits for [`Self::begin`].
    #[must_use]
    pub const fn new(client: u64, topics: Vec<String>, surroundings: Surroundings) -> Self {
        Self { link: Link::new(client, surroundings), asks_for: topics, begins_at: None, read: None }
    }

    /// It is time to read.
    pub const fn begin(&mut self, now: u64) {
        self.begins_at = Some(now);
    }

    /// Whether it was told to read.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.begins_at.is_some()
    }

    /// What it was told by a node, once it was.
    #[must_use]
    pub fn reading(&self, node: usize) -> Option<Reading<'_>> {
        let Read { values, topics } = self.read.as_ref()?;
        Some(Reading { node, at_us: self.begins_at?, values, topics })
    }

    pub(super) fn on_wake(&mut self, now: u64, out: &mut ClientOutbox) {
        if self.next_wake().is_some_and(|at| at <= now) {
            let keys = ConfiguratorPlan::KEYS.map(Str::from_static);
            let resource = DescribeConfigsResource {
                resource_type: RESOURCE_BROKER,
                configuration_keys: Some(keys.to_vec()),
                ..Default::default()
            };
            let topic = |name: &String| DescribeConfigsResource {
                resource_type: RESOURCE_TOPIC,
                resource_name: Str::from(&**name),
                configuration_keys: Some(vec![Str::from_static(BrokerPlan::TOPIC_KEY)]),
                ..Default::default()
            };
            let topics = self.asks_for.iter().map(topic);
            let resources = std::iter::once(resource).chain(topics).collect();
            let request = DescribeConfigsRequest { resources, ..Default::default() };
            let request = AnyRequest::from(request);
            self.link.send(DESCRIBE_CONFIGS_VERSION, request, Some(now + READ_TIMEOUT_US), out);
        }
    }

    pub(super) fn on_response(&mut self, now: u64, request: RequestId, body: &AnyResponse) {
        self.link.deadlines.remove(&request);
        if let AnyResponse::DescribeConfigs(response) = body
            && let Some(read) = Read::of(response)
        {
            self.read = Some(read);
        } else {
            self.link.back_off(now);
        }
    }

    pub(super) fn on_disconnected(&mut self, now: u64) {
        self.link.on_disconnected(now);
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        let begins_at = self.begins_at.filter(|_| self.read.is_none())?;
        Some(self.link.earliest_deadline().unwrap_or_else(|| begins_at.max(self.link.backoff_until)))
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.read.is_some()
    }
}

impl Read {
    fn of(response: &DescribeConfigsResponse) -> Option<Self> {
        let mut read = Self::default();
        for resource in &response.results {
            let is_topic = resource.resource_type == RESOURCE_TOPIC;
            if is_topic && resource.error_code == ErrorCode::UnknownTopicOrPartition.as_i16() {
                continue;
            }
            if resource.error_code != 0 {
                return None;
            }
            let source = if is_topic { SOURCE_TOPIC } else { SOURCE_ALL_BROKERS };
            let set = resource.configs.iter().filter(|config| config.config_source == source);
            let mut set =
                set.filter_map(|config| Some((config.name.to_string(), config.value.as_ref()?.to_string())));
            if is_topic {
                read.topics.insert(resource.resource_name.to_string(), set.next().map(|(_, value)| value));
            } else {
                read.values.extend(set);
            }
        }
        Some(read)
    }
}
