//! The features of a cluster: which levels there are, which ones a new cluster begins with, and what each of them needs
//! (KIP-584, KIP-1022).

use crate::controller::cluster::{ELR_VERSION, FEATURES, KRAFT_VERSION, METADATA_VERSION};
use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::str::FromStr;
use sordini_protocol::records::{FeatureLevelRecord, MetadataRecord};
use sordini_protocol::wire::Str;

/// What the levels of metadata.version are called, from the lowest on.
const RELEASES: [&str; 24] = [
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0",
    "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2",
    "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0",
];

/// A level that a new cluster has if its metadata.version is at least so high: feature, level, metadata.version.
const DEFAULTS: [(&str, i16, i16); 6] = [
    ("group.version", 1, 22),
    ("transaction.version", 1, 24),
    ("transaction.version", 2, 24),
    ("eligible.leader.replicas.version", 1, 26),
    ("share.version", 1, 28),
    ("streams.version", 1, 29),
];

/// The level of metadata.version from which on the log can hold credentials of SASL/SCRAM.
pub(crate) const SCRAM_FROM: i16 = 11;

/// The metadata.version that the records of eligible leader replicas need.
const ELR_FROM: i16 = 23;

/// The metadata.version that a cluster begins with at least if its log names the voters.
const VOTERS_IN_LOG_FROM: i16 = 21;

/// The metadata.version from which on replicas have directories, and records of brokers and partitions say which.
pub(crate) const DIRECTORIES_FROM: i16 = 17;

/// The metadata.version from which on log directories may be cordoned, and records of brokers say which are.
const CORDONED_DIRECTORIES_FROM: i16 = 30;

/// The metadata.version from which on records of brokers speak of a migration from ZooKeeper.
const ZK_MIGRATION_FROM: i16 = 8;

/// A record as it is written at a metadata.version: every node that can be in such a cluster can read it. One that says what
/// that level has no word for, since a log held it, goes on to say so.
pub(crate) fn record_bytes(record: &MetadataRecord, metadata_version: i16) -> Bytes {
    let bytes = record.to_bytes(record_version(record, metadata_version));
    let bytes = bytes.or_else(|_| record.to_bytes(record.highest_version()));
    bytes.expect("the highest version has a word for everything")
}

fn record_version(record: &MetadataRecord, metadata_version: i16) -> i16 {
    let passed = |levels: &[i16]| levels.iter().filter(|level| metadata_version >= **level).count();
    #[expect(clippy::wildcard_enum_match_arm, reason = "all the others have one version")]
    let version = match record {
        // Every level there is has controlled shutdown, which came with version 1.
        MetadataRecord::RegisterBroker(_) => {
            1 + passed(&[ZK_MIGRATION_FROM, DIRECTORIES_FROM, CORDONED_DIRECTORIES_FROM])
        }
        MetadataRecord::BrokerRegistrationChange(_) => {
            1 + passed(&[DIRECTORIES_FROM, CORDONED_DIRECTORIES_FROM])
        }
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => {
            passed(&[DIRECTORIES_FROM, ELR_FROM])
        }
        other => return other.highest_version(),
    };
    i16::try_from(version).expect("versions are few")
}

/// What a level is called, if metadata.version has it.
fn release_name(level: i16) -> Option<&'static str> {
    let index = level.checked_sub(METADATA_VERSION.1)?;
    RELEASES.get(usize::try_from(index).ok()?).copied()
}

/// The metadata.version of a release: `4.3-IV0`, or `4.3` and `4.3.1` for the last one of 4.3.
fn level_of_release(release: &str) -> Option<i16> {
    let end = release.match_indices('.').nth(1).map_or(release.len(), |(at, _)| at);
    let wanted = &release[..end];
    let is_wanted = |name: &&str| *name == wanted || name.split('-').next() == Some(wanted);
    let index = RELEASES.iter().rposition(is_wanted)?;
    Some(METADATA_VERSION.1 + i16::try_from(index).expect("they are few"))
}

/// Why `feature` cannot have a level while the others have theirs, if it cannot.
pub(crate) fn unmet_dependency(feature: &str, level: i16, others: impl Fn(&str) -> i16) -> Option<String> {
    let (metadata, ..) = METADATA_VERSION;
    let needed = [(ELR_VERSION.0, ELR_FROM), (KRAFT_VERSION.0, VOTERS_IN_LOG_FROM)];
    let (_, needed) = needed.into_iter().find(|(name, _)| *name == feature)?;
    (level >= 1 && others(metadata) < needed).then(|| {
        format!("{feature} could not be set to {level} because it depends on {metadata} level {needed}")
    })
}

/// A level that somebody wants for a feature: `group.version=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLevel {
    /// Of the feature.
    pub name: String,
    /// Which may not exist.
    pub level: i16,
}

/// What is no level of a feature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedLevel {
    /// Nothing separates the feature from its level.
    #[error("Can't parse feature=level string {0}: equals sign not found.")]
    NoEqualsSign(String),
    /// What follows is no number of 16 bits.
    #[error("Can't parse feature=level string {0}: unable to parse the level as a number of 16 bits.")]
    NoNumber(String),
}

impl FromStr for WantedLevel {
    type Err = MalformedLevel;

    fn from_str(text: &str) -> Result<Self, MalformedLevel> {
        let (name, level) =
            text.split_once('=').ok_or_else(|| MalformedLevel::NoEqualsSign(text.to_owned()))?;
        let level = level.trim().parse().map_err(|_| MalformedLevel::NoNumber(text.to_owned()))?;
        Ok(Self { name: name.trim().to_owned(), level })
    }
}

/// Why a cluster cannot begin with the levels that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// There is no such release.
    #[error("Unknown metadata.version '{0}'. Supported metadata.version are: {releases}", releases = RELEASES.join(", "))]
    UnknownRelease(String),
    /// The release is said twice.
    #[error("Use --release-version instead of --feature metadata.version=X to avoid ambiguity.")]
    ReleaseTwice,
    /// There is no such feature.
    #[error("Unsupported feature: {name}. Supported features are: {features}", features = Names)]
    UnknownFeature {
        /// What there is not.
        name: String,
    },
    /// The feature has no such level.
    #[error("No feature:{name} with feature level {level}: it has those from {min} to {max}")]
    UnknownLevel {
        /// Of the feature.
        name: &'static str,
        /// What it does not have.
        level: i16,
        /// Its lowest level.
        min: i16,
        /// Its highest level.
        max: i16,
    },
    /// A level needs another.
    #[error("{0}")]
    Missing(String),
    /// The configuration says who votes, and the log is to say so too.
    #[error(
        "Cannot set kraft.version to {0} unless controller.quorum.voters is empty. To have the voters in the log, remove \
         controller.quorum.voters and use --standalone, --initial-controllers or --no-initial-controllers."
    )]
    VotersConfigured(i16),
    /// Nothing says who votes.
    #[error(
        "Cannot set kraft.version to 0 if controller.quorum.voters is empty: the voters stand in the log. Remove --feature \
         kraft.version=0, or say with controller.quorum.voters who votes."
    )]
    NoVotersConfigured,
    /// The log cannot hold credentials yet.
    #[error("SCRAM is only supported in metadata.version {} or later.", release_name(SCRAM_FROM).unwrap_or_default())]
    NoScram,
}

/// The names of the features beside metadata.version.
struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&str> = FEATURES.iter().map(|(name, ..)| *name).collect();
        names.retain(|name| *name != METADATA_VERSION.0);
        names.sort_unstable();
        f.write_str(&names.join(", "))
    }
}

/// The levels of the features with which a cluster begins. By default those of the newest release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstLevels {
    metadata_version: i16,
    /// Of the other features, but for kraft.version, which stands elsewhere; none is 0.
    others: BTreeMap<&'static str, i16>,
}

impl Default for FirstLevels {
    fn default() -> Self {
        Self::of_release(METADATA_VERSION.2)
    }
}

impl FirstLevels {
    fn of_release(metadata_version: i16) -> Self {
        let defaults = DEFAULTS.iter().filter(|(_, _, from)| metadata_version >= *from);
        Self { metadata_version, others: defaults.map(|(name, level, _)| (*name, *level)).collect() }
    }

    /// The levels of a release, the newest one if none is named, with some of them chosen one by one. Where the
    /// configuration says who votes, the log does not.
    ///
    /// # Errors
    ///
    /// There is no such release, feature or level, or levels do not go together.
    pub fn choose(
        release: Option<&str>,
        wanted: &[WantedLevel],
        voters_are_configured: bool,
    ) -> Result<Self, LevelError> {
        let is_metadata = |wanted: &&WantedLevel| wanted.name == METADATA_VERSION.0;
        let metadata_version = match (release, wanted.iter().rfind(is_metadata)) {
            (Some(_), Some(_)) => return Err(LevelError::ReleaseTwice),
            (Some(release), None) => {
                level_of_release(release).ok_or_else(|| LevelError::UnknownRelease(release.to_owned()))?
            }
            (None, Some(wanted)) => wanted.level,
            (None, None) => METADATA_VERSION.2,
        };
        let mut levels = Self::of_release(metadata_version);
        for WantedLevel { name, level } in wanted {
            let known = FEATURES.into_iter().find(|(known, ..)| known == name);
            let (name, min, max) = known.ok_or_else(|| LevelError::UnknownFeature { name: name.clone() })?;
            if !(min..=max).contains(level) {
                return Err(LevelError::UnknownLevel { name, level: *level, min, max });
            }
            if name == KRAFT_VERSION.0 {
                match (level, voters_are_configured) {
                    (0, false) => return Err(LevelError::NoVotersConfigured),
                    (1.., true) => return Err(LevelError::VotersConfigured(*level)),
                    _ => {}
                }
            } else if name != METADATA_VERSION.0 {
                levels.others.insert(name, *level);
            }
        }
        levels.others.retain(|_, level| *level != 0);
        let kraft = (!voters_are_configured).then_some((KRAFT_VERSION.0, 1));
        for (name, level) in levels.others.iter().map(|(name, level)| (*name, *level)).chain(kraft) {
            if let Some(why) = unmet_dependency(name, level, |_| metadata_version) {
                return Err(LevelError::Missing(why));
            }
        }
        Ok(levels)
    }

    /// Whether the log can hold credentials of SASL/SCRAM from the beginning on.
    ///
    /// # Errors
    ///
    /// It cannot.
    pub const fn check_scram(&self) -> Result<(), LevelError> {
        if self.metadata_version < SCRAM_FROM { Err(LevelError::NoScram) } else { Ok(()) }
    }

    pub(crate) const fn metadata_version(&self) -> i16 {
        self.metadata_version
    }

    /// What the log begins with: metadata.version first, the others by name.
    pub(crate) fn records(&self) -> impl Iterator<Item = MetadataRecord> {
        let first = core::iter::once((METADATA_VERSION.0, self.metadata_version));
        let others = self.others.iter().map(|(name, level)| (*name, *level));
        first.chain(others).map(|(name, feature_level)| {
            let name = Str::from_static(name);
            FeatureLevelRecord { name, feature_level, ..FeatureLevelRecord::default() }.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;
    use sordini_protocol::records::{BrokerRegistrationChangeRecord, PartitionRecord, RegisterBrokerRecord};
    use sordini_protocol::wire::Uuid;

    fn wanted(levels: &[&str]) -> Vec<WantedLevel> {
        levels.iter().map(|level| level.parse().expect("a level")).collect()
    }

    fn levels(release: Option<&str>, features: &[&str]) -> Result<Vec<(String, i16)>, String> {
        let chosen =
            FirstLevels::choose(release, &wanted(features), true).map_err(|error| error.to_string())?;
        let level = |record: MetadataRecord| {
            let MetadataRecord::FeatureLevel(record) = record else { panic!("{record:?}") };
            (record.name.to_string(), record.feature_level)
        };
        Ok(chosen.records().map(level).collect())
    }

    /// As `kafka-storage.sh version-mapping` of 4.3.1 prints them.
    #[test]
    fn a_new_cluster_has_the_levels_of_its_release() {
        type Others = &'static [(&'static str, i16)];
        const ELR: (&str, i16) = ("eligible.leader.replicas.version", 1);
        const GROUP: (&str, i16) = ("group.version", 1);
        const SHARE: (&str, i16) = ("share.version", 1);
        const STREAMS: (&str, i16) = ("streams.version", 1);
        const TRANSACTION: (&str, i16) = ("transaction.version", 2);
        let table: [(Option<&str>, i16, Others); 9] = [
            (None, 30, &[ELR, GROUP, SHARE, STREAMS, TRANSACTION]),
            (Some("4.3"), 30, &[ELR, GROUP, SHARE, STREAMS, TRANSACTION]),
            (Some("4.2-IV0"), 28, &[ELR, GROUP, SHARE, TRANSACTION]),
            (Some("4.1.1"), 27, &[ELR, GROUP, TRANSACTION]),
            (Some("4.0-IV3"), 25, &[GROUP, TRANSACTION]),
            (Some("4.0-IV1"), 23, &[GROUP]),
            (Some("3.9"), 21, &[]),
            (Some("3.5"), 11, &[]),
            (Some("3.3-IV3"), 7, &[]),
        ];
        for (release, metadata, others) in table {
            let expected = [&[("metadata.version", metadata)], others].concat();
            let expected = expected.into_iter().map(|(name, level)| (name.to_owned(), level));
            assert_eq!(levels(release, &[]), Ok(expected.collect()), "{release:?}");
        }
    }

    #[test]
    fn levels_are_chosen_one_by_one() {
        let of_level_25 = levels(None, &["metadata.version=25", "group.version=0", "transaction.version=1"]);
        let expected = [("metadata.version".to_owned(), 25), ("transaction.version".to_owned(), 1)];
        assert_eq!(of_level_25, Ok(expected.to_vec()), "level 0 stands in no record");
        let raised = levels(Some("4.0-IV1"), &["eligible.leader.replicas.version=1", "share.version=1"]);
        assert_eq!(raised.map(|levels| levels.len()), Ok(4));
    }

    #[test]
    fn a_record_is_written_so_that_every_node_of_that_level_can_read_it() {
        let registered = MetadataRecord::from(RegisterBrokerRecord::default());
        let changed = MetadataRecord::from(BrokerRegistrationChangeRecord::default());
        let partition = MetadataRecord::from(PartitionRecord::default());
        let table = [
            (7, 1, 1, 0),
            (8, 2, 1, 0),
            (16, 2, 1, 0),
            (17, 3, 2, 1),
            (22, 3, 2, 1),
            (23, 3, 2, 2),
            (29, 3, 2, 2),
            (30, 4, 3, 2),
        ];
        for (level, broker, change, state) in table {
            let versions = [&registered, &changed, &partition].map(|record| record_bytes(record, level)[2]);
            assert_eq!(versions, [broker, change, state], "at level {level}");
        }
        let more = RegisterBrokerRecord { log_dirs: [Uuid([7; 16])].into(), ..Default::default() };
        assert_eq!(record_bytes(&more.into(), 7)[2], 4, "it was in the log");
    }

    #[test]
    fn levels_that_are_not_or_do_not_go_together_are_refused() {
        let table: [(Option<&str>, &[&str], &str); 9] = [
            (
                Some("4.4"),
                &[],
                "Unknown metadata.version '4.4'. Supported metadata.version are: 3.3-IV3, 3.4-IV0,",
            ),
            (Some("3.3-IV2"), &[], "Unknown metadata.version"),
            (Some("4.3"), &["metadata.version=30"], "Use --release-version instead"),
            (None, &["metadata.version=31"], "No feature:metadata.version with feature level 31"),
            (None, &["nonsense=1"], "Unsupported feature: nonsense. Supported features are: eligible.leader"),
            (None, &["group.version=2"], "No feature:group.version with feature level 2"),
            (None, &["group.version=-1"], "No feature:group.version with feature level -1"),
            (
                Some("4.0-IV0"),
                &["eligible.leader.replicas.version=1"],
                "depends on metadata.version level 23",
            ),
            (None, &["kraft.version=1"], "Cannot set kraft.version to 1 unless"),
        ];
        for (release, features, why) in table {
            let error = levels(release, features).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
        let in_log = |features: &[&str]| FirstLevels::choose(None, &wanted(features), false);
        assert_eq!(in_log(&["kraft.version=0"]), Err(LevelError::NoVotersConfigured));
        assert_eq!(in_log(&["kraft.version=1"]), Ok(FirstLevels::default()), "the voters' record says it");
        let why = FirstLevels::choose(Some("3.8"), &[], false).expect_err("nor its name of theirs");
        let expected = "kraft.version could not be set to 1 because it depends on metadata.version level 21";
        assert_eq!(why.to_string(), expected);
        assert!(FirstLevels::choose(Some("3.9"), &[], false).is_ok());
        let old = FirstLevels::choose(Some("3.5-IV1"), &[], true).expect("a release");
        let why = "SCRAM is only supported in metadata.version 3.5-IV2 or later.";
        assert_eq!(old.check_scram().map_err(|error| error.to_string()), Err(why.to_owned()));
    }

    #[test]
    fn a_level_is_written_with_an_equals_sign() {
        assert_eq!("a=1".parse(), Ok(WantedLevel { name: "a".to_owned(), level: 1 }));
        assert_eq!("a".parse::<WantedLevel>(), Err(MalformedLevel::NoEqualsSign("a".to_owned())));
        assert_eq!("a=b".parse::<WantedLevel>(), Err(MalformedLevel::NoNumber("a=b".to_owned())));
        assert_eq!("a=40000".parse::<WantedLevel>(), Err(MalformedLevel::NoNumber("a=40000".to_owned())));
    }

    #[test]
    fn every_level_of_metadata_version_has_a_name() {
        let (_, min, max) = METADATA_VERSION;
        for level in min..=max {
            let name = release_name(level).expect("a name");
            assert_eq!(level_of_release(name), Some(level));
        }
        assert_eq!((release_name(min - 1), release_name(max + 1)), (None, None));
    }
}
