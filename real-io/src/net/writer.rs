//! Sends answers: bytes from memory, ranges from files.

use crate::disk::{LentFile, Warmer};
use crate::net::answers::{Answers, Piece};
use crate::net::stream::ClientStream;
use bytes::{Buf as _, Bytes};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

#[derive(Debug, Default)]
pub(super) struct AnswerWriter {
    /// To be sent, in this order; none is empty.
    queue: VecDeque<Piece>,
    /// Memory that the queue takes.
    memory: usize,
    corked: bool,
    /// The range in front of the queue is known to be resident, or is being made so.
    warmth: Warmth,
}

#[derive(Debug, Default)]
enum Warmth {
    #[default]
    Unknown,
    /// A disk thread reads the range and then sets this.
    Warming(Arc<AtomicBool>),
    Warm,
}

/// The most pieces in one system call.
const SLICES: usize = 32;
/// How much of a file is read at a time where it cannot be sent directly.
const COPY_BYTES: u64 = 128 << 10;
/// How much of the queue is filled before it is written.
const QUEUE_MEMORY: usize = 256 << 10;

impl AnswerWriter {
    /// Memory that waits to be sent.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Sends what can be sent; ready when nothing is left.
    pub(super) fn poll_flush<S: ClientStream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        answers: &Answers,
        warmer: &Warmer,
    ) -> Poll<io::Result<()>> {
        loop {
            while self.memory < QUEUE_MEMORY
                && let Some(pieces) = answers.take_next()
            {
                self.memory += pieces.iter().map(Piece::memory).sum::<usize>();
                self.queue.extend(pieces);
            }
            match self.queue.front() {
                None => {
                    if self.corked {
                        stream.set_corked(false);
                        self.corked = false;
                    }
                    if self.queue.capacity() > SLICES {
                        self.queue = VecDeque::new();
                    }
                    // Bytes do not rest in the streams that buffer, such as those that encrypt.
                    return Pin::new(stream).poll_flush(cx);
                }
                Some(Piece::Bytes(_)) => ready!(self.poll_write_bytes(cx, stream))?,
                Some(Piece::File { file, position, len }) => {
                    let (file, position, len) = (Arc::clone(file), *position, *len);
                    ready!(self.poll_warm(cx, warmer, &file, position, len));
                    ready!(self.poll_send_file(cx, stream, &file, position, len))?;
                }
            }
            answers.moved.set(true);
        }
    }

    fn poll_write_bytes<S: ClientStream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for piece in self.queue.iter().take(SLICES) {
            let Piece::Bytes(bytes) = piece else { break };
            slices[count] = IoSlice::new(bytes);
            count += 1;
        }
        if !self.corked && count < self.queue.len() {
            stream.set_corked(true);
            self.corked = true;
        }
        let mut written = match ready!(Pin::new(stream).poll_write_vectored(cx, &slices[..count]))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => written,
        };
        self.memory -= written;
        while written > 0
            && let Some(Piece::Bytes(bytes)) = self.queue.front_mut()
        {
            let step = written.min(bytes.len());
            bytes.advance(step);
            written -= step;
            if bytes.is_empty() {
                self.queue.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sees to it that sending the range does not wait for a device, or not on this thread.
    fn poll_warm(
        &mut self,
        cx: &Context<'_>,
        warmer: &Warmer,
        file: &Arc<LentFile>,
        position: u64,
        len: u64,
    ) -> Poll<()> {
        match &self.warmth {
            Warmth::Unknown if Warmer::is_resident(file, position, len) => {}
            Warmth::Unknown => {
                let (done, waker) = (Arc::new(AtomicBool::new(false)), cx.waker().clone());
                self.warmth = Warmth::Warming(Arc::clone(&done));
                let ring = move || {
                    done.store(true, Ordering::Release);
                    waker.wake();
                };
                warmer.warm(Arc::clone(file), position, len, Box::new(ring));
                return Poll::Pending;
            }
            Warmth::Warming(done) if !done.load(Ordering::Acquire) => return Poll::Pending,
            Warmth::Warming(_) | Warmth::Warm => {}
        }
        self.warmth = Warmth::Warm;
        Poll::Ready(())
    }

    fn poll_send_file<S: ClientStream>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        file: &File,
        position: u64,
        len: u64,
    ) -> Poll<io::Result<()>> {
        let moved = match stream.poll_send_file(cx, file, position, len) {
            Some(sent) => ready!(sent)?,
            None => {
                let mut buffer = vec![0; usize::try_from(len.min(COPY_BYTES)).unwrap_or(0)];
                let read = file.read_at(&mut buffer, position)?;
                buffer.truncate(read);
                self.memory += read;
                self.queue.push_front(Piece::Bytes(Bytes::from(buffer)));
                read as u64
            }
        };
        if moved == 0 {
            // Its length went out before it; there is no way to say that it is shorter.
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a file is shorter than its records",
            )));
        }
        // With a copy in front of it the range is second.
        let index = self.queue.iter().position(|piece| matches!(piece, Piece::File { .. }));
        if let Some(index) = index
            && let Some(Piece::File { position, len, .. }) = self.queue.get_mut(index)
        {
            *position += moved;
            *len -= moved;
            if *len == 0 {
                self.queue.remove(index);
                self.warmth = Warmth::Unknown;
            }
        }
        Poll::Ready(Ok(()))
    }
}
