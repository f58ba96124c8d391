//! The log of a partition's replica, from its files' bytes to what a reader may see.
//!
//! Reading order: [`segment`] (three files that belong together), [`partition_log`] (segments in order, appends and
//! flushes under way), [`lookup`] (finding an offset or a timestamp), [`loader`] (opening after a stop or a crash),
//! [`cursor`] (reading it through), [`producer_state`] and [`leader_epoch_cache`] (what the log says about its writers).

pub(crate) mod checkpoint;
pub(crate) mod cursor;
pub(crate) mod leader_epoch_cache;
pub(crate) mod loader;
pub(crate) mod lookup;
pub(crate) mod partition_log;
pub(crate) mod producer_state;
mod segment;
