//! The machine as `libkernel` sees it.

use core::sync::atomic::{AtomicU64, Ordering};

use libkernel::machine::Machine;

use super::{cache, core_local, registers, stack_switch, tlb, user_memory};
use crate::drivers::{gic, interrupts, timer};
use crate::memory::kernel_space::{IMAGE_BASE, LINEAR_BASE, image_to_physical};

struct Aarch64;

libkernel::install_machine!(Aarch64);

static REALTIME_OFFSET: AtomicU64 = AtomicU64::new(0);

impl Machine for Aarch64 {
    #[inline]
    fn mask_interrupts() -> u64 {
        registers::save_and_mask_interrupts()
    }

    #[inline]
    fn restore_interrupts(state: u64) {
        registers::restore_interrupts(state);
    }

    #[inline]
    fn interrupts_masked() -> bool {
        registers::interrupts_masked()
    }

    #[inline]
    fn in_interrupt() -> bool {
        // Handlers run with interrupts masked; elsewhere this may be about to leave the core.
        registers::interrupts_masked() && core_local::this().in_interrupt()
    }

    #[inline]
    fn has_own_stack() -> bool {
        stack_switch::on_task_stack()
    }

    #[inline]
    fn own_stack() -> *const () {
        stack_switch::head_of(registers::stack_pointer()).cast()
    }

    fn preemption_point() {
        crate::task::preemption_point();
    }

    #[inline]
    fn core_id() -> usize {
        core_local::this().id()
    }

    #[inline]
    fn relax() {
        registers::relax();
    }

    #[inline]
    fn monotonic_ns() -> u64 {
        timer::monotonic_ns()
    }

    #[inline]
    fn ticks() -> u64 {
        timer::raw_ticks()
    }

    #[inline]
    fn ticks_to_ns(ticks: u64) -> u64 {
        timer::to_nanoseconds(ticks)
    }

    fn realtime_offset_ns() -> u64 {
        REALTIME_OFFSET.load(Ordering::Relaxed)
    }

    fn set_realtime_offset_ns(offset: u64) {
        REALTIME_OFFSET.store(offset, Ordering::Relaxed);
        crate::process::vdso::update_clock();
    }

    #[inline]
    fn raise_ipi(core: usize) {
        gic::send_sgi(interrupts::SGI_MESSAGE, core);
    }

    #[inline]
    fn arm_timer(deadline: Option<u64>) {
        timer::arm(deadline);
    }

    #[inline]
    fn phys_to_virt(physical: u64) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut((physical | LINEAR_BASE) as usize)
    }

    #[inline]
    fn virt_to_phys(pointer: *const u8) -> u64 {
        let address = pointer.expose_provenance() as u64;
        if address >= IMAGE_BASE { image_to_physical(address) } else { address & !LINEAR_BASE }
    }

    #[inline]
    fn zero_page(page: &mut [u8; 4096]) {
        user_memory::zero_page(page);
    }

    #[inline]
    fn copy_from_user(destination: &mut [u8], source: usize) -> usize {
        user_memory::copy_from_user(destination, source)
    }

    #[inline]
    fn copy_string_from_user(destination: &mut [u8], source: usize) -> (usize, bool) {
        user_memory::copy_string_from_user(destination, source)
    }

    #[inline]
    fn copy_to_user(destination: usize, source: &[u8]) -> usize {
        user_memory::copy_to_user(destination, source)
    }

    #[inline]
    fn zero_user(destination: usize, length: usize) -> usize {
        user_memory::zero_user(destination, length)
    }

    #[inline]
    fn load_user_u32(address: usize) -> Option<u32> {
        user_memory::load_u32(address)
    }

    #[inline]
    fn compare_exchange_user_u32(address: usize, expected: u32, new: u32) -> Option<u32> {
        user_memory::compare_exchange_u32(address, expected, new)
    }

    #[inline]
    fn activate_address_space(root: u64, asid: u16) {
        tlb::activate(root, asid);
    }

    fn asid_bits() -> u32 {
        tlb::asid_bits()
    }

    #[inline]
    fn invalidate_user_range(asid: u16, start: usize, pages: usize) {
        tlb::invalidate_range(asid, start, pages);
    }

    fn invalidate_asid(asid: u16) {
        tlb::invalidate_asid(asid);
    }

    fn invalidate_all_user() {
        tlb::invalidate_all();
    }

    #[inline]
    fn publish_page_table() {
        tlb::publish();
    }

    fn synchronise_instruction_cache(start: *const u8, length: usize) {
        cache::synchronise_instructions(start as usize, length);
    }

    fn random_seed() -> [u8; 32] {
        crate::platform().seed
    }
}
