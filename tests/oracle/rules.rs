//! Rules as text, one a tool, and how they get into the kernel and out of it again.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use netlink_sys::{Socket, SocketAddr, constants::NETLINK_NETFILTER};
use serde::{Deserialize, Serialize};

use crate::space::{run, set};

/// What is loaded into the host's namespace, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Besides [`DEFAULTS`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// Input of `ipset restore`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ipset: String,
    /// Input of `nft -f -`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nft: String,
    /// Inputs of `iptables-restore` and so on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub iptables: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip6tables: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub legacy: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub legacy6: String,
}

/// Loads rules into the namespace of its thread, each time instead of those before.
#[derive(Debug)]
pub struct Loader {
    conntrack: Socket,
    /// Legacy tables, once made, stay; these have to be emptied.
    legacy: bool,
    legacy6: bool,
    ipset: bool,
}

/// Settings that rules may come with, and what they are else.
pub const DEFAULTS: &[(&str, &str)] = &[
    ("ipv4.ip_forward", "1"),
    ("ipv6.conf.all.forwarding", "1"),
    ("ipv4.conf.all.rp_filter", "0"),
    ("ipv4.conf.eth0.rp_filter", "0"),
    ("ipv4.conf.eth1.rp_filter", "0"),
    ("ipv4.conf.br0.rp_filter", "0"),
    ("ipv4.conf.all.route_localnet", "0"),
    ("ipv4.conf.eth0.route_localnet", "0"),
    ("bridge.bridge-nf-call-iptables", "1"),
    ("bridge.bridge-nf-call-ip6tables", "1"),
];

/// Empties every legacy table of a family.
const EMPTY_LEGACY: &str = "\
*raw\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\nCOMMIT
*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\nCOMMIT
*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\nCOMMIT
*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT
";

impl Loader {
    /// For the namespace that the calling thread is in.
    pub fn new() -> Self {
        let mut conntrack = Socket::new(NETLINK_NETFILTER).unwrap();
        conntrack.bind_auto().unwrap();
        conntrack.connect(&SocketAddr::new(0, 0)).unwrap();
        for (name, value) in DEFAULTS {
            set(name, value);
        }
        Self { conntrack, legacy: false, legacy6: false, ipset: false }
    }

    /// Replaces what is loaded. The error is what the tool that refuses says.
    pub fn load(&mut self, rules: &Rules) -> Result<(), String> {
        if self.legacy {
            run("iptables-legacy-restore", &["-w", "5"], EMPTY_LEGACY)?;
            self.legacy = false;
        }
        if self.legacy6 {
            run("ip6tables-legacy-restore", &["-w", "5"], EMPTY_LEGACY)?;
            self.legacy6 = false;
        }
        if self.ipset {
            // A set can go when neither a rule nor a set of sets refers to it any more; the kernel frees rules a little
            // later than it says.
            run("nft", &["flush", "ruleset"], "")?;
            run("ipset", &["flush"], "")?;
            let start = Instant::now();
            while let Err(error) = run("ipset", &["destroy"], "") {
                if start.elapsed() > Duration::from_secs(5) {
                    return Err(error);
                }
                thread::sleep(Duration::from_millis(1));
            }
            self.ipset = false;
        }
        for (name, value) in DEFAULTS {
            set(name, rules.settings.get(*name).map_or(*value, String::as_str));
        }
        if !rules.ipset.is_empty() {
            self.ipset = true;
            run("ipset", &["restore"], &rules.ipset)?;
        }
        run("nft", &["-f", "-"], &format!("flush ruleset\n{}", rules.nft))?;
        for (program, text) in [("iptables-nft-restore", &rules.iptables), ("ip6tables-nft-restore", &rules.ip6tables)]
        {
            if !text.is_empty() {
                run(program, &[], text)?;
            }
        }
        if !rules.legacy.is_empty() {
            self.legacy = true;
            run("iptables-legacy-restore", &["-w", "5"], &rules.legacy)?;
        }
        if !rules.legacy6.is_empty() {
            self.legacy6 = true;
            run("ip6tables-legacy-restore", &["-w", "5"], &rules.legacy6)?;
        }
        self.forget();
        Ok(())
    }

    /// Empties the connection tracking table of the namespace.
    pub fn forget(&self) {
        // struct nlmsghdr of IPCTNL_MSG_CT_DELETE without attributes, flags REQUEST and ACK, and struct nfgenmsg.
        let mut message = Vec::new();
        message.extend(20_u32.to_ne_bytes());
        message.extend((1_u16 << 8 | 2).to_ne_bytes());
        message.extend(5_u16.to_ne_bytes());
        message.extend(1_u32.to_ne_bytes());
        message.extend([0; 4]);
        message.extend([0; 4]);
        self.conntrack.send(&message, 0).unwrap();
        let (answer, _) = self.conntrack.recv_from_full().unwrap();
        let error = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
        assert_eq!(error, 0, "the connection tracking table could not be emptied");
    }
}

impl Rules {
    /// Programs that these rules need besides `nft`.
    pub fn programs(&self) -> Vec<&'static str> {
        let each = [
            (&self.ipset, "ipset"),
            (&self.iptables, "iptables-nft-restore"),
            (&self.ip6tables, "ip6tables-nft-restore"),
            (&self.legacy, "iptables-legacy-restore"),
            (&self.legacy6, "ip6tables-legacy-restore"),
        ];
        each.into_iter().filter(|(text, _)| !text.is_empty()).map(|(_, program)| program).collect()
    }
}
