//! Signal frames: alternate stacks, contexts, sigreturn, registers kept (sigaltstack(2), sigreturn(2)).

use super::fault::{UC_PSTATE, UC_REGS};
use super::tests;
use crate::call;
use crate::check::{dies_of, exits, killed, must};
use crate::sys::*;
use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

tests!("frame":
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
);

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
