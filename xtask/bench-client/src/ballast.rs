//! Memory kept ready for the broker's log.
//!
//! A virtual machine may hand the memory that is free back to its host, and pay for each page when it is used again:
//! measured 1.6 CPU seconds per GiB on a machine with free page reporting, several times what a good broker spends on
//! storing that GiB. A broker that fills the page cache would be charged for it, and the more the longer the machine
//! was idle. So memory is claimed before the clock starts, and let go at the pace at which records are sent: what has
//! just become free is what the kernel gives out first.

use std::fs::File;
use std::io::Write;

use rustix::fs::{MemfdFlags, memfd_create};

/// Memory is let go in steps of this size.
const STEP: u64 = 4 << 20;

#[derive(Debug)]
pub(crate) struct Ballast {
    memory: File,
    held: u64,
    /// What `release` was asked for and did not let go yet, below one step.
    owed: u64,
}

impl Ballast {
    /// Claims `bytes` of memory and touches all of it.
    pub(crate) fn claim(bytes: u64) -> anyhow::Result<Self> {
        let mut memory = File::from(memfd_create("ballast", MemfdFlags::CLOEXEC)?);
        let zeros = vec![0; 1 << 20];
        let mut held = 0;
        while held < bytes {
            memory.write_all(&zeros)?;
            held += zeros.len() as u64;
        }
        Ok(Self { memory, held, owed: 0 })
    }

    /// Lets go of `bytes`, or of what is left.
    pub(crate) fn release(&mut self, bytes: u64) -> anyhow::Result<()> {
        self.owed += bytes;
        if self.owed >= STEP && self.held > 0 {
            self.held = self.held.saturating_sub(self.owed);
            self.owed = 0;
            self.memory.set_len(self.held)?;
        }
        Ok(())
    }
}
