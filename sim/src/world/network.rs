//! Connections between clients and nodes, and what befalls the ways that these and those between nodes take.

use super::links::Link;
use crate::check::Acknowledged;
use crate::field::{Answer, Field, Place};
use crate::plan::{End, NetworkPlan};
use bytes::{Buf as _, Bytes, BytesMut};
use sordini_core::ids::{ConnectionId, RequestId};
use sordini_core::peer::Peer;
use sordini_protocol::api_key::ApiKey;
use sordini_protocol::frame;
use sordini_protocol::messages::RequestHeader;
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Encoded, Spliced};
use std::collections::{BTreeMap, VecDeque};

/// A connection, as the node's shell has it.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Who opened it, by place in the world.
    pub(super) seat: usize,
    pub(super) client: u64,
    pub(super) node: usize,
    /// The life of the node's process it was opened to; nothing if there was none.
    pub(super) life: Option<u64>,
    /// Whether it carries nothing but a late duplicate, whose answer nobody awaits.
    pub(super) is_duplicate: bool,
    pub(super) to_node: Direction,
    pub(super) to_client: Direction,
    /// Requests without an answer, in their order. Answers leave in that order.
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) is_closing: bool,
}

/// One direction of a connection: a stream, which keeps its order and skips nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Direction {
    /// When the last message arrives.
    last: u64,
    /// Whether a message was lost: nothing that was sent behind it arrives either.
    is_dead: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) request: RequestId,
    pub(super) version: i16,
    pub(super) api: ApiKey,
    /// The batches of a produce request, to compare acknowledgements with.
    pub(super) produced: Vec<Acknowledged>,
    /// What it asks to be voted for, if it does.
    pub(super) candidacy: Option<Candidacy>,
    /// What the node answered, once it has; nothing in it for acks=0.
    pub(super) answer: Option<Option<AnyResponse>>,
}

/// A request to be voted for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidacy {
    pub(super) epoch: i32,
    pub(super) candidate: i32,
}

/// Something that befalls a link for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkFault {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) until: u64,
    pub(super) how: LinkFaultKind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum LinkFaultKind {
    Cut,
    Drop { api: Option<i16> },
    Clog { by_us: u64 },
    Duplicate { after_us: u64 },
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives at this time.
    Arrives(u64),
    /// It never arrives.
    Lost,
}

#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) field: Field,
    pub(super) plan: NetworkPlan,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    /// Connections between nodes.
    pub(super) links: BTreeMap<ConnectionId, Link>,
    /// The link that each node has to each of its peers.
    pub(super) open_links: BTreeMap<(usize, Peer), ConnectionId>,
    opened: u64,
    faults: Vec<LinkFault>,
    /// How many messages waited for a cut link.
    pub(super) held: u64,
}

impl Network {
    pub(super) const fn new(field: Field, plan: NetworkPlan) -> Self {
        Self {
            field,
            plan,
            connections: BTreeMap::new(),
            links: BTreeMap::new(),
            open_links: BTreeMap::new(),
            opened: 0,
            faults: Vec::new(),
            held: 0,
        }
    }

    pub(super) const fn change_weather(&mut self, field: Field) {
        self.field = field;
    }

    /// A connection's name, which no other had or gets.
    pub(super) const fn new_id(&mut self) -> ConnectionId {
        self.opened += 1;
        ConnectionId(self.opened)
    }

    pub(super) fn open(&mut self, seat: usize, client: u64, node: usize, life: Option<u64>) -> ConnectionId {
        let id = self.new_id();
        let connection = Connection {
            seat,
            client,
            node,
            life,
            is_duplicate: false,
            to_node: Direction::default(),
            to_client: Direction::default(),
            waiting: VecDeque::new(),
            is_closing: false,
        };
        self.connections.insert(id, connection);
        id
    }

    pub(super) fn inject(&mut self, now: u64, fault: LinkFault) {
        self.faults.retain(|active| active.until > now);
        self.faults.push(fault);
    }

    /// Whether nothing befalls any link any more.
    pub(super) fn is_healed(&self, now: u64) -> bool {
        self.faults.iter().all(|fault| fault.until <= now)
    }

    fn faults_of(&self, from: End, to: End, now: u64) -> impl Iterator<Item = LinkFaultKind> {
        let concerns = move |fault: &&LinkFault| fault.until > now && (fault.from, fault.to) == (from, to);
        self.faults.iter().filter(concerns).map(|fault| fault.how)
    }

    /// How much later a request that is sent arrives once more.
    pub(super) fn duplicates_after(&self, client: u64, node: usize, now: u64) -> Option<u64> {
        self.faults_of(End::Client(client), End::Node(node), now).find_map(|how| match how {
            LinkFaultKind::Duplicate { after_us } => Some(after_us),
            LinkFaultKind::Cut | LinkFaultKind::Drop { .. } | LinkFaultKind::Clog { .. } => None,
        })
    }

    /// When a message takes its way from a client to a node without a connection of its own.
    pub(super) fn delay_to_client(&self, client: u64, now: u64) -> u64 {
        let range = self.plan.to_client_us;
        self.field.between(Place::ToClient, client, now, range.low, range.high)
    }

    /// Sends something to the node: a request of this API, or the end of the connection.
    pub(super) fn send_to_node(&mut self, id: ConnectionId, api: Option<ApiKey>, now: u64) -> Fate {
        let range = self.plan.to_node_us;
        let Some(connection) = self.connections.get(&id) else { return Fate::Lost };
        let (from, to) = (End::Client(connection.client), End::Node(connection.node));
        let direction = connection.to_node;
        let delay = self.field.between(Place::ToNode, connection.client, now, range.low, range.high);
        let fate = self.fate(from, to, direction, api.map(ApiKey::as_i16), now, delay);
        let connection = self.connections.get_mut(&id).expect("it was just there");
        connection.to_node.note(fate)
    }

    /// Sends something to the client.
    pub(super) fn send_to_client(&mut self, id: ConnectionId, api: Option<ApiKey>, now: u64) -> Fate {
        let Some(connection) = self.connections.get(&id) else { return Fate::Lost };
        let (from, to) = (End::Node(connection.node), End::Client(connection.client));
        let direction = connection.to_client;
        let delay = self.delay_to_client(connection.client, now);
        let fate = self.fate(from, to, direction, api.map(ApiKey::as_i16), now, delay);
        let connection = self.connections.get_mut(&id).expect("it was just there");
        connection.to_client.note(fate)
    }

    /// What becomes of a message of this API, or of the end of a connection.
    pub(super) fn fate(
        &mut self,
        from: End,
        to: End,
        direction: Direction,
        api: Option<i16>,
        now: u64,
        delay: u64,
    ) -> Fate {
        if direction.is_dead {
            return Fate::Lost;
        }
        let mut at = now + delay;
        if !self.faults.is_empty() {
            for fault in self.faults.iter().filter(|fault| fault.until > now) {
                if (fault.from, fault.to) != (from, to) {
                    continue;
                }
                match fault.how {
                    // What was lost is sent again once the link is whole.
                    LinkFaultKind::Cut => {
                        at = at.max(fault.until + delay);
                        self.held += 1;
                    }
                    LinkFaultKind::Drop { api: None } => return Fate::Lost,
                    LinkFaultKind::Drop { api: Some(key) } => {
                        if api == Some(key) {
                            return Fate::Lost;
                        }
                    }
                    LinkFaultKind::Clog { by_us } => at += by_us,
                    LinkFaultKind::Duplicate { .. } => {}
                }
            }
        }
        Fate::Arrives(at.max(direction.last))
    }

    /// Whether a message that somebody sends or gets in this moment goes through the real encoder and decoder.
    fn is_encoded(&self, place: Place, item: u64, now: u64) -> Option<Answer> {
        let mut answer = Answer(self.field.word(place, item, now));
        answer.chance(u64::from(self.plan.encoded_per_mille), 1_000).then_some(answer)
    }

    /// A request as the node gets it, decided at `place` about `item`: as it is, or after encoding, cutting and decoding.
    ///
    /// # Errors
    /// A sentence, if what comes out is not what went in.
    pub(super) fn request_over_the_wire(
        &self,
        place: Place,
        item: u64,
        version: i16,
        body: AnyRequest,
        now: u64,
    ) -> Result<(AnyRequest, bool), String> {
        let Some(mut answer) = self.is_encoded(place, item, now) else {
            return Ok((body, false));
        };
        let correlation_id = correlation_id(&mut answer);
        let header = RequestHeader {
            request_api_key: body.api_key().as_i16(),
            request_api_version: version,
            correlation_id,
            ..RequestHeader::default()
        };
        let encoded = frame::encode_request(&header, &body)
            .map_err(|error| format!("a request cannot be encoded in version {version}: {error}"))?;
        let frame = cut_and_join(&contiguous(&encoded), &mut answer)?;
        let (found, decoded) =
            frame::decode_request(frame).map_err(|error| format!("a request cannot be decoded: {error}"))?;
        if found.correlation_id != correlation_id {
            return Err(format!(
                "a request arrives as {} and was sent as {correlation_id}",
                found.correlation_id
            ));
        }
        Ok((decoded, true))
    }

    /// An answer as whoever asked gets it, decided at `place` about `item`: as it is, or after encoding, cutting and decoding.
    ///
    /// # Errors
    /// A sentence, if what comes out is not what went in.
    pub(super) fn response_over_the_wire(
        &self,
        place: Place,
        item: u64,
        api: ApiKey,
        version: i16,
        body: AnyResponse,
        now: u64,
    ) -> Result<(AnyResponse, bool), String> {
        let Some(mut answer) = self.is_encoded(place, item, now) else {
            return Ok((body, false));
        };
        let correlation_id = correlation_id(&mut answer);
        let encoded = frame::encode_response(correlation_id, api, version, &body)
            .map_err(|error| format!("an answer cannot be encoded in version {version}: {error}"))?;
        let frame = cut_and_join(&contiguous(&encoded), &mut answer)?;
        let (_, decoded) = frame::decode_response(api, version, frame)
            .map_err(|error| format!("an answer cannot be decoded: {error}"))?;
        Ok((decoded, true))
    }
}

impl Direction {
    pub(super) const fn note(&mut self, fate: Fate) -> Fate {
        match fate {
            Fate::Arrives(at) => self.last = at,
            Fate::Lost => self.is_dead = true,
        }
        fate
    }
}

/// The bytes of a message whose splices are all in memory.
fn contiguous(encoded: &Encoded) -> Bytes {
    let mut joined = BytesMut::with_capacity(encoded.bytes.len());
    let mut from = 0;
    for splice in &encoded.splices {
        joined.extend_from_slice(&encoded.bytes[from..splice.at]);
        from = splice.at;
        match &splice.what {
            Spliced::Bytes(bytes) => joined.extend_from_slice(bytes),
            Spliced::Stored(range) => unreachable!("{} was read before", range.file),
        }
    }
    joined.extend_from_slice(&encoded.bytes[from..]);
    joined.freeze()
}

fn correlation_id(answer: &mut Answer) -> i32 {
    i32::try_from(answer.below(1 << 30)).expect("thirty bits are an int32")
}

fn part_of(len: usize, answer: &mut Answer) -> usize {
    usize::try_from(answer.between(1, len as u64)).expect("a part of what lies in memory")
}

/// Cuts a frame with its size in front at random places, as a network does, and puts it together again, as a receiver
/// does: bytes are kept until the size is known, and then until that many are there.
fn cut_and_join(sent: &Bytes, answer: &mut Answer) -> Result<Bytes, String> {
    let (mut rest, mut arrived) = (sent.clone(), BytesMut::new());
    let mut frames = Vec::new();
    while rest.has_remaining() {
        let piece = rest.split_to(part_of(rest.len(), answer));
        arrived.extend_from_slice(&piece);
        while let Some(size) = arrived.first_chunk::<4>() {
            let size =
                usize::try_from(i32::from_be_bytes(*size)).map_err(|_| "a frame has a negative size")?;
            if arrived.len() < 4 + size {
                break;
            }
            arrived.advance(4);
            frames.push(arrived.split_to(size).freeze());
        }
    }
    match (frames.pop(), frames.len(), arrived.len()) {
        (Some(frame), 0, 0) => Ok(frame),
        (_, more, left) => Err(format!("one frame was sent, and {more} more and {left} bytes came out")),
    }
}
