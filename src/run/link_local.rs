//! Multicast DNS on the links of the targets: hosts whose firewall drops unicast to 5353 often admit the group.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::assemble::{self, Outside};
use super::outside::Look;
use crate::model::report::Gap;
use crate::model::{Endpoint, Service};
use crate::probe::Prober;
use crate::probe::multicast::{MulticastConfig, Responder, discover};

/// The port of multicast DNS (RFC 6762 section 3).
pub const PORT: u16 = 5353;

/// For all answers of a link together.
const WAIT: Duration = Duration::from_millis(1500);
const RESPONDERS_PER_FAMILY: usize = 4096;

/// Asks the group on each link that targets are on. Responders that are no targets are passed over; those whose port
/// already answered by unicast keep what they said there.
pub async fn ask(look: &Look, prober: &Prober, outside: &mut Outside) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut links: BTreeMap<String, u32> = BTreeMap::new();
    for own in look.own.iter().filter(|own| own.interface != "lo" && !own.address.is_loopback()) {
        let on_link = |address: &IpAddr| own.is_on_link(*address) && *address != own.address;
        let has_target = look.targets.ranges().any(|(first, last)| on_link(&first) || on_link(&last))
            || outside.living.iter().any(on_link);
        if has_target {
            links.insert(own.interface.clone(), own.index);
        }
    }
    for (interface, interface_index) in links {
        let config = MulticastConfig {
            interface: interface.clone(),
            interface_index,
            // Any number will do: it only has to come back.
            id: look.seed as u32,
            known: outside.living.iter().copied().collect(),
            wait: WAIT,
            limit: RESPONDERS_PER_FAMILY,
        };
        let discovered = discover(&config).await;
        for responder in discovered.responders {
            let endpoint = Endpoint::udp(responder.address, PORT);
            if look.targets.contains(responder.address)
                && !outside.services.contains_key(&endpoint)
                && let Some(service) = service(prober, endpoint, responder)
            {
                assemble::settle_open(outside, endpoint, service);
            }
        }
        // A link without IPv6 is nothing that was asked for.
        gaps.extend(discovered.gaps.into_iter().filter(|gap| gap.starts_with("more than")).map(|cause| Gap {
            what: format!("multicast DNS responders on {interface}"),
            cause,
            settled_by: "a scan of the hosts in question".to_owned(),
            incomplete: false,
        }));
    }
    gaps
}

fn service(prober: &Prober, endpoint: Endpoint, responder: Responder) -> Option<Service> {
    let mut service = prober.judge(endpoint, "dns-sd", responder.facts)?;
    service.details.insert("heard-by".to_owned(), "a query to the multicast group; unicast found no answer".to_owned());
    Some(service)
}
