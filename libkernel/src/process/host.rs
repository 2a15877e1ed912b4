//! What the machine calls itself (uname(2)); the names can be set.
#![forbid(unsafe_code)]

use crate::sync::SpinLock;
use crate::{Errno, Result};

/// Longest host or domain name in bytes (`__NEW_UTS_LEN`).
pub const NAME_MAX: usize = 64;

/// A field of `struct new_utsname`.
pub type Field = [u8; NAME_MAX + 1];

struct Names {
    host: Field,
    domain: Field,
}

static NAMES: SpinLock<Names> = SpinLock::new(Names { host: field(b"lichen"), domain: field(b"(none)") });

/// `text` with zeros behind it; what does not fit is cut.
const fn field(text: &[u8]) -> Field {
    let mut field = [0; NAME_MAX + 1];
    let (room, _) = field.split_at_mut(NAME_MAX);
    let length = if text.len() < room.len() { text.len() } else { room.len() };
    let (text, _) = text.split_at(length);
    let (room, _) = room.split_at_mut(length);
    room.copy_from_slice(text);
    field
}

/// The host's name.
#[must_use]
pub fn host_name() -> Field {
    NAMES.lock().host
}

/// Sets the host's name.
///
/// # Errors
/// `EINVAL` for more than [`NAME_MAX`] bytes.
pub fn set_host_name(name: &[u8]) -> Result<()> {
    NAMES.lock().host = checked(name)?;
    Ok(())
}

/// Sets the domain's name.
///
/// # Errors
/// `EINVAL` for more than [`NAME_MAX`] bytes.
pub fn set_domain_name(name: &[u8]) -> Result<()> {
    NAMES.lock().domain = checked(name)?;
    Ok(())
}

/// All six fields of `struct new_utsname`, in their order.
///
/// Programs look at the first and the third to learn which system calls they can expect: those of Linux, of the
/// release whose behaviour the tests compare with.
#[must_use]
pub fn names() -> [Field; 6] {
    let names = NAMES.lock();
    [field(b"Linux"), names.host, field(RELEASE), field(VERSION), field(b"aarch64"), names.domain]
}

/// The release, for `uname -r` and `/proc/version`.
pub const RELEASE: &[u8] = concat!("6.12.0-lichen-", env!("CARGO_PKG_VERSION")).as_bytes();
/// The version, for `uname -v` and `/proc/version`.
pub const VERSION: &[u8] = b"#1 SMP Lichen";

fn checked(name: &[u8]) -> Result<Field> {
    if name.len() > NAME_MAX { Err(Errno::EINVAL) } else { Ok(field(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_checked_and_kept() {
        set_host_name(&[b'x'; 64]).unwrap();
        assert_eq!(host_name()[..64], [b'x'; 64]);
        assert_eq!(host_name()[64], 0);
        assert_eq!(set_host_name(&[b'x'; 65]), Err(Errno::EINVAL));
        assert!(names()[2].starts_with(b"6.12"));
    }
}
