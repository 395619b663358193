//! Capability sets by name (capabilities(7)). Pure.

/// Reads the hexadecimal mask of `/proc/PID/status`.
pub fn mask(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim(), 16).ok()
}

/// Names of the capabilities of a mask; `all` for every one that `whole`, the caller's own bounding set, has.
pub fn names(mask: u64, whole: u64) -> Vec<String> {
    if mask != 0 && whole & SYS_ADMIN != 0 && mask & whole == whole {
        return vec!["all".to_owned()];
    }
    let bits = (0..u64::BITS).filter(|bit| mask & (1 << bit) != 0);
    bits.map(|bit| NAMES.get(bit as usize).map_or_else(|| format!("#{bit}"), |name| (*name).to_owned())).collect()
}

/// What a container's bounding set has beyond the engines' default.
pub fn added(bounding: u64, whole: u64) -> Vec<String> {
    if names(bounding, whole) == ["all"] {
        return vec!["all".to_owned()];
    }
    names(bounding & !DEFAULT, whole)
}

/// The same for names as OCI's config.json writes them (`CAP_CHOWN`).
pub fn mask_of<'a>(names: impl Iterator<Item = &'a str>) -> u64 {
    let bit = |name: &str| {
        let name = name.strip_prefix("CAP_").unwrap_or(name).to_ascii_lowercase();
        NAMES.iter().position(|known| *known == name)
    };
    names.filter_map(bit).fold(0, |mask, bit| mask | 1 << bit)
}

/// As Docker, Podman and containerd give them to a container: audit_write, chown, dac_override, fowner, fsetid, kill,
/// mknod, net_bind_service, net_raw, setfcap, setgid, setpcap, setuid, sys_chroot (moby, oci/caps/defaults.go).
const DEFAULT: u64 = 0xa804_25fb;
const SYS_ADMIN: u64 = 1 << 21;

/// By their numbers (linux/capability.h).
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Every capability of Linux 6.18.
    const WHOLE: u64 = 0x1ff_ffff_ffff;

    #[test]
    fn masks_as_the_kernel_writes_them() {
        assert_eq!(names(mask("0000000000000400").unwrap(), WHOLE), ["net_bind_service"]);
        assert_eq!(names(mask("000001ffffffffff\n").unwrap(), WHOLE), ["all"]);
        assert_eq!(names(1 << 41, WHOLE), ["#41"]);
        assert_eq!((names(0, WHOLE).len(), mask("x")), (0, None));
        // A caller with less than all knows no `all`.
        assert_eq!(names(0x401, 0x401), ["chown", "net_bind_service"]);
    }

    #[test]
    fn what_a_container_has_beyond_the_default() {
        // CapBnd of a container of Docker 20.10, and of one with --cap-add NET_ADMIN.
        assert_eq!(added(mask("00000000a80425fb").unwrap(), WHOLE), [""; 0]);
        assert_eq!(added(mask("00000000a80435fb").unwrap(), WHOLE), ["net_admin"]);
        assert_eq!(added(WHOLE, WHOLE), ["all"]);
        assert_eq!(mask_of(["CAP_NET_ADMIN", "chown", "CAP_NEW"].into_iter()), 1 << 12 | 1);
    }
}
