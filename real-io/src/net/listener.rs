//! Listening sockets, and which connections are let in.

use crate::driver::Driver;
use crate::net::answers::Ending;
use crate::net::{LogLimit, Shared, connection};
use socket2::{Domain, Protocol, Socket, Type};
use sordini_protocol::wire::Str;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Why a listener cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error(
        "port {port} of {host} is in use by another process: stop it, or choose another port (listeners)"
    )]
    InUse {
        /// The host as configured, or what stands for all.
        host: String,
        /// The port.
        port: u16,
    },
    /// The address cannot be had for another reason.
    #[error("cannot listen on {host}:{port}: {error}")]
    Io {
        /// The host as configured, or what stands for all.
        host: String,
        /// The port.
        port: u16,
        /// What was said.
        error: io::Error,
    },
}

/// Connections that were not accepted yet wait in the kernel, so many at most.
const BACKLOG: i32 = 1024;

/// Listens at `host` and `port`. An empty host is every address of the machine, over both protocols where there are
/// two; a name is all the addresses it has.
///
/// # Errors
///
/// None of the addresses can be had, or one is in use.
pub fn bind(host: &str, port: u16) -> Result<Vec<TcpListener>, BindError> {
    let shown = || if host.is_empty() { "all addresses".to_owned() } else { host.to_owned() };
    let failed = |error: io::Error| match error.kind() == io::ErrorKind::AddrInUse {
        true => BindError::InUse { host: shown(), port },
        false => BindError::Io { host: shown(), port, error },
    };
    if host.is_empty() {
        let dual = bind_one(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
        let bound = match dual {
            // There is no IPv6 on this machine.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                bind_one(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
            }
            result => result,
        };
        return Ok(vec![bound.map_err(failed)?]);
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut refused = None;
    for mut address in (host, port).to_socket_addrs().map_err(failed)? {
        // Any free port is the same for all addresses of a name.
        if port == 0
            && let Some(first) = listeners.first()
        {
            address.set_port(first.local_addr().map_err(failed)?.port());
        }
        match bind_one(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(failed(error)),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if listeners.is_empty() => Err(failed(error)),
        _ => Ok(listeners),
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Without it, connections of the last run that linger in TIME_WAIT keep the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// How many connections are let in.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of all clients, `max.connections`.
    pub connections_max: usize,
    /// Of one address, `max.connections.per.ip`.
    pub connections_per_ip_max: usize,
    /// Of these addresses, `max.connections.per.ip.overrides`.
    pub connections_per_ip_overrides: Vec<(IpAddr, usize)>,
    /// A connection on which nothing moved for this long is closed, `connections.max.idle.ms`.
    pub idle_max: Option<Duration>,
}

/// The connections that are in, over all listeners.
#[derive(Debug)]
pub struct Doorkeeper {
    limits: Limits,
    counts: RefCell<Counts>,
    /// A connection has left.
    left: Notify,
    /// No more are let in.
    closed: Cell<bool>,
    closing: Notify,
    refusals: LogLimit,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// A connection that is in, until it is dropped.
struct Ticket {
    doorkeeper: Rc<Doorkeeper>,
    ip: IpAddr,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.doorkeeper.counts.borrow_mut();
        counts.all -= 1;
        if let Some(count) = counts.by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                counts.by_ip.remove(&self.ip);
            }
        }
        self.doorkeeper.left.notify_one();
    }
}

impl Doorkeeper {
    /// Lets in as many as the limits say.
    #[must_use]
    pub fn new(limits: Limits) -> Rc<Self> {
        Rc::new(Self {
            limits,
            counts: RefCell::default(),
            left: Notify::new(),
            closed: Cell::new(false),
            closing: Notify::new(),
            refusals: LogLimit::default(),
        })
    }

    /// Lets nobody else in; the listeners close.
    pub fn stop(&self) {
        self.closed.set(true);
        self.closing.notify_waiters();
    }

    /// Whether nobody else is let in.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    async fn wait_for_end(&self) {
        let closing = self.closing.notified();
        if !self.closed.get() {
            closing.await;
        }
    }

    /// How many are in.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.borrow().all
    }

    async fn wait_for_room(&self) {
        while self.counts.borrow().all >= self.limits.connections_max {
            if let Some(suppressed) = self.refusals.admit() {
                let max = self.limits.connections_max;
                tracing::warn!(
                    suppressed,
                    "{max} connections are as many as max.connections, or the limit of open files, allows: others wait"
                );
            }
            self.left.notified().await;
        }
    }

    fn admit(self: &Rc<Self>, ip: IpAddr) -> Option<Ticket> {
        let ip = ip.to_canonical();
        let overridden = self.limits.connections_per_ip_overrides.iter().find(|(address, _)| *address == ip);
        let max = overridden.map_or(self.limits.connections_per_ip_max, |(_, max)| *max);
        let mut counts = self.counts.borrow_mut();
        let count = counts.by_ip.entry(ip).or_default();
        if *count >= max {
            if let Some(suppressed) = self.refusals.admit() {
                tracing::warn!(%ip, suppressed, "refused a connection: this address has as many as max.connections.per.ip allows");
            }
            return None;
        }
        *count += 1;
        counts.all += 1;
        Some(Ticket { doorkeeper: Rc::clone(self), ip })
    }

    /// Closes connections on which nothing moves, and gives memory back that nobody uses. Never returns.
    pub async fn sweep(self: Rc<Self>, driver: Rc<Driver>, shared: Shared) {
        let idle_max = self.limits.idle_max.unwrap_or(Duration::MAX);
        let period = (idle_max / 8).clamp(Duration::from_millis(10), Duration::from_secs(10));
        loop {
            tokio::time::sleep(period).await;
            shared.memory.trim();
            let is_short = shared.memory.is_short();
            for answers in driver.connections() {
                if answers.moved.replace(false) {
                    answers.idle_sweeps.set(0);
                    continue;
                }
                let sweeps = answers.idle_sweeps.get() + 1;
                answers.idle_sweeps.set(sweeps);
                // Somebody who stops amid a frame holds memory that others may be waiting for.
                let obstructs = is_short && answers.is_amid_large_frame.get() && sweeps > 1;
                if obstructs || period.saturating_mul(sweeps) > idle_max {
                    answers.end(Ending::AtOnce);
                }
            }
        }
    }
}

/// Accepts connections and serves each in a task of its own, until the doorkeeper stops and the last connection has ended.
/// Its connections end when it is dropped.
pub async fn accept(
    driver: Rc<Driver>,
    shared: Shared,
    doorkeeper: Rc<Doorkeeper>,
    listener: tokio::net::TcpListener,
    name: Str,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = async {
                doorkeeper.wait_for_room().await;
                listener.accept().await
            } => accepted,
            Some(ended) = connections.join_next() => {
                log_panic(ended);
                continue;
            }
            () = doorkeeper.wait_for_end() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a client that went away in the queue.
                if let Some(suppressed) = doorkeeper.refusals.admit() {
                    tracing::warn!(listener = %name, %error, suppressed, "cannot accept connections");
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let Some(ticket) = doorkeeper.admit(peer.ip()) else { continue };
        // A client whose machine vanished is noticed by the kernel.
        let _ = socket2::SockRef::from(&stream).set_keepalive(true);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "lost before it began");
            continue;
        }
        let (driver, shared, name) = (Rc::clone(&driver), shared.clone(), name.clone());
        connections.spawn_local(async move {
            connection::serve(driver, shared, stream, name, peer).await;
            drop(ticket);
        });
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        log_panic(ended);
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task panicked");
    }
}
