//! The interrupt controller: GICv2, or GICv3 and later, through `arm-gic`.
//!
//! The boot core sets the distributor up; each core then sets up its own interface through a core-online hook. Acknowledging,
//! ending and sending touch only registers of the executing core (or write-only ones), and take no lock.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use aarch64_cpu::asm::barrier;
use arm_gic::gicv2::{GicV2, SgiTarget as SgiTargetV2, SgiTargetListFilter};
use arm_gic::gicv3::{GicCpuInterface, GicV3, SgiTarget, SgiTargetGroup};
use arm_gic::{IntId, InterruptGroup, Trigger, UniqueMmioPointer};
use libkernel::machine::{self, MAX_CORES};
use libkernel::sync::IrqSpinLock;
use libkernel::{Errno, Result};

use super::device_tree::{Gic, Platform};
use super::{core_online, mmio};

const PRIORITY: u8 = 0x80;

/// An acknowledged interrupt: the number, and what the controller wants back at its end.
#[derive(Clone, Copy)]
pub struct Acknowledged {
    /// The interrupt's number: SGIs 0 to 15, PPIs 16 to 31, SPIs from 32.
    pub number: u32,
    token: IntId,
}

struct Version2 {
    distributor: *mut u8,
    interface: *mut u8,
}

/// The controller in use: 0 none yet, else its version.
static VERSION: AtomicU8 = AtomicU8::new(0);
/// MPIDR affinity of each core, for routing.
static AFFINITY: [AtomicU64; MAX_CORES] = [const { AtomicU64::new(0) }; MAX_CORES];
/// The interface number of each core on a GICv2, as a bit.
static INTERFACE_BIT: [AtomicU8; MAX_CORES] = [const { AtomicU8::new(0) }; MAX_CORES];
/// The set-up registers; not touched to take or send an interrupt.
static V3: IrqSpinLock<Option<GicV3<'static>>> = IrqSpinLock::new(None);

struct V2Frames(UnsafeCell<Option<Version2>>);
// SAFETY: written once by the boot core before any other core runs, then only read.
unsafe impl Sync for V2Frames {}
static V2: V2Frames = V2Frames(UnsafeCell::new(None));

/// A driver handle for this core.
fn v2() -> Option<GicV2<'static>> {
    // SAFETY: written before the other cores start, never after.
    let frames = unsafe { &*V2.0.get() }.as_ref()?;
    // SAFETY: the frames are mapped for good. Handles of several cores may exist at once: what is used through them is banked by core
    // (the CPU interface, SGI and PPI registers), write-one-to-set, or written under the set-up lock.
    Some(unsafe { GicV2::new(frames.distributor.cast(), frames.interface.cast()) })
}

/// Sets the distributor up and registers the core-online hook.
///
/// # Errors
/// `ENODEV` if the device tree names no controller that is known; else why its registers cannot be mapped.
pub fn init(platform: &Platform) -> Result<()> {
    let [boot_core, ..] = platform.cores;
    set_affinity(0, boot_core);
    match platform.gic.ok_or(Errno::ENODEV)? {
        Gic::V2 { distributor, interface } => {
            let frames = Version2 { distributor: mmio::map(distributor)?, interface: mmio::map(interface)? };
            // SAFETY: only the boot core runs, and no handle exists.
            unsafe { *V2.0.get() = Some(frames) };
            if let Some(mut gic) = v2() {
                gic.setup();
            }
            VERSION.store(2, Ordering::Release);
        }
        Gic::V3 { distributor, redistributors } => {
            let gicd = NonNull::new(mmio::map(distributor)?.cast()).ok_or(Errno::ENODEV)?;
            let gicr = NonNull::new(mmio::map(redistributors)?.cast()).ok_or(Errno::ENODEV)?;
            // SAFETY: both frames were just mapped, and are known to this driver alone.
            let gic = unsafe { GicV3::new(UniqueMmioPointer::new(gicd), gicr, platform.core_count) };
            let mut gic = gic.map_err(|_| Errno::ENODEV)?;
            gic.distributor().configure_default_settings();
            *V3.lock() = Some(gic);
            VERSION.store(3, Ordering::Release);
        }
    }
    core_online::register("interrupt controller", init_core);
    Ok(())
}

/// Says which core gets what is sent to `core`, before that one starts.
pub fn set_affinity(core: usize, affinity: u64) {
    if let Some(slot) = AFFINITY.get(core) {
        slot.store(affinity, Ordering::Relaxed);
    }
}

fn init_core(core: usize) {
    if VERSION.load(Ordering::Acquire) == 2 {
        init_core_v2(core);
    } else {
        init_core_v3(core);
    }
}

fn init_core_v2(core: usize) {
    let Some(mut gic) = v2() else { return };
    if core != 0 {
        gic.setup();
    }
    // SAFETY: the frame is mapped. The first target registers are read-only and name the reading core's interface.
    let target = unsafe { &*V2.0.get() }
        .as_ref()
        .map(|frames| unsafe { frames.distributor.add(0x800).cast::<u32>().read_volatile() });
    let bit = target.map_or(0, |target| target.to_le_bytes().into_iter().fold(0, |all, byte| all | byte));
    // A controller with one core reads as zero.
    let bit = if bit == 0 { 1 << (core & 7) } else { bit };
    if let Some(slot) = INTERFACE_BIT.get(core) {
        slot.store(bit, Ordering::Relaxed);
    }
    for sgi in 0..16 {
        let _ = gic.enable_interrupt(IntId::sgi(sgi), true);
    }
}

fn init_core_v3(core: usize) {
    let mut guard = V3.lock();
    let Some(gic) = guard.as_mut() else { return };
    let affinity = AFFINITY.get(core).map_or(0, |slot| slot.load(Ordering::Relaxed));
    let Some(index) = redistributor_of(gic, affinity) else { return };
    gic.init_cpu(index);
    if let Ok(mut redistributor) = gic.redistributor(index) {
        redistributor.configure_default_settings();
        for sgi in 0..16 {
            let _ = redistributor.enable_interrupt(IntId::sgi(sgi), true);
        }
    }
    GicCpuInterface::set_priority_mask(0xff);
    GicCpuInterface::enable_group1(true);
}

/// The index of the redistributor that belongs to the core with this affinity.
fn redistributor_of(gic: &mut GicV3<'static>, affinity: u64) -> Option<usize> {
    (0..MAX_CORES).find(|&index| gic.gicr_typer(index).is_ok_and(|typer| typer.core_mpidr() == affinity))
}

/// Enables a private peripheral interrupt (0 to 15) on the executing core.
pub fn enable_private(core: usize, ppi: u32) {
    let id = IntId::ppi(ppi);
    if VERSION.load(Ordering::Acquire) == 2 {
        if let Some(mut gic) = v2() {
            gic.set_trigger(id, Trigger::Level);
            let _ = gic.enable_interrupt(id, true);
        }
        return;
    }
    let affinity = AFFINITY.get(core).map_or(0, |slot| slot.load(Ordering::Relaxed));
    if let Some(gic) = V3.lock().as_mut()
        && let Some(index) = redistributor_of(gic, affinity)
    {
        let _ = gic.set_interrupt_priority(id, Some(index), PRIORITY);
        let _ = gic.set_trigger(id, Some(index), Trigger::Level);
        let _ = gic.enable_interrupt(id, Some(index), true);
    }
}

/// Enables a shared interrupt (0 is SPI 0) and routes it to `core`.
pub fn enable_shared(spi: u32, core: usize) {
    let id = IntId::spi(spi);
    if VERSION.load(Ordering::Acquire) == 2 {
        let bit = INTERFACE_BIT.get(core).map_or(1, |slot| slot.load(Ordering::Relaxed));
        // SAFETY: written once at boot.
        if let Some(frames) = unsafe { &*V2.0.get() } {
            // SAFETY: GICD_ITARGETSR is byte accessible (GICv2 architecture, 4.3.12), one byte an interrupt.
            unsafe { frames.distributor.add(0x800 + id.raw_value() as usize).write_volatile(bit) };
        }
        if let Some(mut gic) = v2() {
            gic.set_trigger(id, Trigger::Level);
            let _ = gic.enable_interrupt(id, true);
        }
        return;
    }
    let affinity = AFFINITY.get(core).map_or(0, |slot| slot.load(Ordering::Relaxed));
    if let Some(gic) = V3.lock().as_mut() {
        let _ = gic.set_interrupt_priority(id, None, PRIORITY);
        let _ = gic.set_trigger(id, None, Trigger::Level);
        let _ = gic.distributor().set_routing(id, Some(affinity));
        let _ = gic.enable_interrupt(id, None, true);
    }
}

/// Acknowledges the most urgent pending interrupt of this core. Interrupts are masked.
#[inline]
pub fn acknowledge() -> Option<Acknowledged> {
    let token = if VERSION.load(Ordering::Relaxed) == 3 {
        GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1)?
    } else {
        v2()?.get_and_acknowledge_interrupt(InterruptGroup::Group0)?
    };
    // What is read from here on was read after the acknowledgement, so whatever comes later raises the interrupt again.
    barrier::dsb(barrier::SY);
    // A GICv2 adds the sender of an SGI above the number, and wants it back.
    Some(Acknowledged { number: token.raw_value() & 0x3ff, token })
}

/// Ends an interrupt that [`acknowledge`] returned.
#[inline]
pub fn end(interrupt: Acknowledged) {
    if VERSION.load(Ordering::Relaxed) == 3 {
        GicCpuInterface::end_interrupt(interrupt.token, InterruptGroup::Group1);
    } else if let Some(mut gic) = v2() {
        gic.end_interrupt(interrupt.token, InterruptGroup::Group0);
    }
}

/// Sends a software-generated interrupt to another core. What was written before is visible to it.
#[inline]
pub fn send_sgi(sgi: u32, core: usize) {
    barrier::dsb(barrier::ISHST);
    if VERSION.load(Ordering::Relaxed) == 3 {
        let affinity = AFFINITY.get(core).map_or(0, |slot| slot.load(Ordering::Relaxed));
        let [aff0, aff1, aff2, _, aff3, ..] = affinity.to_le_bytes();
        // The register takes a list of 16 cores below one Aff1; beyond that its range selector would be needed.
        let target =
            SgiTarget::List { affinity3: aff3, affinity2: aff2, affinity1: aff1, target_list: 1 << (aff0 & 0xf) };
        let _ = GicCpuInterface::send_sgi(IntId::sgi(sgi), target, SgiTargetGroup::CurrentGroup1);
        barrier::isb(barrier::SY);
    } else if let Some(mut gic) = v2() {
        let bit = INTERFACE_BIT.get(core).map_or(0, |slot| slot.load(Ordering::Relaxed));
        gic.send_sgi(
            IntId::sgi(sgi),
            SgiTargetV2::List { target_list_filter: SgiTargetListFilter::CPUTargetList, target_list: bit.into() },
        );
    }
    debug_assert_ne!(core, machine::core_id(), "a core never interrupts itself");
}
