//! Lines of a listing put together again: terminals and mail programs wrap them.

/// A row, with what was wrapped off it, and where it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// From 1.
    pub line: usize,
    pub text: String,
}

/// The rows of a text, and the lines that belong to none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub rows: Vec<Row>,
    /// Neither row nor blank nor known by `noise`; headers in other languages land here, if before the first row.
    pub strange: Vec<Row>,
}

/// Splits `text`. `starts` knows the beginning of a row, `noise` the lines that say nothing (headers, warnings) and end
/// a row; other lines that are indented or begin like the tail of a row (`tail`) continue the row above.
pub(super) fn rows(text: &str, starts: fn(&str) -> bool, noise: fn(&str) -> bool, tail: fn(&str) -> bool) -> Rows {
    let mut found = Rows::default();
    let mut open = false;
    for (index, raw) in text.lines().enumerate() {
        let raw = raw.trim_end();
        let trimmed = raw.trim_start().trim_start_matches('\u{feff}');
        if trimmed.is_empty() {
            open = false;
        } else if starts(trimmed) {
            found.rows.push(Row { line: index + 1, text: trimmed.to_owned() });
            open = true;
        } else if noise(trimmed) {
            open = false;
        } else if let Some(row) =
            found.rows.last_mut().filter(|_| open && (raw.starts_with([' ', '\t']) || tail(trimmed)))
        {
            row.text.push(' ');
            row.text.push_str(trimmed);
        } else {
            open = false;
            // Before the first row stands the header, in whatever language.
            if !found.rows.is_empty() {
                found.strange.push(Row { line: index + 1, text: trimmed.to_owned() });
            }
        }
    }
    found
}

/// Splits off the first `N` words; what follows the last of them is the rest, trimmed.
pub(super) fn words<const N: usize>(text: &str) -> Option<([&str; N], &str)> {
    let mut rest = text.trim_start();
    let mut words = [""; N];
    for word in &mut words {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        *word = &rest[..end];
        rest = rest[end..].trim_start();
    }
    Some((words, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_what_was_wrapped_and_sets_the_strange_apart() {
        let text = "Kopf\nrow 1\n  tail\n\n  lost\nrow 2\nmore x\njunk\nnoise\n";
        let found = rows(text, |line| line.starts_with("row"), |line| line == "noise", |line| line.starts_with("more"));
        let lines: Vec<_> = found.rows.iter().map(|row| (row.line, row.text.as_str())).collect();
        assert_eq!(lines, [(2, "row 1 tail"), (6, "row 2 more x")]);
        let strange: Vec<_> = found.strange.iter().map(|row| (row.line, row.text.as_str())).collect();
        assert_eq!(strange, [(5, "lost"), (8, "junk")]);
    }

    #[test]
    fn words_need_all_of_them() {
        assert_eq!(words::<2>(" a  b  c d"), Some((["a", "b"], "c d")));
        assert_eq!(words::<3>("a b"), None);
    }
}
