//! Carries out [`StorageOp`]s on real files, by the contract in [`sordini_core::storage_op`].
//!
//! One thread, the driver's, submits operations and takes completions. What is short (appends to the page cache, reads
//! of resident pages) is done there and then, because handing it to another thread would cost more than doing it; what
//! may wait for a device goes to a small pool of threads.
//!
//! **Order.** Operations are sorted into *lanes*, one per entry of a log directory: a partition's directory with all
//! that lies in it, or a file that lies in the log directory itself. A lane is worked off in order, one operation at a
//! time, with two exceptions which need no order: a `Sync` may overlap with what follows it, because making more durable
//! than was asked is allowed; a read of pages that are not resident is bounded by the file's length when its turn comes.
//! What cuts a file, or changes what its name means, waits for both. A rename between two lanes is a gate in both. An
//! operation on a log directory as a whole waits until all else in it is done, and all else waits for it.
//!
//! **Open files.** Some are kept open, and a thread opens others for the operation it is at. What waits for a thread holds
//! none, so that their number does not grow with what waits.

mod file_ops;
mod files;
pub mod lock;
mod pool;

pub use crate::disk::files::LentFile;

use crate::disk::files::{Files, is_at_or_beneath};
use crate::disk::pool::{Pool, Report, Task, Work};
use bytes::Bytes;
use sordini_core::storage_op::{Completion, StorageFault, StorageOp, StoragePath, StorageToken};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a [`Disk`] works, apart from where.
#[derive(Clone, Copy, Debug)]
pub struct DiskOptions {
    /// The most threads that wait for devices. They are started when needed. With none, whoever submits waits.
    pub threads_max: usize,
    /// Appends of up to this many bytes are written by the submitting thread.
    pub inline_append_bytes_max: usize,
    /// Reads of up to this many bytes are done by the submitting thread, if that needs no device.
    pub inline_read_bytes_max: u32,
    /// How many files are kept open, for operations and for the answers that are sent from them. Apart from these each
    /// thread has a few open.
    pub open_files_max: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            threads_max: 4,
            inline_append_bytes_max: usize::MAX,
            inline_read_bytes_max: u32::MAX,
            open_files_max: 4096,
        }
    }
}

/// What became of an operation.
pub type StorageResult = Result<Completion, StorageFault>;

/// The bytes of a range of a file.
#[derive(Debug)]
pub enum Range {
    /// Themselves.
    Copied(Bytes),
    /// Where to find them.
    Lent(Arc<LentFile>),
}

/// The log directories of a node.
#[derive(Debug)]
pub struct Disk {
    options: DiskOptions,
    files: Files,
    /// The lanes in which something is queued or under way; an idle lane is not kept.
    lanes: BTreeMap<Arc<str>, Lane>,
    /// By number of the log directory.
    log_dirs: Vec<LogDir>,
    pool: Pool,
    /// Answers that were not taken yet, oldest first.
    completed: VecDeque<(StorageToken, StorageResult)>,
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Item>,
    /// Operations that were handed to a thread as one task, in which nothing else of the lane may run.
    exclusive: usize,
    /// The files of the reads and syncs under way beside the queue, each as often as it has some.
    beside: Vec<StoragePath>,
    /// The lane stands at a gate that is not open or behind which an operation runs.
    gated: bool,
}

impl Lane {
    /// Whether the operation would cut or rename a file under the hands of those beside the queue.
    fn has_to_wait(&self, op: &StorageOp) -> bool {
        self.beside.iter().any(|file| {
            matches!(op, StorageOp::Truncate { file: cut, .. } if cut == file)
                || changed_names(op).iter().any(|name| is_at_or_beneath(file.as_str(), name.as_str()))
        })
    }

    /// A read or sync of the file is done.
    fn leave(&mut self, file: &StoragePath) {
        if let Some(at) = self.beside.iter().position(|other| other == file) {
            self.beside.swap_remove(at);
        }
    }
}

#[derive(Debug)]
enum Item {
    Op(StorageToken, StorageOp),
    Gate(Rc<RefCell<Gate>>),
}

/// An operation that needs several lanes for itself.
#[derive(Debug)]
struct Gate {
    lanes: Vec<Arc<str>>,
    /// How many of them have not come to the gate yet.
    missing: usize,
    op: Option<(StorageToken, StorageOp)>,
}

#[derive(Debug, Default)]
struct LogDir {
    /// Operations in lanes that were not completed yet.
    under_way: usize,
    /// Whether an operation on the whole log directory runs.
    wide: bool,
    /// What was submitted behind an operation on the whole log directory, itself included.
    held: VecDeque<(StorageToken, StorageOp)>,
    /// Until when appends go to threads, since one was slow.
    fuse_blown_until: Option<Instant>,
}

impl Disk {
    /// A disk over `log_dirs`, in the order of `log.dirs`. `on_completion` is called from a disk thread when
    /// [`Disk::collect`] has something to collect.
    #[must_use]
    pub fn new(
        log_dirs: &[PathBuf],
        options: DiskOptions,
        on_completion: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            options,
            files: Files::new(log_dirs.to_vec(), options.open_files_max),
            lanes: BTreeMap::new(),
            log_dirs: log_dirs.iter().map(|_| LogDir::default()).collect(),
            pool: Pool::new(options.threads_max, on_completion),
            completed: VecDeque::new(),
        }
    }

    /// Takes an operation. Its answer comes from [`Disk::next_completed`], perhaps at once.
    pub fn submit(&mut self, token: StorageToken, op: StorageOp) {
        let Some(log_dir) = self.files.log_dir_of(op.path().as_str()) else {
            tracing::error!(path = %op.path(), "a storage operation names no log directory");
            self.completed.push_back((token, Err(StorageFault::Io)));
            return;
        };
        let state = &mut self.log_dirs[log_dir];
        if state.wide || !state.held.is_empty() || is_wide(&op) {
            state.held.push_back((token, op));
            self.release_held(log_dir);
        } else {
            self.enter_lane(log_dir, token, op);
        }
    }

    /// Takes in what the threads have finished since the last call.
    pub fn collect(&mut self) {
        for Report { token, lane, work, result, last } in self.pool.take_reports() {
            if let Err(fault) = &result {
                tracing::debug!(lane = %lane, ?token, ?fault, "a storage operation failed");
            }
            self.completed.push_back((token, result));
            let Some(log_dir) = self.files.log_dir_of(&lane) else { continue };
            match work {
                Work::Wide => {
                    self.files.forget_beneath(&lane);
                    self.log_dirs[log_dir].wide = false;
                }
                Work::Gate(lanes) => {
                    self.log_dirs[log_dir].under_way -= 1;
                    for lane in lanes {
                        self.files.forget_beneath(&lane);
                        if let Some(state) = self.lanes.get_mut(&lane) {
                            state.gated = false;
                        }
                        self.advance(&lane);
                    }
                }
                Work::Exclusive { changed_names } => {
                    self.log_dirs[log_dir].under_way -= 1;
                    for path in changed_names {
                        self.files.forget_beneath(path.as_str());
                    }
                    if let Some(state) = self.lanes.get_mut(&lane) {
                        state.exclusive -= 1;
                        assert!(!last || state.exclusive == 0, "a lane runs one task at a time");
                    }
                    self.advance(&lane);
                }
                Work::Read(file) => {
                    self.log_dirs[log_dir].under_way -= 1;
                    self.leave(&lane, &file);
                }
                Work::Sync { file, directories } => {
                    self.log_dirs[log_dir].under_way -= 1;
                    if matches!(self.completed.back(), Some((_, Ok(_)))) {
                        self.files.name_is_durable(&file, &directories);
                    }
                    self.leave(&lane, &file);
                }
            }
            self.release_held(log_dir);
        }
    }

    /// The oldest answer that was not taken yet.
    pub fn next_completed(&mut self) -> Option<(StorageToken, StorageResult)> {
        self.completed.pop_front()
    }

    /// A fetch answer's range, which is copied if it is resident and so small that copying it costs less than the system
    /// calls of sending it from the file.
    ///
    /// # Errors
    ///
    /// What opening or reading the file said.
    pub fn range(&mut self, path: &str, position: u64, len: u32) -> io::Result<Range> {
        let file = self.files.open(path, false)?;
        // An error will be met again by whoever sends the range.
        if len <= SMALL_READ_BYTES_MAX
            && let Ok(Some(bytes)) = file_ops::read_resident(&file, position, len)
            && bytes.len() as u64 == u64::from(len)
        {
            return Ok(Range::Copied(bytes));
        }
        match self.files.lend(path, &file) {
            Some(file) => Ok(Range::Lent(file)),
            // Answers from so many files at once are rare, and to wait for a device here is better than to refuse them.
            None => file_ops::read_exact(&file, position, len as usize).map(Range::Copied),
        }
    }

    /// A way to have pages read ahead by a disk thread, for those who send them.
    #[must_use]
    pub fn warmer(&self) -> Warmer {
        Warmer { pool: self.pool.clone() }
    }

    /// Whether nothing is queued or under way and every answer was taken.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.completed.is_empty()
            && self.lanes.is_empty()
            && self.log_dirs.iter().all(|log_dir| !log_dir.wide && log_dir.held.is_empty())
    }

    /// The directory behind the log directory of that number.
    #[must_use]
    pub fn log_dir(&self, number: usize) -> Option<&Path> {
        self.files.log_dir(number)
    }

    /// Runs or releases what waits at the door of a log directory.
    fn release_held(&mut self, log_dir: usize) {
        loop {
            let state = &mut self.log_dirs[log_dir];
            if state.wide {
                return;
            }
            let Some((token, op)) = state.held.pop_front() else { return };
            if !is_wide(&op) {
                self.enter_lane(log_dir, token, op);
            } else if state.under_way > 0 {
                state.held.push_front((token, op));
                return;
            } else {
                state.wide = true;
                let lane: Arc<str> = op.path().shared();
                self.files.forget_beneath(&lane);
                let files = self.files.resolver();
                let work = Box::new(move || file_ops::change_names(&files, &op));
                self.pool.run(Task { lane, works: vec![(token, Work::Wide, work)] });
            }
        }
    }

    fn enter_lane(&mut self, log_dir: usize, token: StorageToken, op: StorageOp) {
        self.log_dirs[log_dir].under_way += 1;
        let path = op.path().clone();
        let lane = lane_of(path.as_str());
        if let StorageOp::Rename { to, .. } = &op
            && lane_of(to.as_str()) != lane
        {
            let lanes: Vec<Arc<str>> = vec![Arc::from(lane), Arc::from(lane_of(to.as_str()))];
            let gate = Gate { lanes: lanes.clone(), missing: lanes.len(), op: Some((token, op)) };
            let gate = Rc::new(RefCell::new(gate));
            for lane in &lanes {
                self.lanes.entry(Arc::clone(lane)).or_default().queue.push_back(Item::Gate(Rc::clone(&gate)));
            }
            for lane in &lanes {
                self.advance(lane);
            }
            return;
        }
        match self.lanes.get_mut(lane) {
            None => {
                // The common case: nothing else goes on in the lane, and the operation is done before this returns.
                if let Some(op) = self.try_inline(log_dir, token, op) {
                    let lane: Arc<str> = Arc::from(lane);
                    self.lanes.entry(Arc::clone(&lane)).or_default().queue.push_back(Item::Op(token, op));
                    self.advance(&lane);
                }
            }
            Some(state) => {
                state.queue.push_back(Item::Op(token, op));
                self.advance(lane);
            }
        }
    }

    /// Starts what can be started in a lane, and drops the lane when nothing is left of it.
    fn advance(&mut self, lane: &str) {
        while let Some(state) = self.lanes.get_mut(lane) {
            if state.exclusive > 0 || state.gated {
                return;
            }
            let Some(item) = state.queue.pop_front() else {
                if state.beside.is_empty() {
                    self.lanes.remove(lane);
                }
                return;
            };
            match item {
                Item::Gate(gate) if !state.beside.is_empty() => {
                    state.queue.push_front(Item::Gate(gate));
                    return;
                }
                Item::Gate(gate) => {
                    state.gated = true;
                    self.arrive(&gate);
                }
                Item::Op(token, op) if state.has_to_wait(&op) => {
                    state.queue.push_front(Item::Op(token, op));
                    return;
                }
                Item::Op(token, op) => {
                    let log_dir =
                        self.files.log_dir_of(lane).expect("only operations of a log directory get here");
                    if let Some(op) = self.try_inline(log_dir, token, op) {
                        self.start(lane, token, op);
                    }
                }
            }
        }
    }

    fn arrive(&mut self, gate: &Rc<RefCell<Gate>>) {
        let mut gate = gate.borrow_mut();
        gate.missing -= 1;
        if gate.missing > 0 {
            return;
        }
        let (token, op) = gate.op.take().expect("a gate opens once");
        for lane in &gate.lanes {
            self.files.forget_beneath(lane);
        }
        let files = self.files.resolver();
        let work = Box::new(move || file_ops::change_names(&files, &op));
        let lane = Arc::clone(&gate.lanes[0]);
        self.pool.run(Task { lane, works: vec![(token, Work::Gate(gate.lanes.clone()), work)] });
    }

    /// Does the operation here, if that is sure to be short; gives it back if not.
    fn try_inline(&mut self, log_dir: usize, token: StorageToken, op: StorageOp) -> Option<StorageOp> {
        let result = match &op {
            StorageOp::Append { file, position, bytes } => {
                let len = bytes[0].len() + bytes[1].len();
                if len > self.options.inline_append_bytes_max {
                    return Some(op);
                }
                let start = Instant::now();
                let state = &mut self.log_dirs[log_dir];
                if state.fuse_blown_until.is_some_and(|until| start < until) {
                    return Some(op);
                }
                state.fuse_blown_until = None;
                let result = (self.files.open(file.as_str(), *position == 0))
                    .and_then(|opened| file_ops::append(&opened, *position, bytes));
                if start.elapsed() > SLOW_APPEND {
                    state.fuse_blown_until = Some(Instant::now() + FUSE);
                }
                result.map(|()| Completion::Done)
            }
            StorageOp::Read { len, .. } if *len > self.options.inline_read_bytes_max => return Some(op),
            StorageOp::Read { file, position, len } => {
                match self.files.open(file.as_str(), false) {
                    // Not all of it is resident.
                    Ok(opened) => match file_ops::read_resident(&opened, *position, *len) {
                        Ok(None) => return Some(op),
                        Ok(Some(bytes)) => Ok(Completion::Bytes(bytes)),
                        Err(error) => Err(error),
                    },
                    Err(error) => Err(error),
                }
            }
            StorageOp::Sync { .. }
            | StorageOp::Truncate { .. }
            | StorageOp::Replace { .. }
            | StorageOp::Rename { .. }
            | StorageOp::Remove { .. }
            | StorageOp::List { .. } => return Some(op),
        };
        self.finish_here(log_dir, token, &op, result);
        None
    }

    fn finish_here(
        &mut self,
        log_dir: usize,
        token: StorageToken,
        op: &StorageOp,
        result: io::Result<Completion>,
    ) {
        self.log_dirs[log_dir].under_way -= 1;
        self.completed.push_back((token, result.map_err(|error| file_ops::fault(op.path(), &error))));
    }

    /// Hands the operation to a thread, with as many of those behind it as can go in one task.
    fn start(&mut self, lane: &str, token: StorageToken, op: StorageOp) {
        let log_dir = self.files.log_dir_of(lane).expect("only operations of a log directory get here");
        let lane: Arc<str> = Arc::from(lane);
        match op {
            StorageOp::Sync { file } => {
                self.lane(&lane).beside.push(file.clone());
                let (files, queued) = (self.files.resolver(), self.files.queued(&file));
                let directories = self.files.naming_directories(&file);
                let kind = Work::Sync { file, directories: directories.clone() };
                let work = Box::new(move || file_ops::sync(&files, &queued, &directories));
                self.pool.run(Task { lane, works: vec![(token, kind, work)] });
            }
            StorageOp::Read { ref file, position, len } => {
                // What is appended from here on must not be seen, although the lane goes on.
                let readable = (self.files.open(file.as_str(), false))
                    .and_then(|opened| file_ops::readable(&opened, position, len));
                let len = match readable {
                    Ok(len) => len,
                    Err(error) => return self.finish_here(log_dir, token, &op, Err(error)),
                };
                self.lane(&lane).beside.push(file.clone());
                let queued = self.files.queued(file);
                let work = Box::new(move || file_ops::read(&queued, position, len));
                self.pool.run(Task { lane, works: vec![(token, Work::Read(file.clone()), work)] });
            }
            op @ (StorageOp::Append { .. }
            | StorageOp::Truncate { .. }
            | StorageOp::Replace { .. }
            | StorageOp::Rename { .. }
            | StorageOp::Remove { .. }
            | StorageOp::List { .. }) => {
                // A run of appends is one task: the lane would otherwise wait for the driver between any two.
                let works_max = if matches!(op, StorageOp::Append { .. }) { APPENDS_PER_TASK } else { 1 };
                let mut works = vec![self.exclusive_work(token, op)];
                while works.len() < works_max
                    && let Some(Item::Op(_, StorageOp::Append { .. })) = self.lane(&lane).queue.front()
                    && let Some(Item::Op(token, op)) = self.lane(&lane).queue.pop_front()
                {
                    works.push(self.exclusive_work(token, op));
                }
                self.lane(&lane).exclusive = works.len();
                self.pool.run(Task { lane, works });
            }
        }
    }

    /// A read or sync of the file beside the lane is done.
    fn leave(&mut self, lane: &str, file: &StoragePath) {
        if let Some(state) = self.lanes.get_mut(lane) {
            state.leave(file);
        }
        self.advance(lane);
    }

    fn lane(&mut self, lane: &Arc<str>) -> &mut Lane {
        self.lanes.entry(Arc::clone(lane)).or_default()
    }

    fn exclusive_work(&mut self, token: StorageToken, op: StorageOp) -> (StorageToken, Work, pool::Run) {
        let changed_names: Vec<StoragePath> = changed_names(&op).into_iter().cloned().collect();
        // Before the file is removed: whoever closes it last afterwards waits for its blocks to be freed.
        for path in &changed_names {
            self.files.forget_beneath(path.as_str());
        }
        let kind = Work::Exclusive { changed_names };
        let run: pool::Run = match op {
            StorageOp::Append { file, position, bytes } => {
                let queued = self.files.queued_to_append(&file, position == 0);
                Box::new(move || {
                    (queued.open(position == 0))
                        .and_then(|opened| file_ops::append(&opened, position, &bytes))
                        .map(|()| Completion::Done)
                        .map_err(|error| file_ops::fault(&file, &error))
                })
            }
            StorageOp::Truncate { file, len } => {
                let queued = self.files.queued(&file);
                Box::new(move || {
                    (queued.open(false))
                        .and_then(|opened| file_ops::truncate(&opened, len))
                        .map(|()| Completion::Done)
                        .map_err(|error| file_ops::fault(&file, &error))
                })
            }
            op @ (StorageOp::Sync { .. }
            | StorageOp::Read { .. }
            | StorageOp::Replace { .. }
            | StorageOp::Rename { .. }
            | StorageOp::Remove { .. }
            | StorageOp::List { .. }) => {
                let files = self.files.resolver();
                Box::new(move || file_ops::change_names(&files, &op))
            }
        };
        (token, kind, run)
    }
}

/// Has pages read by a disk thread before they are sent, so that the sending thread does not wait for a device.
#[derive(Clone, Debug)]
pub struct Warmer {
    pool: Pool,
}

impl Warmer {
    /// Whether `len` bytes from `position` seem resident: both ends are. The kernel reads ahead and evicts in runs, so
    /// that the middle is then seldom missing.
    #[must_use]
    pub fn is_resident(file: &File, position: u64, len: u64) -> bool {
        file_ops::is_resident(file, position) && file_ops::is_resident(file, position + len.saturating_sub(1))
    }

    /// Reads the range on a disk thread, then calls `done` there.
    pub fn warm(&self, file: Arc<LentFile>, position: u64, len: u64, done: Box<dyn FnOnce() + Send>) {
        self.pool.run_unreported(Box::new(move || {
            file_ops::read_through(&file, position, len);
            done();
        }));
    }
}

/// A write of a megabyte into the page cache takes a fraction of a millisecond, or a few where the machine has other
/// things to do or fresh pages are dear; one that takes this long met a device that cannot keep up.
const SLOW_APPEND: Duration = Duration::from_millis(10);
/// Up to this length a range is copied: what a page costs to copy, against half a dozen system calls.
const SMALL_READ_BYTES_MAX: u32 = 32 << 10;
/// How long appends go to threads after a slow one.
const FUSE: Duration = Duration::from_secs(1);
/// The most appends in one task of a thread: enough to hide the driver's turn-around, few enough to answer soon.
const APPENDS_PER_TASK: usize = 16;

/// The names that mean another file, or none, after the operation.
fn changed_names(op: &StorageOp) -> Vec<&StoragePath> {
    match op {
        StorageOp::Replace { file, .. } => vec![file],
        StorageOp::Rename { from, to } => vec![from, to],
        StorageOp::Remove { path } => vec![path],
        StorageOp::Append { .. }
        | StorageOp::Truncate { .. }
        | StorageOp::Sync { .. }
        | StorageOp::Read { .. }
        | StorageOp::List { .. } => Vec::new(),
    }
}

/// The first two components of a path: an entry of a log directory.
fn lane_of(path: &str) -> &str {
    let mut slashes = path.match_indices('/');
    let _ = slashes.next();
    slashes.next().map_or(path, |(at, _)| &path[..at])
}

/// Whether the operation is about a log directory as a whole.
fn is_wide(op: &StorageOp) -> bool {
    fn names_log_dir(path: &StoragePath) -> bool {
        !path.as_str().contains('/')
    }
    match op {
        StorageOp::Rename { from, to } => names_log_dir(from) || names_log_dir(to),
        StorageOp::Append { .. }
        | StorageOp::Sync { .. }
        | StorageOp::Read { .. }
        | StorageOp::Truncate { .. }
        | StorageOp::Replace { .. }
        | StorageOp::Remove { .. }
        | StorageOp::List { .. } => names_log_dir(op.path()),
    }
}
