//! Randomness as a value: seeded by the shell, a field of the node, never ambient.

use sordini_protocol::wire::Uuid;

/// `SplitMix64` (Steele, Lea and Flood, 2014): one word of state, every seed good. It spreads jitter and makes ids
/// unique; nothing here needs it to be unpredictable.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator whose whole future follows from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the upper half of a product of two words is a word")
    }

    /// An index into something with `len` elements, which is not empty.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("what is below a length is one")
    }

    /// A version 4 UUID that Kafka accepts as an id: not reserved (0..100) and, as Kafka's own generator does, not
    /// beginning with a dash in its text form, so that command lines do not take it for a flag.
    pub fn uuid(&mut self) -> Uuid {
        loop {
            let mut bytes = [0_u8; 16];
            bytes[..8].copy_from_slice(&self.next_u64().to_be_bytes());
            bytes[8..].copy_from_slice(&self.next_u64().to_be_bytes());
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            // The first character of the text form is made of the first six bits; 62 is the dash.
            if bytes[0] >> 2 != 62 {
                return Uuid(bytes);
            }
        }
    }
}
