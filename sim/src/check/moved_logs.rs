//! Replicas that move between the log directories of their node: the truth about a log goes with its copy. What was acknowledged
//! must be in the copy when it gets the replica's name, whoever gives it that.

use super::Checks;
use super::truth::LogTruth;
use crate::disk::Disk;
use sordini_core::storage_op::{StorageOp, StoragePath};
use std::sync::Arc;

/// Whether a directory is of a copy that is to be the replica's log.
pub(super) fn is_copy(dir: &str) -> bool {
    dir.ends_with("-future")
}

/// The replica whose log, or copy of a log, lies in a directory.
pub(super) fn replica_of(dir: &str) -> &str {
    let name = super::name_of(dir);
    name.strip_suffix("-future").and_then(|name| name.rsplit_once('.')).map_or(name, |(name, _)| name)
}

/// A directory of a copy that gets the replica's name with an operation.
fn naming(op: &StorageOp) -> Option<(Arc<str>, Arc<str>)> {
    let StorageOp::Rename { from, to } = op else { return None };
    let is_named = is_copy(from.as_str()) && replica_of(from.as_str()) == super::name_of(to.as_str());
    is_named.then(|| (from.shared(), to.shared()))
}

/// Whether a file lies in a directory that is about to get its name.
pub(super) fn is_coming(disk: &Disk, file: &str) -> bool {
    let dirs = disk.pending().filter_map(naming);
    dirs.into_iter().any(|(_, to)| file.strip_prefix(&*to).is_some_and(|rest| rest.starts_with('/')))
}

impl Checks {
    /// A copy begins: what the log had before its first segment, it had too.
    pub(super) fn on_copy_begun(&mut self, dir: &str, base: i64) {
        let planned = self.partitions.values().find(|planned| replica_of(&planned.dir) == replica_of(dir));
        let Some(of) = planned.and_then(|planned| self.logs.get(&planned.dir)) else { return };
        let copy = LogTruth::copy_of(of, base);
        self.logs.insert(Arc::from(dir), copy);
    }

    /// Takes note of a copy that gets the replica's name. Answers whether the operation does that.
    pub(super) fn on_copy_named(&mut self, op: &StorageOp) -> bool {
        let Some((from, to)) = naming(op) else { return false };
        let name = replica_of(&from);
        if let Some(planned) = self.partitions.values_mut().find(|it| replica_of(&it.dir) == name) {
            let before = std::mem::replace(&mut planned.dir, Arc::clone(&to));
            if let Some(mut copy) = self.logs.remove(&from) {
                if let Some(log) = self.logs.get(&before) {
                    copy.take_promises(log);
                }
                copy.move_to(&from, &to);
                self.logs.insert(to, copy);
            }
        }
        true
    }

    /// The copy of a log has not got the replica's name, and keeps its own.
    pub(super) fn on_name_refused(&mut self, op: &StorageOp) {
        if let Some((from, to)) = naming(op) {
            self.rename_log(&to, &from);
        }
    }

    /// A replica's copy starts where its log does, and the log of a member where that of its leader does.
    pub(super) fn agree_on_start(&mut self, dir: &str) {
        if !(self.is_member || self.has_several_dirs) {
            return;
        }
        let replica = replica_of(dir);
        let of_leaders = self.partitions.values().filter(|planned| replica_of(&planned.dir) == replica);
        let of_logs = self.logs.iter().filter(|(other, _)| replica_of(other) == replica);
        let topic_id = self.logs.get(dir).and_then(LogTruth::topic_id);
        let limits = of_leaders.filter_map(|planned| planned.leaders_starts.get(&topic_id?).copied());
        let limit = limits.chain(of_logs.map(|(_, log)| log.start_limit())).max();
        if let Some((log, limit)) = self.logs.get_mut(dir).zip(limit) {
            log.allow_start(limit);
        }
    }

    /// The directory of a log gets a name under which it is nobody's any more.
    pub(super) fn note_leaving(&mut self, dir: &StoragePath, op: &StorageOp) {
        let log = self.logs.remove(dir.as_str());
        if self.has_several_dirs && matches!(op, StorageOp::Rename { .. }) {
            self.left.extend(log.map(|log| (dir.shared(), log)));
        }
    }

    /// A crash comes: a name that is not given yet may not be given at all.
    pub(super) fn unname_copies(&mut self, disk: &Disk) {
        let mut left = std::mem::take(&mut self.left);
        for op in disk.pending() {
            let StorageOp::Rename { from, .. } = op else { continue };
            if let Some((dir, log)) = left.remove_entry(from.as_str())
                && !self.logs.contains_key(&dir)
            {
                self.logs.insert(Arc::clone(&dir), log);
                self.leaving_at_crash.push(dir);
            }
        }
        for (from, to) in disk.pending().filter_map(naming) {
            if self.logs.contains_key(&to) {
                self.rename_log(&to, &from);
                self.named_at_crash.push((from, to));
            }
        }
    }

    fn rename_log(&mut self, from: &Arc<str>, to: &Arc<str>) {
        let Some(mut log) = self.logs.remove(from) else { return };
        log.move_to(from, to);
        self.logs.insert(Arc::clone(to), log);
        if let Some(planned) = self.partitions.values_mut().find(|planned| planned.dir == *from) {
            planned.dir = Arc::clone(to);
        }
    }

    /// After a crash it can be seen what came of names.
    pub(super) fn find_copies(&mut self, disk: &Disk) {
        for dir in std::mem::take(&mut self.leaving_at_crash) {
            if disk.paths_beneath(&dir).next().is_none() {
                self.logs.remove(&dir);
            }
        }
        for (from, to) in std::mem::take(&mut self.named_at_crash) {
            if disk.paths_beneath(&to).next().is_some() {
                self.rename_log(&from, &to);
            }
        }
    }
}
