//! The real world under the pure core: sockets, files, a clock, and nothing that decides what Kafka does.

pub mod disk;
