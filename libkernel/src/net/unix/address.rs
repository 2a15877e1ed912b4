//! Addresses of unix sockets: paths and abstract names (unix(7), "Address format").
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use linux_raw_sys::net as linux;

use crate::fs::Inode;
use crate::{Errno, Result};

/// The bytes before the name: the address family.
const FAMILY: usize = 2;

/// The longest name in bytes (`sizeof(sun_path)`).
const LONGEST: usize = 108;

/// The length of the largest address, with a zero behind a path that fills it.
pub const MAX_LENGTH: usize = FAMILY + LONGEST + 1;

/// What a program named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// A path, without its zero.
    Path(&'a [u8]),
    /// A name that is no path, without the zero before it.
    Abstract(&'a [u8]),
    /// No name at all: bind(2) chooses one.
    Unnamed,
}

impl<'a> Name<'a> {
    /// From a `sockaddr_un` as long as the program says.
    ///
    /// # Errors
    /// `EINVAL` for another family or a wrong length.
    pub fn parse(address: &'a [u8]) -> Result<Self> {
        let (family, name) = address.split_first_chunk::<FAMILY>().ok_or(Errno::EINVAL)?;
        if u32::from(u16::from_ne_bytes(*family)) != linux::AF_UNIX || name.len() > LONGEST {
            return Err(Errno::EINVAL);
        }
        Ok(match name {
            [] => Self::Unnamed,
            [0, rest @ ..] => Self::Abstract(rest),
            path => Self::Path(path.split(|byte| *byte == 0).next().unwrap_or_default()),
        })
    }
}

/// Whether an address says that there is none (`AF_UNSPEC`), which dissolves a datagram socket's partnership.
#[must_use]
pub fn is_unspecified(address: &[u8]) -> bool {
    address.starts_with(&(linux::AF_UNSPEC as u16).to_ne_bytes())
}

/// The name of a bound socket.
pub enum Address {
    /// A path, as it was bound, and the file that was made there, which keeps its number as long as the address lives.
    Path(Vec<u8>, Arc<dyn Inode>),
    /// A name that is no path.
    Abstract(Vec<u8>),
}

impl Address {
    /// The name of a bound socket as a `sockaddr_un`, or with `None` that of one without a name; in `buffer`.
    #[must_use]
    pub fn encode<'b>(address: Option<&Self>, buffer: &'b mut [u8; MAX_LENGTH]) -> &'b [u8] {
        let parts: [&[u8]; 3] = match address {
            Some(Self::Path(path, _)) => [b"", path, b"\0"],
            Some(Self::Abstract(name)) => [b"\0", name, b""],
            None => [b"", b"", b""],
        };
        let family = (linux::AF_UNIX as u16).to_ne_bytes();
        let bytes = family.iter().chain(parts.into_iter().flatten());
        let mut length = 0;
        for (to, from) in buffer.iter_mut().zip(bytes) {
            *to = *from;
            length += 1;
        }
        buffer.get(..length).unwrap_or_default()
    }
}

impl fmt::Display for Address {
    /// As `/proc/net/unix` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, name) = match self {
            Self::Path(path, _) => ("", path),
            Self::Abstract(name) => ("@", name),
        };
        f.write_str(prefix)?;
        name.iter()
            .try_for_each(|byte| f.write_fmt(format_args!("{}", char::from(if *byte == 0 { b'@' } else { *byte }))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_by_their_first_byte() {
        assert_eq!(Name::parse(b"\x01\0"), Ok(Name::Unnamed));
        assert_eq!(Name::parse(b"\x01\0/tmp/x\0rest"), Ok(Name::Path(b"/tmp/x")));
        assert_eq!(Name::parse(b"\x01\0/tmp/x"), Ok(Name::Path(b"/tmp/x")));
        assert_eq!(Name::parse(b"\x01\0\0a\0b"), Ok(Name::Abstract(b"a\0b")));
        assert_eq!(Name::parse(b"\x01\0\0"), Ok(Name::Abstract(b"")));
        assert_eq!(Name::parse(b"\x02\0/tmp"), Err(Errno::EINVAL));
        assert_eq!(Name::parse(b"\x01"), Err(Errno::EINVAL));
        let mut long = [b'x'; FAMILY + LONGEST + 1];
        long[..2].copy_from_slice(b"\x01\0");
        assert_eq!(Name::parse(&long), Err(Errno::EINVAL));
        assert!(matches!(Name::parse(&long[..FAMILY + LONGEST]), Ok(Name::Path(path)) if path.len() == LONGEST));
    }

    #[test]
    fn addresses_are_encoded_as_linux_does() {
        let mut buffer = [0; MAX_LENGTH];
        assert_eq!(Address::encode(None, &mut buffer), b"\x01\0");
        let name = Address::Abstract(b"a\0b".to_vec());
        assert_eq!(Address::encode(Some(&name), &mut buffer), b"\x01\0\0a\0b");
        assert_eq!(alloc::format!("{name}"), "@a@b");
    }
}
