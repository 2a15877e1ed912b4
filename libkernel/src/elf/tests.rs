//! Tests of the ELF reader: made-up files, and arbitrary bytes.

use super::*;
use proptest::prelude::*;

struct Part {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
}

fn load(flags: u32, offset: u64, address: u64, file_size: u64, memory_size: u64) -> Part {
    Part { kind: PT_LOAD, flags, offset, address, file_size, memory_size }
}

fn table(parts: &[Part]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend(part.kind.to_le_bytes());
        bytes.extend(part.flags.to_le_bytes());
        for word in [part.offset, part.address, part.address, part.file_size, part.memory_size, 0x10000] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes
}

fn header(kind: u16, count: u16) -> Vec<u8> {
    let mut bytes = Vec::from(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    bytes.extend(kind.to_le_bytes());
    bytes.extend(183u16.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(0x40_0100u64.to_le_bytes());
    bytes.extend(64u64.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    for half in [64u16, 56, count, 64, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes
}

fn parse(parts: &[Part]) -> Result<Program> {
    let header = Header::parse(&header(2, parts.len() as u16))?;
    Program::parse(&header, &table(parts))
}

#[test]
fn a_static_program_with_bss_is_laid_out() {
    let program = parse(&[
        load(5, 0, 0x40_0000, 0x1234, 0x1234),
        load(6, 0x1800, 0x41_1800, 0x100, 0x3000),
        Part { kind: PT_GNU_STACK, flags: 6, offset: 0, address: 0, file_size: 0, memory_size: 0 },
    ])
    .unwrap();
    assert_eq!(program.kind, Kind::Fixed);
    assert_eq!(program.extent, 0x40_0000..0x41_5000);
    assert_eq!(program.headers_address, Some(0x40_0040));
    assert!(!program.executable_stack);
    let data = &program.segments[1];
    assert_eq!(data.file_pages, 0x41_1000..0x41_2000);
    assert_eq!(data.file_offset, 0x1000);
    assert_eq!(data.zero, 0x41_1900..0x41_2000);
    assert_eq!(data.zero_pages(), 0x41_2000..0x41_5000);
    assert!(data.protection.write && !data.protection.execute);
}

#[test]
fn a_segment_of_zeros_alone_takes_nothing_from_the_file() {
    let program = parse(&[load(6, 0x800, 0x40_0800, 0, 0x10)]).unwrap();
    assert_eq!(program.segments[0].file_pages, 0x40_0000..0x40_0000);
    assert_eq!(program.segments[0].zero_pages(), 0x40_0000..0x40_1000);
    assert!(program.segments[0].zero.is_empty());
}

#[test]
fn the_interpreter_is_found() {
    let interpreter = Part { kind: PT_INTERP, flags: 4, offset: 0x200, address: 0, file_size: 28, memory_size: 28 };
    let program = parse(&[interpreter, load(5, 0, 0, 0x1000, 0x1000)]).unwrap();
    assert_eq!(program.interpreter, Some(0x200..0x21c));
}

#[test]
fn nonsense_is_refused() {
    assert_eq!(parse(&[]), Err(Errno::ENOEXEC), "no headers");
    assert_eq!(parse(&[load(5, 0, 0x40_0000, 2, 1)]), Err(Errno::ENOEXEC), "more file than memory");
    assert_eq!(parse(&[load(5, 1, 0x40_0000, 1, 1)]), Err(Errno::ENOEXEC), "offset and address disagree");
    assert_eq!(parse(&[load(5, 0, 0xffff_ffff_ffff_f000, 1, 0x2000)]), Err(Errno::EINVAL), "wraps around");
    assert_eq!(parse(&[load(5, 0, 1 << 48, 1, 1)]), Err(Errno::EINVAL), "in the kernel's half");
    let mut wrong_machine = header(2, 1);
    wrong_machine[18] = 62;
    assert_eq!(Header::parse(&wrong_machine), Err(Errno::ENOEXEC));
    assert_eq!(Header::parse(&header(2, 1)[..40]), Err(Errno::ENOEXEC), "cut short");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Header::parse(&bytes);
        let found = Header { kind: Kind::Fixed, entry: 0, program_headers_offset: 0, program_header_count: 4 };
        let _ = Program::parse(&found, &bytes);
    }

    #[test]
    fn accepted_segments_keep_their_invariants(
        parts in proptest::collection::vec(
            (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), 0u32..8), 1..6),
        small in any::<bool>(),
    ) {
        let mask = if small { 0xf_ffff } else { u64::MAX };
        let parts: Vec<_> = parts
            .iter()
            .map(|(offset, address, file, memory, flags)| {
                let address = address & mask;
                let offset = (offset & mask & !0xfff) | (address & 0xfff);
                load(*flags, offset, address, file & mask, memory & mask)
            })
            .collect();
        if let Ok(program) = parse(&parts) {
            for segment in &program.segments {
                prop_assert!(segment.pages.start < segment.pages.end && segment.pages.end <= 1 << 48);
                prop_assert!(segment.file_pages.start == segment.pages.start && segment.file_pages.end <= segment.pages.end);
                prop_assert_eq!(segment.file_offset % 4096, 0);
                prop_assert!(segment.zero.is_empty() || segment.zero.end == segment.file_pages.end);
                prop_assert!(segment.zero.end - segment.zero.start < 4096);
                prop_assert!(program.extent.start <= segment.pages.start && segment.pages.end <= program.extent.end);
            }
        }
    }
}
