//! Laying out text for people: wrapped paragraphs, aligned columns, colours.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::model::{Severity, Verdict};

/// How a table may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStyle {
    pub color: bool,
    /// In columns.
    pub width: usize,
}

impl TableStyle {
    /// `text` in `style`, or plain.
    pub fn paint(self, style: Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Writes `text` wrapped, the first line behind `lead`, the others under it.
    pub fn write_wrapped(self, lead: &str, text: &str, to: &mut impl Write) -> io::Result<()> {
        let indent = lead.chars().count();
        let room = self.width.saturating_sub(indent).max(20);
        let mut line = String::new();
        let mut first = true;
        let mut flush = |line: &mut String| -> io::Result<()> {
            if first {
                writeln!(to, "{lead}{line}")?;
            } else {
                writeln!(to, "{:indent$}{line}", "")?;
            }
            first = false;
            line.clear();
            Ok(())
        };
        for word in text.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
                flush(&mut line)?;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        flush(&mut line)
    }
}

/// A cell: text and how it is painted.
pub type Cell = (String, Style);

/// Columns of text aligned to the left, two spaces between them; cells that find no room are wrapped.
#[derive(Clone, Debug)]
pub struct Columns {
    rows: Vec<Vec<Cell>>,
}

impl Columns {
    pub fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|name| ((*name).to_owned(), DIM)).collect()] }
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Writes the rows indented by two, no wider than the style allows if that can be helped.
    pub fn write(&self, style: TableStyle, to: &mut impl Write) -> io::Result<()> {
        let widths = self.widths(style.width.saturating_sub(2));
        for row in &self.rows {
            let cells: Vec<Vec<String>> =
                row.iter().zip(&widths).map(|((text, _), width)| wrapped(text, *width)).collect();
            let height = cells.iter().map(Vec::len).max().unwrap_or(0);
            for line in 0..height {
                let mut written = String::from(" ");
                let mut pending = 1;
                for (column, width) in widths.iter().enumerate() {
                    let text = cells.get(column).and_then(|cell| cell.get(line)).map_or("", String::as_str);
                    if !text.is_empty() {
                        written.push_str(&" ".repeat(pending));
                        written.push_str(&style.paint(row[column].1, text));
                        pending = 0;
                    }
                    pending += width - text.chars().count().min(*width) + 2;
                }
                writeln!(to, "{written}")?;
            }
        }
        Ok(())
    }

    /// As wide as the widest cell; while that is too much, the widest column shrinks.
    fn widths(&self, room: usize) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text.chars().count()).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..columns).map(widest).collect();
        while widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1) > room {
            match widths.iter_mut().max() {
                Some(width) if *width > 12 => *width -= 1,
                _ => break,
            }
        }
        widths
    }
}

/// `text` in lines of at most `width`: broken at spaces, words that are longer anywhere.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if used > 0 {
            if let Some(line) = lines.last_mut() {
                line.push(' ');
            }
            used += 1;
        }
        for character in word.chars() {
            if used == width {
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                line.push(character);
            }
            used += 1;
        }
    }
    lines
}

/// Not painted.
pub const PLAIN: Style = Style::new();
pub const BOLD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();

/// The colour of a severity.
pub const fn severity_style(severity: Severity) -> Style {
    match severity {
        Severity::Critical => AnsiColor::Red.on_default().bold(),
        Severity::High => AnsiColor::Red.on_default(),
        Severity::Medium => AnsiColor::Yellow.on_default(),
        Severity::Low => AnsiColor::Cyan.on_default(),
        Severity::Info => DIM,
    }
}

/// The colour of a verdict.
pub const fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::AnswersEverything
        | Verdict::LeakedLocal
        | Verdict::FirewallBypass
        | Verdict::Contradiction
        | Verdict::Unreported => AnsiColor::Red.on_default().bold(),
        Verdict::Exposed => AnsiColor::Yellow.on_default(),
        Verdict::Undetermined => AnsiColor::Magenta.on_default(),
        Verdict::Guarded | Verdict::GuardedElsewhere | Verdict::LocalOnly | Verdict::Closed => {
            AnsiColor::Green.on_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_under_its_lead() {
        let style = TableStyle { color: false, width: 30 };
        let mut written = Vec::new();
        style.write_wrapped("  - ", "one two three four five six seven", &mut written).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), "  - one two three four five\n    six seven\n");
    }

    #[test]
    fn columns_shrink_and_wrap() {
        let mut columns = Columns::new(&["PORT", "OWNER"]);
        columns.row(vec![("22/tcp".to_owned(), PLAIN), ("sshd of a very long unit name".to_owned(), PLAIN)]);
        columns.row(vec![("80/tcp".to_owned(), PLAIN), (String::new(), PLAIN)]);
        let mut written = Vec::new();
        columns.write(TableStyle { color: false, width: 30 }, &mut written).unwrap();
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text, "  PORT    OWNER\n  22/tcp  sshd of a very long\n          unit name\n  80/tcp\n");
    }

    #[test]
    fn colours_only_when_asked() {
        let plain = TableStyle { color: false, width: 80 };
        assert_eq!(plain.paint(BOLD, "x"), "x");
        assert!(TableStyle { color: true, ..plain }.paint(BOLD, "x").contains("\u{1b}["));
    }
}
