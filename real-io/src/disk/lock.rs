//! `.lock`: one process per log directory, this one or a Kafka of the other kind.

use rustix::fs::FlockOperation;
use rustix::process::{Flock, FlockType};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Why a log directory is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is in use by {holder}: stop that process, or give this one another directory (log.dirs)", dir.display())]
    InUse {
        /// The log directory.
        dir: PathBuf,
        /// Who has it, as far as the kernel tells.
        holder: String,
    },
    /// The file could not be created or locked.
    #[error("{}: {error}", dir.display())]
    Io {
        /// The log directory.
        dir: PathBuf,
        /// What was said.
        error: io::Error,
    },
}

/// Holds a log directory until it is dropped or the process ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the directory, which is created if absent.
    ///
    /// # Errors
    ///
    /// Another process has it, or it cannot be written.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let io_error = |error| LockError::Io { dir: dir.to_path_buf(), error };
        std::fs::create_dir_all(dir).map_err(io_error)?;
        let file = (OpenOptions::new().read(true).write(true).create(true).truncate(false))
            .open(dir.join(".lock"))
            .map_err(io_error)?;
        // A JVM takes the POSIX kind, which does not exclude within one process; the other kind does.
        for lock in [rustix::fs::fcntl_lock, rustix::fs::flock] {
            match lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
                    return Err(LockError::InUse { dir: dir.to_path_buf(), holder: holder(&file) });
                }
                Err(error) => return Err(io_error(error.into())),
            }
        }
        Ok(Self { _file: file })
    }
}

fn holder(file: &File) -> String {
    let found = rustix::process::fcntl_getlk(file, &Flock::from(FlockType::WriteLock));
    let Some(pid) = found.ok().flatten().and_then(|lock| lock.pid) else {
        return "another broker".to_owned();
    };
    let pid = pid.as_raw_nonzero();
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim()),
        Err(_) => format!("process {pid}"),
    }
}
