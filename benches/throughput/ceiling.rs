//! What this machine can send at all: a loop that hands the same frames to AF_XDP again and again.

use std::time::{Duration, Instant};

use postern::net::interface::{LinkLayer, interfaces};
use postern::net::link::open::OutletKind;
use postern::net::link::{Frames, LinkSockets, Outlet};
use postern::wire::{LinkHeader, Mac, Syn, SynTemplate};

use crate::lab::{ROUTER_MAC, SCANNER, SOURCE, namespace};

/// Frames per second, to addresses of the dead network.
pub fn measure(kind: OutletKind) -> Result<f64, String> {
    let looped = namespace(SCANNER)?.inside(|| -> Result<f64, String> {
        let interfaces = interfaces().map_err(|error| error.to_string())?;
        let device = interfaces.iter().find(|one| one.name == "pbench0").ok_or("no pbench0")?;
        let LinkLayer::Ethernet(own) = device.link else { return Err("pbench0 is no Ethernet".to_owned()) };
        let template = SynTemplate::new(
            SOURCE.parse().map_err(|error| format!("{error}"))?,
            LinkHeader::Ethernet { source: Mac(own) },
            64,
        );
        let sockets = LinkSockets::open(&[kind], None, 1).map_err(|error| error.to_string())?;
        let outlet = sockets.outlets.into_iter().next().ok_or("no outlet")?.map_err(|error| error.to_string())?;
        let (lanes, fallen_back) = Outlet::lanes(outlet, device.index, 1).map_err(|error| error.to_string())?;
        let mut outlet = lanes.into_iter().next().ok_or("no lane")?;
        if let Some(error) = fallen_back {
            return Err(format!("AF_XDP: {error}"));
        }
        let mut frames = Frames::default();
        for number in 0..512_u32 {
            let syn = Syn {
                destination: std::net::Ipv4Addr::from_bits(0xc613_8000 + number).into(),
                port: 22,
                source_port: 25_000,
                sequence: number,
            };
            frames.push(|slot| template.write(&syn, router(), slot));
        }
        let (started, mut sent) = (Instant::now(), 0);
        while started.elapsed() < TIME {
            let mut from = 0;
            while from < frames.len() {
                from += outlet.send(&frames, from).map_err(|error| error.to_string())?;
            }
            sent += from;
        }
        Ok(sent as f64 / started.elapsed().as_secs_f64())
    });
    looped.map_err(|error| error.to_string())?
}

fn router() -> Mac {
    let mut bytes = [0; 6];
    for (byte, text) in bytes.iter_mut().zip(ROUTER_MAC.split(':')) {
        *byte = u8::from_str_radix(text, 16).unwrap_or(0);
    }
    Mac(bytes)
}

const TIME: Duration = Duration::from_secs(2);
