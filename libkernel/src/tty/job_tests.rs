//! Job control: who may use the terminal, and what the others get.

use alloc::sync::Arc;

use super::port::Port;
use super::termios::{Termios, WindowSize};
use super::{Claim, Terminal, Use};
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

const CLAIM: Claim = Claim { generation: None, readable: true, steal: false };

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
    terminal.acquire(shell.process(), CLAIM).unwrap();
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
    s.terminal.acquire(leader.process(), CLAIM).unwrap();
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
    assert_eq!(s.terminal.acquire(s.front.process(), CLAIM), Err(Errno::EPERM));
    assert_eq!(s.terminal.acquire(s.shell.process(), CLAIM), Ok(()), "it has it already");
    let other = fork(&init());
    new_session(other.process()).unwrap();
    assert_eq!(s.terminal.acquire(other.process(), CLAIM), Err(Errno::EPERM));
    let blind = Claim { readable: false, steal: true, ..CLAIM };
    assert_eq!(s.terminal.acquire(other.process(), blind), Err(Errno::EPERM), "who may not read gets none");
    assert_eq!(s.terminal.acquire(other.process(), Claim { steal: true, ..CLAIM }), Ok(()), "stolen");
    assert!(s.shell.process().terminal().is_none());
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
fn the_leader_gives_the_terminal_up_for_all_and_the_foreground_is_told() {
    let s = scene();
    assert_eq!(s.terminal.give_up(init().process()), Err(Errno::ENOTTY));
    s.terminal.give_up(s.shell.process()).unwrap();
    assert!([&s.shell, &s.front, &s.back].iter().all(|thread| thread.process().terminal().is_none()));
    assert_eq!(s.terminal.session_number(), Err(Errno::ENOTTY));
    assert_eq!(pending(&s.front), SignalSet::of(&[Signal::HUP]));
    assert_eq!(pending(&s.shell) | pending(&s.back), SignalSet::EMPTY);
}

#[test]
fn another_gives_the_terminal_up_for_itself_and_its_later_children() {
    let s = scene();
    s.terminal.give_up(s.back.process()).unwrap();
    assert_eq!(s.terminal.give_up(s.back.process()), Err(Errno::ENOTTY));
    assert!(s.back.process().terminal().is_none() && fork(&s.back).process().terminal().is_none());
    assert_eq!(s.terminal.check_foreground(s.back.process(), Use::Read), Ok(()), "it is a stranger now");
    assert!(s.terminal.controls(s.shell.process()) && s.front.process().terminal().is_some());
    assert_eq!(pending(&s.front), SignalSet::EMPTY);
}

#[test]
fn a_hang_up_is_told_to_the_leader_and_at_its_end_to_the_foreground() {
    let s = scene();
    s.terminal.hang_up();
    assert_eq!(pending(&s.shell), SignalSet::of(&[Signal::HUP]));
    assert_eq!(pending(&s.front), SignalSet::EMPTY);
    assert!(s.front.process().terminal().is_none());
    crate::process::exit::finish_thread(&s.shell, crate::process::ExitStatus::Exited(0));
    assert_eq!(pending(&s.front), SignalSet::of(&[Signal::HUP]));
    assert_eq!(pending(&s.back), SignalSet::EMPTY);
}

#[test]
fn a_line_that_hung_up_is_acquired_by_no_file_of_before() {
    let s = scene();
    let stale = Claim { generation: Some(s.terminal.generation()), ..CLAIM };
    s.terminal.hang_up();
    assert_eq!(s.terminal.acquire(s.shell.process(), stale), Err(Errno::EIO));
    assert!(!s.shell.process().session().has_terminal());
    assert_eq!(s.terminal.session_number(), Err(Errno::ENOTTY));
    let fresh = Claim { generation: Some(s.terminal.generation()), ..CLAIM };
    assert_eq!(s.terminal.acquire(s.shell.process(), fresh), Ok(()));
}
