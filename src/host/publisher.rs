//! Programs that hold a host's port for a container, and how each says which one: docker-proxy aside (`docker_proxy`),
//! conmon, pasta, slirp4netns, rootlesskit, rootlessport, and forkproxy of LXD and Incus. Pure.

use std::path::PathBuf;

use crate::model::Transport;

/// How a helper names the container behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// By its id.
    Container(String),
    /// By a process inside.
    Process(u32),
    /// By the file of its network namespace.
    Namespace(PathBuf),
    /// By nothing but the helper's own threads and children, some of which are inside.
    Child,
}

/// A helper with its port, where the arguments tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    pub behind: Behind,
    /// Host port and container port by transport.
    pub ports: Vec<(Transport, u16, u16)>,
}

/// Reads the arguments of a process of that name. `None`: it is no such helper.
pub fn helper(name: &str, cmdline: &[u8]) -> Option<Helper> {
    let text = String::from_utf8_lossy(cmdline);
    let words: Vec<&str> = text.trim_end_matches('\0').split('\0').collect();
    let plain = |behind| Some(Helper { behind, ports: Vec::new() });
    match name {
        // `-c ID` (long form `--cid`).
        "conmon" => {
            let id = value(&words, &["-c", "--cid"])?;
            (id.len() == 64).then(|| plain(Behind::Container(id.to_owned())))?
        }
        // `slirp4netns [OPTIONS] PID [TAP]`, or `--netns-type=path PATH TAP`: the last words that are no option.
        "slirp4netns" => {
            let target = words.iter().rev().filter(|word| !word.starts_with('-')).find_map(|word| target(word));
            plain(target?)
        }
        // `pasta [OPTIONS] --netns PATH`, or `pasta [OPTIONS] PID`.
        "pasta" | "pasta.avx2" | "passt" | "passt.avx2" => {
            let named = value(&words, &["--netns"]).and_then(target);
            let behind = named.or_else(|| target(words.last()?))?;
            Some(Helper { behind, ports: pasta_ports(&words) })
        }
        "rootlesskit" | "rootlessport" => plain(Behind::Child),
        // `lxd forkproxy -- LISTEN_PID LISTEN_FD tcp:0.0.0.0:80 CONNECT_PID CONNECT_FD tcp:127.0.0.1:8080 …`
        _ if words.get(1) == Some(&"forkproxy") => {
            let rest: Vec<&str> = words[2..].iter().copied().filter(|word| *word != "--").collect();
            // LXD before 4.0 gave no descriptors.
            let (listen, pid, connect) = if rest.get(1)?.contains(':') { (1, 2, 3) } else { (2, 3, 5) };
            Some(Helper {
                behind: Behind::Process(rest.get(pid)?.parse().ok()?),
                ports: proxied(rest.get(listen)?, rest.get(connect)?).unwrap_or_default(),
            })
        }
        _ => None,
    }
}

fn target(word: &str) -> Option<Behind> {
    if word.starts_with('/') {
        return Some(Behind::Namespace(PathBuf::from(word)));
    }
    word.parse().ok().filter(|pid| *pid > 0).map(Behind::Process)
}

/// The ports of a proxy device from what it listens on to what it connects to, where both are ports: one for one, or all
/// of them to one.
fn proxied(listen: &str, connect: &str) -> Option<Vec<(Transport, u16, u16)>> {
    let ((transport, outer), (other, inner)) = (endpoint(listen)?, endpoint(connect)?);
    let inner: Vec<u16> = match inner[..] {
        [one] => vec![one; outer.len()],
        _ => inner,
    };
    let fits = transport == other && outer.len() == inner.len();
    fits.then(|| outer.into_iter().zip(inner).map(|(outer, inner)| (transport, outer, inner)).collect())
}

/// `tcp:0.0.0.0:80`, `udp:[::]:53`, `tcp:0.0.0.0:80,443,8000-8010`.
fn endpoint(text: &str) -> Option<(Transport, Vec<u16>)> {
    let (transport, rest) = text.split_once(':')?;
    let transport = match transport {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        _ => return None,
    };
    let ranges: Option<Vec<(u16, u16)>> = rest.rsplit(':').next()?.split(',').map(range).collect();
    let ports: Vec<u16> = ranges?.into_iter().flat_map(|(low, high)| low..=high).take(MOST_PORTS).collect();
    Some((transport, ports))
}

/// `-t 8080-8081:80-81`, `-t 127.0.0.1/8080:80`, `-u 53`.
fn pasta_ports(words: &[&str]) -> Vec<(Transport, u16, u16)> {
    let mut ports = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let transport = match *word {
            "-t" | "--tcp-ports" => Transport::Tcp,
            "-u" | "--udp-ports" => Transport::Udp,
            _ => continue,
        };
        for specification in words.get(index + 1).into_iter().flat_map(|list| list.split(',')) {
            let specification = specification.rsplit('/').next().unwrap_or_default();
            let (outer, inner) = specification.split_once(':').unwrap_or((specification, specification));
            if let (Some(outer), Some(inner)) = (range(outer), range(inner))
                && outer.1 - outer.0 == inner.1 - inner.0
            {
                let pairs = (outer.0..=outer.1).zip(inner.0..=inner.1);
                ports.extend(pairs.take(MOST_PORTS).map(|(outer, inner)| (transport, outer, inner)));
            }
        }
    }
    ports
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high): (u16, u16) = (low.parse().ok()?, high.parse().ok()?);
    (low <= high && low > 0).then_some((low, high))
}

fn value<'a>(words: &[&'a str], names: &[&str]) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(index, word)| {
        if names.contains(word) {
            return words.get(index + 1).copied();
        }
        let (name, value) = word.split_once('=')?;
        names.contains(&name).then_some(value)
    })
}

const MOST_PORTS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4e1c2d5b6a79880011223344556677889900aabbccddeeff00112233445566";

    fn read(name: &str, line: &str) -> Option<Helper> {
        let bytes: Vec<u8> = line.split(' ').flat_map(|word| word.bytes().chain([0])).collect();
        helper(name, &bytes)
    }

    fn behind(name: &str, line: &str) -> Option<Behind> {
        read(name, line).map(|helper| helper.behind)
    }

    /// Lines as podman 4.3.1, passt 2023-03, slirp4netns 1.2.0 and LXD 5.0 write them.
    #[test]
    fn each_helper_names_its_container() {
        let line = format!("/usr/bin/conmon --api-version 1 -c {ID} -u {ID} -r /usr/bin/runc -n web");
        assert_eq!(behind("conmon", &line), Some(Behind::Container(ID.to_owned())));
        assert_eq!(behind("conmon", "/usr/bin/conmon --version"), None);
        let line = "/usr/bin/slirp4netns --disable-host-loopback --mtu=65520 -c -e 3 -r 4 --netns-type=path /run/user/1000/netns/netns-7 tap0";
        assert_eq!(behind("slirp4netns", line), Some(Behind::Namespace("/run/user/1000/netns/netns-7".into())));
        assert_eq!(behind("slirp4netns", "slirp4netns --mtu 65520 -c 4321 tap0"), Some(Behind::Process(4321)));
        let line =
            "/usr/bin/pasta --config-net -t 127.0.0.1/8080-8081:80-81 -u 53 --netns /run/user/1000/netns/netns-7";
        let helper = read("pasta", line).unwrap();
        assert_eq!(helper.behind, Behind::Namespace("/run/user/1000/netns/netns-7".into()));
        assert_eq!(helper.ports, [(Transport::Tcp, 8080, 80), (Transport::Tcp, 8081, 81), (Transport::Udp, 53, 53)]);
        assert_eq!(behind("pasta.avx2", "pasta -t none 4321"), Some(Behind::Process(4321)));
        let line = "/usr/bin/lxd forkproxy -- 1234 3 tcp:0.0.0.0:8080 5678 4 tcp:127.0.0.1:80 /log /pid 0 0 0 0";
        let helper = read("lxd", line).unwrap();
        assert_eq!((helper.behind, helper.ports), (Behind::Process(5678), vec![(Transport::Tcp, 8080, 80)]));
        let line = "incusd forkproxy -- 1234 3 tcp:0.0.0.0:80,8000-8001 5678 4 tcp:127.0.0.1:81-83 /log /pid 0 0 0 0";
        let ports = read("incusd", line).unwrap().ports;
        assert_eq!(ports, [(Transport::Tcp, 80, 81), (Transport::Tcp, 8000, 82), (Transport::Tcp, 8001, 83)]);
        let line = "incusd forkproxy -- 1 3 udp:[::]:5000-5001 5678 4 udp:[::1]:53 /log /pid 0 0 0 0";
        assert_eq!(read("incusd", line).unwrap().ports, [(Transport::Udp, 5000, 53), (Transport::Udp, 5001, 53)]);
        let old = "lxd forkproxy 1234 tcp:0.0.0.0:8080 5678 tcp:127.0.0.1:80 /log /pid";
        let helper = read("lxd", old).unwrap();
        assert_eq!((helper.behind, helper.ports), (Behind::Process(5678), vec![(Transport::Tcp, 8080, 80)]));
        // To a socket file: the container is known all the same.
        let line = "lxd forkproxy -- 1234 3 tcp:0.0.0.0:8080 5678 4 unix:/run/web.sock /log /pid 0 0 0 0";
        let helper = read("lxd", line).unwrap();
        assert_eq!((helper.behind, helper.ports), (Behind::Process(5678), vec![]));
        assert_eq!(behind("rootlessport", "rootlessport"), Some(Behind::Child));
    }

    #[test]
    fn other_programs_and_odd_lines_are_none() {
        for (name, line) in [
            ("nginx", "nginx -c /etc/nginx.conf"),
            ("lxd", "lxd --group lxd"),
            ("lxd", "lxd forkproxy -- 1 2"),
            ("lxd", "lxd forkproxy -- 1 2 unix:/a web 6 tcp:127.0.0.1:1"),
            ("pasta", "pasta"),
            ("conmon", ""),
        ] {
            assert_eq!(read(name, line), None, "{line}");
        }
        assert_eq!(range("5-4"), None);
        assert_eq!(read("pasta", "pasta -t 1-9:1-2 77").unwrap().ports, []);
    }
}
