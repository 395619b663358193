//! The numbers of ONC RPC programs: their names, and what it means when one is registered.

/// Classes in the fact `exposes` and the programs that they stand for.
pub const CLASSES: &[(&str, &[u32])] = &[
    // ToolTalk, the calendar manager and sadmind: remote code execution of old, nobody patches them any more.
    ("historic-rce", &[100_068, 100_083, 100_232]),
    ("mountd", &[MOUNTD]),
    ("nfs", &[NFS]),
    // ypserv, ypbind, yppasswdd, fypxfrd: password maps for whoever knows the domain's name.
    ("nis", &[100_004, 100_007, 100_009, 100_069, 600_100_069]),
    // rstatd, rusersd, walld, sprayd: load and users for everybody, text on everybody's terminal.
    ("remote-status", &[100_001, 100_002, 100_008, 100_012]),
];

/// The portmapper itself.
pub const PORTMAPPER: u32 = 100_000;
const NFS: u32 = 100_003;
const MOUNTD: u32 = 100_005;

/// Names of programs, ordered by number.
const PROGRAMS: &[(u32, &str)] = &[
    (PORTMAPPER, "portmapper"),
    (100_001, "rstatd"),
    (100_002, "rusersd"),
    (NFS, "nfs"),
    (100_004, "ypserv"),
    (MOUNTD, "mountd"),
    (100_007, "ypbind"),
    (100_008, "walld"),
    (100_009, "yppasswdd"),
    (100_011, "rquotad"),
    (100_012, "sprayd"),
    (100_017, "rexd"),
    (100_020, "llockmgr"),
    (100_021, "nlockmgr"),
    (100_024, "status"),
    (100_026, "bootparamd"),
    (100_028, "ypupdated"),
    (100_029, "keyserv"),
    (100_068, "cmsd"),
    (100_069, "ypxfrd"),
    (100_083, "ttdbserverd"),
    (100_133, "nsm_addrand"),
    (100_227, "nfs_acl"),
    (100_232, "sadmind"),
    (100_249, "snmpXdmid"),
    (100_300, "nisd"),
    (150_001, "pcnfsd"),
    (300_019, "amd"),
    (391_002, "sgi_fam"),
    (600_100_069, "fypxfrd"),
];

/// A program's name; its number where it has none.
pub fn name(program: u32) -> String {
    match PROGRAMS.binary_search_by_key(&program, |(number, _)| *number) {
        Ok(position) => PROGRAMS.get(position).map_or_else(String::new, |(_, name)| (*name).to_owned()),
        Err(_) => program.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(PROGRAMS.is_sorted_by(|one, other| one.0 < other.0));
        assert!(CLASSES.is_sorted_by(|one, other| one.0 < other.0));
        assert_eq!(name(100_003), "nfs");
        assert_eq!(name(4_000_000_000), "4000000000");
    }
}
