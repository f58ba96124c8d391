//! Open files by their storage path, and what is known about the durability of their names.

use sordini_core::storage_op::StoragePath;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

/// A file for an operation that waits for a thread. It is opened when its turn comes, unless it is kept open until then:
/// thousands may wait, and none of them holds an open file.
#[derive(Debug)]
pub(super) struct QueuedFile {
    resolver: Resolver,
    path: StoragePath,
    kept: Weak<File>,
}

impl QueuedFile {
    pub(super) fn path(&self) -> &StoragePath {
        &self.path
    }

    /// See [`Files::open`].
    pub(super) fn open(&self, create: bool) -> io::Result<Arc<File>> {
        match self.kept.upgrade() {
            Some(file) => Ok(file),
            None => self.resolver.open(self.path.as_str(), create).map(Arc::new),
        }
    }
}

/// Where storage paths lie on the machine; may be taken to another thread.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    log_dirs: Arc<[PathBuf]>,
}

/// A file that answers are sent from: it stays readable whatever becomes of its name, and open until they are sent.
#[derive(Debug)]
pub struct LentFile {
    file: Arc<File>,
    _counted: Arc<()>,
}

impl Deref for LentFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

#[derive(Debug)]
pub(super) struct Files {
    resolver: Resolver,
    /// Those that are kept and those that are lent, which may be the same.
    open_files_max: usize,
    /// Shared with every file that is lent, which counts them.
    lent: Arc<()>,
    open: BTreeMap<Arc<str>, Entry>,
    /// The order in which open files are considered for closing; may hold names that are closed already.
    clock: VecDeque<Arc<str>>,
    /// Directories whose own name is durable, as far as this process knows.
    durable_directories: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
struct Entry {
    file: Arc<File>,
    lent: Weak<LentFile>,
    /// Used since the clock last passed by.
    used: bool,
    /// The name was made durable by this process. What an earlier process left may exist in the page cache alone.
    name_durable: bool,
}

impl Resolver {
    /// The number of the log directory that `path` lies in or is.
    fn log_dir_of(&self, path: &str) -> Option<usize> {
        let number = path.split('/').next()?.parse().ok()?;
        (number < self.log_dirs.len()).then_some(number)
    }

    /// The path on the machine. A path that leaves its log directory is no storage path.
    pub(super) fn resolve(&self, path: &str) -> io::Result<PathBuf> {
        let log_dir = self.log_dir_of(path).ok_or(io::ErrorKind::InvalidInput)?;
        let mut resolved = self.log_dirs[log_dir].clone();
        for component in path.split('/').skip(1) {
            if matches!(component, "" | "." | "..") || component.contains('\0') {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            resolved.push(component);
        }
        Ok(resolved)
    }

    fn open(&self, path: &str, create: bool) -> io::Result<File> {
        let resolved = self.resolve(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create).truncate(false);
        match options.open(&resolved) {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = resolved.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                options.open(&resolved)
            }
            result => result,
        }
    }
}

/// Whether `name` is `path` or lies beneath it.
pub(super) fn is_at_or_beneath(name: &str, path: &str) -> bool {
    name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Files {
    pub(super) fn new(log_dirs: Vec<PathBuf>, open_files_max: usize) -> Self {
        Self {
            resolver: Resolver { log_dirs: log_dirs.into() },
            open_files_max: open_files_max.max(1),
            lent: Arc::new(()),
            open: BTreeMap::new(),
            clock: VecDeque::new(),
            durable_directories: BTreeSet::new(),
        }
    }

    pub(super) fn resolver(&self) -> Resolver {
        self.resolver.clone()
    }

    pub(super) fn log_dir_of(&self, path: &str) -> Option<usize> {
        self.resolver.log_dir_of(path)
    }

    pub(super) fn log_dir(&self, number: usize) -> Option<&Path> {
        self.resolver.log_dirs.get(number).map(PathBuf::as_path)
    }

    /// The file, opened for reading and writing; created, with the directories above it, if `create`.
    pub(super) fn open(&mut self, path: &str, create: bool) -> io::Result<Arc<File>> {
        if let Some(entry) = self.open.get_mut(path) {
            entry.used = true;
            return Ok(Arc::clone(&entry.file));
        }
        self.make_room();
        let file = Arc::new(self.resolver.open(path, create)?);
        let entry = Entry { file: Arc::clone(&file), lent: Weak::new(), used: false, name_durable: false };
        let path = Arc::<str>::from(path);
        self.open.insert(Arc::clone(&path), entry);
        self.clock.push_back(path);
        Ok(file)
    }

    /// The file that was opened as `path`, to send an answer from. `None` if so many are lent that operations might want
    /// for open files.
    pub(super) fn lend(&mut self, path: &str, file: &Arc<File>) -> Option<Arc<LentFile>> {
        let lent_count = self.lent_count();
        let entry = self.open.get_mut(path)?;
        if let Some(lent) = entry.lent.upgrade() {
            return Some(lent);
        }
        if lent_count >= self.open_files_max / 2 {
            return None;
        }
        let lent = Arc::new(LentFile { file: Arc::clone(file), _counted: Arc::clone(&self.lent) });
        entry.lent = Arc::downgrade(&lent);
        Some(lent)
    }

    fn kept_max(&self) -> usize {
        self.open_files_max.saturating_sub(self.lent_count()).max(1)
    }

    fn lent_count(&self) -> usize {
        Arc::strong_count(&self.lent) - 1
    }

    /// The file, for an operation that a thread will carry out. Nothing may change what its name means until then.
    pub(super) fn queued(&mut self, path: &StoragePath) -> QueuedFile {
        let kept = self.open.get_mut(path.as_str()).map_or_else(Weak::new, |entry| {
            entry.used = true;
            Arc::downgrade(&entry.file)
        });
        QueuedFile { resolver: self.resolver(), path: path.clone(), kept }
    }

    /// The same for an append. It is kept open as long as there is room: what the kernel cannot write back later it tells whoever
    /// syncs a file that has been open since, and may have forgotten of one that nobody had open.
    pub(super) fn queued_to_append(&mut self, path: &StoragePath, create: bool) -> QueuedFile {
        if self.open.len() < self.kept_max() {
            // The append meets the same error, and tells of it.
            drop(self.open(path.as_str(), create));
        }
        self.queued(path)
    }

    /// The directories that must be synced for the file's name to be durable.
    pub(super) fn naming_directories(&self, path: &StoragePath) -> Vec<StoragePath> {
        let mut directories = Vec::new();
        if self.open.get(path.as_str()).is_some_and(|entry| entry.name_durable) {
            return directories;
        }
        let mut named = path.clone();
        while named.as_str().contains('/') {
            named = StoragePath::new(named.parent());
            directories.push(named.clone());
            if self.durable_directories.contains(named.as_str()) {
                break;
            }
        }
        directories
    }

    /// Notes that the file's name is durable, since its naming directories were synced.
    pub(super) fn name_is_durable(&mut self, path: &StoragePath, directories: &[StoragePath]) {
        if let Some(entry) = self.open.get_mut(path.as_str()) {
            entry.name_durable = true;
        }
        self.durable_directories.extend(directories.iter().map(StoragePath::shared));
    }

    /// Forgets whatever is open at or beneath `path`, because the names will mean other files or none.
    pub(super) fn forget_beneath(&mut self, path: &str) {
        let from = Arc::<str>::from(path);
        let names: Vec<Arc<str>> = (self.open.range(Arc::clone(&from)..))
            .map(|(name, _)| name)
            .take_while(|name| name.starts_with(path))
            .filter(|name| is_at_or_beneath(name, path))
            .cloned()
            .collect();
        for name in names {
            self.open.remove(&name);
        }
        let directories: Vec<Arc<str>> = (self.durable_directories.range(from..))
            .take_while(|name| name.starts_with(path))
            .filter(|name| is_at_or_beneath(name, path))
            .cloned()
            .collect();
        for name in directories {
            self.durable_directories.remove(&name);
        }
    }

    /// Closes files that were not used for long until there is room for one more.
    fn make_room(&mut self) {
        while self.open.len() >= self.kept_max() {
            let Some(name) = self.clock.pop_front() else { return };
            match self.open.get_mut(&name) {
                None => {}
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.clock.push_back(name);
                }
                Some(_) => {
                    self.open.remove(&name);
                }
            }
        }
        // Names that were forgotten stay in the clock; this bounds it.
        if self.clock.len() > 2 * self.open_files_max {
            let open = &self.open;
            let mut seen = BTreeSet::new();
            self.clock.retain(|name| open.contains_key(name) && seen.insert(Arc::clone(name)));
        }
    }
}
