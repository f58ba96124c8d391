//! Connections between nodes: what a node asks of another, and what comes back.
//!
//! A link belongs to one life of the node that opened it and leads to one life of the node that it was opened to. It is a
//! connection as TCP has it: each direction keeps its order, and what was sent before its end arrives before its end is heard
//! of.

use super::network::{Candidacy, Direction, Fate, Network, Waiting};
use super::{EVENT_ANSWER, EVENT_ASK, EVENT_CLOSED, EVENT_HANG_UP, EVENT_REQUEST, Event, Failure, World};
use crate::field::Place;
use crate::marks::WorldMark;
use crate::plan::{End, Plan};
use crate::trace::Kind;
use crate::transcript::{self, Topics};
use sordini_core::ids::{ConnectionId, RequestId};
use sordini_core::node::{Input, RequestBody, RequestContext};
use sordini_core::peer::{Channel, Peer, PeerFault};
use sordini_protocol::messages::{FetchRequest, FetchResponse};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Str, Uuid, Writer};
use std::collections::VecDeque;

/// A connection from one node to another.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Who opened it.
    pub(super) from: usize,
    from_life: u64,
    peer: Peer,
    /// Whom it leads to; nobody if no node has that address.
    pub(super) to: Option<usize>,
    /// The life of the other node's process it was opened to; nothing if there was none.
    to_life: Option<u64>,
    there: Direction,
    back: Direction,
    /// What the node that opened it waits for, in the order of asking; nothing when it does not listen any more.
    asked: Option<VecDeque<RequestId>>,
    /// Requests that the other node has got and not answered.
    waiting: VecDeque<Waiting>,
    /// Whether the other node has closed it.
    is_closing: bool,
}

/// What travels between two nodes.
#[derive(Clone, Debug)]
pub(super) enum LinkMessage {
    /// To the node that was asked.
    Request { request: RequestId, version: i16, body: AnyRequest },
    /// The node that was asked hears that nobody listens any more.
    HungUp,
    /// Back to the node that asked.
    Answer { request: RequestId, body: AnyResponse },
    /// The node that asked hears that the connection is gone.
    Closed,
}

impl LinkMessage {
    /// Whether it is on its way to the node that was asked.
    pub(super) const fn is_there(&self) -> bool {
        matches!(self, Self::Request { .. } | Self::HungUp)
    }
}

impl Network {
    /// Names the link between two nodes, for the field.
    fn way(from: usize, to: Option<usize>, channel: Channel) -> u64 {
        // Nobody has the place 0.
        let to = to.map_or(0, |to| to as u64 + 1);
        (from as u64) << 32 | to << 8 | channel as u64
    }

    /// Sends something over a link: a message of this API, or the end of the connection.
    fn send_over_link(&mut self, id: ConnectionId, is_there: bool, now: u64, api: Option<i16>) -> Fate {
        let range = self.plan.between_nodes_us;
        let Some(link) = self.links.get(&id) else { return Fate::Lost };
        let way = Self::way(link.from, link.to, link.peer.channel);
        let (place, direction) =
            if is_there { (Place::BetweenNodes, link.there) } else { (Place::BackBetweenNodes, link.back) };
        let delay = self.field.between(place, way, now, range.low, range.high);
        let from = End::Node(link.from);
        // Nobody is at the other end, and nothing befalls the way there.
        let to = link.to.map_or(from, End::Node);
        let (from, to) = if is_there { (from, to) } else { (to, from) };
        let fate = self.fate(from, to, direction, api, now, delay);
        let link = self.links.get_mut(&id).expect("it was just there");
        if is_there { link.there.note(fate) } else { link.back.note(fate) }
    }
}

impl World {
    // The node that asks.

    pub(super) fn on_ask(
        &mut self,
        node: usize,
        peer: Peer,
        request: RequestId,
        version: i16,
        body: AnyRequest,
    ) -> Result<(), Failure> {
        let hash = self.trace.event(self.now, EVENT_ASK);
        hash.word(node as u64);
        hash_peer(hash, &peer);
        hash.word(request.0);
        let mut writer = Writer::with_capacity(256);
        if let Err(error) = body.encode(version, &mut writer) {
            let sentence =
                format!("node {node} asks what cannot be asked in version {version}: {error}: {body:?}");
            return Err(self.violation("answers", sentence));
        }
        transcript::hash_encoded(hash, writer);
        let topics = Topics { names: &self.topic_names, ids: &self.topic_ids };
        self.trace.tell(self.now, Kind::Ask, Some(node), || {
            format!("{peer:?} request {request}: {}", transcript::request(&body, topics))
        });
        if let (AnyRequest::Fetch(fetch), None) = (&body, &self.machines[node].own_disk)
            && let Some(offset) = offset_of_metadata(fetch)
        {
            self.quorum_checks.on_fetch(node, offset, &self.machines[node].disk)?;
        }
        if let AnyRequest::BrokerRegistration(registration) = &body {
            self.quorum_checks.on_registering(registration);
        }
        let id = self.link_to(node, peer);
        let link = self.network.links.get_mut(&id).expect("it is there or was just opened");
        link.asked.as_mut().expect("a link that is looked for is listened to").push_back(request);
        let api = body.api_key().as_i16();
        self.send_over_link(id, Some(api), LinkMessage::Request { request, version, body });
        Ok(())
    }

    pub(super) fn on_hang_up(&mut self, node: usize, peer: &Peer) {
        let hash = self.trace.event(self.now, EVENT_HANG_UP);
        hash.word(node as u64);
        hash_peer(hash, peer);
        self.trace.tell(self.now, Kind::Ask, Some(node), || format!("{peer:?}: hangs up"));
        if let Some(id) = self.network.open_links.remove(&(node, peer.clone())) {
            self.marks.hit(WorldMark::HungUp);
            self.leave_link(id);
        }
    }

    /// The link that a node has to a peer, a new one if it has none.
    fn link_to(&mut self, node: usize, peer: Peer) -> ConnectionId {
        if let Some(id) = self.network.open_links.get(&(node, peer.clone())) {
            return *id;
        }
        let has_address = |node: &usize| {
            *peer.host == *Plan::host(*node) && self.plan.listener_at(*node, peer.port).is_some()
        };
        let to = (0..self.machines.len()).find(has_address);
        let to_life =
            to.and_then(|to| self.machines[to].process.is_some().then_some(self.machines[to].lives));
        let link = Link {
            from: node,
            from_life: self.machines[node].lives,
            peer: peer.clone(),
            to,
            to_life,
            there: Direction::default(),
            back: Direction::default(),
            asked: Some(VecDeque::new()),
            waiting: VecDeque::new(),
            is_closing: false,
        };
        let id = self.network.new_id();
        self.network.links.insert(id, link);
        self.network.open_links.insert((node, peer), id);
        id
    }

    /// Nobody listens to a link any more: the other end hears of it after all that was sent before.
    fn leave_link(&mut self, id: ConnectionId) {
        let Some(link) = self.network.links.get_mut(&id) else { return };
        link.asked = None;
        self.send_over_link(id, None, LinkMessage::HungUp);
    }

    fn send_over_link(&mut self, id: ConnectionId, api: Option<i16>, message: LinkMessage) {
        match self.network.send_over_link(id, message.is_there(), self.now, api) {
            Fate::Arrives(at) => self.schedule(at, Event::Link { connection: id, message }),
            Fate::Lost => self.marks.hit(WorldMark::NodeMessageLost),
        }
    }

    // What arrives.

    pub(super) fn on_link_message(&mut self, id: ConnectionId, message: LinkMessage) -> Result<(), Failure> {
        let Some(link) = self.network.links.get(&id) else { return Ok(()) };
        match message {
            LinkMessage::Request { request, version, body } => {
                if !self.is_answered(link) {
                    self.refuse_link(id);
                    return Ok(());
                }
                if link.is_closing {
                    return Ok(());
                }
                self.hand_over_from_node(id, request, version, body)
            }
            LinkMessage::HungUp => {
                let link = self.network.links.remove(&id).expect("it was just there");
                if !self.is_answered(&link) || link.is_closing {
                    return Ok(());
                }
                self.close_at(link.to.expect("somebody answers it"), id)
            }
            LinkMessage::Answer { request, body } => self.on_peer_answer(id, request, body),
            LinkMessage::Closed => self.on_link_closed(id),
        }
    }

    /// Whether the process that a link was opened to is there.
    fn is_answered(&self, link: &Link) -> bool {
        link.to.is_some_and(|to| {
            let machine = &self.machines[to];
            machine.process.is_some() && link.to_life == Some(machine.lives)
        })
    }

    /// A node learns that a connection to it is gone.
    fn close_at(&mut self, node: usize, id: ConnectionId) -> Result<(), Failure> {
        self.trace.event(self.now, EVENT_CLOSED).word(id.0);
        self.trace.tell(self.now, Kind::Connection, Some(node), || format!("connection {id} is gone"));
        self.step(node, Input::ConnectionClosed { connection: id })
    }

    fn hand_over_from_node(
        &mut self,
        id: ConnectionId,
        request: RequestId,
        version: i16,
        body: AnyRequest,
    ) -> Result<(), Failure> {
        let link = &self.network.links[&id];
        let (from, node) = (link.from, link.to.expect("somebody answers it"));
        let listener = self.plan.listener_at(node, link.peer.port).expect("it has this address");
        let way = Network::way(from, link.to, link.peer.channel);
        let (body, is_encoded) = self
            .network
            .request_over_the_wire(Place::NodeRequestCodec, way, version, body, self.now)
            .map_err(|sentence| self.violation("wire", sentence))?;
        self.marks.count(WorldMark::NodeRequestEncoded, u64::from(is_encoded));
        if let Some(directory) = directory_of_fetch(&body)
            && let Some(moment) = self.machines[node].moment(node, self.now)
        {
            self.quorum_checks.on_fetched_by(moment, from, directory);
        }
        let (api, candidacy) = (body.api_key(), candidacy_of(&body));
        let waiting = Waiting { request, version, api, produced: Vec::new(), candidacy, answer: None };
        self.network.links.get_mut(&id).expect("it was just there").waiting.push_back(waiting);
        let hash = self.trace.event(self.now, EVENT_REQUEST);
        hash.word(id.0);
        hash.word(request.0);
        let mut writer = Writer::with_capacity(256);
        let encoded = body.encode(version, &mut writer);
        assert_eq!(encoded, Ok(()), "it was encoded when it was asked");
        transcript::hash_encoded(hash, writer);
        let topics = Topics { names: &self.topic_names, ids: &self.topic_ids };
        self.trace.tell(self.now, Kind::Request, Some(node), || {
            format!("node {from} connection {id} request {request}: {}", transcript::request(&body, topics))
        });
        let context = RequestContext {
            api_version: version,
            client_id: None,
            client_address: Plan::CLIENT_ADDRESS,
            listener: Str::from_static(listener),
        };
        let body = RequestBody::Other(body);
        self.step(node, Input::Request { connection: id, request, context, body })
    }

    // The node that is asked. It knows connections by their numbers alone.

    /// Notes an answer, and sends what is then first in its link's order.
    pub(super) fn answer_over_link(
        &mut self,
        id: ConnectionId,
        request: RequestId,
        answer: Option<AnyResponse>,
    ) -> Result<(), Failure> {
        let Some(link) = self.network.links.get_mut(&id) else { return Ok(()) };
        let Some(waiting) = link.waiting.iter_mut().find(|waiting| waiting.request == request) else {
            let sentence =
                format!("connection {id} gets an answer to request {request}, which does not wait");
            return Err(self.violation("answers", sentence));
        };
        if waiting.answer.is_some() {
            let sentence = format!("request {request} of connection {id} is answered twice");
            return Err(self.violation("answers", sentence));
        }
        waiting.answer = Some(answer);
        while let Some(link) = self.network.links.get_mut(&id)
            && let Some(Waiting { answer: Some(_), .. }) = link.waiting.front()
        {
            let Waiting { request, version, api, answer, .. } =
                link.waiting.pop_front().expect("it was just there");
            let way = Network::way(link.from, link.to, link.peer.channel);
            let Some(body) = answer.flatten() else { continue };
            let place = Place::NodeResponseCodec;
            let body = self.network.response_over_the_wire(place, way, api, version, body, self.now);
            let (body, is_encoded) = body.map_err(|sentence| self.violation("wire", sentence))?;
            self.marks.count(WorldMark::NodeResponseEncoded, u64::from(is_encoded));
            self.send_over_link(id, Some(api.as_i16()), LinkMessage::Answer { request, body });
        }
        Ok(())
    }

    /// Looks at what a node answers another.
    pub(super) fn judge_over_link(
        &mut self,
        node: usize,
        id: ConnectionId,
        request: RequestId,
        body: &AnyResponse,
    ) -> Result<(), Failure> {
        if let AnyResponse::Fetch(response) = body
            && let Some(told) = told_high_watermark(response)
        {
            return Ok(self.quorum_checks.on_told_high_watermark(node, told)?);
        }
        if let AnyResponse::ApiVersions(response) = body {
            return Ok(self.quorum_checks.on_told_features(node, response)?);
        }
        let AnyResponse::Vote(response) = body else { return Ok(()) };
        let waiting = self.network.links.get(&id).map(|link| &link.waiting);
        let waiting = waiting.and_then(|waiting| waiting.iter().find(|waiting| waiting.request == request));
        let Some(Candidacy { epoch, candidate }) = waiting.and_then(|waiting| waiting.candidacy) else {
            return Ok(());
        };
        let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        if partitions.any(|partition| partition.vote_granted) && self.machines[node].own_disk.is_none() {
            self.quorum_checks.on_vote(node, epoch, candidate, &self.machines[node].disk)?;
        }
        Ok(())
    }

    /// The version in which an answer must be, if it is one to a request that came over a link.
    pub(super) fn version_over_link(&self, id: ConnectionId, request: RequestId) -> Option<i16> {
        let waiting = &self.network.links.get(&id)?.waiting;
        waiting.iter().find(|waiting| waiting.request == request).map(|waiting| waiting.version)
    }

    /// The node that is asked closes the link.
    pub(super) fn close_link(&mut self, id: ConnectionId) {
        let Some(link) = self.network.links.get_mut(&id).filter(|link| !link.is_closing) else { return };
        link.is_closing = true;
        self.send_over_link(id, None, LinkMessage::Closed);
        let node = self.network.links[&id].to.expect("somebody closes it");
        let life = self.machines[node].lives;
        self.schedule(self.now, Event::LinkClosedHere { node, life, connection: id });
    }

    /// A node has closed a link, and learns that it is closed.
    pub(super) fn on_link_closed_here(
        &mut self,
        node: usize,
        life: u64,
        id: ConnectionId,
    ) -> Result<(), Failure> {
        if self.machines[node].lives != life {
            return Ok(());
        }
        self.close_at(node, id)
    }

    // What comes back.

    fn on_peer_answer(
        &mut self,
        id: ConnectionId,
        request: RequestId,
        body: AnyResponse,
    ) -> Result<(), Failure> {
        let link = self.network.links.get_mut(&id).expect("a message arrived over it");
        let node = link.from;
        if !self.machines[node].is_in_life(link.from_life) {
            return Ok(());
        }
        let Some(asked) = &mut link.asked else {
            self.marks.hit(WorldMark::NodeAnswerTooLate);
            return Ok(());
        };
        asked.retain(|other| *other != request);
        let peer = link.peer.clone();
        let hash = self.trace.event(self.now, EVENT_ANSWER);
        hash.word(id.0);
        hash.word(request.0);
        let topics = Topics { names: &self.topic_names, ids: &self.topic_ids };
        self.trace.tell(self.now, Kind::Answer, Some(node), || {
            format!("{peer:?} request {request}: {}", transcript::response(&body, topics))
        });
        self.step(node, Input::PeerAnswered { request, result: Ok(body) })
    }

    fn on_link_closed(&mut self, id: ConnectionId) -> Result<(), Failure> {
        let link = self.network.links.remove(&id).expect("a message arrived over it");
        let Link { from, from_life, peer, asked, .. } = link;
        if self.network.open_links.get(&(from, peer.clone())) == Some(&id) {
            self.network.open_links.remove(&(from, peer.clone()));
        }
        for request in asked.into_iter().flatten() {
            if !self.machines[from].is_in_life(from_life) {
                break;
            }
            let hash = self.trace.event(self.now, EVENT_ANSWER);
            hash.word(id.0);
            hash.word(request.0);
            self.trace.tell(self.now, Kind::Answer, Some(from), || {
                format!("{peer:?} request {request}: no connection")
            });
            self.marks.hit(WorldMark::NodeDisconnected);
            let result = Err(PeerFault::Disconnected);
            self.step(from, Input::PeerAnswered { request, result })?;
        }
        Ok(())
    }

    // What befalls links.

    /// Nobody answers at the other end: its kernel says so, if it has power.
    fn refuse_link(&mut self, id: ConnectionId) {
        let Some(link) = self.network.links.get(&id) else { return };
        match link.to.filter(|to| !self.machines[*to].is_powered) {
            Some(to) => self.machines[to].links_reset_at_start.push(id),
            None => self.send_over_link(id, None, LinkMessage::Closed),
        }
    }

    /// The process of a node has ended: its links end at the other side.
    pub(super) fn forget_links(&mut self, node: usize) {
        let machine = &self.machines[node];
        let life = machine.lives;
        self.network.open_links.retain(|(from, _), _| *from != node);
        let opened = |link: &Link| link.from == node && link.from_life == life && link.asked.is_some();
        let leads_here = |link: &Link| link.to == Some(node) && link.to_life == Some(life);
        let concerned = self.network.links.iter().filter(|(_, link)| opened(link) || leads_here(link));
        let concerned: Vec<(ConnectionId, bool)> =
            concerned.map(|(id, link)| (*id, link.from == node)).collect();
        for (id, is_opener) in concerned {
            if !is_opener {
                if !self.network.links[&id].is_closing {
                    self.refuse_link(id);
                }
            } else if self.machines[node].is_powered {
                self.leave_link(id);
            } else {
                self.network.links.get_mut(&id).expect("it was just there").asked = None;
                self.machines[node].links_reset_at_start.push(id);
            }
        }
    }

    /// A machine that has its power again tells whoever has a link with it that there is none.
    pub(super) fn reset_links(&mut self, node: usize) {
        for id in std::mem::take(&mut self.machines[node].links_reset_at_start) {
            match self.network.links.get(&id) {
                Some(link) if link.from == node => self.leave_link(id),
                Some(_) => self.refuse_link(id),
                None => {}
            }
        }
    }

    /// Resets the links that a node opened to another: both ends hear of it at once.
    pub(super) fn reset_nodes(&mut self, from: usize, to: usize) {
        let concerned = self.network.links.iter().filter(|(_, link)| {
            link.from == from && link.to == Some(to) && link.asked.is_some() && !link.is_closing
        });
        let concerned: Vec<(ConnectionId, Option<u64>)> =
            concerned.map(|(id, link)| (*id, link.to_life)).collect();
        for (connection, life) in concerned {
            self.marks.hit(WorldMark::NodeReset);
            self.schedule(self.now, Event::Link { connection, message: LinkMessage::Closed });
            if let Some(life) = life {
                self.schedule(self.now, Event::LinkClosedHere { node: to, life, connection });
            }
        }
    }
}

/// From which offset of the metadata log on a fetch asks.
fn offset_of_metadata(fetch: &FetchRequest) -> Option<i64> {
    let topic = fetch.topics.iter().find(|topic| topic.topic_id == transcript::METADATA_TOPIC_ID)?;
    topic.partitions.first().map(|partition| partition.fetch_offset)
}

/// The directory of the log that somebody follows with who asks for more of it.
#[expect(clippy::wildcard_enum_match_arm, reason = "these are the two ways to ask for more")]
fn directory_of_fetch(body: &AnyRequest) -> Option<Uuid> {
    match body {
        AnyRequest::Fetch(request) => {
            let topics =
                request.topics.iter().filter(|topic| topic.topic_id == transcript::METADATA_TOPIC_ID);
            let mut partitions = topics.flat_map(|topic| &topic.partitions);
            partitions.next().map(|partition| partition.replica_directory_id)
        }
        AnyRequest::FetchSnapshot(request) => {
            let mut partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.next().map(|partition| partition.replica_directory_id)
        }
        _ => None,
    }
}

/// The high watermark of the metadata log that an answer tells, if it is about that log.
fn told_high_watermark(response: &FetchResponse) -> Option<i64> {
    let topic = response.responses.iter().find(|topic| topic.topic_id == transcript::METADATA_TOPIC_ID)?;
    topic.partitions.first().map(|partition| partition.high_watermark)
}

/// Who asks to be voted for, if somebody does and means it.
fn candidacy_of(body: &AnyRequest) -> Option<Candidacy> {
    let AnyRequest::Vote(request) = body else { return None };
    let partition = request.topics.first()?.partitions.first().filter(|partition| !partition.pre_vote)?;
    Some(Candidacy { epoch: partition.replica_epoch, candidate: partition.replica_id })
}

fn hash_peer(hash: &mut crate::trace::Hash64, peer: &Peer) {
    hash.bytes(peer.host.as_bytes());
    hash.word(u64::from(peer.port));
    hash.word(peer.channel as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{CrashKind, NetworkPlan, Range};
    use crate::trace::Telling;
    use crate::world::network::{LinkFault, LinkFaultKind};
    use sordini_protocol::messages::ApiVersionsRequest;

    /// Two nodes that run, with a way of exactly a millisecond between them.
    fn two_nodes() -> World {
        let idle = Plan::idle();
        let node = idle.nodes[0].clone();
        let network = NetworkPlan { between_nodes_us: Range::exactly(1_000), ..idle.network };
        let plan = Plan { nodes: vec![node.clone(), node], network, ..idle };
        let mut world = World::new(&plan, Telling::Everything);
        run_for(&mut world, 2_000_000);
        assert!((0..2).all(|node| world.machines[node].is_running()));
        world
    }

    fn run_for(world: &mut World, us: u64) {
        let until = world.now + us;
        // So that there is something to happen at that time.
        world.schedule(until, Event::ClientWake { seat: usize::MAX });
        while world.now < until {
            assert_eq!(world.go_on(), Ok(true));
        }
    }

    fn peer() -> Peer {
        let host = Plan::host(1).into();
        Peer { host, port: Plan::CONTROLLER_PORT, channel: Channel::Election }
    }

    fn ask(world: &mut World, request: u64) {
        let body = ApiVersionsRequest::default().into();
        assert_eq!(world.on_ask(0, peer(), RequestId(request), 3, body), Ok(()));
    }

    /// What the first node was answered since `from`: after how many microseconds, to which request, and whether there was
    /// an answer.
    fn answers(world: &World, from: u64) -> Vec<(u64, u64, bool)> {
        let lines = world.trace.lines().iter();
        let lines =
            lines.filter(|line| line.kind == Kind::Answer && line.node == Some(0) && line.at_us >= from);
        lines
            .map(|line| {
                let request =
                    line.text.split(' ').nth(2).and_then(|word| word.trim_end_matches(':').parse().ok());
                (line.at_us - from, request.expect("a number"), !line.text.ends_with("no connection"))
            })
            .collect()
    }

    fn befall(world: &mut World, from: usize, to: usize, how: LinkFaultKind) {
        let until = world.now + 50_000;
        let (from, to) = (End::Node(from), End::Node(to));
        world.network.inject(world.now, LinkFault { from, to, until, how });
    }

    fn hears_that_a_connection_is_gone(world: &World, from: u64) -> bool {
        let mut lines = world.trace.lines().iter();
        lines.any(|line| line.kind == Kind::Connection && line.node == Some(1) && line.at_us >= from)
    }

    #[test]
    fn a_node_is_answered_after_the_way_there_and_back() {
        let mut world = two_nodes();
        let from = world.now;
        ask(&mut world, 1);
        ask(&mut world, 2);
        run_for(&mut world, 10_000);
        assert_eq!(answers(&world, from), [(2_000, 1, true), (2_000, 2, true)]);
        assert_eq!(world.network.links.len(), 1, "both went over one connection");
    }

    #[test]
    fn a_node_without_a_process_refuses_and_one_without_power_says_nothing_until_it_has_it_again() {
        let mut world = two_nodes();
        world.crash(1, CrashKind::Kill, 100_000).expect("nothing is lost");
        let from = world.now;
        ask(&mut world, 1);
        run_for(&mut world, 200_000);
        assert_eq!(answers(&world, from), [(2_000, 1, false)]);
        assert!(world.network.links.is_empty());

        world.crash(1, CrashKind::PowerLoss, 100_000).expect("nothing is lost");
        let from = world.now;
        ask(&mut world, 2);
        run_for(&mut world, 200_000);
        assert_eq!(answers(&world, from), [(101_000, 2, false)]);
        assert!(world.network.links.is_empty());
    }

    #[test]
    fn a_process_that_dies_takes_its_links_with_it_at_both_ends() {
        let mut world = two_nodes();
        ask(&mut world, 1);
        run_for(&mut world, 10_000);
        let from = world.now;
        world.crash(1, CrashKind::Kill, 100_000).expect("nothing is lost");
        run_for(&mut world, 10_000);
        assert!(world.network.links.is_empty() && world.network.open_links.is_empty());
        assert_eq!(answers(&world, from), [], "nothing was waited for");

        run_for(&mut world, 1_000_000);
        ask(&mut world, 2);
        run_for(&mut world, 10_000);
        let from = world.now;
        world.crash(0, CrashKind::Kill, 100_000).expect("nothing is lost");
        run_for(&mut world, 10_000);
        assert!(hears_that_a_connection_is_gone(&world, from));
        assert!(world.network.links.is_empty() && world.network.open_links.is_empty());
    }

    #[test]
    fn what_is_asked_before_hanging_up_is_heard_and_not_answered() {
        let mut world = two_nodes();
        let from = world.now;
        ask(&mut world, 1);
        world.on_hang_up(0, &peer());
        ask(&mut world, 2);
        run_for(&mut world, 10_000);
        assert_eq!(answers(&world, from), [(2_000, 2, true)]);
        assert!(hears_that_a_connection_is_gone(&world, from));
        let mut requests = world.trace.lines().iter();
        assert!(requests.any(|line| line.node == Some(1) && line.text.contains("request 1: ApiVersions")));
        assert_eq!(world.network.links.len(), 1, "a new connection took the place of the old");
    }

    #[test]
    fn links_are_cut_and_lose_messages_in_one_direction() {
        let mut world = two_nodes();
        befall(&mut world, 1, 0, LinkFaultKind::Cut);
        let from = world.now;
        ask(&mut world, 1);
        run_for(&mut world, 100_000);
        assert_eq!(answers(&world, from), [(51_000, 1, true)], "it was sent again when the link was whole");

        befall(&mut world, 0, 1, LinkFaultKind::Drop { api: Some(52) });
        let from = world.now;
        ask(&mut world, 2);
        run_for(&mut world, 100_000);
        assert_eq!(answers(&world, from), [(2_000, 2, true)], "only votes are lost");

        befall(&mut world, 0, 1, LinkFaultKind::Drop { api: Some(18) });
        let from = world.now;
        ask(&mut world, 3);
        run_for(&mut world, 100_000);
        ask(&mut world, 4);
        world.reset_nodes(0, 1);
        run_for(&mut world, 10_000);
        assert_eq!(answers(&world, from), [(100_000, 3, false), (100_000, 4, false)]);
        assert!(hears_that_a_connection_is_gone(&world, from));
    }

    #[test]
    fn an_address_that_nobody_has_is_no_connection() {
        let mut world = two_nodes();
        let nobody = Peer { host: "localhost".into(), ..peer() };
        let from = world.now;
        let body = ApiVersionsRequest::default().into();
        assert_eq!(world.on_ask(0, nobody, RequestId(1), 3, body), Ok(()));
        run_for(&mut world, 10_000);
        assert_eq!(answers(&world, from), [(2_000, 1, false)]);
    }

    #[test]
    fn a_node_that_pauses_hears_nothing() {
        let mut world = two_nodes();
        world.machines[1].paused_until = world.now + 30_000;
        let from = world.now;
        ask(&mut world, 1);
        run_for(&mut world, 100_000);
        assert_eq!(answers(&world, from), [(31_000, 1, true)]);
        world.machines[0].paused_until = world.now + 30_000;
        let from = world.now;
        ask(&mut world, 2);
        run_for(&mut world, 100_000);
        assert_eq!(answers(&world, from), [(30_000, 2, true)]);
    }
}
