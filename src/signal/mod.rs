//! Signals at the edge of user mode: what becomes of an interrupted call, and the way into a handler.

use libkernel::Errno;
use libkernel::signal::{Action, SignalInfo};
use linux_raw_sys::general::__NR_restart_syscall;

use crate::task::Context;

/// No handler runs: an interrupted call is made again, and a temporary mask ends.
pub fn no_handler(cx: &mut Context) {
    if let Some(error) = cx.take_restart() {
        cx.rewind_call();
        if error == Errno::ERESTART_RESTARTBLOCK {
            cx.registers.x[8] = u64::from(__NR_restart_syscall);
        }
    }
    cx.thread.signals().restore_mask();
}

/// Makes the thread run a signal's handler next.
pub fn enter_handler(cx: &mut Context, info: SignalInfo, _action: Action) {
    cx.thread.signals().force_fatal(info.signal);
}
