//! `metadata_images`: what every controller says at the end is what the committed log says, replayed from its beginning (K9,
//! K13).

use super::Reading;
use super::cluster::Cluster;
use crate::check::Violation;
use crate::plan::BrokerPlan;
use std::collections::BTreeMap;

pub(super) fn check(readings: &[Reading<'_>], cluster: &Cluster) -> Result<(), Violation> {
    let set = |topic: &super::cluster::Topic| topic.configs.get(BrokerPlan::TOPIC_KEY).cloned();
    let replayed: BTreeMap<String, Option<String>> =
        cluster.topics.values().map(|topic| (topic.name.clone(), set(topic))).collect();
    match readings.iter().find(|reading| *reading.topics != replayed) {
        None => Ok(()),
        Some(Reading { node, at_us, topics, .. }) => Err(Violation {
            property: "metadata_images",
            sentence: format!(
                "at {at_us} us node {node} says that the topics are {topics:?}, and by the log they are {replayed:?}"
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_controller_has_the_topics_that_the_log_has() {
        let cluster = Cluster::example();
        let values = BTreeMap::new();
        let judge = |topics: &[(&str, Option<&str>)]| {
            let owned = |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
            let topics = topics.iter().map(owned).collect();
            let reading = Reading { node: 2, at_us: 100, values: &values, topics: &topics };
            check(&[reading], &cluster).map_err(|violation| violation.sentence)
        };
        assert_eq!(judge(&[("orders", None)]), Ok(()));
        assert!(judge(&[("orders", Some("7"))]).is_err_and(|why| why.contains("node 2 says")));
        assert!(judge(&[]).is_err());
        assert!(judge(&[("orders", None), ("returns", None)]).is_err());
    }
}
