//! [`UserBytes`]: memory of a program as a sink and source of bytes; and [`UserBuffer`], one buffer of it.
//!
//! Copies neither sleep nor page in: a fault shortens them and is remembered. The system-call layer then calls [`UserBytes::resolve`],
//! outside of all locks, and tries again. So it is fine to copy while holding a spin lock.
#![forbid(unsafe_code)]

use super::address::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, VirtAddr, is_user_range};
use super::space::{Access, AddressSpace};
use super::user::UserPtr;
use crate::io::{IoSink, IoSource};
use crate::machine;
use crate::{Errno, Result};

/// Bytes that one call transfers at most, as on Linux.
pub(super) const LONGEST: usize = 0x7fff_f000;
/// Pages made present after one fault.
const AHEAD: u64 = 16;

/// What one call moves bytes from or to, in the program that made it.
pub trait UserBytes: IoSink + IoSource {
    /// Bytes left.
    fn left(&self) -> usize;

    /// Goes on at byte `position`, wherever it stood.
    fn seek(&mut self, position: usize);

    /// Whether the last copy stopped at a fault that is not resolved yet.
    fn faulted(&self) -> bool;

    /// Makes present what the last copy faulted on, and some pages after it.
    ///
    /// After `Ok` the copy is to be tried again. Without a fault it does nothing.
    ///
    /// # Errors
    /// `EFAULT` when that cannot be; `ENOMEM`.
    fn resolve(&mut self, space: &AddressSpace) -> Result<()>;
}

/// Makes the page at `address` present for `access`, and those after it within `length` bytes, up to a limit, as far as they can be.
///
/// # Errors
/// `EFAULT`, `ENOMEM`: for the first page alone.
pub(super) fn make_present(space: &AddressSpace, address: u64, length: usize, access: Access) -> Result<()> {
    space.fault(VirtAddr(address), access).map_err(|_| Errno::EFAULT)?;
    let end = address.saturating_add((length as u64).min(AHEAD << PAGE_SHIFT));
    for page in ((address | PAGE_MASK) + 1..end).step_by(PAGE_SIZE) {
        if space.fault(VirtAddr(page), access).is_err() {
            break;
        }
    }
    Ok(())
}

/// One buffer of a program and how far it has been used. See the module's comment.
pub struct UserBuffer {
    address: u64,
    length: usize,
    /// At most `length`.
    used: usize,
    fault: Option<Access>,
}

impl UserBuffer {
    /// A buffer; longer ones are cut as Linux cuts them.
    ///
    /// # Errors
    /// `EFAULT` when it does not lie in the user half.
    #[inline]
    pub fn new(address: UserPtr<u8>, length: usize) -> Result<Self> {
        if !is_user_range(address.addr(), length) {
            return Err(Errno::EFAULT);
        }
        Ok(Self { address: address.addr(), length: length.min(LONGEST), used: 0, fault: None })
    }

    #[inline]
    fn place(&self) -> u64 {
        self.address + self.used as u64
    }

    /// Moves on by what an access of `attempted` bytes did; returns how many that were.
    #[inline]
    fn advance(&mut self, attempted: usize, left: usize, access: Access) -> usize {
        let done = attempted - left;
        self.used += done;
        if left > 0 {
            self.fault = Some(access);
        }
        done
    }
}

impl UserBytes for UserBuffer {
    #[inline]
    fn left(&self) -> usize {
        self.length - self.used
    }

    #[inline]
    fn seek(&mut self, position: usize) {
        self.used = position.min(self.length);
    }

    #[inline]
    fn faulted(&self) -> bool {
        self.fault.is_some()
    }

    fn resolve(&mut self, space: &AddressSpace) -> Result<()> {
        let Some(access) = self.fault.take() else { return Ok(()) };
        make_present(space, self.place(), self.left(), access)
    }
}

impl IoSink for UserBuffer {
    #[inline]
    fn remaining(&self) -> usize {
        self.left()
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let part = bytes.get(..self.left()).unwrap_or(bytes);
        let left = machine::copy_to_user(self.place() as usize, part);
        self.advance(part.len(), left, Access::Write)
    }

    fn put_zeros(&mut self, count: usize) -> usize {
        let count = count.min(self.left());
        let left = machine::zero_user(self.place() as usize, count);
        self.advance(count, left, Access::Write)
    }
}

impl IoSource for UserBuffer {
    #[inline]
    fn remaining(&self) -> usize {
        self.left()
    }

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.left());
        let part = buffer.get_mut(..count).unwrap_or_default();
        let left = machine::copy_from_user(part, self.place() as usize);
        self.advance(count, left, Access::Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::host;
    use crate::memory::MemoryLimits;

    #[test]
    fn a_fault_shortens_a_copy_and_is_remembered() {
        let space = AddressSpace::new(1, MemoryLimits::INITIAL).unwrap();
        let mut memory = [0u8; 32];
        let base = UserPtr::<u8>::new(memory.as_mut_ptr().expose_provenance() as u64);
        let mut buffer = UserBuffer::new(base, 32).unwrap();
        host::set_fault_at(Some(base.addr() as usize + 10));
        assert_eq!(buffer.put(b"0123456789abcdef"), 10);
        assert!(buffer.faulted());
        assert_eq!(buffer.resolve(&space), Err(Errno::EFAULT), "nothing is mapped there");
        host::set_fault_at(None);
        assert_eq!((buffer.put(b"ab"), buffer.put_zeros(100), buffer.left()), (2, 20, 0));
        buffer.seek(9);
        let mut bytes = [b'x'; 30];
        assert_eq!(buffer.take(&mut bytes), 23);
        assert_eq!(&bytes[..5], b"9ab\0\0");
    }

    #[test]
    fn kernel_addresses_are_refused() {
        assert_eq!(UserBuffer::new(UserPtr::new(0xffff_0000_0000_0000), 1).err(), Some(Errno::EFAULT));
        assert_eq!(UserBuffer::new(UserPtr::new(0xffff_ffff_ffff_fff0), 0x100).err(), Some(Errno::EFAULT));
    }
}
