//! A disk in memory that keeps the contract of [`sordini_core::storage_op`], and breaks everything that the contract
//! does not promise.
//!
//! Operations wait for as long as the [`Field`] says, in order where the contract orders them and out of order
//! elsewhere. [`Disk::kill`] keeps what was applied, as a page cache does, and decides for what was under way whether it
//! still happened. [`Disk::lose_power`] keeps what was synced and any part of the rest: a shorter file, one torn at a
//! sector, one with sectors of zeros, none at all.
//!
//! Bytes are shared with whoever wrote them; a disk clones in the time of its number of writes.

use crate::field::{Answer, Field, Place};
use crate::plan::{DiskPlan, Mutation, Range};
use crate::trace::hash_of;
use bytes::{Bytes, BytesMut};
use sordini_core::storage_op::{
    Completion, DirectoryEntry, StorageFault, StorageOp, StoragePath, StorageToken,
};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// What a disk writes at once or not at all, in bytes.
pub const SECTOR: u64 = 512;

/// The contents of a file: pieces in the order in which they were written.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Each piece with the position of its first byte; none is empty.
    pieces: Vec<(u64, Bytes)>,
    len: u64,
}

impl Contents {
    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Up to `len` bytes from `position`; shared with the file where they lie in one piece of it.
    #[must_use]
    pub fn read(&self, position: u64, len: u64) -> Bytes {
        let end = self.len.min(position.saturating_add(len));
        if position >= end {
            return Bytes::new();
        }
        let first = self.pieces.partition_point(|(start, _)| *start <= position) - 1;
        let (start, piece) = &self.pieces[first];
        let within = |offset: u64| usize::try_from(offset).expect("a piece lies in memory");
        if end <= start + piece.len() as u64 {
            return piece.slice(within(position - start)..within(end - start));
        }
        let mut joined = BytesMut::with_capacity(within(end - position));
        for (start, piece) in &self.pieces[first..] {
            if *start >= end {
                break;
            }
            let from = within(position.saturating_sub(*start));
            let to = within((end - start).min(piece.len() as u64));
            joined.extend_from_slice(&piece[from..to]);
        }
        joined.freeze()
    }

    /// Everything.
    #[must_use]
    pub fn all(&self) -> Bytes {
        self.read(0, self.len)
    }

    /// Adds `bytes` at the end.
    pub fn append(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            let start = self.len;
            self.len += bytes.len() as u64;
            self.pieces.push((start, bytes));
        }
    }

    /// Cuts to `len`, if it is longer.
    pub fn truncate(&mut self, len: u64) {
        if len >= self.len {
            return;
        }
        self.pieces.truncate(self.pieces.partition_point(|(start, _)| *start < len));
        if let Some((start, piece)) = self.pieces.last_mut() {
            piece.truncate(usize::try_from(len - *start).expect("a piece lies in memory"));
        }
        self.len = len;
    }

    /// Puts `change` over what is at `position`, which must lie within.
    fn overwrite(&mut self, position: u64, change: &[u8]) {
        assert!(position + change.len() as u64 <= self.len, "an overwrite lies within the file");
        let mut tail = BytesMut::from(&*self.read(position, self.len - position));
        tail[..change.len()].copy_from_slice(change);
        self.truncate(position);
        self.append(tail.freeze());
    }
}

/// A file as running processes see it, and what a loss of power may make of it.
#[derive(Clone, Debug, Default)]
struct File {
    contents: Contents,
    /// How much of `contents`, from the start, is durable.
    durable_len: u64,
    /// What the file held before each truncation since the last sync, with how much of that was durable. A truncation
    /// that was not synced may be undone.
    before_truncations: Vec<(Contents, u64)>,
    /// Whether the name is durable.
    is_named: bool,
    modified_ms: i64,
}

impl File {
    fn sync(&mut self) {
        self.durable_len = self.contents.len();
        self.before_truncations.clear();
        self.is_named = true;
    }

    /// Writes over the beginning; as with a truncation, what was there may come back.
    fn overwrite(&mut self, bytes: &[Bytes]) {
        let before = self.contents.clone();
        self.before_truncations.push((before.clone(), self.durable_len));
        (self.contents, self.durable_len) = (Contents::default(), 0);
        for piece in bytes {
            self.contents.append(piece.clone());
        }
        self.contents.append(before.read(self.contents.len(), before.len()));
    }

    fn truncate(&mut self, len: u64) {
        if len < self.contents.len() {
            self.before_truncations.push((self.contents.clone(), self.durable_len));
            self.contents.truncate(len);
            self.durable_len = self.durable_len.min(len);
        }
    }
}

#[derive(Clone, Debug)]
struct Pending {
    token: StorageToken,
    op: StorageOp,
}

/// When the last of the operations that wait on a path takes effect.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    due: u64,
    waiting: u32,
}

/// When an operation takes effect, and the number to ask for it by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The virtual time in microseconds.
    pub at: u64,
    /// What [`Disk::complete`] is to be called with.
    pub number: u64,
}

/// What losses of power and deaths of the process came to; a sweep in which one never happened proves nothing about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskMarks {
    /// Files that lost all that was not synced.
    pub lost_suffix: u64,
    /// Files that kept a part of what was not synced, ending in the middle of a write or sector.
    pub torn: u64,
    /// Files in which sectors that were not synced came back as zeros.
    pub zeroed: u64,
    /// Files that were never synced and are gone.
    pub vanished: u64,
    /// Files whose unsynced truncation was undone.
    pub untruncated: u64,
    /// Operations under way that still happened.
    pub in_flight_applied: u64,
    /// Operations under way that did not happen, or not whole.
    pub in_flight_lost: u64,
}

impl DiskMarks {
    /// Adds the counts of another run.
    pub const fn add(&mut self, other: &Self) {
        self.lost_suffix += other.lost_suffix;
        self.torn += other.torn;
        self.zeroed += other.zeroed;
        self.vanished += other.vanished;
        self.untruncated += other.untruncated;
        self.in_flight_applied += other.in_flight_applied;
        self.in_flight_lost += other.in_flight_lost;
    }

    /// Every mark by name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("unsynced suffix lost", self.lost_suffix),
            ("write torn", self.torn),
            ("sectors zeroed", self.zeroed),
            ("unsynced file vanished", self.vanished),
            ("truncation undone", self.untruncated),
            ("operation in flight applied", self.in_flight_applied),
            ("operation in flight lost", self.in_flight_lost),
        ]
    }
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

/// A disk under one node; it outlives the node's incarnations.
#[derive(Clone, Debug)]
pub struct Disk {
    field: Field,
    plan: DiskPlan,
    mutation: Option<Mutation>,
    files: BTreeMap<Arc<str>, File>,
    /// Every directory, with whether its name is durable.
    directories: BTreeMap<Arc<str>, bool>,
    /// What was pushed and has not taken effect, in the order in which it was pushed.
    pending: BTreeMap<u64, Pending>,
    pushed: u64,
    /// Operations that wait on one file.
    file_lanes: BTreeMap<Arc<str>, Lane>,
    /// Operations that wait on a path and all beneath it.
    tree_lanes: BTreeMap<Arc<str>, Lane>,
    marks: DiskMarks,
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub const fn new(field: Field, plan: DiskPlan, mutation: Option<Mutation>) -> Self {
        Self {
            field,
            plan,
            mutation,
            files: BTreeMap::new(),
            directories: BTreeMap::new(),
            pending: BTreeMap::new(),
            pushed: 0,
            file_lanes: BTreeMap::new(),
            tree_lanes: BTreeMap::new(),
            marks: DiskMarks {
                lost_suffix: 0,
                torn: 0,
                zeroed: 0,
                vanished: 0,
                untruncated: 0,
                in_flight_applied: 0,
                in_flight_lost: 0,
            },
        }
    }

    /// Takes an operation at the virtual time `now`. The caller calls [`Self::complete`] when it is due, in the order of
    /// times and, where those are equal, of numbers.
    pub fn submit(&mut self, now: u64, token: StorageToken, op: StorageOp) -> Due {
        let number = self.pushed;
        self.pushed += 1;
        let mut at = now + self.latency(now, &op);
        for (path, is_tree) in lanes(&op) {
            at = at.max(self.busy_until(path, is_tree));
        }
        for (path, is_tree) in lanes(&op) {
            let lane = self.lanes_mut(is_tree).entry(path.shared()).or_default();
            lane.due = at;
            lane.waiting += 1;
        }
        self.pending.insert(number, Pending { token, op });
        Due { at, number }
    }

    /// Lets the operation take effect and answers it; nothing if the process that pushed it died.
    pub fn complete(
        &mut self,
        number: u64,
        wall_ms: i64,
    ) -> Option<(StorageToken, Result<Completion, StorageFault>)> {
        let Pending { token, op } = self.pending.remove(&number)?;
        for (path, is_tree) in lanes(&op) {
            let lanes = self.lanes_mut(is_tree);
            if let Some(lane) = lanes.get_mut(path.as_str()) {
                lane.waiting -= 1;
                if lane.waiting == 0 {
                    lanes.remove(path.as_str());
                }
            }
        }
        Some((token, self.apply(op, wall_ms)))
    }

    /// The process dies. What was applied stays; of what was under way, the field decides.
    pub fn kill(&mut self, now: u64, wall_ms: i64) {
        self.settle(now, wall_ms);
    }

    /// The machine loses power: as [`Self::kill`], and then of everything that is not durable any part is lost.
    pub fn lose_power(&mut self, now: u64, wall_ms: i64) {
        self.settle(now, wall_ms);
        let names: Vec<Arc<str>> = self.files.keys().cloned().collect();
        for name in names {
            self.lose_power_of(&name, now);
        }
        let field = self.field;
        let files = &self.files;
        self.directories.retain(|name, is_durable| {
            *is_durable
                || range_beneath(files, name).next().is_some()
                || Answer(field.word(Place::PowerLoss, hash_of(name.as_bytes()), now)).chance(1, 2)
        });
        self.rot(now);
    }

    /// The contents of a file as running processes see them.
    #[must_use]
    pub fn contents(&self, path: &str) -> Option<&Contents> {
        self.files.get(path).map(|file| &file.contents)
    }

    /// How much of a file, from its start, no loss of power can take; 0 for one that is absent or was never synced.
    #[must_use]
    pub fn durable_len(&self, path: &str) -> u64 {
        self.files.get(path).map_or(0, |file| file.durable_len)
    }

    /// The names of all files, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(|name| &**name)
    }

    /// The names of the files beneath a directory, in order.
    pub fn paths_beneath<'a>(&'a self, dir: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        range_beneath(&self.files, dir).map(|(name, _)| &**name)
    }

    /// The operations that were pushed and have not taken effect, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &StorageOp> {
        self.pending.values().map(|pending| &pending.op)
    }

    /// What the losses came to so far.
    #[must_use]
    pub const fn marks(&self) -> DiskMarks {
        self.marks
    }

    fn lanes_mut(&mut self, is_tree: bool) -> &mut BTreeMap<Arc<str>, Lane> {
        if is_tree { &mut self.tree_lanes } else { &mut self.file_lanes }
    }

    /// When everything pushed before that the contract orders before an operation on `path` has taken effect.
    fn busy_until(&self, path: &StoragePath, is_tree: bool) -> u64 {
        let mut until = self.file_lanes.get(path.as_str()).map_or(0, |lane| lane.due);
        if !self.tree_lanes.is_empty() {
            let mut above = Some(path.as_str());
            while let Some(name) = above {
                until = until.max(self.tree_lanes.get(name).map_or(0, |lane| lane.due));
                above = name.rsplit_once('/').map(|(parent, _)| parent);
            }
        }
        if is_tree {
            for lanes in [&self.file_lanes, &self.tree_lanes] {
                until =
                    range_beneath(lanes, path.as_str()).fold(until, |until, (_, lane)| until.max(lane.due));
            }
        }
        until
    }

    fn latency(&self, now: u64, op: &StorageOp) -> u64 {
        let Range { low, high } = match op {
            StorageOp::Append { .. } | StorageOp::Truncate { .. } => self.plan.write_us,
            StorageOp::Read { .. } | StorageOp::List { .. } => self.plan.read_us,
            StorageOp::Sync { .. }
            | StorageOp::Replace { .. }
            | StorageOp::Rename { .. }
            | StorageOp::Remove { .. } => self.plan.sync_us,
        };
        let device = hash_of(op.path().as_str().as_bytes());
        let mut answer = Answer(self.field.word(Place::StorageLatency, device, now));
        let usual = answer.between(low, high);
        // One operation in 200 finds the device busy with something else.
        if answer.chance(1, 200) { usual * 20 } else { usual }
    }

    fn apply(&mut self, op: StorageOp, wall_ms: i64) -> Result<Completion, StorageFault> {
        match op {
            StorageOp::Append { file, position, bytes } => {
                if position == 0 && !self.files.contains_key(file.as_str()) {
                    self.make_directories(&file, false);
                    self.files.insert(file.shared(), File::default());
                }
                let state = self.files.get_mut(file.as_str()).ok_or(StorageFault::NotFound)?;
                let len = bytes.iter().map(|piece| piece.len() as u64).sum::<u64>();
                if position != state.contents.len() && len > 0 {
                    // The one write that may lie inside: at the beginning of a file that was thought to be absent.
                    assert_eq!(position, 0, "{file} has {} bytes, not {position}", state.contents.len());
                    state.overwrite(&bytes);
                    return Ok(Completion::Done);
                }
                for piece in bytes {
                    state.contents.append(piece);
                }
                state.modified_ms = wall_ms;
                Ok(Completion::Done)
            }
            StorageOp::Sync { file } => {
                let state = self.files.get_mut(file.as_str()).ok_or(StorageFault::NotFound)?;
                if self.mutation != Some(Mutation::SyncDoesNothing) {
                    state.sync();
                    self.make_directories(&file, true);
                }
                Ok(Completion::Done)
            }
            StorageOp::Read { file, position, len } => {
                let state = self.files.get(file.as_str()).ok_or(StorageFault::NotFound)?;
                Ok(Completion::Bytes(state.contents.read(position, u64::from(len))))
            }
            StorageOp::Truncate { file, len } => {
                let state = self.files.get_mut(file.as_str()).ok_or(StorageFault::NotFound)?;
                assert!(
                    len <= state.contents.len(),
                    "{file} is cut to {len} and has {}: the contract demands a length that it has",
                    state.contents.len()
                );
                state.truncate(len);
                state.modified_ms = wall_ms;
                Ok(Completion::Done)
            }
            StorageOp::Replace { file, bytes } => {
                self.make_directories(&file, true);
                let mut state = File { modified_ms: wall_ms, ..File::default() };
                state.contents.append(bytes);
                state.sync();
                self.files.insert(file.shared(), state);
                self.files.remove(file_beside(&file).as_str());
                Ok(Completion::Done)
            }
            StorageOp::Rename { from, to } => {
                self.rename(&from, &to)?;
                Ok(Completion::Done)
            }
            StorageOp::Remove { path } => {
                for name in self.tree(path.as_str()) {
                    self.files.remove(&name);
                    self.directories.remove(&name);
                }
                Ok(Completion::Done)
            }
            StorageOp::List { dir } => Ok(Completion::Entries(self.list(dir.as_str()))),
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
        self.make_directories(to, true);
        for name in names {
            let moved: Arc<str> = Arc::from(format!("{to}{}", &name[from.as_str().len()..]));
            if let Some(file) = self.files.remove(&name) {
                self.files.insert(moved, file);
            } else if let Some(is_durable) = self.directories.remove(&name) {
                self.directories.insert(moved, is_durable || *name == *from.as_str());
            }
        }
        Ok(())
    }

    fn list(&self, dir: &str) -> Vec<DirectoryEntry> {
        let child = |name: &str| -> Option<Arc<str>> {
            let rest = &name[dir.len() + 1..];
            (!rest.contains('/')).then(|| Arc::from(rest))
        };
        let files = range_beneath(&self.files, dir).filter_map(|(name, file)| {
            Some(DirectoryEntry {
                name: child(name)?,
                len: file.contents.len(),
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

    /// `path` and everything beneath it, as far as it exists.
    fn tree(&self, path: &str) -> Vec<Arc<str>> {
        let own = self
            .files
            .get_key_value(path)
            .map(|(name, _)| name)
            .or_else(|| self.directories.get_key_value(path).map(|(name, _)| name));
        own.into_iter()
            .chain(range_beneath(&self.files, path).map(|(name, _)| name))
            .chain(range_beneath(&self.directories, path).map(|(name, _)| name))
            .cloned()
            .collect()
    }

    fn make_directories(&mut self, file: &StoragePath, is_durable: bool) {
        let mut above = file.as_str().rsplit_once('/').map(|(parent, _)| parent);
        while let Some(name) = above {
            if let Some(known) = self.directories.get_mut(name) {
                *known |= is_durable;
            } else {
                self.directories.insert(Arc::from(name), is_durable);
            }
            above = name.rsplit_once('/').map(|(parent, _)| parent);
        }
    }

    /// Decides what still happens of all that is under way, in the order in which it was pushed.
    fn settle(&mut self, now: u64, wall_ms: i64) {
        let pending = std::mem::take(&mut self.pending);
        self.file_lanes.clear();
        self.tree_lanes.clear();
        // What did not happen, or not whole: whatever the contract orders after it did not happen either.
        let mut stopped: Vec<(StoragePath, bool)> = Vec::new();
        for (number, Pending { op, .. }) in pending {
            let is_behind = lanes(&op).any(|(path, is_tree)| {
                stopped.iter().any(|(other, other_is_tree)| is_ordered(path, is_tree, other, *other_is_tree))
            });
            let mut answer = Answer(self.field.word(Place::InFlight, number, now));
            if !is_behind && answer.chance(1, 2) {
                self.marks.in_flight_applied += 1;
                // A fault here would have been the dead process's to hear of.
                let _ = self.apply(op, wall_ms);
                continue;
            }
            stopped.extend(lanes(&op).map(|(path, is_tree)| (path.clone(), is_tree)));
            if !is_behind {
                self.marks.in_flight_lost += 1;
                self.apply_in_part(op, &mut answer, wall_ms);
            }
        }
    }

    fn apply_in_part(&mut self, op: StorageOp, answer: &mut Answer, wall_ms: i64) {
        match op {
            StorageOp::Append { file, position, bytes: [first, second] } => {
                let whole = (first.len() + second.len()) as u64;
                let len = usize::try_from(answer.below(whole + 1)).expect("a part of what lies in memory");
                let cut =
                    [first.slice(..len.min(first.len())), second.slice(..len.saturating_sub(first.len()))];
                if len > 0 {
                    let _ = self.apply(StorageOp::Append { file, position, bytes: cut }, wall_ms);
                }
            }
            StorageOp::Replace { file, bytes } => {
                // Death came before the rename: what was written beside the file stays there.
                let beside = file_beside(&file);
                if answer.chance(1, 2) && !self.files.contains_key(beside.as_str()) {
                    let len =
                        usize::try_from(answer.below(bytes.len() as u64 + 1)).expect("a part of the bytes");
                    self.make_directories(&beside, false);
                    let mut state = File { modified_ms: wall_ms, ..File::default() };
                    state.contents.append(bytes.slice(..len));
                    self.files.insert(beside.shared(), state);
                }
            }
            StorageOp::Remove { path } => {
                for name in self.tree(path.as_str()) {
                    if *name != *path.as_str() && answer.chance(1, 2) {
                        self.files.remove(&name);
                    }
                }
            }
            StorageOp::Sync { .. }
            | StorageOp::Read { .. }
            | StorageOp::Truncate { .. }
            | StorageOp::Rename { .. }
            | StorageOp::List { .. } => {}
        }
    }

    fn lose_power_of(&mut self, name: &Arc<str>, now: u64) {
        let mut answer = Answer(self.field.word(Place::PowerLoss, hash_of(name.as_bytes()), now));
        let file = self.files.get_mut(name).expect("the name was taken from the files");
        if !file.is_named && answer.chance(1, 3) {
            self.files.remove(name);
            self.marks.vanished += 1;
            return;
        }
        let versions = file.before_truncations.len() as u64;
        // The truncations may be undone from the last one backwards, with what was appended after each.
        if versions > 0 && answer.chance(1, 2) {
            let version = usize::try_from(answer.below(versions)).expect("a place in a list");
            (file.contents, file.durable_len) = file.before_truncations.swap_remove(version);
            self.marks.untruncated += 1;
        }
        if self.mutation == Some(Mutation::DiskLosesSynced) && name.ends_with(".log") {
            file.durable_len = file.durable_len.saturating_sub(answer.below(4 * SECTOR));
        }
        let (durable, len) = (file.durable_len, file.contents.len());
        if durable < len {
            match answer.below(4) {
                0 => {}
                1 => file.contents.truncate(durable),
                2 => file.contents.truncate(answer.between(durable, len)),
                _ => {
                    let end = answer.between(durable, len);
                    file.contents.truncate(durable.max(end - end % SECTOR));
                }
            }
            let left = file.contents.len();
            if left == durable {
                self.marks.lost_suffix += 1;
            } else if left < len {
                self.marks.torn += 1;
            }
            if left > durable && answer.chance(1, 3) {
                zero_sectors(&mut file.contents, durable, &mut answer);
                self.marks.zeroed += 1;
            }
        }
        // What came back is what the platters hold: a later loss of power finds it there.
        file.sync();
        let path = StoragePath::new(name);
        self.make_directories(&path, true);
    }

    /// Flips one bit of one closed segment of every log, if the plan's mutation says so.
    fn rot(&mut self, now: u64) {
        if self.mutation != Some(Mutation::DiskFlipsClosedSegments) {
            return;
        }
        let names: Vec<Arc<str>> = self.files.keys().filter(|name| name.ends_with(".log")).cloned().collect();
        for pair in names.windows(2) {
            let [closed, next] = pair else { unreachable!("windows of two") };
            let is_closed = StoragePath::new(closed).parent() == StoragePath::new(next).parent();
            let file = self.files.get_mut(closed).expect("the name was taken from the files");
            if is_closed && file.contents.len() > 61 {
                let mut answer = Answer(self.field.word(Place::Rot, hash_of(closed.as_bytes()), now));
                // A byte of the first batch's first record, which its CRC covers.
                let at = answer.between(61, file.contents.len().min(75) - 1);
                let flipped = file.contents.read(at, 1)[0] ^ 0x10;
                file.contents.overwrite(at, &[flipped]);
            }
        }
    }
}

impl Disk {
    /// The machine loses power while nothing is under way, and `left` says of each file what stays.
    ///
    /// # Panics
    /// If an operation is under way.
    pub fn lose_power_leaving(&mut self, left: impl Fn(&str) -> Left) {
        assert!(self.pending.is_empty(), "what is under way is for the field to decide");
        for (name, mut file) in std::mem::take(&mut self.files) {
            match left(&name) {
                Left::All => {}
                Left::Nothing if !file.is_named => continue,
                Left::Nothing => {
                    if !file.before_truncations.is_empty() {
                        (file.contents, file.durable_len) = file.before_truncations.swap_remove(0);
                    }
                    file.contents.truncate(file.durable_len);
                }
                Left::First(len) => file.contents.truncate(file.durable_len.saturating_add(len)),
                Left::Zeros => {
                    let zeros = usize::try_from(file.contents.len() - file.durable_len);
                    let zeros = vec![0; zeros.expect("a part of what lies in memory")];
                    file.contents.overwrite(file.durable_len, &zeros);
                }
            }
            file.sync();
            self.make_directories(&StoragePath::new(&name), true);
            self.files.insert(name, file);
        }
        self.directories.retain(|_, is_durable| *is_durable);
    }
}

/// The name under which the contract writes a replacement before it renames it.
fn file_beside(file: &StoragePath) -> StoragePath {
    StoragePath::new(&format!("{file}.tmp"))
}

/// Turns some sectors from `durable` on into zeros: a run of them, as when the length reached the disk and the data did
/// not, or a tail.
fn zero_sectors(contents: &mut Contents, durable: u64, answer: &mut Answer) {
    let len = contents.len();
    let first = durable / SECTOR;
    let sectors = len.div_ceil(SECTOR) - first;
    let from = first + answer.below(sectors);
    let count = if answer.chance(1, 2) { sectors } else { answer.between(1, 3) };
    let start = (from * SECTOR).max(durable);
    let end = ((from + count) * SECTOR).min(len);
    let zeros = usize::try_from(end - start).expect("a part of what lies in memory");
    contents.overwrite(start, &vec![0; zeros]);
}

/// The paths an operation waits on, each with whether it waits for all beneath it too.
fn lanes(op: &StorageOp) -> impl Iterator<Item = (&StoragePath, bool)> {
    let (is_tree, other) = match op {
        StorageOp::Append { .. }
        | StorageOp::Sync { .. }
        | StorageOp::Read { .. }
        | StorageOp::Truncate { .. }
        | StorageOp::Replace { .. } => (false, None),
        StorageOp::Remove { .. } | StorageOp::List { .. } => (true, None),
        StorageOp::Rename { to, .. } => (true, Some(to)),
    };
    std::iter::once((op.path(), is_tree)).chain(other.map(|path| (path, true)))
}

/// Whether the contract orders two operations.
fn is_ordered(path: &StoragePath, is_tree: bool, other: &StoragePath, other_is_tree: bool) -> bool {
    let lies_beneath = |inner: &StoragePath, outer: &StoragePath| {
        inner.as_str().strip_prefix(outer.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    path == other || (is_tree && lies_beneath(other, path)) || (other_is_tree && lies_beneath(path, other))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(seed: u64) -> Disk {
        let range = |low, high| Range { low, high };
        let plan = DiskPlan {
            write_us: range(1, 50),
            read_us: range(1, 50),
            sync_us: range(1, 50),
            answer_us: range(0, 0),
        };
        Disk::new(Field::new(seed), plan, None)
    }

    fn append(file: &str, position: u64, bytes: &[u8]) -> StorageOp {
        let bytes = [Bytes::copy_from_slice(bytes), Bytes::new()];
        StorageOp::Append { file: StoragePath::new(file), position, bytes }
    }

    fn sync(file: &str) -> StorageOp {
        StorageOp::Sync { file: StoragePath::new(file) }
    }

    fn submit(disk: &mut Disk, op: StorageOp) -> Due {
        disk.submit(0, StorageToken { owner: 0, sequence: 0 }, op)
    }

    fn run(disk: &mut Disk, op: StorageOp) -> Result<Completion, StorageFault> {
        let due = submit(disk, op);
        disk.complete(due.number, 0).expect("it was pushed").1
    }

    #[test]
    fn operations_on_one_file_are_due_in_the_order_pushed_and_those_on_two_are_not() {
        let mut overtook = false;
        for seed in 0..50 {
            let mut disk = disk(seed);
            let dues: Vec<u64> = (0..5).map(|at| submit(&mut disk, append("0/a", at, b"x")).at).collect();
            assert!(dues.is_sorted());
            overtook |= submit(&mut disk, append("0/b", 0, b"x")).at < dues[4];
            let list = submit(&mut disk, StorageOp::List { dir: StoragePath::new("0") });
            assert!(list.at >= dues[4], "a listing comes after everything beneath");
        }
        assert!(overtook, "somewhere a later write to another file is done earlier");
    }

    #[test]
    fn a_read_shares_the_bytes_that_were_appended() {
        let mut contents = Contents::default();
        let written = Bytes::from(vec![7; 100]);
        contents.append(written.clone());
        contents.append(Bytes::from(vec![8; 100]));
        assert_eq!(contents.read(10, 20).as_ptr(), written[10..].as_ptr());
        assert_eq!(contents.read(90, 20), [[7; 10], [8; 10]].concat());
    }

    #[test]
    fn a_kill_keeps_what_was_applied_and_some_of_what_was_under_way() {
        let (mut kept, mut torn, mut lost) = (0, 0, 0);
        for seed in 0..100 {
            let mut disk = disk(seed);
            run(&mut disk, append("0/a", 0, b"before")).unwrap();
            submit(&mut disk, append("0/a", 6, b" under way"));
            submit(&mut disk, append("0/a", 16, b"!"));
            disk.kill(9, 0);
            let left = disk.contents("0/a").unwrap().all();
            assert!(b"before under way!".starts_with(&left) && left.len() >= 6);
            match left.len() {
                6 => lost += 1,
                16.. => kept += 1,
                _ => torn += 1,
            }
        }
        assert!(kept > 0 && torn > 0 && lost > 0, "{kept} kept, {torn} torn, {lost} lost");
    }

    #[test]
    fn a_loss_of_power_keeps_what_was_synced_and_any_part_of_the_rest() {
        let mut marks = DiskMarks::default();
        for seed in 0..200 {
            let mut disk = disk(seed);
            run(&mut disk, append("0/a", 0, &[1; 1_000])).unwrap();
            run(&mut disk, sync("0/a")).unwrap();
            run(&mut disk, append("0/a", 1_000, &[2; 3_000])).unwrap();
            run(&mut disk, append("0/never", 0, &[3; 10])).unwrap();
            disk.lose_power(7, 0);
            let left = disk.contents("0/a").unwrap().all();
            assert_eq!(left[..1_000], [1; 1_000], "seed {seed}");
            assert!(left[1_000..].iter().all(|byte| [0, 2].contains(byte)), "seed {seed}");
            marks.add(&disk.marks());
        }
        assert!(
            marks.lost_suffix > 0 && marks.torn > 0 && marks.zeroed > 0 && marks.vanished > 0,
            "{marks:?}"
        );
    }

    #[test]
    fn a_hand_may_say_what_a_loss_of_power_leaves_of_each_file() {
        let mut disk = disk(1);
        for file in ["0/a", "0/b", "0/c", "0/d"] {
            run(&mut disk, append(file, 0, b"durable")).unwrap();
            run(&mut disk, sync(file)).unwrap();
            run(&mut disk, append(file, 7, b" not")).unwrap();
        }
        run(&mut disk, StorageOp::Truncate { file: StoragePath::new("0/b"), len: 2 }).unwrap();
        run(&mut disk, append("1/never", 0, b"gone")).unwrap();
        disk.lose_power_leaving(|name| match name {
            "0/a" => Left::All,
            "0/c" => Left::First(2),
            "0/d" => Left::Zeros,
            _ => Left::Nothing,
        });
        assert_eq!(disk.paths().collect::<Vec<_>>(), ["0/a", "0/b", "0/c", "0/d"]);
        let left = |name| disk.contents(name).unwrap().all();
        assert_eq!(left("0/a"), "durable not");
        assert_eq!(left("0/b"), "durable");
        assert_eq!(left("0/c"), "durable n");
        assert_eq!(left("0/d"), "durable\0\0\0\0");
        assert_eq!(disk.durable_len("0/d"), 11, "what came back is what the platters hold");
    }

    #[test]
    fn a_truncation_that_was_not_synced_may_be_undone_by_a_loss_of_power() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let mut disk = disk(seed);
            run(&mut disk, append("0/a", 0, &[1; 10])).unwrap();
            run(&mut disk, sync("0/a")).unwrap();
            run(&mut disk, StorageOp::Truncate { file: StoragePath::new("0/a"), len: 4 }).unwrap();
            assert_eq!(disk.durable_len("0/a"), 4);
            disk.lose_power(3, 0);
            lengths.insert(disk.contents("0/a").unwrap().len());
        }
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [4, 10]);
    }

    #[test]
    fn a_replacement_under_way_may_leave_its_temporary_file_behind() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let mut disk = disk(seed);
            let replace = |bytes: &'static [u8]| StorageOp::Replace {
                file: StoragePath::new("0/meta"),
                bytes: Bytes::from_static(bytes),
            };
            run(&mut disk, replace(b"old")).unwrap();
            submit(&mut disk, replace(b"new"));
            disk.kill(3, 0);
            let file = disk.contents("0/meta").unwrap().all();
            seen.insert((file == "new", disk.contents("0/meta.tmp").is_some()));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(false, false), (false, true), (true, false)]);
    }
}
