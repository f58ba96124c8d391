//! Faults that wait for an operation to strike.

use crate::plan::{DiskFault, FileKind, WriteError};
use sordini_core::storage_op::StorageOp;
use std::collections::BTreeMap;

/// What a fault does to the operation that it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    FailWrite(WriteError),
    FailRead,
    FailSync,
    Phantom,
    Misdirected,
}

impl Blow {
    /// Whether it strikes operations of this kind.
    fn fits(self, op: &StorageOp) -> bool {
        match op {
            StorageOp::Append { bytes, .. } => match self {
                Self::FailWrite(_) => true,
                Self::Phantom | Self::Misdirected => bytes.iter().any(|piece| !piece.is_empty()),
                Self::FailRead | Self::FailSync => false,
            },
            StorageOp::Truncate { .. } => matches!(self, Self::FailWrite(_)),
            StorageOp::Read { .. } | StorageOp::List { .. } => self == Self::FailRead,
            StorageOp::Sync { .. }
            | StorageOp::Replace { .. }
            | StorageOp::Rename { .. }
            | StorageOp::Remove { .. } => self == Self::FailSync,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    blow: Blow,
    files: FileKind,
    /// How often it strikes yet, at least once.
    times: u32,
}

/// The faults of one disk that have not passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    armed: Vec<Armed>,
    /// Before this time there is no room.
    pub(super) full_until: u64,
    /// Before this time nothing takes effect.
    pub(super) stalled_until: u64,
    /// Before these times nothing can be done in these log directories.
    pub(super) lost_until: BTreeMap<usize, u64>,
}

impl Faults {
    /// Whether no operation has anything to fear.
    pub(super) fn is_empty(&self) -> bool {
        self.armed.is_empty() && self.full_until == 0 && self.lost_until.is_empty()
    }

    /// Arms a fault that waits for operations; any other is nothing to it.
    pub(super) fn arm(&mut self, fault: DiskFault) {
        let (blow, files, times) = match fault {
            DiskFault::FailWrites { files, times, error } => (Blow::FailWrite(error), files, times),
            DiskFault::FailReads { files, times } => (Blow::FailRead, files, times),
            DiskFault::FailSyncs { files, times } => (Blow::FailSync, files, times),
            DiskFault::PhantomWrites { files, times } => (Blow::Phantom, files, times),
            DiskFault::MisdirectedWrites { files, times } => (Blow::Misdirected, files, times),
            DiskFault::Full { .. }
            | DiskFault::Stall { .. }
            | DiskFault::LoseDirectory { .. }
            | DiskFault::Rot { .. }
            | DiskFault::Lose { .. } => return,
        };
        if times > 0 {
            self.armed.push(Armed { blow, files, times });
        }
    }

    /// Whether nothing can be done in the log directory of a path at `now`, which does not fall from one call to the next.
    pub(super) fn is_lost(&mut self, path: &str, now: u64) -> bool {
        self.lost_until.retain(|_, until| *until > now);
        let dir = path.split('/').next().and_then(|dir| dir.parse().ok());
        dir.is_some_and(|dir: usize| self.lost_until.contains_key(&dir))
    }

    /// Whether there is no room at `now`, which does not fall from one call to the next.
    pub(super) const fn is_full(&mut self, now: u64) -> bool {
        if self.full_until <= now {
            self.full_until = 0;
        }
        self.full_until > 0
    }

    /// What strikes an operation, of which `is_of` says whether it concerns files of a kind: the fault that has waited
    /// longest.
    pub(super) fn strike(&mut self, op: &StorageOp, is_of: impl Fn(FileKind) -> bool) -> Option<Blow> {
        let at = self.armed.iter().position(|armed| armed.blow.fits(op) && is_of(armed.files))?;
        let armed = &mut self.armed[at];
        let blow = armed.blow;
        armed.times -= 1;
        if armed.times == 0 {
            self.armed.remove(at);
        }
        Some(blow)
    }
}
