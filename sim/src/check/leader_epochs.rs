//! `leader_epochs`: the `leader-epoch-checkpoint` of a log says what can be computed from its batches: where each leader
//! epoch began (R12). Two things the batches do not tell: an epoch that has written nothing yet may stand at the log's
//! end, and where the log's start was moved up, the epoch that was in force there may begin there.

use super::Violation;
use super::truth::LogTruth;
use bytes::Bytes;

/// The file's name.
pub(super) const FILE: &str = "leader-epoch-checkpoint";

/// Epochs, each with the offset at which it begins.
pub(super) type Epochs = Vec<(i32, i64)>;

/// Reads a checkpoint; an error is the end of a sentence.
pub(super) fn parse(bytes: &[u8]) -> Result<Epochs, String> {
    let text = str::from_utf8(bytes).map_err(|error| format!("is no text: {error}"))?;
    let mut lines = text.lines();
    let version = lines.next().unwrap_or_default();
    if version != "0" {
        return Err(format!("begins with {version:?} where its version 0 is to stand"));
    }
    let count = lines.next().and_then(|line| line.parse::<usize>().ok());
    let entry = |line: &str| {
        let entry =
            line.split_once(' ').and_then(|(epoch, start)| Some((epoch.parse().ok()?, start.parse().ok()?)));
        entry.ok_or_else(|| format!("has the line {line:?}, which is no epoch and offset"))
    };
    let entries = lines.map(entry).collect::<Result<Epochs, String>>()?;
    if count != Some(entries.len()) || !text.ends_with('\n') {
        return Err(format!("announces {count:?} entries and has {}, or a torn line", entries.len()));
    }
    if !entries.is_sorted_by(|one, next| one.0 < next.0 && one.1 < next.1) {
        return Err(format!("has epochs or offsets that do not rise: {entries:?}"));
    }
    Ok(entries)
}

/// Compares the file, if it is there, with the truth.
pub(super) fn check(dir: &str, log: &LogTruth, file: Option<&Bytes>) -> Result<(), Violation> {
    let violation = |sentence| Err(Violation { property: "leader_epochs", sentence });
    let found = match file.map(|bytes| parse(bytes)) {
        Some(Ok(found)) => found,
        Some(Err(why)) => return violation(format!("{dir}/{FILE} {why}")),
        None => Epochs::new(),
    };
    let expected = log.epochs();
    let is_right = agree(&found, expected, log);
    if is_right {
        return Ok(());
    }
    violation(format!(
        "{dir}/{FILE} {} {found:?}, and the batches of the log, which starts between {} and {} and ends at {}, say \
         {expected:?}",
        if file.is_some() { "says" } else { "is absent, which says" },
        log.first_base(),
        log.start_limit(),
        log.end()
    ))
}

fn agree(found: &[(i32, i64)], expected: &[(i32, i64)], log: &LogTruth) -> bool {
    // An epoch that has written nothing.
    let found = match found.split_last() {
        Some(((epoch, start), before)) if *start == log.end() && expected.iter().all(|(e, _)| e < epoch) => {
            before
        }
        Some(_) | None => found,
    };
    let Some(((epoch, start), after)) = found.split_first() else {
        // Nothing is left of what was written.
        return log.start_limit() >= log.end();
    };
    let Some(at) = expected.iter().position(|(other, _)| other == epoch) else { return false };
    // Epochs that ended at or before a start of the log may be missing, and the first one left may begin there.
    let begins_right = (expected[at].1..=expected[at].1.max(log.start_limit())).contains(start);
    let misses_nothing = at == 0 || expected[at].1 <= log.start_limit();
    begins_right && misses_nothing && *after == expected[at + 1..]
}

#[cfg(test)]
mod tests {
    use super::FILE;
    use crate::check::Violation;
    use crate::check::example::{Life, assert_violates, at, batch, file, segment};
    use sordini_core::storage_op::StorageOp;
    use sordini_protocol::batch::BatchParams;

    /// A log of offsets 0 and 1 in epoch 0, 2 in epoch 3.
    fn life() -> Life {
        let mut life = Life::begin();
        for (offset, epoch) in [(0, 0), (1, 0), (2, 3)] {
            let params = BatchParams { leader_epoch: epoch, ..at(offset) };
            life.write(&segment(0), batch(params, 10, "a")).expect("a log goes on");
        }
        life
    }

    fn write(life: &mut Life, text: &'static str) -> Result<(), Violation> {
        life.replace(&file(FILE), text)
    }

    #[test]
    fn every_epoch_stands_where_it_began_and_nothing_else() {
        let mut life = life();
        write(&mut life, "0\n2\n0 0\n3 2\n").expect("so it is");
        write(&mut life, "0\n3\n0 0\n3 2\n4 3\n").expect("an epoch that has written nothing is at the end");
        let words =
            "and the batches of the log, which starts between 0 and 0 and ends at 3, say [(0, 0), (3, 2)]";
        for wrong in [
            "0\n1\n3 2\n",
            "0\n1\n0 0\n",
            "0\n0\n",
            "0\n2\n0 0\n3 1\n",
            "0\n2\n0 1\n3 2\n",
            "0\n3\n0 0\n2 1\n3 2\n",
            "0\n3\n0 0\n3 2\n4 4\n",
        ] {
            assert_violates(write(&mut life, wrong), "leader_epochs", words);
        }
    }

    #[test]
    fn a_torn_file_is_found() {
        for torn in ["", "0\n2\n0 0\n", "0\n2\n0 0\n3 ", "0\n2\n0 0\n3 2", "0\n2\n3 2\n0 3\n", "1\n0\n"] {
            let mut life = life();
            assert_violates(write(&mut life, torn), "checkpoint_files", "leader-epoch-checkpoint ");
        }
    }

    #[test]
    fn an_absent_file_is_found_when_the_node_runs_and_when_the_disk_is_quiet() {
        let mut life = life();
        assert_violates(life.checks.on_quiet_disk(&life.disk), "leader_epochs", "is absent, which says []");
        let mut life = self::life();
        life.lose_power().expect("all is durable");
        assert_violates(life.checks.on_running(&life.disk).map(drop), "leader_epochs", "is absent");
    }

    #[test]
    fn beside_a_log_that_was_cut_it_is_found_to_be_wrong_when_the_log_goes_on() {
        let mut life = life();
        write(&mut life, "0\n2\n0 0\n3 2\n").expect("so it is");
        life.checks.is_member = true;
        let len = life.disk.contents(segment(0).as_str()).expect("it was written").len() / 3;
        life.push(StorageOp::Truncate { file: segment(0), len }).expect("its leader's log ends there");
        life.push(StorageOp::Sync { file: segment(0) }).expect("it stays so");
        life.settle();
        life.checks.on_quiet_disk(&life.disk).expect("it is written when the log is opened");
        life.write(&segment(0), batch(at(1), 10, "b")).expect("a log goes on");
        assert_violates(life.checks.on_quiet_disk(&life.disk), "leader_epochs", "says [(0, 0), (3, 2)]");
    }

    #[test]
    fn below_the_log_start_epochs_may_be_missing() {
        let mut life = life();
        life.view(0, 3).expect("all of it was written");
        life.checks.on_delete_records(0, 0, 2, &life.disk);
        write(&mut life, "0\n1\n3 2\n").expect("epoch 0 has no records that can be read");
        write(&mut life, "0\n2\n0 1\n3 2\n").expect("epoch 0 may begin at a start of the log");
        assert_violates(write(&mut life, "0\n1\n0 0\n"), "leader_epochs", "says [(0, 0)]");
        life.checks.on_delete_records(0, 0, -1, &life.disk);
        write(&mut life, "0\n0\n").expect("there are no records that can be read");
    }
}
