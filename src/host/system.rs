//! What a machine says about itself in small files: identity, operating system, users. Pure.

use std::collections::HashMap;

use crate::model::host_report::OperatingSystem;

/// Stable id of a host: a keyed hash of its machine id (machine-id(5) asks not to show the id itself), else its name.
pub fn host_id(machine_id: Option<&str>, hostname: Option<&str>) -> String {
    let machine_id =
        machine_id.map(str::trim).filter(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    match (machine_id, hostname) {
        (Some(id), _) => {
            let digest = sha256(&[KEY, id.as_bytes()].concat());
            let short: String = digest.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect();
            format!("machine-{short}")
        }
        (None, Some(name)) if !name.is_empty() => name.to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// rustls's provider brings SHA-256; a crate of its own is not needed.
fn sha256(data: &[u8]) -> Vec<u8> {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite.tls13().map(|suite| suite.common.hash_provider.hash(data));
    hash.map(|hash| hash.as_ref().to_vec()).unwrap_or_default()
}

/// Reads `/etc/os-release` (os-release(5)).
pub fn os_release(text: &str) -> Option<OperatingSystem> {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))
            .map(unquote)
            .filter(|text| !text.is_empty())
    };
    let id = value("ID").unwrap_or_else(|| "linux".to_owned());
    let pretty_name = value("PRETTY_NAME").or_else(|| value("NAME"))?;
    Some(OperatingSystem { id, version: value("VERSION_ID"), pretty_name, ..OperatingSystem::default() })
}

/// Shell quoting as os-release(5) allows it.
fn unquote(text: &str) -> String {
    let text = text.trim();
    let inner = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    let Some(inner) = inner else { return text.to_owned() };
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

/// User names by id from `/etc/passwd` (passwd(5)); the first name of an id counts.
pub fn users(passwd: &str) -> HashMap<u32, String> {
    let mut users = HashMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(uid)) = (fields.next(), fields.nth(1).and_then(|uid| uid.parse().ok())) else { continue };
        if !name.is_empty() {
            users.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    users
}

/// User ids and home folders of people from `/etc/passwd` (system users, below 1000, have no engines of their own).
pub fn homes(passwd: &str) -> Vec<(u32, String)> {
    let read = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let uid: u32 = fields.get(2)?.parse().ok()?;
        let home = fields.get(5).filter(|home| home.len() > 1 && home.starts_with('/'))?;
        (uid >= FIRST_PERSON && uid != NOBODY).then(|| (uid, (*home).to_owned()))
    };
    passwd.lines().filter_map(read).collect()
}

/// Makes the hash of use for nothing else than this.
const KEY: &[u8] = b"postern host id 1:";
const ID_BYTES: usize = 8;
/// UID_MIN of login.defs(5), as distributions ship it.
const FIRST_PERSON: u32 = 1000;
const NOBODY: u32 = 65_534;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_id_is_hashed_stably_and_not_shown() {
        let machine_id = "0123456789abcdef0123456789abcdef";
        let id = host_id(Some(&format!("{machine_id}\n")), Some("web1"));
        // printf 'postern host id 1:0123456789abcdef0123456789abcdef' | sha256sum
        assert_eq!(id, "machine-d82fc23d96a408a5");
        assert!(!machine_id.contains(&id[8..16]));
        assert_eq!(host_id(None, Some("web1")), "web1");
        assert_eq!(host_id(Some("uninitialized\n"), Some("web1")), "web1");
        assert_eq!(host_id(Some(""), None), "unknown");
    }

    #[test]
    fn os_release_in_its_quotings() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID='12'\nID=debian\nID_LIKE=x\n";
        let os = os_release(text).unwrap();
        assert_eq!(
            (os.id.as_str(), os.version.as_deref(), os.pretty_name.as_str()),
            ("debian", Some("12"), "Debian GNU/Linux 12 (bookworm)")
        );
        assert_eq!(os_release("NAME=\"a \\\"b\\\"\"").unwrap().pretty_name, "a \"b\"");
        assert_eq!(os_release(""), None);
    }

    #[test]
    fn users_by_id() {
        let users = users("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\nbroken\n:x:5:5::/:\nwww-data:x:33:33::/:\n");
        assert_eq!(users.get(&0).map(String::as_str), Some("root"));
        assert_eq!(users.get(&33).map(String::as_str), Some("www-data"));
        assert_eq!(users.len(), 2);
        let text = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nnobody:x:65534:65534::/nonexistent:\nx:x:1001:1::/:\nodd\n";
        assert_eq!(homes(text), [(1000, "/home/ann".to_owned())]);
    }
}
