//! Signals at the edge of user mode: what becomes of an interrupted call, and the way into a handler.

use libkernel::Errno;
use libkernel::signal::{Action, Disposition, Signal, SignalInfo};
use linux_raw_sys::general as abi;

use crate::arch::signal_frame;
use crate::process::vdso;
use crate::task::Context;

/// No handler runs: an interrupted call is made again, and a temporary mask ends.
pub fn no_handler(cx: &mut Context) {
    if let Some(error) = cx.take_restart() {
        cx.rewind_call();
        if error == Errno::ERESTART_RESTARTBLOCK {
            cx.registers.x[8] = u64::from(abi::__NR_restart_syscall);
        }
    }
    cx.thread.signals().restore_mask();
}

/// Makes the thread run a signal's handler next. An interrupted call is made again after it, or has failed with `EINTR`. A
/// stack that cannot take the handler's frame kills.
pub fn enter_handler(cx: &mut Context, info: SignalInfo, action: Action) {
    let Disposition::Handler(handler) = action.disposition else { return };
    if let Some(code) = cx.take_restart() {
        if code == Errno::ERESTARTNOINTR || (code == Errno::ERESTARTSYS && action.has(abi::SA_RESTART)) {
            cx.rewind_call();
        } else {
            cx.registers.x[0] = Errno::EINTR.to_return_value() as u64;
        }
    }
    let space = cx.thread.space();
    let (mask, stack) = cx.thread.signals().for_frame();
    let delivery = signal_frame::Delivery {
        info: &info,
        action: &action,
        handler,
        mask,
        stack,
        trampoline: vdso::sigreturn_address(&space),
    };
    let built = cx.with_registers(|registers, fp| signal_frame::build(registers, fp, &space, &delivery));
    let signals = cx.thread.signals();
    if built.is_err() {
        signals.force_fatal(Signal::SEGV);
        return;
    }
    signals.enter_handler(info.signal, &action);
}
