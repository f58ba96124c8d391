//! What an empty log directory is given before a node can start on it (KIP-631, KIP-853): its identity, and, where the
//! metadata log will be, the records that its first leader begins with.

use crate::config::BrokerConfig;
use crate::controller::cluster::METADATA_VERSION;
use crate::ids::LeaderEpoch;
use crate::quorum::{BOOTSTRAP_CHECKPOINT, metadata_log_dir, snapshot_file};
use crate::rng::Rng;
use crate::storage_op::{StorageOp, StoragePath};
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
use sordini_protocol::records::voters_record::{Endpoint, KRaftVersionFeature, Voter};
use sordini_protocol::records::{FeatureLevelRecord, VotersRecord};
use sordini_protocol::wire::{Str, Uuid};

/// A new random cluster id, drawn from `seed`.
#[must_use]
pub fn new_cluster_id(seed: u64) -> Uuid {
    Rng::new(seed).uuid()
}

/// The files that make the log directories of `config` those of this node in cluster `cluster_id`. They are to be
/// written in this order: the last one of each directory is the one by which a node knows that it is formatted.
#[must_use]
pub fn format(config: &BrokerConfig, cluster_id: &str, seed: u64, wall_ms: i64) -> Vec<StorageOp> {
    let mut rng = Rng::new(seed);
    let mut ops = Vec::new();
    for (dir, path) in config.log_dirs.iter().enumerate() {
        let directory = rng.uuid();
        let at = |name: &str| StoragePath::new(&format!("{dir}/{name}"));
        if *path == config.metadata_log_dir {
            let (name, _, level) = METADATA_VERSION;
            let record = FeatureLevelRecord {
                name: Str::from_static(name),
                feature_level: level,
                ..FeatureLevelRecord::default()
            };
            let bytes = snapshot_file::write(LeaderEpoch(0), wall_ms, None, &[record.into()], wall_ms);
            ops.push(StorageOp::Replace { file: at("bootstrap.checkpoint"), bytes });
            // Several voters that the configuration names stand in no record: their directories are not known (KIP-853).
            if config.controller_quorum_voters.len() <= 1 {
                let voters = voters(config, directory);
                let bytes = snapshot_file::write(LeaderEpoch(0), wall_ms, Some(&voters), &[], wall_ms);
                let file = metadata_log_dir(dir).join(BOOTSTRAP_CHECKPOINT);
                ops.push(StorageOp::Replace { file, bytes });
            }
        }
        let node = config.node_id;
        let text =
            format!("#\nversion=1\ncluster.id={cluster_id}\nnode.id={node}\ndirectory.id={directory}\n");
        ops.push(StorageOp::Replace { file: at("meta.properties"), bytes: Bytes::from(text.into_bytes()) });
    }
    ops
}

/// This node as the only voter. Its address is that of its controller listener, or without one of a client's, which
/// nobody else needs.
fn voters(config: &BrokerConfig, directory: Uuid) -> VotersRecord {
    let is_controllers = |name: &str| config.controller_listener_names.iter().any(|other| other == name);
    let listener = config
        .listeners
        .iter()
        .find(|listener| is_controllers(&listener.name))
        .or_else(|| config.advertised_listeners.first());
    let endpoints = listener.into_iter().map(|listener| Endpoint {
        name: Str::from(&*listener.name),
        host: Str::from(if listener.host.is_empty() { "localhost" } else { &*listener.host }),
        port: listener.port,
        ..Endpoint::default()
    });
    let voter = Voter {
        voter_id: config.node_id.0,
        voter_directory_id: directory,
        endpoints: endpoints.collect(),
        kraft_version_feature: KRaftVersionFeature {
            min_supported_version: 0,
            max_supported_version: 1,
            ..KRaftVersionFeature::default()
        },
        ..Voter::default()
    };
    VotersRecord { voters: alloc::vec![voter], ..VotersRecord::default() }
}
