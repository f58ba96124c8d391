//! A disk in memory that keeps the contract of [`sordini_core::storage_op`], and breaks everything that the contract
//! does not promise; on demand it breaks the contract too.
//!
//! Operations wait for as long as the [`Field`] says, in order where the contract orders them and out of order
//! elsewhere. [`Disk::kill`] keeps what was applied, as a page cache does, and decides for what was under way whether it
//! still happened. [`Disk::lose_power`] keeps what was synced and any part of the rest: a shorter file, one torn at a
//! sector, one with sectors of zeros, none at all.
//!
//! [`Disk::inject`] makes operations fail, wait, or reach the platters as something else than was written.
//! [`Disk::durable_len`] is what the contract lets the core believe: what a failed sync left behind does not count. What
//! the disk does beyond the contract (phantom and misdirected writes, rot) leaves `durable_len` as it is and is told by
//! [`Disk::is_damaged`], from the moment in which it can be seen.
//!
//! Chance depends on the path, the virtual time, and where neither tells two questions apart on what an operation is
//! among those of its path: what befalls one file is the same whatever happens to others. Bytes are shared with whoever
//! wrote them; a disk clones in the time of its number of writes.

mod contents;
mod faults;
mod file;
mod marks;
#[cfg(test)]
mod tests;

pub use contents::Contents;
pub use marks::DiskMarks;

use crate::field::{Answer, Field, Place};
use crate::plan::{self, DiskFault, DiskPlan, FileKind, Mutation, WriteError};
use crate::trace::hash_of;
use bytes::Bytes;
use contents::in_memory;
use faults::{Blow, Faults};
use file::{Cause, File};
use sordini_core::storage_op::{
    Completion, DirectoryEntry, StorageFault, StorageOp, StoragePath, StorageToken,
};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// What a disk writes at once or not at all, in bytes.
pub const SECTOR: u64 = 512;

/// When an operation takes effect, and the number to ask for it by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The virtual time in microseconds.
    pub at: u64,
    /// What [`Disk::complete`] is to be called with.
    pub number: u64,
}

/// What a loss of power leaves of the part of a file that was not synced, where a hand decides and not the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// All of it, as if it had been synced.
    All,
    /// Nothing: the file is as the last sync left it, and gone if there was none.
    Nothing,
    /// So many bytes of it.
    First(u64),
    /// Its length, with zeros in it.
    Zeros,
}

#[derive(Clone, Debug)]
struct Pending {
    token: StorageToken,
    op: StorageOp,
    /// When it is due.
    at: u64,
    /// The slot of the file, unless it is an operation on names.
    slot: Option<usize>,
}

/// A name that a file has, or for which an operation waits. A file that is renamed moves to another slot.
#[derive(Clone, Debug)]
struct Slot {
    name: Arc<str>,
    /// The hash of the name, by which the field is asked.
    hash: u64,
    file: Option<File>,
    /// How many operations wait.
    waiting: u32,
    /// When the last of them takes effect.
    due: u64,
}

/// An operation that waits on names and on all beneath them.
#[derive(Clone, Debug)]
struct TreeWait {
    number: u64,
    path: StoragePath,
    /// The other name of a rename.
    to: Option<StoragePath>,
    due: u64,
}

impl TreeWait {
    fn concerns(&self, name: &str) -> bool {
        let is_on = |path: &StoragePath| is_at_or_beneath(name, path.as_str());
        is_on(&self.path) || self.to.as_ref().is_some_and(is_on)
    }
}

/// A disk under one node; it outlives the node's incarnations.
#[derive(Clone, Debug)]
pub struct Disk {
    field: Field,
    plan: DiskPlan,
    mutation: Option<Mutation>,
    /// By name, a place in `slots`.
    names: BTreeMap<Arc<str>, usize>,
    slots: Vec<Slot>,
    /// Places in `slots` that belong to no name.
    free: Vec<usize>,
    /// Every directory, with whether its name is durable.
    directories: BTreeMap<Arc<str>, bool>,
    /// What was pushed and has not taken effect, in the order in which it was pushed. The first is there.
    pending: VecDeque<Option<Pending>>,
    /// The number of the first of `pending`.
    first_pending: u64,
    /// Those of `pending` that are operations on names, in the same order.
    trees: Vec<TreeWait>,
    faults: Faults,
    /// The operation that was completed last, if it failed by a fault.
    failed: Option<StorageOp>,
    /// A sync failed: what it left dirty is taken for clean, and whoever asked for it knows.
    has_failed_sync: bool,
    is_damaged: bool,
    /// Whether that may concern the metadata log and what lies beside it.
    is_metadata_damaged: bool,
    marks: DiskMarks,
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new(field: Field, plan: DiskPlan, mutation: Option<Mutation>) -> Self {
        Self {
            field,
            plan,
            mutation,
            names: BTreeMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            directories: BTreeMap::new(),
            pending: VecDeque::new(),
            first_pending: 0,
            trees: Vec::new(),
            faults: Faults::default(),
            failed: None,
            has_failed_sync: false,
            is_damaged: false,
            is_metadata_damaged: false,
            marks: DiskMarks::default(),
        }
    }

    /// Takes an operation at the virtual time `now`. The caller calls [`Self::complete`] when it is due, in the order of
    /// times and, where those are equal, of numbers.
    pub fn submit(&mut self, now: u64, token: StorageToken, op: StorageOp) -> Due {
        let number = self.first_pending + self.pending.len() as u64;
        let (is_tree, to) = reach(&op);
        let begins = now.max(self.faults.stalled_until);
        if begins > now {
            self.marks.stalled += 1;
        }
        let (at, slot) = if is_tree {
            let path = op.path();
            let latency = self.latency(now, hash_of(path.as_str().as_bytes()), &op);
            let wait = TreeWait { number, path: path.clone(), to: to.cloned(), due: 0 };
            let due = (begins + latency).max(self.tree_busy_until(&wait));
            self.trees.push(TreeWait { due, ..wait });
            (due, None)
        } else {
            let slot = self.slot_of(op.path());
            let mut due = (begins + self.latency(now, self.slots[slot].hash, &op)).max(self.slots[slot].due);
            for wait in &self.trees {
                if wait.due > due && wait.concerns(&self.slots[slot].name) {
                    due = wait.due;
                }
            }
            self.slots[slot].due = due;
            self.slots[slot].waiting += 1;
            (due, Some(slot))
        };
        self.pending.push_back(Some(Pending { token, op, at, slot }));
        Due { at, number }
    }

    /// Lets the operation take effect at the virtual time `now` and answers it; nothing if the process that pushed it died
    /// or it is due under another number.
    pub fn complete(
        &mut self,
        number: u64,
        now: u64,
        wall_ms: i64,
    ) -> Option<(StorageToken, Result<Completion, StorageFault>)> {
        let index = usize::try_from(number.checked_sub(self.first_pending)?).ok()?;
        let Pending { token, op, slot, .. } = self.pending.get_mut(index)?.take()?;
        while let Some(None) = self.pending.front() {
            self.pending.pop_front();
            self.first_pending += 1;
        }
        let result = if self.faults.is_empty() {
            self.apply(slot, op, wall_ms)
        } else {
            let again = op.clone();
            let result = self.apply_faulted(slot, op, now, wall_ms);
            self.failed = matches!(result, Err(StorageFault::Io | StorageFault::NoSpace)).then_some(again);
            result
        };
        if let Some(slot) = slot {
            let state = &mut self.slots[slot];
            state.waiting -= 1;
            if state.waiting == 0 {
                // It may have been completed before it was due.
                state.due = 0;
                self.release(slot);
            }
        } else {
            self.trees.retain(|wait| wait.number != number);
        }
        Some((token, result))
    }

    /// The operation that was completed last, if it failed by a fault and nobody has taken it.
    pub const fn take_failed(&mut self) -> Option<StorageOp> {
        self.failed.take()
    }

    /// The disk begins to misbehave. What failed, stalled or was spoiled by then stays so.
    ///
    /// Operations that wait may become due later for it: the caller calls [`Self::complete`] with the numbers given back
    /// when those are due. Their old numbers come to nothing.
    #[must_use = "what waited is due under these numbers"]
    pub fn inject(&mut self, now: u64, fault: DiskFault) -> Vec<Due> {
        match fault {
            DiskFault::Stall { for_us } => return self.stall(now, for_us),
            DiskFault::Full { for_us } => self.faults.full_until = self.faults.full_until.max(now + for_us),
            DiskFault::LoseDirectory { dir, for_us } => {
                let until = self.faults.lost_until.entry(dir).or_default();
                *until = (*until).max(now + for_us);
            }
            DiskFault::Rot { files } => self.rot(now, files),
            DiskFault::Lose { files } => self.lose(files),
            DiskFault::FailWrites { .. }
            | DiskFault::FailReads { .. }
            | DiskFault::FailSyncs { .. }
            | DiskFault::PhantomWrites { .. }
            | DiskFault::MisdirectedWrites { .. } => self.faults.arm(fault),
        }
        Vec::new()
    }

    /// The disk behaves from here on: faults that wait for operations are forgotten, there is room, and it goes on. What a
    /// fault did before stays, seen or not.
    pub fn heal(&mut self) {
        self.faults = Faults::default();
    }

    /// Takes over from the disk that was here before: its marks, and where its numbers ended, so that what was asked of
    /// that disk is not taken for what is asked of this one.
    pub fn remember(&mut self, other: &Self) {
        assert!(self.pending.is_empty(), "a disk takes over before anything is asked of it");
        self.marks.add(&other.marks);
        self.first_pending = self.first_pending.max(other.first_pending + other.pending.len() as u64);
    }

    /// Chance decides otherwise from here on.
    pub const fn change_weather(&mut self, field: Field) {
        self.field = field;
    }

    /// The process dies. What was applied stays; of what was under way, the field decides.
    pub fn kill(&mut self, now: u64, wall_ms: i64) {
        self.settle(now, wall_ms);
        // The next process finds pages that look clean and are not durable.
        self.note_damage_anywhere(self.has_failed_sync);
    }

    /// The machine loses power: as [`Self::kill`], and then of everything that is not durable any part is lost, and what
    /// the platters hold is seen.
    pub fn lose_power(&mut self, now: u64, wall_ms: i64) {
        self.settle(now, wall_ms);
        self.note_damage_anywhere(self.has_failed_sync);
        for slot in self.slots_with_files() {
            self.lose_power_of(slot, now);
        }
        let field = self.field;
        let mut directories = std::mem::take(&mut self.directories);
        directories.retain(|name, is_durable| {
            *is_durable
                || self.paths_beneath(name).next().is_some()
                || Answer(field.word(Place::PowerLoss, hash_of(name.as_bytes()), now)).chance(1, 2)
        });
        self.directories = directories;
        self.flip_closed_segments(now);
    }

    /// The machine loses power while nothing is under way, and `left` says of each file what stays. What the platters hold
    /// otherwise than was written is seen in any case.
    ///
    /// # Panics
    /// If an operation is under way.
    pub fn lose_power_leaving(&mut self, left: impl Fn(&str) -> Left) {
        assert!(self.pending.is_empty(), "what is under way is for the field to decide");
        for slot in self.slots_with_files() {
            let Slot { name, file, .. } = &mut self.slots[slot];
            let is_left =
                file.as_mut().is_some_and(|file| file.lose_power_leaving(left(name), &mut self.marks));
            if is_left {
                let is_damaged = file.as_ref().is_some_and(|file| !file.damage().is_empty());
                make_directories(&mut self.directories, name, true);
                self.note_damage_anywhere(is_damaged);
            } else {
                *file = None;
                self.release(slot);
            }
        }
        self.directories.retain(|_, is_durable| *is_durable);
    }

    /// The contents of a file as running processes see them.
    #[must_use]
    pub fn contents(&self, path: &str) -> Option<&Contents> {
        self.file(path).map(File::contents)
    }

    /// How much of a file, from its start, the contract lets nothing take; 0 for one that is absent or was never synced.
    /// What was not synced when a sync failed does not count, nor what lies behind it, until it is cut off and written
    /// anew, or a loss of power has shown what is there.
    #[must_use]
    pub fn durable_len(&self, path: &str) -> u64 {
        self.file(path).map_or(0, File::durable_len)
    }

    /// Whether something was cut off a file, or written over, that a loss of power may bring back.
    #[must_use]
    pub fn has_unsynced_cut(&self, path: &str) -> bool {
        self.file(path).is_some_and(File::has_unsynced_cut)
    }

    /// Whether a fault ever made it hold something else than what it took, or kept it from making durable what it has, so
    /// that no process that starts on it can know. What a process made of that may be elsewhere when the damage is gone.
    #[must_use]
    pub const fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// The same of the metadata log and what lies beside it.
    #[must_use]
    pub const fn is_metadata_damaged(&self) -> bool {
        self.is_metadata_damaged
    }

    /// The names of all files, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files().map(|(name, _)| name)
    }

    /// The names of the files beneath a directory, in order.
    pub fn paths_beneath<'a>(&'a self, dir: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.files_beneath(dir).map(|(name, _)| &**name)
    }

    /// The operations that were pushed and have not taken effect, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &StorageOp> {
        self.pending.iter().flatten().map(|pending| &pending.op)
    }

    /// What faults and losses came to so far.
    #[must_use]
    pub const fn marks(&self) -> DiskMarks {
        self.marks
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.slots[*self.names.get(path)?].file.as_ref()
    }

    fn files(&self) -> impl Iterator<Item = (&str, &File)> {
        self.names.iter().filter_map(|(name, slot)| Some((&**name, self.slots[*slot].file.as_ref()?)))
    }

    fn files_beneath<'a>(&'a self, dir: &str) -> impl Iterator<Item = (&'a Arc<str>, &'a File)> + use<'a> {
        range_beneath(&self.names, dir)
            .filter_map(|(name, slot)| Some((name, self.slots[*slot].file.as_ref()?)))
    }

    /// The slots of all files, in the order of names.
    fn slots_with_files(&self) -> Vec<usize> {
        self.names.values().copied().filter(|slot| self.slots[*slot].file.is_some()).collect()
    }

    /// The slot of a name, which gets one if it has none.
    fn slot_of(&mut self, path: &StoragePath) -> usize {
        if let Some(slot) = self.names.get(path.as_str()) {
            return *slot;
        }
        let name = path.shared();
        let hash = hash_of(name.as_bytes());
        let state = Slot { name: Arc::clone(&name), hash, file: None, waiting: 0, due: 0 };
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot] = state;
            slot
        } else {
            self.slots.push(state);
            self.slots.len() - 1
        };
        self.names.insert(name, slot);
        slot
    }

    /// Gives the slot back, if no file is there and nothing waits.
    fn release(&mut self, slot: usize) {
        let state = &self.slots[slot];
        if state.file.is_none() && state.waiting == 0 {
            self.names.remove(&state.name);
            self.free.push(slot);
        }
    }

    /// When everything pushed before that the contract orders before an operation on names has taken effect.
    fn tree_busy_until(&self, wait: &TreeWait) -> u64 {
        let mut until = 0;
        for path in std::iter::once(&wait.path).chain(&wait.to) {
            let slots = self.names.get(path.as_str()).into_iter();
            let slots = slots.chain(range_beneath(&self.names, path.as_str()).map(|(_, slot)| slot));
            until = slots.fold(until, |until, slot| until.max(self.slots[*slot].due));
            for other in &self.trees {
                let is_beneath = |other: &StoragePath| is_at_or_beneath(other.as_str(), path.as_str());
                if other.concerns(path.as_str())
                    || is_beneath(&other.path)
                    || other.to.as_ref().is_some_and(is_beneath)
                {
                    until = until.max(other.due);
                }
            }
        }
        until
    }

    fn latency(&self, now: u64, hash: u64, op: &StorageOp) -> u64 {
        let plan::Range { low, high } = match op {
            StorageOp::Append { .. } | StorageOp::Truncate { .. } => self.plan.write_us,
            StorageOp::Read { .. } | StorageOp::List { .. } => self.plan.read_us,
            StorageOp::Sync { .. }
            | StorageOp::Replace { .. }
            | StorageOp::Rename { .. }
            | StorageOp::Remove { .. } => self.plan.sync_us,
        };
        let mut answer = Answer(self.field.word(Place::StorageLatency, hash, now));
        let usual = answer.between(low, high);
        // One operation in 200 finds the device busy with something else.
        if answer.chance(1, 200) { usual * 20 } else { usual }
    }

    /// Lets an operation take effect; `slot` is that of its file.
    fn apply(
        &mut self,
        slot: Option<usize>,
        op: StorageOp,
        wall_ms: i64,
    ) -> Result<Completion, StorageFault> {
        let Some(slot) = slot else { return self.apply_to_names(op) };
        let Slot { name, file: state, .. } = &mut self.slots[slot];
        match op {
            StorageOp::Append { file, position, bytes } => {
                if position == 0 && state.is_none() {
                    make_directories(&mut self.directories, name, false);
                    *state = Some(File::default());
                }
                let state = state.as_mut().ok_or(StorageFault::NotFound)?;
                let len = state.contents().len();
                // One write may lie inside: at the beginning of a file that was thought to be absent.
                assert!(
                    position == len || position == 0 || state.is_ragged || bytes.iter().all(Bytes::is_empty),
                    "{file} has {len} bytes, not {position}"
                );
                state.write(position, bytes);
                state.modified_ms = wall_ms;
                Ok(Completion::Done)
            }
            StorageOp::Sync { .. } => {
                let state = state.as_mut().ok_or(StorageFault::NotFound)?;
                if self.mutation != Some(Mutation::SyncDoesNothing) {
                    if !state.is_named {
                        make_directories(&mut self.directories, name, true);
                    }
                    state.sync();
                }
                Ok(Completion::Done)
            }
            StorageOp::Read { position, len, .. } => {
                let state = state.as_mut().ok_or(StorageFault::NotFound)?;
                Ok(Completion::Bytes(state.read(position, u64::from(len))))
            }
            StorageOp::Truncate { file, len } => {
                let state = state.as_mut().ok_or(StorageFault::NotFound)?;
                let has = state.contents().len();
                if len > has {
                    assert!(
                        state.is_ragged,
                        "{file} is cut to {len} and has {has}: the contract demands a length that it has"
                    );
                    self.failed = Some(StorageOp::Truncate { file, len });
                    return Err(StorageFault::Io);
                }
                state.truncate(len);
                state.modified_ms = wall_ms;
                Ok(Completion::Done)
            }
            StorageOp::Replace { file, bytes } => {
                if !state.as_ref().is_some_and(|state| state.is_named) {
                    make_directories(&mut self.directories, name, true);
                }
                *state = Some(File::replaced(bytes, wall_ms));
                self.remove_file(file_beside(&file).as_str());
                Ok(Completion::Done)
            }
            StorageOp::Rename { .. } | StorageOp::Remove { .. } | StorageOp::List { .. } => {
                unreachable!("an operation on names has no slot")
            }
        }
    }

    fn apply_to_names(&mut self, op: StorageOp) -> Result<Completion, StorageFault> {
        match op {
            StorageOp::Rename { from, to } => {
                self.rename(&from, &to)?;
                Ok(Completion::Done)
            }
            StorageOp::Remove { path } => {
                for name in self.tree(path.as_str()) {
                    self.remove_file(&name);
                    self.directories.remove(&name);
                }
                Ok(Completion::Done)
            }
            StorageOp::List { dir } => Ok(Completion::Entries(self.list(dir.as_str()))),
            StorageOp::Append { .. }
            | StorageOp::Sync { .. }
            | StorageOp::Read { .. }
            | StorageOp::Truncate { .. }
            | StorageOp::Replace { .. } => unreachable!("an operation on a file has a slot"),
        }
    }

    /// As [`Self::apply`], at the virtual time `now` and with whatever faults there are.
    fn apply_faulted(
        &mut self,
        slot: Option<usize>,
        op: StorageOp,
        now: u64,
        wall_ms: i64,
    ) -> Result<Completion, StorageFault> {
        if self.faults.is_lost(op.path().as_str(), now) {
            self.marks.lost += 1;
            return Err(StorageFault::Io);
        }
        let hash = slot.map_or_else(|| hash_of(op.path().as_str().as_bytes()), |slot| self.slots[slot].hash);
        // Two appends to one file may take effect at the same time, but not at the same position.
        let place =
            if let StorageOp::Append { position, .. } = &op { hash.wrapping_add(*position) } else { hash };
        let mut answer = Answer(self.field.word(Place::DiskFault, place, now));
        if matches!(op, StorageOp::Append { .. } | StorageOp::Replace { .. }) && self.faults.is_full(now) {
            self.marks.full += 1;
            self.fail_write(slot, op, &mut answer, wall_ms);
            return Err(StorageFault::NoSpace);
        }
        let mut faults = std::mem::take(&mut self.faults);
        let blow = faults.strike(&op, |kind| self.is_of(op.path().as_str(), kind));
        self.faults = faults;
        match blow {
            None => self.apply(slot, op, wall_ms),
            Some(Blow::FailWrite(error)) => {
                self.marks.writes_failed += 1;
                self.fail_write(slot, op, &mut answer, wall_ms);
                Err(match error {
                    WriteError::Io => StorageFault::Io,
                    WriteError::NoSpace => StorageFault::NoSpace,
                })
            }
            Some(Blow::FailRead) => {
                self.marks.reads_failed += 1;
                Err(StorageFault::Io)
            }
            Some(Blow::FailSync) => {
                self.marks.syncs_failed += 1;
                self.has_failed_sync = true;
                self.fail_sync(slot, op, &mut answer, wall_ms);
                Err(StorageFault::Io)
            }
            Some(blow @ (Blow::Phantom | Blow::Misdirected)) => {
                let StorageOp::Append { position, bytes, .. } = &op else {
                    unreachable!("these strike appends")
                };
                self.note_damage_anywhere(true);
                let range = *position..*position + bytes.iter().map(|piece| piece.len() as u64).sum::<u64>();
                let result = self.apply(slot, op, wall_ms);
                if let Some(file) = slot.and_then(|slot| self.slots[slot].file.as_mut()) {
                    if blow == Blow::Phantom {
                        file.differ(range, Cause::Phantom);
                    } else {
                        file.misdirect(range, &mut answer);
                    }
                }
                result
            }
        }
    }

    /// A write fails, and may have happened in part.
    fn fail_write(&mut self, slot: Option<usize>, op: StorageOp, answer: &mut Answer, wall_ms: i64) {
        if self.apply_in_part(slot, op, answer, wall_ms) {
            self.marks.partial_writes += 1;
        }
        if let Some(file) = slot.and_then(|slot| self.slots[slot].file.as_mut()) {
            file.is_ragged = true;
        }
    }

    /// An operation that syncs fails. What it does to names may have happened all the same.
    fn fail_sync(&mut self, slot: Option<usize>, op: StorageOp, answer: &mut Answer, wall_ms: i64) {
        if matches!(op, StorageOp::Sync { .. }) {
            if let Some(file) = slot.and_then(|slot| self.slots[slot].file.as_mut()) {
                file.fail_sync();
            }
        } else if answer.chance(1, 4) {
            // Whether the operation would have failed in any case makes no difference to whoever is told that it failed.
            let _ = self.apply(slot, op, wall_ms);
        } else {
            self.apply_in_part(slot, op, answer, wall_ms);
        }
    }

    /// Nothing takes effect until `for_us` have passed.
    fn stall(&mut self, now: u64, for_us: u64) -> Vec<Due> {
        self.faults.stalled_until = self.faults.stalled_until.max(now + for_us);
        self.slots.iter_mut().filter(|slot| slot.waiting > 0).for_each(|slot| slot.due += for_us);
        let mut trees = self.trees.iter_mut();
        let mut dues = Vec::new();
        let pending = std::mem::take(&mut self.pending);
        self.first_pending += pending.len() as u64;
        for mut waiting in pending.into_iter().flatten() {
            waiting.at += for_us;
            let due = Due { at: waiting.at, number: self.first_pending + dues.len() as u64 };
            if waiting.slot.is_none() {
                let wait = trees.next().expect("every operation on names is listed");
                (wait.due, wait.number) = (due.at, due.number);
            }
            dues.push(due);
            self.pending.push_back(Some(waiting));
        }
        self.marks.stalled += dues.len() as u64;
        dues
    }

    /// Flips a bit of a file of a kind, if there is one.
    fn rot(&mut self, now: u64, files: FileKind) {
        let word = |slot: usize| self.field.word(Place::Rot, self.slots[slot].hash, now);
        let has_bits = |slot: &usize| {
            let state = &self.slots[*slot];
            state.file.as_ref().is_some_and(|file| !file.contents().is_empty())
                && self.is_of(&state.name, files)
        };
        // Each file has its own number, so that another file more or less seldom makes a difference.
        let chosen = self.names.values().copied().filter(has_bits).max_by_key(|slot| word(*slot));
        if let Some(slot) = chosen {
            let mut answer = Answer(word(slot));
            if let Some(file) = &mut self.slots[slot].file {
                file.rot(&mut answer);
                self.marks.bits_rotted += 1;
                self.note_damage(&self.slots[slot].name.clone());
            }
        }
    }

    /// Takes all files of a kind away, but for those of the metadata log.
    fn lose(&mut self, files: FileKind) {
        let of_kind = self.names.keys().filter(|name| self.is_of(name, files) && !is_metadata(name));
        for name in of_kind.cloned().collect::<Vec<_>>() {
            self.remove_file(&name);
        }
    }

    const fn note_damage_anywhere(&mut self, is_damaged: bool) {
        self.is_damaged |= is_damaged;
        self.is_metadata_damaged |= is_damaged;
    }

    fn note_damage(&mut self, name: &str) {
        self.is_damaged = true;
        self.is_metadata_damaged |= is_metadata(name);
    }

    /// Whether a name is one of a file of this kind.
    fn is_of(&self, name: &str, kind: FileKind) -> bool {
        let is_segment = name.ends_with(".log");
        let is_metadata = is_metadata(name);
        match kind {
            FileKind::Any => true,
            FileKind::ActiveSegment => is_segment && !is_metadata && self.is_last_segment(name),
            FileKind::ClosedSegment => is_segment && !is_metadata && !self.is_last_segment(name),
            FileKind::Index => name.ends_with(".index") || name.ends_with(".timeindex"),
            FileKind::Snapshot => name.ends_with(".snapshot"),
            FileKind::Checkpoint => name.ends_with("-checkpoint"),
            FileKind::MetadataLog => is_segment && is_metadata,
        }
    }

    /// Whether no segment with a greater offset lies beside this one.
    fn is_last_segment(&self, name: &str) -> bool {
        let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
        let is_behind =
            |other: &str| other > name && other.ends_with(".log") && !other[dir.len() + 1..].contains('/');
        !self.paths_beneath(dir).any(is_behind)
    }

    fn remove_file(&mut self, name: &str) {
        if let Some(slot) = self.names.get(name).copied() {
            self.slots[slot].file = None;
            self.release(slot);
        }
    }

    fn rename(&mut self, from: &StoragePath, to: &StoragePath) -> Result<(), StorageFault> {
        let names = self.tree(from.as_str());
        if names.is_empty() {
            return Err(StorageFault::NotFound);
        }
        assert!(
            self.tree(to.as_str()).is_empty(),
            "{from} is renamed to {to}, which is taken: the contract demands a free name"
        );
        make_directories(&mut self.directories, to.as_str(), true);
        for name in names {
            let moved = StoragePath::new(&format!("{to}{}", &name[from.as_str().len()..]));
            if let Some(slot) = self.names.get(&name).copied()
                && let Some(file) = self.slots[slot].file.take()
            {
                self.release(slot);
                let slot = self.slot_of(&moved);
                self.slots[slot].file = Some(file);
            } else if let Some(is_durable) = self.directories.remove(&name) {
                self.directories.insert(moved.shared(), is_durable || *name == *from.as_str());
            }
        }
        Ok(())
    }

    fn list(&self, dir: &str) -> Vec<DirectoryEntry> {
        let child = |name: &str| -> Option<Arc<str>> {
            let rest = &name[dir.len() + 1..];
            (!rest.contains('/')).then(|| Arc::from(rest))
        };
        let files = self.files_beneath(dir).filter_map(|(name, file)| {
            Some(DirectoryEntry {
                name: child(name)?,
                len: file.contents().len(),
                is_directory: false,
                modified_ms: file.modified_ms,
            })
        });
        let directories = range_beneath(&self.directories, dir).filter_map(|(name, _)| {
            Some(DirectoryEntry { name: child(name)?, len: 0, is_directory: true, modified_ms: 0 })
        });
        let mut entries: Vec<DirectoryEntry> = files.chain(directories).collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        entries
    }

    /// A file or directory and all beneath it, by name.
    fn tree(&self, path: &str) -> Vec<Arc<str>> {
        let file = self.names.get_key_value(path).filter(|(_, slot)| self.slots[**slot].file.is_some());
        let own = file.map(|(name, _)| name);
        let own = own.or_else(|| self.directories.get_key_value(path).map(|(name, _)| name));
        own.into_iter()
            .chain(self.files_beneath(path).map(|(name, _)| name))
            .chain(range_beneath(&self.directories, path).map(|(name, _)| name))
            .cloned()
            .collect()
    }

    /// Decides what still happens of all that is under way, in the order in which it was pushed.
    fn settle(&mut self, now: u64, wall_ms: i64) {
        let pending = std::mem::take(&mut self.pending);
        self.first_pending += pending.len() as u64;
        self.trees.clear();
        // What did not happen, or not whole: whatever the contract orders after it did not happen either.
        let mut stopped: Vec<(StoragePath, bool)> = Vec::new();
        // How many operations on a path were decided, by its hash.
        let mut decided: BTreeMap<u64, u64> = BTreeMap::new();
        for Pending { op, slot, .. } in pending.into_iter().flatten() {
            let is_behind = lanes(&op).any(|(path, is_tree)| {
                stopped.iter().any(|(other, other_is_tree)| is_ordered(path, is_tree, other, *other_is_tree))
            });
            let hash =
                slot.map_or_else(|| hash_of(op.path().as_str().as_bytes()), |slot| self.slots[slot].hash);
            let count = decided.entry(hash).or_default();
            let mut answer = Answer(self.field.word(Place::InFlight, hash.wrapping_add(*count), now));
            *count += 1;
            if !is_behind && answer.chance(1, 2) {
                self.marks.in_flight_applied += 1;
                // A fault here would have been the dead process's to hear of.
                let _ = self.apply(slot, op, wall_ms);
                continue;
            }
            stopped.extend(lanes(&op).map(|(path, is_tree)| (path.clone(), is_tree)));
            if !is_behind {
                self.marks.in_flight_lost += 1;
                self.apply_in_part(slot, op, &mut answer, wall_ms);
            }
        }
        let slots: Vec<usize> = self.names.values().copied().collect();
        for slot in slots {
            let state = &mut self.slots[slot];
            (state.waiting, state.due) = (0, 0);
            if let Some(file) = &mut state.file {
                file.is_ragged = false;
            }
            self.release(slot);
        }
    }

    /// Lets any part of an operation take effect that does not complete; answers whether bytes were left behind.
    fn apply_in_part(
        &mut self,
        slot: Option<usize>,
        op: StorageOp,
        answer: &mut Answer,
        wall_ms: i64,
    ) -> bool {
        match op {
            StorageOp::Append { file, position, bytes: [first, second] } => {
                let whole = (first.len() + second.len()) as u64;
                let len = in_memory(answer.below(whole + 1));
                let cut =
                    [first.slice(..len.min(first.len())), second.slice(..len.saturating_sub(first.len()))];
                len > 0 && self.apply(slot, StorageOp::Append { file, position, bytes: cut }, wall_ms).is_ok()
            }
            StorageOp::Replace { file, bytes } => {
                // It came to its end before the rename: what was written beside the file stays there.
                let beside = file_beside(&file);
                if !answer.chance(1, 2) || self.file(beside.as_str()).is_some() {
                    return false;
                }
                let part = bytes.slice(..in_memory(answer.below(bytes.len() as u64 + 1)));
                make_directories(&mut self.directories, beside.as_str(), false);
                let mut state = File::default();
                state.write(0, [part, Bytes::new()]);
                state.modified_ms = wall_ms;
                let slot = self.slot_of(&beside);
                self.slots[slot].file = Some(state);
                true
            }
            StorageOp::Remove { path } => {
                for name in self.tree(path.as_str()) {
                    if *name != *path.as_str() && answer.chance(1, 2) {
                        self.remove_file(&name);
                    }
                }
                false
            }
            StorageOp::Sync { .. }
            | StorageOp::Read { .. }
            | StorageOp::Truncate { .. }
            | StorageOp::Rename { .. }
            | StorageOp::List { .. } => false,
        }
    }

    fn lose_power_of(&mut self, slot: usize, now: u64) {
        let Slot { name, hash, file: state, .. } = &mut self.slots[slot];
        let Some(file) = state else { return };
        let mut answer = Answer(self.field.word(Place::PowerLoss, *hash, now));
        if file.vanishes(&mut answer) {
            self.marks.vanished += 1;
            *state = None;
            self.release(slot);
            return;
        }
        file.fall_back(&mut answer, &mut self.marks);
        if self.mutation == Some(Mutation::DiskLosesSynced) && name.ends_with(".log") {
            file.forget_synced(answer.below(4 * SECTOR));
        }
        if !file.is_named {
            make_directories(&mut self.directories, name, true);
        }
        file.lose_power(&mut answer, &mut self.marks);
        let is_damaged = !file.damage().is_empty();
        self.note_damage_anywhere(is_damaged);
    }

    /// Flips one bit of one closed segment of every log, if the plan's mutation says so.
    fn flip_closed_segments(&mut self, now: u64) {
        if self.mutation != Some(Mutation::DiskFlipsClosedSegments) {
            return;
        }
        for slot in self.slots_with_files() {
            let name = Arc::clone(&self.slots[slot].name);
            let is_closed = name.ends_with(".log") && !self.is_last_segment(&name);
            let Slot { hash, file: Some(file), .. } = &mut self.slots[slot] else { continue };
            if is_closed && file.contents().len() > 61 {
                let mut answer = Answer(self.field.word(Place::Rot, *hash, now));
                // A byte of the first batch's first record, which its CRC covers.
                let at = answer.between(61, file.contents().len().min(75) - 1);
                file.flip(at, 0x10);
            }
        }
    }
}

/// Whether a file is of the metadata log.
fn is_metadata(name: &str) -> bool {
    name.contains("/__cluster_metadata-")
}

fn make_directories(directories: &mut BTreeMap<Arc<str>, bool>, file: &str, is_durable: bool) {
    let mut above = file.rsplit_once('/').map(|(parent, _)| parent);
    while let Some(name) = above {
        if let Some(known) = directories.get_mut(name) {
            *known |= is_durable;
        } else {
            directories.insert(Arc::from(name), is_durable);
        }
        above = name.rsplit_once('/').map(|(parent, _)| parent);
    }
}

/// The name under which the contract writes a replacement before it renames it.
fn file_beside(file: &StoragePath) -> StoragePath {
    StoragePath::new(&format!("{file}.tmp"))
}

/// Whether an operation concerns all beneath its path too, and the other path it concerns.
const fn reach(op: &StorageOp) -> (bool, Option<&StoragePath>) {
    match op {
        StorageOp::Append { .. }
        | StorageOp::Sync { .. }
        | StorageOp::Read { .. }
        | StorageOp::Truncate { .. }
        | StorageOp::Replace { .. } => (false, None),
        StorageOp::Remove { .. } | StorageOp::List { .. } => (true, None),
        StorageOp::Rename { to, .. } => (true, Some(to)),
    }
}

/// The paths an operation waits on, each with whether it waits for all beneath it too.
fn lanes(op: &StorageOp) -> impl Iterator<Item = (&StoragePath, bool)> {
    let (is_tree, other) = reach(op);
    std::iter::once((op.path(), is_tree)).chain(other.map(|path| (path, true)))
}

/// Whether the contract orders two operations.
fn is_ordered(path: &StoragePath, is_tree: bool, other: &StoragePath, other_is_tree: bool) -> bool {
    path == other
        || (is_tree && is_at_or_beneath(other.as_str(), path.as_str()))
        || (other_is_tree && is_at_or_beneath(path.as_str(), other.as_str()))
}

fn is_at_or_beneath(name: &str, path: &str) -> bool {
    name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the contract has `op` take effect after `earlier`, which was pushed before it.
#[must_use]
pub fn must_follow(op: &StorageOp, earlier: &StorageOp) -> bool {
    lanes(op).any(|(path, is_tree)| {
        lanes(earlier).any(|(other, other_is_tree)| is_ordered(path, is_tree, other, other_is_tree))
    })
}

/// What lies beneath `dir` in a map by path. `0` follows `/` in ASCII.
fn range_beneath<'a, V>(
    map: &'a BTreeMap<Arc<str>, V>,
    dir: &str,
) -> impl Iterator<Item = (&'a Arc<str>, &'a V)> + use<'a, V> {
    let (from, to) = (format!("{dir}/"), format!("{dir}0"));
    map.range::<str, _>((Bound::Included(&*from), Bound::Excluded(&*to)))
}
