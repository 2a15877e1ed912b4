//! The requests of ioctl_tty(2).
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use linux_raw_sys::{general as abi, ioctl};

use super::file::with_process;
use super::jobs::Use;
use super::terminal::Terminal;
use super::termios::{TERMIOS_SIZE, TERMIOS2_SIZE, WindowSize};
use crate::fs::{Caller, UserAccess};
use crate::process::capability::Capability;
use crate::process::{self, Thread};
use crate::{Errno, Result};

/// Reads a C `int` argument from user memory.
pub(super) fn read_int(user: &dyn UserAccess, address: usize) -> Result<i32> {
    let mut bytes = [0; 4];
    user.read(address, &mut bytes)?;
    Ok(i32::from_ne_bytes(bytes))
}

/// Writes a C `int` result to user memory.
pub(super) fn write_int(user: &dyn UserAccess, address: usize, value: i32) -> Result<usize> {
    user.write(address, &value.to_ne_bytes())?;
    Ok(0)
}

/// Serves a request to a terminal.
///
/// # Errors
/// `ENOTTY` for an unknown request, `EAGAIN` where output has to drain first, `EFAULT`, `EPERM`, and what job control says.
pub(super) fn serve(
    terminal: &Arc<Terminal>,
    request: u32,
    argument: usize,
    user: &dyn UserAccess,
    caller: &Caller<'_>,
) -> Result<usize> {
    match request {
        ioctl::TIOCGPGRP => {
            let number = terminal.foreground_of(caller_thread()?.process())?;
            write_int(user, argument, number)
        }
        ioctl::TIOCGSID => {
            if !terminal.controls(caller_thread()?.process()) {
                return Err(Errno::ENOTTY);
            }
            write_int(user, argument, terminal.session_number()?)
        }
        ioctl::TIOCSPGRP => {
            let number = read_int(user, argument)?;
            terminal.set_foreground(caller_thread()?.process(), number)?;
            Ok(0)
        }
        ioctl::TIOCNOTTY => {
            terminal.give_up(caller_thread()?.process())?;
            Ok(0)
        }
        _ => settings(terminal, request, argument, user, caller),
    }
}

/// The requests that a terminal and the master side of a pseudo-terminal have in common.
pub(super) fn settings(
    terminal: &Arc<Terminal>,
    request: u32,
    argument: usize,
    user: &dyn UserAccess,
    caller: &Caller<'_>,
) -> Result<usize> {
    match request {
        ioctl::TCGETS => put(user, argument, terminal.termios().to_bytes().get(..TERMIOS_SIZE).unwrap_or(&[])),
        ioctl::TCGETS2 => put(user, argument, &terminal.termios().to_bytes()),
        ioctl::TCSETS | ioctl::TCSETSW | ioctl::TCSETSF => {
            let how = Change { drain: request != ioctl::TCSETS, flush: request == ioctl::TCSETSF };
            change::<TERMIOS_SIZE>(terminal, argument, user, how)
        }
        ioctl::TCSETS2 | ioctl::TCSETSW2 | ioctl::TCSETSF2 => {
            let how = Change { drain: request != ioctl::TCSETS2, flush: request == ioctl::TCSETSF2 };
            change::<TERMIOS2_SIZE>(terminal, argument, user, how)
        }
        ioctl::TIOCGWINSZ => put(user, argument, &terminal.window().to_bytes()),
        ioctl::TIOCSWINSZ => {
            let mut bytes = [0; 8];
            user.read(argument, &mut bytes)?;
            terminal.set_window(WindowSize::from_bytes(bytes));
            Ok(0)
        }
        ioctl::TCFLSH => {
            check_change(terminal)?;
            flush(terminal, argument)
        }
        ioctl::TCXONC => {
            check_change(terminal)?;
            flow(terminal, argument)
        }
        // A break cannot be seen on the other side of an emulated line, so only the wait is left of it.
        ioctl::TCSBRK | ioctl::TCSBRKP => {
            check_change(terminal)?;
            if terminal.is_drained() { Ok(0) } else { Err(Errno::EAGAIN) }
        }
        ioctl::FIONREAD => write_int(user, argument, terminal.readable_len() as i32),
        ioctl::TIOCOUTQ => write_int(user, argument, terminal.port().queued() as i32),
        ioctl::TIOCSTI => {
            if !caller.credentials.has(Capability::SysAdmin) {
                return Err(Errno::EPERM);
            }
            let mut byte = [0];
            user.read(argument, &mut byte)?;
            terminal.receive(&byte);
            Ok(0)
        }
        ioctl::TIOCEXCL | ioctl::TIOCNXCL => {
            terminal.state.lock().exclusive = request == ioctl::TIOCEXCL;
            Ok(0)
        }
        ioctl::TIOCGEXCL => write_int(user, argument, i32::from(terminal.state.lock().exclusive)),
        ioctl::TIOCGETD => write_int(user, argument, 0),
        ioctl::TIOCSETD => {
            if read_int(user, argument)? == 0 {
                Ok(0)
            } else {
                Err(Errno::EINVAL)
            }
        }
        ioctl::TIOCGDEV => write_int(user, argument, terminal.number() as i32),
        ioctl::TIOCVHANGUP => {
            if !caller.credentials.has(Capability::SysAdmin) {
                return Err(Errno::EPERM);
            }
            terminal.hang_up();
            Ok(0)
        }
        _ => Err(Errno::ENOTTY),
    }
}

fn caller_thread() -> Result<Arc<Thread>> {
    process::current().ok_or(Errno::ENOTTY)
}

fn check_change(terminal: &Terminal) -> Result<()> {
    with_process(|process| terminal.check_foreground(process, Use::Change))
}

fn put(user: &dyn UserAccess, address: usize, bytes: &[u8]) -> Result<usize> {
    user.write(address, bytes)?;
    Ok(0)
}

struct Change {
    /// What was written is shown first.
    drain: bool,
    /// What was typed and not read is thrown away.
    flush: bool,
}

fn change<const SIZE: usize>(
    terminal: &Terminal,
    argument: usize,
    user: &dyn UserAccess,
    how: Change,
) -> Result<usize> {
    check_change(terminal)?;
    let mut bytes = [0; SIZE];
    user.read(argument, &mut bytes)?;
    if how.drain && !terminal.is_drained() {
        return Err(Errno::EAGAIN);
    }
    if how.flush {
        terminal.flush_input();
    }
    terminal.set_termios(terminal.termios().updated_from(&bytes));
    Ok(0)
}

fn flush(terminal: &Terminal, queue: usize) -> Result<usize> {
    let queue = u32::try_from(queue).map_err(|_| Errno::EINVAL)?;
    match queue {
        abi::TCIFLUSH => terminal.flush_input(),
        abi::TCOFLUSH => terminal.flush_output(),
        abi::TCIOFLUSH => {
            terminal.flush_input();
            terminal.flush_output();
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn flow(terminal: &Terminal, action: usize) -> Result<usize> {
    let action = u32::try_from(action).map_err(|_| Errno::EINVAL)?;
    match action {
        abi::TCOOFF => terminal.set_stopped(true),
        abi::TCOON => terminal.set_stopped(false),
        abi::TCIOFF | abi::TCION => {
            let which = if action == abi::TCIOFF { abi::VSTOP } else { abi::VSTART };
            let byte = terminal.termios().character(which);
            if byte != super::termios::DISABLED {
                terminal.send_urgent(byte);
            }
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
