//! [`Vma`]: one mapping of an address space, a range of pages with one protection and one backing.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::fmt;

use bitflags::bitflags;
use linux_raw_sys::general as linux;

use super::address::{PAGE_SHIFT, VirtAddr};
use super::descriptor::PageAccess;
use super::source::{PageSource, Writer};

bitflags! {
    /// What a program may do with a mapping: the `PROT_*` bits of mmap(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Protection: u8 {
        /// Read.
        const READ = linux::PROT_READ as u8;
        /// Write.
        const WRITE = linux::PROT_WRITE as u8;
        /// Execute.
        const EXECUTE = linux::PROT_EXEC as u8;
    }
}

bitflags! {
    /// Properties of a mapping other than its protection.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct VmaFlags: u16 {
        /// Writes go to the backing object (`MAP_SHARED`).
        const SHARED = 1 << 0;
        /// Grows downwards when touched below its start (`MAP_GROWSDOWN`).
        const GROWS_DOWN = 1 << 1;
        /// The program's initial stack.
        const STACK = 1 << 2;
        /// The program break.
        const HEAP = 1 << 3;
        /// Pages are locked (mlock(2)); nothing is ever paged out, so this only counts.
        const LOCKED = 1 << 4;
        /// Not inherited by fork (`MADV_DONTFORK`).
        const DONT_FORK = 1 << 5;
        /// Empty after fork (`MADV_WIPEONFORK`).
        const WIPE_ON_FORK = 1 << 6;
        /// Left out of core dumps (`MADV_DONTDUMP`).
        const DONT_DUMP = 1 << 7;
        /// `mprotect` may not make it writable: a shared mapping of a file that is not open for writing.
        const NEVER_WRITE = 1 << 8;
        /// Pages that the kernel provides, such as the vDSO.
        const KERNEL = 1 << 9;
        /// Does not count against commit limits (`MAP_NORESERVE`).
        const NO_RESERVE = 1 << 10;
        /// `mprotect` may not make it executable: a file of a mount from which nothing is executed.
        const NEVER_EXECUTE = 1 << 11;
    }
}

impl VmaFlags {
    /// Whether a mapping with these flags may never have that protection.
    #[must_use]
    pub fn forbid(self, protection: Protection) -> bool {
        protection.contains(Protection::WRITE) && self.contains(Self::NEVER_WRITE)
            || protection.contains(Protection::EXECUTE) && self.contains(Self::NEVER_EXECUTE)
    }
}

/// The name of a mapped object, as `/proc/PID/maps` shows it now.
pub trait MappingName: Send + Sync {
    /// Writes the name.
    fn write_name(&self, out: &mut dyn fmt::Write) -> fmt::Result;
}

impl MappingName for &'static str {
    fn write_name(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str(self)
    }
}

/// The object behind file mappings, with its name.
#[derive(Clone)]
pub struct Backing {
    /// The pages.
    pub source: Arc<dyn PageSource>,
    /// The name; keeps the open file alive as long as it is mapped.
    pub name: Option<Arc<dyn MappingName>>,
    /// What keeps the object writable, in shared mappings through which it may be written, now or after an mprotect(2).
    pub writer: Option<Arc<Writer>>,
}

impl Backing {
    /// What distinguishes the object from all others alive.
    #[must_use]
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.source).cast::<()>().addr()
    }

    /// Whether both are the same object.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

/// One mapping. Addresses are page-aligned, `start < end`.
#[derive(Clone)]
pub struct Vma {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// Offset of `start` within the backing object, in bytes; 0 without one.
    pub offset: u64,
    /// The mapped object; `None` for private anonymous memory.
    pub backing: Option<Backing>,
    /// What the program may do.
    pub protection: Protection,
    /// Other properties.
    pub flags: VmaFlags,
}

impl Vma {
    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.end - self.start
    }

    /// Size in pages.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.size() >> PAGE_SHIFT
    }

    /// Whether `address` lies in it.
    #[must_use]
    #[inline]
    pub fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// Whether writes stay with this address space.
    #[must_use]
    #[inline]
    pub fn is_private(&self) -> bool {
        !self.flags.contains(VmaFlags::SHARED)
    }

    /// Whether its pages count as data (`RLIMIT_DATA`): private and writable, and no stack.
    #[must_use]
    pub fn is_data(&self) -> bool {
        self.is_private()
            && self.protection.contains(Protection::WRITE)
            && !self.flags.intersects(VmaFlags::STACK | VmaFlags::GROWS_DOWN)
    }

    /// Index of the page at `address` within the backing object.
    #[must_use]
    #[inline]
    pub fn page_index(&self, address: u64) -> u64 {
        (address.wrapping_sub(self.start).wrapping_add(self.offset)) >> PAGE_SHIFT
    }

    /// What page-table entries may permit. Write implies read on this architecture, and so does execute.
    #[must_use]
    #[inline]
    pub fn access(&self) -> PageAccess {
        PageAccess {
            read: !self.protection.is_empty(),
            write: self.protection.contains(Protection::WRITE),
            execute: self.protection.contains(Protection::EXECUTE),
        }
    }

    /// The part of it from `at` on, cut off: `self` keeps what lies below. `at` must lie strictly inside.
    #[must_use]
    pub fn split_off(&mut self, at: u64) -> Self {
        let mut upper = self.clone();
        upper.start = at;
        upper.offset = self.offset_at(at);
        self.end = at;
        upper
    }

    /// The offset in the backing object that `at` maps (0 without a backing object).
    #[must_use]
    pub fn offset_at(&self, at: u64) -> u64 {
        if self.backing.is_some() { self.offset.wrapping_add(at.wrapping_sub(self.start)) } else { 0 }
    }

    /// Whether `next`, which starts at this one's end, continues it and both may become one.
    #[must_use]
    pub fn continues_with(&self, next: &Self) -> bool {
        self.end == next.start
            && self.protection == next.protection
            && self.flags == next.flags
            && match (&self.backing, &next.backing) {
                (None, None) => true,
                (Some(a), Some(b)) => a.is(b) && self.offset_at(next.start) == next.offset,
                _ => false,
            }
    }

    /// First address.
    #[must_use]
    pub fn start_address(&self) -> VirtAddr {
        VirtAddr(self.start)
    }
}

impl fmt::Debug for Vma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x} {:?} {:?} +{:#x}", self.start, self.end, self.protection, self.flags, self.offset)
    }
}
