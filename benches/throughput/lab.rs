//! Two namespaces on a veth pair; one kernel answers for many hosts in the second (AnyIP).

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use postern::net::namespace::NetworkNamespace;

pub const SCANNER: &str = "pbench-scanner";
pub const TARGETS: &str = "pbench-targets";
pub const SOURCE: &str = "198.18.255.1";
pub const ROUTER_MAC: &str = "02:00:00:00:0b:02";

/// Ports that listen on every living host.
pub const OPEN: [u16; 4] = [22, 80, 113, 177];

/// What the targets do with what is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// All of 198.19.1.0/24 lives and resets; the rest of the network is dead.
    Refused,
    /// The living drop all but the open ports, and so many packets in a hundred are lost each way.
    Dropped { loss: u8 },
    /// Of the living only port 22 is open: 256 of a large dead network.
    Dead,
    /// One host with twenty open ports, all others refuse.
    OneHost,
}

/// The namespaces and the listeners in the second; all gone on drop.
pub struct Lab {
    listeners: Vec<Child>,
}

impl Lab {
    pub fn build() -> Result<Self, String> {
        let mut lab = Self { listeners: Vec::new() };
        lab.clear();
        for line in [
            format!("ip netns add {SCANNER}"),
            format!("ip netns add {TARGETS}"),
            format!(
                "ip -n {SCANNER} link add pbench0 type veth peer name pbench1 address {ROUTER_MAC} netns {TARGETS}"
            ),
            format!("ip -n {SCANNER} link set lo up"),
            format!("ip -n {TARGETS} link set lo up"),
            format!("ip -n {SCANNER} addr add {SOURCE}/30 dev pbench0"),
            format!("ip -n {TARGETS} addr add 198.18.255.2/30 dev pbench1"),
            format!("ip -n {SCANNER} link set pbench0 up"),
            format!("ip -n {TARGETS} link set pbench1 up"),
            format!("ip -n {SCANNER} route add 198.19.0.0/16 via 198.18.255.2"),
            format!("ip -n {SCANNER} route add 10.0.0.0/8 via 198.18.255.2"),
            format!("ip -n {TARGETS} route add local 198.19.0.0/16 dev lo"),
            format!("ip -n {TARGETS} route add local 10.0.0.0/8 dev lo"),
        ] {
            shell(&line)?;
        }
        lab.listen(&OPEN)?;
        Ok(lab)
    }

    /// Listeners of a small program that is everywhere where the peers are.
    pub fn listen(&mut self, ports: &[u16]) -> Result<(), String> {
        let mut command = inside(TARGETS);
        command.args(["python3", "-c", LISTENER]).args(ports.iter().map(u16::to_string));
        let listener = command.spawn().map_err(|error| format!("python3 for listeners: {error}"))?;
        self.listeners.push(listener);
        std::thread::sleep(Duration::from_millis(700));
        Ok(())
    }

    pub fn rules(&self, rules: Rules) -> Result<(), String> {
        let open = OPEN.map(|port| port.to_string()).join(", ");
        let dead = "ip daddr 10.0.0.0/8 drop; ip daddr 198.19.0.0/16 ip daddr != 198.19.1.0/24 drop;";
        let (input, output) = match rules {
            Rules::Refused | Rules::OneHost => (String::new(), String::new()),
            Rules::Dead => ("ip daddr 198.19.0.0/16 tcp dport != 22 drop;".to_owned(), String::new()),
            Rules::Dropped { loss } => {
                let lose = if loss > 0 { format!("numgen random mod 100 < {loss} drop;") } else { String::new() };
                let drop = format!("ip daddr 198.19.0.0/16 tcp dport != {{ {open} }} drop;");
                (format!("{lose} {drop}"), lose)
            }
        };
        let text = format!(
            "flush ruleset\ntable ip bench {{\n chain pre {{ type filter hook prerouting priority raw; {dead} }}\n chain in \
             {{ type filter hook input priority 0; {input} }}\n chain out {{ type filter hook output priority 0; {output} \
             }}\n}}\n"
        );
        let mut nft = inside(TARGETS);
        let mut child =
            nft.args(["nft", "-f", "-"]).stdin(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let written = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
        match (written, child.wait()) {
            (Some(Ok(())), Ok(status)) if status.success() => Ok(()),
            _ => Err(format!("nft refuses:\n{text}")),
        }
    }

    /// Lets connections of the peer before go.
    pub fn settle(&self) {
        std::thread::sleep(Duration::from_millis(500));
    }

    fn clear(&self) {
        for name in [SCANNER, TARGETS] {
            // Absent the first time.
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for listener in &mut self.listeners {
            end(listener);
        }
        self.clear();
    }
}

/// A command in a namespace.
pub fn inside(namespace: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}"));
    command
}

pub fn namespace(name: &str) -> Result<NetworkNamespace, String> {
    NetworkNamespace::open(format!("/run/netns/{name}").as_ref()).map_err(|error| format!("{name}: {error}"))
}

pub fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

pub fn shell(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).output().map_err(|error| format!("{line}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

const LISTENER: &str = "
import select, socket, sys, time
listeners = []
for port in sys.argv[1:]:
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('0.0.0.0', int(port)))
    s.listen(4096)
    s.setblocking(False)
    listeners.append(s)
end = time.time() + 1800
while time.time() < end:
    for s in select.select(listeners, [], [], 5)[0]:
        try:
            while True:
                s.accept()[0].close()
        except OSError:
            pass
";
