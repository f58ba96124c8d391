//! What an empty log directory is given before a node can start on it (KIP-631, KIP-853): its identity, and, where the
//! metadata log will be, the records that its first leader begins with.

use crate::config::BrokerConfig;
use crate::config::broker::Listener;
use crate::controller::cluster::KRAFT_VERSION;
pub use crate::controller::scram::{ITERATIONS as SCRAM_ITERATIONS, Mechanism as ScramMechanism};
use crate::features::FirstLevels;
use crate::ids::{LeaderEpoch, NodeId};
use crate::quorum::{
    self, Address, BOOTSTRAP_CHECKPOINT, Voter, VoterKey, VoterSet, metadata_log_dir, snapshot_file,
};
use crate::rng::Rng;
use crate::storage_op::{StorageOp, StoragePath};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::str::FromStr;
use sordini_protocol::records::{MetadataRecord, UserScramCredentialRecord};
use sordini_protocol::wire::{Str, Uuid};

/// A new random cluster id, drawn from `seed`.
#[must_use]
pub fn new_cluster_id(seed: u64) -> Uuid {
    Rng::new(seed).uuid()
}

/// What a cluster begins with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beginning {
    /// Who votes.
    pub voters: FirstVoters,
    /// The levels of its features.
    pub levels: FirstLevels,
    /// Users of SASL/SCRAM, who are there before anybody could have made them.
    pub credentials: Vec<UserScramCredentialRecord>,
}

/// Who votes in a quorum at first, where the configuration does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FirstVoters {
    /// Those that `controller.quorum.voters` names, or this node alone where that is not set.
    #[default]
    Own,
    /// These, each of which is formatted with the same list.
    Listed(Vec<FirstVoter>),
    /// Others, who are there already: this node follows them, until it is made one of them.
    Others,
}

/// Why it is not known who votes at first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FirstVotersError {
    /// There are other servers of the quorum, and each node that is not told anything would be a quorum of its own.
    #[error(
        "controller.quorum.bootstrap.servers names other controllers: say who votes at first with --standalone, \
         --initial-controllers or --no-initial-controllers"
    )]
    NotSaid,
    /// The configuration says who votes, and whoever formats says so too.
    #[error(
        "You cannot specify controller.quorum.voters and format the node with --initial-controllers or --standalone. To have \
         the voters in the log, remove controller.quorum.voters and specify controller.quorum.bootstrap.servers"
    )]
    SaidTwice,
    /// What is no controller is to be the only voter.
    #[error("You can only use --standalone on a controller.")]
    StandaloneBroker,
    /// A controller is given a list of voters that it is none of.
    #[error(
        "this node is a controller and stands not among the initial controllers; add {0}@host:port:directory-id"
    )]
    NotListed(NodeId),
}

impl FirstVoters {
    /// Who votes at first on a node of this configuration, from what was said of it when it was formatted, if anything.
    ///
    /// # Errors
    ///
    /// It is not said, or said wrongly.
    pub fn choose(said: Option<Self>, config: &BrokerConfig) -> Result<Self, FirstVotersError> {
        let is_controller = config.process_roles.controller;
        let are_configured = !config.controller_quorum_voters.is_empty();
        let own = own_voter(config, Uuid::ZERO).endpoints;
        let is_own =
            |(host, port): &(String, u16)| own.iter().any(|own| *own.host == **host && own.port == *port);
        match said {
            Some(Self::Own | Self::Listed(_)) if are_configured => Err(FirstVotersError::SaidTwice),
            Some(Self::Own) if !is_controller => Err(FirstVotersError::StandaloneBroker),
            Some(Self::Listed(voters))
                if is_controller && voters.iter().all(|voter| voter.id != config.node_id) =>
            {
                Err(FirstVotersError::NotListed(config.node_id))
            }
            None if is_controller
                && !are_configured
                && !config.controller_quorum_bootstrap_servers.iter().all(is_own) =>
            {
                Err(FirstVotersError::NotSaid)
            }
            said => Ok(said.unwrap_or_default()),
        }
    }
}

/// A controller that votes at first: `<id>@<host>:<port>:<directory id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstVoter {
    /// Its `node.id`.
    pub id: NodeId,
    /// Where its controller listener is reached.
    pub host: String,
    /// And by which port.
    pub port: u16,
    /// Of the directory with its metadata log.
    pub directory: Uuid,
}

/// What is no voter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no controller: write <id>@<host>:<port>:<directory id>, for instance 1@localhost:9093:{example}", example = Uuid([1; 16]))]
pub struct MalformedVoter(String);

impl FromStr for FirstVoter {
    type Err = MalformedVoter;

    fn from_str(text: &str) -> Result<Self, MalformedVoter> {
        let parse = || {
            let (id, place) = text.split_once('@')?;
            let (server, directory) = place.rsplit_once(':')?;
            let (host, port) = server.rsplit_once(':')?;
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let (id, port) = (id.parse().ok().filter(|id| *id >= 0)?, port.parse().ok()?);
            let directory = directory.parse::<Uuid>().ok().filter(|directory| !directory.is_zero())?;
            (!host.is_empty()).then(|| Self { id: NodeId(id), host: host.into(), port, directory })
        };
        parse().ok_or_else(|| MalformedVoter(text.into()))
    }
}

/// The files that make the log directories of `config` those of this node in cluster `cluster_id`. They are to be
/// written in this order: the last one of each directory is the one by which a node knows that it is formatted.
#[must_use]
pub fn format(
    config: &BrokerConfig,
    cluster_id: &str,
    beginning: &Beginning,
    seed: u64,
    wall_ms: i64,
) -> Vec<StorageOp> {
    let mut rng = Rng::new(seed);
    let credentials = beginning.credentials.iter().cloned().map(MetadataRecord::from);
    let records: Vec<MetadataRecord> = beginning.levels.records().chain(credentials).collect();
    let level = beginning.levels.metadata_version();
    let bootstrap = snapshot_file::write(LeaderEpoch(0), wall_ms, None, &records, level, wall_ms);
    let mut ops = Vec::new();
    for (dir, path) in config.log_dirs.iter().enumerate() {
        let is_metadata_dir = *path == config.metadata_log_dir;
        let listed = match &beginning.voters {
            FirstVoters::Listed(voters) => voters.iter().find(|voter| voter.id == config.node_id),
            FirstVoters::Own | FirstVoters::Others => None,
        };
        let drawn = rng.uuid();
        let directory = listed.filter(|_| is_metadata_dir).map_or(drawn, |voter| voter.directory);
        let at = |name: &str| StoragePath::new(&format!("{dir}/{name}"));
        // Every directory has it, whichever is the one for metadata later.
        ops.push(StorageOp::Replace { file: at("bootstrap.checkpoint"), bytes: bootstrap.clone() });
        if is_metadata_dir && let Some(voters) = voters(config, &beginning.voters, directory) {
            let bytes =
                snapshot_file::write(LeaderEpoch(0), wall_ms, Some(&voters.to_record()), &[], level, wall_ms);
            let file = metadata_log_dir(dir).join(BOOTSTRAP_CHECKPOINT);
            ops.push(StorageOp::Replace { file, bytes });
        }
        let node = config.node_id;
        let text =
            format!("#\nversion=1\ncluster.id={cluster_id}\nnode.id={node}\ndirectory.id={directory}\n");
        ops.push(StorageOp::Replace { file: at("meta.properties"), bytes: Bytes::from(text.into_bytes()) });
    }
    ops
}

/// Voters that are to stand in the log, whose kraft.version is 1 then. Those that the configuration names stand in no record:
/// there kraft.version is 0 (KIP-853).
fn voters(config: &BrokerConfig, first: &FirstVoters, directory: Uuid) -> Option<VoterSet> {
    match first {
        // Whoever is no controller votes nowhere.
        FirstVoters::Own if !config.process_roles.controller => None,
        FirstVoters::Own if !config.controller_quorum_voters.is_empty() => None,
        FirstVoters::Own => Some(VoterSet::new([own_voter(config, directory)])),
        FirstVoters::Others => None,
        FirstVoters::Listed(voters) => {
            let listener = config.controller_listener_names.first();
            let listener = listener.map_or_else(Str::default, |name| Str::from(&**name));
            let (_, min, max) = KRAFT_VERSION;
            let voter = |voter: &FirstVoter| {
                let key = VoterKey { node: voter.id, directory: voter.directory };
                let endpoint = quorum::endpoint(&listener, &Address::new(&voter.host, voter.port));
                quorum::voter(key, alloc::vec![endpoint], (min, max))
            };
            Some(VoterSet::new(voters.iter().map(voter)))
        }
    }
}

/// This node as a voter: where its controller listeners are, or without one that of a client, which nobody else needs.
pub(crate) fn own_voter(config: &BrokerConfig, directory: Uuid) -> Voter {
    let of_name = |name: &String| config.listeners.iter().find(|listener| listener.name == *name);
    let controllers: Vec<&Listener> = config.controller_listener_names.iter().filter_map(of_name).collect();
    let listeners = if controllers.is_empty() {
        config.advertised_listeners.first().into_iter().collect()
    } else {
        controllers
    };
    let endpoint = |listener: &Listener| {
        let host = if listener.host.is_empty() { "localhost" } else { &*listener.host };
        quorum::endpoint(&Str::from(&*listener.name), &Address::new(host, listener.port))
    };
    let key = VoterKey { node: config.node_id, directory };
    let (_, min, max) = KRAFT_VERSION;
    quorum::voter(key, listeners.into_iter().map(endpoint).collect(), (min, max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::broker::Origin;
    use alloc::borrow::ToOwned as _;

    /// The names of the files of two directories, the second one for metadata.
    fn files(more: &str, voters: FirstVoters) -> Vec<String> {
        let text =
            format!("process.roles=controller\nnode.id=1\nlog.dirs=/a,/b\nmetadata.log.dir=/b\n{more}");
        let entries = (1..).zip(text.lines()).filter_map(|(line, text)| {
            let (key, value) = text.split_once('=')?;
            Some((key.to_owned(), value.to_owned(), Origin::File { path: "f".into(), line }))
        });
        let (config, _) = BrokerConfig::from_entries(entries).expect("the file is fine");
        let beginning = Beginning { voters, ..Beginning::default() };
        let ops = format(&config, "cluster", &beginning, 7, 1);
        ops.iter().map(|op| op.path().as_str().to_owned()).collect()
    }

    #[test]
    fn voters_stand_in_the_log_unless_the_configuration_names_them() {
        let listeners = "listeners=C://127.0.0.1:9093\ncontroller.listener.names=C\n";
        let plain =
            ["0/bootstrap.checkpoint", "0/meta.properties", "1/bootstrap.checkpoint", "1/meta.properties"];
        let with_voters = [
            &plain[..3],
            &["1/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"],
            &plain[3..],
        ];
        let with_voters = with_voters.concat();
        let configured = format!("{listeners}controller.quorum.voters=1@127.0.0.1:9093\n");
        assert_eq!(files(&configured, FirstVoters::Own), plain);
        let told = format!("{listeners}controller.quorum.bootstrap.servers=127.0.0.1:9093\n");
        assert_eq!(files(&told, FirstVoters::Own), with_voters);
        assert_eq!(files(&told, FirstVoters::Others), plain);
        let listed = "1@localhost:9093:JEXY6aqzQY-32P5TStzaFg".parse().expect("a voter");
        assert_eq!(files(&told, FirstVoters::Listed(alloc::vec![listed])), with_voters);
    }
}
