//! `topic_ids`: no two topics ever have the same id, nor two that exist the same name (K18).

use super::cluster::Cluster;
use crate::check::Violation;
use sordini_protocol::wire::Uuid;

pub(super) fn check(cluster: &Cluster, offset: i64, name: &str, id: Uuid) -> Result<(), Violation> {
    let violation = |sentence| Err(Violation { property: "topic_ids", sentence });
    if cluster.topic_ids.contains(&id) {
        return violation(format!("the id of the topic {name} created at offset {offset} was given before"));
    }
    if cluster.topics_by_name.contains_key(name) {
        return violation(format!("at offset {offset} the topic {name} is created, which exists"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_an_id_and_a_name_that_no_other_has() {
        let cluster = Cluster::example();
        let other = Uuid::from_u64s(7, 8);
        assert_eq!(check(&cluster, 20, "returns", other), Ok(()));
        assert!(check(&cluster, 20, "orders", other).is_err_and(|why| why.sentence.contains("which exists")));
        assert!(check(&cluster, 20, "returns", Cluster::ORDERS).is_err());
    }
}
