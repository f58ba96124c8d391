//! One client connection: reads requests, hands them to the driver, sends the answers in the order of the requests.

use crate::driver::Driver;
use crate::net::Shared;
use crate::net::answers::{Answers, Ending};
use crate::net::frames::{FrameError, FrameReader};
use crate::net::stream::ClientStream;
use crate::net::writer::AnswerWriter;
use bytes::Bytes;
use sordini_core::ids::{ConnectionId, RequestId};
use sordini_core::node::{Input, RequestBody, RequestContext};
use sordini_core::produce_request::JudgedProduce;
use sordini_protocol::api_key::ApiKey;
use sordini_protocol::frame::{RequestError, decode_request};
use sordini_protocol::request::AnyRequest;
use sordini_protocol::wire::Str;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;

/// The most requests of one connection that are in progress; the next is not read before one is answered.
const REQUESTS_MAX: usize = 16;
/// A connection with this much to send is not read from: a client that does not take its answers gets no more of them.
const UNSENT_BYTES_MAX: usize = 1 << 20;
/// After reading this much, a connection lets others take their turn.
const TURN_BYTES: usize = 256 << 10;

/// Serves a client until either side ends it.
///
/// `peer` names the client in the log.
pub async fn serve<S: ClientStream>(
    driver: Rc<Driver>,
    shared: Shared,
    stream: S,
    listener: Str,
    peer: SocketAddr,
) {
    let (id, answers) = driver.connect();
    tracing::debug!(connection = id.0, %peer, "connected");
    let goodbye = Goodbye { driver: Rc::clone(&driver), id };
    let mut connection = Connection {
        driver,
        shared,
        stream,
        listener,
        client_address: peer.ip(),
        id,
        answers,
        reader: FrameReader::default(),
        writer: AnswerWriter::default(),
        judging: None,
    };
    let end = poll_fn(|cx| connection.poll(cx)).await;
    match &end {
        End::Closed => tracing::debug!(connection = id.0, %peer, "closed"),
        End::Io(error) => tracing::debug!(connection = id.0, %peer, %error, "lost"),
        End::Refused(reason) => match connection.shared.refusals.admit() {
            Some(suppressed) => {
                tracing::warn!(connection = id.0, %peer, suppressed, "closed the connection: {reason}");
            }
            None => tracing::debug!(connection = id.0, %peer, "closed the connection: {reason}"),
        },
    }
    // The socket closes before the node hears of it.
    drop(connection);
    drop(goodbye);
}

/// Tells the node of the end even if the connection's task panicked or was cancelled.
struct Goodbye {
    driver: Rc<Driver>,
    id: ConnectionId,
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.driver.disconnect(self.id);
    }
}

/// How a connection ended.
enum End {
    Closed,
    Io(io::Error),
    Refused(Refusal),
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("a request of {0} bytes is refused (socket.request.max.bytes)")]
    Size(i32),
    #[error("{0}")]
    Request(RequestError),
    #[error("judging its records failed: {0}")]
    Judging(tokio::task::JoinError),
}

struct Connection<S> {
    driver: Rc<Driver>,
    shared: Shared,
    stream: S,
    listener: Str,
    client_address: IpAddr,
    id: ConnectionId,
    answers: Rc<Answers>,
    reader: FrameReader,
    writer: AnswerWriter,
    /// A request whose records another thread judges; the next is not read before.
    judging: Option<Box<Judging>>,
}

struct Judging {
    request: RequestId,
    context: RequestContext,
    judged: JoinHandle<JudgedProduce>,
}

impl<S: ClientStream> Connection<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        // What is answered while this runs is sent before it returns; only then there is somebody to wake.
        self.answers.disarm();
        let polled = self.poll_until_blocked(cx);
        if polled.is_pending() {
            self.answers.arm(cx.waker());
        }
        polled
    }

    fn poll_until_blocked(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut turn_bytes = 0;
        loop {
            if self.answers.ending() == Ending::AtOnce {
                return Poll::Ready(End::Closed);
            }
            // Requests that came together are answered together.
            if !self.reader.has_frame() || !self.has_room() || self.answers.ending() != Ending::No {
                match self.writer.poll_flush(cx, &mut self.stream, &self.answers, self.driver.warmer()) {
                    Poll::Ready(Err(error)) => return Poll::Ready(End::Io(error)),
                    Poll::Ready(Ok(())) if self.answers.ending() != Ending::No => {
                        return Poll::Ready(End::Closed);
                    }
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            if let Some(judging) = &mut self.judging {
                match Pin::new(&mut judging.judged).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(End::Refused(Refusal::Judging(error))),
                    Poll::Ready(Ok(judged)) => {
                        if let Some(judging) = self.judging.take() {
                            self.submit(judging.request, judging.context, RequestBody::Produce(judged));
                        }
                        continue;
                    }
                }
            }
            if self.answers.ending() != Ending::No || !self.has_room() {
                return Poll::Pending;
            }
            if turn_bytes > TURN_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let polled = self.reader.poll_frame(cx, &mut self.stream, &self.shared);
            self.answers.is_amid_large_frame.set(self.reader.is_amid_large_frame());
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(frame)) => {
                    self.answers.moved.set(true);
                    turn_bytes += frame.len() + PER_FRAME;
                    if let Err(refusal) = self.on_frame(frame) {
                        return Poll::Ready(End::Refused(refusal));
                    }
                }
                Poll::Ready(Err(FrameError::End)) => return Poll::Ready(End::Closed),
                Poll::Ready(Err(FrameError::Io(error))) => return Poll::Ready(End::Io(error)),
                Poll::Ready(Err(FrameError::Size(size))) => {
                    return Poll::Ready(End::Refused(Refusal::Size(size)));
                }
            }
        }
    }

    /// Whether another request may be read.
    fn has_room(&self) -> bool {
        let (requests, memory) = self.answers.load();
        requests < REQUESTS_MAX && memory + self.writer.memory() < UNSENT_BYTES_MAX
    }

    fn on_frame(&mut self, frame: Bytes) -> Result<(), Refusal> {
        let (header, request) = match decode_request(frame) {
            Ok(decoded) => decoded,
            Err(RequestError::UnsupportedApiVersions { header }) => {
                let request = self.answers.expect(header.correlation_id, ApiKey::ApiVersions);
                let context = self.context(header.request_api_version, header.client_id);
                self.submit(request, context, RequestBody::UnsupportedApiVersions);
                return Ok(());
            }
            Err(error) => return Err(Refusal::Request(error)),
        };
        let version = header.request_api_version;
        let id = self.answers.expect(header.correlation_id, request.api_key());
        let context = self.context(version, header.client_id);
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "every other API is alike here, and so will be the next"
        )]
        let body = match request {
            // A few bytes may unfold to many: everybody would wait for them on this thread.
            AnyRequest::Produce(produce) if JudgedProduce::is_costly(&produce) => {
                let judged = tokio::task::spawn_blocking(move || JudgedProduce::judge(produce, version));
                self.judging = Some(Box::new(Judging { request: id, context, judged }));
                return Ok(());
            }
            AnyRequest::Produce(produce) => RequestBody::Produce(JudgedProduce::judge(produce, version)),
            request => RequestBody::Other(request),
        };
        self.submit(id, context, body);
        Ok(())
    }

    fn context(&self, api_version: i16, client_id: Option<Str>) -> RequestContext {
        let (client_address, listener) = (self.client_address, self.listener.clone());
        RequestContext { api_version, client_id, client_address, listener }
    }

    fn submit(&self, request: RequestId, context: RequestContext, body: RequestBody) {
        self.driver.submit(Input::Request { connection: self.id, request, context, body });
    }
}

/// What a small request takes besides its bytes, in bytes that take as long to read.
const PER_FRAME: usize = 4 << 10;
