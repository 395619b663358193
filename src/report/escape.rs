//! Text from peers made harmless: control characters, direction marks and invisible characters are spelled out.

use std::io::{self, Write};

/// `text` with everything that could drive a terminal or mislead a reader as `\u{…}`, cut after `limit` characters with
/// an ellipsis.
pub fn text(text: &str, limit: usize) -> String {
    let mut escaped = String::with_capacity(text.len().min(limit * 4));
    for (position, character) in text.chars().enumerate() {
        if position == limit {
            escaped.push('…');
            break;
        }
        if is_harmless(character) {
            escaped.push(character);
        } else {
            escaped.extend(character.escape_unicode());
        }
    }
    escaped
}

/// JSON with every character that could drive a terminal as a `\u` escape, which JSON readers take for the same (RFC 8259
/// section 7). Such characters stand inside strings only: JSON's own white space is left.
pub fn json(json: &str) -> String {
    let mut escaped = Vec::with_capacity(json.len());
    JsonWriter(&mut escaped).write_all(json.as_bytes()).expect("memory takes everything");
    String::from_utf8(escaped).expect("characters and ASCII")
}

/// Does what [`json`] does to JSON that is written through it, whole characters at a time: as long as a report may be, it
/// is not there as text.
#[derive(Debug)]
pub struct JsonWriter<W>(pub W);

impl<W: Write> Write for JsonWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let json = std::str::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let mut units = [0_u16; 2];
        let mut left = json;
        while let Some((at, character)) = left.char_indices().find(|(_, one)| *one != '\n' && !is_harmless(*one)) {
            self.0.write_all(&left.as_bytes()[..at])?;
            for unit in character.encode_utf16(&mut units) {
                write!(self.0, "\\u{unit:04x}")?;
            }
            left = &left[at + character.len_utf8()..];
        }
        self.0.write_all(left.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Neither a control (C0, DEL, C1) nor a direction mark (Unicode Bidirectional Algorithm, UAX 9) nor invisible.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_are_spelled_out() {
        assert_eq!(text("\u{1b}[31mred\u{9b}0m\r\n", 80), "\\u{1b}[31mred\\u{9b}0m\\u{d}\\u{a}");
        assert_eq!(text("evil\u{202e}txt.exe", 80), "evil\\u{202e}txt.exe");
        assert_eq!(text("Büro 東京", 80), "Büro 東京");
        assert_eq!(text("abcdef", 3), "abc…");
    }

    proptest::proptest! {
        #[test]
        fn json_stays_the_same_document(value in "\\PC*|[\u{0}-\u{ff}]*|.*") {
            let document = serde_json::to_string_pretty(&serde_json::json!({ "a": value, "b": [value] })).unwrap();
            let escaped = json(&document);
            proptest::prop_assert!(escaped.chars().all(|c| c == '\n' || is_harmless(c)));
            let back: serde_json::Value = serde_json::from_str(&escaped).unwrap();
            proptest::prop_assert_eq!(back, serde_json::from_str::<serde_json::Value>(&document).unwrap());
        }

        #[test]
        fn text_is_harmless(value in ".*|[\u{0}-\u{2fff}]*") {
            proptest::prop_assert!(text(&value, 200).chars().all(is_harmless));
        }
    }
}
