//! An sshd on a host of the lab, and the ssh configuration that leads there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Background, Host, Lab, finish, run};

/// The program under test.
pub const POSTERN: &str = env!("CARGO_BIN_EXE_postern");

/// A lab with one client key and one known_hosts file, which knows every door that was opened through [`Doors::open`].
#[derive(Debug)]
pub struct Doors {
    pub lab: Lab,
}

impl Doors {
    /// `None`, after it said so, where that is not possible here.
    pub fn new(what: &str, programs: &[&str]) -> Option<Self> {
        let lab = Lab::new(what, &[&["sshd", "ssh", "ssh-keygen", "ss", "mount", "pgrep"][..], programs].concat())?;
        let doors = Self { lab };
        run(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", &doors.file("client").display().to_string()],
        );
        fs::write(doors.known_hosts(), "").unwrap();
        fs::create_dir(doors.temporary()).unwrap();
        doors.configure("");
        Some(doors)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.lab.directory().join(name)
    }

    pub fn known_hosts(&self) -> PathBuf {
        self.file("known_hosts")
    }

    /// TMPDIR of the runs.
    pub fn temporary(&self) -> PathBuf {
        self.file("temporary")
    }

    /// Writes the user's ssh configuration: `first`, and what all need. It tries to weaken what must not be weakened.
    pub fn configure(&self, first: &str) {
        let text = format!(
            "{first}\nHost *\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {}\n  \
             GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking no\n  UpdateHostKeys yes\n  ControlMaster auto\n  \
             ControlPath {}/control-%C\n  ControlPersist 600\n",
            self.file("client").display(),
            self.known_hosts().display(),
            self.lab.directory().display(),
        );
        fs::write(self.file("ssh_config"), text).unwrap();
    }

    /// Adds the host and starts its sshd, with `more` lines of configuration; its key becomes known.
    pub fn open(&mut self, number: u8, more: &str) -> Door {
        self.lab.add_host(number);
        let door = self.start(number, more);
        self.learn(number, &format!("198.18.0.{number}"));
        door
    }

    /// Notes the host's key under a name.
    pub fn learn(&self, number: u8, name: &str) {
        let key = fs::read_to_string(self.lab.host(number).directory.join("host_key.pub")).unwrap();
        let mut known = fs::read_to_string(self.known_hosts()).unwrap();
        known.push_str(&format!("{name} {key}"));
        fs::write(self.known_hosts(), known).unwrap();
    }

    fn start(&self, number: u8, more: &str) -> Door {
        let host = self.lab.host(number);
        let key = host.directory.join("host_key").display().to_string();
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "host", "-f", &key]);
        let authorized = host.directory.join("authorized_keys");
        fs::copy(self.file("client.pub"), &authorized).unwrap();
        let configuration = host.directory.join("sshd_config");
        fs::write(
            &configuration,
            format!(
                "HostKey {key}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nUseDNS no\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\nSetEnv TMPDIR=/run/scratch\n{more}\n",
                authorized.display()
            ),
        )
        .unwrap();
        // The directories above belong to root alone, and sshd reads the keys as the user.
        for directory in [self.lab.directory(), host.directory.as_path()] {
            run("chmod", &["755", &directory.display().to_string()]);
        }
        host_sh(host, "mkdir -m 1777 /run/scratch");
        // What this machine's root has its shell do at a log-in is none of the lab's: it may wait, or be cut off halfway.
        host_sh(host, "[ ! -e ~/.bashrc ] || mount --bind /dev/null ~/.bashrc");
        let program = run("sh", &["-c", "command -v sshd"]);
        let mut command = host.command(program.trim());
        command.args(["-D", "-e", "-f"]).arg(&configuration);
        let mut server = Background::start("sshd", &host.directory, &mut command);
        server.wait_until("port", |_| host.listens("tcp", 22));
        Door { server }
    }

    /// `postern` with these arguments and the lab's ssh configuration, about to run in the scanner's namespace.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(POSTERN, arguments)
    }

    /// The same of another build of the program.
    pub fn command_of(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.lab.scanner().command("timeout");
        command.args(["--kill-after=5", "120", program]).args(arguments);
        command.arg("--ssh-config").arg(self.file("ssh_config"));
        command.current_dir(self.lab.directory()).env("TMPDIR", self.temporary()).env("NO_COLOR", "1");
        command.stdin(Stdio::null());
        command
    }

    pub fn postern(&self, arguments: &[&str]) -> Ran {
        let known = fs::read(self.known_hosts()).unwrap();
        let ran = Ran(self.command(arguments).output().unwrap());
        assert_eq!(fs::read(self.known_hosts()).unwrap(), known, "known_hosts was changed\n{ran}");
        let left = names(&self.temporary());
        assert!(left.is_empty(), "left behind here: {left:?}\n{ran}");
        let sockets: Vec<String> =
            names(self.lab.directory()).into_iter().filter(|name| name.starts_with("control-")).collect();
        assert!(sockets.is_empty(), "control sockets: {sockets:?}");
        ran
    }

    /// The report of one host, which must be given.
    pub fn report(&self, arguments: &[&str]) -> Value {
        let ran = self.postern(&[&["host", "-o", "json"], arguments].concat());
        assert_eq!(ran.code(), Some(0), "{ran}");
        ran.json()
    }
}

/// A running sshd.
#[derive(Debug)]
pub struct Door {
    pub server: Background,
}

impl Door {
    /// How often somebody was let in.
    pub fn log_ins(&self) -> usize {
        self.server.output().matches("Accepted publickey").count()
    }
}

/// What a run left.
#[derive(Debug)]
pub struct Ran(pub Output);

impl Ran {
    pub fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.0.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{self}"))
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}\n{}", self.0.status, String::from_utf8_lossy(&self.0.stdout), self.stderr())
    }
}

/// Runs a line of shell in all namespaces of the host.
pub fn host_sh(host: &Host, line: &str) -> String {
    finish(host.command("sh").args(["-ec", line]))
}

/// Makes `postern` known to the host: the program under test, or a script.
pub fn install(host: &Host, script: Option<&str>) {
    host_sh(host, "mount -t tmpfs -o mode=755 tmpfs /usr/local/bin");
    match script {
        None => {
            host_sh(host, &format!("touch /usr/local/bin/postern; mount --bind '{POSTERN}' /usr/local/bin/postern"))
        }
        Some(script) => {
            let file = host.directory.join("postern-script");
            fs::write(&file, script).unwrap();
            host_sh(host, &format!("cp '{}' /usr/local/bin/postern; chmod 755 /usr/local/bin/postern", file.display()))
        }
    };
}

/// Gives the host a user `ops`, uid 1234, with home /run/home.
pub fn add_user(host: &Host) {
    let mounted = |path: &str, line: &str| {
        let copy = host.directory.join(Path::new(path).file_name().unwrap());
        let text = fs::read_to_string(path).unwrap();
        fs::write(&copy, format!("{text}{line}\n")).unwrap();
        host_sh(
            host,
            &format!(
                "chown --reference={path} '{0}'; chmod --reference={path} '{0}'; mount --bind '{0}' {path}",
                copy.display()
            ),
        );
    };
    mounted("/etc/passwd", "ops:x:1234:1234::/run/home:/bin/sh");
    mounted("/etc/group", "ops:x:1234:");
    mounted("/etc/shadow", "ops:*:19000:0:99999:7:::");
    host_sh(host, "mkdir /run/home; chown 1234:1234 /run/home");
}

/// Gives the host a sudoers file of its own.
pub fn allow(host: &Host, rule: &str) {
    let file = host.directory.join("sudoers");
    fs::write(&file, format!("Defaults !syslog, !mail_always, !mail_no_user\nroot ALL=(ALL:ALL) ALL\n{rule}\n"))
        .unwrap();
    host_sh(host, &format!("chmod 440 '{0}'; mount --bind '{0}' /etc/sudoers", file.display()));
}

/// Programs that the script copied and did not remove.
pub fn left_on(host: &Host) -> String {
    host_sh(host, "find /run /tmp /var/tmp /root -maxdepth 3 -name '.postern.*' 2>/dev/null || true")
}

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The gaps of a host report, or of a run, as one text.
pub fn gaps(document: &Value) -> String {
    let gaps = document.get("gaps").or_else(|| document["run"].get("gaps")).unwrap();
    let line = |gap: &Value| {
        format!(
            "{}: {}; {}\n",
            gap["what"].as_str().unwrap(),
            gap["cause"].as_str().unwrap(),
            gap["settled_by"].as_str().unwrap()
        )
    };
    gaps.as_array().unwrap().iter().map(line).collect()
}

/// The owner of the TCP listener on a port of the host's own namespace.
pub fn owner(report: &Value, port: u16) -> Option<&str> {
    let listeners = report["listeners"].as_array().unwrap();
    let found =
        listeners.iter().find(|one| one["port"] == port && one["transport"] == "tcp" && one["namespace"] == "host");
    found.unwrap_or_else(|| panic!("no listener on {port}: {listeners:?}"))["process"].as_str()
}
