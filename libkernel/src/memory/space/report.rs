//! What `/proc/PID/maps`, `statm`, `status` and `smaps_rollup` say about an address space.
#![forbid(unsafe_code)]

use core::fmt;

use super::AddressSpace;
use crate::memory::address::PAGE_SIZE;
use crate::memory::vma::{Protection, Vma, VmaFlags};

/// Numbers of pages.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// In mappings.
    pub size: u64,
    /// Present.
    pub resident: u64,
    /// Most that were ever present.
    pub peak_resident: u64,
    /// Present and anonymous.
    pub anonymous: u64,
    /// In private writable mappings.
    pub data: u64,
    /// In the initial stack's mapping.
    pub stack: u64,
    /// In private mappings of files that may be executed.
    pub text: u64,
    /// Locked.
    pub locked: u64,
    /// Of translation tables.
    pub tables: u64,
}

/// One mapping, as it was when asked for.
pub struct Mapping(Vma);

impl AddressSpace {
    /// The numbers for `statm` and `status`.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let state = self.state.lock();
        let mut usage = Usage {
            size: state.counts.total,
            resident: state.resident.all,
            peak_resident: state.peak_resident,
            anonymous: state.resident.anonymous,
            data: state.counts.data,
            locked: state.counts.locked,
            tables: state.table.tables() as u64,
            ..Usage::default()
        };
        for vma in state.vmas.iter() {
            if vma.flags.contains(VmaFlags::STACK) {
                usage.stack += vma.pages();
            }
            if vma.backing.is_some() && vma.is_private() && vma.protection.contains(Protection::EXECUTE) {
                usage.text += vma.pages();
            }
        }
        usage
    }

    /// The most pages that were ever present.
    #[must_use]
    pub fn peak_resident(&self) -> u64 {
        self.state.lock().peak_resident
    }

    /// The mappings in order, each as it is when the iterator gets there.
    pub fn mappings(&self) -> impl Iterator<Item = Mapping> {
        let mut reached = 0;
        core::iter::from_fn(move || {
            let vma = self.state.lock().vmas.iter_from(reached).next().cloned()?;
            reached = vma.end;
            Some(Mapping(vma))
        })
    }

    /// Writes `/proc/PID/maps` (proc(5)).
    pub fn write_maps(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.mappings().try_for_each(|mapping| mapping.write(out))
    }

    /// Writes `/proc/PID/smaps_rollup` (proc(5)), as far as it is known here; sizes in KiB.
    pub fn write_smaps_rollup(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let first = self.mappings().next().map_or(0, |mapping| mapping.0.start);
        let last = self.mappings().last().map_or(0, |mapping| mapping.0.end);
        let usage = self.usage();
        let kib = |pages: u64| pages * PAGE_SIZE as u64 / 1024;
        writeln!(out, "{first:012x}-{last:012x} ---p 00000000 00:00 0                          [rollup]")?;
        for (name, value) in [
            ("Rss", usage.resident),
            ("Pss", usage.resident),
            ("Anonymous", usage.anonymous),
            ("Swap", 0),
            ("Locked", usage.locked),
        ] {
            writeln!(out, "{name}:{:>1$} kB", kib(value), 23 - name.len())?;
        }
        Ok(())
    }
}

impl Mapping {
    /// The mapping itself.
    #[must_use]
    pub fn vma(&self) -> &Vma {
        &self.0
    }

    /// Present pages of the mapping in `space`.
    #[must_use]
    pub fn resident(&self, space: &AddressSpace) -> u64 {
        let mut count = 0;
        space.state.lock().table.for_each(self.0.start, self.0.end, |_, _| count += 1);
        count
    }

    /// Size in pages.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.0.pages()
    }

    /// Writes the mapping's line of `/proc/PID/maps`.
    pub fn write(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let vma = &self.0;
        let flag = |set, letter| if set { letter } else { '-' };
        let (device, inode) = vma.backing.as_ref().map_or((0, 0), |backing| backing.source.identity());
        let mut line = Counted { out, written: 0 };
        fmt::Write::write_fmt(
            &mut line,
            format_args!(
                "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {}",
                vma.start,
                vma.end,
                flag(vma.protection.contains(Protection::READ), 'r'),
                flag(vma.protection.contains(Protection::WRITE), 'w'),
                flag(vma.protection.contains(Protection::EXECUTE), 'x'),
                if vma.is_private() { 'p' } else { 's' },
                vma.offset,
                (device >> 8) & 0xfff,
                (device & 0xff) | ((device >> 12) & 0xfff00),
                inode,
            ),
        )?;
        let name = vma.backing.as_ref().and_then(|backing| backing.name.as_ref());
        let fixed = if vma.flags.contains(VmaFlags::HEAP) {
            Some("[heap]")
        } else if vma.flags.contains(VmaFlags::STACK) {
            Some("[stack]")
        } else if vma.flags.contains(VmaFlags::KERNEL) {
            Some(if vma.protection.contains(Protection::EXECUTE) { "[vdso]" } else { "[vvar]" })
        } else {
            None
        };
        if name.is_some() || fixed.is_some() {
            // Names start in a column of their own.
            for _ in line.written..73 {
                line.out.write_char(' ')?;
            }
        }
        match (name, fixed) {
            (Some(name), _) => name.write_name(line.out)?,
            (None, Some(name)) => line.out.write_str(name)?,
            (None, None) => {}
        }
        line.out.write_char('\n')
    }
}

struct Counted<'a> {
    out: &'a mut dyn fmt::Write,
    written: usize,
}

impl fmt::Write for Counted<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.written += text.len();
        self.out.write_str(text)
    }
}
