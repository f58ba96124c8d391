//! What a disk does with what it is asked, and what it may be made to do.

use super::*;

fn disk(seed: u64) -> Disk {
    let range = |low, high| plan::Range { low, high };
    let plan = DiskPlan {
        write_us: range(1, 50),
        read_us: range(1, 50),
        sync_us: range(1, 50),
        answer_us: range(0, 0),
    };
    Disk::new(Field::new(seed), plan, None)
}

fn append(file: &str, position: u64, bytes: &[u8]) -> StorageOp {
    let bytes = [Bytes::copy_from_slice(bytes), Bytes::new()];
    StorageOp::Append { file: StoragePath::new(file), position, bytes }
}

fn sync(file: &str) -> StorageOp {
    StorageOp::Sync { file: StoragePath::new(file) }
}

fn submit(disk: &mut Disk, op: StorageOp) -> Due {
    disk.submit(0, StorageToken { owner: 0, sequence: 0 }, op)
}

fn run(disk: &mut Disk, op: StorageOp) -> Result<Completion, StorageFault> {
    let due = submit(disk, op);
    disk.complete(due.number, 0, 0).expect("it was pushed").1
}

#[test]
fn operations_on_one_file_are_due_in_the_order_pushed_and_those_on_two_are_not() {
    let mut overtook = false;
    for seed in 0..50 {
        let mut disk = disk(seed);
        let dues: Vec<u64> = (0..5).map(|at| submit(&mut disk, append("0/a", at, b"x")).at).collect();
        assert!(dues.is_sorted());
        overtook |= submit(&mut disk, append("0/b", 0, b"x")).at < dues[4];
        let list = submit(&mut disk, StorageOp::List { dir: StoragePath::new("0") });
        assert!(list.at >= dues[4], "a listing comes after everything beneath");
    }
    assert!(overtook, "somewhere a later write to another file is done earlier");
}

#[test]
fn a_kill_keeps_what_was_applied_and_some_of_what_was_under_way() {
    let (mut kept, mut torn, mut lost) = (0, 0, 0);
    for seed in 0..100 {
        let mut disk = disk(seed);
        run(&mut disk, append("0/a", 0, b"before")).unwrap();
        submit(&mut disk, append("0/a", 6, b" under way"));
        submit(&mut disk, append("0/a", 16, b"!"));
        disk.kill(9, 0);
        let left = disk.contents("0/a").unwrap().all();
        assert!(b"before under way!".starts_with(&left) && left.len() >= 6);
        match left.len() {
            6 => lost += 1,
            16.. => kept += 1,
            _ => torn += 1,
        }
    }
    assert!(kept > 0 && torn > 0 && lost > 0, "{kept} kept, {torn} torn, {lost} lost");
}

#[test]
fn a_loss_of_power_keeps_what_was_synced_and_any_part_of_the_rest() {
    let mut marks = DiskMarks::default();
    for seed in 0..200 {
        let mut disk = disk(seed);
        run(&mut disk, append("0/a", 0, &[1; 1_000])).unwrap();
        run(&mut disk, sync("0/a")).unwrap();
        run(&mut disk, append("0/a", 1_000, &[2; 3_000])).unwrap();
        run(&mut disk, append("0/never", 0, &[3; 10])).unwrap();
        disk.lose_power(7, 0);
        let left = disk.contents("0/a").unwrap().all();
        assert_eq!(left[..1_000], [1; 1_000], "seed {seed}");
        assert!(left[1_000..].iter().all(|byte| [0, 2].contains(byte)), "seed {seed}");
        marks.add(&disk.marks());
    }
    assert!(marks.lost_suffix > 0 && marks.torn > 0 && marks.zeroed > 0 && marks.vanished > 0, "{marks:?}");
}

#[test]
fn a_hand_may_say_what_a_loss_of_power_leaves_of_each_file() {
    let mut disk = disk(1);
    for file in ["0/a", "0/b", "0/c", "0/d"] {
        run(&mut disk, append(file, 0, b"durable")).unwrap();
        run(&mut disk, sync(file)).unwrap();
        run(&mut disk, append(file, 7, b" not")).unwrap();
    }
    run(&mut disk, StorageOp::Truncate { file: StoragePath::new("0/b"), len: 2 }).unwrap();
    run(&mut disk, append("1/never", 0, b"gone")).unwrap();
    disk.lose_power_leaving(|name| match name {
        "0/a" => Left::All,
        "0/c" => Left::First(2),
        "0/d" => Left::Zeros,
        _ => Left::Nothing,
    });
    assert_eq!(disk.paths().collect::<Vec<_>>(), ["0/a", "0/b", "0/c", "0/d"]);
    let left = |name| disk.contents(name).unwrap().all();
    assert_eq!(left("0/a"), "durable not");
    assert_eq!(left("0/b"), "durable");
    assert_eq!(left("0/c"), "durable n");
    assert_eq!(left("0/d"), "durable\0\0\0\0");
    assert_eq!(disk.durable_len("0/d"), 11, "what came back is what the platters hold");
}

#[test]
fn a_truncation_that_was_not_synced_may_be_undone_by_a_loss_of_power() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let mut disk = disk(seed);
        run(&mut disk, append("0/a", 0, &[1; 10])).unwrap();
        run(&mut disk, sync("0/a")).unwrap();
        run(&mut disk, StorageOp::Truncate { file: StoragePath::new("0/a"), len: 4 }).unwrap();
        assert_eq!(disk.durable_len("0/a"), 4);
        disk.lose_power(3, 0);
        lengths.insert(disk.contents("0/a").unwrap().len());
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [4, 10]);
}

#[test]
fn a_replacement_under_way_may_leave_its_temporary_file_behind() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let mut disk = disk(seed);
        let replace = |bytes: &'static [u8]| StorageOp::Replace {
            file: StoragePath::new("0/meta"),
            bytes: Bytes::from_static(bytes),
        };
        run(&mut disk, replace(b"old")).unwrap();
        submit(&mut disk, replace(b"new"));
        disk.kill(3, 0);
        let file = disk.contents("0/meta").unwrap().all();
        seen.insert((file == "new", disk.contents("0/meta.tmp").is_some()));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(false, false), (false, true), (true, false)]);
}

/// An operation that takes effect at the virtual time `now`.
fn run_at(disk: &mut Disk, now: u64, op: StorageOp) -> Result<Completion, StorageFault> {
    let due = submit(disk, op);
    disk.complete(due.number, now, 0).expect("it was pushed").1
}

fn inject(disk: &mut Disk, fault: DiskFault) {
    assert_eq!(disk.inject(0, fault), [], "nothing waits");
}

fn truncate(file: &str, len: u64) -> StorageOp {
    StorageOp::Truncate { file: StoragePath::new(file), len }
}

fn read(file: &str) -> StorageOp {
    StorageOp::Read { file: StoragePath::new(file), position: 0, len: u32::MAX }
}

fn replace(file: &str, bytes: &[u8]) -> StorageOp {
    StorageOp::Replace { file: StoragePath::new(file), bytes: Bytes::copy_from_slice(bytes) }
}

fn rename(from: &str, to: &str) -> StorageOp {
    StorageOp::Rename { from: StoragePath::new(from), to: StoragePath::new(to) }
}

fn remove(path: &str) -> StorageOp {
    StorageOp::Remove { path: StoragePath::new(path) }
}

fn done(disk: &mut Disk, ops: impl IntoIterator<Item = StorageOp>) {
    for op in ops {
        run(disk, op).expect("nothing fails");
    }
}

fn damage(disk: &Disk, file: &str) -> Vec<(u64, u64)> {
    let damage = disk.file(file).map_or(&[][..], File::damage);
    damage.iter().map(|range| (range.start, range.end)).collect()
}

fn damaged_files(disk: &Disk) -> Vec<&str> {
    disk.files().filter(|(_, file)| !file.damage().is_empty()).map(|(name, _)| name).collect()
}

const ANY: FileKind = FileKind::Any;
const LOG: &str = "0/orders-3/00000000000000000000.log";

#[test]
fn a_failed_append_has_written_a_part_and_those_behind_it_lie_where_they_were_meant_to() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut disk = disk(seed);
        done(&mut disk, [append(LOG, 0, b"whole")]);
        inject(&mut disk, DiskFault::FailWrites { files: ANY, times: 1, error: WriteError::Io });
        assert_eq!(run(&mut disk, append(LOG, 5, b"abcd")), Err(StorageFault::Io));
        let left = disk.contents(LOG).unwrap().all();
        assert!(b"wholeabcd".starts_with(&left) && left.len() >= 5, "{left:?}");
        lengths.insert(left.len());
        assert_eq!(disk.marks().partial_writes, u64::from(left.len() > 5));
        // It was pushed before the failure was known.
        done(&mut disk, [append(LOG, 9, b"!")]);
        let left_behind = disk.contents(LOG).unwrap().all();
        assert_eq!(left_behind.len(), 10);
        assert!(left_behind.starts_with(&left) && left_behind.ends_with(b"!"));
        assert!(left_behind[left.len()..9].iter().all(|byte| *byte == 0), "a hole is zeros");
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
}

#[test]
fn a_file_whose_first_append_failed_may_be_absent_and_then_those_behind_it_do_not_find_it() {
    let (mut absent, mut there) = (0, 0);
    for seed in 0..100 {
        let mut disk = disk(seed);
        inject(&mut disk, DiskFault::FailWrites { files: ANY, times: 1, error: WriteError::NoSpace });
        assert_eq!(run(&mut disk, append(LOG, 0, b"ab")), Err(StorageFault::NoSpace));
        if disk.contents(LOG).is_none() {
            assert_eq!(run(&mut disk, append(LOG, 2, b"cd")), Err(StorageFault::NotFound));
            absent += 1;
        } else {
            done(&mut disk, [append(LOG, 2, b"cd")]);
            there += 1;
        }
    }
    assert!(absent > 0 && there > 0, "{absent} absent, {there} there");
}

#[test]
fn a_fault_strikes_as_often_as_it_says_what_it_is_meant_for_and_nothing_else() {
    let mut disk = disk(1);
    let files = [LOG, "0/orders-3/00000000000000000000.index", "0/meta.properties"];
    done(&mut disk, files.map(|file| append(file, 0, b"x")));
    inject(&mut disk, DiskFault::FailReads { files: FileKind::Index, times: 2 });
    inject(&mut disk, DiskFault::FailSyncs { files: FileKind::ActiveSegment, times: 1 });
    inject(&mut disk, DiskFault::FailWrites { files: FileKind::Snapshot, times: 0, error: WriteError::Io });
    done(&mut disk, [read(files[0]), read(files[2]), sync(files[1]), append(files[0], 1, b"y")]);
    let list = StorageOp::List { dir: StoragePath::new("0/orders-3") };
    done(&mut disk, [list.clone(), append("0/orders-3/00000000000000000000.snapshot", 0, b"s")]);
    for expected in [Err(StorageFault::Io), Err(StorageFault::Io)] {
        assert_eq!(run(&mut disk, read(files[1])), expected);
    }
    assert_eq!(run(&mut disk, sync(files[0])), Err(StorageFault::Io));
    done(&mut disk, [read(files[1]), sync(files[0])]);
    inject(&mut disk, DiskFault::FailReads { files: ANY, times: 1 });
    assert_eq!(run(&mut disk, list.clone()), Err(StorageFault::Io));
    done(&mut disk, [list]);
    assert_eq!((disk.marks().reads_failed, disk.marks().syncs_failed), (3, 1));
}

#[test]
fn a_truncation_that_fails_changes_nothing() {
    let mut disk = disk(1);
    done(&mut disk, [append(LOG, 0, b"abc")]);
    inject(&mut disk, DiskFault::FailWrites { files: ANY, times: 1, error: WriteError::Io });
    assert_eq!(run(&mut disk, truncate(LOG, 1)), Err(StorageFault::Io));
    assert_eq!(disk.contents(LOG).unwrap().all(), "abc");
}

#[test]
fn kinds_of_files_are_known_by_their_names_and_neighbours() {
    let mut disk = disk(1);
    let closed = "0/orders-3/00000000000000000000.log";
    let active = "0/orders-3/00000000000000000007.log";
    let metadata = "0/__cluster_metadata-0/00000000000000000000.log";
    let others = [
        ("0/orders-3/00000000000000000007.timeindex", FileKind::Index),
        ("0/orders-3/00000000000000000007.snapshot", FileKind::Snapshot),
        ("0/orders-3/leader-epoch-checkpoint", FileKind::Checkpoint),
        ("0/recovery-point-offset-checkpoint", FileKind::Checkpoint),
    ];
    done(
        &mut disk,
        [closed, active, metadata, "0/orders-30/00000000000000000009.log"].map(|file| append(file, 0, b"x")),
    );
    let kinds = [
        FileKind::ActiveSegment,
        FileKind::ClosedSegment,
        FileKind::Index,
        FileKind::Snapshot,
        FileKind::Checkpoint,
        FileKind::MetadataLog,
    ];
    let of = |name: &str| kinds.into_iter().filter(|kind| disk.is_of(name, *kind)).collect::<Vec<_>>();
    assert_eq!(of(closed), [FileKind::ClosedSegment]);
    assert_eq!(of(active), [FileKind::ActiveSegment]);
    assert_eq!(of(metadata), [FileKind::MetadataLog]);
    assert_eq!(of("0/meta.properties"), []);
    for (name, kind) in others {
        assert_eq!(of(name), [kind]);
    }
}

#[test]
fn what_was_not_durable_when_a_sync_failed_is_never_made_durable_by_another() {
    let (mut kept, mut lost, mut mixed) = (0, 0, 0);
    for seed in 0..200 {
        let mut disk = disk(seed);
        done(&mut disk, [append(LOG, 0, &[1; 700]), sync(LOG), append(LOG, 700, &[2; 1_000])]);
        inject(&mut disk, DiskFault::FailSyncs { files: ANY, times: 1 });
        assert_eq!(run(&mut disk, sync(LOG)), Err(StorageFault::Io));
        done(&mut disk, [append(LOG, 1_700, &[3; 300]), sync(LOG)]);
        assert_eq!(disk.contents(LOG).unwrap().read(700, 1_000), [2; 1_000][..], "the page cache has it");
        assert_eq!((disk.durable_len(LOG), disk.is_damaged()), (700, false), "who asked for it knows");
        disk.kill(5, 0);
        assert!(disk.is_damaged(), "whoever starts next does not");
        assert_eq!(disk.durable_len(LOG), 700, "the page cache outlives the process");
        disk.lose_power(7, 0);
        let left = disk.contents(LOG).unwrap().all();
        assert_eq!(left.len(), 2_000, "what was synced later is there");
        assert_eq!((&left[..700], &left[1_700..]), (&[1; 700][..], &[3; 300][..]));
        // Sector by sector: 700 to 1024, to 1536, to 1700.
        let sectors = [&left[700..1_024], &left[1_024..1_536], &left[1_536..1_700]];
        let whole = sectors.map(|sector| {
            assert!(sector.iter().all(|byte| *byte == sector[0]) && [0, 2].contains(&sector[0]));
            sector[0] == 2
        });
        match whole.iter().filter(|whole| **whole).count() {
            0 => lost += 1,
            3 => kept += 1,
            _ => mixed += 1,
        }
        assert_eq!(disk.marks().pages_lost, u64::from(whole.contains(&false)));
        assert_eq!((damage(&disk, LOG), disk.is_damaged()), (vec![], true), "the contract lets it");
        assert_eq!(disk.durable_len(LOG), 2_000, "what is left is what the platters hold");
    }
    assert!(kept > 0 && lost > 0 && mixed > 0, "{kept} kept, {lost} lost, {mixed} mixed");
}

#[test]
fn what_a_failed_sync_left_behind_is_durable_once_it_was_cut_off_and_written_anew() {
    for seed in 0..50 {
        let mut disk = disk(seed);
        done(&mut disk, [append(LOG, 0, &[1; 100]), sync(LOG), append(LOG, 100, &[2; 100])]);
        inject(&mut disk, DiskFault::FailSyncs { files: ANY, times: 1 });
        assert_eq!(run(&mut disk, sync(LOG)), Err(StorageFault::Io));
        done(&mut disk, [truncate(LOG, 150), append(LOG, 150, &[3; 50]), sync(LOG)]);
        assert_eq!(disk.durable_len(LOG), 100, "from 100 to 150 nothing was written anew");
        done(&mut disk, [truncate(LOG, 100), append(LOG, 100, &[4; 50]), sync(LOG)]);
        assert_eq!(disk.durable_len(LOG), 150);
        disk.lose_power(7, 0);
        assert_eq!(disk.contents(LOG).unwrap().all(), [&[1; 100][..], &[4; 50]].concat());
    }
}

#[test]
fn a_failed_sync_may_bring_back_what_the_platters_held_before_a_truncation() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let mut disk = disk(seed);
        done(&mut disk, [append(LOG, 0, &[1; 512]), sync(LOG), truncate(LOG, 0), append(LOG, 0, &[2; 512])]);
        inject(&mut disk, DiskFault::FailSyncs { files: ANY, times: 1 });
        assert_eq!(run(&mut disk, sync(LOG)), Err(StorageFault::Io));
        done(&mut disk, [sync(LOG)]);
        assert_eq!(disk.durable_len(LOG), 0);
        disk.lose_power(7, 0);
        let left = disk.contents(LOG).unwrap().all();
        assert!(left.len() == 512 && left.iter().all(|byte| *byte == left[0]));
        seen.insert(left[0]);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_failed_replacement_leaves_the_old_contents_or_the_new_and_perhaps_a_part_beside_them() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut disk = disk(seed);
        done(&mut disk, [replace("0/meta", b"old")]);
        inject(&mut disk, DiskFault::FailSyncs { files: ANY, times: 1 });
        assert_eq!(run(&mut disk, replace("0/meta", b"new")), Err(StorageFault::Io));
        let file = disk.contents("0/meta").unwrap().all();
        assert!(file == "old" || file == "new");
        let beside = disk.contents("0/meta.tmp").map(Contents::len);
        seen.insert((file == "new", beside));
        // Whatever it left, the next one stands.
        done(&mut disk, [replace("0/meta", b"newer")]);
        disk.lose_power(7, 0);
        assert_eq!(disk.contents("0/meta").unwrap().all(), "newer");
        assert_eq!(disk.paths().collect::<Vec<_>>(), ["0/meta"]);
    }
    let expected =
        [(false, None), (false, Some(0)), (false, Some(1)), (false, Some(2)), (false, Some(3)), (true, None)];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_failed_rename_leaves_one_of_the_two_names_and_a_failed_removal_any_part() {
    let (mut renamed, mut left) = ([0, 0], std::collections::BTreeSet::new());
    for seed in 0..200 {
        let mut disk = disk(seed);
        done(&mut disk, ["0/a/x", "0/a/y", "0/b"].map(|file| append(file, 0, b"x")));
        inject(&mut disk, DiskFault::FailSyncs { files: ANY, times: 2 });
        assert_eq!(run(&mut disk, rename("0/b", "0/c")), Err(StorageFault::Io));
        let names = ["0/b", "0/c"].map(|name| disk.contents(name).is_some());
        assert!(names[0] != names[1]);
        renamed[usize::from(names[1])] += 1;
        assert_eq!(run(&mut disk, remove("0/a")), Err(StorageFault::Io));
        left.insert(disk.paths_beneath("0/a").collect::<Vec<_>>().concat());
    }
    assert!(renamed[0] > 0 && renamed[1] > 0, "{renamed:?}");
    assert_eq!(left.into_iter().collect::<Vec<_>>(), ["", "0/a/x", "0/a/x0/a/y", "0/a/y"]);
}

#[test]
fn a_full_disk_takes_a_part_until_there_is_room_again() {
    let (mut parts, mut besides) = (0, 0);
    for seed in 0..100 {
        let mut disk = disk(seed);
        done(&mut disk, [append(LOG, 0, b"abc"), append("0/gone", 0, b"x")]);
        assert_eq!(disk.inject(100, DiskFault::Full { for_us: 50 }), []);
        assert_eq!(run_at(&mut disk, 120, append(LOG, 3, b"defg")), Err(StorageFault::NoSpace));
        assert_eq!(run_at(&mut disk, 149, replace("0/meta", b"meta")), Err(StorageFault::NoSpace));
        assert_eq!(disk.contents("0/meta").map(Contents::len), None);
        let len = disk.contents(LOG).unwrap().len();
        assert!((3..=7).contains(&len));
        parts += u64::from(len > 3);
        besides += u64::from(disk.contents("0/meta.tmp").is_some());
        for op in [read(LOG), sync(LOG), truncate(LOG, 3), remove("0/gone")] {
            run_at(&mut disk, 149, op).expect("it needs no room");
        }
        assert_eq!(run_at(&mut disk, 150, append(LOG, 3, b"d")), Ok(Completion::Done));
        assert_eq!(run_at(&mut disk, 151, replace("0/meta", b"meta")), Ok(Completion::Done));
        assert_eq!(disk.marks().full, 2);
    }
    assert!(parts > 0 && besides > 0, "{parts} parts, {besides} beside");
}

#[test]
fn nothing_takes_effect_while_the_disk_stalls_and_the_order_stays() {
    for seed in 0..50 {
        let mut disk = disk(seed);
        let before: Vec<Due> = (0..5).map(|at| submit(&mut disk, append(LOG, at, b"x"))).collect();
        let listing = submit(&mut disk, StorageOp::List { dir: StoragePath::new("0") });
        let dues = disk.inject(0, DiskFault::Stall { for_us: 1_000 });
        assert_eq!(dues.len(), 6);
        assert!(dues.iter().zip(&before).all(|(due, before)| due.at == before.at + 1_000));
        for old in before.iter().chain([&listing]) {
            assert!(disk.complete(old.number, old.at, 0).is_none(), "the old numbers come to nothing");
        }
        assert_eq!(disk.pending().count(), 6);
        let read = disk.submit(500, StorageToken { owner: 0, sequence: 0 }, read(LOG));
        assert!(read.at >= dues[5].at, "it follows the listing, which follows the appends");
        let aside = disk.submit(500, StorageToken { owner: 0, sequence: 0 }, append("1/aside", 0, b"x"));
        assert!(aside.at > 1_000, "what comes during the stall waits too");
        let mut order = [&dues[..], &[read, aside]].concat();
        order.sort_by_key(|due| (due.at, due.number));
        for due in order {
            let (_, result) = disk.complete(due.number, due.at, 0).expect("it is due under this number");
            if due == read {
                assert_eq!(result, Ok(Completion::Bytes(Bytes::from_static(b"xxxxx"))));
            }
        }
        assert_eq!(disk.marks().stalled, 8);
    }
}

#[test]
fn a_phantom_write_is_read_back_until_a_loss_of_power_shows_that_it_is_not_there() {
    let (mut zeros, mut shorter) = (0, 0);
    for seed in 0..100 {
        let mut disk = disk(seed);
        done(&mut disk, [append(LOG, 0, &[1; 100])]);
        inject(&mut disk, DiskFault::PhantomWrites { files: FileKind::ActiveSegment, times: 1 });
        done(&mut disk, [append("0/meta", 0, b"m"), append(LOG, 100, &[2; 100]), sync(LOG)]);
        assert_eq!(disk.contents(LOG).unwrap().read(100, 100), [2; 100][..]);
        assert_eq!(disk.durable_len(LOG), 200, "the contract lets the core believe it");
        disk.kill(5, 0);
        assert_eq!((damage(&disk, LOG), disk.is_damaged()), (vec![], true), "nobody can see it");
        disk.lose_power(7, 0);
        let left = disk.contents(LOG).unwrap().all();
        assert_eq!(left[..100], [1; 100]);
        match left.len() {
            100 => shorter += 1,
            _ => {
                assert_eq!(left[100..], [0; 100]);
                zeros += 1;
            }
        }
        assert_eq!((damage(&disk, LOG), disk.is_damaged()), (vec![(100, 200)], true));
        assert_eq!(damaged_files(&disk), [LOG]);
        assert_eq!(disk.marks().phantoms_revealed, 1);
    }
    assert!(zeros > 0 && shorter > 0, "{zeros} zeros, {shorter} shorter");
}

#[test]
fn what_lies_behind_a_phantom_write_stays_where_it_is() {
    for seed in 0..20 {
        let mut disk = disk(seed);
        inject(&mut disk, DiskFault::PhantomWrites { files: ANY, times: 1 });
        done(&mut disk, [append(LOG, 0, &[1; 100]), append(LOG, 100, &[2; 100]), sync(LOG)]);
        disk.lose_power(7, 0);
        assert_eq!(disk.contents(LOG).unwrap().all(), [[0; 100], [2; 100]].concat());
        assert_eq!(damage(&disk, LOG), [(0, 100)]);
    }
}

#[test]
fn a_misdirected_write_is_missing_in_its_place_and_lies_in_another() {
    let mut places = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let mut disk = disk(seed);
        done(&mut disk, [append(LOG, 0, &[1; 1_600]), sync(LOG)]);
        inject(&mut disk, DiskFault::MisdirectedWrites { files: ANY, times: 1 });
        done(&mut disk, [append(LOG, 1_600, &[2; 600]), sync(LOG), append(LOG, 2_200, b"."), sync(LOG)]);
        assert_eq!(
            disk.contents(LOG).unwrap().read(0, 1_600),
            [1; 1_600][..],
            "the page cache has the truth"
        );
        assert_eq!(disk.durable_len(LOG), 2_201);
        disk.lose_power(7, 0);
        let left = disk.contents(LOG).unwrap().all();
        let place = left.iter().position(|byte| *byte == 2).expect("it is somewhere");
        let end = 1_600.min(place + 600);
        let mut expected = [[1; 1_600].to_vec(), vec![0; 600], b".".to_vec()].concat();
        expected[place..end].fill(2);
        assert!(left == expected, "seed {seed}");
        let (place, end) = (place as u64, end as u64);
        let expected = if end == 1_600 { vec![(place, 2_200)] } else { vec![(place, end), (1_600, 2_200)] };
        assert_eq!(damage(&disk, LOG), expected);
        places.insert(place);
    }
    assert_eq!(places.into_iter().collect::<Vec<_>>(), [0, 512, 1_024]);
}

#[test]
fn rot_flips_one_bit_of_one_file_of_its_kind_at_once() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut disk = disk(seed);
        let files = ["0/a-0/0.index", "0/a-0/1.index", "0/a-0/0.timeindex"];
        done(&mut disk, files.map(|file| append(file, 0, &[0; 16])));
        done(&mut disk, [append("0/a-0/2.index", 0, b""), append("0/a-0/0.log", 0, &[0; 16])]);
        inject(&mut disk, DiskFault::Rot { files: FileKind::Index });
        inject(&mut disk, DiskFault::Rot { files: FileKind::Snapshot });
        let damaged = damaged_files(&disk);
        let [file] = damaged[..] else { panic!("one file rots: {damaged:?}") };
        assert!(files.contains(&file));
        let left = disk.contents(file).unwrap().all();
        let [at] = (0..16).filter(|at| left[*at] != 0).collect::<Vec<_>>()[..] else {
            panic!("one byte rots")
        };
        assert_eq!(left[at].count_ones(), 1);
        assert_eq!(damage(&disk, file), [(at as u64, at as u64 + 1)]);
        assert_eq!((disk.marks().bits_rotted, disk.is_damaged()), (1, true));
        seen.insert(file.to_owned());
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn what_is_lost_is_all_of_a_kind_and_the_metadata_log_keeps_its_own() {
    let mut disk = disk(1);
    let kept = ["0/__cluster_metadata-0/leader-epoch-checkpoint", "0/a-0/0.log"];
    let lost = ["0/a-0/leader-epoch-checkpoint", "0/recovery-point-offset-checkpoint"];
    done(&mut disk, kept.iter().chain(&lost).map(|file| append(file, 0, b"0")));
    inject(&mut disk, DiskFault::Lose { files: FileKind::Checkpoint });
    assert_eq!(disk.paths().collect::<Vec<_>>(), kept);
    assert!(!disk.is_damaged(), "the segments say all of it");
}

#[test]
fn damage_goes_with_the_file_and_is_forgotten_where_it_is_cut_or_written_anew() {
    let mut disk = disk(3);
    inject(&mut disk, DiskFault::PhantomWrites { files: ANY, times: 1 });
    done(&mut disk, [append("0/a/x", 0, &[1; 300]), append("0/a/x", 300, b"end"), sync("0/a/x")]);
    done(&mut disk, [rename("0/a", "0/b")]);
    disk.lose_power(7, 0);
    done(&mut disk, [rename("0/b/x", "0/b/y")]);
    assert_eq!(damage(&disk, "0/b/y"), [(0, 300)]);
    done(&mut disk, [truncate("0/b/y", 200)]);
    assert_eq!(damage(&disk, "0/b/y"), [(0, 200)]);
    done(&mut disk, [append("0/b/y", 0, &[1; 50])]);
    assert_eq!(damage(&disk, "0/b/y"), [(50, 200)]);
    done(&mut disk, [replace("0/b/y", b"new")]);
    assert_eq!(damaged_files(&disk), [""; 0]);
    assert!(disk.is_damaged(), "the disk has done it");
}

#[test]
fn damage_that_a_truncation_cut_off_comes_back_with_it() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let mut disk = disk(seed);
        done(&mut disk, [append(LOG, 0, b"x"), sync(LOG)]);
        inject(&mut disk, DiskFault::Rot { files: ANY });
        done(&mut disk, [truncate(LOG, 0)]);
        assert_eq!(damage(&disk, LOG), []);
        disk.lose_power(7, 0);
        seen.insert((disk.contents(LOG).unwrap().len(), damage(&disk, LOG).len()));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(0, 0), (1, 1)]);
}

#[test]
fn a_healed_disk_fails_nothing_more_and_keeps_what_was_spoiled() {
    let mut disk = disk(1);
    inject(&mut disk, DiskFault::PhantomWrites { files: ANY, times: 1 });
    inject(&mut disk, DiskFault::FailSyncs { files: ANY, times: 9 });
    inject(&mut disk, DiskFault::Full { for_us: 1_000_000 });
    disk.heal();
    done(&mut disk, [append(LOG, 0, b"abc"), sync(LOG)]);
    inject(&mut disk, DiskFault::PhantomWrites { files: ANY, times: 1 });
    done(&mut disk, [append(LOG, 3, b"def"), append(LOG, 6, b"ghi"), sync(LOG)]);
    disk.heal();
    disk.lose_power(7, 0);
    assert_eq!(disk.contents(LOG).unwrap().all(), "abc\0\0\0ghi");
}

#[test]
fn a_disk_takes_over_the_marks_and_numbers_of_the_one_before() {
    let mut old = disk(1);
    let due = submit(&mut old, append(LOG, 0, b"x"));
    old.kill(0, 0);
    let mut new = disk(1);
    new.remember(&old);
    assert_eq!(new.marks(), old.marks());
    let other = submit(&mut new, append(LOG, 0, b"y"));
    assert_ne!(other.number, due.number);
    assert!(new.complete(due.number, due.at, 0).is_none(), "it was asked of the old disk");
    assert!(new.complete(other.number, other.at, 0).is_some());
}

#[test]
fn what_befalls_one_file_is_the_same_whatever_happens_to_others() {
    for seed in 0..50 {
        let life = |files: &[&'static str]| {
            let mut disk = disk(seed);
            let mut dues = Vec::new();
            for file in files {
                done(&mut disk, [append(file, 0, &[1; 2_000])]);
                inject(&mut disk, DiskFault::FailWrites { files: ANY, times: 1, error: WriteError::Io });
                assert!(run_at(&mut disk, 3, append(file, 2_000, &[2; 1_000])).is_err());
                dues.push((*file, submit(&mut disk, truncate(file, 1_500)).at));
                submit(&mut disk, append(file, 1_500, &[3; 2_000]));
            }
            disk.lose_power(9, 0);
            dues.retain(|(file, _)| *file != "0/other");
            (dues, ["0/a", "1/b"].map(|file| disk.contents(file).map(Contents::all)))
        };
        assert_eq!(life(&["0/other", "0/a", "1/b"]), life(&["0/a", "1/b"]), "seed {seed}");
    }
}

#[test]
fn the_file_that_rots_is_the_same_as_long_as_it_is_there() {
    for seed in 0..50 {
        let rotten = |files: &[&str]| {
            let mut disk = disk(seed);
            for file in files {
                done(&mut disk, [append(file, 0, &[1; 2_000])]);
            }
            inject(&mut disk, DiskFault::Rot { files: ANY });
            let file = damaged_files(&disk)[0].to_owned();
            let place = damage(&disk, &file);
            (file, place)
        };
        let of_three = rotten(&["0/a", "0/b", "0/c"]);
        if of_three.0 != "0/b" {
            assert_eq!(rotten(&["0/a", "0/c"]), of_three);
        }
    }
}

#[test]
fn a_copy_of_a_disk_goes_its_own_way() {
    let mut disk = disk(1);
    done(&mut disk, [append(LOG, 0, b"shared"), sync(LOG)]);
    let due = submit(&mut disk, append(LOG, 6, b" and more"));
    let mut copy = disk.clone();
    done(&mut copy, [remove("0/orders-3")]);
    assert!(disk.complete(due.number, due.at, 0).is_some());
    assert_eq!(disk.contents(LOG).unwrap().all(), "shared and more");
    assert!(copy.contents(LOG).is_none());
}
