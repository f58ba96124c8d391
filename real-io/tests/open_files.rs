//! The disk gets by with few open files, however much waits for its threads. Alone in its process, whose limit it lowers.

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sordini::disk::{Disk, DiskOptions};
use sordini_core::storage_op::{Completion, StorageOp, StoragePath, StorageToken};
use std::sync::{Arc, mpsc};

/// Of these the threads may have one each, the disk keeps some, and the rest is the process's own.
const OPEN_FILES: u64 = 48;
const KEPT: usize = 16;
const PARTITIONS: u64 = 2000;

fn partition_dir(partition: u64) -> StoragePath {
    StoragePath::new(&format!("0/t-{partition}"))
}

fn log_of(partition: u64) -> StoragePath {
    partition_dir(partition).join("00000000000000000000.log")
}

/// Queues one operation for every partition before any answer is looked at.
fn run(disk: &mut Disk, rung: &mpsc::Receiver<()>, op: impl Fn(u64) -> StorageOp) -> Vec<Completion> {
    for partition in 0..PARTITIONS {
        disk.submit(StorageToken { owner: 0, sequence: partition }, op(partition));
    }
    let mut completions = Vec::new();
    loop {
        disk.collect();
        while let Some((token, result)) = disk.next_completed() {
            completions.push(result.unwrap_or_else(|fault| panic!("{:?}: {fault:?}", op(token.sequence))));
        }
        if disk.is_idle() {
            return completions;
        }
        rung.recv().expect("the disk holds the bell");
    }
}

#[test]
fn what_waits_for_a_thread_holds_no_open_file() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(OPEN_FILES), ..limit })
        .expect("the limit can be lowered");
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    for (inline_append_bytes_max, inline_read_bytes_max) in [(usize::MAX, u32::MAX), (0, 0)] {
        let options = DiskOptions {
            inline_append_bytes_max,
            inline_read_bytes_max,
            open_files_max: KEPT,
            ..DiskOptions::default()
        };
        let (bell, rung) = mpsc::channel();
        let mut disk = Disk::new(
            &[directory.path().to_owned()],
            options,
            Arc::new(move || bell.send(()).expect("the test listens")),
        );
        let mut run = |op: &dyn Fn(u64) -> StorageOp| run(&mut disk, &rung, op);
        let bytes = Bytes::from_static(b"a record");
        run(&|partition| StorageOp::Append {
            file: log_of(partition),
            position: 0,
            bytes: [bytes.clone(), Bytes::new()],
        });
        run(&|partition| StorageOp::Sync { file: log_of(partition) });
        for read in run(&|partition| StorageOp::Read { file: log_of(partition), position: 0, len: 100 }) {
            assert_eq!(read, Completion::Bytes(bytes.clone()));
        }
        run(&|partition| StorageOp::Truncate { file: log_of(partition), len: 2 });
        run(&|partition| StorageOp::Rename {
            from: partition_dir(partition),
            to: partition_dir(partition + PARTITIONS),
        });
        run(&|partition| StorageOp::Remove { path: partition_dir(partition + PARTITIONS) });
    }
}
