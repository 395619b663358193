//! What was not looked at and what nobody could know, as people read it.

use std::io::{self, Write};

use super::escape;
use super::layout::{BOLD, TableStyle};
use crate::model::report::Gap;

/// Writes the gaps, what makes the work incomplete first; nothing where there are none.
pub fn write(gaps: &[Gap], style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    for (incomplete, title) in [(true, "NOT LOOKED AT"), (false, "COULD NOT KNOW")] {
        let mut gaps = gaps.iter().filter(|gap| gap.incomplete == incomplete).peekable();
        if gaps.peek().is_none() {
            continue;
        }
        writeln!(to, "{}", style.paint(BOLD, title))?;
        for gap in gaps {
            let text = format!(
                "{}: {}; settled by {}",
                escape::text(&gap.what, 200),
                escape::text(&gap.cause, 400),
                escape::text(&gap.settled_by, 200)
            );
            style.write_wrapped("  - ", &text, to)?;
        }
        writeln!(to)?;
    }
    Ok(())
}
