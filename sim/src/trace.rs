//! Everything that goes into the node and comes out of it, folded into 64 bits, and written down when asked.
//!
//! The hash is what determinism is judged by: two runs of one plan that differ in any input or output, or in the order
//! or the virtual time of any, differ in it. It is always on. Its algorithm stands here, because the standard library's
//! hasher may change with the compiler.

use std::fmt::{self, Write as _};

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

/// The record of one run.
#[derive(Debug)]
pub struct Trace {
    hash: Hash64,
    events: u64,
    transcript: Option<String>,
    /// The hash after each event, kept when two runs are to be compared event by event.
    steps: Option<Vec<u64>>,
}

impl Trace {
    /// A trace that only hashes, or one that writes a transcript too.
    #[must_use]
    pub fn new(transcript: bool) -> Self {
        Self { hash: Hash64::default(), events: 0, transcript: transcript.then(String::new), steps: None }
    }

    /// Keeps the hash after every event as well.
    pub fn keep_steps(&mut self) {
        self.steps.get_or_insert_default();
    }

    /// Begins an event of kind `kind` at the virtual time `now`; what it consists of is folded into the hash returned.
    pub fn event(&mut self, now: u64, kind: u64) -> &mut Hash64 {
        if let Some(steps) = &mut self.steps {
            steps.push(self.hash.finish());
        }
        self.events += 1;
        self.hash.word(now);
        self.hash.word(kind);
        &mut self.hash
    }

    /// Adds a line to the transcript, if one is written. The line costs nothing otherwise.
    pub fn line(&mut self, now: u64, line: impl FnOnce() -> String) {
        if let Some(transcript) = &mut self.transcript {
            let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
            writeln!(transcript, "{seconds:>5}.{micros:06} {}", line()).expect("a string takes any text");
        }
    }

    /// Whether a transcript is written.
    #[must_use]
    pub const fn is_written(&self) -> bool {
        self.transcript.is_some()
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

    /// The transcript, empty when none was asked for.
    #[must_use]
    pub fn transcript(&self) -> &str {
        self.transcript.as_deref().unwrap_or_default()
    }

    /// The hash before every event, empty when not kept.
    #[must_use]
    pub fn steps(&self) -> &[u64] {
        self.steps.as_deref().unwrap_or_default()
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
    fn a_line_is_composed_only_for_a_transcript() {
        let mut silent = Trace::new(false);
        silent.line(5, || unreachable!("nobody reads it"));
        assert_eq!(silent.transcript(), "");
        let mut written = Trace::new(true);
        written.line(1_500_000, || "kill".to_owned());
        assert_eq!(written.transcript(), "    1.500000 kill\n");
    }

    const KNOWN_EMPTY: u64 = 0xBC92_614F_CE6F_3116;
    const KNOWN_WORD: u64 = 0x9994_D693_CB69_5E4C;
    const KNOWN_PATH: u64 = 0x0494_5757_6A40_C873;
}
