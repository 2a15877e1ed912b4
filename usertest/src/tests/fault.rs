//! Faults become signals with the right details (sigaction(2), Arm ARM D1).

use super::tests;
use crate::call;
use crate::check::{dies_of, exits, in_child, killed, must};
use crate::sys::*;
use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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
    stack_overflow_is_handled_on_the_alternate_stack,
    overflow_without_alternate_stack_kills,
    alternate_stack_is_reported_and_restored,
    frame_that_cannot_be_pushed_kills,
    context_can_be_changed_by_the_handler,
    forged_frame_cannot_raise_privilege,
    garbage_frame_is_sigsegv,
    sigreturn_out_of_the_blue_is_sigsegv,
    fp_registers_survive_handlers,
    fpsr_and_flags_survive_handlers,
    el0_reads_what_linux_lets_it_read,
);

/// `pc` of a signal frame, by its offset in ucontext (see asm/sigcontext.h): x0..x30, sp, pc, pstate.
const UC_REGS: usize = 176 + 8;
const UC_SP: usize = UC_REGS + 31 * 8;
const UC_PC: usize = UC_SP + 8;
const UC_PSTATE: usize = UC_PC + 8;

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

fn load(at: usize) {
    // SAFETY: the fault, if any, is handled by skipping the load.
    unsafe { asm!("ldr {t}, [{a}]", a = in(reg) at, t = out(reg) _) }
}

fn store(at: usize) {
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

fn alternate_stack(size: usize) -> usize {
    let at = must(anonymous(size));
    let stack = [at, 0, size];
    must(call!(SYS_sigaltstack, &stack, 0));
    at
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 128]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + frame[(depth % 128) as usize] }
}

static HANDLER_SP: AtomicUsize = AtomicUsize::new(0);

extern "C" fn exit_from_handler(_signal: i32, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let here = 0u8;
    HANDLER_SP.store(Arg::word(&here), Ordering::SeqCst);
    let low = ALTERNATE.load(Ordering::SeqCst);
    exit(if (low..low + 65536).contains(&HANDLER_SP.load(Ordering::SeqCst)) { 44 } else { 45 })
}

static ALTERNATE: AtomicUsize = AtomicUsize::new(0);

fn stack_overflow_is_handled_on_the_alternate_stack() {
    let child = spawn(|| {
        ALTERNATE.store(alternate_stack(65536), Ordering::SeqCst);
        must(on_signal(libc::SIGSEGV, exit_from_handler, libc::SA_ONSTACK));
        recurse(0) as i32
    });
    exits(child, 44);
}

fn overflow_without_alternate_stack_kills() {
    let child = spawn(|| {
        must(on_signal(libc::SIGSEGV, exit_from_handler, libc::SA_ONSTACK));
        recurse(0) as i32
    });
    killed(child, libc::SIGSEGV);
}

static ON_STACK_FLAGS: AtomicU64 = AtomicU64::new(0);

extern "C" fn query_stack(_signal: i32, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let mut stack = [0u64; 3];
    let _ = call!(SYS_sigaltstack, 0, &mut stack);
    let change = call!(SYS_sigaltstack, &stack, 0);
    let refused = u64::from(change == Err(Errno(libc::EPERM)));
    ON_STACK_FLAGS.store(stack[1] & 0xffff_ffff | refused << 8, Ordering::SeqCst);
}

fn alternate_stack_is_reported_and_restored() {
    let at = alternate_stack(65536);
    must(on_signal(libc::SIGUSR1, query_stack, libc::SA_ONSTACK));
    must(raise(libc::SIGUSR1));
    assert_eq!(ON_STACK_FLAGS.load(Ordering::SeqCst), 1 | 1 << 8, "SS_ONSTACK, and EPERM on change");
    let mut stack = [0usize; 3];
    must(call!(SYS_sigaltstack, 0, &mut stack));
    assert_eq!((stack[0], stack[1] as i32, stack[2]), (at, 0, 65536));
    crate::check::fails(call!(SYS_sigaltstack, &[at, 0, 1000], 0), libc::ENOMEM);
}

fn frame_that_cannot_be_pushed_kills() {
    dies_of(libc::SIGSEGV, || {
        must(on_signal(libc::SIGUSR1, record, libc::SA_ONSTACK));
        let at = alternate_stack(65536);
        must(munmap(at, 65536));
        let _ = raise(libc::SIGUSR1);
    });
}

extern "C" fn change_context(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    poke(context.expose_provenance() + UC_REGS + 9 * 8, 0x1234_5678usize);
}

fn context_can_be_changed_by_the_handler() {
    must(on_signal(libc::SIGUSR1, change_context, 0));
    let (pid, tid) = (getpid() as usize, gettid() as usize);
    let x9: usize;
    // SAFETY: one tgkill; its handler changes x9 of this context only.
    unsafe {
        asm!("mov x9, #1", "svc 0", in("x8") libc::SYS_tgkill, inlateout("x0") pid => _, in("x1") tid,
             in("x2") libc::SIGUSR1 as usize, out("x9") x9)
    };
    assert_eq!(x9, 0x1234_5678);
}

fn forged_frame_cannot_raise_privilege() {
    for pstate in [0x3c5usize, 0x3c4, 0x3c9, 0x0c0, 0x10, 0x1f] {
        let child = spawn(|| {
            FORGED.store(pstate, Ordering::SeqCst);
            must(on_signal(libc::SIGUSR1, forge, 0));
            must(raise(libc::SIGUSR1));
            // Alive, so the mode has to be EL0: this must trap.
            // SAFETY: reads a register or dies.
            unsafe { asm!("mrs {0}, sctlr_el1", out(reg) _) };
            0
        });
        let status = must(wait(child));
        assert!(matches!(status, Status::Killed(libc::SIGILL | libc::SIGSEGV, _)), "pstate {pstate:#x}: {status:?}");
    }
}

static FORGED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn forge(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    poke(context.expose_provenance() + UC_PSTATE, FORGED.load(Ordering::SeqCst));
}

/// Destroys the records behind the registers (the FP state's header among them).
extern "C" fn destroy_records(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let records = (context.expose_provenance() + UC_PSTATE + 8).next_multiple_of(16);
    for word in 0..8 {
        poke(records + word * 8, usize::MAX);
    }
}

fn garbage_frame_is_sigsegv() {
    dies_of(libc::SIGSEGV, || {
        must(on_signal(libc::SIGUSR1, destroy_records, 0));
        let _ = raise(libc::SIGUSR1);
    });
}

fn sigreturn_out_of_the_blue_is_sigsegv() {
    dies_of(libc::SIGSEGV, || {
        let low = must(anonymous(PAGE));
        // SAFETY: the process dies of the call.
        unsafe {
            asm!("mov sp, {s}", "svc 0", s = in(reg) low + PAGE - 16, in("x8") libc::SYS_rt_sigreturn, options(noreturn))
        }
    });
}

/// Overwrites vector registers.
extern "C" fn destroy_fp(_signal: i32, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: changes caller-saved and callee-saved vector registers, all declared.
    unsafe {
        asm!("movi v0.16b, #0xaa", "movi v8.16b, #0xbb", "movi v31.16b, #0xcc",
             "mov {t}, #0x0f000000", "msr fpsr, {t}", "cmp {t}, {t}",
             t = out(reg) _, out("v0") _, out("v8") _, out("v31") _)
    };
    SEEN.fetch_add(1, Ordering::SeqCst);
}

/// `tgkill(x0, x1, x2)` with patterns in v0, v8, v31 and FPSR; x3 points to 4 words for what is found after.
#[unsafe(naked)]
extern "C" fn kill_with_patterns(pid: usize, tid: usize, signal: usize, result: *mut u64) {
    naked_asm!(
        "stp d8, d9, [sp, #-16]!",
        "movi v0.16b, #0x11",
        "movi v8.16b, #0x22",
        "movi v31.16b, #0x33",
        "mov x9, #0x10",
        "msr fpsr, x9",
        "mov x8, #131",
        "mov x10, #5",
        "cmp x10, #9", // N set, Z, C and V clear
        "svc 0",
        "mrs x11, nzcv",
        "mrs x9, fpsr",
        "umov x10, v0.d[1]",
        "str x10, [x3]",
        "umov x10, v8.d[1]",
        "str x10, [x3, #8]",
        "umov x10, v31.d[0]",
        "str x10, [x3, #16]",
        "str x9, [x3, #24]",
        "str x11, [x3, #32]",
        "ldp d8, d9, [sp], #16",
        "ret",
    )
}

fn patterns_after(handler: Handler) -> [u64; 5] {
    must(on_signal(libc::SIGUSR1, handler, 0));
    let mut result = [0u64; 5];
    kill_with_patterns(getpid() as usize, gettid() as usize, libc::SIGUSR1 as usize, result.as_mut_ptr());
    assert_eq!(seen(), 1);
    result
}

fn fp_registers_survive_handlers() {
    let [low, callee_saved, high, ..] = patterns_after(destroy_fp);
    assert_eq!(low, 0x1111_1111_1111_1111);
    assert_eq!(callee_saved, 0x2222_2222_2222_2222);
    assert_eq!(high, 0x3333_3333_3333_3333);
}

fn fpsr_and_flags_survive_handlers() {
    let [.., fpsr, nzcv] = patterns_after(destroy_fp);
    assert_eq!(fpsr, 0x10);
    assert_eq!(nzcv, 0x8000_0000, "NZCV");
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
