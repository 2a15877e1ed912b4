//! What the device tree says about this machine.
//!
//! The tree is read once, by the boot core, into a [`Platform`]; it stays mapped, for the strings.

use fdt::Fdt;
use fdt::node::FdtNode;
use libkernel::machine::MAX_CORES;
use libkernel::memory::{PhysAddr, Region};

/// The interrupt controller, with its register frames.
#[derive(Clone, Copy, Debug)]
pub enum Gic {
    /// Version 2: distributor and CPU interface.
    V2 {
        /// The distributor's registers.
        distributor: Region,
        /// The CPU interface's registers, banked by core.
        interface: Region,
    },
    /// Version 3 or 4: distributor and redistributors.
    V3 {
        /// The distributor's registers.
        distributor: Region,
        /// The redistributors, one frame a core.
        redistributors: Region,
    },
}

/// A device with one register frame and one shared interrupt.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// Its registers.
    pub registers: Region,
    /// Its interrupt's number among the shared ones (SPI), if it has one.
    pub interrupt: Option<u32>,
}

/// RAM that is not the kernel's to use: firmware, or a device, keeps something there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reserved {
    /// Where.
    pub region: Region,
    /// It may not even be mapped.
    pub unmapped: bool,
}

/// At most this many ranges of RAM are used.
pub const MAX_MEMORY: usize = 8;
/// With more reserved ranges Lichen does not start.
const MAX_RESERVED: usize = 64;

/// The machine, as far as Lichen knows what to do with it.
#[derive(Clone, Debug)]
pub struct Platform {
    /// RAM; unused entries are empty.
    pub memory: [Region; MAX_MEMORY],
    /// What of it is reserved; unused entries are empty.
    pub reserved: [Reserved; MAX_RESERVED],
    /// How many reserved ranges the tree names beyond those.
    pub reserved_left_out: usize,
    /// The device tree itself.
    pub tree: Region,
    /// The initramfs, if the loader left one in RAM.
    pub initrd: Option<Region>,
    /// The kernel command line.
    pub command_line: &'static str,
    /// `/chosen/rng-seed`, cut or padded with zeros.
    pub seed: [u8; 32],
    /// MPIDR affinity of each core; core 0 is the one that booted.
    pub cores: [u64; MAX_CORES],
    /// How many cores there are.
    pub core_count: usize,
    /// How many cores the tree names beyond those that Lichen can use.
    pub cores_left_out: usize,
    /// "hvc" or "smc".
    pub psci_method: Option<&'static str>,
    /// The interrupt controller.
    pub gic: Option<Gic>,
    /// The virtual timer's interrupt, as a PPI number.
    pub timer_interrupt: Option<u32>,
    /// The console.
    pub uart: Option<Device>,
    /// The real-time clock.
    pub rtc: Option<Device>,
}

impl Platform {
    /// Reads the device tree at `tree` (physical; it must be visible in the linear map). `boot_affinity` is this core's.
    /// `None`: there is no device tree there.
    pub fn read(tree: PhysAddr, boot_affinity: u64) -> Option<Self> {
        let pointer = libkernel::machine::phys_to_virt(tree.0);
        // SAFETY: the boot protocol says that the tree is there; its header is checked, and it is never written.
        let fdt: Fdt<'static> = unsafe { Fdt::from_ptr(pointer) }.ok()?;
        let mut platform = Self {
            memory: [Region::default(); MAX_MEMORY],
            reserved: [Reserved::default(); MAX_RESERVED],
            reserved_left_out: 0,
            tree: Region { start: tree.0, size: fdt.total_size() as u64 },
            initrd: None,
            command_line: "",
            seed: [0; 32],
            cores: [0; MAX_CORES],
            core_count: 1,
            cores_left_out: 0,
            psci_method: None,
            gic: None,
            timer_interrupt: None,
            uart: None,
            rtc: None,
        };
        platform.read_chosen(&fdt);
        platform.read_cores(&fdt, boot_affinity);
        let memories = fdt.all_nodes().filter(|node| string(*node, "device_type") == Some("memory"));
        for (slot, region) in platform.memory.iter_mut().zip(memories.flat_map(regions)) {
            *slot = region;
        }
        platform.read_reserved(&fdt);
        platform.initrd =
            platform.initrd.filter(|initrd| platform.memory.iter().any(|memory| memory.contains(*initrd)));
        platform.psci_method = find(&fdt, &["arm,psci-1.0", "arm,psci-0.2"]).and_then(|node| string(node, "method"));
        platform.uart = find(&fdt, &["arm,pl011"]).and_then(device);
        platform.rtc = find(&fdt, &["arm,pl031"]).and_then(device);
        platform.gic = read_gic(&fdt);
        platform.timer_interrupt = find(&fdt, &["arm,armv8-timer"]).and_then(|node| interrupt_cell(node, 2));
        Some(platform)
    }

    fn read_chosen(&mut self, fdt: &Fdt<'static>) {
        // `find_node` stops at an FDT_NOP, which loaders leave where they change a tree.
        let Some(chosen) = fdt.all_nodes().find(|node| node.name == "chosen") else { return };
        self.command_line = string(chosen, "bootargs").unwrap_or("");
        let address = |name| chosen.property(name).and_then(|property| property.as_usize()).map(|value| value as u64);
        if let (Some(start), Some(end)) = (address("linux,initrd-start"), address("linux,initrd-end"))
            && end > start
        {
            self.initrd = Some(Region { start, size: end - start });
        }
        if let Some(seed) = chosen.property("rng-seed") {
            self.seed.iter_mut().zip(seed.value).for_each(|(to, from)| *to = *from);
        }
    }

    /// What the memory reservation block names, and the children of `/reserved-memory` that have an address (one that only asks for a size
    /// is for a driver that Lichen does not have).
    fn read_reserved(&mut self, fdt: &Fdt<'static>) {
        let block = fdt.memory_reservations().map(|range| Reserved {
            region: Region { start: range.address() as u64, size: range.size() as u64 },
            unmapped: false,
        });
        let parent = fdt.all_nodes().find(|node| node.name == "reserved-memory");
        let available = |node: &FdtNode<'_, 'static>| matches!(string(*node, "status"), None | Some("okay" | "ok"));
        let children = parent.into_iter().flat_map(|parent| parent.children().filter(available)).flat_map(|node| {
            let unmapped = node.property("no-map").is_some();
            regions(node).map(move |region| Reserved { region, unmapped })
        });
        let mut slots = self.reserved.iter_mut();
        for reserved in block.chain(children) {
            match slots.next() {
                Some(slot) => *slot = reserved,
                None => self.reserved_left_out += 1,
            }
        }
    }

    /// Core 0 is the boot core, the others follow in the tree's order.
    fn read_cores(&mut self, fdt: &Fdt<'static>, boot_affinity: u64) {
        self.cores[0] = boot_affinity;
        let cpus = fdt.all_nodes().filter(|node| string(*node, "device_type") == Some("cpu"));
        for affinity in cpus.filter_map(|node| node.property("reg")?.as_usize()) {
            let affinity = affinity as u64;
            if affinity == boot_affinity {
                continue;
            }
            match self.cores.get_mut(self.core_count) {
                Some(slot) => {
                    *slot = affinity;
                    self.core_count += 1;
                }
                None => self.cores_left_out += 1,
            }
        }
    }
}

fn find<'b>(fdt: &'b Fdt<'static>, compatible: &[&str]) -> Option<FdtNode<'b, 'static>> {
    fdt.find_compatible(compatible)
}

fn string(node: FdtNode<'_, 'static>, name: &str) -> Option<&'static str> {
    node.property(name)?.as_str()
}

fn regions<'b>(node: FdtNode<'b, 'static>) -> impl Iterator<Item = Region> + use<'b> {
    node.reg()
        .into_iter()
        .flatten()
        .map(|region| Region { start: region.starting_address as u64, size: region.size.unwrap_or(0) as u64 })
}

/// The number of the node's `index`-th interrupt, of the three cells (type, number, flags) each.
fn interrupt_cell(node: FdtNode<'_, 'static>, index: usize) -> Option<u32> {
    let (cells, _) = node.property("interrupts")?.value.as_chunks::<4>();
    cells.get(index * 3 + 1).map(|cell| u32::from_be_bytes(*cell))
}

fn device(node: FdtNode<'_, 'static>) -> Option<Device> {
    Some(Device { registers: regions(node).next()?, interrupt: interrupt_cell(node, 0) })
}

fn read_gic(fdt: &Fdt<'static>) -> Option<Gic> {
    let pair = |node| {
        let mut regions = regions(node);
        Some((regions.next()?, regions.next()?))
    };
    if let Some(node) = find(fdt, &["arm,gic-v3"]) {
        let (distributor, redistributors) = pair(node)?;
        return Some(Gic::V3 { distributor, redistributors });
    }
    let (distributor, interface) = pair(find(fdt, &["arm,cortex-a15-gic", "arm,gic-400"])?)?;
    Some(Gic::V2 { distributor, interface })
}
