//! The real world under the pure core: sockets, files, a clock, and nothing that decides what Kafka does.
//!
//! Reading order: [`driver`] (the loop), [`disk`] (storage operations on files), [`net`] (connections).

pub mod clock;
pub mod config;
pub mod disk;
pub mod driver;
pub mod net;
pub mod server;
