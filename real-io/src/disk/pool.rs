//! Threads that wait for devices: few, with small stacks, started when there is something to wait for.

use crate::disk::StorageResult;
use sordini_core::storage_op::{StorageFault, StoragePath, StorageToken};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What a thread does for one operation.
pub(super) type Run = Box<dyn FnOnce() -> StorageResult + Send>;

/// Operations of one lane, one after the other.
pub(super) struct Task {
    pub(super) lane: Arc<str>,
    pub(super) works: Vec<(StorageToken, Work, Run)>,
}

/// What an operation was to its lane; comes back with the report.
#[derive(Debug)]
pub(super) enum Work {
    /// It had the lane for itself, and afterwards these names may mean other files.
    Exclusive { changed_names: Vec<StoragePath> },
    /// It had these lanes for itself.
    Gate(Vec<Arc<str>>),
    /// It had the log directory for itself.
    Wide,
    /// It read this file beside the lane.
    Read(StoragePath),
    /// It synced the file beside the lane; if it succeeded, the names of file and directories are durable.
    Sync { file: StoragePath, directories: Vec<StoragePath> },
}

/// The answer to one operation.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) token: StorageToken,
    pub(super) lane: Arc<str>,
    pub(super) work: Work,
    pub(super) result: StorageResult,
    /// Whether it was the last of its task.
    pub(super) last: bool,
}

/// The threads, their queue and what they report.
#[derive(Clone)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    /// Ends the threads when the last clone goes; the threads themselves hold only `shared`.
    _end: Arc<End>,
}

struct Shared {
    threads_max: usize,
    queue: Mutex<Queue>,
    wanted: Condvar,
    reports: Mutex<Vec<Report>>,
    on_completion: Arc<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    ending: bool,
}

enum Job {
    Task(Task),
    Unreported(Box<dyn FnOnce() + Send>),
}

struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        lock(&self.0.queue).ending = true;
        self.0.wanted.notify_all();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads_max", &self.shared.threads_max).finish_non_exhaustive()
    }
}

/// Little is on a disk thread's stack; the default of 2 MiB would only be address space, but that too is counted by some.
const STACK_BYTES: usize = 256 << 10;

impl Pool {
    pub(super) fn new(threads_max: usize, on_completion: Arc<dyn Fn() + Send + Sync>) -> Self {
        let shared = Arc::new(Shared {
            threads_max,
            queue: Mutex::default(),
            wanted: Condvar::new(),
            reports: Mutex::default(),
            on_completion,
        });
        Self { _end: Arc::new(End(Arc::clone(&shared))), shared }
    }

    pub(super) fn run(&self, task: Task) {
        self.push(Job::Task(task));
    }

    pub(super) fn run_unreported(&self, work: Box<dyn FnOnce() + Send>) {
        self.push(Job::Unreported(work));
    }

    pub(super) fn take_reports(&self) -> Vec<Report> {
        std::mem::take(&mut *lock(&self.shared.reports))
    }

    fn push(&self, job: Job) {
        if self.shared.threads_max == 0 {
            return self.shared.carry_out(job);
        }
        let mut queue = lock(&self.shared.queue);
        queue.jobs.push_back(job);
        if queue.idle >= queue.jobs.len() || queue.threads == self.shared.threads_max {
            drop(queue);
            self.shared.wanted.notify_one();
            return;
        }
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new()
            .name(format!("disk-{}", queue.threads))
            .stack_size(STACK_BYTES)
            .spawn(move || shared.work());
        match started {
            Ok(_) => queue.threads += 1,
            // Those that run will do it; without any the node cannot go on.
            Err(error) => assert!(queue.threads > 0, "no disk thread can be started: {error}"),
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                self.carry_out(job);
                queue = lock(&self.queue);
            } else if queue.ending {
                return;
            } else {
                queue.idle += 1;
                queue = self.wanted.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
    }

    fn carry_out(&self, job: Job) {
        match job {
            Job::Unreported(work) => {
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    tracing::error!("a disk thread panicked while it read ahead");
                }
            }
            Job::Task(Task { lane, works }) => {
                let count = works.len();
                for (index, (token, work, run)) in works.into_iter().enumerate() {
                    // A panic here is a bug, and the core is told that nothing is known of the operation.
                    let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(StorageFault::Io));
                    let (lane, last) = (Arc::clone(&lane), index + 1 == count);
                    lock(&self.reports).push(Report { token, lane, work, result, last });
                    (self.on_completion)();
                }
            }
        }
    }
}

/// A lock whose data is whole between any two statements, so that a panic elsewhere says nothing about it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
