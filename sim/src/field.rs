//! What chance decides while a run is under way: a hash of the seed, the place and the virtual time.
//!
//! There is no stream of random numbers that everything draws from. A question is answered from where and when it is
//! asked, so that leaving one message out of a plan changes that message and what follows from it, not the weather
//! everywhere. That is what lets a failing plan shrink and an archived one survive unrelated changes.

/// A device or link at which chance decides something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Place {
    /// How long an operation on a file takes; the item is the file.
    StorageLatency = 1,
    /// How long a completion takes to reach the node; the item is the file.
    CompletionDelay,
    /// What becomes of an operation that is under way when the process dies; the item is the file, and what the
    /// operation is among those on it.
    InFlight,
    /// What is left of a file's unsynced part after a loss of power; the item is the file.
    PowerLoss,
    /// How long a message from a client to the node takes; the item is the client.
    ToNode,
    /// How long a message from the node to a client takes; the item is the client.
    ToClient,
    /// How long a client waits before it tries again; the item is the client.
    Backoff,
    /// The node's own seed and clock origin; the item is the incarnation.
    Incarnation,
    /// Which bytes rot or a mutation spoils; the item is the file.
    Rot,
    /// Whether a request goes through the real encoder and decoder, and where it is cut; the item is the client.
    RequestCodec,
    /// Whether an answer goes through the real encoder and decoder, and where it is cut; the item is the client.
    ResponseCodec,
    /// What a fault leaves of the operation that it strikes; the item is the file, and the place in it for an append.
    DiskFault,
    /// How long a message from a node to another takes that it asks; the item is the way between the two.
    BetweenNodes,
    /// How long an answer from a node to another takes; the item is the way between the two.
    BackBetweenNodes,
    /// Whether a request between nodes goes through the real encoder and decoder; the item is the way between the two.
    NodeRequestCodec,
    /// Whether an answer between nodes goes through the real encoder and decoder; the item is the way between the two.
    NodeResponseCodec,
}

/// The answers to all questions of one run.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    seed: u64,
}

impl Field {
    /// The field of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The field around one node: what its disk asks is answered otherwise than what that of another asks.
    #[must_use]
    pub const fn of_node(self, node: usize) -> Self {
        Self { seed: mix(self.seed ^ mix(node as u64)) }
    }

    /// 64 bits for the question asked at `place` about `item` at the virtual time `now`.
    #[must_use]
    pub const fn word(self, place: Place, item: u64, now: u64) -> u64 {
        let word = mix(self.seed ^ 0x9E37_79B9_7F4A_7C15);
        let word = mix(word ^ (place as u64));
        let word = mix(word ^ item);
        mix(word ^ now)
    }

    /// A number from `low` to `high`, both included.
    #[must_use]
    pub fn between(self, place: Place, item: u64, now: u64, low: u64, high: u64) -> u64 {
        Answer(self.word(place, item, now)).between(low, high)
    }
}

/// One answer of the field, to be unfolded into as many decisions as the question needs.
#[derive(Clone, Copy, Debug)]
pub struct Answer(
    /// The bits not yet used up.
    pub u64,
);

impl Answer {
    /// The next 64 bits.
    pub const fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        let wide = u128::from(self.word()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the upper half of a product of two words is a word")
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "the range {low} to {high} is empty");
        low + self.below(high - low + 1)
    }

    /// Whether something that happens `numerator` times in `denominator` happens.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }
}

/// The finaliser of `SplitMix64`: every bit of the input reaches every bit of the output.
#[must_use]
pub const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_one_answer_and_other_questions_have_others() {
        let field = Field::new(7);
        let asked = field.word(Place::ToNode, 3, 1_000);
        assert_eq!(asked, Field::new(7).word(Place::ToNode, 3, 1_000));
        assert_ne!(asked, Field::new(8).word(Place::ToNode, 3, 1_000));
        assert_ne!(asked, field.word(Place::ToClient, 3, 1_000));
        assert_ne!(asked, field.word(Place::ToNode, 4, 1_000));
        assert_ne!(asked, field.word(Place::ToNode, 3, 1_001));
    }

    #[test]
    fn a_number_stays_in_its_range_and_reaches_both_ends() {
        let mut answer = Answer(1);
        let mut seen = [false; 4];
        for _ in 0..200 {
            seen[usize::try_from(answer.between(3, 6)).unwrap() - 3] = true;
        }
        assert_eq!(seen, [true; 4]);
    }

    #[test]
    fn a_chance_of_one_in_four_is_about_that() {
        let mut answer = Answer(99);
        let hits = (0..10_000).filter(|_| answer.chance(1, 4)).count();
        assert!((2_300..2_700).contains(&hits), "{hits} of 10000");
    }
}
