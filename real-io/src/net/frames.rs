//! Cuts a stream of bytes into frames.
//!
//! Bytes arrive in a buffer that all connections share. Whole frames in it are copied out, all of them into one
//! allocation; the rest of a frame that is not whole is read directly into a buffer of its size. A connection that waits
//! for a request holds no buffer.

use crate::net::memory::ArrivingFrame;
use crate::net::{SCRATCH_BYTES, Shared};
use bytes::{Buf as _, Bytes};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

#[derive(Debug, Default)]
pub(super) struct FrameReader {
    /// Received and not yet taken; between polls a part of a size at most, or frames for which there was no time.
    received: Bytes,
    partial: Partial,
    /// The last frame was large, so that the next is probably too, and it is better not read into the shared buffer.
    after_large: bool,
}

#[derive(Debug, Default)]
enum Partial {
    #[default]
    None,
    Small {
        buffer: Vec<u8>,
        filled: usize,
    },
    Large(ArrivingFrame),
}

/// Why no more frames come.
#[derive(Debug)]
pub(super) enum FrameError {
    /// The client is gone, properly or not.
    Io(io::Error),
    /// The client closed the connection between two frames.
    End,
    /// The client said it would send a frame of this many bytes.
    Size(i32),
}

/// Frames longer than this are read into memory that is accounted for and used again.
const LARGE: usize = 32 << 10;
/// How much is read into the shared buffer where a large frame is expected: its size and little more.
const PEEK: usize = 4 << 10;
const SIZE_LEN: usize = size_of::<i32>();

impl FrameReader {
    /// The next frame, without its size.
    pub(super) fn poll_frame<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        shared: &Shared,
    ) -> Poll<Result<Bytes, FrameError>> {
        loop {
            match &mut self.partial {
                Partial::None => {}
                Partial::Small { buffer, filled } => {
                    if *filled == buffer.len() {
                        let frame = Bytes::from(std::mem::take(buffer));
                        self.partial = Partial::None;
                        return Poll::Ready(Ok(frame));
                    }
                    *filled += ready!(poll_read(cx, stream, &mut buffer[*filled..], true))?;
                    continue;
                }
                Partial::Large(frame) => {
                    if !frame.is_whole() {
                        let room = ready!(frame.poll_room(cx));
                        // What is left over from the shared buffer comes first.
                        let count = if self.received.is_empty() {
                            ready!(poll_read(cx, stream, room, true))?
                        } else {
                            let count = room.len().min(self.received.len());
                            self.received.copy_to_slice(&mut room[..count]);
                            count
                        };
                        frame.advance(count);
                        continue;
                    }
                    let Partial::Large(frame) = std::mem::take(&mut self.partial) else { continue };
                    self.after_large = true;
                    return Poll::Ready(Ok(frame.into_bytes()));
                }
            }
            if let Some(size) = self.received.first_chunk().map(|size| i32::from_be_bytes(*size)) {
                let len = usize::try_from(size).ok().filter(|len| *len <= shared.frame_bytes_max);
                let len = len.ok_or(FrameError::Size(size))?;
                if self.received.len() - SIZE_LEN >= len {
                    self.received.advance(SIZE_LEN);
                    let frame = self.received.split_to(len);
                    if self.received.is_empty() {
                        self.received = Bytes::new();
                    }
                    return Poll::Ready(Ok(frame));
                }
                self.received.advance(SIZE_LEN);
                if len > LARGE {
                    self.partial = Partial::Large(shared.memory.begin(len));
                } else {
                    let (mut buffer, filled) = (vec![0; len], self.received.len());
                    self.received.copy_to_slice(&mut buffer[..filled]);
                    self.partial = Partial::Small { buffer, filled };
                }
                continue;
            }
            let mut scratch = shared.scratch.borrow_mut();
            let kept = self.received.len();
            let window = if self.after_large { PEEK } else { SCRATCH_BYTES };
            let read = ready!(poll_read(cx, stream, &mut scratch[kept..window], kept > 0))?;
            scratch[..kept].copy_from_slice(&self.received);
            self.received = Bytes::copy_from_slice(&scratch[..kept + read]);
            self.after_large = false;
        }
    }

    /// Whether [`Self::poll_frame`] has a frame without reading.
    pub(super) fn has_frame(&self) -> bool {
        matches!(self.partial, Partial::None)
            && self.received.first_chunk().is_some_and(|size| {
                usize::try_from(i32::from_be_bytes(*size))
                    .is_ok_and(|len| self.received.len() - SIZE_LEN >= len)
            })
    }

    /// Whether part of a large frame is here.
    pub(super) fn is_amid_large_frame(&self) -> bool {
        matches!(self.partial, Partial::Large(_))
    }
}

/// Reads some bytes. The end of the stream is an error here, of one kind or another.
fn poll_read<S: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    stream: &mut S,
    buffer: &mut [u8],
    amid_frame: bool,
) -> Poll<Result<usize, FrameError>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer)).map_err(FrameError::Io)?;
    Poll::Ready(match buffer.filled().len() {
        0 if amid_frame => Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into())),
        0 => Err(FrameError::End),
        read => Ok(read),
    })
}
