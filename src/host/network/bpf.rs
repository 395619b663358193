//! Driver: BPF programs that could answer, redirect or drop packets before any rule or socket sees them: XDP, tc (clsact
//! and tcx), netkit, socket look-up. Names only, by netlink and bpf(2).
//!
//! Not seen: programs of cgroups, netfilter links, lightweight tunnels, and programs without a name (shown by their id).
#![expect(clippy::disallowed_methods, reason = "opens the own namespace's file")]

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::kernel::Kernel;
use super::link::Link;
use super::wire::{attribute, text, u32_at};

/// What is attached in one namespace, each as `WHERE:NAME`.
#[derive(Debug, Default)]
pub struct Attached {
    /// By the number of the interface.
    pub interfaces: HashMap<u32, Vec<String>>,
    pub namespace: Vec<String>,
    pub refused: Vec<(String, String)>,
}

/// Asks for the programs of this namespace and of its interfaces.
pub fn attached(kernel: &mut Kernel, links: &[Link]) -> Attached {
    let mut found = Attached::default();
    for link in links {
        for id in &link.xdp {
            found.add(link.index, "xdp", program_name(*id));
        }
    }
    if let Err(error) = classifiers(kernel, &mut found) {
        found.refused.push(("BPF programs of traffic control".to_owned(), error.to_string()));
    }
    if let Err(error) = queries(links, &mut found) {
        found.refused.push(("BPF programs at interfaces".to_owned(), error.to_string()));
    }
    found
}

impl Attached {
    fn add(&mut self, index: u32, place: &str, name: String) {
        self.interfaces.entry(index).or_default().push(format!("{place}:{name}"));
    }
}

/// Filters at the two hooks of clsact (linux/pkt_sched.h, linux/pkt_cls.h).
fn classifiers(kernel: &mut Kernel, found: &mut Attached) -> io::Result<()> {
    let mut hooks = Vec::new();
    kernel.dump(RTM_GETQDISC, &[0; TC_HEADER], |message| {
        let Some((_, body)) = message else { return hooks.clear() };
        let kind = body.get(TC_HEADER..).and_then(|inside| attribute(inside, TCA_KIND)).map(text);
        let places = match kind.as_deref() {
            Some("clsact") => &PLACES[..],
            Some("ingress") => &PLACES[..1],
            _ => return,
        };
        if let Some(index) = u32_at(body, 4) {
            hooks.extend(places.iter().map(|place| (index, *place)));
        }
    })?;
    for (index, (place, parent)) in hooks {
        let mut body = vec![0; TC_HEADER];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        body[12..16].copy_from_slice(&u32::to_ne_bytes(parent));
        let mut names = Vec::new();
        kernel.dump(RTM_GETTFILTER, &body, |message| match message {
            Some((_, body)) => names.extend(classifier(body)),
            None => names.clear(),
        })?;
        names.dedup();
        names.into_iter().for_each(|name| found.add(index, place, name));
    }
    Ok(())
}

/// Name of the program of RTM_NEWTFILTER: `struct tcmsg` and attributes; the kind of a filter that has no program by name
/// (`u32`, `flower`, classic BPF): its actions may drop or redirect packets all the same.
fn classifier(body: &[u8]) -> Option<String> {
    let inside = body.get(TC_HEADER..)?;
    let kind = attribute(inside, TCA_KIND).map(text)?;
    let program = attribute(inside, TCA_OPTIONS).and_then(|options| attribute(options, TCA_BPF_NAME)).map(text);
    Some(program.filter(|_| kind == "bpf").unwrap_or(kind))
}

/// What has no netlink: tcx and netkit by interface, socket look-up by namespace.
fn queries(links: &[Link], found: &mut Attached) -> io::Result<()> {
    let own = std::fs::File::open("/proc/thread-self/ns/net")?;
    let Some(ids) = query(own.as_raw_fd().cast_unsigned(), BPF_SK_LOOKUP)? else { return Ok(()) };
    found.namespace = ids.into_iter().map(|id| format!("sk-lookup:{}", program_name(id))).collect();
    for (place, kind) in [("tcx-ingress", BPF_TCX_INGRESS), ("tcx-egress", BPF_TCX_EGRESS)] {
        for link in links {
            // Kernels before 6.6 have no tcx.
            let Some(ids) = query(link.index, kind)? else { break };
            ids.into_iter().for_each(|id| found.add(link.index, place, program_name(id)));
        }
    }
    for link in links.iter().filter(|link| link.kind.as_deref() == Some("netkit")) {
        for (place, kind) in [("netkit-primary", BPF_NETKIT_PRIMARY), ("netkit-peer", BPF_NETKIT_PEER)] {
            let ids = query(link.index, kind)?.unwrap_or_default();
            ids.into_iter().for_each(|id| found.add(link.index, place, program_name(id)));
        }
    }
    Ok(())
}

/// Ids of what is attached to a target (BPF_PROG_QUERY). `None`: the kernel does not know the place.
fn query(target: u32, kind: u32) -> io::Result<Option<Vec<u32>>> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut attribute = [0_u64; 8];
    attribute[0] = pair(target, kind);
    attribute[2] = ids.as_mut_ptr().expose_provenance() as u64;
    attribute[3] = MOST_PROGRAMS as u64;
    match bpf(BPF_PROG_QUERY, &mut attribute) {
        Ok(_) => {
            let count = (attribute[3] & u64::from(u32::MAX)) as usize;
            Ok(Some(ids[..count.min(MOST_PROGRAMS)].to_vec()))
        }
        // More of them than there is room for: the first ones are filled in.
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => Ok(Some(ids.to_vec())),
        Err(error) => match error.raw_os_error() {
            // The interface went away, or carries none of the kind.
            Some(libc::ENODEV | libc::ENOENT) => Ok(Some(Vec::new())),
            Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP) => Ok(None),
            _ => Err(error),
        },
    }
}

/// The name that a program was loaded with, else its id.
fn program_name(id: u32) -> String {
    name(id).ok().filter(|name| !name.is_empty()).unwrap_or_else(|| format!("#{id}"))
}

fn name(id: u32) -> io::Result<String> {
    let mut attribute = [0_u64; 8];
    attribute[0] = pair(id, 0);
    let fd = bpf(BPF_PROG_GET_FD_BY_ID, &mut attribute)?;
    let program = descriptor(fd);
    // `struct bpf_prog_info` up to its name; zeros: no instructions are asked for.
    let mut info = [0_u8; INFO];
    let mut attribute = [0_u64; 8];
    attribute[0] = pair(program.as_fd().as_raw_fd().cast_unsigned(), INFO as u32);
    attribute[1] = info.as_mut_ptr().expose_provenance() as u64;
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attribute)?;
    Ok(text(&info[INFO_NAME..]))
}

/// Two u32 fields in the order of memory.
fn pair(first: u32, second: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..].copy_from_slice(&second.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

#[expect(unsafe_code, reason = "bpf(2) has no wrapper")]
fn bpf(command: u32, attribute: &mut [u64; 8]) -> io::Result<i32> {
    // SAFETY: the attribute is 64 bytes that live for the call; pointers in it lead to buffers of the callers that live
    // as long, with their sizes beside them; the three commands read programs and change nothing.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attribute.as_mut_ptr(), size_of_val(attribute)) };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}

#[expect(unsafe_code, reason = "a descriptor that bpf(2) has just made")]
fn descriptor(fd: i32) -> OwnedFd {
    // SAFETY: the kernel made it for this call, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

const RTM_GETQDISC: u16 = 38;
const RTM_GETTFILTER: u16 = 46;
/// Size of `struct tcmsg`.
const TC_HEADER: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
/// TC_H_CLSACT with TC_H_MIN_INGRESS and TC_H_MIN_EGRESS.
const PLACES: [(&str, u32); 2] = [("tc-ingress", 0xffff_fff2), ("tc-egress", 0xffff_fff3)];

const BPF_PROG_GET_FD_BY_ID: u32 = 13;
const BPF_OBJ_GET_INFO_BY_FD: u32 = 15;
const BPF_PROG_QUERY: u32 = 16;
const BPF_SK_LOOKUP: u32 = 36;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const BPF_NETKIT_PRIMARY: u32 = 54;
const BPF_NETKIT_PEER: u32 = 55;
/// BPF_MPROG_MAX is 64.
const MOST_PROGRAMS: usize = 64;
/// Bytes of `struct bpf_prog_info` up to and with its name, and where the name is.
const INFO: usize = 80;
const INFO_NAME: usize = 64;
