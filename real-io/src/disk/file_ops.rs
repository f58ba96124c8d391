//! Single operations on files, as any thread may do them.

use crate::disk::StorageResult;
use crate::disk::files::{QueuedFile, Resolver};
use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags};
use sordini_core::storage_op::{Completion, DirectoryEntry, StorageFault, StorageOp, StoragePath};
use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// What the core is told of an error. What it is not told is logged, because nobody else will see it.
pub(super) fn fault(path: &StoragePath, error: &io::Error) -> StorageFault {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        StorageFault::NotFound
    } else if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        tracing::error!(%path, %error, "the disk is full");
        StorageFault::NoSpace
    } else {
        tracing::error!(%path, %error, "a storage operation failed");
        StorageFault::Io
    }
}

/// Writes both pieces at `position`, in one system call if the kernel takes them whole.
pub(super) fn append(file: &File, mut position: u64, bytes: &[Bytes; 2]) -> io::Result<()> {
    let mut pieces = [IoSlice::new(&bytes[0]), IoSlice::new(&bytes[1])];
    let mut rest: &mut [IoSlice<'_>] = &mut pieces;
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match rustix::io::pwritev(file, rest, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// How many of `len` bytes from `position` the file has.
pub(super) fn readable(file: &File, position: u64, len: u32) -> io::Result<usize> {
    let available = file.metadata()?.len().saturating_sub(position).min(u64::from(len));
    usize::try_from(available).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// Reads if that needs no device; `None` if it does.
pub(super) fn read_resident(file: &File, position: u64, len: u32) -> io::Result<Option<Bytes>> {
    let len = if len <= TRUSTED_LEN { len as usize } else { readable(file, position, len)? };
    let mut buffer = vec![0; len];
    let read = if len == 0 {
        0
    } else {
        let slices = &mut [IoSliceMut::new(&mut buffer)];
        match rustix::io::preadv2(file, slices, position, ReadWriteFlags::NOWAIT) {
            Ok(read) => read,
            // Not resident, or the file system cannot tell.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    };
    // What is missing is not resident, or the file ends.
    if read < len && position.saturating_add(read as u64) < file.metadata()?.len() {
        return Ok(None);
    }
    buffer.truncate(read);
    Ok(Some(buffer.into()))
}

/// Up to this length a buffer is made without asking whether the file has so many bytes.
const TRUSTED_LEN: u32 = 64 << 10;

/// Whether the page that holds the byte at `position` is resident. A file system that cannot tell is believed to be
/// quick.
pub(super) fn is_resident(file: &File, position: u64) -> bool {
    let mut byte = [0];
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], position, ReadWriteFlags::NOWAIT);
    !matches!(read, Err(Errno::AGAIN))
}

/// Reads a range for the sake of having it resident. An error will be met again by whoever sends the range.
pub(super) fn read_through(file: &File, mut position: u64, len: u64) {
    let end = position.saturating_add(len);
    let mut buffer = vec![0; 64 << 10];
    while position < end {
        match file.read_at(&mut buffer, position) {
            Ok(read) if read > 0 => position += read as u64,
            Ok(_) | Err(_) => return,
        }
    }
}

/// Reads exactly `len` bytes, which the file had when they were asked for.
pub(super) fn read(file: &QueuedFile, position: u64, len: usize) -> StorageResult {
    (file.open(false))
        .and_then(|opened| read_exact(&opened, position, len))
        .map(Completion::Bytes)
        .map_err(|error| fault(file.path(), &error))
}

pub(super) fn read_exact(file: &File, position: u64, len: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; len];
    file.read_exact_at(&mut buffer, position)?;
    Ok(buffer.into())
}

/// Cuts the file. Making it longer would invent bytes.
pub(super) fn truncate(file: &File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() < len {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "truncation beyond the end of the file"));
    }
    file.set_len(len)
}

/// Makes the file's contents durable, then the names that lead to it.
pub(super) fn sync(files: &Resolver, file: &QueuedFile, directories: &[StoragePath]) -> StorageResult {
    let sync = || -> io::Result<()> {
        file.open(false)?.sync_data()?;
        directories
            .iter()
            .try_for_each(|directory| File::open(files.resolve(directory.as_str())?)?.sync_all())
    };
    sync().map(|()| Completion::Done).map_err(|error| fault(file.path(), &error))
}

/// Carries out an operation that changes or lists names.
pub(super) fn change_names(files: &Resolver, op: &StorageOp) -> StorageResult {
    let result = match op {
        StorageOp::Replace { file, bytes } => replace(files, file, bytes).map(|()| Completion::Done),
        StorageOp::Rename { from, to } => rename(files, from, to).map(|()| Completion::Done),
        StorageOp::Remove { path } => remove(files, path).map(|()| Completion::Done),
        StorageOp::List { dir } => list(files, dir).map(Completion::Entries),
        StorageOp::Append { .. }
        | StorageOp::Sync { .. }
        | StorageOp::Read { .. }
        | StorageOp::Truncate { .. } => Err(io::ErrorKind::IsADirectory.into()),
    };
    result.map_err(|error| fault(op.path(), &error))
}

fn replace(files: &Resolver, file: &StoragePath, bytes: &Bytes) -> io::Result<()> {
    let target = files.resolve(file.as_str())?;
    let mut beside = target.clone().into_os_string();
    beside.push(".tmp");
    let beside = Path::new(&beside);
    let mut created = match File::create(beside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = beside.parent() {
                create_directories_durably(parent)?;
            }
            File::create(beside)?
        }
        result => result?,
    };
    let written = (created.write_all(bytes))
        .and_then(|()| created.sync_data())
        .and_then(|()| fs::rename(beside, &target));
    if let Err(error) = written {
        // The half-written file has no meaning; if it cannot be removed either, the next replacement overwrites it.
        let _ = fs::remove_file(beside);
        return Err(error);
    }
    sync_parent(&target)
}

/// Creates a directory and those above it; the names of those it created are durable.
fn create_directories_durably(directory: &Path) -> io::Result<()> {
    let mut absent = Vec::new();
    for ancestor in directory.ancestors() {
        // An empty ancestor is the working directory.
        if ancestor.as_os_str().is_empty() || ancestor.exists() {
            break;
        }
        absent.push(ancestor);
    }
    fs::create_dir_all(directory)?;
    absent.into_iter().try_for_each(sync_parent)
}

fn rename(files: &Resolver, from: &StoragePath, to: &StoragePath) -> io::Result<()> {
    let (source, target) = (files.resolve(from.as_str())?, files.resolve(to.as_str())?);
    fs::rename(&source, &target)?;
    sync_parent(&target)?;
    if source.parent() == target.parent() { Ok(()) } else { sync_parent(&source) }
}

fn remove(files: &Resolver, path: &StoragePath) -> io::Result<()> {
    let target = files.resolve(path.as_str())?;
    let removed = match fs::symlink_metadata(&target) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&target),
        Ok(_) => fs::remove_file(&target),
        Err(error) => Err(error),
    };
    match removed {
        // It may have been removed by a process that died before the removal was durable.
        Err(error) if error.kind() == io::ErrorKind::NotFound => match sync_parent(&target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        },
        Err(error) => Err(error),
        Ok(()) => sync_parent(&target),
    }
}

fn list(files: &Resolver, dir: &StoragePath) -> io::Result<Vec<DirectoryEntry>> {
    let listed = match fs::read_dir(files.resolve(dir.as_str())?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result?,
    };
    let mut entries = Vec::new();
    for entry in listed {
        let entry = entry?;
        let metadata = match fs::metadata(entry.path()) {
            // A dangling link, or somebody else's file that came and went.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result?,
        };
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            tracing::warn!(directory = %dir, ?name, "a name that is not UTF-8 is overlooked");
            continue;
        };
        let modified_ms = (metadata.modified().ok())
            .and_then(|modified| modified.duration_since(UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_millis()).ok())
            .unwrap_or(0);
        entries.push(DirectoryEntry {
            name: Arc::from(name),
            len: if metadata.is_dir() { 0 } else { metadata.len() },
            is_directory: metadata.is_dir(),
            modified_ms,
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Makes the name of `path` durable, or its absence.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => return Ok(()),
    };
    File::open(parent)?.sync_all()
}
