//! Faults become signals with the right details (sigaction(2), Arm ARM D1).

use super::tests;
use crate::check::{dies_of, in_child, must};
use crate::sys::*;
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

tests!("fault":
    read_of_nothing_is_segv_maperr,
    write_to_read_only_is_segv_accerr,
    fetch_from_data_is_segv_accerr,
    jump_to_nothing_is_segv_with_the_target,
    read_of_kernel_space_is_segv,
    noncanonical_address_is_segv,
    null_call_is_segv,
    brk_is_sigtrap_with_its_address,
    undefined_instruction_is_sigill_with_its_address,
    system_register_access_is_sigill,
    privileged_instruction_is_sigill,
    unaligned_exclusive_is_sigbus,
    misaligned_pc_is_sigbus,
    access_beyond_the_file_is_sigbus,
    fault_while_blocked_kills,
    fault_while_ignored_kills,
    handler_can_repair_and_retry,
    el0_reads_what_linux_lets_it_read,
);

/// `pc` of a signal frame, by its offset in ucontext (see asm/sigcontext.h): x0..x30, sp, pc, pstate.
pub(super) const UC_REGS: usize = 176 + 8;
const UC_SP: usize = UC_REGS + 31 * 8;
const UC_PC: usize = UC_SP + 8;
pub(super) const UC_PSTATE: usize = UC_PC + 8;

static PC: AtomicUsize = AtomicUsize::new(0);

/// Records, then skips the instruction that faulted.
extern "C" fn record_and_skip(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    record(signal, info, context);
    let at = context.expose_provenance() + UC_PC;
    PC.store(peek(at), Ordering::SeqCst);
    poke(at, peek::<usize>(at) + 4);
}

/// Records, then returns to the caller of the function that jumped away (its link register).
extern "C" fn record_and_return(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    record(signal, info, context);
    let base = context.expose_provenance();
    PC.store(peek(base + UC_PC), Ordering::SeqCst);
    poke(base + UC_PC, peek::<usize>(base + UC_REGS + 30 * 8));
}

#[track_caller]
fn expect(signal: i32, code: i32, address: usize) {
    let info = last_info();
    let got = (seen(), info.signal, info.code, info.address());
    assert_eq!(got, (1, signal, code, address), "count, signal, si_code, si_addr");
}

const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;
const BUS_ADRALN: i32 = 1;
const BUS_ADRERR: i32 = 2;
const ILL_ILLOPC: i32 = 1;
const TRAP_BRKPT: i32 = 1;

pub(super) fn load(at: usize) {
    // SAFETY: the fault, if any, is handled by skipping the load.
    unsafe { asm!("ldr {t}, [{a}]", a = in(reg) at, t = out(reg) _) }
}

pub(super) fn store(at: usize) {
    // SAFETY: as in `load`; otherwise the address is in a mapping of the test.
    unsafe { asm!("str {a}, [{a}]", a = in(reg) at) }
}

fn jump(to: usize) {
    // SAFETY: the handler returns to the link register; the call clobbers nothing else.
    unsafe { asm!("blr {a}", a = in(reg) to, clobber_abi("C")) }
}

fn hole() -> usize {
    let at = must(anonymous(3 * PAGE));
    must(munmap(at + PAGE, PAGE));
    at + PAGE
}

fn read_of_nothing_is_segv_maperr() {
    must(on_signal(libc::SIGSEGV, record_and_skip, 0));
    let at = hole() + 24;
    load(at);
    expect(libc::SIGSEGV, SEGV_MAPERR, at);
}

fn write_to_read_only_is_segv_accerr() {
    must(on_signal(libc::SIGSEGV, record_and_skip, 0));
    let at = must(anonymous(PAGE));
    poke(at, 1u8);
    must(mprotect(at, PAGE, libc::PROT_READ));
    store(at + 8);
    expect(libc::SIGSEGV, SEGV_ACCERR, at + 8);
}

fn fetch_from_data_is_segv_accerr() {
    must(on_signal(libc::SIGSEGV, record_and_return, 0));
    let at = must(anonymous(PAGE));
    poke(at, 0xd65f_03c0u32);
    jump(at);
    expect(libc::SIGSEGV, SEGV_ACCERR, at);
}

fn jump_to_nothing_is_segv_with_the_target() {
    must(on_signal(libc::SIGSEGV, record_and_return, 0));
    let at = hole();
    jump(at);
    expect(libc::SIGSEGV, SEGV_MAPERR, at);
    assert_eq!(PC.load(Ordering::SeqCst), at);
}

fn read_of_kernel_space_is_segv() {
    must(on_signal(libc::SIGSEGV, record_and_skip, 0));
    for (count, at) in [0xffff_0000_0000_0000, 0xffff_8000_8000_0000, usize::MAX - 7].into_iter().enumerate() {
        load(at);
        store(at);
        let info = last_info();
        assert_eq!((seen(), info.signal), (2 * count + 2, libc::SIGSEGV), "at {at:#x}");
    }
}

fn noncanonical_address_is_segv() {
    must(on_signal(libc::SIGSEGV, record_and_skip, 0));
    load(0x0123_0000_0000_0000 & !(0xff << 56));
    assert_eq!((seen(), last_info().signal), (1, libc::SIGSEGV));
}

fn null_call_is_segv() {
    must(on_signal(libc::SIGSEGV, record_and_return, 0));
    jump(0);
    expect(libc::SIGSEGV, SEGV_MAPERR, 0);
}

/// Runs `$instruction` with `$handler` for all fault signals and returns its address.
macro_rules! provoke {
    ($instruction:literal) => {{
        for signal in [libc::SIGILL, libc::SIGTRAP, libc::SIGBUS, libc::SIGSEGV] {
            must(on_signal(signal, record_and_skip, 0));
        }
        let at: usize;
        // SAFETY: the instruction traps and is skipped by the handler.
        unsafe { asm!("adr {a}, 2f", concat!("2: ", $instruction), a = out(reg) at, out("x9") _) };
        at
    }};
}

fn brk_is_sigtrap_with_its_address() {
    let at = provoke!("brk #7");
    expect(libc::SIGTRAP, TRAP_BRKPT, at);
}

fn undefined_instruction_is_sigill_with_its_address() {
    let at = provoke!("udf #0");
    expect(libc::SIGILL, ILL_ILLOPC, at);
}

fn system_register_access_is_sigill() {
    let at = provoke!("mrs x9, ttbr0_el1");
    expect(libc::SIGILL, ILL_ILLOPC, at);
}

fn privileged_instruction_is_sigill() {
    let at = provoke!("eret");
    assert_eq!((seen(), last_info().signal, last_info().address()), (1, libc::SIGILL, at));
    let at = provoke!("hvc #0");
    assert_eq!((seen(), last_info().signal, last_info().address()), (2, libc::SIGILL, at));
    let at = provoke!("msr daifset, #2");
    assert_eq!((seen(), last_info().signal, last_info().address()), (3, libc::SIGILL, at));
}

fn unaligned_exclusive_is_sigbus() {
    must(on_signal(libc::SIGBUS, record_and_skip, 0));
    let at = must(anonymous(PAGE)) + 1;
    // SAFETY: the load traps and is skipped.
    unsafe { asm!("ldxr {t}, [{a}]", a = in(reg) at, t = out(reg) _) };
    expect(libc::SIGBUS, BUS_ADRALN, at);
}

fn misaligned_pc_is_sigbus() {
    must(on_signal(libc::SIGBUS, record_and_return, 0));
    let code = fetch_from_data_is_segv_accerr as *const () as usize;
    jump(code + 2);
    expect(libc::SIGBUS, BUS_ADRALN, code + 2);
}

fn access_beyond_the_file_is_sigbus() {
    must(on_signal(libc::SIGBUS, record_and_skip, 0));
    let fd = must(scratch_file(c"file", 100));
    let at = must(mmap(0, 2 * PAGE, RW, libc::MAP_SHARED, fd, 0));
    load(at + 4000);
    assert_eq!(seen(), 0, "the rest of the last page is zeros");
    load(at + PAGE);
    expect(libc::SIGBUS, BUS_ADRERR, at + PAGE);
    must(ftruncate(fd, 2 * PAGE as i64));
    load(at + PAGE);
    assert_eq!(seen(), 1, "the file has grown");
}

fn fault_while_blocked_kills() {
    let at = hole();
    dies_of(libc::SIGSEGV, || {
        must(on_signal(libc::SIGSEGV, record_and_skip, 0));
        must(block(bit(libc::SIGSEGV)));
        load(at);
    });
}

fn fault_while_ignored_kills() {
    let at = hole();
    dies_of(libc::SIGSEGV, || {
        must(set_disposition(libc::SIGSEGV, libc::SIG_IGN));
        load(at);
    });
}

static REPAIR: AtomicUsize = AtomicUsize::new(0);

extern "C" fn repair(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    record(signal, info, context);
    let _ = mprotect(REPAIR.load(Ordering::SeqCst), PAGE, RW);
}

fn handler_can_repair_and_retry() {
    let at = must(mmap(0, PAGE, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0));
    REPAIR.store(at, Ordering::SeqCst);
    must(on_signal(libc::SIGSEGV, repair, 0));
    store(at);
    assert_eq!((seen(), peek::<usize>(at)), (1, at));
}

fn el0_reads_what_linux_lets_it_read() {
    in_child(|| {
        let (count, frequency, ctr, tpidr): (u64, u64, u64, u64);
        // SAFETY: reads of registers which Linux opens to user space.
        unsafe {
            asm!("mrs {0}, cntvct_el0", "mrs {1}, cntfrq_el0", "mrs {2}, ctr_el0", "mrs {3}, tpidr_el0",
                 out(reg) count, out(reg) frequency, out(reg) ctr, out(reg) tpidr)
        };
        assert!(count > 0 && frequency > 1_000_000 && ctr != 0 && tpidr != 0);
        let zva: u64;
        // SAFETY: as above.
        unsafe { asm!("mrs {0}, dczid_el0", out(reg) zva) };
        assert!(zva & 0x10 != 0 || zva & 0xf >= 2);
    });
}
