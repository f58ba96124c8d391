//! The disk gets by with few open files, however much waits for its threads. Alone in its process, whose limit it lowers.

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sordini::disk::{Disk, DiskOptions, Range};
use sordini_core::storage_op::{Completion, StorageOp, StoragePath, StorageToken};
use std::sync::{Arc, mpsc};

/// Of these the threads may have one each, the disk keeps some, and the rest is the process's own.
const OPEN_FILES: u64 = 48;
const KEPT: usize = 16;
const PARTITIONS: u64 = 2000;
/// Ranges of answers that are being sent.
const ANSWERS: u64 = 100;
/// More than are copied wherever they lie.
const MANY_BYTES: u32 = 64 << 10;

fn dir_of(partition: u64) -> StoragePath {
    StoragePath::new(&format!("0/t-{partition}"))
}

fn log_of(partition: u64) -> StoragePath {
    dir_of(partition).join("00000000000000000000.log")
}

/// Queues one operation for each of so many partitions before any answer is looked at.
fn run(
    disk: &mut Disk,
    rung: &mpsc::Receiver<()>,
    partitions: u64,
    op: impl Fn(u64) -> StorageOp,
) -> Vec<Completion> {
    for partition in 0..partitions {
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
fn neither_what_waits_for_a_thread_nor_what_is_being_sent_takes_all_open_files() {
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
        let on_completion = Arc::new(move || bell.send(()).expect("the test listens"));
        let mut disk = Disk::new(&[directory.path().to_owned()], options, on_completion);
        let disk = &mut disk;
        let record = || [Bytes::from_static(b"a record"), Bytes::new()];
        run(disk, &rung, PARTITIONS, |at| StorageOp::Append {
            file: log_of(at),
            position: 0,
            bytes: record(),
        });
        run(disk, &rung, PARTITIONS, |at| StorageOp::Sync { file: log_of(at) });
        for read in
            run(disk, &rung, PARTITIONS, |at| StorageOp::Read { file: log_of(at), position: 0, len: 100 })
        {
            assert_eq!(read, Completion::Bytes(record()[0].clone()));
        }
        let zeros = Bytes::from(vec![0; MANY_BYTES as usize]);
        let zeros = || [zeros.clone(), Bytes::new()];
        run(disk, &rung, ANSWERS, |at| StorageOp::Append { file: log_of(at), position: 8, bytes: zeros() });
        let sent: Vec<Range> = (0..ANSWERS)
            .map(|at| disk.range(log_of(at).as_str(), 8, MANY_BYTES).expect("the range is there"))
            .collect();
        let lent = sent.iter().filter(|range| matches!(range, Range::Lent(_))).count();
        assert_eq!(lent, KEPT / 2);
        run(disk, &rung, PARTITIONS, |at| StorageOp::Truncate { file: log_of(at), len: 2 });
        drop(sent);
        assert!(matches!(disk.range(log_of(1).as_str(), 0, 2), Ok(Range::Copied(_))));
        run(disk, &rung, PARTITIONS, |at| StorageOp::Rename {
            from: dir_of(at),
            to: dir_of(at + PARTITIONS),
        });
        run(disk, &rung, PARTITIONS, |at| StorageOp::Remove { path: dir_of(at + PARTITIONS) });
    }
}
