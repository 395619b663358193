//! The TCP options of an answer: evidence of what stack, or what box, gave it. Pure.

use std::fmt;

/// Options of a TCP header, in their order (RFC 9293 section 3.2). What comes after malformed bytes is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpOptions {
    kinds: [u8; KEPT],
    count: u8,
    mss: u16,
    window_scale: u8,
}

/// Options that are kept; stacks send five or six.
const KEPT: usize = 10;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const TIMESTAMPS: u8 = 8;
const FAST_OPEN: u8 = 34;

impl TcpOptions {
    /// Reads the bytes between the fixed header and the data.
    pub fn parse(mut bytes: &[u8]) -> Self {
        let mut options = Self::default();
        while let [kind, rest @ ..] = bytes {
            if *kind == END || usize::from(options.count) == KEPT {
                break;
            }
            if *kind == NO_OPERATION {
                options.push(*kind);
                bytes = rest;
                continue;
            }
            // The length counts kind and itself: below 2 it would never end.
            let Some(length) = rest.first().map(|length| usize::from(*length)).filter(|length| *length >= 2) else {
                break;
            };
            let Some(value) = bytes.get(2..length) else { break };
            options.push(*kind);
            match (*kind, value) {
                (MAXIMUM_SEGMENT_SIZE, &[high, low]) => options.mss = u16::from_be_bytes([high, low]),
                (WINDOW_SCALE, &[shift]) => options.window_scale = shift,
                _ => {}
            }
            bytes = &bytes[length..];
        }
        options
    }

    fn push(&mut self, kind: u8) {
        self.kinds[usize::from(self.count)] = kind;
        self.count += 1;
    }

    fn kinds(&self) -> &[u8] {
        &self.kinds[..usize::from(self.count)]
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn mss(&self) -> Option<u16> {
        self.kinds().contains(&MAXIMUM_SEGMENT_SIZE).then_some(self.mss)
    }

    pub fn window_scale(&self) -> Option<u8> {
        self.kinds().contains(&WINDOW_SCALE).then_some(self.window_scale)
    }
}

/// Prints as `mss 1460,sack,ts,nop,ws 7`.
impl fmt::Display for TcpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, kind) in self.kinds().iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            match *kind {
                NO_OPERATION => f.write_str("nop")?,
                MAXIMUM_SEGMENT_SIZE => write!(f, "mss {}", self.mss)?,
                WINDOW_SCALE => write!(f, "ws {}", self.window_scale)?,
                SACK_PERMITTED => f.write_str("sack")?,
                TIMESTAMPS => f.write_str("ts")?,
                FAST_OPEN => f.write_str("tfo")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_stacks_send() {
        // Windows 10, as tcpdump prints it: mss 1460, nop, wscale 8, nop, nop, sackOK.
        let options = TcpOptions::parse(&[2, 4, 0x05, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2]);
        assert_eq!(options.to_string(), "mss 1460,nop,ws 8,nop,nop,sack");
        assert_eq!((options.mss(), options.window_scale()), (Some(1460), Some(8)));
        assert!(TcpOptions::parse(&[]).is_empty() && TcpOptions::parse(&[0, 2, 4, 5, 0xb4]).is_empty());
    }

    #[test]
    fn stops_at_malformed_lengths() {
        for bytes in [&[2, 0, 5, 0xb4][..], &[2, 1], &[2], &[2, 5, 5, 0xb4], &[8, 255]] {
            assert!(TcpOptions::parse(bytes).is_empty(), "{bytes:?}");
        }
        assert_eq!(TcpOptions::parse(&[4, 2, 3, 0]).to_string(), "sack");
        assert_eq!(TcpOptions::parse(&[1; 40]).kinds().len(), KEPT);
        // An option of the right kind and the wrong length has no value.
        assert_eq!(TcpOptions::parse(&[2, 3, 9]).mss(), Some(0));
    }
}
