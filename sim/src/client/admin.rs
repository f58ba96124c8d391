//! The client that creates the topics of the plan.

use super::{ClientOutbox, Link, Surroundings};
use crate::plan::TopicPlan;
use sordini_core::ids::RequestId;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::CreateTopicsRequest;
use sordini_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::Str;

/// The version of its CreateTopics requests: the first whose answers have the topic id.
const CREATE_TOPICS_VERSION: i16 = 7;
const TIMEOUT_US: u64 = 5_000_000;

/// Creates every topic, again and again until the answer says that it exists.
#[derive(Debug)]
pub struct Admin {
    link: Link,
    /// Topics that are not known to exist.
    missing: Vec<TopicPlan>,
    /// Why the last attempt failed, for the sentence about what it waits for.
    last_error: Option<(ErrorCode, String)>,
}

impl Admin {
    /// A client that creates `topics`.
    #[must_use]
    pub fn new(client: usize, surroundings: Surroundings, topics: Vec<TopicPlan>) -> Self {
        Self { link: Link::new(client, surroundings), missing: topics, last_error: None }
    }

    pub(super) fn on_wake(&mut self, now: u64, out: &mut ClientOutbox) {
        if self.link.is_overdue(now) {
            out.actions.push(super::Action::Close);
            self.link.on_disconnected(now);
        } else if !self.missing.is_empty() && self.link.deadlines.is_empty() && self.link.backoff_until <= now
        {
            let topics = self.missing.iter().map(|topic| CreatableTopic {
                name: Str::from(&*topic.name),
                num_partitions: topic.partitions,
                replication_factor: 1,
                configs: topic
                    .configs()
                    .into_iter()
                    .map(|(name, value)| CreatableTopicConfig {
                        name: Str::from(name),
                        value: Some(Str::from(value)),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            });
            let request =
                CreateTopicsRequest { topics: topics.collect(), timeout_ms: 5_000, ..Default::default() };
            self.link.send(CREATE_TOPICS_VERSION, request.into(), Some(now + TIMEOUT_US), out);
        }
    }

    pub(super) fn on_response(
        &mut self,
        now: u64,
        request: RequestId,
        body: &AnyResponse,
        _out: &mut ClientOutbox,
    ) {
        self.link.deadlines.remove(&request);
        let AnyResponse::CreateTopics(response) = body else { return };
        for topic in &response.topics {
            let error = ErrorCode::from_i16(topic.error_code);
            if matches!(error, ErrorCode::None | ErrorCode::TopicAlreadyExists) {
                self.missing.retain(|missing| topic.name != *missing.name);
            } else {
                let text = topic.error_message.as_ref().map(ToString::to_string);
                self.last_error = Some((error, text.unwrap_or_default()));
                self.link.back_off(now);
            }
        }
    }

    pub(super) fn on_disconnected(&mut self, now: u64, _out: &mut ClientOutbox) {
        self.link.on_disconnected(now);
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        match self.link.earliest_deadline() {
            None if self.missing.is_empty() => None,
            None => Some(self.link.backoff_until),
            deadline => deadline,
        }
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.missing.is_empty()
    }

    pub(super) fn waits_for(&self) -> String {
        let names: Vec<&str> = self.missing.iter().map(|topic| &*topic.name).collect();
        match &self.last_error {
            None => format!("topics {names:?} to be created"),
            Some((error, text)) => format!("topics {names:?} to be created; last answer {error} {text:?}"),
        }
    }
}
