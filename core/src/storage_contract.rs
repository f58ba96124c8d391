//! The storage contract as a suite that every disk passes: [`cases`], one per sentence of [`crate::storage_op`].

use crate::storage_op::{Completion, DirectoryEntry, StorageFault, StorageOp, StoragePath};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

/// A disk under test: one log directory, "0", empty at first.
pub trait ContractDisk {
    /// Pushes all of `ops`, in order and without waiting in between, then waits for every answer; answers in the order
    /// of `ops`.
    fn run(&mut self, ops: Vec<StorageOp>) -> Vec<Result<Completion, StorageFault>>;

    /// The process dies when nothing is under way, and another one opens the disk.
    fn kill_and_reopen(&mut self);

    /// Pushes `under_way`, and before any of it has to be answered the power is lost; then another process opens the
    /// disk. False if this disk cannot lose its power, and then nothing happened.
    fn power_loss_and_reopen(&mut self, under_way: Vec<StorageOp>) -> bool {
        drop(under_way);
        false
    }
}

/// One sentence of the contract and the function that tests it on a new disk. It panics if the sentence is not kept.
#[derive(Debug)]
pub struct Case<D> {
    /// The sentence, fit for the name of a test.
    pub name: &'static str,
    /// The test.
    pub run: fn(&mut D),
}

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// Every case of the suite.
        #[must_use]
        pub fn cases<D: ContractDisk>() -> Vec<Case<D>> {
            vec![$(Case { name: stringify!($name), run: $name::<D> }),*]
        }
    };
}

cases![
    both_pieces_of_an_append_are_written_one_after_the_other,
    an_append_at_zero_creates_the_file_and_its_directories,
    an_append_of_nothing_at_zero_creates_an_empty_file,
    an_append_further_on_does_not_create_the_file,
    an_append_at_zero_leaves_the_rest_of_an_existing_file,
    a_read_ends_where_the_file_ends,
    a_read_of_an_absent_file_is_not_found,
    a_truncated_file_ends_there_and_can_be_appended_to,
    a_replaced_file_has_the_new_contents_and_nothing_lies_beside_it,
    a_renamed_file_has_the_new_name_only,
    a_renamed_directory_takes_along_what_lies_in_it,
    what_is_removed_is_gone_and_what_is_absent_is_removed_already,
    a_list_is_in_the_order_of_names_with_lengths,
    an_absent_directory_is_empty,
    operations_on_one_file_take_effect_in_the_order_pushed,
    a_rename_comes_after_what_was_pushed_before_and_before_what_was_pushed_after,
    a_removal_comes_after_what_was_pushed_before_and_before_what_was_pushed_after,
    a_list_of_the_log_directory_sees_what_was_pushed_before_and_nothing_pushed_after,
    a_read_does_not_see_what_was_pushed_after_it,
    a_sync_is_answered_among_other_operations,
    large_appends_and_small_ones_keep_their_order,
    random_operations_agree_with_a_model,
    what_was_appended_survives_the_death_of_the_process,
    what_was_truncated_survives_the_death_of_the_process,
    what_was_synced_survives_a_loss_of_power,
    a_sync_covers_what_an_earlier_process_appended,
    a_truncation_that_was_synced_survives_a_loss_of_power,
    a_replacement_survives_a_loss_of_power,
    a_rename_survives_a_loss_of_power,
    a_removal_survives_a_loss_of_power,
    a_replacement_under_way_leaves_the_old_contents_or_the_new,
    a_rename_under_way_leaves_one_of_the_two_names,
];

fn path(text: &str) -> StoragePath {
    StoragePath::new(text)
}

fn append(file: &str, position: usize, bytes: &[u8]) -> StorageOp {
    StorageOp::Append {
        file: path(file),
        position: position as u64,
        bytes: [Bytes::copy_from_slice(bytes), Bytes::new()],
    }
}

fn read(file: &str, position: u64, len: u32) -> StorageOp {
    StorageOp::Read { file: path(file), position, len }
}

fn sync(file: &str) -> StorageOp {
    StorageOp::Sync { file: path(file) }
}

fn truncate(file: &str, len: u64) -> StorageOp {
    StorageOp::Truncate { file: path(file), len }
}

fn replace(file: &str, bytes: &[u8]) -> StorageOp {
    StorageOp::Replace { file: path(file), bytes: Bytes::copy_from_slice(bytes) }
}

fn rename(from: &str, to: &str) -> StorageOp {
    StorageOp::Rename { from: path(from), to: path(to) }
}

fn remove(what: &str) -> StorageOp {
    StorageOp::Remove { path: path(what) }
}

fn list(dir: &str) -> StorageOp {
    StorageOp::List { dir: path(dir) }
}

/// Longer than any file of the suite.
const WHOLE: u32 = 1 << 26;

fn all_done<D: ContractDisk>(disk: &mut D, ops: Vec<StorageOp>) {
    for (index, result) in run(disk, ops).into_iter().enumerate() {
        assert!(result.is_ok(), "operation {index} was answered {result:?}");
    }
}

fn run<D: ContractDisk>(disk: &mut D, ops: Vec<StorageOp>) -> Vec<Result<Completion, StorageFault>> {
    let count = ops.len();
    let results = disk.run(ops);
    assert_eq!(results.len(), count, "every operation is answered once");
    results
}

fn run_one<D: ContractDisk>(disk: &mut D, op: StorageOp) -> Result<Completion, StorageFault> {
    run(disk, vec![op]).pop().unwrap_or(Err(StorageFault::Io))
}

fn contents<D: ContractDisk>(disk: &mut D, file: &str) -> Option<Bytes> {
    match run_one(disk, read(file, 0, WHOLE)) {
        Ok(Completion::Bytes(bytes)) => Some(bytes),
        Err(StorageFault::NotFound) => None,
        other => panic!("a read was answered {other:?}"),
    }
}

fn bytes_of(result: &Result<Completion, StorageFault>) -> &[u8] {
    match result {
        Ok(Completion::Bytes(bytes)) => bytes,
        other => panic!("a read was answered {other:?}"),
    }
}

fn entries_of(result: &Result<Completion, StorageFault>) -> &[DirectoryEntry] {
    match result {
        Ok(Completion::Entries(entries)) => entries,
        other => panic!("a list was answered {other:?}"),
    }
}

fn names_of(result: &Result<Completion, StorageFault>) -> Vec<String> {
    // A disk may keep files of its own, whose names begin with a dot, in a log directory.
    (entries_of(result).iter().map(|entry| entry.name.to_string()))
        .filter(|name| !name.starts_with('.'))
        .collect()
}

fn both_pieces_of_an_append_are_written_one_after_the_other<D: ContractDisk>(disk: &mut D) {
    let bytes = [Bytes::from_static(b"header"), Bytes::from_static(b" and body")];
    all_done(disk, vec![StorageOp::Append { file: path("0/a-0/log"), position: 0, bytes }]);
    let bytes = [Bytes::new(), Bytes::from_static(b", second")];
    all_done(disk, vec![StorageOp::Append { file: path("0/a-0/log"), position: 15, bytes }]);
    assert_eq!(contents(disk, "0/a-0/log").as_deref(), Some(&b"header and body, second"[..]));
}

fn an_append_at_zero_creates_the_file_and_its_directories<D: ContractDisk>(disk: &mut D) {
    all_done(disk, vec![append("0/a-0/deep/down/log", 0, b"x"), append("0/flat", 0, b"y")]);
    assert_eq!(contents(disk, "0/a-0/deep/down/log").as_deref(), Some(&b"x"[..]));
    assert_eq!(contents(disk, "0/flat").as_deref(), Some(&b"y"[..]));
    let listed = run_one(disk, list("0"));
    assert_eq!(names_of(&listed), ["a-0", "flat"]);
}

fn an_append_of_nothing_at_zero_creates_an_empty_file<D: ContractDisk>(disk: &mut D) {
    all_done(disk, vec![append("0/a-0/log", 0, b"")]);
    assert_eq!(contents(disk, "0/a-0/log").as_deref(), Some(&b""[..]));
}

fn an_append_further_on_does_not_create_the_file<D: ContractDisk>(disk: &mut D) {
    assert_eq!(run_one(disk, append("0/a-0/log", 10, b"x")), Err(StorageFault::NotFound));
    assert_eq!(contents(disk, "0/a-0/log"), None);
}

fn an_append_at_zero_leaves_the_rest_of_an_existing_file<D: ContractDisk>(disk: &mut D) {
    all_done(disk, vec![append("0/a-0/log", 0, b"0123456789"), append("0/a-0/log", 0, b"abc")]);
    assert_eq!(contents(disk, "0/a-0/log").as_deref(), Some(&b"abc3456789"[..]));
}

fn a_read_ends_where_the_file_ends<D: ContractDisk>(disk: &mut D) {
    all_done(disk, vec![append("0/a-0/log", 0, b"0123456789")]);
    let file = "0/a-0/log";
    let results = run(
        disk,
        vec![read(file, 2, 3), read(file, 8, 5), read(file, 10, 1), read(file, 99, 1), read(file, 0, 0)],
    );
    let expected: [&[u8]; 5] = [b"234", b"89", b"", b"", b""];
    for (result, expected) in results.iter().zip(expected) {
        assert_eq!(bytes_of(result), expected);
    }
}

fn a_read_of_an_absent_file_is_not_found<D: ContractDisk>(disk: &mut D) {
    assert_eq!(run_one(disk, read("0/a-0/log", 0, 1)), Err(StorageFault::NotFound));
    all_done(disk, vec![append("0/a-0/log", 0, b"x")]);
    assert_eq!(run_one(disk, read("0/a-0/index", 0, 1)), Err(StorageFault::NotFound));
}

fn a_truncated_file_ends_there_and_can_be_appended_to<D: ContractDisk>(disk: &mut D) {
    let file = "0/a-0/log";
    all_done(
        disk,
        vec![append(file, 0, b"0123456789"), truncate(file, 4), append(file, 4, b"x"), truncate(file, 5)],
    );
    assert_eq!(contents(disk, file).as_deref(), Some(&b"0123x"[..]));
    all_done(disk, vec![truncate(file, 0)]);
    assert_eq!(contents(disk, file).as_deref(), Some(&b""[..]));
}

fn a_replaced_file_has_the_new_contents_and_nothing_lies_beside_it<D: ContractDisk>(disk: &mut D) {
    all_done(disk, vec![replace("0/a-0/checkpoint", b"first and longer")]);
    assert_eq!(contents(disk, "0/a-0/checkpoint").as_deref(), Some(&b"first and longer"[..]));
    all_done(disk, vec![replace("0/a-0/checkpoint", b"second")]);
    assert_eq!(contents(disk, "0/a-0/checkpoint").as_deref(), Some(&b"second"[..]));
    all_done(disk, vec![append("0/a-0/checkpoint", 6, b"!"), replace("0/flat", b"")]);
    assert_eq!(contents(disk, "0/a-0/checkpoint").as_deref(), Some(&b"second!"[..]));
    assert_eq!(contents(disk, "0/flat").as_deref(), Some(&b""[..]));
    let listed = run_one(disk, list("0/a-0"));
    assert_eq!(names_of(&listed), ["checkpoint"]);
}

fn a_renamed_file_has_the_new_name_only<D: ContractDisk>(disk: &mut D) {
    all_done(disk, vec![append("0/a-0/log", 0, b"abc"), rename("0/a-0/log", "0/a-0/log.deleted")]);
    assert_eq!(contents(disk, "0/a-0/log"), None);
    assert_eq!(contents(disk, "0/a-0/log.deleted").as_deref(), Some(&b"abc"[..]));
    all_done(disk, vec![append("0/a-0/log.deleted", 3, b"d"), append("0/a-0/log", 0, b"new")]);
    assert_eq!(contents(disk, "0/a-0/log.deleted").as_deref(), Some(&b"abcd"[..]));
    assert_eq!(contents(disk, "0/a-0/log").as_deref(), Some(&b"new"[..]));
    assert!(run_one(disk, rename("0/a-0/absent", "0/a-0/other")).is_err());
}

fn a_renamed_directory_takes_along_what_lies_in_it<D: ContractDisk>(disk: &mut D) {
    all_done(disk, vec![append("0/a-0/log", 0, b"abc"), append("0/a-0/index", 0, b"i")]);
    // A name that begins with the directory's is not in the directory.
    all_done(disk, vec![append("0/a-00/log", 0, b"other"), rename("0/a-0", "0/a-0.gone")]);
    assert_eq!(contents(disk, "0/a-0/log"), None);
    assert_eq!(contents(disk, "0/a-0.gone/log").as_deref(), Some(&b"abc"[..]));
    assert_eq!(contents(disk, "0/a-0.gone/index").as_deref(), Some(&b"i"[..]));
    assert_eq!(contents(disk, "0/a-00/log").as_deref(), Some(&b"other"[..]));
    all_done(disk, vec![append("0/a-0.gone/log", 3, b"d"), append("0/a-0/log", 0, b"new")]);
    assert_eq!(contents(disk, "0/a-0.gone/log").as_deref(), Some(&b"abcd"[..]));
    assert_eq!(contents(disk, "0/a-0/log").as_deref(), Some(&b"new"[..]));
}

fn what_is_removed_is_gone_and_what_is_absent_is_removed_already<D: ContractDisk>(disk: &mut D) {
    all_done(
        disk,
        vec![
            append("0/a-0/log", 0, b"abc"),
            append("0/a-0/deep/index", 0, b"i"),
            append("0/b-0/log", 0, b"b"),
        ],
    );
    all_done(disk, vec![remove("0/a-0/log"), remove("0/a-0/log"), remove("0/absent/log")]);
    assert_eq!(contents(disk, "0/a-0/log"), None);
    assert_eq!(contents(disk, "0/a-0/deep/index").as_deref(), Some(&b"i"[..]));
    all_done(disk, vec![remove("0/a-0"), remove("0/a-0")]);
    assert_eq!(contents(disk, "0/a-0/deep/index"), None);
    assert_eq!(contents(disk, "0/b-0/log").as_deref(), Some(&b"b"[..]));
}

fn a_list_is_in_the_order_of_names_with_lengths<D: ContractDisk>(disk: &mut D) {
    for name in ["b", "a", "c", "B"] {
        all_done(disk, vec![append(&format!("0/a-0/{name}"), 0, name.repeat(3).as_bytes())]);
    }
    all_done(disk, vec![append("0/a-0/ab/inner", 0, b"x")]);
    let listed = run_one(disk, list("0/a-0"));
    let seen: Vec<(&str, u64, bool)> =
        entries_of(&listed).iter().map(|entry| (&*entry.name, entry.len, entry.is_directory)).collect();
    assert_eq!(seen, [("B", 3, false), ("a", 3, false), ("ab", 0, true), ("b", 3, false), ("c", 3, false)]);
}

fn an_absent_directory_is_empty<D: ContractDisk>(disk: &mut D) {
    let listed = run_one(disk, list("0/a-0"));
    assert_eq!(entries_of(&listed), []);
}

fn operations_on_one_file_take_effect_in_the_order_pushed<D: ContractDisk>(disk: &mut D) {
    let file = "0/a-0/log";
    let results = run(
        disk,
        vec![
            append(file, 0, b"abc"),
            read(file, 0, WHOLE),
            append(file, 3, b"def"),
            sync(file),
            read(file, 0, WHOLE),
            truncate(file, 2),
            read(file, 0, WHOLE),
            append(file, 2, b"X"),
            read(file, 0, WHOLE),
            replace(file, b"new"),
            read(file, 0, WHOLE),
            append(file, 3, b"er"),
            read(file, 0, WHOLE),
            remove(file),
            read(file, 0, WHOLE),
            append(file, 0, b"again"),
            read(file, 0, WHOLE),
        ],
    );
    for (index, expected) in
        [(1, "abc"), (4, "abcdef"), (6, "ab"), (8, "abX"), (10, "new"), (12, "newer"), (16, "again")]
    {
        assert_eq!(bytes_of(&results[index]), expected.as_bytes(), "operation {index}");
    }
    assert_eq!(results[14], Err(StorageFault::NotFound));
}

fn a_rename_comes_after_what_was_pushed_before_and_before_what_was_pushed_after<D: ContractDisk>(
    disk: &mut D,
) {
    let results = run(
        disk,
        vec![
            append("0/a-0/log", 0, b"old"),
            rename("0/a-0", "0/b-0"),
            append("0/b-0/log", 3, b"er"),
            read("0/a-0/log", 0, WHOLE),
            append("0/a-0/log", 0, b"fresh"),
            read("0/b-0/log", 0, WHOLE),
            rename("0/b-0/log", "0/b-0/kept"),
            read("0/b-0/kept", 0, WHOLE),
            rename("0/b-0", "0/c-0"),
            rename("0/a-0", "0/b-0"),
            read("0/b-0/log", 0, WHOLE),
            read("0/c-0/kept", 0, WHOLE),
        ],
    );
    assert_eq!(results[3], Err(StorageFault::NotFound));
    for (index, expected) in [(5, "older"), (7, "older"), (10, "fresh"), (11, "older")] {
        assert_eq!(bytes_of(&results[index]), expected.as_bytes(), "operation {index}");
    }
}

fn a_removal_comes_after_what_was_pushed_before_and_before_what_was_pushed_after<D: ContractDisk>(
    disk: &mut D,
) {
    let results = run(
        disk,
        vec![
            append("0/a-0/log", 0, b"one"),
            append("0/a-0/index", 0, b"i"),
            remove("0/a-0"),
            list("0/a-0"),
            append("0/a-0/log", 0, b"2"),
            sync("0/a-0/log"),
            read("0/a-0/log", 0, WHOLE),
            list("0/a-0"),
        ],
    );
    assert_eq!(entries_of(&results[3]), []);
    assert_eq!(bytes_of(&results[6]), b"2");
    assert_eq!(names_of(&results[7]), ["log"]);
}

fn a_list_of_the_log_directory_sees_what_was_pushed_before_and_nothing_pushed_after<D: ContractDisk>(
    disk: &mut D,
) {
    let results = run(
        disk,
        vec![
            append("0/a-0/log", 0, &vec![7; 1 << 20]),
            replace("0/meta", b"m"),
            list("0"),
            append("0/b-0/log", 0, b"x"),
            rename("0/a-0", "0/c-0"),
            list("0"),
            remove("0/c-0"),
            list("0"),
        ],
    );
    assert_eq!(names_of(&results[2]), ["a-0", "meta"]);
    assert_eq!(names_of(&results[5]), ["b-0", "c-0", "meta"]);
    assert_eq!(names_of(&results[7]), ["b-0", "meta"]);
}

fn a_read_does_not_see_what_was_pushed_after_it<D: ContractDisk>(disk: &mut D) {
    let file = "0/a-0/log";
    let mut ops = Vec::new();
    for round in 0..50_usize {
        ops.push(append(file, round * 10, b"0123456789"));
        ops.push(read(file, 0, WHOLE));
    }
    for (index, result) in run(disk, ops).iter().enumerate().skip(1).step_by(2) {
        assert_eq!(bytes_of(result).len(), (index / 2 + 1) * 10);
    }
}

fn a_sync_is_answered_among_other_operations<D: ContractDisk>(disk: &mut D) {
    let mut ops = Vec::new();
    for round in 0..20_usize {
        for file in ["0/a-0/log", "0/a-0/index", "0/b-0/log"] {
            ops.push(append(file, round * 3, b"abc"));
            ops.push(sync(file));
        }
    }
    all_done(disk, ops);
    assert_eq!(contents(disk, "0/a-0/index").map(|bytes| bytes.len()), Some(60));
    assert!(run_one(disk, sync("0/a-0/absent")).is_err());
}

fn large_appends_and_small_ones_keep_their_order<D: ContractDisk>(disk: &mut D) {
    let (mut ops, mut expected) = (Vec::new(), Vec::new());
    for round in 0..24_usize {
        let len = if round % 3 == 0 { 300_000 } else { 100 + round };
        let piece = vec![u8::try_from(round).unwrap_or(0); len];
        ops.push(append("0/a-0/log", expected.len(), &piece));
        expected.extend_from_slice(&piece);
    }
    ops.push(read("0/a-0/log", 0, WHOLE));
    let results = run(disk, ops);
    let read = results.last().map(bytes_of);
    assert!(read == Some(&expected[..]), "the file holds the pieces in their order");
}

fn random_operations_agree_with_a_model<D: ContractDisk>(disk: &mut D) {
    const FILES: [&str; 5] = ["0/a-0/log", "0/a-0/index", "0/b-0/log", "0/b-0/deep/x", "0/flat"];
    /// Directories first, then files: one is not renamed to what the other's name is.
    const PLACES: [&str; 7] = ["0/a-0", "0/b-0", "0/c-0", "0/a-0/log", "0/flat", "0/b-0/new", "0/a-0/index"];
    const DIRECTORIES: usize = 3;
    for seed in 0..20_u64 {
        let mut state = seed;
        let mut below = |bound: usize| {
            // The multiplier and increment of Knuth's MMIX generator; its upper bits are good enough here.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap_or(0) % bound
        };
        all_done(disk, vec![remove("0/a-0"), remove("0/b-0"), remove("0/c-0"), remove("0/flat")]);
        let mut model: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let (mut ops, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            let file = FILES[below(FILES.len())];
            let byte = u8::try_from(below(256)).unwrap_or(0);
            match below(10) {
                0..=3 => {
                    let old = model.entry(file.to_string()).or_default();
                    let piece = vec![byte; below(3) * below(5000)];
                    ops.push(append(file, old.len(), &piece));
                    old.extend_from_slice(&piece);
                    expected.push(Some(Ok(Completion::Done)));
                }
                4 | 5 => {
                    ops.push(read(file, 0, WHOLE));
                    let bytes = model.get(file).map(|bytes| Completion::Bytes(Bytes::copy_from_slice(bytes)));
                    expected.push(Some(bytes.ok_or(StorageFault::NotFound)));
                }
                6 => {
                    let Some(old) = model.get_mut(file) else { continue };
                    let len = below(old.len() + 1);
                    old.truncate(len);
                    ops.push(truncate(file, len as u64));
                    expected.push(Some(Ok(Completion::Done)));
                }
                7 => {
                    model.insert(file.to_string(), vec![byte; 10]);
                    ops.push(replace(file, &[byte; 10]));
                    expected.push(Some(Ok(Completion::Done)));
                }
                8 => {
                    if model.contains_key(file) {
                        ops.push(sync(file));
                        expected.push(Some(Ok(Completion::Done)));
                    }
                    let place = PLACES[below(PLACES.len())];
                    model.retain(|name, _| !is_at_or_beneath(name, place));
                    ops.push(remove(place));
                    expected.push(Some(Ok(Completion::Done)));
                }
                _ => {
                    let (from, to) = if below(2) == 0 {
                        (PLACES[below(DIRECTORIES)], PLACES[below(DIRECTORIES)])
                    } else {
                        let files = &PLACES[DIRECTORIES..];
                        (files[below(files.len())], files[below(files.len())])
                    };
                    let exists = |place: &str| model.keys().any(|name| is_at_or_beneath(name, place));
                    let parent = to.rsplit_once('/').map_or("", |(parent, _)| parent);
                    if !exists(from) || is_at_or_beneath(to, from) || (parent != "0" && !exists(parent)) {
                        continue;
                    }
                    // An emptied directory may still have the name: nothing has it after the removal.
                    ops.push(remove(to));
                    expected.push(Some(Ok(Completion::Done)));
                    model.retain(|name, _| !is_at_or_beneath(name, to));
                    if !model.keys().any(|name| is_at_or_beneath(name, from)) {
                        continue;
                    }
                    ops.push(rename(from, to));
                    expected.push(Some(Ok(Completion::Done)));
                    model = (model.into_iter())
                        .map(|(name, bytes)| match name.strip_prefix(from) {
                            Some(rest) if is_at_or_beneath(&name, from) => (format!("{to}{rest}"), bytes),
                            _ => (name, bytes),
                        })
                        .collect();
                }
            }
        }
        let results = run(disk, ops.clone());
        for (index, (result, expected)) in results.into_iter().zip(expected).enumerate() {
            if let Some(expected) = expected {
                assert!(
                    result == expected,
                    "seed {seed}: operation {index}, {}, went wrong",
                    kind(&ops[index])
                );
            }
        }
        for file in FILES {
            let expected = model.get(file).map(|bytes| &bytes[..]);
            assert!(
                contents(disk, file).as_deref() == expected,
                "seed {seed}: {file} is not as the model has it"
            );
        }
    }
}

fn is_at_or_beneath(name: &str, place: &str) -> bool {
    name.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn kind(op: &StorageOp) -> String {
    let debug = format!("{op:?}");
    format!("{} of {}", debug.split(' ').next().unwrap_or_default(), op.path())
}

fn what_was_appended_survives_the_death_of_the_process<D: ContractDisk>(disk: &mut D) {
    all_done(disk, vec![append("0/a-0/log", 0, b"abc"), append("0/a-0/log", 3, b"def")]);
    disk.kill_and_reopen();
    assert_eq!(contents(disk, "0/a-0/log").as_deref(), Some(&b"abcdef"[..]));
}

fn what_was_truncated_survives_the_death_of_the_process<D: ContractDisk>(disk: &mut D) {
    all_done(disk, vec![append("0/a-0/log", 0, b"abcdef"), truncate("0/a-0/log", 2)]);
    disk.kill_and_reopen();
    assert_eq!(contents(disk, "0/a-0/log").as_deref(), Some(&b"ab"[..]));
}

fn what_was_synced_survives_a_loss_of_power<D: ContractDisk>(disk: &mut D) {
    let (file, synced) = ("0/a-0/log", vec![9; 10_000]);
    all_done(disk, vec![append(file, 0, &synced[..4000]), append(file, 4000, &synced[4000..]), sync(file)]);
    all_done(disk, vec![append(file, 10_000, b"not synced")]);
    if disk.power_loss_and_reopen(vec![append(file, 10_010, b"under way")]) {
        let kept = contents(disk, file).unwrap_or_default();
        assert!(kept.starts_with(&synced), "what was synced is there");
        assert!(kept.len() <= 10_019, "nothing is there that nobody wrote");
    }
}

fn a_sync_covers_what_an_earlier_process_appended<D: ContractDisk>(disk: &mut D) {
    all_done(disk, vec![append("0/a-0/log", 0, b"abc")]);
    disk.kill_and_reopen();
    all_done(disk, vec![sync("0/a-0/log")]);
    if disk.power_loss_and_reopen(Vec::new()) {
        assert_eq!(contents(disk, "0/a-0/log").as_deref(), Some(&b"abc"[..]));
    }
}

fn a_truncation_that_was_synced_survives_a_loss_of_power<D: ContractDisk>(disk: &mut D) {
    let file = "0/a-0/log";
    all_done(disk, vec![append(file, 0, b"abcdef"), sync(file), truncate(file, 2), append(file, 2, b"XY")]);
    all_done(disk, vec![sync(file)]);
    if disk.power_loss_and_reopen(Vec::new()) {
        assert_eq!(contents(disk, file).as_deref(), Some(&b"abXY"[..]));
    }
}

fn a_replacement_survives_a_loss_of_power<D: ContractDisk>(disk: &mut D) {
    all_done(disk, vec![replace("0/a-0/checkpoint", b"first"), replace("0/a-0/checkpoint", b"second")]);
    if disk.power_loss_and_reopen(Vec::new()) {
        assert_eq!(contents(disk, "0/a-0/checkpoint").as_deref(), Some(&b"second"[..]));
    }
}

fn a_rename_survives_a_loss_of_power<D: ContractDisk>(disk: &mut D) {
    let ops = vec![append("0/a-0/log", 0, b"abc"), sync("0/a-0/log"), rename("0/a-0", "0/b-0")];
    all_done(disk, ops);
    if disk.power_loss_and_reopen(Vec::new()) {
        assert_eq!(contents(disk, "0/a-0/log"), None);
        assert_eq!(contents(disk, "0/b-0/log").as_deref(), Some(&b"abc"[..]));
    }
}

fn a_removal_survives_a_loss_of_power<D: ContractDisk>(disk: &mut D) {
    let ops = vec![
        append("0/a-0/log", 0, b"abc"),
        sync("0/a-0/log"),
        replace("0/a-0/kept", b"k"),
        remove("0/a-0/log"),
    ];
    all_done(disk, ops);
    if disk.power_loss_and_reopen(Vec::new()) {
        assert_eq!(contents(disk, "0/a-0/log"), None);
        assert_eq!(contents(disk, "0/a-0/kept").as_deref(), Some(&b"k"[..]));
    }
}

fn a_replacement_under_way_leaves_the_old_contents_or_the_new<D: ContractDisk>(disk: &mut D) {
    let (old, new) = (vec![1; 5000], vec![2; 9000]);
    all_done(disk, vec![replace("0/a-0/checkpoint", &old)]);
    if disk.power_loss_and_reopen(vec![replace("0/a-0/checkpoint", &new)]) {
        let kept = contents(disk, "0/a-0/checkpoint").unwrap_or_default();
        assert!(kept == old || kept == new, "the file is whole");
    }
}

fn a_rename_under_way_leaves_one_of_the_two_names<D: ContractDisk>(disk: &mut D) {
    all_done(disk, vec![append("0/a-0/log", 0, b"abc"), sync("0/a-0/log")]);
    if disk.power_loss_and_reopen(vec![rename("0/a-0", "0/b-0")]) {
        let (before, after) = (contents(disk, "0/a-0/log"), contents(disk, "0/b-0/log"));
        assert!(before.is_some() != after.is_some(), "one of the two names is there");
        assert_eq!(before.or(after).as_deref(), Some(&b"abc"[..]));
    }
}
