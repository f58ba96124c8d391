//! The world, faked and seeded: nodes with their clocks and disks, clients, the links between them, and what breaks.
//!
//! The nodes of a plan stand alone: each is a cluster of its own, and what befalls one does not concern the others.
//!
//! Reading order: [`plan`] and [`field`] (what is decided before a run, and how chance decides the rest), [`disk`],
//! [`client`], [`world`] (where they meet), [`check`] (what must hold), [`trace`] (how two runs are compared).
//! Then what is done with runs: [`sweep`] and [`branch`], [`shrink`], [`record`], [`regression`].
//!
//! A run is a function of its plan: no clock, no thread, no file, no environment and no ambient randomness.

pub mod branch;
pub mod check;
pub mod client;
pub mod disk;
pub mod field;
pub mod history;
pub mod marks;
#[cfg(feature = "museum")]
pub mod museum;
pub mod plan;
pub mod record;
pub mod regression;
pub mod shrink;
pub mod sweep;
pub mod trace;
mod transcript;
pub mod world;
