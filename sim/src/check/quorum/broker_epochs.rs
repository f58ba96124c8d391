//! `broker_epochs`: every process that registers as a broker gets an epoch of its own, greater than all before (K18), which is
//! the offset of the record that says so, and keeps it until its registration is taken away; and nothing is said of a broker but
//! in the epoch that it has.

use super::cluster::Cluster;
use crate::check::Violation;
use sordini_protocol::records::RegisterBrokerRecord;

fn violation(sentence: String) -> Violation {
    Violation { property: "broker_epochs", sentence }
}

pub(super) fn check_registration(
    cluster: &Cluster,
    offset: i64,
    record: &RegisterBrokerRecord,
) -> Result<(), Violation> {
    let RegisterBrokerRecord { broker_id, broker_epoch, incarnation_id, .. } = *record;
    let registered = cluster.brokers.get(&broker_id);
    // Of a process that was registered and is not any more, nothing is left.
    let known = cluster.incarnations.get(&(broker_id, incarnation_id)).filter(|_| registered.is_some());
    if let Some(known) = known {
        let is_current = registered.is_some_and(|broker| broker.incarnation == incarnation_id);
        return if *known == broker_epoch && is_current {
            Ok(())
        } else {
            Err(violation(format!(
                "at offset {offset} broker {broker_id} registers in epoch {broker_epoch}; the same process did in epoch {known}, \
                 and the broker that is registered is {registered:?}"
            )))
        };
    }
    if broker_epoch == offset && broker_epoch > cluster.last_broker_epoch {
        return Ok(());
    }
    Err(violation(format!(
        "at offset {offset} broker {broker_id} registers in epoch {broker_epoch}, and the last epoch of any broker is {}",
        cluster.last_broker_epoch
    )))
}

pub(super) fn check_change(cluster: &Cluster, offset: i64, broker: i32, epoch: i64) -> Result<(), Violation> {
    match cluster.brokers.get(&broker) {
        Some(registered) if registered.epoch == epoch => Ok(()),
        registered => Err(violation(format!(
            "at offset {offset} something is said of broker {broker} in epoch {epoch}, and registered is {registered:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::wire::Uuid;

    fn registration(broker_epoch: i64, incarnation_id: Uuid) -> RegisterBrokerRecord {
        RegisterBrokerRecord {
            broker_id: 51,
            broker_epoch,
            incarnation_id,
            ..RegisterBrokerRecord::default()
        }
    }

    #[test]
    fn another_process_has_another_epoch_which_is_its_offset() {
        let cluster = Cluster::example();
        let other = Uuid::from_u64s(51, 2);
        assert_eq!(check_registration(&cluster, 20, &registration(20, other)), Ok(()));
        assert!(check_registration(&cluster, 20, &registration(19, other)).is_err());
        assert!(
            check_registration(&cluster, 12, &registration(12, other)).is_err(),
            "it is that of broker 52"
        );
    }

    #[test]
    fn the_same_process_keeps_its_epoch() {
        let cluster = Cluster::example();
        let same = Cluster::incarnation(51);
        assert_eq!(check_registration(&cluster, 20, &registration(10, same)), Ok(()));
        assert!(check_registration(&cluster, 20, &registration(20, same)).is_err());
    }

    #[test]
    fn the_same_process_has_another_epoch_when_its_registration_was_taken_away() {
        let mut cluster = Cluster::example();
        cluster.brokers.remove(&51);
        let same = Cluster::incarnation(51);
        assert_eq!(check_registration(&cluster, 20, &registration(20, same)), Ok(()));
        assert!(check_registration(&cluster, 20, &registration(10, same)).is_err());
    }

    #[test]
    fn nothing_is_said_of_an_epoch_that_is_over() {
        let cluster = Cluster::example();
        assert_eq!(check_change(&cluster, 20, 51, 10), Ok(()));
        assert!(check_change(&cluster, 20, 51, 9).is_err());
        assert!(check_change(&cluster, 20, 53, 10).is_err());
    }
}
