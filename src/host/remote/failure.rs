//! Why there is no report of a machine: what ssh or the machine said, in the operator's words. Pure.

use std::fmt;
use std::time::Duration;

use super::SshDestination;
use crate::host::ReadError;
use crate::model::report::Gap;

/// No report, from where, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no host report of {destination}: {failure}; hint: {}", failure.hint(destination))]
pub struct RemoteError {
    pub destination: SshDestination,
    pub failure: Failure,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no ssh here, or it cannot be started.
    NoSsh(String),
    /// The private directory for ssh's configuration, or a file that was named, could not be used.
    Local(String),
    /// The host key is another one than known_hosts says.
    HostKeyChanged(String),
    HostKeyUnknown(String),
    AuthenticationRefused(String),
    NoSuchName(String),
    Unreachable(String),
    /// ssh does not take its configuration.
    Configuration(String),
    /// Another complaint of ssh.
    Ssh(String),
    /// Logged in, and the script did not run: no sh, a forced command, a restricted account.
    NoShell(String),
    /// No log-in within the time for it.
    NoLogIn(Duration),
    /// The time for the host is up.
    TimedOut(Duration),
    /// It sent more than this many bytes.
    TooMuch(usize),
    /// The connection ended before the report was complete.
    Lost(String),
    Interrupted,
    /// It runs something else than Linux.
    System(String),
    /// A report that this version cannot read.
    Report(Box<ReadError>),
    /// Not even plain commands gave a report.
    NoListing(String),
}

impl Failure {
    /// Reads what ssh left when it ended before the script answered. `code` is ssh's exit code; 255 is its own.
    pub fn of_ssh(code: Option<i32>, complaints: &str) -> Self {
        let lines: Vec<&str> = complaints.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let with = |words: &[&str]| lines.iter().find(|line| words.iter().any(|word| line.contains(word)));
        let last = || lines.last().map_or_else(|| "it said nothing".to_owned(), |line| shown(line));
        if code != Some(255) {
            let ended = code.map_or_else(|| "by a signal".to_owned(), |code| format!("with exit code {code}"));
            let said = lines.last().map(|line| format!(": {}", shown(line))).unwrap_or_default();
            return Self::NoShell(format!("the remote command ended {ended}{said}"));
        }
        if with(&["REMOTE HOST IDENTIFICATION HAS CHANGED"]).is_some() {
            // "Offending ED25519 key in FILE:LINE" and "Host key for NAME has changed and you have requested strict checking."
            let who = with(&["has changed and you have requested"]).map(|line| shown(line));
            return Self::HostKeyChanged(who.unwrap_or_else(last));
        }
        let table: [(&[&str], Make); 6] = [
            (&["host key is known for", "Host key verification failed"], Self::HostKeyUnknown),
            (&["Permission denied (", "Too many authentication failures"], Self::AuthenticationRefused),
            (&["Could not resolve hostname", "Name or service not known"], Self::NoSuchName),
            (
                &[
                    "Bad configuration option",
                    "Bad owner or permissions on",
                    "terminating,",
                    "Can't open user config",
                    "no argument after keyword",
                    "missing argument",
                ],
                Self::Configuration,
            ),
            (
                &[
                    "Connection refused",
                    "No route to host",
                    "Network is unreachable",
                    "Connection timed out",
                    "Connection reset",
                    "Operation timed out",
                    "not responding",
                ],
                Self::Unreachable,
            ),
            (&["banner exchange"], Self::Unreachable),
        ];
        for (words, make) in table {
            if let Some(line) = with(words) {
                return make(shown(line));
            }
        }
        Self::Ssh(last())
    }

    /// What to do about it.
    pub fn hint(&self, destination: &SshDestination) -> String {
        let host = destination.host();
        // How known_hosts names a port that is not ssh's own.
        let known_as = destination.port().map_or_else(|| host.to_owned(), |port| format!("'[{host}]:{port}'"));
        let by_hand = by_hand(destination);
        match self {
            Self::NoSsh(_) => "install the OpenSSH client (package openssh-client)".to_owned(),
            Self::Local(_) => "is it a file that you may read, and is there room in $TMPDIR?".to_owned(),
            Self::HostKeyChanged(_) => format!(
                "ask who changed it; compare `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there, and only then \
                 `ssh-keygen -R {known_as}` here"
            ),
            Self::HostKeyUnknown(_) => {
                format!("`{by_hand}` once by hand, and compare the fingerprint that it shows with the machine's own")
            }
            Self::AuthenticationRefused(_) => {
                format!(
                    "`{by_hand} true` must work without a question: a key in the agent, or IdentityFile in ssh's configuration"
                )
            }
            Self::NoSuchName(_) => {
                "is the name spelled right, and does the resolver or ssh's configuration know it?".to_owned()
            }
            Self::Unreachable(_) | Self::NoLogIn(_) | Self::Ssh(_) => format!("does `{by_hand} true` work from here?"),
            Self::Configuration(_) => format!("`ssh -G {host}` names what ssh makes of its configuration"),
            Self::NoShell(_) => {
                format!("`{by_hand} sh -c true` must work; else give a file: run `postern host -o json` there")
            }
            Self::TimedOut(_) => {
                "give it longer with --ssh-timeout, or take the report there: `postern host -o json`".to_owned()
            }
            Self::TooMuch(_) | Self::System(_) => {
                "take the report there, or a listing: `postern host -o json`, `ss -tulpn`, `netstat -an`".to_owned()
            }
            Self::Lost(_) => "run it again; `postern correlate` can join what was found with a later report".to_owned(),
            Self::Interrupted => "run it again".to_owned(),
            Self::Report(error) if matches!(**error, ReadError::Newer { .. }) => {
                "use the version that runs there on this machine, too".to_owned()
            }
            Self::Report(_) => format!("what does `{by_hand} postern host -o json` print?"),
            Self::NoListing(_) => "install iproute2 (ss) there, or postern, or give --static-binary FILE".to_owned(),
        }
    }
}

type Make = fn(String) -> Failure;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSsh(why) => write!(f, "`ssh` could not be started: {why}"),
            Self::Local(why) => write!(f, "{why}"),
            Self::HostKeyChanged(why) => write!(f, "its host key is not the one that is known: {why}"),
            Self::HostKeyUnknown(why) => write!(f, "its host key is not known here: {why}"),
            Self::AuthenticationRefused(why) => write!(f, "it lets us not in: {why}"),
            Self::NoSuchName(why) | Self::Configuration(why) | Self::Ssh(why) => write!(f, "{why}"),
            Self::Unreachable(why) => write!(f, "it cannot be reached: {why}"),
            Self::NoShell(why) => write!(f, "no script can be run there: {why}"),
            Self::NoLogIn(limit) => write!(f, "no log-in within {} s", limit.as_secs_f32()),
            Self::TimedOut(limit) => write!(f, "not done within {} s", limit.as_secs_f32()),
            Self::TooMuch(limit) => write!(f, "it sent more than {} MB", limit >> 20),
            Self::Lost(why) => write!(f, "the connection ended before the report was complete: {why}"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::System(system) => write!(f, "it runs `{}`, not Linux", shown(system)),
            Self::Report(error) => {
                // The hint of a file would be beside the point.
                let text = error.to_string();
                f.write_str(text.split("; hint: ").next().unwrap_or(&text))
            }
            Self::NoListing(why) => write!(f, "plain commands gave no list of sockets: {why}"),
        }
    }
}

impl RemoteError {
    /// As a gap of the run: it is incomplete by it, and everything else goes on.
    pub fn gap(&self) -> Gap {
        Gap {
            what: format!("the host report of {}", self.destination),
            cause: self.failure.to_string(),
            settled_by: self.failure.hint(&self.destination),
            incomplete: true,
        }
    }
}

/// The command that an operator would type.
fn by_hand(destination: &SshDestination) -> String {
    let port = destination.port().map(|port| format!("-p {port} ")).unwrap_or_default();
    let user = destination.user().map(|user| format!("{user}@")).unwrap_or_default();
    format!("ssh {port}{user}{}", destination.host())
}

/// One line of what others wrote: cut, and nothing in it drives a terminal.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text
        .trim()
        .chars()
        .take(SHOWN)
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    if text.trim().chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

const SHOWN: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    /// As OpenSSH 9.2 prints them.
    const CHANGED: &str = "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r\n\
        @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n\
        @@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r\n\
        IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r\n\
        Offending ED25519 key in /home/ops/.ssh/known_hosts:3\r\n\
        Host key for 198.18.0.2 has changed and you have requested strict checking.\r\n\
        Host key verification failed.\r\n";

    #[test]
    fn complaints_of_ssh() {
        let gap = |complaints: &str| {
            let failure = Failure::of_ssh(Some(255), complaints);
            RemoteError { destination: "ssh://ops@web:2222".parse().unwrap(), failure }.to_string()
        };
        let complaints = [
            CHANGED,
            "No ED25519 host key is known for [web]:2222 and you have requested strict checking.\r\nHost key verification failed.\r\n",
            "ops@web: Permission denied (publickey,password).\r\n",
            "ssh: Could not resolve hostname web: Name or service not known\r\n",
            "ssh: connect to host web port 2222: Connection refused\r\n",
            "ssh: connect to host web port 2222: Connection timed out\r\n",
            "Connection timed out during banner exchange\r\nConnection to 198.18.0.2 port 2222 timed out\r\n",
            "/tmp/x/user: line 3: Bad configuration option: speed\r\n/tmp/x/user: terminating, 1 bad configuration options\r\n",
            "Unable to negotiate with 198.18.0.2 port 22: no matching host key type found. Their offer: ssh-dss\r\n",
            "",
        ];
        insta::assert_snapshot!(complaints.map(gap).join("\n"));
    }

    #[test]
    fn a_machine_cannot_pretend_a_changed_key_after_the_log_in() {
        let failure = Failure::of_ssh(Some(1), CHANGED);
        assert!(matches!(failure, Failure::NoShell(_)), "{failure:?}");
        assert!(matches!(Failure::of_ssh(None, ""), Failure::NoShell(_)));
    }

    #[test]
    fn what_others_wrote_is_cut_and_tame() {
        let failure = Failure::of_ssh(Some(255), &format!("\u{1b}[31m{}", "x".repeat(1000)));
        let text = failure.to_string();
        assert!(text.starts_with("\\u{1b}[31mxxx") && text.chars().count() < 300, "{text}");
    }

    #[test]
    fn a_gap_names_the_operation_the_host_and_the_way_out() {
        let error = RemoteError {
            destination: "ssh://web".parse().unwrap(),
            failure: Failure::NoLogIn(Duration::from_secs(30)),
        };
        let gap = error.gap();
        assert!(gap.incomplete);
        assert_eq!(
            (gap.what.as_str(), gap.cause.as_str(), gap.settled_by.as_str()),
            ("the host report of ssh://web", "no log-in within 30 s", "does `ssh web true` work from here?")
        );
    }
}
