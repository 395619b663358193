//! Translations of nftables rules.

use super::draw::Draw;
use super::matches::{Context, join, matching};
use super::nft::{Family, Place, inner_port};
use super::pool::Version;

/// A rule that translates.
pub fn nat(draw: &Draw, context: &Context<'_>) -> String {
    // Translations that few packets meet would tell little.
    let condition = match draw.below(10) {
        0..3 => draw.with("dport", format!("{} dport {}", context.protocol, draw.pick(context.ports))),
        3..5 => {
            let ports = join(&draw.some(context.ports, 3));
            draw.with("anonymous set", format!("{} dport {{ {ports} }}", context.protocol))
        }
        5..9 => matching(draw, context),
        _ => format!("{} {}", matching(draw, context), matching(draw, context)),
    };
    let version = context.version;
    let family = version.nft();
    // A table of both families has to be told which one an address is of.
    let (guard, of) = if context.family == Family::Inet {
        (format!("meta nfproto {} ", if version == Version::V4 { "ipv4" } else { "ipv6" }), format!(" {family}"))
    } else {
        (String::new(), String::new())
    };
    let with_port = |address: &str, port: u16| {
        if version == Version::V4 { format!("{address}:{port}") } else { format!("[{address}]:{port}") }
    };
    let (inner, protocol) = (inner_port(draw), context.protocol);
    let text = match context.place {
        Place::NatPrerouting => match draw.below(12) {
            0 | 1 => draw.with("dnat to address", format!("dnat{of} to {}", version.target(draw))),
            2..6 => {
                let target = with_port(version.target(draw), inner);
                draw.with("dnat to address and port", format!("meta l4proto {protocol} dnat{of} to {target}"))
            }
            6 => draw.with("redirect", "redirect"),
            7 | 8 => draw.with("redirect to port", format!("meta l4proto {protocol} redirect to :{inner}")),
            9 => {
                let (a, b) = (version.target(draw), version.target(draw));
                let ports = draw.some(context.ports, 2);
                draw.with(
                    "dnat by map",
                    format!(
                        "meta l4proto {protocol} dnat{of} to {protocol} dport map {{ {} : {a}, {} : {b} }}",
                        ports[0], ports[1]
                    ),
                )
            }
            10 => {
                let (a, b) = (version.target(draw), version.target(draw));
                let ports = draw.some(context.ports, 2);
                let elements = format!("{} : {a} . {inner}, {} : {b} . 80", ports[0], ports[1]);
                draw.with(
                    "dnat by map to address and port",
                    format!("meta l4proto {protocol} dnat {family} to {protocol} dport map {{ {elements} }}"),
                )
            }
            _ => {
                let ports = draw.some(context.ports, 2);
                draw.with(
                    "redirect by map",
                    format!(
                        "meta l4proto {protocol} redirect to :{protocol} dport map {{ {} : {inner}, {} : 80 }}",
                        ports[0], ports[1]
                    ),
                )
            }
        },
        Place::NatPostrouting => match draw.below(4) {
            0 | 1 => draw.with("masquerade", "masquerade"),
            2 => draw.with("snat", format!("snat{of} to {}", version.mask(draw))),
            _ => draw.with("masquerade to ports", format!("meta l4proto {protocol} masquerade to :10000-20000")),
        },
        _ => draw.with("snat in input", format!("snat{of} to {}", version.mask(draw))),
    };
    format!("{guard}{condition} {text}")
}
