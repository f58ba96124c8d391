//! `producer_id_blocks`: the blocks of producer ids lie one behind the other, each with something in it, and go to brokers that
//! are registered (K18).

use super::cluster::Cluster;
use crate::check::Violation;
use sordini_protocol::records::ProducerIdsRecord;

pub(super) fn check(cluster: &Cluster, offset: i64, record: &ProducerIdsRecord) -> Result<(), Violation> {
    let violation = |sentence| Err(Violation { property: "producer_id_blocks", sentence });
    if record.next_producer_id <= cluster.next_producer_id {
        return violation(format!(
            "at offset {offset} the next producer id is {}, and it was {} before",
            record.next_producer_id, cluster.next_producer_id
        ));
    }
    let registered = cluster.brokers.get(&record.broker_id);
    if registered.is_none_or(|broker| broker.epoch != record.broker_epoch) {
        return violation(format!(
            "at offset {offset} producer ids go to broker {} in epoch {}, and registered is {registered:?}",
            record.broker_id, record.broker_epoch
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_go_to_brokers_that_are_there() {
        let record = |broker_epoch, next_producer_id| ProducerIdsRecord {
            broker_id: 51,
            broker_epoch,
            next_producer_id,
            ..ProducerIdsRecord::default()
        };
        let mut cluster = Cluster::example();
        assert_eq!(cluster.apply(20, &record(10, 1_000).into()), Ok(false));
        assert_eq!(check(&cluster, 21, &record(10, 2_000)), Ok(()));
        assert!(check(&cluster, 21, &record(10, 1_000)).is_err());
        assert!(check(&cluster, 21, &record(9, 2_000)).is_err());
    }
}
