//! osquery's `listening_ports`, as JSON: `osqueryi --json`, or results of osqueryd and of fleet managers.
//!
//! Columns by its schema (specs/listening_ports.table): pid, port, protocol (IANA number), family (2, 10; 1 is unix),
//! address, fd, socket, path, net_namespace (inode). Values are strings, numbers are taken too. Joins with `processes`
//! and `users` may add name, username and, with net sockets only, path. Command lines are not kept.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::address::{self, Address};
use super::draft::Draft;
use super::error::ListingError;
use crate::model::Transport;
use crate::model::host_report::{HOST_NAMESPACE, HostReport, Listener, Namespace, OWN_WORD_OF_ROOT, Source};
use crate::model::report::Gap;

pub(super) fn parse(text: &str, name: &str) -> Result<HostReport, ListingError> {
    let mut found = Vec::new();
    for (number, object) in objects(text, name)? {
        found.extend(row(number, &object, name)?);
    }
    let mut draft = Draft::new(Source::Osquery);
    let host = host_namespace(&found);
    if let Some((inode, Certainty::Assumed)) = host {
        draft.gaps.push(Gap {
            what: "which network namespace is the host's own".to_owned(),
            cause: format!("osquery gives only numbers; the lowest, {inode}, was taken for it"),
            settled_by: OWN_WORD_OF_ROOT.to_owned(),
            incomplete: false,
        });
    }
    let mut sockets: BTreeMap<(String, u64), Listener> = BTreeMap::new();
    let mut namespaces: BTreeMap<u64, Namespace> = BTreeMap::new();
    for (index, row) in found.into_iter().enumerate() {
        let mut listener = row.listener;
        if let Some(inode) = row.namespace {
            listener.namespace = match host {
                Some((own, _)) if own == inode => HOST_NAMESPACE.to_owned(),
                _ => format!("net:[{inode}]"),
            };
            let namespace = namespaces.entry(inode).or_insert_with(|| Namespace {
                name: listener.namespace.clone(),
                inode,
                addresses: Vec::new(),
                container: None,
                pids: Vec::new(),
                held_by: Vec::new(),
                network: None,
            });
            namespace.pids.extend(listener.pid);
        }
        // One row a descriptor: the holder with the lowest pid is named, systemd only where it is alone.
        let key = row.socket.map_or_else(|| (format!("row {index}"), 0), |socket| (String::new(), socket));
        match sockets.get_mut(&key) {
            Some(known) => {
                let activated = known.socket_activated || listener.socket_activated;
                let rank = |one: &Listener| (one.socket_activated, one.pid.is_none(), one.pid);
                if rank(&listener) < rank(known) {
                    *known = listener;
                }
                known.socket_activated = activated;
            }
            None => {
                sockets.insert(key, listener);
            }
        }
    }
    draft.listeners = sockets.into_values().collect();
    draft.namespaces = namespaces.into_values().collect();
    for namespace in &mut draft.namespaces {
        namespace.pids.sort_unstable();
        namespace.pids.dedup();
        namespace.pids.truncate(SHOWN_PIDS);
    }
    Ok(draft.finish())
}

/// Whether JSON looks like rows of `listening_ports`, in any of the wrappings.
pub(super) fn is_rows(text: &str) -> bool {
    objects(text, "").is_ok_and(|rows| !rows.is_empty()) || text.split_whitespace().collect::<String>() == "[]"
}

/// A row with the columns that concern its socket rather than its owner.
struct Parsed {
    listener: Listener,
    namespace: Option<u64>,
    socket: Option<u64>,
}

/// The line that its document begins in, and a row.
type RowObject = (usize, Map<String, Value>);

/// All row objects with a line number: an array, one object a line, or either inside osqueryd's or a manager's wrapping.
fn objects(text: &str, name: &str) -> Result<Vec<RowObject>, ListingError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut found = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    loop {
        let start = text[..stream.byte_offset()].matches('\n').count() + 1;
        match stream.next() {
            Some(Ok(value)) => unwrap_rows(value, start, &mut found),
            // A prompt or a warning after the data does no harm.
            Some(Err(_)) if !found.is_empty() => break,
            Some(Err(error)) => {
                let (line, problem) = (error.line(), error.to_string());
                return Err(ListingError::Json { name: name.to_owned(), line, problem });
            }
            None => break,
        }
    }
    Ok(found)
}

fn unwrap_rows(value: Value, line: usize, found: &mut Vec<RowObject>) {
    match value {
        Value::Array(values) => values.into_iter().for_each(|value| unwrap_rows(value, line, found)),
        Value::Object(mut object) => {
            if object.contains_key("port") {
                found.push((line, object));
                return;
            }
            for key in ["columns", "snapshot", "rows", "results", "data"] {
                if let Some(inner) = object.remove(key) {
                    unwrap_rows(inner, line, found);
                }
            }
        }
        _ => {}
    }
}

fn row(line: usize, object: &Map<String, Value>, name: &str) -> Result<Option<Parsed>, ListingError> {
    let column = |key: &str| object.get(key).and_then(text).filter(|text| !text.is_empty());
    let bad = |value: &str, problem| ListingError::row(name, line, value, (problem, HINT));
    let transport = match column("protocol").as_deref() {
        Some("6") => Transport::Tcp,
        Some("17") => Transport::Udp,
        Some(_) => return Ok(None),
        None => return Err(bad("protocol", "a column that a row lacks")),
    };
    let port = column("port").ok_or_else(|| bad("port", "a column that a row lacks"))?;
    let port: u16 = port.parse().map_err(|_| bad(&port, "no port number"))?;
    // A path instead of an address: a unix socket.
    if port == 0 || matches!(column("family").as_deref(), Some("1")) {
        return Ok(None);
    }
    let address = column("address").ok_or_else(|| bad("address", "a column that a row lacks"))?;
    let host = address::host(&address).ok_or_else(|| bad(&address, "no IP address"))?;
    let Address::Ip(address) = host.address else { return Err(bad(&address, "no IP address")) };
    let pid = column("pid").and_then(|pid| pid.parse::<u32>().ok()).filter(|pid| *pid > 0);
    let process = ["process_name", "process", "name"].iter().find_map(|key| column(key));
    let listener = Listener {
        device: host.scope,
        pid,
        // A join may be missing; what holds listening sockets as pid 1 of a host is its service manager.
        socket_activated: pid == Some(1) && matches!(process.as_deref(), None | Some("systemd")),
        process,
        exe: ["exe", "path"].iter().find_map(|key| column(key)).filter(|path| path.starts_with('/')),
        user: ["username", "user"].iter().find_map(|key| column(key)),
        ..Listener::at(transport, address, port)
    };
    let number = |key: &str| column(key).and_then(|value| value.parse::<u64>().ok()).filter(|value| *value > 0);
    Ok(Some(Parsed { listener, namespace: number("net_namespace"), socket: number("socket") }))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// How sure it is that a namespace is the host's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certainty {
    Known,
    Assumed,
}

/// The host's own namespace among those seen: that of pid 1, or the one that the kernel makes at boot.
fn host_namespace(rows: &[Parsed]) -> Option<(u64, Certainty)> {
    let first = rows.iter().find(|row| row.listener.pid == Some(1)).and_then(|row| row.namespace);
    if let Some(inode) = first {
        return Some((inode, Certainty::Known));
    }
    let lowest = rows.iter().filter_map(|row| row.namespace).min()?;
    let known = (BOOT_LOWEST..BOOT_HIGHEST).contains(&lowest);
    Some((lowest, if known { Certainty::Known } else { Certainty::Assumed }))
}

/// Namespaces that exist from boot have inodes just below 0xF0000000 (since Linux 6.18 a fixed one, PROC_NET_INIT_INO) or
/// are among the first that the kernel counts up from there; those made later are behind them.
const BOOT_LOWEST: u64 = 0xEFFF_FFF0;
const BOOT_HIGHEST: u64 = 0xF000_0000 + 200;

/// As many as a namespace names, [`Namespace::pids`].
const SHOWN_PIDS: usize = 8;

const HINT: &str = "save the output of `osqueryi --json \"SELECT * FROM listening_ports\"`";

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"address":"0.0.0.0","family":"2","fd":"3","net_namespace":"4026531833","path":"","pid":"700","port":"22","protocol":"6","socket":"18000"}"#;

    #[test]
    fn rows_in_every_wrapping() {
        for text in [
            format!("[{ROW}]"),
            format!("{ROW}\n{ROW}\n"),
            format!(r#"{{"name":"pack_ports","hostIdentifier":"h","columns":{ROW},"action":"added"}}"#),
            format!(r#"{{"name":"pack_ports","snapshot":[{ROW}]}}"#),
            format!("[{ROW}]\nosquery> "),
        ] {
            let report = parse(&text, "test").unwrap();
            assert_eq!(report.listeners.len(), 1, "{text}");
            let one = &report.listeners[0];
            assert_eq!(
                (one.port, one.pid, one.process.as_deref(), one.namespace.as_str()),
                (22, Some(700), None, "host")
            );
        }
    }

    #[test]
    fn joined_columns_name_the_owner() {
        let text = ROW
            .replace(r#""path":"""#, r#""path":"/usr/sbin/sshd","name":"sshd","username":"root","cmdline":"secret""#);
        let report = parse(&format!("[{text}]"), "test").unwrap();
        let one = &report.listeners[0];
        assert_eq!(
            (one.process.as_deref(), one.exe.as_deref(), one.user.as_deref()),
            (Some("sshd"), Some("/usr/sbin/sshd"), Some("root"))
        );
        assert!(!serde_json::to_string(&report).unwrap().contains("secret"));
    }

    #[test]
    fn unix_sockets_other_protocols_and_unknown_pids() {
        let unix = ROW.replace(r#""family":"2""#, r#""family":"1""#).replace(r#""port":"22""#, r#""port":"0""#);
        let icmp = ROW.replace(r#""protocol":"6""#, r#""protocol":"1""#);
        assert_eq!(parse(&format!("[{unix},{icmp}]"), "test").unwrap().listeners, []);
        let report = parse(&format!("[{}]", ROW.replace("\"700\"", "\"-1\"")), "test").unwrap();
        assert_eq!((report.listeners[0].pid, report.listeners[0].process.clone()), (None, None));
        assert_eq!(parse("[]", "test").unwrap().listeners, []);
    }

    #[test]
    fn namespaces_by_number() {
        let other = ROW.replace("4026531833", "4026532386").replace("18000", "18001");
        let report = parse(&format!("[{ROW},{other}]"), "test").unwrap();
        let names: Vec<_> = report.namespaces.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["host", "net:[4026532386]"]);
        assert!(!report.gaps.iter().any(|gap| gap.what.contains("host's own") && gap.cause.contains("lowest")));
        let report = parse(&format!("[{other}]"), "test").unwrap();
        assert_eq!(report.listeners[0].namespace, "host");
        assert!(report.gaps.iter().any(|gap| gap.cause.contains("the lowest, 4026532386")), "{:?}", report.gaps);
    }

    #[test]
    fn one_socket_held_by_two_is_one_listener() {
        let manager = ROW.replace("\"700\"", "\"1\"").replace(r#""path":"""#, r#""name":"systemd""#);
        let service = ROW.replace(r#""path":"""#, r#""name":"sshd""#);
        let report = parse(&format!("[{manager},{service}]"), "test").unwrap();
        let one = &report.listeners[0];
        assert_eq!((report.listeners.len(), one.process.as_deref(), one.socket_activated), (1, Some("sshd"), true));
    }

    #[test]
    fn errors_name_file_line_and_value() {
        let error = parse(&format!("[{}]", ROW.replace("\"22\"", "\"ssh\"")), "o.json").unwrap_err();
        assert!(error.to_string().starts_with("o.json: line 1: `ssh` is no port number; hint:"), "{error}");
        let error = parse("{\n\"a\":", "o.json").unwrap_err();
        assert!(error.to_string().starts_with("o.json: line 2: no JSON"), "{error}");
        let error = parse(&format!("[{}]", ROW.replace("0.0.0.0", "any")), "o.json").unwrap_err();
        assert!(error.to_string().contains("`any` is no IP address"), "{error}");
    }
}
