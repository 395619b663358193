//! Lines of protocols in which the server speaks first.

use super::Framing;

/// A line and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Without its line end.
    pub content: &'a [u8],
    /// Bytes up to and with the line end.
    pub length: usize,
}

/// First line of `received` that ends in LF or CR LF, `Err` when it is not whole yet or longer than `limit`.
pub fn line(received: &[u8], limit: usize) -> Result<Line<'_>, Framing> {
    match received.iter().take(limit).position(|byte| *byte == b'\n') {
        Some(end) => {
            let content = received.get(..end).unwrap_or_default();
            Ok(Line { content: content.strip_suffix(b"\r").unwrap_or(content), length: end + 1 })
        }
        None if received.len() >= limit => Err(Framing::Malformed("line too long")),
        None => Err(Framing::NeedMore),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_lf_or_crlf() {
        assert_eq!(line(b"220 ready\r\nrest", 64), Ok(Line { content: b"220 ready", length: 11 }));
        assert_eq!(line(b"\n", 64), Ok(Line { content: b"", length: 1 }));
        assert_eq!(line(b"a\rb\n", 64), Ok(Line { content: b"a\rb", length: 4 }));
    }

    #[test]
    fn lines_without_end_are_bounded() {
        assert_eq!(line(b"220 rea", 64), Err(Framing::NeedMore));
        assert_eq!(line(b"", 64), Err(Framing::NeedMore));
        assert_eq!(line(&[b'x'; 64], 64), Err(Framing::Malformed("line too long")));
    }
}
