//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624). Pure.

use std::net::IpAddr;

/// A running ones' complement sum of 16-bit words, not yet folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes as big-endian words; an odd last byte counts as the high half of one (RFC 1071 section 4.1).
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let words = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u64::from));
        Self(self.0 + words.sum::<u64>())
    }

    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    #[must_use]
    pub const fn double(self, double: u32) -> Self {
        Self(self.0 + (double >> 16) as u64 + (double & 0xffff) as u64)
    }

    #[must_use]
    pub fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => self.double(v4.to_bits()),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                self.double((bits >> 96) as u32)
                    .double((bits >> 64) as u32)
                    .double((bits >> 32) as u32)
                    .double(bits as u32)
            }
        }
    }

    /// The checksum: the complement of the folded sum. A field that was zero while a sum was taken may be filled in
    /// afterwards by adding its new value to that sum, which is RFC 1624's equation 3 with m = 0.
    pub const fn checksum(self) -> u16 {
        // 2^16 − 1 divides 2^16 − 1, so folding twice brings anything below 2^48 into 17 bits, thrice into 16.
        let mut sum = self.0;
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        // Section 3: the words 0001 f203 f4f5 f6f7 sum up to ddf2.
        let sum = Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.checksum(), !0xddf2);
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_pnet(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 2..200)) {
            proptest::prop_assert_eq!(Sum::default().bytes(&bytes).checksum(), pnet_packet::util::checksum(&bytes, usize::MAX));
        }

        #[test]
        fn a_field_filled_in_later_counts_the_same(rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 20), field: u32) {
            let without = Sum::default().bytes(&rest);
            let whole = [field.to_be_bytes().as_slice(), &rest].concat();
            proptest::prop_assert_eq!(without.double(field).checksum(), Sum::default().bytes(&whole).checksum());
        }
    }
}
