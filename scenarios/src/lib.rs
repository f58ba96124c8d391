//! Stories as text files: a script moves a small world by hand, and the transcript of what went in, what came out and
//! what changed is a snapshot beside it.
//!
//! The grammar stands in the `README.md` of this package. Reading order: `script` (a file as steps), `world` (one node,
//! one disk and a few clients, in which nothing happens by itself), `verbs` (what a step does), `expect` and `show` (what
//! a step says about the world), and [`run`], where they meet.

mod account;
mod clients;
mod decode;
mod expect;
mod groups;
mod runner;
mod script;
mod show;
mod transcript;
mod verbs;
mod world;

pub use account::account;
pub use runner::{Failure, run};
