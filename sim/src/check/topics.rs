//! `topics`: a topic whose creation was acknowledged exists from then on, with one id and all its partitions, whatever
//! happens in between.

use super::Violation;
use crate::plan::TopicPlan;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::MetadataResponse;
use sordini_protocol::wire::Uuid;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// How long metadata may lag behind an acknowledged creation or a start, in microseconds.
const LAG_US_MAX: u64 = 1_000_000;

/// What is known of the plan's topics.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    /// How many partitions each may have: those of the plan, and up to as many as somebody asked for.
    partitions: BTreeMap<String, RangeInclusive<i32>>,
    created: BTreeMap<String, u64>,
    ids: BTreeMap<String, Uuid>,
}

impl Topics {
    pub(super) fn new(topics: &[TopicPlan]) -> Self {
        let partitions =
            topics.iter().map(|topic| (topic.name.clone(), topic.partitions..=topic.partitions)).collect();
        Self { partitions, created: BTreeMap::new(), ids: BTreeMap::new() }
    }

    pub(super) fn on_created(&mut self, now: u64, name: &str) {
        if !self.created.contains_key(name) {
            self.created.insert(name.to_owned(), now);
            // It may be another than the one before.
            self.ids.remove(name);
        }
    }

    /// Somebody asks for a topic to be deleted: until it is created, nothing is known of it.
    pub(super) fn on_delete(&mut self, name: &str) {
        self.created.remove(name);
        self.ids.remove(name);
    }

    /// Somebody asks for a topic to have `count` partitions.
    pub(super) fn on_create_partitions(&mut self, name: &str, count: i32) {
        if let Some(partitions) = self.partitions.get_mut(name) {
            *partitions = *partitions.start()..=count.max(*partitions.end());
        }
    }

    pub(super) fn check(
        &mut self,
        now: u64,
        running_since: u64,
        response: &MetadataResponse,
    ) -> Result<(), Violation> {
        let violation = |sentence| Err(Violation { property: "topics", sentence });
        for topic in &response.topics {
            let Some(name) = topic.name.as_deref() else { continue };
            let error = ErrorCode::from_i16(topic.error_code);
            if error.is_error() {
                let created = self.created.get(name).copied();
                if let Some(created) = created.filter(|at| now > at.max(&running_since) + LAG_US_MAX) {
                    return violation(format!(
                        "{name}, whose creation was acknowledged at {created} us, is {error} to a client at {now} us"
                    ));
                }
                continue;
            }
            let known = *self.ids.entry(name.to_owned()).or_insert(topic.topic_id);
            if self.created.contains_key(name) && known != topic.topic_id {
                return violation(format!("{name} had the id {known} and has the id {}", topic.topic_id));
            }
            // Before its creation was acknowledged, a topic may have been lost and made again.
            self.ids.insert(name.to_owned(), topic.topic_id);
            let found = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            let planned = self.partitions.get(name);
            if planned.is_some_and(|planned| !planned.contains(&found)) {
                return violation(format!("{name} was created with {planned:?} partitions and has {found}"));
            }
        }
        Ok(())
    }
}
