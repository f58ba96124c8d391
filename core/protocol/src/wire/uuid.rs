use core::fmt;
use core::str::FromStr;

/// A topic, directory, incarnation or other id: 16 bytes, ordered as bytes.
///
/// Shown as Kafka shows it: 22 characters of URL-safe base64 without padding.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Uuid(pub [u8; 16]);

/// A text that is not 22 characters of URL-safe base64 naming 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of 22 URL-safe base64 characters")]
pub struct InvalidUuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters of an id's text: 128 bits in sixes, rounded up.
const TEXT_LEN: usize = 22;

impl Uuid {
    /// The id that stands for none.
    pub const ZERO: Self = Self([0; 16]);

    /// The id with these most and least significant halves, big-endian, as Java's constructor takes them.
    pub const fn from_u64s(most: u64, least: u64) -> Self {
        Self((((most as u128) << 64) | least as u128).to_be_bytes())
    }

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl Ord for Uuid {
    /// As one number of 128 bits, which is the order of the bytes without a call to compare memory.
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for Uuid {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The 128 bits count from the top; the last character holds two of them, followed by four zero bits.
        let bits = u128::from_be_bytes(self.0);
        let mut text = [0; TEXT_LEN];
        for (i, character) in text.iter_mut().enumerate() {
            let six =
                if i + 1 == TEXT_LEN { (bits & 0b11) << 4 } else { (bits >> (122 - 6 * i)) & 0b11_1111 };
            *character = ALPHABET[usize::from(six.to_be_bytes()[15])];
        }
        f.pad(core::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        let text = text.as_bytes();
        if text.len() != TEXT_LEN {
            return Err(InvalidUuid);
        }
        let mut bits = 0u128;
        for (i, character) in text.iter().enumerate() {
            let six = ALPHABET.iter().position(|c| c == character).ok_or(InvalidUuid)? as u128;
            if i + 1 < TEXT_LEN {
                bits = (bits << 6) | six;
            } else if six & 0b1111 == 0 {
                bits = (bits << 2) | (six >> 4);
            } else {
                return Err(InvalidUuid);
            }
        }
        Ok(Self(bits.to_be_bytes()))
    }
}
