//! Both sides of a pseudo-terminal.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as abi;

use super::pty::Master;
use super::{Claim, Registry, Terminal, TerminalFile};
use crate::Errno;
use crate::fs::{Caller, FileObject, OpenFlags};
use crate::io::{SliceSink, SliceSource};
use crate::poll::{PollEvents, PollTable};
use crate::process::tests::{fork, init};

fn pair() -> (Arc<Master>, Arc<Terminal>) {
    let registry: &'static Registry = alloc::boxed::Box::leak(alloc::boxed::Box::default());
    let master = registry.create((0, 0)).unwrap();
    assert!(matches!(master.pty().terminal(), Err(Errno::EIO)), "it is born locked");
    master.set_locked(false);
    let terminal = master.pty().terminal().unwrap().clone();
    {
        let mut state = terminal.state.lock();
        (state.opens, state.was_opened) = (1, true);
    }
    (master, terminal)
}

fn read(master: &Master) -> crate::Result<Vec<u8>> {
    let mut buffer = alloc::vec![0; 100];
    let count = master.read(&mut SliceSink::new(&mut buffer))?;
    buffer.truncate(count);
    Ok(buffer)
}

fn write(master: &Master, bytes: &[u8]) -> crate::Result<usize> {
    master.write(&mut SliceSource::new(bytes))
}

fn events(master: &Master) -> PollEvents {
    master.poll(&mut PollTable::query())
}

#[test]
fn what_one_side_writes_the_other_reads() {
    let (master, terminal) = pair();
    assert_eq!(write(&master, b"ls\r"), Ok(3));
    assert_eq!(read(&master).unwrap(), b"ls\r\n");
    let mut line = [0; 10];
    assert_eq!(terminal.read(&mut SliceSink::new(&mut line)), Ok(3));
    assert_eq!(terminal.write(&mut SliceSource::new(b"a\n")), Ok(2));
    assert!(events(&master).contains(PollEvents::IN));
    assert_eq!(read(&master).unwrap(), b"a\r\n");
    assert_eq!(read(&master), Err(Errno::EAGAIN));
}

#[test]
fn a_full_ring_holds_the_terminals_output_until_the_master_reads() {
    let (master, terminal) = pair();
    let text = alloc::vec![b'x'; 20_000];
    let mut source = SliceSource::new(&text);
    let written = terminal.write(&mut source).unwrap();
    assert!(written < text.len() && !terminal.readiness().1);
    let mut total = 0;
    while let Ok(bytes) = read(&master) {
        total += bytes.len();
    }
    assert_eq!(total, written);
    assert!(terminal.readiness().1);
}

#[test]
fn the_master_waits_for_room_in_a_raw_terminal() {
    let (master, terminal) = pair();
    let mut termios = terminal.termios();
    termios.local = 0;
    terminal.set_termios(termios);
    let text = alloc::vec![b'x'; 10_000];
    let written = write(&master, &text).unwrap();
    assert_eq!(written, super::input::CAPACITY - 1);
    assert_eq!(write(&master, b"y"), Err(Errno::EAGAIN));
    assert!(!events(&master).contains(PollEvents::OUT));
    let mut buffer = [0; 100];
    terminal.read(&mut SliceSink::new(&mut buffer)).unwrap();
    assert!(events(&master).contains(PollEvents::OUT));
}

#[test]
fn closing_the_master_hangs_the_terminal_up() {
    let (master, terminal) = pair();
    let before = terminal.generation();
    drop(master);
    assert_ne!(terminal.generation(), before);
}

#[test]
fn packet_mode_tells_what_happened() {
    let (master, terminal) = pair();
    master.set_packet(true);
    terminal.write(&mut SliceSource::new(b"hi")).unwrap();
    assert_eq!(read(&master).unwrap(), b"\0hi");
    terminal.set_stopped(true);
    assert!(events(&master).contains(PollEvents::PRI));
    assert_eq!(read(&master).unwrap(), [abi::TIOCPKT_STOP as u8]);
    terminal.set_stopped(false);
    terminal.flush_input();
    assert_eq!(read(&master).unwrap(), [(abi::TIOCPKT_START | abi::TIOCPKT_FLUSHREAD) as u8]);
}

#[test]
fn numbers_are_the_lowest_free_ones() {
    let registry: &'static Registry = alloc::boxed::Box::leak(alloc::boxed::Box::default());
    let masters: Vec<_> = (0..3).map(|_| registry.create((0, 0)).unwrap()).collect();
    assert_eq!(masters.iter().map(|master| master.pty().index()).collect::<Vec<_>>(), [0, 1, 2]);
    let mut masters = masters;
    masters.remove(1);
    assert_eq!(registry.create((0, 0)).unwrap().pty().index(), 1);
    assert!(registry.get(1).is_none(), "it was closed again");
}

#[test]
fn the_masters_reads_end_when_the_terminal_side_is_closed() {
    let (master, terminal) = pair();
    terminal.write(&mut SliceSource::new(b"bye")).unwrap();
    terminal.count_close();
    assert!(events(&master).contains(PollEvents::HUP));
    assert_eq!(read(&master).unwrap(), b"bye");
    assert_eq!(read(&master), Err(Errno::EIO));
}

#[test]
fn the_masters_reads_wait_while_the_terminal_side_is_being_opened() {
    let registry: &'static Registry = alloc::boxed::Box::leak(alloc::boxed::Box::default());
    let master = registry.create((0, 0)).unwrap();
    master.set_locked(false);
    master.pty().terminal().unwrap();
    assert_eq!(read(&master), Err(Errno::EAGAIN));
    assert!(!events(&master).contains(PollEvents::HUP));
}

#[test]
fn a_pseudo_terminal_outlives_its_session() {
    use crate::process::ControllingTerminal;
    use crate::process::job_control::new_session;
    let (_master, terminal) = pair();
    let leader = fork(&init());
    new_session(leader.process()).unwrap();
    let claim = Claim { generation: None, readable: true, steal: false };
    terminal.acquire(leader.process(), claim).unwrap();
    let generation = terminal.generation();
    terminal.session_ended(&leader.process().session());
    assert_eq!(terminal.generation(), generation);
    assert_eq!(terminal.foreground_of(init().process()), Err(Errno::ENOTTY));
}

#[test]
fn nobody_opens_the_terminal_side_once_the_master_is_gone() {
    let (context, credentials) = (init().fs(), init().credentials());
    let caller = Caller::kernel(&context, &credentials);
    let (master, terminal) = pair();
    let before = TerminalFile::open(&terminal, OpenFlags::READ_WRITE, &caller).unwrap();
    drop(master);
    assert_eq!(TerminalFile::open(&terminal, OpenFlags::READ_WRITE, &caller).err(), Some(Errno::EIO));
    assert_eq!(before.write(&mut SliceSource::new(b"x")), Err(Errno::EIO));
    assert_eq!(before.read(&mut SliceSink::new(&mut [0])), Ok(0));
}
