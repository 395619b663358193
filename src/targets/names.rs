//! Asks for the addresses of host names: /etc/hosts first, then the name servers of /etc/resolv.conf. A driver: it sends.
//!
//! Both families are asked for apart, so that one family's failure is known and not taken for "has none".

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trust_dns_resolver::config::ResolverConfig;
use trust_dns_resolver::net::runtime::TokioRuntimeProvider;
use trust_dns_resolver::net::{DnsError, NetError};
use trust_dns_resolver::proto::op::{Query, ResponseCode};
use trust_dns_resolver::proto::rr::{Name, RecordType};
use trust_dns_resolver::{Hosts, TokioResolver};

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Sorted, never empty.
    pub addresses: Vec<IpAddr>,
    /// Why the addresses of one family could not be had, when so; the other family's are here.
    pub missing: Option<String>,
}

/// The resolver of this machine.
#[derive(Clone)]
pub struct Names {
    resolver: TokioResolver,
    hosts: Arc<Hosts>,
}

impl Names {
    /// The system's configuration. Without any name server (no /etc/resolv.conf) the hosts file and `localhost` still
    /// answer.
    pub fn system() -> Result<Self, String> {
        let builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
            TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default())
        });
        Self::build(builder, Hosts::from_system().unwrap_or_default())
    }

    fn build(
        mut builder: trust_dns_resolver::ResolverBuilder<TokioRuntimeProvider>,
        hosts: Hosts,
    ) -> Result<Self, String> {
        let options = builder.options_mut();
        options.timeout = QUERY_TIMEOUT;
        options.attempts = 2;
        let resolver = builder.build().map_err(|error| format!("no resolver: {error}"))?;
        Ok(Self { resolver, hosts: Arc::new(hosts) })
    }

    /// All names, some at a time.
    pub async fn resolve_all(&self, names: BTreeSet<String>) -> BTreeMap<String, Result<Resolved, String>> {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        for name in names {
            let (this, places) = (self.clone(), Arc::clone(&places));
            tasks.spawn(async move {
                // Never closed, so always granted.
                let _place = places.acquire().await;
                let answer = tokio::time::timeout(NAME_TIMEOUT, this.resolve(&name)).await;
                (name, answer.unwrap_or_else(|_| Err("no answer in time".to_owned())))
            });
        }
        tasks.join_all().await.into_iter().collect()
    }

    async fn resolve(&self, name: &str) -> Result<Resolved, String> {
        // As ASCII: the IDNA rules would refuse underscores.
        let name = Name::from_ascii(name).map_err(|error| error.to_string())?;
        // The hosts file is an answer for both families at once, as for the C library ("hosts: files dns").
        let known = self.in_hosts(&name);
        if !known.is_empty() {
            return Ok(Resolved { addresses: sorted(known), missing: None });
        }
        let (v4, v6) =
            tokio::join!(self.family(name.clone(), RecordType::A), self.family(name.clone(), RecordType::AAAA));
        let (addresses, missing) = match (v4, v6) {
            (Ok(v4), Ok(v6)) => ([v4, v6].concat(), None),
            (Ok(v4), Err(error)) if !v4.is_empty() => (v4, Some(format!("IPv6 addresses: {error}"))),
            (Err(error), Ok(v6)) if !v6.is_empty() => (v6, Some(format!("IPv4 addresses: {error}"))),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        if addresses.is_empty() {
            return Err("no such name, or it has no address".to_owned());
        }
        Ok(Resolved { addresses: sorted(addresses), missing })
    }

    fn in_hosts(&self, name: &Name) -> Vec<IpAddr> {
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)))
            .flat_map(|found| found.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
            .collect()
    }

    /// The addresses of one family; none is an answer too.
    async fn family(&self, name: Name, kind: RecordType) -> Result<Vec<IpAddr>, String> {
        match self.resolver.lookup(name, kind).await {
            Ok(found) => Ok(found.answers().iter().filter_map(|record| record.data.ip_addr()).collect()),
            // SERVFAIL and REFUSED come as "no records" too, but say nothing about the name.
            Err(NetError::Dns(DnsError::NoRecordsFound(none)))
                if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

/// IPv4 addresses in IPv6 records become IPv4, as everywhere.
fn sorted(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let unique: BTreeSet<IpAddr> = addresses.into_iter().map(|address| address.to_canonical()).collect();
    unique.into_iter().collect()
}

const AT_ONCE: usize = 32;
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);
/// For one name with all its search domains.
const NAME_TIMEOUT: Duration = Duration::from_secs(15);

#[cfg(test)]
pub(super) mod tests {
    use std::net::SocketAddr;

    use tokio::net::UdpSocket;
    use trust_dns_resolver::config::{ConnectionConfig, NameServerConfig};
    use trust_dns_resolver::proto::op::{Message, OpCode};
    use trust_dns_resolver::proto::rr::{RData, Record};

    use super::*;

    /// A resolver that asks a name server on loopback, which knows a few names and fails on others as told.
    #[expect(clippy::disallowed_methods, reason = "a name server for the test")]
    pub async fn against_a_server() -> Names {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let answer = answer(&Message::from_vec(&buffer[..length]).unwrap());
                socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
            }
        });
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(&b"198.18.7.7 files.lan\n2001:db8::77 files.lan\n"[..]).unwrap();
        Names::build(builder(Some(address)), hosts).unwrap()
    }

    fn builder(server: Option<SocketAddr>) -> trust_dns_resolver::ResolverBuilder<TokioRuntimeProvider> {
        let servers = server.into_iter().map(|server| {
            let mut connection = ConnectionConfig::udp();
            connection.port = server.port();
            NameServerConfig::new(server.ip(), true, vec![connection])
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    }

    fn answer(request: &Message) -> Message {
        let query = request.queries[0].clone();
        let mut response = Message::response(request.metadata.id, OpCode::Query);
        let name = query.name().to_ascii().to_ascii_lowercase();
        let found: &[&str] = match (name.trim_end_matches('.'), query.query_type()) {
            ("both.lan", RecordType::A) => &["198.18.0.9", "198.18.0.7"],
            ("both.lan", RecordType::AAAA) => &["2001:db8::7"],
            ("my_host.lan" | "half.lan", RecordType::A) => &["198.18.0.8"],
            ("local.lan", RecordType::A) => &["0.0.0.0"],
            ("mixed.lan", RecordType::A) => &["198.18.0.4"],
            ("local.lan" | "mixed.lan", RecordType::AAAA) => &["fe80::8"],
            ("mapped.lan", RecordType::AAAA) => &["::ffff:198.18.0.5"],
            ("half.lan" | "broken.lan", _) => {
                response.metadata.response_code = ResponseCode::ServFail;
                &[]
            }
            ("my_host.lan" | "mapped.lan" | "empty.lan", _) => &[],
            _ => {
                response.metadata.response_code = ResponseCode::NXDomain;
                &[]
            }
        };
        for address in found {
            let data = RData::from(address.parse::<IpAddr>().unwrap());
            response.add_answer(Record::from_rdata(query.name().clone(), 60, data));
        }
        response.add_query(query);
        response
    }

    async fn one(names: &Names, name: &str) -> Result<Resolved, String> {
        names.resolve_all(BTreeSet::from([name.to_owned()])).await.remove(name).unwrap()
    }

    fn found(addresses: &[&str]) -> Result<Resolved, String> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Ok(Resolved { addresses, missing: None })
    }

    #[tokio::test]
    async fn all_records_of_both_families_count() {
        let names = against_a_server().await;
        assert_eq!(one(&names, "both.lan").await, found(&["198.18.0.7", "198.18.0.9", "2001:db8::7"]));
        assert_eq!(one(&names, "both.lan.").await, found(&["198.18.0.7", "198.18.0.9", "2001:db8::7"]));
        assert_eq!(one(&names, "my_host.lan").await, found(&["198.18.0.8"]));
        assert_eq!(one(&names, "mapped.lan").await, found(&["198.18.0.5"]));
    }

    #[tokio::test]
    async fn a_failure_of_one_family_is_told_from_having_none() {
        let names = against_a_server().await;
        let half = one(&names, "half.lan").await.unwrap();
        assert_eq!(half.addresses, ["198.18.0.8".parse::<IpAddr>().unwrap()]);
        assert!(half.missing.is_some_and(|missing| missing.starts_with("IPv6 addresses: ")));
        assert!(one(&names, "broken.lan").await.is_err());
        for nothing in ["empty.lan", "unknown.lan"] {
            assert_eq!(one(&names, nothing).await.unwrap_err(), "no such name, or it has no address");
        }
    }

    #[tokio::test]
    async fn the_hosts_file_comes_first_and_needs_no_server() {
        let names = against_a_server().await;
        assert_eq!(one(&names, "files.lan").await, found(&["198.18.7.7", "2001:db8::77"]));
        let alone = Names::build(builder(None), Hosts::default()).unwrap();
        assert_eq!(one(&alone, "localhost").await, found(&["127.0.0.1", "::1"]));
        assert!(one(&alone, "both.lan").await.is_err());
    }
}
