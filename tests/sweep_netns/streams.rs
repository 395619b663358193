//! Where notes and results cannot be written.

use std::fs::OpenOptions;
use std::process::Stdio;

use crate::lab::Lab;

/// Notes on stderr are a help, not the work: a run does its work without them.
#[test]
fn a_run_outlives_its_stderr() {
    let Some(lab) = Lab::new("streams") else { return };
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    for stderr in [Stdio::from(closed), Stdio::from(full)] {
        let output = lab.postern(&["scan", "198.18.0.2", "-p", "100", "-vv"]).stderr(stderr).output().unwrap();
        let table = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{table}");
        assert!(table.contains("1 tcp closed (refused): 100"), "{table}");
    }
}

#[test]
fn a_reader_that_goes_away_changes_no_exit_code() {
    let Some(lab) = Lab::new("reader") else { return };
    for format in ["table", "json", "ndjson"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = lab.postern(&["scan", "198.18.0.2", "-p", "100", "-q", "-o", format]);
        let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*errors), (Some(0), ""), "{format}");
    }
}
