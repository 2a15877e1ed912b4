//! Stage 1 translation descriptors: 4 KiB granule, 48-bit addresses, four levels (ARM ARM D8.3).
//!
//! Pure bit arithmetic. The memory attribute indices used here are those of [`MAIR`].
#![forbid(unsafe_code)]

use super::address::PhysAddr;

/// The value of `MAIR_EL1` that gives [`Memory`]'s indices their meaning.
pub const MAIR: u64 = 0x44_ff_04_00;

const VALID: u64 = 1 << 0;
/// A table at levels 0 to 2, a page at level 3; without it a block.
const TABLE_OR_PAGE: u64 = 1 << 1;
const ATTRIBUTE_SHIFT: u32 = 2;
/// AP[1]: EL0 may access.
const USER: u64 = 1 << 6;
/// AP[2]: no writes.
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
const KERNEL_EXECUTE_NEVER: u64 = 1 << 53;
const USER_EXECUTE_NEVER: u64 = 1 << 54;
/// Software: the page belongs to the address space alone (counted as anonymous memory).
const ANONYMOUS: u64 = 1 << 55;
/// Software: the page is there but its protection is `PROT_NONE`; the entry is not valid.
const INACCESSIBLE: u64 = 1 << 56;

/// The memory type of a mapping; the discriminants are indices into [`MAIR`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Memory {
    /// Device-nGnRnE: registers whose accesses must arrive in order, and be acknowledged by the device.
    StrictDevice = 0,
    /// Device-nGnRE: ordinary device registers.
    Device = 1,
    /// Normal memory, write-back cacheable, inner shareable.
    Normal = 2,
    /// Normal memory, not cacheable.
    Uncached = 3,
}

/// Attributes of a kernel mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// Memory type.
    pub memory: Memory,
    /// EL1 may write. Never together with an execute permission.
    pub writable: bool,
    /// EL1 may execute.
    pub kernel_execute: bool,
    /// EL0 may access (read, and write if `writable`).
    pub user: bool,
    /// EL0 may execute.
    pub user_execute: bool,
    /// The translation is the same in all address spaces (nG clear).
    pub global: bool,
}

impl Attributes {
    /// Kernel data: read and write, never executed.
    pub const KERNEL_DATA: Self = Self {
        memory: Memory::Normal,
        writable: true,
        kernel_execute: false,
        user: false,
        user_execute: false,
        global: true,
    };
    /// Kernel constants.
    pub const KERNEL_CONSTANTS: Self = Self { writable: false, ..Self::KERNEL_DATA };
    /// Kernel code: read and execute.
    pub const KERNEL_CODE: Self = Self { kernel_execute: true, ..Self::KERNEL_CONSTANTS };
    /// Device registers.
    pub const DEVICE: Self = Self { memory: Memory::Device, ..Self::KERNEL_DATA };

    const fn bits(self) -> u64 {
        let mut bits = VALID | ACCESSED | INNER_SHAREABLE | ((self.memory as u64) << ATTRIBUTE_SHIFT);
        if !self.writable {
            bits |= READ_ONLY;
        }
        if !self.kernel_execute {
            bits |= KERNEL_EXECUTE_NEVER;
        }
        if self.user {
            bits |= USER;
        }
        if !self.user_execute {
            bits |= USER_EXECUTE_NEVER;
        }
        if !self.global {
            bits |= NOT_GLOBAL;
        }
        bits
    }
}

/// What a program may do with a mapped page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageAccess {
    /// It may read (arm64 has no unreadable page that EL0 may write or, without EPAN, execute).
    pub read: bool,
    /// It may write.
    pub write: bool,
    /// It may execute.
    pub execute: bool,
}

/// A descriptor at any level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Descriptor(pub u64);

impl Descriptor {
    /// Nothing is mapped here.
    pub const EMPTY: Self = Self(0);

    /// A pointer to the next level's table.
    #[must_use]
    pub const fn table(table: PhysAddr) -> Self {
        Self((table.0 & ADDRESS) | VALID | TABLE_OR_PAGE)
    }

    /// A kernel block (levels 1 and 2) or page (level 3) at `address`.
    #[must_use]
    pub const fn kernel(address: PhysAddr, attributes: Attributes, level: u32) -> Self {
        let kind = if level == 3 { TABLE_OR_PAGE } else { 0 };
        Self((address.0 & ADDRESS) | attributes.bits() | kind)
    }

    /// A program's page. `anonymous` is kept for the accounting.
    #[must_use]
    pub const fn user(address: PhysAddr, access: PageAccess, anonymous: bool) -> Self {
        let base = Attributes { user: true, writable: true, global: false, ..Attributes::KERNEL_DATA }.bits();
        let mark = if anonymous { ANONYMOUS } else { 0 };
        Self((address.0 & ADDRESS) | base | TABLE_OR_PAGE | mark).with_access(access)
    }

    /// The same page with other permissions.
    #[must_use]
    pub const fn with_access(self, access: PageAccess) -> Self {
        let mut bits = self.0 & !(VALID | INACCESSIBLE | READ_ONLY | USER_EXECUTE_NEVER);
        if !access.write {
            bits |= READ_ONLY;
        }
        if !access.execute {
            bits |= USER_EXECUTE_NEVER;
        }
        bits |= if access.read || access.write || access.execute { VALID } else { INACCESSIBLE };
        Self(bits)
    }

    /// The same page, not writable.
    #[must_use]
    pub const fn read_only(self) -> Self {
        Self(self.0 | READ_ONLY)
    }

    /// Whether nothing is mapped here.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the hardware follows it.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.0 & VALID != 0
    }

    /// Whether it points to a table (at levels 0 to 2).
    #[must_use]
    pub const fn is_table(self) -> bool {
        self.0 & (VALID | TABLE_OR_PAGE) == VALID | TABLE_OR_PAGE
    }

    /// What a program may do with the page.
    #[must_use]
    pub const fn access(self) -> PageAccess {
        let valid = self.0 & (VALID | USER) == VALID | USER;
        PageAccess {
            read: valid,
            write: valid && self.0 & READ_ONLY == 0,
            execute: valid && self.0 & USER_EXECUTE_NEVER == 0,
        }
    }

    /// Whether the page was mapped as anonymous memory.
    #[must_use]
    pub const fn is_anonymous(self) -> bool {
        self.0 & ANONYMOUS != 0
    }

    /// The address of the page, block or table.
    #[must_use]
    pub const fn address(self) -> PhysAddr {
        PhysAddr(self.0 & ADDRESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ_WRITE: PageAccess = PageAccess { read: true, write: true, execute: false };
    const READ_EXECUTE: PageAccess = PageAccess { read: true, write: false, execute: true };

    #[test]
    fn a_user_page_has_the_architecture_s_bits() {
        // Valid page, attribute index 2, AP = 01, SH = 11, AF, nG, PXN, UXN.
        let page = Descriptor::user(PhysAddr(0x4123_4000), READ_WRITE, false);
        assert_eq!(page.0, 0x0060_0000_4123_4f4b);
        assert_eq!(page.with_access(READ_EXECUTE).0, 0x0020_0000_4123_4fcb);
    }

    #[test]
    fn an_inaccessible_page_is_kept_but_not_followed() {
        let page = Descriptor::user(PhysAddr(0x4123_4000), READ_WRITE, true);
        let hidden = page.with_access(PageAccess::default());
        assert!(!hidden.is_valid() && !hidden.is_empty() && hidden.is_anonymous());
        assert_eq!(hidden.access(), PageAccess::default());
        assert_eq!(hidden.with_access(READ_WRITE), page);
    }

    #[test]
    fn kernel_mappings_are_writable_or_executable() {
        for attributes in
            [Attributes::KERNEL_DATA, Attributes::KERNEL_CODE, Attributes::KERNEL_CONSTANTS, Attributes::DEVICE]
        {
            let bits = Descriptor::kernel(PhysAddr(0x4000_0000), attributes, 2).0;
            assert!(bits & READ_ONLY != 0 || bits & KERNEL_EXECUTE_NEVER != 0);
            assert!(bits & USER == 0 && bits & USER_EXECUTE_NEVER != 0);
            assert!(!Descriptor(bits).is_table());
        }
    }
}
