//! The real disk keeps the storage contract: the suite that the simulator's disk passes too.

use sordini::disk::{Disk, DiskOptions};
use sordini_core::storage_contract::{ContractDisk, cases};
use sordini_core::storage_op::{Completion, StorageFault, StorageOp, StorageToken};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A disk in a directory of its own.
struct RealDisk {
    directory: tempfile::TempDir,
    options: DiskOptions,
    disk: Disk,
    bell: Arc<Bell>,
}

/// Rings when a disk thread has finished something.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !*rung {
            rung = self.changed.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
        *rung = false;
    }
}

impl RealDisk {
    fn new(options: DiskOptions) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let bell = Arc::new(Bell::default());
        let disk = Self::open(&directory, options, &bell);
        Self { directory, options, disk, bell }
    }

    fn open(directory: &tempfile::TempDir, options: DiskOptions, bell: &Arc<Bell>) -> Disk {
        let bell = Arc::clone(bell);
        Disk::new(&[directory.path().join("logs")], options, Arc::new(move || bell.ring()))
    }
}

impl ContractDisk for RealDisk {
    fn run(&mut self, ops: Vec<StorageOp>) -> Vec<Result<Completion, StorageFault>> {
        let mut results: Vec<Option<Result<Completion, StorageFault>>> = ops.iter().map(|_| None).collect();
        for (sequence, op) in (0..).zip(ops) {
            self.disk.submit(StorageToken { owner: 0, sequence }, op);
        }
        let mut missing = results.len();
        loop {
            self.disk.collect();
            while let Some((token, result)) = self.disk.next_completed() {
                let index = usize::try_from(token.sequence).expect("an index fits");
                let before = results[index].replace(result);
                assert!(before.is_none(), "an operation is answered once");
                missing -= 1;
            }
            if missing == 0 {
                assert!(self.disk.is_idle(), "nothing is under way once everything is answered");
                return results.into_iter().flatten().collect();
            }
            self.bell.wait();
        }
    }

    fn kill_and_reopen(&mut self) {
        // Nothing is kept outside of the kernel, so that to forget the disk is to die.
        self.disk = Self::open(&self.directory, self.options, &self.bell);
    }
}

fn keeps_every_sentence(options: DiskOptions) {
    for case in cases::<RealDisk>() {
        println!("{}", case.name);
        (case.run)(&mut RealDisk::new(options));
    }
}

#[test]
fn the_disk_keeps_the_contract() {
    keeps_every_sentence(DiskOptions::default());
}

#[test]
fn the_disk_keeps_the_contract_when_threads_do_everything() {
    keeps_every_sentence(DiskOptions {
        inline_append_bytes_max: 0,
        inline_read_bytes_max: 0,
        ..DiskOptions::default()
    });
}

#[test]
fn the_disk_keeps_the_contract_with_one_thread_and_two_open_files() {
    keeps_every_sentence(DiskOptions {
        threads_max: 1,
        inline_append_bytes_max: 50,
        inline_read_bytes_max: 50,
        open_files_max: 2,
    });
}

#[test]
fn the_disk_keeps_the_contract_without_threads() {
    keeps_every_sentence(DiskOptions { threads_max: 0, ..DiskOptions::default() });
}
