//! The rules of Kafka as state machines: no I/O, no clock, no threads, no ambient randomness.
//!
//! Reading order: [`ids`], [`time`], [`storage_op`] (the contract with every disk), [`node`] (the only public door).
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::float_arithmetic)]

extern crate alloc;

pub mod config;
mod controller;
mod coordinator;
pub mod features;
mod fetch_session;
pub mod format;
mod group;
pub mod ids;
mod log;
pub mod mark;
pub mod museum;
pub mod node;
pub mod outbox;
mod partition;
pub mod peer;
pub mod produce_request;
mod properties;
mod quorum;
pub mod rng;
#[cfg(feature = "storage-contract")]
pub mod storage_contract;
pub mod storage_op;
pub mod time;
