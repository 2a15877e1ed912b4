//! What happens on the way to user mode, and what becomes of a program's faults.

use alloc::sync::Arc;
use core::ops::ControlFlow;

use libkernel::memory::{self, Access, VirtAddr};
use libkernel::process::limits::Resource;
use libkernel::process::{ExitStatus, Thread};
use libkernel::signal::{Next, Signal, SignalInfo};
use libkernel::task::{with_current, yield_now};
use linux_raw_sys::general as abi;

use super::context::Context;
use crate::arch::core_local;
use crate::arch::user::Trap;
use crate::{process, signal};

/// Makes this core ready to run the thread: its address space becomes the active one.
#[inline]
pub fn activate(thread: &Arc<Thread>) {
    thread.with_space(memory::activate);
}

/// Whether the thread has something to do before it may run: a signal, a stop, its end. Interrupts are masked.
#[inline]
pub fn is_due() -> bool {
    with_current(|task| task.interrupted()).unwrap_or(false)
}

/// Lets the others run if this core should look for other work: in calls that go on for long.
pub async fn cond_resched() {
    if core_local::this().need_resched() {
        yield_now().await;
    }
}

/// Does what is due. `Break`: the thread is over.
pub async fn before_user(cx: &mut Context) -> ControlFlow<()> {
    cond_resched().await;
    while is_due() {
        let process = cx.thread.process();
        match cx.thread.signals().next(|| process.group().is_orphaned()) {
            Next::Nothing => break,
            Next::Handle { info, action } => signal::enter_handler(cx, info, action),
            Next::Terminate { signal, core } => {
                let core = core && process.soft_limit(Resource::Core) != Some(0);
                process.begin_end(ExitStatus::Killed { signal: signal.number() as u8, core });
            }
            Next::Leave => {
                process::end_thread(cx).await;
                return ControlFlow::Break(());
            }
            Next::Stop(change) => {
                if let Some(change) = change {
                    process.report(change);
                }
                cx.thread.signals().wait_while_stopped().await;
            }
            Next::Tell(change) => process.report(change),
        }
    }
    if cx.restart_pending() {
        signal::no_handler(cx);
    }
    ControlFlow::Continue(())
}

/// Serves a fault of the program: memory that has to be made present, or a signal.
pub fn fault(cx: &mut Context, trap: Trap) {
    let pc = cx.registers.pc;
    let (number, code, address) = match trap {
        Trap::DataAbort { address, write, status } => {
            let access = if write { Access::Write } else { Access::Read };
            match memory_fault(cx, address, status, access) {
                Some(signal) => signal,
                None => return,
            }
        }
        Trap::InstructionAbort { address, status } => match memory_fault(cx, address, status, Access::Execute) {
            Some(signal) => signal,
            None => return,
        },
        Trap::Undefined => (abi::SIGILL, abi::ILL_ILLOPC, pc),
        Trap::Breakpoint(_) => (abi::SIGTRAP, abi::TRAP_BRKPT, pc),
        Trap::Debug => (abi::SIGTRAP, abi::TRAP_TRACE, pc),
        Trap::PcAlignment | Trap::SpAlignment => (abi::SIGBUS, abi::BUS_ADRALN, pc),
        Trap::FpException(syndrome) => (abi::SIGFPE, fp_code(syndrome), pc),
        Trap::SystemCall | Trap::Interrupt | Trap::FpAccess | Trap::Unexpected(_) => {
            log::warn!("unexpected {trap:?} at {pc:#x}");
            (abi::SIGKILL, abi::SI_KERNEL, pc)
        }
    };
    if let Ok(signal) = Signal::new(number as i32) {
        cx.thread.signals().force(SignalInfo::fault(signal, code as i32, address));
    }
}

/// Makes memory present, or says which signal tells the program: number, code, address.
fn memory_fault(cx: &Context, address: u64, status: u8, access: Access) -> Option<(u32, u32, u64)> {
    // Fault status codes (ARM ARM D24.2.40): translation, access flag and permission faults of each level; alignment.
    match status {
        0x04..=0x0f => {
            let outcome = cx.thread.with_space(|space| space.fault(VirtAddr(address), access));
            let Err(signal) = outcome else {
                let _ = with_current(|task| task.accounting().faults.add(1));
                return None;
            };
            Some((signal.signal, signal.code as u32, signal.address.0))
        }
        0x00..=0x03 => Some((abi::SIGSEGV, abi::SEGV_MAPERR, address)),
        0x21 => Some((abi::SIGBUS, abi::BUS_ADRALN, address)),
        _ => Some((abi::SIGBUS, abi::BUS_OBJERR, address)),
    }
}

/// The code of an FP exception (ISS of exception class 0x2c: one bit each where TFV is set).
fn fp_code(syndrome: u32) -> u32 {
    const VALID: u32 = 1 << 23;
    if syndrome & VALID == 0 {
        return abi::FPE_FLTUNK;
    }
    match syndrome {
        s if s & 1 << 0 != 0 => abi::FPE_FLTINV,
        s if s & 1 << 1 != 0 => abi::FPE_FLTDIV,
        s if s & 1 << 2 != 0 => abi::FPE_FLTOVF,
        s if s & 1 << 3 != 0 => abi::FPE_FLTUND,
        s if s & 1 << 4 != 0 => abi::FPE_FLTRES,
        _ => abi::FPE_FLTUNK,
    }
}
