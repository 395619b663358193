//! Driver: runs a tool of the firewall in the calling thread's network namespace (a child inherits it), bounded in time
//! and output, with a clean environment.
#![expect(clippy::disallowed_methods, reason = "runs processes, looks at the clock")]

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Why a tool printed nothing of use.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("`{0}` is not installed")]
    Missing(&'static str),
    #[error("`{0}` was not done within {1:?}")]
    TimedOut(&'static str, Duration),
    #[error("`{0}` printed more than {1} bytes")]
    TooLong(&'static str, usize),
    #[error("`{0}` failed: {1}")]
    Failed(&'static str, String),
}

/// Runs the first of `candidates` (program and leading arguments) that is installed. What it printed, at most `OUTPUT`.
pub fn run(candidates: &[(&'static str, &[&str])], arguments: &[&str], deadline: Instant) -> Result<String, ToolError> {
    let found = candidates.iter().find_map(|(name, leading)| Some((*name, *leading, find(name)?)));
    let Some((name, leading, path)) = found else {
        return Err(ToolError::Missing(candidates.first().map_or("", |(name, _)| *name)));
    };
    let started = Instant::now();
    let child = Command::new(path)
        .args(leading)
        .args(arguments)
        .env_clear()
        .env("PATH", FOLDERS.join(":"))
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| ToolError::Failed(name, error.to_string()))?;
    let output = read(name, &mut child, started, deadline);
    if output.is_err() {
        let _ = child.kill();
    }
    match (output, end(&mut child)) {
        (Err(error), _) => Err(error),
        (Ok((output, _)), Some(true)) => Ok(output),
        (Ok((_, complaint)), _) => {
            let line = complaint.lines().next().unwrap_or("no reason given");
            Err(ToolError::Failed(name, line.chars().take(COMPLAINT).collect()))
        }
    }
}

/// Both streams to their ends.
fn read(
    name: &'static str,
    child: &mut Child,
    started: Instant,
    deadline: Instant,
) -> Result<(String, String), ToolError> {
    let failed = |error: io::Error| ToolError::Failed(name, error.to_string());
    let (Some(mut output), Some(mut complaint)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(ToolError::Failed(name, "no pipes".to_owned()));
    };
    let (mut printed, mut complained) = (Vec::new(), Vec::new());
    let (mut open, mut open_complaint) = (true, true);
    let mut buffer = vec![0; BUFFER];
    while open || open_complaint {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ToolError::TimedOut(name, started.elapsed()));
        }
        let wait = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let (ready, ready_complaint) = {
            let mut descriptors = Vec::with_capacity(2);
            if open {
                descriptors.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN));
            }
            if open_complaint {
                descriptors.push(PollFd::from_borrowed_fd(complaint.as_fd(), PollFlags::IN));
            }
            match poll(&mut descriptors, Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
            let mut events = descriptors.iter().map(|descriptor| !descriptor.revents().is_empty());
            (open && events.next() == Some(true), open_complaint && events.next() == Some(true))
        };
        if ready {
            let length = output.read(&mut buffer).map_err(failed)?;
            open = length > 0;
            printed.extend(&buffer[..length]);
            if printed.len() > OUTPUT {
                return Err(ToolError::TooLong(name, OUTPUT));
            }
        }
        if ready_complaint {
            let length = complaint.read(&mut buffer).map_err(failed)?;
            open_complaint = length > 0;
            let room = BUFFER.saturating_sub(complained.len());
            complained.extend(&buffer[..length.min(room)]);
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((text(printed), text(complained)))
}

/// Waits for a child that has closed its pipes or was killed; `None` when it hangs in the kernel even so.
fn end(child: &mut Child) -> Option<bool> {
    let from = Instant::now();
    while from.elapsed() < GRACE {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return None,
        }
    }
    let _ = child.kill();
    None
}

fn find(name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// In this order; never the caller's PATH, which an ordinary user of sudo may have set.
const FOLDERS: [&str; 6] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
const OUTPUT: usize = 64 << 20;
const BUFFER: usize = 64 << 10;
const COMPLAINT: usize = 200;
const GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(300)
    }

    #[test]
    fn what_a_tool_prints_and_why_it_failed() {
        assert_eq!(run(&[("echo", &["a"])], &["b"], soon()).unwrap(), "a b\n");
        let error = run(&[("sh", &["-c"])], &["echo no way >&2; exit 4"], soon()).unwrap_err();
        assert_eq!(error.to_string(), "`sh` failed: no way");
        let error = run(&[("no-such-tool", &[]), ("neither", &[])], &[], soon()).unwrap_err();
        assert_eq!(error.to_string(), "`no-such-tool` is not installed");
        assert_eq!(run(&[("no-such-tool", &[]), ("echo", &[])], &[], soon()).unwrap(), "\n");
    }

    #[test]
    fn one_that_hangs_is_ended_in_time() {
        let from = Instant::now();
        let error = run(&[("sleep", &[])], &["30"], soon()).unwrap_err();
        assert!(matches!(error, ToolError::TimedOut("sleep", _)), "{error}");
        assert!(from.elapsed() < Duration::from_secs(5), "{:?}", from.elapsed());
    }

    #[test]
    fn the_environment_is_clean() {
        let text = run(&[("env", &[])], &[], soon()).unwrap();
        let names: Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(names.iter().all(|name| ["LC_ALL", "PATH", "PWD", "SHLVL", "_"].contains(name)), "{text}");
    }
}
