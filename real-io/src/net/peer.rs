//! Connections that the node opens to other nodes: one for each peer it asks something, made when it is first needed and
//! again when it is needed after it ended. The node decides when to try again and how long to wait.

use crate::driver::Driver;
use bytes::{Bytes, BytesMut};
use sordini_core::ids::RequestId;
use sordini_core::node::Input;
use sordini_core::peer::{Peer, PeerFault};
use sordini_protocol::api_key::ApiKey;
use sordini_protocol::frame::{decode_response, encode_request};
use sordini_protocol::messages::RequestHeader;
use sordini_protocol::request::AnyRequest;
use sordini_protocol::wire::{EncodeError, Spliced};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::{Rc, Weak};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// The longest answer that is taken from another node. A controller is asked for a mebibyte of log at a time, and gets one
/// batch more than that at most.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The connections to other nodes.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    links: BTreeMap<Peer, Link>,
    opened: u64,
    /// How many questions there were, which gives each its correlation id.
    asked: i32,
}

#[derive(Debug)]
struct Link {
    number: u64,
    questions: UnboundedSender<Question>,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Question {
    frame: Bytes,
    asked: Asked,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    request: RequestId,
    correlation_id: i32,
    api_key: ApiKey,
    version: i16,
}

impl Peers {
    /// Sends a request to a peer; the driver hears of the answer, or that there will be none.
    ///
    /// # Errors
    ///
    /// The request cannot be written in that version.
    pub(crate) fn ask(
        &mut self,
        driver: &Weak<Driver>,
        peer: Peer,
        request: RequestId,
        version: i16,
        body: &AnyRequest,
    ) -> Result<(), EncodeError> {
        let api_key = body.api_key();
        self.asked = self.asked.wrapping_add(1);
        let correlation_id = self.asked;
        let header = RequestHeader {
            request_api_key: api_key.as_i16(),
            request_api_version: version,
            correlation_id,
            ..RequestHeader::default()
        };
        let encoded = encode_request(&header, body)?;
        let mut frame = BytesMut::with_capacity(encoded.bytes.len());
        let mut from = 0;
        for splice in &encoded.splices {
            frame.extend_from_slice(&encoded.bytes[from..splice.at]);
            from = splice.at;
            match &splice.what {
                Spliced::Bytes(bytes) => frame.extend_from_slice(bytes),
                Spliced::Stored(range) => unreachable!("no request carries what lies in {}", range.file),
            }
        }
        frame.extend_from_slice(&encoded.bytes[from..]);
        let asked = Asked { request, correlation_id, api_key, version };
        let mut question = Question { frame: frame.freeze(), asked };
        if let Some(link) = self.links.get(&peer) {
            match link.questions.send(question) {
                Ok(()) => return Ok(()),
                // It has just ended and has not been taken out of the list.
                Err(unsent) => question = unsent.0,
            }
        }
        self.opened += 1;
        let number = self.opened;
        let (questions, to_link) = unbounded_channel();
        assert!(questions.send(question).is_ok(), "the other end is there");
        let task = tokio::task::spawn_local(run(Weak::clone(driver), peer.clone(), number, to_link));
        self.links.insert(peer, Link { number, questions, task });
        Ok(())
    }

    /// Gives up the connection to a peer.
    pub(crate) fn hang_up(&mut self, peer: &Peer) {
        self.links.remove(peer);
    }

    /// The connection of this number is over.
    pub(crate) fn forget(&mut self, peer: &Peer, number: u64) {
        if self.links.get(peer).is_some_and(|link| link.number == number) {
            self.links.remove(peer);
        }
    }
}

/// Runs one connection from its making to its end, and tells the driver of whatever has no answer then.
async fn run(driver: Weak<Driver>, peer: Peer, number: u64, mut questions: UnboundedReceiver<Question>) {
    let mut waiting = VecDeque::new();
    let end = converse(&driver, &peer, &mut questions, &mut waiting).await;
    let Some(driver) = driver.upgrade() else { return };
    if let Err(error) = end {
        tracing::debug!(?peer, %error, "the connection to another node ended");
    }
    questions.close();
    let unsent = std::iter::from_fn(|| questions.try_recv().ok()).map(|question| question.asked);
    let unanswered: Vec<Asked> = waiting.into_iter().chain(unsent).collect();
    driver.end_link(&peer, number, unanswered.iter().map(|asked| asked.request));
}

async fn converse(
    driver: &Weak<Driver>,
    peer: &Peer,
    questions: &mut UnboundedReceiver<Question>,
    waiting: &mut VecDeque<Asked>,
) -> io::Result<()> {
    let stream = TcpStream::connect((&*peer.host, peer.port)).await?;
    stream.set_nodelay(true)?;
    let (mut from_peer, mut to_peer) = stream.into_split();
    let mut frame = Frame::default();
    loop {
        tokio::select! {
            question = questions.recv() => {
                let Some(Question { frame, asked }) = question else { return Ok(()) };
                waiting.push_back(asked);
                // Questions are small and few at a time. A peer that takes none of them is given up by the node.
                to_peer.write_all(&frame).await?;
            }
            answer = frame.read(&mut from_peer) => {
                let answer = answer?;
                let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
                let asked = waiting.front().ok_or_else(|| invalid("an answer to no question".to_owned()))?;
                let (header, body) = decode_response(asked.api_key, asked.version, answer)
                    .map_err(|error| invalid(format!("no answer to {}: {error}", asked.api_key)))?;
                if header.correlation_id != asked.correlation_id {
                    return Err(invalid("an answer to another question".to_owned()));
                }
                let request = asked.request;
                waiting.pop_front();
                let Some(driver) = driver.upgrade() else { return Ok(()) };
                driver.submit(Input::PeerAnswered { request, result: Ok(body) });
            }
        }
    }
}

/// A frame as far as it has arrived. Reading it may be given up at any point and gone on with.
#[derive(Debug, Default)]
struct Frame {
    arrived: BytesMut,
}

impl Frame {
    /// The next frame, without its size.
    async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
        loop {
            if let Some(size) = self.arrived.first_chunk::<4>() {
                let size = i32::from_be_bytes(*size);
                let size =
                    usize::try_from(size).ok().filter(|size| *size <= ANSWER_BYTES_MAX).ok_or_else(|| {
                        io::Error::new(io::ErrorKind::InvalidData, format!("an answer of {size} bytes"))
                    })?;
                if self.arrived.len() >= 4 + size {
                    let mut frame = self.arrived.split_to(4 + size);
                    return Ok(frame.split_off(4).freeze());
                }
            }
            if stream.read_buf(&mut self.arrived).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Driver {
    /// A connection to another node is over, with these requests unanswered.
    fn end_link(self: Rc<Self>, peer: &Peer, number: u64, unanswered: impl Iterator<Item = RequestId>) {
        self.forget_link(peer, number);
        for request in unanswered {
            self.submit(Input::PeerAnswered { request, result: Err(PeerFault::Disconnected) });
        }
    }
}
