//! `honest_acks`: what is acknowledged to who asked for acks=all is committed, and at least `min.insync.replicas` brokers have it
//! (R13).

use super::{Copy, Loss, Truth};
use crate::check::Violation;

/// A batch was acknowledged, and begins at an offset.
pub(super) fn check<'a>(
    name: &str,
    truth: &Truth,
    base_offset: i64,
    min_isr: usize,
    copies: impl Iterator<Item = (Copy<'a>, Loss)>,
) -> Result<(), Violation> {
    // Since something was lost, who led before may have acknowledged what is not there any more.
    if truth.losses > 0 {
        return Ok(());
    }
    let violation = |why: String| {
        let sentence = format!("{name} acknowledged the batch at offset {base_offset} with acks=all, {why}");
        Err(Violation { property: "honest_acks", sentence })
    };
    let Some(committed) = truth.committed_at(base_offset) else {
        return violation(format!("and is committed up to {}", truth.end()));
    };
    // Whoever lost its power since may have had it, and so may who lacks what leaders have deleted.
    let is_deleted = base_offset < truth.leaders_start;
    let had = |(copy, loss): &(Copy<'_>, Loss)| {
        let may_have_lost = loss.at_us.is_some_and(|at_us| at_us >= committed.appended_us);
        let has_deleted = copy.log.is_some_and(|log| log.first_base() > base_offset) && is_deleted;
        may_have_lost || has_deleted || copy.disk.is_damaged() || copy.has(committed.batch)
    };
    let holders = copies.filter(had).count();
    if holders < min_isr {
        return violation(format!("which {holders} brokers have, and {min_isr} have to be in sync"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::Life;
    use crate::check::truth::LogTruth;

    #[test]
    fn what_is_acknowledged_is_committed_and_there() {
        let life = Life::begin();
        let copy = Copy { log: None, disk: &life.disk, is_running: true, broker_epoch: None };
        let at = |at_us| [(copy, Loss { at_us, metadata_end: 0 })].into_iter();
        let mut truth = Truth::example();
        assert!(check("orders-0", &truth, 6, 0, at(None)).is_err(), "it is not committed");
        assert!(check("orders-0", &truth, 4, 1, at(None)).is_err(), "nobody has it");
        assert!(check("orders-0", &truth, 4, 1, at(Some(6))).is_err(), "nor had it");
        assert_eq!(check("orders-0", &truth, 4, 1, at(Some(7))), Ok(()), "somebody may have had it");
        let mut begun_behind = LogTruth::default();
        begun_behind.begin_anew(6);
        let begun_behind = Copy { log: Some(&begun_behind), ..copy };
        let loss = Loss { at_us: None, metadata_end: 0 };
        assert!(
            check("orders-0", &truth, 4, 1, [(begun_behind, loss)].into_iter()).is_err(),
            "it never had it"
        );
        truth.leaders_start = 6;
        let acknowledged = check("orders-0", &truth, 4, 1, [(begun_behind, loss)].into_iter());
        assert_eq!(acknowledged, Ok(()), "it may have deleted it, as its leader has");
        truth.losses = 1;
        assert_eq!(check("orders-0", &truth, 6, 1, at(None)), Ok(()));
    }
}
