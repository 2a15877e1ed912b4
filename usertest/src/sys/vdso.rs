//! The vDSO: finding a function in the shared object that the kernel maps into every program.
//!
//! The C library this program is linked with may not find it (it knows only one
//! of the two kinds of symbol hash), so the tests look for themselves.

use super::{bytes_at, peek};

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;

/// `clock_gettime` as the vDSO exports it.
pub type ClockGettime = extern "C" fn(i32, *mut libc::timespec) -> i32;

/// The vDSO's `clock_gettime`, if there is a vDSO.
pub fn vdso_clock_gettime() -> Option<ClockGettime> {
    let at = vdso_symbol("__kernel_clock_gettime")?;
    // SAFETY: this is the type that vdso(7) gives for the symbol.
    Some(unsafe { core::mem::transmute::<usize, ClockGettime>(at) })
}

/// The address of the function `name` of the vDSO.
pub fn vdso_symbol(name: &str) -> Option<usize> {
    // SAFETY: getauxval only reads what the kernel passed.
    let base = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
    if base == 0 || bytes_at(base, 4) != b"\x7fELF" {
        return None;
    }
    let headers = base + peek::<usize>(base + 32);
    let segments = || (0..peek::<u16>(base + 56) as usize).map(|i| headers + 56 * i);
    let load = segments().find(|at| peek::<u32>(*at) == PT_LOAD)?;
    let bias = base.wrapping_add(peek::<usize>(load + 8)).wrapping_sub(peek::<usize>(load + 16));
    let dynamic = bias.wrapping_add(peek::<usize>(segments().find(|at| peek::<u32>(*at) == PT_DYNAMIC)? + 16));
    let entry = |tag: u64| {
        let mut tags = (0..64).map(|i| dynamic + 16 * i).take_while(|at| peek::<u64>(*at) != 0);
        tags.find(|at| peek::<u64>(*at) == tag).map(|at| bias.wrapping_add(peek::<usize>(at + 8)))
    };
    let (symbols, strings) = (entry(DT_SYMTAB)?, entry(DT_STRTAB)?);
    let count = match entry(DT_HASH) {
        Some(hash) => peek::<u32>(hash + 4) as usize,
        None => gnu_hash_count(entry(DT_GNU_HASH)?),
    };
    let mut all = (0..count).map(|i| symbols + 24 * i);
    let found = all.find(|at| {
        let text = strings + peek::<u32>(*at) as usize;
        peek::<u16>(*at + 6) != 0 && bytes_at(text, name.len()) == name.as_bytes() && peek::<u8>(text + name.len()) == 0
    })?;
    Some(bias.wrapping_add(peek::<usize>(found + 8)))
}

/// One past the highest symbol index in a GNU hash table: the end of the chain that starts last.
fn gnu_hash_count(table: usize) -> usize {
    let [buckets, first, bloom, _] = peek::<[u32; 4]>(table).map(|word| word as usize);
    let bucket = table + 16 + 8 * bloom;
    let chain = bucket + 4 * buckets;
    let last = (0..buckets).map(|i| peek::<u32>(bucket + 4 * i) as usize).max().unwrap_or(0);
    if last < first {
        return first;
    }
    let end = (last..last + 4096).find(|i| peek::<u32>(chain + 4 * (i - first)) & 1 == 1);
    end.map_or(first, |i| i + 1)
}
