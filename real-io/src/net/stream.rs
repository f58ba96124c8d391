//! What a connection needs of its stream, so that the same connection runs on a socket, through TLS or in a simulation.

use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;

/// A stream of bytes to and from a client.
pub trait ClientStream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Sends up to `len` bytes of `file` from `position` without copying them here. `None` if this kind of stream
    /// cannot; then the bytes are read and written.
    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: &File,
        position: u64,
        len: u64,
    ) -> Option<Poll<io::Result<u64>>> {
        let _ = (cx, file, position, len);
        None
    }

    /// Holds incomplete packets back, or lets them go, so that an answer written in parts does not leave in parts.
    fn set_corked(&mut self, corked: bool) {
        let _ = corked;
    }
}

impl ClientStream for TcpStream {
    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: &File,
        position: u64,
        len: u64,
    ) -> Option<Poll<io::Result<u64>>> {
        Some(poll_sendfile(self, cx, file, position, len))
    }

    fn set_corked(&mut self, corked: bool) {
        // A socket that cannot is a little slower.
        let _ = rustix::net::sockopt::set_tcp_cork(&*self, corked);
    }
}

fn poll_sendfile(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    file: &File,
    position: u64,
    len: u64,
) -> Poll<io::Result<u64>> {
    // The kernel sends no more than this at once.
    let count = usize::try_from(len).unwrap_or(usize::MAX).min(0x7fff_f000);
    loop {
        ready!(stream.poll_write_ready(cx))?;
        let sent = stream.try_io(Interest::WRITABLE, || {
            let mut offset = position;
            match rustix::fs::sendfile(stream, file, Some(&mut offset), count) {
                Err(Errno::INTR) => Ok(None),
                result => Ok(Some(result?)),
            }
        });
        match sent {
            Ok(Some(sent)) => return Poll::Ready(Ok(sent as u64)),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}
