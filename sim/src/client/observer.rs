//! A client that only looks: it asks its node again and again how full its disks are and who else is there.

use super::{ClientOutbox, Link, Surroundings};
use crate::field::Place;
use sordini_core::ids::RequestId;
use sordini_protocol::messages::{DescribeClusterRequest, DescribeLogDirsRequest};
use sordini_protocol::request::AnyRequest;

const DESCRIBE_CLUSTER_VERSION: i16 = 1;
const DESCRIBE_LOG_DIRS_VERSION: i16 = 4;
const TIMEOUT_US: u64 = 5_000_000;

/// Asks from the beginning of the run to its end, changes nothing and waits for nothing.
#[derive(Clone, Debug)]
pub struct Observer {
    pub(super) link: Link,
    /// When it asks next.
    next_look: u64,
}

impl Observer {
    /// A client that asks for as long as it is there.
    #[must_use]
    pub const fn new(client: u64, surroundings: Surroundings) -> Self {
        Self { link: Link::new(client, surroundings), next_look: 0 }
    }

    pub(super) fn on_wake(&mut self, now: u64, out: &mut ClientOutbox) {
        if self.link.deadlines.is_empty() && self.next_wake().is_some_and(|at| at <= now) {
            let (version, request) = if self.link.next_request.is_multiple_of(2) {
                let all = DescribeLogDirsRequest { topics: None, ..Default::default() };
                (DESCRIBE_LOG_DIRS_VERSION, AnyRequest::from(all))
            } else {
                (DESCRIBE_CLUSTER_VERSION, DescribeClusterRequest::default().into())
            };
            self.link.send(version, request, Some(now + TIMEOUT_US), out);
            let field = self.link.surroundings.field;
            self.next_look = now + field.between(Place::Backoff, self.link.client, now, 20_000, 500_000);
        }
    }

    pub(super) fn on_response(&mut self, request: RequestId) {
        self.link.deadlines.remove(&request);
    }

    pub(super) fn on_disconnected(&mut self, now: u64) {
        self.link.on_disconnected(now);
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        let next_look = self.next_look.max(self.link.backoff_until);
        Some(self.link.earliest_deadline().unwrap_or(next_look))
    }
}
