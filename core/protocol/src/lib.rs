//! The words of Kafka: every message and persisted record, and the bytes they become.
//!
//! Reading order: [`wire`] has the primitive types and the [`Message`] trait; [`messages`] and [`records`] are generated
//! from the tables under `schema/` (`cargo xtask codegen`), one module per message; [`api_key`] and [`request`] list the
//! live APIs; [`frame`] puts a header and a body into one frame and takes them apart again.
//!
//! The crate knows the shape of the words, not what they mean: no default topic, no error mapping, no I/O.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod api_key;
pub mod batch;
pub mod compression;
pub mod control;
pub mod crc;
pub mod error_code;
pub mod frame;
pub mod messages;
mod record_frame;
pub mod records;
pub mod request;
pub mod wire;

pub use api_key::ApiKey;
pub use wire::{
    DecodeError, EncodeError, Encoded, Message, Records, Request, Splice, Spliced, StoredRange, Str,
    TaggedFields, Uuid, Writer,
};
