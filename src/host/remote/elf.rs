//! Which machine an ELF program is for, and whether it needs a loader (elf(5)). Pure.

/// What the head of a program says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// e_machine.
    machine: u16,
    /// Names a loader (PT_INTERP): it needs the C library of the machine that it runs on.
    pub is_dynamic: bool,
}

impl Program {
    /// Reads the first bytes of a file; `None`: no ELF program, or its table of segments lies beyond them.
    pub fn parse(head: &[u8]) -> Option<Self> {
        if head.get(..4)? != b"\x7fELF" {
            return None;
        }
        let wide = match head.get(4)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let reader = Reader { head, big: *head.get(5)? == 2 };
        let (table, size, count) = if wide {
            (reader.number(32, 8)?, reader.number(54, 2)?, reader.number(56, 2)?)
        } else {
            (reader.number(28, 4)?, reader.number(42, 2)?, reader.number(44, 2)?)
        };
        let mut is_dynamic = false;
        for index in 0..count {
            let at = usize::try_from(table.checked_add(index.checked_mul(size)?)?).ok()?;
            is_dynamic |= reader.number(at, 4)? == PT_INTERP;
        }
        Some(Self { machine: u16::try_from(reader.number(18, 2)?).ok()?, is_dynamic })
    }

    /// Whether it runs on what `uname -m` calls `machine`.
    pub fn fits(&self, machine: &str) -> bool {
        MACHINES.iter().any(|(number, names)| *number == self.machine && names.contains(&machine))
    }

    /// Its machine as `uname -m` would call it.
    pub fn machine(&self) -> &'static str {
        MACHINES.iter().find(|(number, _)| *number == self.machine).map_or("an unknown machine", |(_, names)| names[0])
    }
}

struct Reader<'a> {
    head: &'a [u8],
    big: bool,
}

impl Reader<'_> {
    fn number(&self, at: usize, width: usize) -> Option<u64> {
        let bytes = self.head.get(at..at.checked_add(width)?)?;
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    }
}

const PT_INTERP: u64 = 3;

/// EM_* of elf.h with the names that Linux gives in `uname -m`; a 64-bit kernel runs the 32-bit programs of its kind.
const MACHINES: [(u16, &[&str]); 8] = [
    (3, &["i686", "i586", "i386", "x86_64"]),
    (21, &["ppc64le", "ppc64"]),
    (22, &["s390x"]),
    (40, &["armv7l", "armv6l", "armv8l", "aarch64"]),
    (62, &["x86_64"]),
    (183, &["aarch64"]),
    (243, &["riscv64"]),
    (258, &["loongarch64"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A header as `ld` writes it, with program headers of these types behind it.
    fn elf64(machine: u16, types: &[u32]) -> Vec<u8> {
        let mut head = vec![0_u8; 64];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18..20].copy_from_slice(&machine.to_le_bytes());
        head[32..40].copy_from_slice(&64_u64.to_le_bytes());
        head[54..56].copy_from_slice(&56_u16.to_le_bytes());
        head[56..58].copy_from_slice(&u16::try_from(types.len()).unwrap().to_le_bytes());
        for kind in types {
            head.extend([&kind.to_le_bytes()[..], &[0; 52]].concat());
        }
        head
    }

    #[test]
    fn machine_and_loader() {
        let static_pie = Program::parse(&elf64(62, &[1, 2])).unwrap();
        assert!(!static_pie.is_dynamic && static_pie.fits("x86_64") && !static_pie.fits("aarch64"));
        let dynamic = Program::parse(&elf64(183, &[6, 3, 1])).unwrap();
        assert_eq!((dynamic.is_dynamic, dynamic.machine()), (true, "aarch64"));
        assert_eq!(Program::parse(&elf64(9999, &[])).unwrap().machine(), "an unknown machine");
    }

    #[test]
    fn a_32_bit_big_endian_head() {
        let mut head = vec![0_u8; 52 + 32];
        head[..6].copy_from_slice(b"\x7fELF\x01\x02");
        head[19] = 22;
        head[31] = 52;
        head[43] = 32;
        head[45] = 1;
        head[55] = 3;
        let program = Program::parse(&head).unwrap();
        assert!(program.is_dynamic && program.fits("s390x"));
    }

    #[test]
    fn what_is_cut_or_foreign_is_no_program() {
        let whole = elf64(62, &[1, 3]);
        for length in 0..whole.len() - 52 {
            assert_eq!(Program::parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(Program::parse(b"#!/bin/sh\n"), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "reads this test program's own file")]
    fn this_very_program_is_for_this_machine() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let program = Program::parse(&own).unwrap();
        assert!(program.fits(rustix::system::uname().machine().to_str().unwrap()));
    }
}
