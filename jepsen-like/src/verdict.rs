//! What was found, less what the contracts permit.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::anomaly::{Anomaly, Finding, Permit};
use crate::history::Contract;

/// How many findings of a kind the text shows. All of them are in the verdict.
const EXAMPLES: usize = 8;

/// What a history shows. As JSON it is the whole; as text a summary with the smallest examples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was promised.
    pub contracts: Vec<Contract>,
    /// How much there was of everything.
    pub counts: Counts,
    /// All anomalies, by kind, what is not permitted first, then by partition, offset and value.
    pub findings: Vec<Finding>,
}

/// How much there was of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// What was done.
    #[serde(flatten)]
    pub tally: Tally,
    /// How far consumers were behind.
    pub lag: Lag,
    /// Anomalies that break a promise.
    pub broken: u64,
    /// Anomalies that none forbids.
    pub permitted: u64,
}

/// What was done, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Of every kind, those that did not end too.
    pub operations: u64,
    /// Operations that produce.
    pub sends: u64,
    /// Operations that read.
    pub polls: u64,
    /// Values that were sent.
    pub values: u64,
    /// Of these, those whose send ended well.
    pub values_acknowledged: u64,
    /// Of these, those that somebody read.
    pub values_read: u64,
    /// Contracts.
    pub partitions: u64,
    /// Of these, those that were read to the end.
    pub partitions_scanned: u64,
}

/// Reads that were told a high watermark below what had been acknowledged with acks=all before they began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// How many.
    pub reads: u64,
    /// The longest time that what one of them did not know had been acknowledged, in microseconds.
    pub us_max: u64,
}

impl Counts {
    pub(crate) fn of(tally: &Tally, lag: Lag) -> Self {
        Self { tally: *tally, lag, ..Self::default() }
    }
}

impl Verdict {
    pub(crate) fn new(contracts: Vec<Contract>, mut counts: Counts, mut findings: Vec<Finding>) -> Self {
        for found in &mut findings {
            found.permitted = permit(found, &contracts[found.partition as usize]);
        }
        findings.sort_by(|a, b| {
            let key = |found: &Finding| {
                (found.anomaly, found.permitted, found.partition, found.offset, found.value)
            };
            key(a).cmp(&key(b)).then_with(|| a.operations.cmp(&b.operations))
        });
        counts.permitted = findings.iter().filter(|found| found.permitted.is_some()).count() as u64;
        counts.broken = findings.len() as u64 - counts.permitted;
        Self { contracts, counts, findings }
    }

    /// Every promise was kept.
    pub fn holds(&self) -> bool {
        self.counts.broken == 0
    }

    /// What breaks a promise.
    pub fn broken(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|found| found.permitted.is_none())
    }

    /// The verdict as JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("a verdict has nothing that JSON has not")
    }

    /// One line about one finding.
    fn sentence(&self, found: &Finding) -> String {
        let contract = &self.contracts[found.partition as usize];
        let mut text = format!("{}-{}", contract.topic, contract.partition);
        let push = |text: &mut String, name: &str, what: Option<String>| {
            if let Some(what) = what {
                text.push_str(&format!(", {name} {what}"));
            }
        };
        push(&mut text, "offset", found.offset.map(|offset| offset.to_string()));
        push(&mut text, "value", found.value.map(|value| value.to_string()));
        push(&mut text, other_offset_is(found.anomaly), found.other_offset.map(|offset| offset.to_string()));
        push(&mut text, "other value", found.other_value.map(|value| value.to_string()));
        let operations: Vec<_> = found.operations.iter().map(u64::to_string).collect();
        push(&mut text, "operations", Some(operations.join(" ")));
        match found.asked {
            Some(asked) => format!("{text} ({asked}; {contract})"),
            None => format!("{text} ({contract})"),
        }
    }
}

fn other_offset_is(anomaly: Anomaly) -> &'static str {
    if anomaly == Anomaly::StaleRead { "high watermark" } else { "other offset" }
}

/// Why the contract permits an anomaly. What a consumer that follows the log must never see is permitted by none: a log that is
/// cut makes it seek, and that is told.
fn permit(found: &Finding, contract: &Contract) -> Option<Permit> {
    let idempotent = found.asked.is_some_and(|asked| asked.idempotent);
    match found.anomaly {
        Anomaly::InconsistentOffset | Anomaly::LostAcked | Anomaly::RealtimeOrder | Anomaly::Unseen => {
            may_lose_committed(contract)
        }
        Anomaly::InconsistentOffsetWeak | Anomaly::LostAcks1 => Some(Permit::AcksBelowAll),
        Anomaly::Duplicate | Anomaly::NonmonotonicSend | Anomaly::InternalNonmonotonicSend => {
            if idempotent {
                may_lose_committed(contract)
            } else {
                Some(Permit::NotIdempotent)
            }
        }
        Anomaly::StaleRead => {
            if contract.linearizable_reads {
                may_lose_committed(contract)
            } else {
                Some(Permit::ReadsMayLag)
            }
        }
        Anomaly::FailedRead
        | Anomaly::PollSkip
        | Anomaly::NonmonotonicPoll
        | Anomaly::InternalPollSkip
        | Anomaly::InternalNonmonotonicPoll
        | Anomaly::Misrouted
        | Anomaly::UnsentRead => None,
    }
}

/// Why what was committed may be gone, and its offsets have other records.
fn may_lose_committed(contract: &Contract) -> Option<Permit> {
    if contract.unclean_leader_election {
        return Some(Permit::UncleanElection);
    }
    (contract.amnesiac_replicas_max >= contract.holders_min()).then_some(Permit::TooManyAmnesiacs)
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { tally, lag, broken, .. } = &self.counts;
        let Tally { operations, sends, polls, values, values_acknowledged, values_read, .. } = tally;
        writeln!(f, "{operations} operations: {sends} sends, {polls} polls")?;
        writeln!(f, "{values} values sent, {values_acknowledged} acknowledged, {values_read} read")?;
        writeln!(f, "{} of {} partitions read to the end", tally.partitions_scanned, tally.partitions)?;
        if lag.reads > 0 {
            writeln!(
                f,
                "{} reads did not know of what was acknowledged, up to {} us before",
                lag.reads, lag.us_max
            )?;
        }
        for group in self.findings.chunk_by(|a, b| (a.anomaly, a.permitted) == (b.anomaly, b.permitted)) {
            let (count, anomaly) = (group.len(), group[0].anomaly);
            match group[0].permitted {
                Some(permit) => writeln!(f, "{count} {anomaly}: {permit}: allowed")?,
                None => writeln!(f, "{count} {anomaly}: BROKEN")?,
            }
            // What happened within few events is read most easily.
            let mut examples: Vec<_> = group.iter().collect();
            examples.sort_by_key(|found| span(found));
            for found in examples.iter().take(EXAMPLES) {
                writeln!(f, "  {}", self.sentence(found))?;
            }
            if count > EXAMPLES {
                writeln!(f, "  and {} more", count - EXAMPLES)?;
            }
        }
        match broken {
            0 => writeln!(f, "every promise was kept"),
            1 => writeln!(f, "1 promise was broken"),
            _ => writeln!(f, "{broken} promises were broken"),
        }
    }
}

/// How far apart the operations of a finding are.
fn span(found: &Finding) -> u64 {
    let operations = || found.operations.iter().copied();
    operations().max().unwrap_or(0) - operations().min().unwrap_or(0)
}
