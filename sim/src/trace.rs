//! Everything that goes into the nodes and comes out of them, folded into 64 bits, and told line by line when asked.
//!
//! The hash is what determinism is judged by: two runs of one plan that differ in the order or the virtual time of their
//! inputs and outputs, in a request, an answer or a storage operation, differ in it but for a collision of 64 bits. Of what
//! a disk answers to a read it has the length and the sixteen bytes at either end: the rest was hashed when it was written,
//! and a difference that a disk made in between shows in the hash when something that goes out depends on it, as an answer
//! with these bytes does. It is always on. Its algorithm stands here, because the standard library's hasher may change with
//! the compiler.

use serde::Serialize;
use std::fmt;

/// A 64-bit running hash of words and byte strings: multiply and rotate, eight bytes at a time, in the manner of the
/// Firefox hash, and the finaliser of `SplitMix64` at the end. Bytes are read as little-endian words on every target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash64 {
    state: u64,
}

impl Default for Hash64 {
    fn default() -> Self {
        Self { state: 0x5307_D141_0000_0001 }
    }
}

impl Hash64 {
    /// Folds one word in.
    pub const fn word(&mut self, word: u64) {
        self.state = (self.state.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    /// Folds a string of bytes in, its length first, so that two strings never pass for one.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0_u8; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(last));
        }
    }

    /// The hash of all that was folded in so far.
    #[must_use]
    pub const fn finish(&self) -> u64 {
        crate::field::mix(self.state)
    }
}

impl fmt::Write for Hash64 {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

/// The hash of one string of bytes, for naming a place by its path.
#[must_use]
pub fn hash_of(bytes: &[u8]) -> u64 {
    let mut hash = Hash64::default();
    hash.bytes(bytes);
    hash.finish()
}

/// How much of a run is told. Telling changes nothing about the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Telling {
    /// Nothing but the hash.
    #[default]
    Nothing,
    /// What changed: lives, faults, states, the ends of logs.
    Changes,
    /// Every input and output too.
    Everything,
}

impl Telling {
    /// Whether lines of this kind are told.
    #[must_use]
    pub const fn includes(self, kind: Kind) -> bool {
        match self {
            Self::Nothing => false,
            Self::Changes => kind.is_change(),
            Self::Everything => true,
        }
    }
}

/// What a line of a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A process starts.
    Start,
    /// A process ends.
    End,
    /// A node is in another state of its life.
    State,
    /// Something breaks.
    Fault,
    /// The ends of a log have moved.
    Log,
    /// A voter says something else of itself.
    Quorum,
    /// Something was lost to what no single replica survives.
    Loss,
    /// What the run came to.
    Verdict,
    /// Something happened to a client.
    Client,
    /// A connection began or ended.
    Connection,
    /// A request came in.
    Request,
    /// An answer went out.
    Response,
    /// A node asked another.
    Ask,
    /// A node got the answer of another, or that there will be none.
    Answer,
    /// A storage operation went out.
    Storage,
    /// The answer of a disk came in.
    Completion,
}

impl Kind {
    /// Whether a line of this kind tells of a change, not of an input or output.
    const fn is_change(self) -> bool {
        match self {
            Self::Start
            | Self::End
            | Self::State
            | Self::Fault
            | Self::Log
            | Self::Quorum
            | Self::Loss
            | Self::Verdict
            | Self::Client => true,
            Self::Connection
            | Self::Request
            | Self::Response
            | Self::Ask
            | Self::Answer
            | Self::Storage
            | Self::Completion => false,
        }
    }
}

/// One line of a run, for people and for machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Virtual microseconds.
    pub at_us: u64,
    /// What it is about.
    pub kind: Kind,
    /// The node, by its place in the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
    /// What happened.
    pub text: String,
    /// The same in numbers, where there are some.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogEnds>,
}

/// Where a log begins and ends, in the node's belief.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogEnds {
    /// The log's directory.
    pub dir: String,
    /// First offset that readers may have.
    pub log_start: i64,
    /// Below it readers may see.
    pub high_watermark: i64,
    /// Below it everything was written.
    pub written_end: i64,
    /// Below it everything is durable.
    pub flushed_end: i64,
    /// Offset of the next record.
    pub log_end: i64,
}

impl Line {
    /// The line as a person reads it: time, node, what happened.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (seconds, micros) = (self.at_us / 1_000_000, self.at_us % 1_000_000);
        let node = self.node.map_or_else(|| " ".to_owned(), |node| node.to_string());
        let sign = match self.kind {
            Kind::Start | Kind::End => "====",
            Kind::State | Kind::Loss | Kind::Verdict => "   =",
            Kind::Fault => "!!!!",
            Kind::Log | Kind::Quorum => "   ~",
            Kind::Client => "   c",
            Kind::Connection | Kind::Request | Kind::Answer | Kind::Completion => "  ->",
            Kind::Response | Kind::Ask | Kind::Storage => "  <-",
        };
        format!("{seconds:>5}.{micros:06} {node} {sign} {}", self.text)
    }
}

/// The record of one run.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: Hash64,
    events: u64,
    telling: Telling,
    lines: Vec<Line>,
}

impl Trace {
    /// A trace that hashes, and tells so much.
    #[must_use]
    pub fn new(telling: Telling) -> Self {
        Self { hash: Hash64::default(), events: 0, telling, lines: Vec::new() }
    }

    /// Begins an event of kind `kind` at the virtual time `now`; what it consists of is folded into the hash returned.
    pub fn event(&mut self, now: u64, kind: u64) -> &mut Hash64 {
        self.events += 1;
        self.hash.word(now);
        self.hash.word(kind);
        &mut self.hash
    }

    /// Adds a line, if it is told. It costs nothing otherwise.
    pub fn tell(&mut self, at_us: u64, kind: Kind, node: Option<usize>, text: impl FnOnce() -> String) {
        if self.tells(kind) {
            self.lines.push(Line { at_us, kind, node, text: text(), log: None });
        }
    }

    /// Adds a line about the ends of a log.
    pub fn tell_log(&mut self, at_us: u64, node: usize, text: String, log: LogEnds) {
        self.lines.push(Line { at_us, kind: Kind::Log, node: Some(node), text, log: Some(log) });
    }

    /// Whether lines of this kind are told.
    #[must_use]
    pub fn tells(&self, kind: Kind) -> bool {
        self.telling.includes(kind)
    }

    /// The hash of the run so far.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// How many inputs and outputs there were.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The lines that were told.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The lines that were told, without a copy.
    #[must_use]
    pub fn into_lines(self) -> Vec<Line> {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_known_bytes_is_known() {
        // Stored failing plans name the hash of their run: a change of the algorithm must not go unnoticed.
        assert_eq!(hash_of(b""), KNOWN_EMPTY);
        assert_eq!(hash_of(b"orders-0"), KNOWN_WORD);
        assert_eq!(hash_of(b"0/orders-0/00000000000000000000.log"), KNOWN_PATH);
    }

    #[test]
    fn where_one_string_ends_and_the_next_begins_is_part_of_the_hash() {
        let mut one = Hash64::default();
        one.bytes(b"ab");
        one.bytes(b"c");
        let mut other = Hash64::default();
        other.bytes(b"a");
        other.bytes(b"bc");
        assert_ne!(one.finish(), other.finish());
    }

    #[test]
    fn a_line_is_composed_only_if_it_is_told() {
        let mut silent = Trace::new(Telling::Nothing);
        silent.tell(5, Kind::Fault, None, || unreachable!("nobody reads it"));
        let mut changes = Trace::new(Telling::Changes);
        changes.tell(5, Kind::Request, Some(0), || unreachable!("it is no change"));
        changes.tell(1_500_000, Kind::End, Some(1), || "kill".to_owned());
        let lines: Vec<String> = changes.lines().iter().map(Line::to_text).collect();
        assert_eq!(lines, ["    1.500000 1 ==== kill"]);
    }

    const KNOWN_EMPTY: u64 = 0xBC92_614F_CE6F_3116;
    const KNOWN_WORD: u64 = 0x9994_D693_CB69_5E4C;
    const KNOWN_PATH: u64 = 0x0494_5757_6A40_C873;
}
