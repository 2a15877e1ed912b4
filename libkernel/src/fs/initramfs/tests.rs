//! Archives good and bad.

use proptest::prelude::*;

use super::*;
use crate::fs::open::open;
use crate::fs::open_flags::OpenFlags;
use crate::fs::testing::World;
use crate::fs::walk::{LastLink, resolve};
use crate::io::SliceSink;

struct Archive(Vec<u8>);

impl Archive {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn entry(mut self, name: &str, mode: u32, ino: u32, links: u32, content: &[u8]) -> Self {
        self.pad();
        let size = content.len();
        let header = format!(
            "070701{ino:08x}{mode:08x}{:08x}{:08x}{links:08x}{:08x}{size:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
            0,
            0,
            1_700_000_000,
            0,
            0,
            5,
            1,
            name.len() + 1,
            0
        );
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        self.pad();
        self.0.extend_from_slice(content);
        self.pad();
        self
    }

    fn end(self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, 0, 1, b"").0
    }
}

fn small() -> Vec<u8> {
    Archive::new()
        .entry(".", 0o40755, 1, 2, b"")
        .entry("bin", 0o40755, 2, 2, b"")
        .entry("bin/sh", 0o100_755, 3, 2, b"")
        .entry("bin/bash", 0o100_755, 3, 2, b"#!hello")
        .entry("./init", 0o120_777, 4, 1, b"bin/sh")
        .entry("console", 0o20600, 5, 1, b"")
        .end()
}

/// A gzip member of stored blocks, for tests need no compressor.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
    member.extend_from_slice(b"name\0");
    let mut chunks = bytes.chunks(60_000).peekable();
    while let Some(chunk) = chunks.next() {
        member.push(u8::from(chunks.peek().is_none()));
        member.extend_from_slice(&(chunk.len() as u16).to_le_bytes());
        member.extend_from_slice(&(!(chunk.len() as u16)).to_le_bytes());
        member.extend_from_slice(chunk);
    }
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 != 0 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    member.extend_from_slice(&(!crc).to_le_bytes());
    member.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    member
}

fn unpack_leaked(image: Vec<u8>) -> (World, Result<Unpacked, ArchiveError>) {
    let world = World::new();
    let result = unpack(image.leak(), &world.caller());
    (world, result)
}

fn read(world: &World, path: &str) -> Vec<u8> {
    let file = open(&world.caller(), None, path.as_bytes(), OpenFlags::empty(), 0).unwrap();
    let mut bytes = vec![0; 300_000];
    let count = file.read(&mut SliceSink::new(&mut bytes)).unwrap();
    bytes.truncate(count);
    bytes
}

#[test]
fn an_archive_becomes_files() {
    let (world, result) = unpack_leaked(small());
    assert_eq!(result, Ok(Unpacked { files: 6, bytes: 13, skipped: 0 }));
    assert_eq!(read(&world, "/init"), b"#!hello");
    let bash = resolve(&world.caller(), None, b"/bin/bash", LastLink::Keep).unwrap().inode().metadata();
    assert_eq!((bash.links, bash.mode(), bash.modified), (2, 0o100_755, 1_700_000_000_000_000_000));
    let console = resolve(&world.caller(), None, b"/console", LastLink::Keep).unwrap().inode().metadata();
    assert_eq!((console.represents.major, console.represents.minor), (5, 1));
}

#[test]
fn archives_follow_one_another_plain_and_compressed_and_later_ones_win() {
    let second =
        Archive::new().entry("bin/bash", 0o100_755, 1, 1, b"second").entry("big", 0o100_644, 2, 1, &[9; 200_000]).end();
    let third = Archive::new().entry("third", 0o100_644, 1, 1, b"3").end();
    let mut image = small();
    image.resize(image.len() + 400, 0);
    image.extend(stored(&second));
    image.extend(third);
    let (world, result) = unpack_leaked(image);
    assert_eq!(result.map(|done| done.files), Ok(9));
    assert_eq!((read(&world, "/bin/bash"), read(&world, "/bin/sh")), (b"second".to_vec(), b"#!hello".to_vec()));
    assert_eq!((read(&world, "/big"), read(&world, "/third")), (vec![9; 200_000], b"3".to_vec()));
}

#[test]
fn each_kind_of_damage_is_told() {
    let reason = |image: Vec<u8>| unpack_leaked(image).1.map_err(|error| error.reason);
    let good = small();
    let mut cut = good.clone();
    cut.truncate(500);
    assert_eq!(reason(cut), Err("the archive ends in the middle of a file"));
    let mut digit = good.clone();
    digit[10] = b'x';
    assert_eq!(reason(digit), Err("a number in a cpio header has a wrong digit"));
    assert_eq!(reason(b"BZh9".to_vec()), Err("neither a cpio archive nor gzip"));
    let mut sum = stored(&good);
    let at = sum.len() - 5;
    sum[at] ^= 1;
    assert_eq!(reason(sum), Err("the checksum of the gzip stream is wrong"));
    let mut short = stored(&good);
    short.truncate(300);
    assert_eq!(reason(short), Err("the gzip stream ends early"));
    let open_end = Archive::new().entry("f", 0o100_644, 1, 1, b"x").0;
    assert_eq!(reason(open_end), Err("the archive ends without a trailer"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_damage_panics(places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), cut in any::<prop::sample::Index>(), packed in any::<bool>()) {
        let mut image = if packed { stored(&small()) } else { small() };
        for (place, byte) in places {
            let at = place.index(image.len());
            image[at] = byte;
        }
        image.truncate(cut.index(image.len()) + 1);
        let _ = unpack_leaked(image);
    }
}
