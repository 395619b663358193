//! Every target exactly once: orders of every length up to 70,000, of random huge ones, and shards of spaces.
//!
//! In a debug build only one length in some is walked; `cargo test --release --test permutation` walks every one, which
//! takes half a minute.

use postern::model::{PortRanges, ProbeSpace as _, Shard, Transport};
use postern::targets::{Order, Space, TargetSet};

const LONGEST: u64 = 70_000;

/// Of lengths above this a debug build walks every `STEP`th.
const ALL_UP_TO: u64 = 1_000;
const STEP: u64 = 997;

#[test]
fn every_length_up_to_70_000_is_a_permutation() {
    let walked =
        |len: &u64| !cfg!(debug_assertions) || *len <= ALL_UP_TO || len.is_multiple_of(STEP) || *len == LONGEST;
    let workers = std::thread::available_parallelism().map_or(1, |workers| workers.get() as u64);
    let walk = |worker: u64| {
        let mut seen = vec![0_u64; (LONGEST as usize).div_ceil(64)];
        let mut count = 0;
        for len in (1..=LONGEST).filter(walked).filter(|len| len % workers == worker) {
            seen.fill(0);
            let order = Order::new(len, len ^ 0x5eed);
            for position in 0..len {
                let value = order.at(position);
                assert!(value < len, "{value} in an order of {len}");
                let (word, bit) = ((value / 64) as usize, 1 << (value % 64));
                assert_eq!(seen[word] & bit, 0, "{value} comes twice in an order of {len}");
                seen[word] |= bit;
            }
            count += 1;
        }
        count
    };
    let lengths: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|worker| scope.spawn(move || walk(worker))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a walk that fails says why")).sum()
    });
    println!("{lengths} of {LONGEST} lengths walked");
    assert!(lengths == LONGEST || cfg!(debug_assertions));
}

/// Numbers that are the same in every run (SplitMix64).
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 70_000_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    })
}

#[test]
fn random_huge_lengths_come_back_to_where_they_came_from() {
    // What leads back from every value to one position cannot have led to one value from two.
    let mut numbers = numbers();
    let mut number = || numbers.next().expect("numbers do not end");
    for _ in 0..2_000 {
        let len = number() >> (number() % 44);
        let order = Order::new(len.max(1), number());
        for _ in 0..50 {
            let position = number() % order.len();
            let value = order.at(position);
            assert!(value < order.len());
            assert_eq!(order.position(value), position, "an order of {len}");
            assert_eq!(order.at(order.position(position)), position, "an order of {len}");
        }
    }
}

#[test]
fn shards_of_random_spaces_are_disjoint_and_complete() {
    let mut numbers = numbers();
    let mut below = |limit: u64| numbers.next().expect("numbers do not end") % limit;
    for _ in 0..60 {
        let (hosts, ports, of) = (1 + below(300) as u32, 1 + below(40) as u16, 1 + below(20) as u32);
        let first = 0xc612_0000 + below(1000) as u32;
        let targets = TargetSet::from_ranges([(
            std::net::Ipv4Addr::from(first).into(),
            std::net::Ipv4Addr::from(first + hosts - 1).into(),
        )]);
        let space = Space::new(targets, &PortRanges::from_ranges([(1, ports)]), Transport::Tcp, below(u64::MAX));
        let round = below(4) as u32;
        let mut owners = vec![0_u8; space.len() as usize];
        for number in 1..=of {
            let shard = space.clone().sharded(Shard::new(number, of).expect("from 1 to its number"));
            for position in 0..shard.len() {
                let place = shard.place(round, position);
                owners[(place.host * u64::from(ports) + u64::from(place.port)) as usize] += 1;
            }
        }
        assert!(owners.iter().all(|owners| *owners == 1), "{hosts} hosts, {ports} ports, {of} shards, round {round}");
    }
}
