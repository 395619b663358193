//! What ssh is held to, and the words it is started with. Pure.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::SshDestination;
use super::script;

/// Whose configuration ssh reads below ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserConfig {
    /// `~/.ssh/config` and `/etc/ssh/ssh_config`, as ssh reads them by itself.
    Usual,
    /// This one only, as with `ssh -F`.
    File(PathBuf),
}

/// The configuration that ssh is started with: ours, and then the user's. In ssh_config the first value of an option
/// counts, so nothing of the user's takes back what stands above; and ssh hands the file of `-F` on to the `ssh` of each
/// ProxyJump host, which no option on the command line does: a jump host's key is checked as strictly.
///
/// Only options that OpenSSH 7.6 (2017) knows; an unknown one would be an error.
pub fn text(user: &UserConfig) -> String {
    let mut text = String::from(HELD_TO);
    match user {
        UserConfig::Usual => text.push_str("Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\n"),
        // The driver's own path: it has no character that ssh_config reads in a special way.
        UserConfig::File(path) => text.push_str(&format!("Include {}\n", path.display())),
    }
    text
}

/// The arguments of `ssh`.
pub fn arguments(config: &Path, destination: &SshDestination, script_length: usize) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["-F".into(), config.into(), "-T".into()];
    if let Some(user) = destination.user() {
        words.extend(["-l".into(), user.into()]);
    }
    if let Some(port) = destination.port() {
        words.extend(["-p".into(), port.to_string().into()]);
    }
    words.extend(["--".into(), destination.host().into(), script::command(script_length).into()]);
    words
}

/// Whether a path may stand in the configuration and in the ProxyCommand that ssh makes of it, which a shell reads.
pub fn is_plain_path(path: &Path) -> bool {
    path.to_str().is_some_and(|path| {
        path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
    })
}

const HELD_TO: &str = "\
BatchMode yes
StrictHostKeyChecking yes
UpdateHostKeys no
ConnectTimeout 10
ConnectionAttempts 1
ServerAliveInterval 5
ServerAliveCountMax 3
TCPKeepAlive yes
RequestTTY no
RemoteCommand none
PermitLocalCommand no
ClearAllForwardings yes
ForwardAgent no
ForwardX11 no
Tunnel no
AddKeysToAgent no
ControlMaster no
ControlPath none
ControlPersist no
Compression yes
LogLevel ERROR
VisualHostKey no
";

#[cfg(test)]
mod tests {
    use super::*;

    fn words(destination: &str) -> Vec<String> {
        let destination = destination.parse().unwrap();
        let words = arguments(Path::new("/tmp/x/config"), &destination, 4321);
        words.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn the_host_stands_behind_the_options_end() {
        let bare = words("ssh://web");
        assert_eq!(bare[..5], ["-F", "/tmp/x/config", "-T", "--", "web"]);
        assert_eq!(bare.len(), 6);
        let full = words("ssh://me@[2001:db8::7]:2222");
        assert_eq!(full[2..9], ["-T", "-l", "me", "-p", "2222", "--", "2001:db8::7"]);
        assert!(full[9].ends_with(" 4321"), "{full:?}");
    }

    #[test]
    fn ours_comes_first_and_never_loosens_the_host_keys() {
        let usual = text(&UserConfig::Usual);
        let own = usual.find("StrictHostKeyChecking yes").unwrap();
        assert!(own < usual.find("Include").unwrap());
        assert!(!usual.contains("accept-new") && !usual.contains("KnownHosts"));
        let file = text(&UserConfig::File("/tmp/x/user".into()));
        assert!(file.ends_with("\nInclude /tmp/x/user\n") && !file.contains("~"), "{file}");
    }

    #[test]
    fn paths_that_a_shell_or_ssh_would_read_otherwise() {
        assert!(is_plain_path(Path::new("/tmp/postern-ssh-0a/config")));
        for path in ["/tmp/a b", "/tmp/$x", "tmp", "/tmp/*", "/tmp/%h", "/tmp/é", "/tmp/a'"] {
            assert!(!is_plain_path(Path::new(path)), "{path}");
        }
    }
}
