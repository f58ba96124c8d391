//! `kept_replicas`: nobody throws its copy of a partition away whom the controller counts among the replicas (R17).

use crate::check::Violation;

/// A broker throws its copy away, and has been to have one for as long as it had it, or has not.
pub(super) fn check(name: &str, node: usize, is_to_have: bool) -> Result<(), Violation> {
    if !is_to_have {
        return Ok(());
    }
    Err(Violation {
        property: "kept_replicas",
        sentence: format!("node {node} throws its copy of {name} away, of which it is to have one"),
    })
}

#[cfg(test)]
mod tests {
    use crate::check::example::{Life, at, batch, segment};
    use crate::check::replication::{Copy, ReplicationChecks, Trusted};
    use crate::plan::Plan;
    use sordini_protocol::wire::Uuid;

    #[test]
    fn only_who_is_left_out_throws_its_copy_away() {
        let life = {
            let mut life = Life::begin();
            assert_eq!(life.write(&segment(0), batch(at(0), 0, "a")), Ok(()));
            life
        };
        let log = life.checks.log(0, 0);
        let copies = |_, _| Copy { log, disk: &life.disk, is_running: true, broker_epoch: None };
        let of = |replicas: &'static [i32]| Trusted {
            topic_id: Uuid::ZERO,
            replicas,
            isr: &[],
            elr: &[],
            leader: -1,
            leader_epoch: 0,
            is_moved: false,
            is_unclean: false,
        };
        let mut checks = ReplicationChecks::new(&Plan::reference_replicated());
        let place = (0, 0);
        assert_eq!(checks.on_metadata(1, |_| None, &copies), Ok(()));
        assert_eq!(checks.on_metadata(2, |_| Some(of(&[4, 5])), &copies), Ok(()));
        assert!(checks.clone().on_gone(3, place, Some(of(&[4, 5]))).is_err(), "it is one of the replicas");
        assert_eq!(checks.clone().on_gone(3, place, Some(of(&[5]))), Ok(()), "it is none any more");
        assert_eq!(checks.on_metadata(3, |_| Some(of(&[5])), &copies), Ok(()));
        assert_eq!(checks.on_gone(3, place, Some(of(&[4, 5]))), Ok(()), "it was none for a while");
        assert!(checks.on_gone(3, place, Some(of(&[4, 5]))).is_err(), "that was another copy");
    }
}
