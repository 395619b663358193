//! Gives up every privilege and almost every system call, for good: what a process does that reads what the network sends
//! and needs nothing but the sockets that it has.

use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};

/// Why a process could not be confined; it must not go on then.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    #[error("giving up capabilities: {0}")]
    Capabilities(#[from] io::Error),
    #[error("a seccomp filter: {0}; hint: was the kernel built with CONFIG_SECCOMP_FILTER?")]
    Filter(String),
}

/// Gives up all capabilities of the calling thread, and of those that it starts from now on, and the ways to new ones.
///
/// # Errors
/// The kernel refuses.
pub fn give_up_capabilities() -> Result<(), ConfineError> {
    set_no_new_privs(true).map_err(io::Error::from)?;
    clear_ambient_capability_set().map_err(io::Error::from)?;
    for number in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // Not allowed without CAP_SETPCAP; nothing comes of the set then, since no program gains anything any more.
            // Behind the last capability that the kernel knows.
            Err(Errno::PERM | Errno::INVAL) => break,
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets).map_err(io::Error::from)?;
    Ok(())
}

/// Leaves all threads of the process the calls that a sweep makes: sending and receiving on open sockets, waiting, time,
/// memory that is not executable, and the end. All others fail with EPERM.
///
/// # Errors
/// The kernel refuses, or this machine type is unknown.
pub fn give_up_calls() -> Result<(), ConfineError> {
    let failed = |error: &dyn std::fmt::Display| ConfineError::Filter(error.to_string());
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    for (call, argument) in [(libc::SYS_mmap, 2), (libc::SYS_mprotect, 2)] {
        let no_code = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
        let condition =
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, no_code, 0).map_err(|error| failed(&error))?;
        rules.insert(call, vec![SeccompRule::new(vec![condition]).map_err(|error| failed(&error))?]);
    }
    let machine = std::env::consts::ARCH.try_into().map_err(|error: seccompiler::BackendError| failed(&error))?;
    let otherwise = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let filter = SeccompFilter::new(rules, otherwise, SeccompAction::Allow, machine).map_err(|error| failed(&error))?;
    let program: BpfProgram = filter.try_into().map_err(|error: seccompiler::BackendError| failed(&error))?;
    apply_filter_all_threads(&program).map_err(|error| failed(&error))
}

const CALLS: &[i64] = &[
    // Sockets that are open.
    libc::SYS_getsockopt,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    // Waiting and time.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_futex,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_getrandom,
    // Signals and the end of threads and of the process.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Capabilities are a thread's: the test gives up those of a thread of its own.
    #[test]
    fn nothing_is_left_of_the_capabilities() {
        let left = std::thread::spawn(|| {
            give_up_capabilities().unwrap();
            rustix::thread::capabilities(None).unwrap()
        });
        let left = left.join().unwrap();
        assert!(left.effective.is_empty() && left.permitted.is_empty() && left.inheritable.is_empty());
    }
}
