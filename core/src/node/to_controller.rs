//! What a node asks of the active controller, wherever that is: in this process, or behind a connection of its own
//! (Kafka's channels from brokers to the controller; KIP-590 for what clients ask).
//!
//! What the node asks for itself is asked once: whoever wanted it knows when to ask again. What a client asked is tried again
//! until somebody answers or the client's patience may be taken to have ended.

use super::broker::{Broker, Committed, Timer};
use super::envelope::{self, Asker, Forward};
use super::{Output, ReplyTo, RequestContext, on_request};
use crate::controller::{Controller, ControllerRequest};
use crate::ids::{ConnectionId, RequestId};
use crate::mark::Mark;
use crate::outbox::Outbox;
use crate::peer::{Channel, Peer, PeerFault};
use crate::time::{Instant, Now};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::request::{AnyRequest, AnyResponse};

/// Requests that a node asks have numbers from here on when they are not the quorum's.
const FIRST_REQUEST: u64 = 1 << 63;

/// How long to wait before looking again for somebody who is the active controller.
const RETRY_BACKOFF_MS: i64 = 50;

/// What the active controller was asked.
#[derive(Clone, Debug)]
pub(super) enum Question {
    Registration,
    Heartbeat,
    ProducerIds,
    Directories,
    InSyncReplicas,
    /// Something that a client wants.
    Forwarded(Forward),
}

impl Question {
    /// A client's requests may take long; what a broker has to say for itself must not wait behind them.
    const fn channel(&self) -> Channel {
        match self {
            Self::Registration
            | Self::Heartbeat
            | Self::ProducerIds
            | Self::Directories
            | Self::InSyncReplicas => Channel::Broker,
            Self::Forwarded(_) => Channel::Forwarding,
        }
    }
}

#[derive(Clone, Debug)]
struct Asked {
    peer: Peer,
    question: Question,
    deadline: Instant,
}

/// What was asked and has no answer, and what waits to be asked.
#[derive(Clone, Debug, Default)]
pub(super) struct ToController {
    next_request: u64,
    asked: BTreeMap<RequestId, Asked>,
    /// What clients want, while nobody is known to be the active controller, oldest first.
    waiting: VecDeque<Forward>,
    /// How many there ever were.
    next_forward: u64,
    /// When those are looked at again.
    retry_at: Option<Instant>,
}

impl ToController {
    /// Nobody waits any more for what came by a connection.
    pub(super) fn on_connection_closed(&mut self, connection: ConnectionId) {
        self.waiting.retain(|forward| forward.connection() != connection);
    }
}

/// Whether a request of this number was asked here, and not by the quorum.
pub(super) const fn is_own(request: RequestId) -> bool {
    request.0 >= FIRST_REQUEST
}

impl Broker {
    /// Asks the active controller something for this node; `false` when nobody is known to be that.
    pub(super) fn ask_controller(
        &mut self,
        question: Question,
        body: AnyRequest,
        now: Now,
        out: &mut Outbox,
    ) -> bool {
        if self.active_epoch.is_none() {
            return self.ask_elsewhere(question, *body.api_key().versions().end(), body, now, out).is_none();
        }
        let asked = self.asked(*body.api_key().versions().end(), now);
        let request = ControllerRequest::of(body);
        let request = request.unwrap_or_else(|body| unreachable!("{:?} is for controllers", body.api_key()));
        let decision = self.controller.decide(&request, &asked, &mut self.rng, out);
        self.commit(decision.records, Committed::Own(question, decision.response), now, out);
        true
    }

    /// Sends a question to the active controller. Gives it back when it is not known where that is.
    fn ask_elsewhere(
        &mut self,
        question: Question,
        version: i16,
        body: AnyRequest,
        now: Now,
        out: &mut Outbox,
    ) -> Option<Question> {
        let Some(address) = self.quorum.leader_address() else { return Some(question) };
        let peer = address.peer(question.channel());
        let session_ms = self.session_ms();
        let to = &mut self.to_controller;
        let request = RequestId(FIRST_REQUEST + to.next_request);
        to.next_request += 1;
        let deadline = match &question {
            Question::Forwarded(forward) => forward.give_up_at,
            // What has no answer is asked again before the session is over.
            Question::Registration
            | Question::Heartbeat
            | Question::ProducerIds
            | Question::Directories
            | Question::InSyncReplicas => now.monotonic.plus_millis((session_ms / 2).max(1)),
        };
        to.asked.insert(request, Asked { peer: peer.clone(), question, deadline });
        out.push(Output::Ask { peer, request, version, body });
        self.arm_to_controller();
        None
    }

    /// Has the active controller decide about what a client asked, or about topics that its metadata request found missing. This
    /// node is not that.
    pub(super) fn forward(
        &mut self,
        asker: Asker,
        context: RequestContext,
        body: AnyRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let give_up_at = now.monotonic.plus_millis(self.config.request_timeout_ms);
        let to = &mut self.to_controller;
        to.next_forward += 1;
        let number = to.next_forward;
        to.waiting.push_back(Forward { number, asker, context, body, give_up_at });
        self.pursue_controller(now, out);
    }

    /// Asks what waits to be asked, of whoever is the active controller by now.
    pub(super) fn pursue_controller(&mut self, now: Now, out: &mut Outbox) {
        self.leave_other_controllers(now, out);
        let is_due = self.to_controller.retry_at.is_none_or(|at| at <= now.monotonic);
        if is_due {
            self.to_controller.retry_at = None;
            for forward in core::mem::take(&mut self.to_controller.waiting) {
                self.pursue_forward(forward, now, out);
            }
            self.hand_out_producer_ids(now, out);
            self.tell_directories(now, out);
            self.ask_for_isr_changes(now, out);
            let is_to_tell = self.has_directories_to_tell() || self.has_isr_changes_to_ask();
            let to = &mut self.to_controller;
            let is_open = !self.waiting_for_producer_ids.is_empty() && !self.producer_ids_requested;
            if is_open || is_to_tell || !to.waiting.is_empty() {
                to.retry_at = Some(now.monotonic.plus_millis(RETRY_BACKOFF_MS));
            }
        }
        self.arm_to_controller();
    }

    fn arm_to_controller(&mut self) {
        let to = &self.to_controller;
        let deadlines = to.asked.values().map(|asked| asked.deadline);
        match deadlines.chain(to.retry_at).min() {
            Some(at) => self.timers.arm(Timer::ToController, at),
            None => self.timers.cancel(&Timer::ToController),
        }
    }

    fn pursue_forward(&mut self, forward: Forward, now: Now, out: &mut Outbox) {
        if forward.give_up_at <= now.monotonic {
            out.sometimes(Mark::ForwardTimedOut);
            return self.answer_forwarded(forward, Err(ErrorCode::RequestTimedOut), out);
        }
        if self.active_epoch.is_some() {
            match forward.asker {
                Asker::Client(reply_to) => {
                    let Forward { context, body, .. } = forward;
                    let ReplyTo { connection, .. } = reply_to;
                    if !on_request(self, reply_to, context, body, now, out) {
                        out.push(Output::Close { connection });
                    }
                }
                Asker::Metadata(parked) => self.on_metadata(parked, forward.context, now, out),
                Asker::Coordinator(parked) => self.on_find_coordinator(parked, forward.context, now, out),
            }
            return;
        }
        if self.quorum.leader_address().is_none() {
            out.sometimes(Mark::ForwardWaits);
            return self.to_controller.waiting.push_back(forward);
        }
        let Some(envelope) = forward.enclose() else {
            return self.answer_forwarded(forward, Err(ErrorCode::UnknownServerError), out);
        };
        let question = Question::Forwarded(forward);
        let body = AnyRequest::Envelope(envelope);
        if let Some(Question::Forwarded(forward)) =
            self.ask_elsewhere(question, envelope::VERSION, body, now, out)
        {
            self.to_controller.waiting.push_back(forward);
        }
    }

    /// What was asked of a controller that is the active one no more, or that is silent for too long, has no answer.
    fn leave_other_controllers(&mut self, now: Now, out: &mut Outbox) {
        let active = self.quorum.leader_address();
        let is_left = |asked: &Asked| {
            let is_other = active.as_ref().is_none_or(|at| at.peer(asked.peer.channel) != asked.peer);
            is_other || asked.deadline <= now.monotonic
        };
        let mut left: Vec<Peer> = Vec::new();
        for asked in self.to_controller.asked.values().filter(|asked| is_left(asked)) {
            if !left.contains(&asked.peer) {
                left.push(asked.peer.clone());
            }
        }
        for peer in left {
            out.sometimes(Mark::ControllerLeft);
            let asked = &mut self.to_controller.asked;
            let unanswered: Vec<RequestId> =
                asked.iter().filter(|(_, asked)| asked.peer == peer).map(|(id, _)| *id).collect();
            let questions: Vec<Question> =
                unanswered.iter().filter_map(|id| asked.remove(id)).map(|asked| asked.question).collect();
            out.push(Output::HangUp { peer });
            for question in questions {
                self.on_no_answer(question, now);
            }
        }
    }

    /// Takes what the active controller answered, or that it never will.
    pub(super) fn on_controller_answered(
        &mut self,
        request: RequestId,
        result: Result<AnyResponse, PeerFault>,
        now: Now,
        out: &mut Outbox,
    ) {
        let Some(Asked { question, .. }) = self.to_controller.asked.remove(&request) else { return };
        match result {
            Err(PeerFault::Disconnected) => self.on_no_answer(question, now),
            Ok(body) => self.on_own_answer(question, body, now, out),
        }
        self.pursue_controller(now, out);
        self.pursue_lifecycle(now, out);
    }

    /// Takes an answer to what this node asked.
    pub(super) fn on_own_answer(
        &mut self,
        question: Question,
        body: AnyResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        match (question, body) {
            (Question::Registration, AnyResponse::BrokerRegistration(response)) => {
                self.on_registered(&response, now, out);
            }
            (Question::Heartbeat, AnyResponse::BrokerHeartbeat(response)) => {
                self.on_heartbeat_answered(&response, now, out);
            }
            (Question::ProducerIds, AnyResponse::AllocateProducerIds(response)) => {
                self.on_producer_ids(&response, now, out);
            }
            (Question::Directories, AnyResponse::AssignReplicasToDirs(response)) => {
                self.on_directories(&response, now, out);
            }
            (Question::InSyncReplicas, AnyResponse::AlterPartition(response)) => {
                self.on_isr_changes_answered(&response, now, out);
            }
            (Question::Forwarded(forward), AnyResponse::Envelope(response)) => {
                match envelope::disclose(&forward, response) {
                    Err(ErrorCode::NotController) => self.on_no_answer(Question::Forwarded(forward), now),
                    answer => self.answer_forwarded(forward, answer, out),
                }
            }
            // It is no controller, whatever it is.
            (question, _) => self.on_no_answer(question, now),
        }
    }

    /// There will be no answer, and what was asked may or may not have been done.
    pub(super) fn on_no_answer(&mut self, question: Question, now: Now) {
        match question {
            Question::Registration | Question::Heartbeat => self.put_lifecycle_off(now),
            Question::ProducerIds => self.producer_ids_requested = false,
            Question::Directories => self.assignments.on_no_answer(),
            Question::InSyncReplicas => self.isr_changes.on_no_answer(),
            Question::Forwarded(forward) => {
                // What a client sent first is to be done first.
                let waiting = &mut self.to_controller.waiting;
                let at = waiting.partition_point(|other| other.number < forward.number);
                waiting.insert(at, forward);
            }
        }
        let retry_at = now.monotonic.plus_millis(RETRY_BACKOFF_MS);
        self.to_controller.retry_at.get_or_insert(retry_at);
        self.arm_to_controller();
    }

    fn answer_forwarded(
        &mut self,
        forward: Forward,
        answer: Result<AnyResponse, ErrorCode>,
        out: &mut Outbox,
    ) {
        match forward.asker {
            // They are there, or are about to be known here, or there is a reason: whatever the image says.
            Asker::Metadata(parked) => self.answer_metadata(parked, out),
            Asker::Coordinator(parked) => self.answer_find_coordinator(parked, out),
            Asker::Client(reply_to) => match answer {
                Ok(body) => reply_to.respond(body, out),
                Err(code) => match ControllerRequest::of(forward.body) {
                    Ok(request) => reply_to.respond(Controller::refuse(&request, code), out),
                    Err(body) => match envelope::refusal(&body, code) {
                        Some(body) => reply_to.respond(body, out),
                        None => out.push(Output::Close { connection: reply_to.connection }),
                    },
                },
            },
        }
    }
}
