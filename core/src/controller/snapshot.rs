//! The cluster as the records that make it: what a snapshot of the metadata log holds.

use super::client_quotas;
use super::image::{Broker, ControllerRegistration, MetadataImage, NO_LEADER, PartitionState};
use crate::ids::NodeId;
use alloc::vec::Vec;
use sordini_protocol::records::register_broker_record::BrokerFeature;
use sordini_protocol::records::register_controller_record::ControllerFeature;
use sordini_protocol::records::{
    ConfigRecord, DelegationTokenRecord, FeatureLevelRecord, MetadataRecord, PartitionRecord,
    ProducerIdsRecord, RegisterBrokerRecord, RegisterControllerRecord, TopicRecord,
    UserScramCredentialRecord,
};
use sordini_protocol::wire::Uuid;

impl MetadataImage {
    /// Records that make this image out of an empty one, in the order of Kafka's snapshots. The level of metadata.version
    /// is the first, since readers learn from it how to understand the others.
    ///
    /// There must be no metadata transaction under way: what it holds is not part of the cluster yet, and would be lost.
    pub(crate) fn records(&self) -> Vec<MetadataRecord> {
        assert!(!self.is_in_transaction(), "a snapshot is taken between transactions");
        let mut records = Vec::new();
        self.push_features(&mut records);
        records.extend(self.brokers().iter().map(|(id, broker)| broker_record(*id, broker)));
        records.extend(self.controllers().iter().map(|(id, controller)| controller_record(*id, controller)));
        for topic in self.topics_by_name() {
            let (name, topic_id) = (topic.name.clone(), topic.id);
            records.push(TopicRecord { name, topic_id, ..TopicRecord::default() }.into());
            let partitions = topic.partitions.iter();
            records.extend(partitions.map(|(index, state)| partition_record(topic_id, *index, state)));
        }
        self.push_configs(&mut records);
        self.push_client_quotas(&mut records);
        if self.next_producer_id() > 0 {
            let record = ProducerIdsRecord {
                broker_id: -1,
                broker_epoch: -1,
                next_producer_id: self.next_producer_id(),
                ..ProducerIdsRecord::default()
            };
            records.push(record.into());
        }
        self.push_security(&mut records);
        records
    }

    fn push_features(&self, records: &mut Vec<MetadataRecord>) {
        let (version, others): (Vec<_>, Vec<_>) =
            self.features().iter().partition(|(name, _)| **name == *super::cluster::METADATA_VERSION.0);
        for (name, level) in version.into_iter().chain(others) {
            let record = FeatureLevelRecord {
                name: name.clone(),
                feature_level: *level,
                ..FeatureLevelRecord::default()
            };
            records.push(record.into());
        }
    }

    fn push_configs(&self, records: &mut Vec<MetadataRecord>) {
        for ((resource, resource_name), values) in self.configs() {
            for (name, value) in values {
                let record = ConfigRecord {
                    resource_type: resource.code(),
                    resource_name: resource_name.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                    ..ConfigRecord::default()
                };
                records.push(record.into());
            }
        }
    }

    fn push_client_quotas(&self, records: &mut Vec<MetadataRecord>) {
        for (entity, values) in self.client_quotas() {
            for (key, value) in values {
                records.push(client_quotas::record(entity, key, Some(value.0)).into());
            }
        }
    }

    fn push_security(&self, records: &mut Vec<MetadataRecord>) {
        for (id, acl) in self.acls() {
            records.push(acl.record(*id).into());
        }
        for (user, credential) in self.scram_credentials() {
            let record = UserScramCredentialRecord {
                name: user.name.clone(),
                mechanism: user.mechanism,
                salt: credential.salt.clone(),
                stored_key: credential.stored_key.clone(),
                server_key: credential.server_key.clone(),
                iterations: credential.iterations,
                ..UserScramCredentialRecord::default()
            };
            records.push(record.into());
        }
        for (id, token) in self.delegation_tokens() {
            let record = DelegationTokenRecord {
                owner: token.owner.clone(),
                requester: token.requester.clone(),
                renewers: token.renewers.clone(),
                issue_timestamp: token.issued_ms,
                max_timestamp: token.max_ms,
                expiration_timestamp: token.expires_ms,
                token_id: id.clone(),
                ..DelegationTokenRecord::default()
            };
            records.push(record.into());
        }
    }
}

fn broker_record(id: NodeId, broker: &Broker) -> MetadataRecord {
    let features = broker.features.iter().map(|(name, levels)| BrokerFeature {
        name: name.clone(),
        min_supported_version: levels.min,
        max_supported_version: levels.max,
        ..BrokerFeature::default()
    });
    let cordoned = &broker.cordoned_log_dirs;
    RegisterBrokerRecord {
        broker_id: id.0,
        is_migrating_zk_broker: false,
        incarnation_id: broker.incarnation,
        broker_epoch: broker.epoch.0,
        end_points: broker.endpoints.clone(),
        features: features.collect(),
        rack: broker.rack.clone(),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.log_dirs.clone(),
        cordoned_log_dirs: (!cordoned.is_empty()).then(|| cordoned.clone()),
        ..RegisterBrokerRecord::default()
    }
    .into()
}

fn controller_record(id: NodeId, controller: &ControllerRegistration) -> MetadataRecord {
    let features = controller.features.iter().map(|(name, levels)| ControllerFeature {
        name: name.clone(),
        min_supported_version: levels.min,
        max_supported_version: levels.max,
        ..ControllerFeature::default()
    });
    RegisterControllerRecord {
        controller_id: id.0,
        incarnation_id: controller.incarnation,
        zk_migration_ready: false,
        end_points: controller.endpoints.clone(),
        features: features.collect(),
        ..RegisterControllerRecord::default()
    }
    .into()
}

fn partition_record(topic_id: Uuid, partition_id: i32, state: &PartitionState) -> MetadataRecord {
    let ids = |nodes: &[NodeId]| -> Vec<i32> { nodes.iter().map(|node| node.0).collect() };
    let unless_empty = |nodes: &[NodeId]| (!nodes.is_empty()).then(|| ids(nodes));
    PartitionRecord {
        partition_id,
        topic_id,
        replicas: ids(&state.replicas),
        isr: ids(&state.isr),
        removing_replicas: ids(&state.removing_replicas),
        adding_replicas: ids(&state.adding_replicas),
        leader: state.leader.map_or(NO_LEADER, |leader| leader.0),
        leader_recovery_state: state.leader_recovery_state,
        leader_epoch: state.leader_epoch.0,
        partition_epoch: state.partition_epoch.0,
        directories: state.directories.clone(),
        eligible_leader_replicas: unless_empty(&state.eligible_leader_replicas),
        last_known_elr: unless_empty(&state.last_known_elr),
        ..PartitionRecord::default()
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::collections::BTreeSet;
    use alloc::format;
    use bytes::Bytes;
    use sordini_protocol::records::ClientQuotaRecord;
    use sordini_protocol::records::client_quota_record::EntityData;
    use sordini_protocol::records::register_broker_record::BrokerEndpoint;
    use sordini_protocol::records::register_controller_record::ControllerEndpoint;
    use sordini_protocol::records::{
        AbortTransactionRecord, AccessControlEntryRecord, BeginTransactionRecord,
        BrokerRegistrationChangeRecord, ClearElrRecord, EndTransactionRecord, FenceBrokerRecord, NoOpRecord,
        PartitionChangeRecord, RemoveAccessControlEntryRecord, RemoveDelegationTokenRecord,
        RemoveTopicRecord, RemoveUserScramCredentialRecord, UnfenceBrokerRecord, UnregisterBrokerRecord,
        ZkMigrationStateRecord,
    };
    use sordini_protocol::wire::Str;

    /// Draws from so few names and numbers that records meet each other.
    struct Dice(Rng);

    impl Dice {
        fn below(&mut self, bound: i32) -> i32 {
            i32::try_from(self.0.below(bound.unsigned_abs().into())).expect("it is below a small bound")
        }

        fn code(&mut self, bound: i32) -> i8 {
            i8::try_from(self.below(bound)).expect("codes are small")
        }

        fn level(&mut self) -> i16 {
            i16::try_from(self.below(4)).expect("levels are small")
        }

        fn time(&mut self) -> i64 {
            self.below(1000).into()
        }

        fn is(&mut self) -> bool {
            self.below(2) == 0
        }

        fn name(&mut self) -> Str {
            Str::from(format!("name-{}", self.below(4)))
        }

        fn uuid(&mut self) -> Uuid {
            Uuid([u8::try_from(self.below(4)).expect("it is small"); 16])
        }

        fn bytes(&mut self) -> Bytes {
            Bytes::from(format!("bytes-{}", self.below(100)))
        }

        fn list<T>(&mut self, one: impl Fn(&mut Self) -> T) -> Vec<T> {
            (0..self.below(4)).map(|_| one(self)).collect()
        }

        fn maybe<T>(&mut self, one: impl Fn(&mut Self) -> T) -> Option<T> {
            self.is().then(|| one(self))
        }

        fn ids(&mut self) -> Vec<i32> {
            self.list(|dice| dice.below(4))
        }

        fn register_broker(&mut self) -> RegisterBrokerRecord {
            RegisterBrokerRecord {
                broker_id: self.below(4),
                incarnation_id: self.uuid(),
                broker_epoch: self.time(),
                end_points: self.list(|dice| BrokerEndpoint {
                    name: dice.name(),
                    host: dice.name(),
                    port: 9092,
                    ..BrokerEndpoint::default()
                }),
                features: self.list(|dice| BrokerFeature {
                    name: dice.name(),
                    min_supported_version: dice.level(),
                    max_supported_version: dice.level(),
                    ..BrokerFeature::default()
                }),
                rack: self.maybe(Self::name),
                fenced: self.is(),
                in_controlled_shutdown: self.is(),
                log_dirs: self.list(Self::uuid),
                cordoned_log_dirs: self.maybe(|dice| dice.list(Self::uuid)),
                ..RegisterBrokerRecord::default()
            }
        }

        fn register_controller(&mut self) -> RegisterControllerRecord {
            RegisterControllerRecord {
                controller_id: self.below(4),
                incarnation_id: self.uuid(),
                end_points: self.list(|dice| ControllerEndpoint {
                    name: dice.name(),
                    host: dice.name(),
                    port: 9093,
                    ..ControllerEndpoint::default()
                }),
                features: self.list(|dice| ControllerFeature {
                    name: dice.name(),
                    min_supported_version: dice.level(),
                    max_supported_version: dice.level(),
                    ..ControllerFeature::default()
                }),
                ..RegisterControllerRecord::default()
            }
        }

        fn registration_change(&mut self) -> BrokerRegistrationChangeRecord {
            BrokerRegistrationChangeRecord {
                broker_id: self.below(4),
                fenced: self.code(3) - 1,
                in_controlled_shutdown: self.code(2),
                log_dirs: self.list(Self::uuid),
                cordoned_log_dirs: self.maybe(|dice| dice.list(Self::uuid)),
                ..BrokerRegistrationChangeRecord::default()
            }
        }

        fn topic(&mut self) -> TopicRecord {
            // A name belongs to one id, as long as the topic is there.
            let topic_id = self.uuid();
            TopicRecord {
                name: Str::from(format!("topic-{}", topic_id.0[0])),
                topic_id,
                ..Default::default()
            }
        }

        fn partition(&mut self) -> PartitionRecord {
            PartitionRecord {
                partition_id: self.below(3),
                topic_id: self.uuid(),
                replicas: self.ids(),
                isr: self.ids(),
                removing_replicas: self.ids(),
                adding_replicas: self.ids(),
                leader: self.below(5) - 1,
                leader_recovery_state: self.code(2),
                leader_epoch: self.below(100),
                partition_epoch: self.below(100),
                directories: self.list(Self::uuid),
                eligible_leader_replicas: self.maybe(Self::ids),
                last_known_elr: self.maybe(Self::ids),
                ..PartitionRecord::default()
            }
        }

        fn partition_change(&mut self) -> PartitionChangeRecord {
            PartitionChangeRecord {
                partition_id: self.below(3),
                topic_id: self.uuid(),
                isr: self.maybe(Self::ids),
                leader: self.below(6) - 2,
                replicas: self.maybe(Self::ids),
                removing_replicas: self.maybe(Self::ids),
                adding_replicas: self.maybe(Self::ids),
                leader_recovery_state: self.code(3) - 1,
                directories: self.maybe(|dice| dice.list(Self::uuid)),
                eligible_leader_replicas: self.maybe(Self::ids),
                last_known_elr: self.maybe(Self::ids),
                ..PartitionChangeRecord::default()
            }
        }

        fn config(&mut self) -> ConfigRecord {
            ConfigRecord {
                resource_type: [2, 4, 8, 16, 32, 3][self.0.index(6)],
                resource_name: self.name(),
                name: self.name(),
                value: self.maybe(Self::name),
                ..ConfigRecord::default()
            }
        }

        fn quota(&mut self) -> ClientQuotaRecord {
            ClientQuotaRecord {
                entity: self.list(|dice| EntityData {
                    entity_type: dice.name(),
                    entity_name: dice.maybe(Self::name),
                    ..EntityData::default()
                }),
                key: self.name(),
                value: [0.1, 1024.0, 1e300, -0.0][self.0.index(4)],
                remove: self.is(),
                ..ClientQuotaRecord::default()
            }
        }

        fn scram(&mut self) -> UserScramCredentialRecord {
            UserScramCredentialRecord {
                name: self.name(),
                mechanism: self.code(3),
                salt: self.bytes(),
                stored_key: self.bytes(),
                server_key: self.bytes(),
                iterations: self.below(100),
                ..UserScramCredentialRecord::default()
            }
        }

        fn acl(&mut self) -> AccessControlEntryRecord {
            AccessControlEntryRecord {
                id: self.uuid(),
                resource_type: self.code(8),
                resource_name: self.name(),
                pattern_type: self.code(5),
                principal: self.name(),
                host: self.name(),
                operation: self.code(16),
                permission_type: self.code(4),
                ..AccessControlEntryRecord::default()
            }
        }

        fn token(&mut self) -> DelegationTokenRecord {
            DelegationTokenRecord {
                owner: self.name(),
                requester: self.name(),
                renewers: self.list(Self::name),
                issue_timestamp: self.time(),
                max_timestamp: self.time(),
                expiration_timestamp: self.time(),
                token_id: self.name(),
                ..DelegationTokenRecord::default()
            }
        }

        fn record(&mut self) -> MetadataRecord {
            match self.below(26) {
                0 => self.register_broker().into(),
                1 => UnregisterBrokerRecord { broker_id: self.below(4), ..Default::default() }.into(),
                2 => self.topic().into(),
                3 => self.partition().into(),
                4 => self.config().into(),
                5 => self.partition_change().into(),
                6 => FenceBrokerRecord { id: self.below(4), ..Default::default() }.into(),
                7 => UnfenceBrokerRecord { id: self.below(4), ..Default::default() }.into(),
                8 => RemoveTopicRecord { topic_id: self.uuid(), ..Default::default() }.into(),
                9 => self.token().into(),
                10 => self.scram().into(),
                11 => {
                    let name = if self.is() { Str::from_static("metadata.version") } else { self.name() };
                    FeatureLevelRecord { name, feature_level: self.level(), ..Default::default() }.into()
                }
                12 => self.quota().into(),
                13 => ProducerIdsRecord { next_producer_id: self.time(), ..Default::default() }.into(),
                14 => self.registration_change().into(),
                15 => self.acl().into(),
                16 => RemoveAccessControlEntryRecord { id: self.uuid(), ..Default::default() }.into(),
                17 => NoOpRecord::default().into(),
                18 => ZkMigrationStateRecord::default().into(),
                19 => RemoveUserScramCredentialRecord {
                    name: self.name(),
                    mechanism: self.code(3),
                    ..Default::default()
                }
                .into(),
                20 => BeginTransactionRecord::default().into(),
                21 => EndTransactionRecord::default().into(),
                22 => AbortTransactionRecord::default().into(),
                23 => RemoveDelegationTokenRecord { token_id: self.name(), ..Default::default() }.into(),
                24 => self.register_controller().into(),
                _ => ClearElrRecord {
                    topic_name: if self.is() { self.topic().name } else { Str::new() },
                    ..Default::default()
                }
                .into(),
            }
        }
    }

    #[test]
    fn the_records_of_an_image_make_it_again() {
        let mut met = BTreeSet::new();
        for seed in 0..300 {
            let mut dice = Dice(Rng::new(seed));
            let mut image = MetadataImage::default();
            for _ in 0..dice.below(400) {
                image.apply(&dice.record());
            }
            image.apply(&AbortTransactionRecord::default().into());
            let mut again = MetadataImage::default();
            for record in image.records() {
                met.insert(record.record_type());
                again.apply(&record);
            }
            assert_eq!(again, image, "seed {seed}");
        }
        assert_eq!(met, BTreeSet::from([0, 2, 3, 4, 10, 11, 12, 14, 15, 18, 27]), "every kind was there");
    }

    #[test]
    fn metadata_version_comes_first() {
        let mut image = MetadataImage::default();
        for name in ["group.version", "metadata.version", "a.version"] {
            let record = FeatureLevelRecord { name: Str::from(name), feature_level: 1, ..Default::default() };
            image.apply(&record.into());
        }
        let records = image.records();
        let names: Vec<&Str> = records
            .iter()
            .filter_map(|record| {
                if let MetadataRecord::FeatureLevel(record) = record { Some(&record.name) } else { None }
            })
            .collect();
        assert_eq!(
            names,
            ["metadata.version", "a.version", "group.version"].map(Str::from_static).each_ref()
        );
    }
}
