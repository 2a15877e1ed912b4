//! Job control: who may use the terminal, and what the others get.

use alloc::sync::Arc;

use super::port::Port;
use super::termios::{Termios, WindowSize};
use super::{Terminal, Use};
use crate::Errno;
use crate::process::job_control::{new_session, set_group};
use crate::process::tests::{fork, init};
use crate::process::{ControllingTerminal, Thread};
use crate::signal::{Action, Disposition, Signal, SignalSet};

struct Void;

impl Port for Void {
    fn transmit(&self, bytes: &[u8]) -> usize {
        bytes.len()
    }
    fn room(&self) -> usize {
        4096
    }
    fn queued(&self) -> usize {
        0
    }
    fn discard(&self) {}
}

/// A shell that leads a session with a terminal, and two jobs of one process each; the first is in the foreground.
struct Scene {
    terminal: Arc<Terminal>,
    shell: Arc<Thread>,
    front: Arc<Thread>,
    back: Arc<Thread>,
}

fn scene() -> Scene {
    let terminal = Terminal::new(0x8801, Arc::new(Void), Termios::new(), WindowSize::default()).unwrap();
    let shell = fork(&init());
    new_session(shell.process()).unwrap();
    terminal.acquire(shell.process(), false).unwrap();
    let [front, back] = [(); 2].map(|()| {
        let job = fork(&shell);
        set_group(job.process(), None, None).unwrap();
        job
    });
    terminal.set_foreground(shell.process(), front.process().group_id().raw()).unwrap();
    Scene { terminal, shell, front, back }
}

fn pending(thread: &Thread) -> SignalSet {
    thread.process().signals().pending()
}

fn ignore(thread: &Thread, signal: Signal) {
    let action = Action { disposition: Disposition::Ignore, ..Action::DEFAULT };
    thread.process().signals().set_action(signal, action);
}

#[test]
fn keys_signal_the_foreground_group_alone() {
    let s = scene();
    s.terminal.receive(b"\x03\x1a");
    assert_eq!(pending(&s.front), SignalSet::of(&[Signal::INT, Signal::TSTP]));
    assert_eq!(pending(&s.back) | pending(&s.shell), SignalSet::EMPTY);
}

#[test]
fn a_changed_window_is_told_to_the_foreground_group() {
    let s = scene();
    let action = Action { disposition: Disposition::Handler(1), ..Action::DEFAULT };
    s.front.process().signals().set_action(Signal::WINCH, action);
    let window = WindowSize { rows: 50, columns: 132, ..WindowSize::default() };
    s.terminal.set_window(window);
    assert_eq!(pending(&s.front), SignalSet::of(&[Signal::WINCH]));
    assert_eq!(s.terminal.window(), window);
}

#[test]
fn background_jobs_are_stopped_at_their_read_and_at_changes() {
    let s = scene();
    assert_eq!(s.terminal.check_foreground(s.front.process(), Use::Read), Ok(()));
    assert_eq!(s.terminal.check_foreground(s.back.process(), Use::Read), Err(Errno::ERESTARTSYS));
    assert_eq!(pending(&s.back), SignalSet::of(&[Signal::TTIN]));
    assert_eq!(s.terminal.check_foreground(s.back.process(), Use::Change), Err(Errno::ERESTARTSYS));
    assert_eq!(pending(&s.back), SignalSet::of(&[Signal::TTIN, Signal::TTOU]));
}

#[test]
fn a_job_that_ignores_the_signal_fails_to_read_and_may_change() {
    let s = scene();
    ignore(&s.back, Signal::TTIN);
    ignore(&s.back, Signal::TTOU);
    assert_eq!(s.terminal.check_foreground(s.back.process(), Use::Read), Err(Errno::EIO));
    assert_eq!(s.terminal.check_foreground(s.back.process(), Use::Change), Ok(()));
}

#[test]
fn an_orphaned_background_group_gets_an_error() {
    let s = scene();
    crate::process::exit::finish_thread(&s.shell, crate::process::ExitStatus::Exited(0));
    // The session's end took the terminal away; a group of another session's orphan is what is left to test with.
    let leader = fork(&init());
    new_session(leader.process()).unwrap();
    s.terminal.acquire(leader.process(), false).unwrap();
    let child = fork(&leader);
    set_group(child.process(), None, None).unwrap();
    let grandchild = fork(&child);
    set_group(grandchild.process(), None, None).unwrap();
    crate::process::exit::finish_thread(&child, crate::process::ExitStatus::Exited(0));
    assert_eq!(s.terminal.check_foreground(grandchild.process(), Use::Read), Err(Errno::EIO));
}

#[test]
fn only_a_session_leader_without_a_terminal_acquires_one_that_is_free() {
    let s = scene();
    assert_eq!(s.terminal.acquire(s.front.process(), false), Err(Errno::EPERM));
    assert_eq!(s.terminal.acquire(s.shell.process(), false), Ok(()), "it has it already");
    let other = fork(&init());
    new_session(other.process()).unwrap();
    assert_eq!(s.terminal.acquire(other.process(), false), Err(Errno::EPERM));
    assert_eq!(s.terminal.acquire(other.process(), true), Ok(()), "stolen");
    assert!(s.shell.process().session().terminal().is_none());
    assert!(s.terminal.controls(other.process()) && !s.terminal.controls(s.shell.process()));
}

#[test]
fn the_foreground_group_is_one_of_the_session() {
    let s = scene();
    let shell = s.shell.process();
    assert_eq!(s.terminal.foreground_of(shell), Ok(s.front.process().group_id().raw()));
    assert_eq!(s.terminal.session_number(), Ok(shell.pid().raw()));
    assert_eq!(s.terminal.set_foreground(s.front.process(), -1), Err(Errno::EINVAL));
    assert_eq!(s.terminal.set_foreground(s.front.process(), 4_000_000), Err(Errno::ESRCH));
    let stranger = init();
    assert_eq!(s.terminal.set_foreground(s.front.process(), stranger.process().group_id().raw()), Err(Errno::EPERM));
    assert_eq!(s.terminal.set_foreground(stranger.process(), 1), Err(Errno::ENOTTY));
    assert_eq!(s.terminal.foreground_of(stranger.process()), Err(Errno::ENOTTY));
}

#[test]
fn the_end_of_the_leader_hangs_up_the_foreground_and_kills_open_files() {
    let s = scene();
    let generation = s.terminal.generation();
    s.terminal.session_ended(&s.shell.process().session());
    assert_eq!(pending(&s.front), SignalSet::of(&[Signal::HUP]));
    assert_eq!(pending(&s.back), SignalSet::EMPTY);
    assert_eq!(s.terminal.foreground_number(), 0);
    assert_eq!(s.terminal.session_number(), Err(Errno::ENOTTY));
    assert_ne!(s.terminal.generation(), generation);
}

#[test]
fn giving_the_terminal_up() {
    let s = scene();
    assert_eq!(s.terminal.give_up(init().process()), Err(Errno::ENOTTY));
    s.terminal.give_up(s.shell.process()).unwrap();
    assert!(s.shell.process().session().terminal().is_none());
    assert_eq!(pending(&s.front), SignalSet::of(&[Signal::HUP]));
    assert_eq!(pending(&s.shell), SignalSet::of(&[Signal::HUP]));
}
