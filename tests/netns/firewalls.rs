//! The firewalls that administrators use, as they come: nft, both kinds of iptables, ufw, firewalld; each with files of
//! the host's own.

use std::fs;
use std::path::Path;

use crate::support::{Background, Host, finish};

/// Loads rules in the notation of iptables-save, and keeps those that are there.
pub fn iptables_restore(host: &Host, rules: &str) {
    let file = host.directory.join("rules.iptables");
    fs::write(&file, rules).unwrap();
    finish(host.command("iptables-restore").args(["-w", "5", "-n"]).arg(&file));
}

/// One line of legacy iptables; its lock is the host's own.
pub fn legacy(host: &Host, line: &str) {
    let mut command = host.command("iptables-legacy");
    command.env("XTABLES_LOCKFILE", host.directory.join("xtables.lock")).args(["-w", "5"]);
    finish(command.args(line.split_whitespace()));
}

/// `ufw enable` with its stock rules (incoming is denied), `allowed` and what is `appended` to its last rules.
pub fn ufw(host: &Host, allowed: &[&str], appended: &str) {
    fs::write(host.directory.join("appended.rules"), appended).unwrap();
    let allows: String = allowed.iter().map(|port| format!("ufw allow {port}\n")).collect();
    let script = format!(
        "set -e
cd '{}'
mkdir -p ufw/applications.d
cp -L /usr/share/ufw/iptables/*.rules /usr/share/ufw/ufw.conf /etc/ufw/sysctl.conf ufw/
cat appended.rules >>ufw/after.rules
cp /etc/default/ufw default-ufw
mount --bind ufw /etc/ufw
mount --bind default-ufw /etc/default/ufw
{allows}ufw --force enable
",
        host.directory.display()
    );
    finish(host.command("sh").args(["-c", &script]));
}

/// What people append to ufw's rules so that it rules over Docker's ports: private sources are let by, everything else
/// that is sent on to private addresses is dropped.
pub const UFW_FOR_DOCKER: &str = "
*filter
:ufw-user-forward - [0:0]
:DOCKER-USER - [0:0]
-A DOCKER-USER -j ufw-user-forward
-A DOCKER-USER -s 10.0.0.0/8 -j RETURN
-A DOCKER-USER -s 172.16.0.0/12 -j RETURN
-A DOCKER-USER -s 192.168.0.0/16 -j RETURN
-A DOCKER-USER -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -d 172.16.0.0/12 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
";

/// firewalld with its bus; both end with the value.
#[derive(Debug)]
pub struct Firewalld {
    _daemon: Background,
    _bus: Background,
    address: String,
}

impl Firewalld {
    pub fn start(host: &Host) -> Self {
        let socket = host.directory.join("bus");
        let configuration = host.directory.join("bus.conf");
        fs::write(
            &configuration,
            format!(
                "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
                 \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig><type>system</type>\
                 <listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context=\"default\"><allow user=\"*\"/>\
                 <allow own=\"*\"/><allow send_destination=\"*\"/><allow receive_sender=\"*\"/>\
                 <allow send_requested_reply=\"true\"/><allow receive_requested_reply=\"true\"/></policy></busconfig>\n",
                socket.display()
            ),
        )
        .unwrap();
        let address = format!("unix:path={}", socket.display());
        let mut command = host.command("dbus-daemon");
        command.arg(format!("--config-file={}", configuration.display())).args(["--nofork", "--nopidfile"]);
        let mut bus = Background::start("bus", &host.directory, &mut command).killed_at_once();
        bus.wait_until("bus", |_| socket.exists());
        let settings = host.directory.join("firewalld");
        fs::create_dir(&settings).unwrap();
        let mut command = host.command("firewalld");
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &address).args(["--nofork", "--nopid"]);
        command.arg("--system-config").arg(&settings).arg("--log-target=console");
        let mut daemon = Background::start("firewalld", &host.directory, &mut command).killed_at_once();
        let firewalld = |arguments: &[&str]| {
            let mut command = host.command("firewall-cmd");
            command.env("DBUS_SYSTEM_BUS_ADDRESS", &address).args(arguments).output().unwrap()
        };
        daemon.wait_until("firewalld", |_| firewalld(&["--state"]).status.success());
        Self { _daemon: daemon, _bus: bus, address }
    }

    /// `firewall-cmd`.
    pub fn command(&self, host: &Host, arguments: &[&str]) -> String {
        let mut command = host.command(Path::new("firewall-cmd"));
        finish(command.env("DBUS_SYSTEM_BUS_ADDRESS", &self.address).args(arguments))
    }
}
