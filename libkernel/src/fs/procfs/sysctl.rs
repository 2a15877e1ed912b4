//! `/proc/sys`: settings of the kernel, of which few can be changed.
#![forbid(unsafe_code)]

use alloc::format;
use core::str;

use crate::fs::fd_table::MAX_FILES;
use crate::fs::metadata::FileType::{self, Directory, Regular};
use crate::fs::mount::Path;
use crate::fs::pipe;
use crate::fs::virtual_fs::{Fixed, Node, Source, Text};
use crate::process::capability::CapabilitySet;
use crate::process::{host, table};
use crate::sync::SetOnce;
use crate::{Errno, Result, random};

type Entries = &'static [(&'static str, FileType, fn() -> Node)];

/// The entries of `/proc/sys`.
pub const ROOT: Entries = &[
    ("fs", Directory, || Node::directory(Fixed(FS))),
    ("kernel", Directory, || Node::directory(Fixed(KERNEL))),
    ("vm", Directory, || Node::directory(Fixed(VM))),
];

const FS: Entries = &[
    ("file-max", Regular, || constant("9223372036854775807\n")),
    ("nr_open", Regular, || {
        Node::file(0o444, |_: &Path, text: &mut Text| text.push(format!("{MAX_FILES}\n").as_bytes()))
    }),
    ("pipe-max-size", Regular, || {
        Node::file(0o444, |_: &Path, text: &mut Text| text.push(format!("{}\n", pipe::MAX_CAPACITY).as_bytes()))
    }),
];

const KERNEL: Entries = &[
    ("cap_last_cap", Regular, || {
        Node::file(0o444, |_: &Path, text: &mut Text| text.push(format!("{}\n", CapabilitySet::LAST).as_bytes()))
    }),
    ("hostname", Regular, || Node::file(0o644, HostName)),
    ("ngroups_max", Regular, || constant("65536\n")),
    ("osrelease", Regular, || Node::file(0o444, |_: &Path, text: &mut Text| line(text, host::RELEASE))),
    ("ostype", Regular, || constant("Linux\n")),
    ("overflowgid", Regular, || constant("65534\n")),
    ("overflowuid", Regular, || constant("65534\n")),
    ("pid_max", Regular, || Node::file(0o644, PidMax)),
    ("random", Directory, || Node::directory(Fixed(RANDOM))),
    ("randomize_va_space", Regular, || constant("2\n")),
    ("threads-max", Regular, || constant("32768\n")),
    ("version", Regular, || Node::file(0o444, |_: &Path, text: &mut Text| line(text, host::VERSION))),
];

const RANDOM: Entries = &[
    ("boot_id", Regular, || Node::file(0o444, boot_id)),
    ("entropy_avail", Regular, || constant("256\n")),
    ("poolsize", Regular, || constant("256\n")),
    ("uuid", Regular, || Node::file(0o444, |_: &Path, text: &mut Text| uuid(new_uuid(), text))),
];

const VM: Entries = &[
    ("max_map_count", Regular, || constant("65530\n")),
    ("mmap_min_addr", Regular, || constant("65536\n")),
    ("overcommit_memory", Regular, || constant("0\n")),
    ("swappiness", Regular, || constant("60\n")),
];

fn constant(value: &'static str) -> Node {
    Node::file(0o444, move |_: &Path, text: &mut Text| text.push(value.as_bytes()))
}

fn line(text: &mut Text, bytes: &[u8]) -> Result<()> {
    text.push(bytes)?;
    text.push(b"\n")
}

fn new_uuid() -> [u8; 16] {
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    // Version 4, variant 1 (RFC 9562).
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    bytes
}

fn uuid(bytes: [u8; 16], text: &mut Text) -> Result<()> {
    for (index, byte) in bytes.into_iter().enumerate() {
        let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
        text.write_fmt(format_args!("{dash}{byte:02x}"))?;
    }
    text.push(b"\n")
}

fn boot_id(_root: &Path, text: &mut Text) -> Result<()> {
    static ID: SetOnce<[u8; 16]> = SetOnce::new();
    if ID.get().is_none() {
        // Whoever was first made the one that counts.
        let _ = ID.set(new_uuid());
    }
    uuid(ID.get().copied().unwrap_or_default(), text)
}

struct HostName;

impl Source for HostName {
    fn show(&self, _root: &Path, text: &mut Text) -> Result<()> {
        let name = host::host_name();
        line(text, name.split(|byte| *byte == 0).next().unwrap_or_default())
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        host::set_host_name(bytes.trim_ascii_end())
    }
}

struct PidMax;

impl Source for PidMax {
    fn show(&self, _root: &Path, text: &mut Text) -> Result<()> {
        text.write_fmt(format_args!("{}\n", table::pid_max()))
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        let text = str::from_utf8(bytes.trim_ascii()).map_err(|_| Errno::EINVAL)?;
        table::set_pid_max(text.parse().map_err(|_| Errno::EINVAL)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_has_its_version_and_variant_in_place() {
        let mut text = Text::default();
        uuid(new_uuid(), &mut text).unwrap();
        let shape: alloc::vec::Vec<usize> =
            text.bytes().trim_ascii().split(|byte| *byte == b'-').map(<[u8]>::len).collect();
        assert_eq!(shape, [8, 4, 4, 4, 12]);
        assert_eq!(text.bytes()[14], b'4');
        assert!(b"89ab".contains(&text.bytes()[19]));
    }
}
