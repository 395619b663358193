//! What is said to the remote machine. Pure.

/// The command that ssh is given: it reads a script of `length` bytes from its input and runs it, with the rest of the
/// input left to the script.
///
/// The log-in shell of the user reads it, which may be any: nothing in it depends on more than single quotes, and those
/// hold no quote, backslash, newline or exclamation mark. `dd` with blocks of one byte, since everything else may read
/// further than it is asked to.
pub fn command(length: usize) -> String {
    format!("exec sh -c '{READ_AND_RUN}' postern {length}")
}

/// The script itself, for one session with its own mark.
pub fn text(mark: &str) -> String {
    format!("MARK={mark}\n{SCRIPT}")
}

/// Orders to the script, one a line.
pub const RUN: &[u8] = b"run\n";
pub const PLAIN: &[u8] = b"plain\n";

/// After this line the script takes `size` bytes, and then the end of its input.
pub fn copy(size: u64) -> Vec<u8> {
    format!("copy {size}\n").into_bytes()
}

/// The same, to look from there.
pub fn copy_to_look(size: u64) -> Vec<u8> {
    format!("look-copied {size}\n").into_bytes()
}

/// What to look at: one line of JSON, kept for the orders to look.
pub fn job(text: &str) -> Vec<u8> {
    format!("job {}\n{text}", text.len()).into_bytes()
}

pub const LOOK_ORDER: &[u8] = b"look\n";

/// Names of frames.
pub const PROBE: &str = "probe";
pub const REPORT: &str = "report";
pub const REPORT_AS_ROOT: &str = "report-as-root";
pub const COPIED: &str = "copy";
pub const LOOK: &str = "look";
/// Every order ends with it.
pub const DONE: &str = "done";

const READ_AND_RUN: &str = r#"eval "$(dd bs=1 count=$1 2>/dev/null)""#;
const SCRIPT: &str = include_str!("script.sh");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_log_in_shell_reads_the_command_alike() {
        let command = command(4096);
        let quoted: Vec<&str> = command.split('\'').collect();
        assert_eq!((quoted.len(), quoted[0], quoted[2]), (3, "exec sh -c ", " postern 4096"));
        assert!(!quoted[1].contains(['\'', '\\', '!', '\n']), "{command}");
    }

    #[test]
    fn the_script_is_plain_ascii_and_begins_with_its_mark() {
        let text = text("00ff");
        assert!(text.starts_with("MARK=00ff\n# "));
        assert!(text.is_ascii() && !text.contains('\0'));
    }
}
