//! Recorded answers of the kernel, for tests. Their origin: tests/data/host/netlink/README.md.

use super::wire;

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/host/netlink/", $name, ".hex"))
    };
}
pub(in crate::host) use recorded;

/// The bodies of the messages of a kind.
pub fn bodies(hex: &str, kind: u16) -> Vec<Vec<u8>> {
    let digits: Vec<u8> = hex.lines().filter(|line| !line.starts_with('#')).flat_map(str::bytes).collect();
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    let found: Vec<_> = wire::messages(&bytes).filter(|one| one.kind == kind).map(|one| one.body.to_vec()).collect();
    assert!(!found.is_empty(), "no message of the kind {kind}");
    found
}

/// Runs a reader over all shortened forms of each body: it may say `None` or less, and must not panic.
pub fn cut<T>(bodies: &[Vec<u8>], read: impl Fn(&[u8]) -> T) {
    for body in bodies {
        for length in 0..body.len() {
            let _ = read(&body[..length]);
        }
    }
}
