//! Address translation of a connection's first packet (nf_nat_core.c, nft_nat.c, nf_nat_redirect.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::fields::Scene;
use super::packet::{
    Device, Packet, Port, STATUS_DESTINATION_NAT, STATUS_DESTINATION_NAT_DONE, STATUS_SOURCE_NAT,
    STATUS_SOURCE_NAT_DONE, Tracking, address as address_of,
};
use super::ruleset::{Expression, Hook, Ports, Statement, Translation, TranslationTarget};
use super::value::Value;

/// What a translation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Translated {
    Done,
    /// A map has no element for the packet: the rule ends here.
    Missing,
    /// There is no address to translate to.
    Dropped,
    /// With what is not known.
    Unknown(String),
}

/// Applies a NAT statement to a packet that is tracked and not yet translated at this hook.
pub fn apply<'a>(statement: &'a Statement, scene: &Scene<'a>, hook: Hook, packet: &mut Packet) -> Translated {
    let to = |packet: &Packet| (packet.destination, packet.destination_port);
    let from = |packet: &Packet| (packet.source, packet.source_port);
    let (was_to, was_from) = (to(packet), from(packet));
    let translated = match statement {
        Statement::DestinationNat(to) => destination(to, scene, packet),
        Statement::Redirect(ports) => redirect(ports, scene, hook, packet),
        Statement::SourceNat(to) => source(to, scene, packet),
        Statement::Masquerade(ports) => masquerade(ports, scene, packet),
        _ => Translated::Missing,
    };
    if translated == Translated::Done {
        // nf_nat_setup_info: a translation to what is there already decides, and is none in `ct status`.
        let (done, changed, bit) = match statement {
            Statement::DestinationNat(_) | Statement::Redirect(_) => {
                (STATUS_DESTINATION_NAT_DONE, to(packet) != was_to, STATUS_DESTINATION_NAT)
            }
            _ => (STATUS_SOURCE_NAT_DONE, packet.source_unknown || from(packet) != was_from, STATUS_SOURCE_NAT),
        };
        mark(packet, if changed { done | bit } else { done });
    }
    translated
}

fn destination<'a>(to: &'a Translation, scene: &Scene<'a>, packet: &mut Packet) -> Translated {
    let target = match target(to, scene, packet) {
        Ok(target) => target,
        Err(other) => return other,
    };
    if let Some(address) = target.address {
        if address.is_ipv6() != packet.is_ipv6() {
            return Translated::Missing;
        }
        packet.destination = address;
    }
    if let Some(port) = target.port {
        set_port(&mut packet.destination_port, port);
    }
    Translated::Done
}

fn redirect<'a>(ports: &'a Ports, scene: &Scene<'a>, hook: Hook, packet: &mut Packet) -> Translated {
    let port = match port(ports, scene, packet) {
        Ok(port) => port,
        Err(other) => return other,
    };
    let address = match (hook, &packet.input) {
        (Hook::Output, _) if packet.is_ipv6() => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        (Hook::Output, _) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (_, Device::Name(input)) => match scene.router.first_address(input, packet.destination) {
            Ok(address) => address,
            Err(what) => return Translated::Unknown(what),
        },
        (_, Device::None | Device::Unknown) => {
            return Translated::Unknown("the input interface, whose address `redirect` takes".to_owned());
        }
    };
    // nf_nat_redirect: without an address on the interface the packet is dropped.
    let Some(address) = address else { return Translated::Dropped };
    packet.destination = address;
    if let Some(port) = port {
        set_port(&mut packet.destination_port, port);
    }
    Translated::Done
}

fn source<'a>(to: &'a Translation, scene: &Scene<'a>, packet: &mut Packet) -> Translated {
    // Where the answer comes from does not decide where this packet goes: a target that is not known is no obstacle.
    match target(to, scene, packet) {
        Ok(target) => {
            match target.address {
                Some(address) if address.is_ipv6() == packet.is_ipv6() => {
                    packet.source = address;
                    packet.source_unknown = false;
                }
                Some(_) => return Translated::Missing,
                None => {}
            }
            if let Some(port) = target.port {
                set_port(&mut packet.source_port, port);
            }
        }
        Err(Translated::Unknown(_)) => packet.source_unknown = true,
        Err(other) => return other,
    }
    Translated::Done
}

fn masquerade<'a>(ports: &'a Ports, scene: &Scene<'a>, packet: &mut Packet) -> Translated {
    let known = match &packet.output {
        Device::Name(output) => scene.router.first_address(output, packet.destination).ok().flatten(),
        Device::None | Device::Unknown => None,
    };
    match known {
        Some(address) => {
            packet.source = address;
            packet.source_unknown = false;
        }
        None => packet.source_unknown = true,
    }
    match port(ports, scene, packet) {
        Ok(Some(port)) => set_port(&mut packet.source_port, port),
        Ok(None) => {}
        Err(_) => set_port(&mut packet.source_port, None),
    }
    Translated::Done
}

/// Where to; `None` leaves a part as it is, an inner `None` is a part that is not known.
#[derive(Debug, Default)]
struct Target {
    address: Option<IpAddr>,
    port: Option<Option<u16>>,
}

fn target<'a>(to: &'a Translation, scene: &Scene<'a>, packet: &Packet) -> Result<Target, Translated> {
    let mut target = Target::default();
    match &to.to {
        TranslationTarget::Unchanged => {}
        TranslationTarget::Address(address) => target.address = Some(*address),
        TranslationTarget::Range(first, last) if first == last => target.address = Some(*first),
        TranslationTarget::Range(first, last) => {
            return Err(Translated::Unknown(format!("which address of {first}-{last} is taken")));
        }
        TranslationTarget::Computed(expression) => computed(expression, scene, packet, &mut target)?,
    }
    if let Some(port) = port(&to.ports, scene, packet)? {
        target.port = Some(port);
    }
    Ok(target)
}

/// An address, or a concatenation of address and port.
fn computed<'a>(
    expression: &'a Expression,
    scene: &Scene<'a>,
    packet: &Packet,
    target: &mut Target,
) -> Result<(), Translated> {
    let to_address = |number| {
        address_of(number, packet.destination)
            .ok_or_else(|| Translated::Unknown("an address of the other family".into()))
    };
    // The expression's value may borrow from the packet; numbers are taken out of it at once.
    match scene.value(expression, &packet.clone()) {
        Value::Number(number) => target.address = Some(to_address(number)?),
        Value::Many(parts) => match parts[..] {
            [Value::Number(address), Value::Number(port)] => {
                target.address = Some(to_address(address)?);
                target.port = Some(u16::try_from(port).ok());
            }
            _ => return Err(Translated::Unknown("the target of a translation".to_owned())),
        },
        Value::Missing => return Err(Translated::Missing),
        Value::Unknown(what) => return Err(Translated::Unknown(what)),
        Value::Name(name) => return Err(Translated::Unknown(format!("the target {name}"))),
    }
    Ok(())
}

fn port<'a>(ports: &'a Ports, scene: &Scene<'a>, packet: &Packet) -> Result<Option<Option<u16>>, Translated> {
    match ports {
        Ports::Unchanged => Ok(None),
        Ports::Exactly(port) => Ok(Some(Some(*port))),
        Ports::Range(first, last) if first == last => Ok(Some(Some(*first))),
        Ports::Range(first, last) => {
            // A port within the range stays (nf_nat_l4proto_unique_tuple); else the kernel picks one.
            let within = matches!(packet.destination_port, Port::Known(port) if (*first..=*last).contains(&port));
            if within { Ok(None) } else { Ok(Some(None)) }
        }
        Ports::Computed(expression) => match scene.value(expression, &packet.clone()) {
            Value::Number(port) => Ok(Some(u16::try_from(port).ok())),
            Value::Missing => Err(Translated::Missing),
            Value::Unknown(what) => Err(Translated::Unknown(what)),
            Value::Many(_) | Value::Name(_) => Err(Translated::Unknown("the port of a translation".to_owned())),
        },
    }
}

fn set_port(of: &mut Port, to: Option<u16>) {
    if *of != Port::Missing {
        *of = to.map_or(Port::Unknown, Port::Known);
    }
}

fn mark(packet: &mut Packet, bits: u32) {
    if let Tracking::New { status, .. } = &mut packet.tracking {
        *status |= bits;
    }
}
