//! Reading and writing the memory of the running program, with typed pointers.
//!
//! These functions page in what is missing (which never sleeps) and try again. They work on the address space that is *active* on
//! this core: a system call's own. For another one see [`AddressSpace::read_remote`].

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use super::address::{USER_LIMIT, VirtAddr, is_user_range};
use super::plain::Plain;
use super::space::{Access, AddressSpace};
use crate::machine;
use crate::{Errno, Result};

/// How often a fault may repeat at one place before the access is given up: another thread may take a page away again right after
/// it came, but not for ever.
const PATIENCE: usize = 64;

/// An address that a program passed as a pointer to `T`; nothing about it is known to be true.
#[repr(transparent)]
pub struct UserPtr<T> {
    address: u64,
    marker: PhantomData<fn() -> T>,
}

impl<T> Clone for UserPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for UserPtr<T> {}

impl<T> PartialEq for UserPtr<T> {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl<T> Eq for UserPtr<T> {}

impl<T> fmt::Debug for UserPtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {:#x}", self.address)
    }
}

impl<T> UserPtr<T> {
    /// The null pointer.
    pub const NULL: Self = Self::new(0);

    /// A pointer from a register's value.
    #[must_use]
    #[inline]
    pub const fn new(address: u64) -> Self {
        Self { address, marker: PhantomData }
    }

    /// The address.
    #[must_use]
    #[inline]
    pub const fn addr(self) -> u64 {
        self.address
    }

    /// The address as a virtual address.
    #[must_use]
    pub const fn virt(self) -> VirtAddr {
        VirtAddr(self.address)
    }

    /// Whether it is the null pointer.
    #[must_use]
    #[inline]
    pub const fn is_null(self) -> bool {
        self.address == 0
    }

    /// The pointer, unless it is null.
    #[must_use]
    pub const fn non_null(self) -> Option<Self> {
        if self.is_null() { None } else { Some(self) }
    }

    /// A pointer to the element `count` further on; wraps around silently, as the access will fail then.
    #[must_use]
    #[inline]
    pub const fn add(self, count: usize) -> Self {
        Self::new(self.address.wrapping_add((count as u64).wrapping_mul(size_of::<T>() as u64)))
    }

    /// A pointer `bytes` further on.
    #[must_use]
    pub const fn byte_add(self, bytes: usize) -> Self {
        Self::new(self.address.wrapping_add(bytes as u64))
    }

    /// The same address as a pointer to something else.
    #[must_use]
    #[inline]
    pub const fn cast<U>(self) -> UserPtr<U> {
        UserPtr::new(self.address)
    }
}

impl AddressSpace {
    /// Fills `bytes` from `from`. `EFAULT`.
    #[inline]
    pub fn read_bytes(&self, from: UserPtr<u8>, bytes: &mut [u8]) -> Result<()> {
        if !is_user_range(from.addr(), bytes.len()) {
            return Err(Errno::EFAULT);
        }
        let left = machine::copy_from_user(bytes, from.addr() as usize);
        if left == 0 {
            Ok(())
        } else {
            self.retry(from.addr(), bytes.len(), left, Access::Read, |done| {
                bytes.get_mut(done..).map_or(0, |rest| machine::copy_from_user(rest, from.addr() as usize + done))
            })
        }
    }

    /// Copies `bytes` to `to`. `EFAULT`; part of it may have been written then.
    #[inline]
    pub fn write_bytes(&self, to: UserPtr<u8>, bytes: &[u8]) -> Result<()> {
        if !is_user_range(to.addr(), bytes.len()) {
            return Err(Errno::EFAULT);
        }
        let left = machine::copy_to_user(to.addr() as usize, bytes);
        if left == 0 {
            Ok(())
        } else {
            self.retry(to.addr(), bytes.len(), left, Access::Write, |done| {
                bytes.get(done..).map_or(0, |rest| machine::copy_to_user(to.addr() as usize + done, rest))
            })
        }
    }

    /// Zeroes `length` bytes at `to`. `EFAULT`.
    pub fn zero_bytes(&self, to: UserPtr<u8>, length: usize) -> Result<()> {
        if !is_user_range(to.addr(), length) {
            return Err(Errno::EFAULT);
        }
        let left = machine::zero_user(to.addr() as usize, length);
        self.retry(to.addr(), length, left, Access::Write, |done| {
            machine::zero_user(to.addr() as usize + done, length - done)
        })
    }

    /// Continues a copy that stopped `left` bytes before its end; `copy` starts at an offset and returns what it left.
    #[cold]
    fn retry(
        &self,
        address: u64,
        length: usize,
        mut left: usize,
        access: Access,
        mut copy: impl FnMut(usize) -> usize,
    ) -> Result<()> {
        let mut patience = PATIENCE;
        while left > 0 {
            let done = length - left;
            self.fault(VirtAddr(address + done as u64), access).map_err(|_| Errno::EFAULT)?;
            let now = copy(done);
            patience = if now < left { PATIENCE } else { patience - 1 };
            if patience == 0 {
                return Err(Errno::EFAULT);
            }
            left = now;
        }
        Ok(())
    }

    /// Reads a value. `EFAULT`. It may be unaligned.
    #[inline]
    pub fn read_value<T: Plain>(&self, from: UserPtr<T>) -> Result<T> {
        let mut value = MaybeUninit::<T>::zeroed();
        // SAFETY: the bytes are the value's own, and initialised.
        let bytes = unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
        self.read_bytes(from.cast(), bytes)?;
        // SAFETY: every pattern of bits is a value of a plain type.
        Ok(unsafe { value.assume_init() })
    }

    /// Writes a value. `EFAULT`. It may be unaligned.
    #[inline]
    pub fn write_value<T: Plain>(&self, to: UserPtr<T>, value: T) -> Result<()> {
        // SAFETY: the bytes are the value's own; plain types have none that are not initialised.
        let bytes = unsafe { core::slice::from_raw_parts((&raw const value).cast::<u8>(), size_of::<T>()) };
        self.write_bytes(to.cast(), bytes)
    }

    /// Reads `values.len()` values in a row. `EFAULT`.
    pub fn read_values<T: Plain>(&self, from: UserPtr<T>, values: &mut [T]) -> Result<()> {
        // SAFETY: the bytes are the values' own, and every pattern of bits is a value of a plain type.
        let bytes = unsafe { core::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), size_of_val(values)) };
        self.read_bytes(from.cast(), bytes)
    }

    /// Writes values in a row. `EFAULT`.
    pub fn write_values<T: Plain>(&self, to: UserPtr<T>, values: &[T]) -> Result<()> {
        // SAFETY: the bytes are the values' own; plain types have none that are not initialised.
        let bytes = unsafe { core::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
        self.write_bytes(to.cast(), bytes)
    }

    /// Reads a zero-terminated string into `buffer`; returns its length without the zero. `EFAULT`; `ENAMETOOLONG` when there is no
    /// zero within the buffer's length. Allocates nothing.
    pub fn read_string_into(&self, from: UserPtr<u8>, buffer: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        let mut patience = PATIENCE;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let address = from.addr().wrapping_add(done as u64);
            let (copied, ended) = machine::copy_string_from_user(rest, address as usize);
            done += copied;
            if ended {
                return Ok(done);
            }
            if done < buffer.len() {
                patience = if copied > 0 { PATIENCE } else { patience - 1 };
                if address >= USER_LIMIT || patience == 0 {
                    return Err(Errno::EFAULT);
                }
                self.fault(VirtAddr(from.addr().wrapping_add(done as u64)), Access::Read).map_err(|_| Errno::EFAULT)?;
            }
        }
        Err(Errno::ENAMETOOLONG)
    }

    /// Reads a zero-terminated string of fewer than `limit` bytes. `EFAULT`, `ENAMETOOLONG`, `ENOMEM`.
    pub fn read_string(&self, from: UserPtr<u8>, limit: usize) -> Result<Vec<u8>> {
        let mut string = Vec::new();
        let mut capacity = limit.min(256);
        loop {
            string.try_reserve(capacity).map_err(|_| Errno::ENOMEM)?;
            string.resize(capacity, 0);
            match self.read_string_into(from, &mut string) {
                Ok(length) => {
                    string.truncate(length);
                    return Ok(string);
                }
                Err(Errno::ENAMETOOLONG) if capacity < limit => {
                    string.clear();
                    capacity = capacity.saturating_mul(8).min(limit);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads an aligned word at once. `EFAULT`, `EINVAL` when it is not aligned.
    pub fn load_u32(&self, from: UserPtr<u32>) -> Result<u32> {
        self.atomically(from, Access::Read, machine::load_user_u32)
    }

    /// Compares and exchanges an aligned word; returns what was found. `EFAULT`, `EINVAL` when it is not aligned.
    pub fn compare_exchange_u32(&self, at: UserPtr<u32>, expected: u32, new: u32) -> Result<u32> {
        self.atomically(at, Access::Write, |address| machine::compare_exchange_user_u32(address, expected, new))
    }

    fn atomically(&self, at: UserPtr<u32>, access: Access, operation: impl Fn(usize) -> Option<u32>) -> Result<u32> {
        if !at.addr().is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        if !is_user_range(at.addr(), 4) {
            return Err(Errno::EFAULT);
        }
        for _ in 0..PATIENCE {
            if let Some(found) = operation(at.addr() as usize) {
                return Ok(found);
            }
            self.fault(at.virt(), access).map_err(|_| Errno::EFAULT)?;
        }
        Err(Errno::EFAULT)
    }
}
