//! Text that a peer sent, made fit to be kept: short, printable, in one line.

/// Characters of a fact that are kept.
const FACT_LIMIT: usize = 200;
/// Characters of a list that are kept.
const LIST_LIMIT: usize = 2000;
/// Bytes of a banner that are kept.
const BANNER_LIMIT: usize = 96;

/// A short fact: control and invisible formatting characters escaped, cut at 200 characters.
pub fn clean(text: &str) -> String {
    escape(text, FACT_LIMIT)
}

/// A fact that may be a list: as [`clean`], cut at 2,000 characters.
pub fn clean_list(text: &str) -> String {
    escape(text, LIST_LIMIT)
}

fn escape(text: &str, limit: usize) -> String {
    let mut kept = String::new();
    for c in text.chars().take(limit) {
        // Bidirectional and zero-width characters reorder or hide what people read.
        let hidden =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() || hidden {
            kept.extend(c.escape_default());
        } else {
            kept.push(c);
        }
    }
    if text.chars().nth(limit).is_some() {
        kept.push('…');
    }
    kept
}

/// First bytes of something unknown, everything but printable ASCII escaped.
pub fn banner(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(BANNER_LIMIT)];
    let mut kept = shown.escape_ascii().to_string();
    if bytes.len() > BANNER_LIMIT {
        kept.push('…');
    }
    kept
}

/// Whether `needle` occurs in `haystack`; the empty needle does.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    find(haystack, needle).is_some()
}

/// Position of the first occurrence.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_terminal_control_and_hidden_characters() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c\n"), "a\\u{1b}[31mb\\u{202e}c\\n");
        assert_eq!(clean(&"x".repeat(300)).chars().count(), FACT_LIMIT + 1);
    }

    #[test]
    fn shows_the_start_of_a_banner() {
        assert_eq!(banner(b"SSH-2.0-x\r\n\xff"), "SSH-2.0-x\\r\\n\\xff");
        assert!(banner(&[b'a'; 500]).len() < 120);
    }

    #[test]
    fn finds() {
        assert_eq!(find(b"abcabc", b"ca"), Some(2));
        assert_eq!(find(b"a", b"abc"), None);
        assert!(contains(b"", b""));
    }
}
