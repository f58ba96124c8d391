//! The judge from outside: a model of what clients of a Kafka cluster did and were told, and a checker of it.
//!
//! It knows nothing but Kafka's promises, and no other package of this workspace, so that it is able to disagree with all of
//! them. It takes the history of a simulated cluster and of a real one alike.
//!
//! Reading order: [`history`] (what was done, and under which contract), [`anomaly`] (what a log that keeps its promises never
//! shows), `check` (how each is found), [`verdict`] (what was found, less what the contract permits).
//!
//! Offsets make the order of a partition's records visible, and no two records have the same value. So nothing has to be searched
//! for: every check is a pass over the history or over something that is sorted, and the same history has the same verdict, byte
//! for byte.
//!
//! ```
//! use sordini_jepsen::history::{Acks, Answer, Contract, Event, History, Operation, Step};
//!
//! let mut history = History::new(vec![Contract::new("orders", 0)]);
//! let send = Operation::Send { partition: 0, values: [7].into(), acks: Acks::All, idempotent: true };
//! let scan = Operation::Scan { partition: 0, from: 0 };
//! let steps = [
//!     (1, 0, Step::Invoke(send)),
//!     (1, 0, Step::Ok(Answer::Sent { base_offset: Some(0) })),
//!     (2, 2, Step::Invoke(scan)),
//!     (2, 2, Step::Ok(Answer::Scanned)),
//! ];
//! for (seq, (process, op, step)) in (0..).zip(steps) {
//!     history.push(Event { seq, at_us: 10 * seq, process, op, step })?;
//! }
//! // The last reader came to the end of the partition, and did not see what had been acknowledged.
//! let verdict = sordini_jepsen::check(&history);
//! assert!(!verdict.holds());
//! assert_eq!(verdict.findings[0].anomaly.name(), "unseen");
//! # Ok::<(), sordini_jepsen::history::Malformed>(())
//! ```

#![forbid(unsafe_code)]

pub mod anomaly;
mod check;
pub mod history;
pub mod verdict;

pub use check::check;
