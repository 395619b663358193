//! Nanoseconds per probe of the SYN sweep's pure parts: the order, the cookie, the frame, the reply, the whole machine.
//!
//! `cargo bench --bench pure`. At 1.3 million probes a second a probe has 770 ns for everything.
#![expect(clippy::disallowed_methods, reason = "a bench counts from some instant")]

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use postern::model::{PortRanges, ProbeSpace as _, Transport};
use postern::sweep::syn::{Batch, Hop, Machine, Next, NextHop, SynSettings, Way, Ways};
use postern::targets::{Order, Space, TargetSet};
use postern::wire::{LinkHeader, Mac, Reply, Syn, SynTemplate};

const SOURCE: [u8; 4] = [198, 18, 0, 1];

fn space(first: &str, last: &str, ports: &str) -> Space {
    let targets = TargetSet::from_ranges([(first.parse().expect("an address"), last.parse().expect("an address"))]);
    let ports: PortRanges = ports.parse().expect("ports");
    Space::new(targets, &ports, Transport::Tcp, 7)
}

fn settings() -> SynSettings {
    SynSettings {
        sources: vec![SOURCE.into()],
        ways: Ways::new([("0.0.0.0/0".parse().expect("a network"), Some(Way { source: 0, hop: Hop::Routed }))]),
        source_ports: (61_000..61_014).collect(),
        rate: None,
        host_rate: Some(5000),
        recall: None,
        resolve_rate: 2000,
        most_hosts: 1 << 19,
        own: vec![SOURCE.into()],
        key: [7; 16],
    }
}

fn orders(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("order");
    group.throughput(Throughput::Elements(1));
    let order = Order::new(131_072 * 65_535, 7);
    let mut position = 0;
    group.bench_function("at", |bencher| {
        bencher.iter(|| {
            position += 1;
            black_box(order.at(position))
        });
    });
    let space = space("198.18.0.0", "198.18.255.255", "1-33");
    let mut position = 0;
    group.bench_function("endpoint of a /16 x 33", |bencher| {
        bencher.iter(|| {
            position = (position + 1) % space.len();
            black_box(space.endpoint(0, position))
        });
    });
    group.bench_function("position of an endpoint", |bencher| {
        bencher.iter(|| {
            position = (position + 1) % space.len();
            black_box(space.position(1, space.place(0, position)))
        });
    });
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Elements(1));
    let template = SynTemplate::new(SOURCE.into(), LinkHeader::Ethernet { source: Mac([2, 0, 0, 0, 0, 1]) }, 64);
    let mut frame = [0; postern::wire::syn::MAX_FRAME];
    let mut number = 0_u32;
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            number = number.wrapping_add(1);
            let destination = IpAddr::V4((0xc612_0000 | (number & 0xffff)).into());
            let syn = Syn { destination, port: number as u16, source_port: 61_000, sequence: number };
            black_box(template.write(&syn, Mac([2, 0, 0, 0, 0, 2]), black_box(&mut frame)))
        });
    });
}

/// A SYN-ACK to a probe, as it comes from the wire.
fn answer(syn: &Syn) -> Vec<u8> {
    let IpAddr::V4(from) = syn.destination else { panic!("the bench is of IPv4") };
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
    frame.extend([0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(from.octets());
    frame.extend(SOURCE);
    frame.extend(syn.port.to_be_bytes());
    frame.extend(syn.source_port.to_be_bytes());
    frame.extend([0, 0, 0, 9]);
    frame.extend(syn.sequence.wrapping_add(1).to_be_bytes());
    frame.extend([0xa0, 0x12, 0xfe, 0x88, 0, 0, 0, 0]);
    frame.extend([2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1, 1, 3, 3, 7]);
    frame
}

/// The first probes of a sweep.
fn first_batch(machine: &mut Machine<'_>, now: Instant) -> Batch {
    let mut batch = Batch::new(512);
    while batch.probes.is_empty() {
        let _ = machine.poll_transmit(now, &mut batch);
    }
    batch
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply");
    group.throughput(Throughput::Elements(1));
    let now = Instant::now();
    let space = space("198.18.0.0", "198.18.255.255", "1-33");
    let mut machine = Machine::new(&space, settings(), now);
    let batch = first_batch(&mut machine, now);
    let frame = answer(&batch.probes[0].syn);
    group.bench_function("parse", |bencher| bencher.iter(|| black_box(Reply::from_ethernet(black_box(&frame)))));
    let mut strange = batch.probes[0].syn;
    strange.sequence ^= 1;
    let foreign = Reply::from_ethernet(&answer(&strange)).expect("a SYN-ACK");
    group.bench_function("check of a foreign one", |bencher| {
        bencher.iter(|| black_box(machine.on_packet(now, &foreign)))
    });
    let replies: Vec<Reply> =
        batch.probes.iter().filter_map(|probe| Reply::from_ethernet(&answer(&probe.syn))).collect();
    group.throughput(Throughput::Elements(replies.len() as u64));
    group.bench_function("512 new open ports", |bencher| {
        bencher.iter_batched_ref(
            || {
                let mut machine = Machine::new(&space, settings(), now);
                first_batch(&mut machine, now);
                machine
            },
            |machine| replies.iter().for_each(|reply| drop(black_box(machine.on_packet(now, reply)))),
            BatchSize::LargeInput,
        );
    });
}

fn machines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("machine");
    // Probes of one measured turn: the whole machine, polled as a driver polls it, with and without their frames.
    const PROBES: u64 = 100_000;
    group.throughput(Throughput::Elements(PROBES));
    let space = space("198.18.0.0", "198.18.255.255", "1-33");
    let template = SynTemplate::new(SOURCE.into(), LinkHeader::Ethernet { source: Mac([2, 0, 0, 0, 0, 1]) }, 64);
    for with_frames in [false, true] {
        let name = if with_frames { "100,000 probes and their frames" } else { "100,000 probes" };
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || {
                    (
                        Machine::new(&space, settings(), Instant::now()),
                        Batch::new(512),
                        [0; postern::wire::syn::MAX_FRAME],
                    )
                },
                |(machine, batch, frame)| {
                    let mut now = Instant::now();
                    let mut sent = 0;
                    while sent < PROBES {
                        match machine.poll_transmit(now, batch) {
                            Next::Send => {}
                            // The bench does not wait for a clock.
                            Next::Wait(until) => now = until,
                            Next::Done => panic!("the sweep is larger than this"),
                        }
                        now += Duration::from_micros(400);
                        sent += batch.probes.len() as u64;
                        if with_frames {
                            for probe in &batch.probes {
                                let to = match probe.to {
                                    NextHop::Routed => Mac([2, 0, 0, 0, 0, 2]),
                                    NextHop::Neighbour(mac) => mac,
                                };
                                black_box(template.write(&probe.syn, to, frame));
                            }
                        }
                        black_box(&batch.probes);
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
}

criterion_group!(benches, orders, frames, replies, machines);
criterion_main!(benches);
