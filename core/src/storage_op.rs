//! Storage as effects, and the contract that every disk under the core keeps: the simulator's and the real one. Both
//! pass the same suite (`storage_contract`, behind the feature of that name).
//!
//! # The contract
//!
//! **Names.** A path is relative to the node, `/`-separated; its first component is the number of the log directory in
//! the order of `log.dirs` ("0/orders-3/00000000000000000000.log").
//!
//! **Order.** Operations on one file take effect in the order in which they were pushed, reads included. Operations on a
//! directory (`Rename`, `Remove`, `List`) take effect after everything pushed before them, and before everything
//! pushed after them, for what lies beneath that directory. Between two files there is no order. Completions come back
//! in any order.
//!
//! **Completion.** Every operation is answered once. A completed `Append` or `Truncate` is seen by every later read and
//! survives the death of the process, not a loss of power.
//!
//! **Durability.** A completed `Sync` makes everything pushed before it for that file durable: bytes, length and the
//! file's own name. A completed `Replace`, `Rename` or `Remove` is durable. After a loss of power a file holds
//! everything that was made durable and, of the rest, any part: missing, torn at a sector, or zeroed; a file never
//! synced may be gone altogether. A `Replace` that did not complete leaves the old contents or the new, whole; a
//! `Rename` that did not complete leaves one of the two names; a `Remove` of a directory may have removed any part.
//!
//! **Failure.** A failed operation is completed with a [`StorageFault`]. A failed `Append` may have written any part of
//! its bytes. After a failed `Sync` nothing is known of what was not durable before: retrying it proves nothing
//! (the kernel may have marked the pages clean), so the core never does.

use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// Names one storage operation. Issued by the core; a completion whose token is no longer known is ignored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageToken {
    /// Which machine of the node waits.
    pub owner: u32,
    /// Number of the operation among those of its owner.
    pub sequence: u64,
}

impl fmt::Debug for StorageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.owner, self.sequence)
    }
}

/// A file or directory, by the rules of the contract.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoragePath(Arc<str>);

impl StoragePath {
    /// A path as it stands.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self(Arc::from(path))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text itself, for a fetch answer's range.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// `name` beneath this directory.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let mut path = alloc::string::String::with_capacity(self.0.len() + 1 + name.len());
        path.push_str(&self.0);
        path.push('/');
        path.push_str(name);
        Self(Arc::from(path))
    }

    /// The last component.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The directory this lies in; a log directory lies in none and answers itself.
    #[must_use]
    pub fn parent(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(parent, _)| parent)
    }
}

impl fmt::Debug for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the core asks of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageOp {
    /// Write `bytes`, one after the other, at `position`, which is the file's length as the core knows it. At position 0
    /// the file, and the directories it lies in, are created if absent.
    Append {
        /// The file.
        file: StoragePath,
        /// Where: the file's length before this operation.
        position: u64,
        /// What, in pieces so that a patched header and an untouched body need no common buffer.
        bytes: [Bytes; 2],
    },
    /// Make everything pushed before for `file`, its name included, durable.
    Sync {
        /// The file.
        file: StoragePath,
    },
    /// Read up to `len` bytes from `position`; fewer only where the file ends. Completes with [`Completion::Bytes`].
    Read {
        /// The file; absent is [`StorageFault::NotFound`].
        file: StoragePath,
        /// From where.
        position: u64,
        /// How many at most.
        len: u32,
    },
    /// Cut the file to `len` bytes, not more than it has.
    Truncate {
        /// The file.
        file: StoragePath,
        /// Its new length.
        len: u64,
    },
    /// Put `bytes` in the place of the whole file, at once or not at all: written beside it under the name with `.tmp`
    /// added, synced, renamed, directory synced. Creates the directories it lies in.
    Replace {
        /// The file.
        file: StoragePath,
        /// Its new contents.
        bytes: Bytes,
    },
    /// Give a file or directory another name in the same log directory.
    Rename {
        /// The name it has.
        from: StoragePath,
        /// The name it gets; nothing has it yet.
        to: StoragePath,
    },
    /// Remove a file, or a directory with all in it; what is absent is removed already.
    Remove {
        /// What.
        path: StoragePath,
    },
    /// List a directory in the order of names; absent is empty. Completes with [`Completion::Entries`].
    List {
        /// The directory.
        dir: StoragePath,
    },
}

impl StorageOp {
    /// The file or directory whose order the operation keeps.
    #[must_use]
    pub const fn path(&self) -> &StoragePath {
        match self {
            Self::Append { file, .. }
            | Self::Sync { file }
            | Self::Read { file, .. }
            | Self::Truncate { file, .. }
            | Self::Replace { file, .. } => file,
            Self::Rename { from, .. } => from,
            Self::Remove { path } => path,
            Self::List { dir } => dir,
        }
    }
}

/// What a directory holds under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name, without a path.
    pub name: Arc<str>,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// When the file was last written, in milliseconds since the Unix epoch: retention's last resort for segments whose
    /// records carry no timestamp.
    pub modified_ms: i64,
}

/// What a completed operation brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// It is done.
    Done,
    /// What a `Read` found.
    Bytes(Bytes),
    /// What a `List` found.
    Entries(Vec<DirectoryEntry>),
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageFault {
    /// The file is not there.
    #[error("no such file")]
    NotFound,
    /// The disk is full.
    #[error("no space left")]
    NoSpace,
    /// Anything else the disk said.
    #[error("input/output error")]
    Io,
}
