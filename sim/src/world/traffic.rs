//! Messages: from clients to nodes and back, and what is judged on the way.

use super::machine::Machine;
use super::network::{Fate, Waiting};
use super::{
    AUDITOR_FIRST, EVENT_CLOSE, EVENT_CLOSED, EVENT_NO_RESPONSE, EVENT_REQUEST, EVENT_RESPONSE, Event,
    Failure, ToClient, ToNode, World,
};
use crate::check::{Acknowledged, Checks, ReplicationChecks};
use crate::client::{Action, Client, Known};
use crate::field::Place;
use crate::marks::WorldMark;
use crate::plan::{AdminDeed, AdminPlan, Mutation, Plan};
use crate::trace::Kind;
use crate::transcript::{self, Topics};
use bytes::Bytes;
use sordini_core::ids::{ConnectionId, RequestId};
use sordini_core::node::{Input, NodeState, RequestBody, RequestContext};
use sordini_core::produce_request::JudgedProduce;
use sordini_protocol::batch::Batch;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::{FetchResponse, ProduceRequest};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Records, Str, Uuid, Writer};
use std::collections::BTreeMap;

impl World {
    pub(super) fn on_message_to_node(&mut self, id: ConnectionId, message: ToNode) -> Result<(), Failure> {
        let Some(connection) = self.network.connections.get(&id) else { return Ok(()) };
        let (node, seat) = (connection.node, connection.seat);
        let machine = &self.machines[node];
        if machine.process.is_none() || connection.life != Some(machine.lives) {
            self.network.connections.remove(&id);
            self.lose_connection(node, seat, id);
            return Ok(());
        }
        match message {
            ToNode::Closed => {
                self.network.connections.remove(&id);
                self.trace.event(self.now, EVENT_CLOSED).word(id.0);
                self.trace
                    .tell(self.now, Kind::Connection, Some(node), || format!("connection {id} is gone"));
                self.step(node, Input::ConnectionClosed { connection: id })
            }
            ToNode::Request { .. } if connection.is_closing => Ok(()),
            ToNode::Request { request, version, body } => self.hand_over(id, request, version, body),
        }
    }

    /// Gives a request to the node at the other end of its connection.
    fn hand_over(
        &mut self,
        id: ConnectionId,
        request: RequestId,
        version: i16,
        body: AnyRequest,
    ) -> Result<(), Failure> {
        let connection = &self.network.connections[&id];
        let (node, client, seat) = (connection.node, connection.client, connection.seat);
        let (body, is_encoded) = self
            .network
            .request_over_the_wire(Place::RequestCodec, client, version, body, self.now)
            .map_err(|sentence| self.violation("wire", sentence))?;
        self.marks.count(WorldMark::RequestEncoded, u64::from(is_encoded));
        let mut produced = if let AnyRequest::Produce(produce) = &body {
            if let Some(sent_records) = &mut self.sent_records {
                sent_records.on_sent(produce);
            }
            sent_batches(produce, &self.topic_names, &self.topic_ids)
        } else {
            Vec::new()
        };
        for sent in &mut produced {
            self.machines[node].checks.on_sent(sent, &self.machines[node].disk);
        }
        if let AnyRequest::DeleteRecords(request) = &body {
            for topic in &request.topics {
                let Some(index) = topic_index(&self.topic_names, &self.topic_ids, &topic.name, Uuid::ZERO)
                else {
                    continue;
                };
                for partition in &topic.partitions {
                    let Machine { checks, disk, .. } = &mut self.machines[node];
                    checks.on_delete_records(index, partition.partition_index, partition.offset, disk);
                }
            }
        }
        if let AnyRequest::DeleteTopics(request) = &body {
            for index in request.topics.iter().filter_map(|topic| self.topic_ids.get(&topic.topic_id)) {
                // Members of a cluster delete it all.
                let is_asked = |at: usize| at == node || self.plan.nodes[at].role.is_member();
                for (_, machine) in self.machines.iter_mut().enumerate().filter(|(at, _)| is_asked(*at)) {
                    machine.checks.on_delete_topic(&self.topic_names[*index]);
                }
            }
        } else if let AnyRequest::CreatePartitions(request) = &body {
            for topic in &request.topics {
                self.machines[node].checks.on_create_partitions(&topic.name, topic.count);
            }
        }
        let api = body.api_key();
        let connection = self.network.connections.get_mut(&id).expect("it was just there");
        connection.waiting.push_back(Waiting {
            request,
            version,
            api,
            produced,
            candidacy: None,
            answer: None,
        });
        let hash = self.trace.event(self.now, EVENT_REQUEST);
        hash.word(id.0);
        hash.word(request.0);
        let mut writer = Writer::with_capacity(256);
        let encoded = body.encode(version, &mut writer);
        assert_eq!(encoded, Ok(()), "clients send what can be sent");
        transcript::hash_encoded(hash, writer);
        let topics = Topics { names: &self.topic_names, ids: &self.topic_ids };
        self.trace.tell(self.now, Kind::Request, Some(node), || {
            format!(
                "client {client} connection {id} request {request}: {}",
                transcript::request(&body, topics)
            )
        });
        let asks_controllers =
            matches!(self.seats[seat].client, Client::PretendBroker(_) | Client::Operator(_));
        let listener = Str::from_static(self.plan.listener_of(node, asks_controllers));
        let context = RequestContext {
            api_version: version,
            client_id: None,
            client_address: Plan::CLIENT_ADDRESS,
            listener,
        };
        let body = if let AnyRequest::Produce(produce) = body {
            RequestBody::Produce(JudgedProduce::judge(produce, version))
        } else {
            RequestBody::Other(body)
        };
        self.step(node, Input::Request { connection: id, request, context, body })
    }

    /// A request arrives once more, on a connection that carries nothing else.
    pub(super) fn on_duplicate(
        &mut self,
        seat: usize,
        node: usize,
        life: u64,
        version: i16,
        body: AnyRequest,
    ) -> Result<(), Failure> {
        let machine = &self.machines[node];
        let Some(process) = &machine.process else { return Ok(()) };
        if process.state != NodeState::Running {
            return Ok(());
        }
        // The auditors' time is theirs alone.
        let Some(client) = self.seats.get(seat).map(|seat| seat.number) else { return Ok(()) };
        if !self
            .plan
            .producers
            .iter()
            .map(|p| p.client)
            .chain(self.plan.consumers.iter().map(|c| c.client))
            .any(|c| c == client)
        {
            return Ok(());
        }
        self.marks.hit(WorldMark::LateDuplicate);
        if machine.lives != life {
            self.marks.hit(WorldMark::LateDuplicateInNextLife);
        }
        let id = self.network.open(seat, client, node, Some(machine.lives));
        self.network.connections.get_mut(&id).expect("it was just opened").is_duplicate = true;
        self.hand_over(id, RequestId(0), version, body)
    }

    // What a node says.

    pub(super) fn on_no_response(
        &mut self,
        node: usize,
        connection: ConnectionId,
        request: RequestId,
    ) -> Result<(), Failure> {
        self.trace.event(self.now, EVENT_NO_RESPONSE).word(request.0);
        self.trace.tell(self.now, Kind::Response, Some(node), || {
            format!("connection {connection} request {request}: -")
        });
        if self.network.links.contains_key(&connection) {
            return self.answer_over_link(connection, request, None);
        }
        self.answer(connection, request, None);
        Ok(())
    }

    pub(super) fn on_close(&mut self, node: usize, connection: ConnectionId) {
        self.trace.event(self.now, EVENT_CLOSE).word(connection.0);
        self.trace.tell(self.now, Kind::Response, Some(node), || format!("connection {connection}: close"));
        if self.network.links.contains_key(&connection) {
            return self.close_link(connection);
        }
        let Some(state) = self.network.connections.get_mut(&connection) else { return };
        state.is_closing = true;
        let (seat, is_duplicate) = (state.seat, state.is_duplicate);
        if !is_duplicate && let Fate::Arrives(at) = self.network.send_to_client(connection, None, self.now) {
            self.schedule(at, Event::ToClient { seat, connection, message: ToClient::Closed });
        }
        self.schedule(self.now, Event::ToNode { connection, message: ToNode::Closed });
    }

    pub(super) fn on_respond(
        &mut self,
        node: usize,
        connection: ConnectionId,
        request: RequestId,
        version: i16,
        mut body: AnyResponse,
    ) -> Result<(), Failure> {
        self.read_stored(node, &mut body)?;
        self.mutate(node, &mut body);
        let hash = self.trace.event(self.now, EVENT_RESPONSE);
        hash.word(connection.0);
        hash.word(request.0);
        let mut writer = Writer::with_capacity(256);
        if let Err(error) = body.encode(version, &mut writer) {
            let sentence = format!("an answer cannot be encoded in version {version}: {error}: {body:?}");
            return Err(self.violation("answers", sentence));
        }
        transcript::hash_encoded(hash, writer);
        let topics = Topics { names: &self.topic_names, ids: &self.topic_ids };
        self.trace.tell(self.now, Kind::Response, Some(node), || {
            format!("connection {connection} request {request}: {}", transcript::response(&body, topics))
        });
        if self.network.links.contains_key(&connection) {
            let expected = self.version_over_link(connection, request);
            if expected.is_some_and(|expected| expected != version) {
                let sentence = format!(
                    "request {request} of connection {connection} is answered in version {version} instead of {expected:?}"
                );
                return Err(self.violation("answers", sentence));
            }
            self.judge_over_link(node, connection, request, &body)?;
            return self.answer_over_link(connection, request, Some(body));
        }
        self.judge_response(node, connection, request, version, &body)?;
        self.answer(connection, request, Some(body));
        Ok(())
    }

    /// Puts the bytes of files in the place of their ranges, as the shell does when it sends them.
    fn read_stored(&self, node: usize, body: &mut AnyResponse) -> Result<(), Failure> {
        let records: Vec<&mut Option<Records>> = if let AnyResponse::Fetch(fetch) = body {
            let partitions = fetch.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.map(|partition| &mut partition.records).collect()
        } else if let AnyResponse::FetchSnapshot(fetch) = body {
            let partitions = fetch.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.map(|partition| &mut partition.unaligned_records).collect()
        } else {
            return Ok(());
        };
        for records in records {
            if let Some(Records::Stored(range)) = records {
                let contents = self.machines[node].disk.contents(&range.file);
                let bytes = contents.map(|contents| contents.read(range.position, u64::from(range.len)));
                let bytes = bytes.unwrap_or_default();
                if bytes.len() as u64 != u64::from(range.len) {
                    let sentence = format!(
                        "an answer promises {} bytes of {} from {} on, and there are {}",
                        range.len,
                        range.file,
                        range.position,
                        bytes.len()
                    );
                    return Err(self.violation("consumer_reads", sentence));
                }
                *records = Some(Records::Bytes(bytes));
            }
        }
        Ok(())
    }

    /// Does to an answer what the plan's mutation says.
    fn mutate(&mut self, node: usize, body: &mut AnyResponse) {
        let Some(mutation) = self.plan.mutation else { return };
        match (mutation, body) {
            (Mutation::HighWatermarkFalls, AnyResponse::Fetch(fetch)) => {
                self.fetches_answered += 1;
                if self.fetches_answered.is_multiple_of(7) {
                    for partition in fetch.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
                        if partition.error_code == 0
                            && partition.records.as_ref().is_none_or(Records::is_empty)
                        {
                            partition.high_watermark -= 1;
                        }
                    }
                }
            }
            (Mutation::ReadsFlipped, AnyResponse::Fetch(fetch)) => {
                for partition in fetch.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    if let Some(Records::Bytes(bytes)) = &mut partition.records
                        && bytes.len() > 70
                    {
                        let mut flipped = bytes.to_vec();
                        flipped[70] ^= 1;
                        *bytes = Bytes::from(flipped);
                    }
                }
            }
            (Mutation::ProducerIdHandedOutTwice, AnyResponse::InitProducerId(response)) => {
                response.producer_id = *self.first_producer_id.get_or_insert(response.producer_id);
            }
            (Mutation::TopicForgotten, AnyResponse::Metadata(response)) if self.machines[node].lives > 1 => {
                if let Some(topic) = response.topics.first_mut() {
                    topic.error_code = ErrorCode::UnknownTopicOrPartition.as_i16();
                    topic.partitions.clear();
                }
            }
            _ => {}
        }
    }

    fn judge_response(
        &mut self,
        node: usize,
        id: ConnectionId,
        request: RequestId,
        version: i16,
        body: &AnyResponse,
    ) -> Result<(), Failure> {
        // A client that closed its connection does not hear the answer, and nobody holds the node to it.
        let Some(connection) = self.network.connections.get(&id) else { return Ok(()) };
        let Some(waiting) = connection.waiting.iter().find(|waiting| waiting.request == request) else {
            return Err(self.violation(
                "answers",
                format!("connection {id} gets an answer to request {request}, which does not wait"),
            ));
        };
        if waiting.answer.is_some() || waiting.version != version {
            return Err(self.violation(
                "answers",
                format!(
                    "request {request} of connection {id} is answered twice, or in version {version} instead of {}",
                    waiting.version
                ),
            ));
        }
        let seat = &self.seats[connection.seat];
        let is_current = seat.connection == Some(id);
        let machine = &mut self.machines[node];
        if let AnyResponse::Produce(response) = body {
            for topic in &response.responses {
                let index = topic_index(&self.topic_names, &self.topic_ids, &topic.name, topic.topic_id);
                for partition in &topic.partition_responses {
                    let sent = waiting
                        .produced
                        .iter()
                        .find(|sent| (Some(sent.topic), sent.partition) == (index, partition.index));
                    let Some(sent) = sent else { continue };
                    if partition.error_code == ErrorCode::OutOfOrderSequenceNumber.as_i16() {
                        machine.checks.on_out_of_order(sent, &machine.disk)?;
                    }
                    if partition.error_code != 0 {
                        continue;
                    }
                    let sent = Acknowledged { base_offset: partition.base_offset, ..sent.clone() };
                    let end = |checks: &Checks| {
                        checks.log(sent.topic, sent.partition).map_or(0, |log| log.acknowledged_end())
                    };
                    let before = end(&machine.checks);
                    machine.checks.on_acknowledged(&sent, &machine.disk)?;
                    let place = (sent.topic, sent.partition);
                    if sent.acks == -1
                        && !self.replication_checks.are_off()
                        && let Some(topic_id) = meant(topic.topic_id, &machine.checks, place)
                    {
                        self.replication_checks.on_acknowledged(node, place, topic_id, sent.base_offset);
                    }
                    let acknowledged = (end(&machine.checks) - before).unsigned_abs();
                    self.marks.count(WorldMark::RecordAcknowledged, acknowledged);
                    let is_duplicate = partition.base_offset < before;
                    self.marks.count(WorldMark::DuplicateRecognised, u64::from(is_duplicate));
                }
            }
        } else if let AnyResponse::Fetch(response) = body {
            let mut requested = BTreeMap::new();
            if let (Client::Consumer(consumer), true) = (&seat.client, is_current) {
                requested.extend(consumer.positions());
            }
            let (names, ids) = (&self.topic_names, &self.topic_ids);
            let topic_of = |name: &str, id| topic_index(names, ids, name, id);
            machine.checks.on_fetched(response, topic_of, &requested, &machine.disk)?;
            if !self.replication_checks.are_off() {
                note_reads(&mut self.replication_checks, node, &machine.checks, response, topic_of);
            }
            if let Some(sent_records) = self.sent_records.as_ref().filter(|_| !machine.disk.is_damaged()) {
                sent_records.check(node, response)?;
            }
            let mentioned: usize = response.responses.iter().map(|topic| topic.partitions.len()).sum();
            if response.session_id != 0 && mentioned < requested.len() {
                self.marks.hit(WorldMark::IncrementalFetch);
            }
        } else if let AnyResponse::ApiVersions(response) = body {
            self.quorum_checks.on_told_features(node, response)?;
        } else if let AnyResponse::InitProducerId(response) = body {
            if !machine.disk.is_damaged() {
                machine.checks.on_producer_id(response)?;
            }
        } else if let AnyResponse::CreateTopics(response) = body {
            for topic in &response.topics {
                if matches!(
                    ErrorCode::from_i16(topic.error_code),
                    ErrorCode::None | ErrorCode::TopicAlreadyExists
                ) {
                    machine.checks.on_topic_created(self.now, &topic.name);
                }
            }
        } else if let AnyResponse::Metadata(response) = body {
            let running_since = machine.process.as_ref().and_then(|process| process.running_since);
            if !machine.disk.is_damaged() {
                machine.checks.on_metadata(self.now, running_since.unwrap_or(self.now), response)?;
            }
            for topic in &response.topics {
                let index = self.topic_names.iter().position(|name| topic.name.as_ref() == Some(name));
                if let Some(index) = index.filter(|_| topic.error_code == 0) {
                    self.topic_ids.insert(topic.topic_id, index);
                }
            }
        }
        Ok(())
    }

    /// Notes an answer, and sends what is then first in its connection's order.
    fn answer(&mut self, id: ConnectionId, request: RequestId, answer: Option<AnyResponse>) {
        let Some(connection) = self.network.connections.get_mut(&id) else { return };
        let Some(waiting) = connection.waiting.iter_mut().find(|waiting| waiting.request == request) else {
            return;
        };
        waiting.answer = Some(answer);
        if connection.is_duplicate {
            self.network.connections.remove(&id);
            self.schedule(self.now, Event::ToNode { connection: id, message: ToNode::Closed });
            return;
        }
        while let Some(connection) = self.network.connections.get_mut(&id)
            && let Some(Waiting { answer: Some(_), .. }) = connection.waiting.front()
        {
            let Waiting { request, version, api, answer, .. } =
                connection.waiting.pop_front().expect("it was just there");
            let seat = connection.seat;
            let client = connection.client;
            let Some(body) = answer.flatten() else { continue };
            match self.network.send_to_client(id, Some(api), self.now) {
                Fate::Arrives(at) => {
                    let place = Place::ResponseCodec;
                    let body =
                        self.network.response_over_the_wire(place, client, api, version, body, self.now);
                    let (body, is_encoded) = body.expect("it was encoded for the hash before");
                    self.marks.count(WorldMark::ResponseEncoded, u64::from(is_encoded));
                    let message = ToClient::Response { request, body };
                    self.schedule(at, Event::ToClient { seat, connection: id, message });
                }
                Fate::Lost => self.marks.hit(WorldMark::ResponseLost),
            }
        }
    }

    // Clients.

    pub(super) fn on_message_to_client(
        &mut self,
        seat: usize,
        connection: ConnectionId,
        message: ToClient,
    ) -> Result<(), Failure> {
        // Clients leave when the plan is over.
        let Some(taken) = self.seats.get_mut(seat) else { return Ok(()) };
        if taken.connection != Some(connection) {
            if matches!(message, ToClient::Response { .. }) {
                self.marks.hit(WorldMark::AnswerTooLate);
            }
            return Ok(());
        }
        match message {
            ToClient::Response { request, body } => {
                if let AnyResponse::Fetch(fetch) = &body {
                    let partitions = fetch.responses.iter().flat_map(|topic| &topic.partitions);
                    let has_records = |records: &Records| !records.is_empty();
                    let reads = partitions
                        .filter(|partition| partition.records.as_ref().is_some_and(has_records))
                        .count();
                    self.marks.count(WorldMark::Read, reads as u64);
                }
                taken.client.on_response(self.now, request, body, &mut self.client_outbox);
            }
            ToClient::Closed => {
                taken.connection = None;
                let number = taken.number;
                // Auditors go from broker to broker until they find a leader.
                if number < AUDITOR_FIRST {
                    self.trace.tell(self.now, Kind::Client, None, || {
                        format!("client {number} has lost its connection")
                    });
                }
                self.seats[seat].client.on_disconnected(self.now, &mut self.client_outbox);
            }
        }
        self.after_client(seat)
    }

    pub(super) fn on_client_wake(&mut self, seat: usize) -> Result<(), Failure> {
        let Some(taken) = self.seats.get_mut(seat) else { return Ok(()) };
        // A client that found a reason to wake earlier has another wake in the queue.
        if taken.wake_at.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        taken.wake_at = None;
        if taken.client.next_wake().is_some_and(|at| at <= self.now) {
            if let Client::Operator(operator) = &taken.client
                && operator.looks_around(self.now)
            {
                let outlook = self.outlook();
                if let Client::Operator(operator) = &mut self.seats[seat].client {
                    operator.see(outlook);
                }
            }
            let taken = &mut self.seats[seat];
            if let Client::PretendBroker(broker) = &mut taken.client
                && broker.is_about_to_learn(self.now)
                && let Some(process) = &self.machines[taken.node].process
            {
                broker.learn(self.now, &Known::of(&process.node));
            }
            taken.client.on_wake(self.now, &mut self.client_outbox);
        }
        self.after_client(seat)
    }

    /// Does what a client asked for, and sees to it that it is woken when it wants to be.
    fn after_client(&mut self, seat: usize) -> Result<(), Failure> {
        let mut outbox = std::mem::take(&mut self.client_outbox);
        for mut entry in outbox.history.drain(..) {
            entry.seq = self.history.len() as u64;
            self.quorum_checks.on_history(&entry)?;
            self.history.push(entry);
        }
        for mark in outbox.marks.drain(..) {
            self.marks.hit(mark);
            let (number, node) = (self.seats[seat].number, self.seats[seat].node);
            if mark == WorldMark::StoppedAtDamage && !self.is_damaged(node) {
                let sentence = format!("client {number} was handed something that is no batch");
                return Err(self.violation("consumer_reads", sentence));
            }
            if mark == WorldMark::PositionTruncated && !self.may_have_lost_records(node) {
                let sentence =
                    format!("client {number} was told that what it had read is gone, and nothing was lost");
                return Err(self.violation("consumer_reads", sentence));
            }
        }
        for action in outbox.actions.drain(..) {
            match action {
                Action::Close => {
                    self.marks.hit(WorldMark::ClientTimeout);
                    if let Some(connection) = self.seats[seat].connection.take() {
                        self.send_to_node(connection, ToNode::Closed);
                    }
                }
                Action::TurnTo { node } => {
                    if let Some(connection) = self.seats[seat].connection.take() {
                        self.send_to_node(connection, ToNode::Closed);
                    }
                    self.seats[seat].node = node;
                }
                Action::Send { request, version, body } => {
                    if let AnyRequest::BrokerRegistration(registration) = &body {
                        self.quorum_checks.on_registering(registration);
                    }
                    let connection = self.connection_of(seat);
                    let Seated { number, node } = self.seated(seat);
                    if let Some(after_us) = self.network.duplicates_after(number, node, self.now) {
                        let (life, body) = (self.machines[node].lives, body.clone());
                        let again = Event::Duplicate { seat, node, life, version, body };
                        self.schedule(self.now + after_us, again);
                    }
                    self.send_to_node(connection, ToNode::Request { request, version, body });
                }
            }
        }
        self.client_outbox = outbox;
        let refusals = match &mut self.seats[seat].client {
            Client::Producer(producer) => producer.take_refusals(),
            Client::Consumer(consumer) => consumer.take_refusals(),
            Client::Admin(admin) => admin.take_refusals(),
            Client::Configurator(configurator) => configurator.take_refusals(),
            Client::Gatekeeper(gatekeeper) => gatekeeper.take_refusals(),
            Client::PretendBroker(broker) => broker.take_refusals(),
            Client::Operator(operator) => operator.take_refusals(),
            Client::ConfigReader(_) | Client::Observer(_) => Vec::new(),
        };
        let node = self.seats[seat].node;
        if let Some(sentence) = refusals.into_iter().next().filter(|_| !self.is_beyond_promises(node)) {
            return Err(self.violation("answers", sentence));
        }
        self.wake_later(seat);
        Ok(())
    }

    /// Whether something has happened that takes records from the end of a log of the node.
    fn may_have_lost_records(&self, node: usize) -> bool {
        let is_member = self.plan.nodes[node].role.is_member();
        let is_recreation = |planned: &AdminPlan| {
            (planned.node == node || is_member)
                && planned.at_us <= self.now
                && matches!(planned.deed, AdminDeed::RecreateTopic { .. })
        };
        // What somebody has read of what several brokers have was committed.
        self.is_beyond_promises(node)
            || self.replication_checks.has_losses()
            || (self.machines[node].has_lost_records && !is_member)
            || self.plan.administration.iter().any(is_recreation)
    }

    fn seated(&self, seat: usize) -> Seated {
        Seated { number: self.seats[seat].number, node: self.seats[seat].node }
    }

    fn send_to_node(&mut self, connection: ConnectionId, message: ToNode) {
        let api = match &message {
            ToNode::Request { body, .. } => Some(body.api_key()),
            ToNode::Closed => None,
        };
        match self.network.send_to_node(connection, api, self.now) {
            Fate::Arrives(at) => self.schedule(at, Event::ToNode { connection, message }),
            Fate::Lost => self.marks.hit(WorldMark::RequestLost),
        }
    }

    fn connection_of(&mut self, seat: usize) -> ConnectionId {
        if let Some(connection) = self.seats[seat].connection {
            return connection;
        }
        let Seated { number, node } = self.seated(seat);
        let machine = &self.machines[node];
        let life = machine.process.is_some().then_some(machine.lives);
        let id = self.network.open(seat, number, node, life);
        self.seats[seat].connection = Some(id);
        id
    }

    pub(super) fn wake_later(&mut self, seat: usize) {
        let taken = &mut self.seats[seat];
        let Some(at) = taken.client.next_wake() else { return };
        let at = at.max(self.now);
        if taken.wake_at.is_none_or(|armed| at < armed) {
            taken.wake_at = Some(at);
            self.schedule(at, Event::ClientWake { seat });
        }
    }
}

/// The topic that an answer is about, of those that have had the name: that of its id, or, where it has none, that of which the
/// node's log is.
fn meant(topic_id: Uuid, checks: &Checks, (topic, partition): (usize, i32)) -> Option<Uuid> {
    if topic_id.is_zero() { checks.log(topic, partition)?.topic_id() } else { Some(topic_id) }
}

/// Has the checks look at the batches that a node hands to a reader.
fn note_reads(
    checks: &mut ReplicationChecks,
    node: usize,
    of_node: &Checks,
    response: &FetchResponse,
    topic_of: impl Fn(&str, Uuid) -> Option<usize>,
) {
    for topic in &response.responses {
        let Some(index) = topic_of(&topic.topic, topic.topic_id) else { continue };
        for partition in topic.partitions.iter().filter(|partition| partition.error_code == 0) {
            let Some(Records::Bytes(bytes)) = &partition.records else { continue };
            let mut rest = bytes.clone();
            let place = (index, partition.partition_index);
            let Some(topic_id) = meant(topic.topic_id, of_node, place) else { continue };
            while let Ok(Some(batch)) = Batch::first_of(&mut rest) {
                checks.on_read(node, place, topic_id, batch.header());
            }
        }
    }
}

/// Who sits in a place, and whom it talks to.
struct Seated {
    number: u64,
    node: usize,
}

/// The batches of a produce request, with where they are to go.
fn sent_batches(request: &ProduceRequest, names: &[Str], ids: &BTreeMap<Uuid, usize>) -> Vec<Acknowledged> {
    let mut sent = Vec::new();
    for topic in &request.topic_data {
        let Some(index) = topic_index(names, ids, &topic.name, topic.topic_id) else { continue };
        for partition in &topic.partition_data {
            if let Some(Records::Bytes(bytes)) = &partition.records {
                sent.push(Acknowledged {
                    topic: index,
                    partition: partition.index,
                    acks: request.acks,
                    base_offset: -1,
                    sent: bytes.clone(),
                });
            }
        }
    }
    sent
}

fn topic_index(names: &[Str], ids: &BTreeMap<Uuid, usize>, name: &str, id: Uuid) -> Option<usize> {
    if name.is_empty() { ids.get(&id).copied() } else { names.iter().position(|known| *known == *name) }
}
