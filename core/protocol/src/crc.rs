//! CRC-32C (Castagnoli), the checksum of record batches, producer snapshots and telemetry subscriptions.

/// The polynomial with its bits reversed, as the checksum processes bits least significant first.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// The polynomial 1 in the reversed notation.
const ONE: u32 = 1 << 31;

/// The CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_append(0, bytes)
}

/// The CRC-32C of some bytes followed by `bytes`, where `crc` is the checksum of the former.
#[cfg(feature = "std")]
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

/// The CRC-32C of some bytes followed by `bytes`, where `crc` is the checksum of the former.
#[cfg(not(feature = "std"))]
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    static TABLES: crc::Crc<u32, crc::Table<16>> = crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISCSI);
    // The crate takes the initial register before its bits are reversed; ours are the register after the final
    // inversion.
    let mut digest = TABLES.digest_with_initial((!crc).reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// The checksum of a text whose first part was replaced by one of the same length.
///
/// `crc` is the checksum of the whole, `before` and `after` are those of the old and the new first part, and `rest_len` is
/// the number of bytes behind it. A CRC is linear over the bits, so the bytes behind need not be read again: this is
/// what lets a leader stamp its append time on a batch of a megabyte in a microsecond.
#[must_use]
pub fn crc32c_replace_prefix(crc: u32, before: u32, after: u32, rest_len: usize) -> u32 {
    crc ^ shift(before ^ after, rest_len)
}

/// Multiplies a checksum by x to the power of eight times `len`: the effect of `len` zero bytes behind it.
fn shift(crc: u32, mut len: usize) -> u32 {
    let mut factor = ONE;
    let mut power = ONE >> 8;
    while len > 0 {
        if len & 1 == 1 {
            factor = multiply(power, factor);
        }
        power = multiply(power, power);
        len >>= 1;
    }
    multiply(factor, crc)
}

/// The product of two polynomials modulo [`POLYNOMIAL`].
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = ONE;
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        bit >>= 1;
        b = if b & 1 == 1 { (b >> 1) ^ POLYNOMIAL } else { b >> 1 };
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value_of_the_castagnoli_polynomial() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(b""), 0);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
    }

    #[test]
    fn appending_is_the_checksum_of_the_whole() {
        let text = b"office walls made of columns of files";
        for at in 0..=text.len() {
            assert_eq!(crc32c_append(crc32c(&text[..at]), &text[at..]), crc32c(text));
        }
    }

    #[test]
    fn replacing_a_prefix_equals_reading_everything_again() {
        let mut text = [7; 4096];
        for at in [0, 1, 8, 40, 4095, 4096] {
            let whole = crc32c(&text);
            let before = crc32c(&text[..at]);
            text[..at].fill(at.to_le_bytes()[0] ^ 0x5A);
            let after = crc32c(&text[..at]);
            assert_eq!(crc32c_replace_prefix(whole, before, after, text.len() - at), crc32c(&text));
        }
    }
}
