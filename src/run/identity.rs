//! Who runs this, when, and under which id: the only place of a run that asks the clock.
#![expect(clippy::disallowed_methods, reason = "names the moment and the operator of a run")]

use jiff::Timestamp;

/// The moment, to the second; what reports print.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    // Whole seconds are valid wherever `now` is.
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// An id that sorts by time and does not repeat on one machine: `20261124T134500Z-1a2b`.
pub fn run_id(started: Timestamp) -> String {
    format!("{}-{:04x}", started.strftime("%Y%m%dT%H%M%SZ"), std::process::id() & 0xffff)
}

/// A seed for the order of probes: differs from run to run, needs no secrecy.
pub fn seed() -> u64 {
    // Nanoseconds since 1970 fit 64 bits until 2554; the cast keeps the low ones, which are the ones that differ.
    (Timestamp::now().as_nanosecond() as u64) ^ (u64::from(std::process::id()) << 32)
}

/// The operator as the log names him: the login name from the environment with the effective uid.
pub fn operator() -> String {
    let uid = rustix::process::geteuid().as_raw();
    match std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")) {
        Ok(name) if !name.is_empty() => format!("{name} (uid {uid})"),
        _ => format!("uid {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time() {
        let early = run_id(Timestamp::from_second(1_000_000_000).unwrap());
        let late = run_id(Timestamp::from_second(1_700_000_000).unwrap());
        assert!(early < late);
        assert!(early.starts_with("20010909T014640Z-"));
    }
}
