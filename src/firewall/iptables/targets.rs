//! What the targets of a rule do (iptables-extensions(8), TARGET EXTENSIONS).

use std::net::IpAddr;

use super::matches::{Context, one, other_bits};
use super::values::{
    Fault, Understood, address, address_number, broken, mark, network, number, number_expression, ones, port, width_of,
};
use super::words::{Choice, Part};
use crate::firewall::ruleset::{Expression, Field, Ports, Reject, Statement, Translation, TranslationTarget};

/// What a target does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Statements(Vec<Statement>),
    /// `-j NETMAP`: translates the destination or the source by the hook that the rule is reached from.
    NetworkMap {
        destination: Box<Statement>,
        source: Box<Statement>,
    },
}

/// The statements of a built-in target; one that is not known is kept with its text.
pub(super) fn action(part: &Part, context: Context<'_>) -> Result<Action, String> {
    let understood =
        if part.text.contains("[unsupported") { Err(Fault::NotUnderstood) } else { meaning(part, context) };
    match understood {
        Ok(action) => Ok(action),
        Err(Fault::NotUnderstood) => Ok(Action::Statements(vec![Statement::Unknown(part.text.clone())])),
        Err(Fault::Broken(why)) => Err(why),
    }
}

fn meaning(part: &Part, context: Context<'_>) -> Understood<Action> {
    let statement = match part.name.as_str() {
        "ACCEPT" => Statement::Accept,
        "DROP" => Statement::Drop,
        "RETURN" => Statement::Return,
        "REJECT" => Statement::Reject(rejection(part, context.ipv6)?),
        "DNAT" => Statement::DestinationNat(translation(part, &["to-destination", "to"], context)?),
        "SNAT" => Statement::SourceNat(translation(part, &["to-source", "to"], context)?),
        "MASQUERADE" => Statement::Masquerade(ports_of(part, context)?),
        "REDIRECT" => Statement::Redirect(ports_of(part, context)?),
        "NETMAP" => return network_map(part, context),
        "MARK" => return packet_mark(part).map(Action::Statements),
        "CONNMARK" => connection_mark(part)?,
        "NOTRACK" => Statement::NoTrack,
        "CT" => {
            if part.choices.iter().any(|choice| choice.name == "notrack") {
                Statement::NoTrack
            } else {
                Statement::Passive(part.text.clone())
            }
        }
        "TPROXY" => return transparent_proxy(part, context).map(Action::Statements),
        "TTL" => set_or_unknown(part, Field::IpTtl, "ttl-set")?,
        "HL" => set_or_unknown(part, Field::Ip6HopLimit, "hl-set")?,
        "DSCP" | "TOS" => set_or_unknown(part, Field::IpDscp, "set-dscp")?,
        "HMARK" => Statement::SetMark(Expression::Unknown(part.text.clone())),
        "SET" if part.choices.iter().any(|choice| choice.name == "map-mark") => {
            Statement::SetMark(Expression::Unknown(part.text.clone()))
        }
        "AUDIT" | "CHECKSUM" | "CLASSIFY" | "CONNSECMARK" | "ECN" | "IDLETIMER" | "LED" | "LOG" | "NFLOG"
        | "RATEEST" | "SECMARK" | "SET" | "TCPMSS" | "TCPOPTSTRIP" | "TEE" | "TRACE" | "ULOG" => {
            Statement::Passive(part.text.clone())
        }
        _ => return Err(Fault::NotUnderstood),
    };
    Ok(Action::Statements(vec![statement]))
}

fn choice<'a>(part: &'a Part, names: &[&str]) -> Option<&'a Choice> {
    part.choices.iter().find(|choice| names.contains(&choice.name.as_str()))
}

/// Without an option: port unreachable.
fn rejection(part: &Part, ipv6: bool) -> Understood<Reject> {
    let Some(with) = choice(part, &["reject-with"]) else {
        return Ok(if ipv6 { Reject::Icmp6(4) } else { Reject::Icmp(3) });
    };
    let kind = one(with)?;
    Ok(match kind.strip_prefix(if ipv6 { "icmp6-" } else { "icmp-" }).unwrap_or(kind) {
        "tcp-reset" | "tcp-rst" => Reject::TcpReset,
        "no-route" if ipv6 => Reject::Icmp6(0),
        "adm-prohibited" if ipv6 => Reject::Icmp6(1),
        "addr-unreachable" | "addr-unreach" if ipv6 => Reject::Icmp6(3),
        "port-unreachable" | "port-unreach" if ipv6 => Reject::Icmp6(4),
        "policy-fail" if ipv6 => Reject::Icmp6(5),
        "reject-route" if ipv6 => Reject::Icmp6(6),
        "net-unreachable" | "net-unreach" if !ipv6 => Reject::Icmp(0),
        "host-unreachable" | "host-unreach" if !ipv6 => Reject::Icmp(1),
        "proto-unreachable" | "proto-unreach" if !ipv6 => Reject::Icmp(2),
        "port-unreachable" | "port-unreach" if !ipv6 => Reject::Icmp(3),
        "net-prohibited" | "net-prohib" if !ipv6 => Reject::Icmp(9),
        "host-prohibited" | "host-prohib" if !ipv6 => Reject::Icmp(10),
        "admin-prohibited" | "admin-prohib" if !ipv6 => Reject::Icmp(13),
        _ => return Err(Fault::NotUnderstood),
    })
}

/// `ADDRESS[-ADDRESS][:PORT[-PORT][/BASE]]`, IPv6 addresses in brackets where ports follow.
fn translation(part: &Part, names: &[&str], context: Context<'_>) -> Understood<Translation> {
    let mut targets = part.choices.iter().filter(|choice| names.contains(&choice.name.as_str()));
    let Some(target) = targets.next() else { return Err(Fault::NotUnderstood) };
    // Several targets are of kernels before 2.6.11.
    if targets.next().is_some() {
        return Err(Fault::NotUnderstood);
    }
    let text = one(target)?;
    let (addresses, ports) = if !context.ipv6 {
        text.split_once(':').map_or((text, None), |(addresses, ports)| (addresses, Some(ports)))
    } else if let Some(inner) = text.strip_prefix('[') {
        match inner.split_once(']') {
            Some((addresses, "")) => (addresses, None),
            Some((addresses, rest)) => match rest.strip_prefix(':') {
                Some(ports) => (addresses, Some(ports)),
                // `[2001:db8::1]-[2001:db8::2]:80`
                None => bracketed_range(text)?,
            },
            None => return broken("address", text),
        }
    } else if let Some(ports) = text.strip_prefix(':').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
        ("", Some(ports))
    } else {
        (text, None)
    };
    let to = if addresses.is_empty() {
        TranslationTarget::Unchanged
    } else {
        let mut ends = addresses.splitn(2, '-').map(|end| end.trim_start_matches('[').trim_end_matches(']'));
        let first = address(ends.next().unwrap_or_default(), context.ipv6)?;
        match ends.next() {
            None => TranslationTarget::Address(first),
            Some(last) => match address(last, context.ipv6)? {
                last if last == first => TranslationTarget::Address(first),
                last if address_number(last) > address_number(first) => TranslationTarget::Range(first, last),
                _ => return broken("address range", addresses),
            },
        }
    };
    let ports = ports.map(translated_ports).transpose()?.unwrap_or_default();
    Ok(Translation { to, ports, flags: flags_of(part) })
}

/// `[FIRST]-[LAST]` with or without `:PORTS`.
fn bracketed_range(text: &str) -> Understood<(&str, Option<&str>)> {
    match text.rsplit_once("]:") {
        Some((addresses, ports)) => Ok((addresses, Some(ports))),
        None => Ok((text, None)),
    }
}

fn flags_of(part: &Part) -> Vec<String> {
    part.choices
        .iter()
        .map(|choice| choice.name.clone())
        .filter(|name| matches!(name.as_str(), "persistent" | "random" | "random-fully"))
        .collect()
}

/// `PORT`, `FIRST-LAST` or `FIRST-LAST/BASE`: which of them is taken depends on the kernel.
fn translated_ports(text: &str) -> Understood<Ports> {
    let range = text.split_once('/').map_or(text, |(range, _)| range);
    Ok(match range.split_once('-') {
        None => Ports::Exactly(port(range)?),
        Some((first, last)) => match (port(first)?, port(last)?) {
            (first, last) if first == last => Ports::Exactly(first),
            (first, last) if first < last => Ports::Range(first, last),
            _ => return broken("port range", text),
        },
    })
}

fn ports_of(part: &Part, context: Context<'_>) -> Understood<Ports> {
    // Ports need a protocol that has them.
    match choice(part, &["to-ports", "to-port"]) {
        Some(_) if context.protocol.is_none() => Err(Fault::NotUnderstood),
        Some(ports) => translated_ports(one(ports)?),
        None => Ok(Ports::Unchanged),
    }
}

/// The network part is replaced, the host part stays.
fn network_map(part: &Part, context: Context<'_>) -> Understood<Action> {
    let Some(to) = choice(part, &["to"]) else { return Err(Fault::NotUnderstood) };
    let (value, mask) = network(one(to)?, context.ipv6)?;
    let host = !mask & ones(width_of(context.ipv6));
    let (source, destination) = super::matches::address_fields(context.ipv6);
    let mapped = |field| Translation {
        to: TranslationTarget::Computed(Expression::Or(
            Box::new(Expression::And(Box::new(Expression::Field(field)), Box::new(number_expression(host)))),
            Box::new(number_expression(value)),
        )),
        ..Translation::default()
    };
    Ok(Action::NetworkMap {
        destination: Box::new(Statement::DestinationNat(mapped(destination))),
        source: Box::new(Statement::SourceNat(mapped(source))),
    })
}

/// `(OLD & KEPT) ^ VALUE`, as the kernel computes all of MARK's and CONNMARK's options (xt_mark.c).
fn changed_mark(field: Field, kept: u128, value: u128) -> Expression {
    if kept == 0 {
        return number_expression(value);
    }
    let old = Expression::And(Box::new(Expression::Field(field)), Box::new(number_expression(kept)));
    if value == 0 { old } else { Expression::Xor(Box::new(old), Box::new(number_expression(value))) }
}

/// The bits kept and the value put in by `--set-mark` and its kin.
fn mark_change(choice: &Choice) -> Understood<(u128, u128)> {
    Ok(match choice.name.as_str() {
        "set-xmark" => {
            let (value, mask) = mark(one(choice)?)?;
            (other_bits(mask), value)
        }
        // Clears the bits of the mask and sets those of the value.
        "set-mark" => {
            let (value, mask) = mark(one(choice)?)?;
            (other_bits(mask | value), value)
        }
        "and-mark" => (number(one(choice)?)?.into(), 0),
        "or-mark" => {
            let bits = number(one(choice)?)?.into();
            (other_bits(bits), bits)
        }
        "xor-mark" => (ones(32), number(one(choice)?)?.into()),
        _ => return Err(Fault::NotUnderstood),
    })
}

fn packet_mark(part: &Part) -> Understood<Vec<Statement>> {
    match part.choices.as_slice() {
        [choice] => {
            let (kept, value) = mark_change(choice)?;
            Ok(vec![Statement::SetMark(changed_mark(Field::Mark, kept, value))])
        }
        _ => Err(Fault::NotUnderstood),
    }
}

/// Saves, restores or sets.
fn connection_mark(part: &Part) -> Understood<Statement> {
    let masks = || -> Understood<(u128, u128)> {
        let (mut packet, mut connection) = (ones(32), ones(32));
        for choice in &part.choices {
            match choice.name.as_str() {
                "save-mark" | "restore-mark" => {}
                "nfmask" => packet = number(one(choice)?)?.into(),
                "ctmask" => connection = number(one(choice)?)?.into(),
                "mask" => {
                    packet = number(one(choice)?)?.into();
                    connection = packet;
                }
                _ => return Err(Fault::NotUnderstood),
            }
        }
        Ok((packet, connection))
    };
    let moved = |to, kept, from, taken| {
        let taken = super::values::masked(from, taken, 32);
        if kept == 0 {
            return taken;
        }
        let old = Expression::And(Box::new(Expression::Field(to)), Box::new(number_expression(kept)));
        Expression::Xor(Box::new(old), Box::new(taken))
    };
    if choice(part, &["save-mark"]).is_some() {
        let (packet, connection) = masks()?;
        let value = moved(Field::ConnectionMark, other_bits(connection), Field::Mark, packet);
        return Ok(Statement::SetConnectionMark(value));
    }
    if choice(part, &["restore-mark"]).is_some() {
        let (packet, connection) = masks()?;
        return Ok(Statement::SetMark(moved(Field::Mark, other_bits(packet), Field::ConnectionMark, connection)));
    }
    match part.choices.as_slice() {
        [choice] => {
            let (kept, value) = mark_change(choice)?;
            Ok(Statement::SetConnectionMark(changed_mark(Field::ConnectionMark, kept, value)))
        }
        _ => Err(Fault::NotUnderstood),
    }
}

fn transparent_proxy(part: &Part, context: Context<'_>) -> Understood<Vec<Statement>> {
    let mut statements = Vec::new();
    let mut translation = Translation::default();
    for choice in &part.choices {
        match choice.name.as_str() {
            "on-port" => {
                let wanted = port(one(choice)?)?;
                translation.ports = if wanted == 0 { Ports::Unchanged } else { Ports::Exactly(wanted) };
            }
            "on-ip" => {
                let to: IpAddr = address(one(choice)?, context.ipv6)?;
                translation.to =
                    if to.is_unspecified() { TranslationTarget::Unchanged } else { TranslationTarget::Address(to) };
            }
            "tproxy-mark" => {
                let (value, mask) = mark(one(choice)?)?;
                if mask != 0 {
                    statements.push(Statement::SetMark(changed_mark(Field::Mark, other_bits(mask), value)));
                }
            }
            _ => return Err(Fault::NotUnderstood),
        }
    }
    statements.push(Statement::TransparentProxy(translation));
    Ok(statements)
}

/// Sets a field of the header; other ways to change it make its value unknown.
fn set_or_unknown(part: &Part, field: Field, option: &str) -> Understood<Statement> {
    let value = match part.choices.as_slice() {
        [choice] if choice.name == option => number_expression(number(one(choice)?)?.into()),
        _ => Expression::Unknown(part.text.clone()),
    };
    Ok(Statement::SetField { field, value })
}
