//! `append_after_error`: after a write to a log failed, nothing is appended to any log of its log directory until the
//! next start (S4): behind a write of which nobody knows what came of it, another one makes a hole.

use super::Violation;
use sordini_core::storage_op::{StorageFault, StorageOp, StoragePath};
use std::collections::BTreeMap;

/// The log directories that failed in this life of the node, each with what failed there first.
#[derive(Clone, Debug, Default)]
pub(super) struct FailedDirs {
    dirs: BTreeMap<String, String>,
}

impl FailedDirs {
    /// The node hears that an operation failed.
    pub(super) fn on_fault(&mut self, op: &StorageOp, fault: StorageFault) {
        let what = match op {
            StorageOp::Append { .. } => "append to",
            StorageOp::Sync { .. } => "sync of",
            StorageOp::Truncate { .. } => "truncation of",
            StorageOp::Read { .. }
            | StorageOp::Replace { .. }
            | StorageOp::Rename { .. }
            | StorageOp::Remove { .. }
            | StorageOp::List { .. } => return,
        };
        let sentence = format!("the {what} {} failed: {fault}", op.path());
        self.dirs.entry(log_dir(op.path()).to_owned()).or_insert(sentence);
    }

    /// The process has ended.
    pub(super) fn clear(&mut self) {
        self.dirs.clear();
    }

    /// At the moment of an append to a log.
    pub(super) fn check(&self, file: &StoragePath) -> Result<(), Violation> {
        match self.dirs.get(log_dir(file)) {
            Some(why) => Err(Violation {
                property: "append_after_error",
                sentence: format!("the node appended to {file} after {why}"),
            }),
            None => Ok(()),
        }
    }
}

/// The log directory that a path lies in.
fn log_dir(path: &StoragePath) -> &str {
    path.as_str().split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::check::example::{Life, assert_violates, at, batch, segment};
    use sordini_core::storage_op::{StorageFault, StorageOp, StoragePath};

    #[test]
    fn an_append_after_a_failed_one_is_found_in_every_log_of_the_directory_and_in_no_other() {
        let mut life = Life::begin();
        life.write(&segment(0), batch(at(0), 10, "a")).expect("nothing has failed");
        let read = StorageOp::Read { file: segment(0), position: 0, len: 10 };
        life.checks.on_storage_fault(&read, StorageFault::NotFound);
        life.write(&segment(0), batch(at(1), 10, "b")).expect("a read that finds nothing is no failure");
        life.checks.on_storage_fault(&StorageOp::Sync { file: segment(0) }, StorageFault::Io);
        let words = "after the sync of 0/orders-0/00000000000000000000.log failed: input/output error";
        assert_violates(life.append(&segment(0), batch(at(2), 10, "c")), "append_after_error", words);
        let neighbour = StoragePath::new("0/payments-0/00000000000000000000.log");
        assert_violates(life.append(&neighbour, batch(at(0), 10, "c")), "append_after_error", words);
        let elsewhere = StoragePath::new("1/payments-1/00000000000000000000.log");
        life.append(&elsewhere, batch(at(0), 10, "c")).expect("the other disk is healthy");
    }

    #[test]
    fn a_start_makes_a_directory_usable_again() {
        let mut life = Life::begin();
        life.write(&segment(0), batch(at(0), 10, "a")).expect("nothing has failed");
        life.checks.on_storage_fault(&StorageOp::Sync { file: segment(0) }, StorageFault::NoSpace);
        life.lose_power().expect("nothing is missing");
        life.append(&segment(0), batch(at(1), 10, "b")).expect("the node has started again");
    }
}
