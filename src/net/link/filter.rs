//! Which packets the kernel hands over: a classic BPF program (filter.rst of the kernel). Pure.
//!
//! It sees packets from their network header on. What it lets pass is TCP to one of our source ports, ICMP errors about
//! packets from there, answers of ARP and of neighbour discovery, and nothing else: so a machine's other traffic costs a
//! raw sweep a few instructions a packet.
//!
//! A socket that hears all interfaces hears a packet once on each that it comes by: on a bridge's port and on the bridge,
//! on the interface below a VLAN and on the VLAN's. Only the last of them passes.

use socket2::SockFilter;

/// Lets pass what concerns the source `ports`, at most [`MOST_PORTS`] of them, on other interfaces than those of `lower`,
/// which are ports of others; of these the first [`MOST_LOWER`] count.
///
/// # Panics
/// With more ports: jumps of classic BPF reach no further.
pub fn replies(ports: &[u16], lower: &[u32]) -> Vec<SockFilter> {
    program(ports, lower).iter().map(|one| SockFilter::new(one.code, one.then, one.otherwise, one.value)).collect()
}

fn program(ports: &[u16], lower: &[u32]) -> Vec<Step> {
    assert!(ports.len() <= MOST_PORTS, "{} source ports", ports.len());
    let mut program = Program::default();
    program.load(Load::Word, PROTOCOL);
    program.goto_if(Test::Equal, 0x0800, Label::Ipv4);
    program.goto_if(Test::Equal, 0x86dd, Label::Ipv6);
    program.goto_unless(Test::Equal, 0x0806, Label::Drop);
    // RFC 826: operation 2 is a reply.
    program.load(Load::Half, 6);
    program.goto_if(Test::Equal, 2, Label::Accept);
    program.goto(Label::Drop);

    // RFC 791 section 3.1: protocol, fragment offset, header length.
    program.at(Label::Ipv4);
    program.load(Load::Byte, 9);
    program.goto_if(Test::Equal, ICMP, Label::Icmp);
    program.goto_unless(Test::Equal, TCP, Label::Drop);
    program.load(Load::Half, 6);
    program.goto_if(Test::AnyBit, 0x1fff, Label::Drop);
    program.header_length();
    program.load(Load::HalfBehindHeader, 2);
    program.goto(Label::Ports);

    // RFC 792: unreachable, time exceeded, parameter problem; the packet that they are about begins after eight bytes.
    program.at(Label::Icmp);
    program.header_length();
    program.load(Load::ByteBehindHeader, 0);
    program.goto_if(Test::Equal, 3, Label::IcmpError);
    program.goto_if(Test::Equal, 11, Label::IcmpError);
    program.goto_unless(Test::Equal, 12, Label::Drop);
    program.at(Label::IcmpError);
    program.load(Load::ByteBehindHeader, 8 + 9);
    program.goto_unless(Test::Equal, TCP, Label::Drop);
    // We send no IP options.
    program.load(Load::HalfBehindHeader, 8 + 20);
    program.goto(Label::Ports);

    // RFC 8200 section 3, without extension headers.
    program.at(Label::Ipv6);
    program.load(Load::Byte, 6);
    program.goto_if(Test::Equal, ICMPV6, Label::Icmpv6);
    program.goto_unless(Test::Equal, TCP, Label::Drop);
    program.load(Load::Half, 40 + 2);
    program.goto(Label::Ports);

    // RFC 4443: errors are 1 to 4. RFC 4861 section 4.4: 136 is an advertisement.
    program.at(Label::Icmpv6);
    program.load(Load::Byte, 40);
    program.goto_if(Test::Equal, 136, Label::Accept);
    program.goto_unless(Test::AtLeast, 1, Label::Drop);
    program.goto_if(Test::AtLeast, 5, Label::Drop);
    program.load(Load::Byte, 48 + 6);
    program.goto_unless(Test::Equal, TCP, Label::Drop);
    program.load(Load::Half, 48 + 40);

    program.at(Label::Ports);
    for &port in ports {
        program.goto_if(Test::Equal, u32::from(port), Label::Accept);
    }
    program.at(Label::Drop);
    program.finish(0);

    // What is behind is looked at for few packets.
    program.at(Label::Accept);
    for (number, &interface) in lower.iter().take(MOST_LOWER).enumerate() {
        if number == 0 {
            program.load(Load::Word, INTERFACE);
        }
        program.goto_unless(Test::Equal, interface, Label::Other(number));
        program.finish(0);
        program.at(Label::Other(number));
    }
    // Not for the address of this interface: of one that lies over it (macvlan), or of nobody here.
    program.load(Load::Word, PACKET_TYPE);
    program.goto_unless(Test::Equal, OTHERHOST, Label::ForUs);
    program.finish(0);
    program.at(Label::ForUs);
    // Of a VLAN, whose own interface hears it without the tag. Number 0 is none (IEEE 802.1Q: priority alone).
    program.load(Load::Word, VLAN_TAG);
    program.goto_unless(Test::AnyBit, 0xfff, Label::Untagged);
    program.finish(0);
    program.at(Label::Untagged);
    program.finish(SNAP);
    program.assemble()
}

/// So many ports can be told apart in one program.
pub const MOST_PORTS: usize = 128;

/// And so many interfaces: memory for filters is limited (net.core.optmem_max).
pub const MOST_LOWER: usize = 500;

/// Bytes of a packet that are handed over: the longest headers that are read, with room for options.
pub const SNAP: u32 = 256;

const ICMP: u32 = 1;
const TCP: u32 = 6;
const ICMPV6: u32 = 58;

/// `SKF_AD_OFF + SKF_AD_PROTOCOL` (linux/filter.h): the EtherType, whatever the link.
const PROTOCOL: u32 = 0xffff_f000;
/// `SKF_AD_PKTTYPE`, `SKF_AD_IFINDEX`, `SKF_AD_VLAN_TAG` from there.
const PACKET_TYPE: u32 = PROTOCOL + 4;
const INTERFACE: u32 = PROTOCOL + 8;
const VLAN_TAG: u32 = PROTOCOL + 44;
/// `PACKET_OTHERHOST` (linux/if_packet.h).
const OTHERHOST: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Ipv4,
    Icmp,
    IcmpError,
    Ipv6,
    Icmpv6,
    Ports,
    Accept,
    Drop,
    /// The packet did not come by the interface of that number in the list.
    Other(usize),
    ForUs,
    Untagged,
}

#[derive(Clone, Copy, Debug)]
enum Load {
    Word,
    Half,
    Byte,
    HalfBehindHeader,
    ByteBehindHeader,
}

#[derive(Clone, Copy, Debug)]
enum Test {
    Equal,
    AtLeast,
    AnyBit,
}

/// An instruction whose jumps are labels yet; `None` is the next instruction.
#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u16,
    then: Option<Label>,
    otherwise: Option<Label>,
    value: u32,
}

/// One as the kernel takes it: jumps are distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    code: u16,
    then: u8,
    otherwise: u8,
    value: u32,
}

#[derive(Debug, Default)]
struct Program {
    instructions: Vec<Instruction>,
    labels: Vec<(Label, usize)>,
}

impl Program {
    fn at(&mut self, label: Label) {
        self.labels.push((label, self.instructions.len()));
    }

    fn push(&mut self, code: u16, value: u32, then: Option<Label>, otherwise: Option<Label>) {
        self.instructions.push(Instruction { code, then, otherwise, value });
    }

    fn load(&mut self, load: Load, offset: u32) {
        // BPF_LD with BPF_W, BPF_H, BPF_B and BPF_ABS or BPF_IND.
        let code = match load {
            Load::Word => 0x20,
            Load::Half => 0x28,
            Load::Byte => 0x30,
            Load::HalfBehindHeader => 0x48,
            Load::ByteBehindHeader => 0x50,
        };
        self.push(code, offset, None, None);
    }

    /// BPF_LDX | BPF_B | BPF_MSH: four times the low half of the first byte.
    fn header_length(&mut self) {
        self.push(0xb1, 0, None, None);
    }

    fn goto_if(&mut self, test: Test, value: u32, label: Label) {
        self.push(code_of(test), value, Some(label), None);
    }

    fn goto_unless(&mut self, test: Test, value: u32, label: Label) {
        self.push(code_of(test), value, None, Some(label));
    }

    /// A test whose both ways lead there.
    fn goto(&mut self, label: Label) {
        self.push(code_of(Test::AtLeast), 0, Some(label), Some(label));
    }

    /// BPF_RET | BPF_K.
    fn finish(&mut self, bytes: u32) {
        self.push(0x06, bytes, None, None);
    }

    fn assemble(self) -> Vec<Step> {
        let distance = |from: usize, to: Option<Label>| {
            let Some(label) = to else { return 0 };
            let place = self.labels.iter().find(|(known, _)| *known == label).map(|(_, place)| *place);
            let place = place.expect("every label is set");
            u8::try_from(place - from - 1).expect("jumps go forward, and the program is short")
        };
        let instruction = |(at, one): (usize, &Instruction)| Step {
            code: one.code,
            then: distance(at, one.then),
            otherwise: distance(at, one.otherwise),
            value: one.value,
        };
        self.instructions.iter().enumerate().map(instruction).collect()
    }
}

/// BPF_JMP | BPF_K with BPF_JEQ, BPF_JGE, BPF_JSET.
const fn code_of(test: Test) -> u16 {
    match test {
        Test::Equal => 0x15,
        Test::AtLeast => 0x35,
        Test::AnyBit => 0x45,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel knows of a packet beside its bytes.
    #[derive(Clone, Copy, Default)]
    struct About {
        protocol: u32,
        interface: u32,
        kind: u32,
        tag: u32,
    }

    /// What the kernel's interpreter does with the instructions that are used here (filter.rst).
    fn run(program: &[Step], about: &About, packet: &[u8]) -> u32 {
        let (mut a, mut x, mut at) = (0_u32, 0_u32, 0);
        let load = |offset: u32, len: usize| -> Option<u32> {
            let bytes = packet.get(offset as usize..offset as usize + len)?;
            Some(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
        };
        loop {
            let Step { code, then, otherwise, value: k } = program[at];
            at += 1;
            let loaded = match code {
                0x20 if k == PROTOCOL => Some(about.protocol),
                0x20 if k == PACKET_TYPE => Some(about.kind),
                0x20 if k == INTERFACE => Some(about.interface),
                0x20 if k == VLAN_TAG => Some(about.tag),
                0x28 => load(k, 2),
                0x30 => load(k, 1),
                0x48 => load(x + k, 2),
                0x50 => load(x + k, 1),
                0xb1 => {
                    let Some(first) = load(k, 1) else { return 0 };
                    x = 4 * (first & 0xf);
                    continue;
                }
                0x15 | 0x35 | 0x45 => {
                    let holds = match code {
                        0x15 => a == k,
                        0x35 => a >= k,
                        _ => a & k != 0,
                    };
                    at += usize::from(if holds { then } else { otherwise });
                    continue;
                }
                0x06 => return k,
                _ => panic!("{code:#x}"),
            };
            // A load behind the end drops the packet.
            let Some(loaded) = loaded else { return 0 };
            a = loaded;
        }
    }

    fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        [&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 198, 18, 0, 2, 198, 18, 0, 1], payload].concat()
    }

    fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
        [&[0x60, 0, 0, 0, 0, 0, next, 64][..], &[0; 32], payload].concat()
    }

    fn segment(from: u16, to: u16) -> Vec<u8> {
        [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0; 16]].concat()
    }

    fn passes(protocol: u32, packet: &[u8]) -> bool {
        run(&program(&[30_001, 30_017], &[]), &About { protocol, ..About::default() }, packet) == SNAP
    }

    #[test]
    fn replies_pass_and_others_do_not() {
        assert!(passes(0x0800, &ipv4(6, &segment(80, 30_001))));
        assert!(passes(0x0800, &ipv4(6, &segment(80, 30_017))));
        assert!(!passes(0x0800, &ipv4(6, &segment(80, 30_002))));
        assert!(!passes(0x0800, &ipv4(6, &segment(30_001, 80))), "our own probe");
        assert!(!passes(0x0800, &ipv4(17, &segment(80, 30_001))));
        assert!(passes(0x86dd, &ipv6(6, &segment(80, 30_001))));
        assert!(!passes(0x86dd, &ipv6(6, &segment(80, 1))));
        assert!(!passes(0x88cc, &ipv4(6, &segment(80, 30_001))));
        let mut with_options = ipv4(6, &[&[1, 1, 1, 0][..], &segment(80, 30_001)].concat());
        with_options[0] = 0x46;
        assert!(passes(0x0800, &with_options));
        let mut fragment = ipv4(6, &segment(80, 30_001));
        fragment[7] = 1;
        assert!(!passes(0x0800, &fragment));
    }

    #[test]
    fn errors_about_our_probes_pass() {
        let probe = ipv4(6, &segment(30_001, 80));
        for kind in 0..=20 {
            let error = ipv4(1, &[&[kind, 1, 0, 0, 0, 0, 0, 0], &probe[..28]].concat());
            assert_eq!(passes(0x0800, &error), [3, 11, 12].contains(&kind), "{kind}");
        }
        let others = ipv4(6, &segment(80, 30_001));
        assert!(!passes(0x0800, &ipv4(1, &[&[3, 1, 0, 0, 0, 0, 0, 0], &others[..28]].concat())));
        let probe = ipv6(6, &segment(30_017, 80));
        for kind in 0..=6 {
            let error = ipv6(58, &[&[kind, 1, 0, 0, 0, 0, 0, 0], &probe[..]].concat());
            assert_eq!(passes(0x86dd, &error), (1..=4).contains(&kind), "{kind}");
        }
    }

    #[test]
    fn neighbours_answers_pass() {
        let arp = |operation| [0, 1, 8, 0, 6, 4, 0, operation, 0, 0, 0, 0, 0, 0];
        assert!(passes(0x0806, &arp(2)));
        assert!(!passes(0x0806, &arp(1)));
        assert!(passes(0x86dd, &ipv6(58, &[136, 0, 0, 0])));
        assert!(!passes(0x86dd, &ipv6(58, &[135, 0, 0, 0])));
    }

    #[test]
    fn the_longest_program_still_reaches() {
        let ports: Vec<u16> = (0..MOST_PORTS as u16).map(|port| 20_000 + port).collect();
        let interfaces: Vec<u32> = (1..10_000).collect();
        let program = program(&ports, &interfaces);
        // What the kernel takes at most (BPF_MAXINSNS).
        assert!(program.len() < 4096, "{}", program.len());
        for port in [20_000, 20_127] {
            let about = About { protocol: 0x0800, interface: 20_000, ..About::default() };
            assert_eq!(run(&program, &about, &ipv4(6, &segment(80, port))), SNAP);
        }
    }

    #[test]
    fn a_packet_passes_on_the_last_interface_that_hears_it() {
        let program = program(&[30_001], &[4, 7]);
        let passes = |about: About| {
            let about = About { protocol: 0x0800, ..about };
            run(&program, &about, &ipv4(6, &segment(80, 30_001))) == SNAP
        };
        let on = |interface| passes(About { interface, ..About::default() });
        assert_eq!([4, 5, 7, 8].map(on), [false, true, false, true], "4 and 7 are ports of others");
        let of_kind = |kind| passes(About { kind, ..About::default() });
        assert_eq!([0, 1, 2, 3].map(of_kind), [true, true, true, false], "to us, to all, to some, to somebody else");
        let tagged = |tag| passes(About { tag, ..About::default() });
        assert_eq!([0x0000, 0x6000, 0x600a].map(tagged), [true, true, false]);
    }
}
