//! `access_control`: entries are written once, by who was asked for them, and what clients are told of them was so: what was
//! created was there, what was deleted is all that the filter matched and nothing more, and what was described was all there
//! was at some time (K9, K17).

use crate::check::Violation;
use crate::history::{Entry, Operation, Stage};
use crate::plan::{PlannedAcl, PlannedFilter};
use sordini_protocol::records::{AccessControlEntryRecord, MetadataRecord};
use sordini_protocol::wire::Uuid;
use std::collections::{BTreeMap, BTreeSet};

/// The entries, by the committed log.
#[derive(Clone, Debug, Default)]
pub(super) struct AccessControl {
    pub(super) entries: BTreeMap<Uuid, AccessControlEntryRecord>,
    /// The ids that there ever were.
    ids: BTreeSet<Uuid>,
    /// After each batch that changed them, where it ends and the numbers of all entries. At first there are none.
    states: Vec<(i64, BTreeSet<u64>)>,
}

fn violation(sentence: String) -> Violation {
    Violation { property: "access_control", sentence }
}

fn number_of(record: &AccessControlEntryRecord) -> Option<u64> {
    let is = |planned: &PlannedAcl| {
        let of_resource = (planned.resource_type, planned.name, planned.pattern);
        of_resource == (record.resource_type, &*record.resource_name, record.pattern_type)
            && (planned.principal, planned.operation) == (&*record.principal, record.operation)
            && (&*record.host, record.permission_type) == ("*", 3)
    };
    PlannedAcl::all().find(|(_, planned)| is(planned)).map(|(number, _)| number)
}

impl AccessControl {
    /// Takes the records of a committed batch that ends at `end`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other record is about entries")]
    pub(super) fn replay(&mut self, end: i64, records: &[MetadataRecord]) -> Result<(), Violation> {
        let before = self.numbers().cloned().unwrap_or_default();
        let mut numbers = before.clone();
        for record in records {
            match record {
                MetadataRecord::AccessControlEntry(record) => {
                    let Some(number) = number_of(record) else {
                        return Err(violation(format!(
                            "the batch that ends at offset {end} creates {record:?}, and nobody has asked for that"
                        )));
                    };
                    if !self.ids.insert(record.id) || !numbers.insert(number) {
                        return Err(violation(format!(
                            "the batch that ends at offset {end} creates {record:?}, which is there or whose id is not new"
                        )));
                    }
                    self.entries.insert(record.id, record.clone());
                }
                MetadataRecord::RemoveAccessControlEntry(record) => {
                    let removed = self.entries.remove(&record.id);
                    let Some(number) = removed.as_ref().and_then(number_of) else {
                        return Err(violation(format!(
                            "the batch that ends at offset {end} deletes the entry {:?}, and there is none",
                            record.id
                        )));
                    };
                    numbers.remove(&number);
                }
                _ => {}
            }
        }
        if numbers != before {
            self.states.push((end, numbers));
        }
        Ok(())
    }

    fn numbers(&self) -> Option<&BTreeSet<u64>> {
        self.states.last().map(|(_, numbers)| numbers)
    }

    /// A client was told something, and had asked for it when what was committed ended at `since`.
    pub(super) fn check_told(&self, entry: &Entry, since: i64) -> Result<(), Violation> {
        if entry.stage != Stage::Ok {
            return Ok(());
        }
        let told: BTreeSet<u64> = entry.values.iter().map(|(number, _)| *number).collect();
        let filter =
            PlannedFilter::of(entry.offset.and_then(|number| u64::try_from(number).ok()).unwrap_or(0));
        let matched = |state: &BTreeSet<u64>| -> BTreeSet<u64> {
            state.iter().copied().filter(|number| filter.matches(&PlannedAcl::of(*number))).collect()
        };
        let none = BTreeSet::new();
        let mut ever = std::iter::once(&none).chain(self.states.iter().map(|(_, state)| state));
        // Who decides with nothing to write may have lost its office, and not know.
        let is_so = match entry.operation {
            Operation::CreateAcls => ever.any(|state| told.is_subset(state)),
            Operation::DescribeAcls => ever.any(|state| matched(state) == told),
            Operation::DeleteAcls if told.is_empty() => ever.any(|state| matched(state).is_empty()),
            Operation::DeleteAcls => {
                let afters = self.states.iter().filter(|(end, _)| *end > since);
                let deleted = |(end, after): &(i64, BTreeSet<u64>)| {
                    let before =
                        self.states.iter().rfind(|(other, _)| other < end).map_or(&none, |(_, it)| it);
                    matched(before) == told && *after == before - &told
                };
                afters.into_iter().any(deleted)
            }
            Operation::Send
            | Operation::Poll
            | Operation::ListOffsets
            | Operation::Seek
            | Operation::CreateTopic
            | Operation::DeleteRecords
            | Operation::AlterConfigs
            | Operation::SetConfig
            | Operation::SetMinIsr
            | Operation::DeleteTopic
            | Operation::CreatePartitions
            | Operation::RegisterBroker
            | Operation::UnfenceBroker
            | Operation::LeaveCluster
            | Operation::AddVoter
            | Operation::RemoveVoter
            | Operation::AllocateProducerIds
            | Operation::Reassign
            | Operation::ListReassignments
            | Operation::ElectLeader
            | Operation::UpdateFeature
            | Operation::TryFeature
            | Operation::ElectLeaderUncleanly
            | Operation::UnregisterBroker
            | Operation::AlterIsr => return Ok(()),
        };
        // A client names an entry twice where it likes; an answer does not.
        let is_repeated = entry.operation != Operation::CreateAcls && told.len() < entry.values.len();
        if is_so && !is_repeated {
            return Ok(());
        }
        Err(violation(format!(
            "at {} us client {} is told of {:?} {}: {told:?}; by the committed log there were, each from where it says, {:?}",
            entry.at_us, entry.client, entry.operation, entry.topic, self.states
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::records::RemoveAccessControlEntryRecord;
    use sordini_protocol::wire::Str;

    fn id(number: u64) -> Uuid {
        Uuid::from_u64s(5, number)
    }

    fn created(number: u64) -> MetadataRecord {
        let acl = PlannedAcl::of(number);
        let record = AccessControlEntryRecord {
            id: id(number),
            resource_type: acl.resource_type,
            resource_name: Str::from_static(acl.name),
            pattern_type: acl.pattern,
            principal: Str::from_static(acl.principal),
            host: Str::from_static("*"),
            operation: acl.operation,
            permission_type: 3,
            ..AccessControlEntryRecord::default()
        };
        record.into()
    }

    fn removed(number: u64) -> MetadataRecord {
        RemoveAccessControlEntryRecord { id: id(number), ..Default::default() }.into()
    }

    /// Entries 0, 1 and 2 came to be, then 0 and 2 went, which are of topics.
    fn example() -> AccessControl {
        let mut control = AccessControl::default();
        assert_eq!(control.replay(12, &[created(0), created(1)]), Ok(()));
        assert_eq!(control.replay(13, &[created(2)]), Ok(()));
        assert_eq!(control.replay(20, &[removed(0), removed(2)]), Ok(()));
        control
    }

    #[test]
    fn an_entry_is_written_once_and_deleted_once() {
        assert!(example().replay(21, &[created(1)]).is_err(), "it is there");
        assert!(example().replay(21, &[created(0)]).is_err(), "its id is old");
        assert!(example().replay(21, &[removed(0)]).is_err());
        let MetadataRecord::AccessControlEntry(record) = created(3) else { panic!("it is an entry") };
        let denied = AccessControlEntryRecord { permission_type: 2, ..record };
        assert!(example().replay(21, &[denied.into()]).is_err_and(|why| why.sentence.contains("nobody")));
        assert_eq!(example().entries.into_keys().collect::<Vec<_>>(), [id(1)]);
    }

    #[test]
    fn what_is_told_of_entries_was_so() {
        const TOPICS: i64 = 1;
        let control = example();
        let told = |operation, filter, numbers: &[u64], since| {
            let entry = Entry {
                values: numbers.iter().map(|number| (*number, 1)).collect(),
                offset: Some(filter),
                ..Entry::new(100, 30, Stage::Ok, operation, Str::new())
            };
            control.check_told(&entry, since).is_ok()
        };
        for (numbers, is_so) in [(&[0, 1][..], true), (&[1, 1], true), (&[2, 0], true), (&[3], false)] {
            assert_eq!(told(Operation::CreateAcls, 0, numbers, 0), is_so, "{numbers:?}");
        }
        let described: [(&[u64], bool); 6] =
            [(&[], true), (&[0], true), (&[0, 2], true), (&[2], false), (&[0, 1], false), (&[0, 0], false)];
        for (numbers, is_so) in described {
            assert_eq!(told(Operation::DescribeAcls, TOPICS, numbers, 0), is_so, "{numbers:?}");
        }
        assert!(told(Operation::DeleteAcls, TOPICS, &[0, 2], 13));
        assert!(!told(Operation::DeleteAcls, TOPICS, &[0, 2], 20), "that was before");
        assert!(!told(Operation::DeleteAcls, TOPICS, &[0], 13), "it is not all that went");
        assert!(!told(Operation::DeleteAcls, 0, &[0, 2], 13), "it is not all that it matched");
        assert!(told(Operation::DeleteAcls, TOPICS, &[], 20));
    }
}
