//! The kernel's own symbol table, for backtraces.
//!
//! `scripts/symbols.py` writes it into the linked image: the number of symbols, then for each its offset from the image's start and
//! its name's offset in the table (32 bits each, little endian), in order; then the names, each ended by a zero byte. An image
//! without it shows addresses alone.

use core::fmt;

use crate::memory::kernel_space::IMAGE_BASE;

/// Bytes that are kept free for the table.
const ROOM: usize = 768 << 10;

#[used]
#[unsafe(link_section = ".ksyms")]
static TABLE: [u8; ROOM] = [0; ROOM];

/// The function that an address is in.
pub struct Symbol {
    name: Option<&'static str>,
    offset: u64,
}

fn word(table: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*table.get(at..)?.first_chunk::<4>()?))
}

impl Symbol {
    /// Looks a return address up: the function that made the call, even if the call was its last instruction.
    pub fn of_return_address(address: u64) -> Self {
        // SAFETY: the static's own bytes. The black box hides from the compiler that it saw zeros: the linked image is changed afterwards.
        let table: &'static [u8] =
            unsafe { core::slice::from_raw_parts(core::hint::black_box((&raw const TABLE).cast::<u8>()), ROOM) };
        Self::find(table, address.wrapping_sub(1)).unwrap_or(Self { name: None, offset: 0 })
    }

    fn find(table: &'static [u8], address: u64) -> Option<Self> {
        let wanted = u32::try_from(address.checked_sub(IMAGE_BASE)?).ok()?;
        let (mut low, mut high) = (0, word(table, 0)? as usize);
        while low < high {
            let middle = low.midpoint(high);
            if word(table, 4 + middle * 8)? <= wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let entry = 4 + low.checked_sub(1)? * 8;
        let name = table.get(word(table, entry + 4)? as usize..)?;
        let name = name.split(|byte| *byte == 0).next()?;
        Some(Self { name: core::str::from_utf8(name).ok(), offset: u64::from(wanted - word(table, entry)?) })
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{:#}+{:#x}", rustc_demangle::demangle(name), self.offset),
            None => f.write_str("?"),
        }
    }
}
