//! Open files by their storage path, and what is known about the durability of their names.

use sordini_core::storage_op::StoragePath;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open file and what it was opened as.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) path: Arc<str>,
    pub(super) file: Arc<File>,
}

/// A name, and the open directory that must be synced for it to be durable.
pub(super) type NamingDirectory = (Arc<str>, Arc<File>);

/// Where storage paths lie on the machine; may be taken to another thread.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    log_dirs: Arc<[PathBuf]>,
}

#[derive(Debug)]
pub(super) struct Files {
    resolver: Resolver,
    open_files_max: usize,
    open: BTreeMap<Arc<str>, Entry>,
    /// The order in which open files are considered for closing; may hold names that are closed already.
    clock: VecDeque<Arc<str>>,
    /// Directories whose own name is durable, as far as this process knows.
    durable_directories: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
struct Entry {
    file: Arc<File>,
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
}

impl Files {
    pub(super) fn new(log_dirs: Vec<PathBuf>, open_files_max: usize) -> Self {
        Self {
            resolver: Resolver { log_dirs: log_dirs.into() },
            open_files_max: open_files_max.max(1),
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
    pub(super) fn open(&mut self, path: &str, create: bool) -> io::Result<Opened> {
        if let Some((path, entry)) = self.open.get_key_value(path) {
            let opened = Opened { path: Arc::clone(path), file: Arc::clone(&entry.file) };
            if let Some(entry) = self.open.get_mut(&opened.path) {
                entry.used = true;
            }
            return Ok(opened);
        }
        let resolved = self.resolver.resolve(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create).truncate(false);
        let file = match options.open(&resolved) {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = resolved.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                options.open(&resolved)?
            }
            result => result?,
        };
        self.make_room();
        let opened = Opened { path: Arc::from(path), file: Arc::new(file) };
        let entry = Entry { file: Arc::clone(&opened.file), used: false, name_durable: false };
        self.open.insert(Arc::clone(&opened.path), entry);
        self.clock.push_back(Arc::clone(&opened.path));
        Ok(opened)
    }

    /// The file, and those directories that must be synced for its name to be durable. They are opened here: a rename that is submitted later does not mislead the thread.
    pub(super) fn open_for_sync(&mut self, path: &StoragePath) -> io::Result<(Opened, Vec<NamingDirectory>)> {
        let opened = self.open(path.as_str(), false)?;
        let mut directories = Vec::new();
        if !self.open.get(&opened.path).is_some_and(|entry| entry.name_durable) {
            let mut named = StoragePath::new(path.as_str());
            while named.as_str().contains('/') {
                let directory = StoragePath::new(named.parent());
                let handle = File::open(self.resolver.resolve(directory.as_str())?)?;
                directories.push((named.shared(), Arc::new(handle)));
                if self.durable_directories.contains(directory.as_str()) {
                    break;
                }
                named = directory;
            }
        }
        Ok((opened, directories))
    }

    /// Notes that the names of the file and of these directories (or files) are durable.
    pub(super) fn name_is_durable(&mut self, opened: &Opened, names: Vec<Arc<str>>) {
        let Some(entry) = self.open.get_mut(&opened.path) else { return };
        // Another file has the name if it was renamed or replaced in between.
        if !Arc::ptr_eq(&entry.file, &opened.file) {
            return;
        }
        entry.name_durable = true;
        self.durable_directories.extend(names.into_iter().filter(|name| *name != opened.path));
    }

    /// Forgets whatever is open at or beneath `path`, because the names will mean other files or none. Gives back the
    /// handles: dropping the last handle of a removed file frees its blocks, which takes time.
    pub(super) fn forget_beneath(&mut self, path: &str) -> Vec<Arc<File>> {
        let mut forgotten = Vec::new();
        let is_at_or_beneath =
            |name: &str| name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let from = Arc::<str>::from(path);
        let names: Vec<Arc<str>> = (self.open.range(Arc::clone(&from)..))
            .map(|(name, _)| name)
            .take_while(|name| name.starts_with(path))
            .filter(|name| is_at_or_beneath(name))
            .cloned()
            .collect();
        for name in names {
            if let Some(entry) = self.open.remove(&name) {
                forgotten.push(entry.file);
            }
        }
        let directories: Vec<Arc<str>> = (self.durable_directories.range(from..))
            .take_while(|name| name.starts_with(path))
            .filter(|name| is_at_or_beneath(name))
            .cloned()
            .collect();
        for name in directories {
            self.durable_directories.remove(&name);
        }
        forgotten
    }

    /// Closes files that were not used for long until there is room for one more.
    fn make_room(&mut self) {
        while self.open.len() >= self.open_files_max {
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
