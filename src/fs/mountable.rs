//! What mount(2) can mount, by type name.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::fs::tmpfs::{Tmpfs, anonymous_device};
use libkernel::fs::{FileSystem, Mount, devfs, procfs, sysfs};
use libkernel::memory::{PAGE_SIZE, frames};
use libkernel::tty::devpts::DevPts;
use libkernel::{Errno, Result};

/// The part of memory that a tmpfs may take when its options do not say.
const DEFAULT_SHARE: u64 = 2;

/// Files per megabyte of memory that a tmpfs may have when its options do not say.
const FILES_PER_MEGABYTE: u64 = 128;

/// A size as tmpfs(5) has it: bytes, or with k, m, g or a per cent of memory.
fn parse_size(text: &str, total: u64) -> Option<u64> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(end) => text.split_at(end),
        None => (text, ""),
    };
    let number: u64 = digits.parse().ok()?;
    match unit {
        "" => Some(number),
        "k" | "K" => number.checked_mul(1 << 10),
        "m" | "M" => number.checked_mul(1 << 20),
        "g" | "G" => number.checked_mul(1 << 30),
        "%" => Some(total / 100 * number),
        _ => None,
    }
}

/// A tmpfs with the options of tmpfs(5).
fn tmpfs(options: &str) -> Result<Arc<Tmpfs>> {
    let total = (frames::total() * PAGE_SIZE) as u64;
    let mut size = total / DEFAULT_SHARE;
    let mut files = (total >> 20) * FILES_PER_MEGABYTE;
    let mut mode = None;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "size" => size = parse_size(value, total).ok_or(Errno::EINVAL)?,
            "nr_inodes" => files = parse_size(value, total).ok_or(Errno::EINVAL)?,
            "mode" => mode = Some(u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)?),
            _ => {}
        }
    }
    let limit = |value| if value == 0 { u64::MAX } else { value };
    let tmpfs = Tmpfs::new("tmpfs", limit(size), limit(files));
    tmpfs.root().attributes().set_permissions(mode.unwrap_or(0o1777));
    Ok(tmpfs)
}

/// A mount of a file system of this type that is not joined to the tree yet.
///
/// # Errors
/// `ENODEV` for a type that there is not, `EINVAL` for a wrong option, `ENOMEM`.
pub fn make(kind: &str, options: &str, source: &str) -> Result<Arc<Mount>> {
    let file_system: Arc<dyn FileSystem> = match kind {
        "tmpfs" | "ramfs" => tmpfs(options)?,
        "proc" => procfs::file_system(),
        "sysfs" => sysfs::file_system(),
        "devpts" => DevPts::new(anonymous_device()),
        "devtmpfs" => return devfs::mount_devices(),
        _ => return Err(Errno::ENODEV),
    };
    Ok(Mount::detached(file_system, source))
}
