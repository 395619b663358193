//! Which of the processes that hold a socket is its owner. Pure.

/// A process that has a descriptor of a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    pub pid: u32,
    pub name: String,
}

/// The holder that is named as owner, and whether systemd holds the socket too.
///
/// Of several holders the one with the lowest pid is named: workers inherit the socket from a master that is older.
/// systemd (pid 1) is named only where nobody else holds the socket: then the service has not been started yet.
pub fn choose(holders: &[Holder]) -> Option<(&Holder, bool)> {
    let activated = holders.iter().any(is_manager);
    let owner = holders.iter().filter(|holder| !is_manager(holder)).min().or_else(|| holders.iter().min())?;
    Some((owner, activated))
}

/// The system's service manager: a pid 1 of another name is a container's service, not a manager.
fn is_manager(holder: &Holder) -> bool {
    holder.pid == 1 && holder.name == "systemd"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(pid: u32, name: &str) -> Holder {
        Holder { pid, name: name.to_owned() }
    }

    #[test]
    fn the_oldest_process_that_is_not_the_manager() {
        let holders = [holder(90, "nginx"), holder(80, "nginx"), holder(1, "systemd")];
        assert_eq!(choose(&holders), Some((&holders[1], true)));
        assert_eq!(choose(&holders[2..]), Some((&holders[2], true)));
        assert_eq!(choose(&holders[..1]), Some((&holders[0], false)));
        assert_eq!(choose(&[]), None);
    }

    #[test]
    fn pid_1_of_a_container_is_a_plain_owner() {
        let holders = [holder(1, "nginx"), holder(7, "nginx")];
        assert_eq!(choose(&holders), Some((&holders[0], false)));
    }
}
