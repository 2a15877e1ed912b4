//! Tests of exec: made-up programs and scripts in a tmpfs, built up and looked into.

use super::arguments::Arguments;
use super::{Environment, MachineFacts, NewProgram, prepare};
use crate::Errno;
use crate::fs::open::open;
use crate::fs::walk::{LastLink, resolve};
use crate::fs::{Caller, OpenFlags};
use crate::io::SliceSource;
use crate::memory::MemoryLimits;
use crate::process::Thread;
use crate::process::tests::{fork, init};
use alloc::sync::Arc;
use alloc::vec::Vec;

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x41_0000;

/// A static program: a page of code, and data with zeros behind it.
fn program(kind: u16, interpreter: Option<&[u8]>) -> Vec<u8> {
    let mut headers = Vec::new();
    let mut count = 2u16;
    let mut header = |kind: u32, flags: u32, words: [u64; 6]| {
        headers.extend(kind.to_le_bytes());
        headers.extend(flags.to_le_bytes());
        words.iter().for_each(|word| headers.extend(word.to_le_bytes()));
    };
    header(1, 5, [0, CODE, CODE, 0x1000, 0x1000, 0x1000]);
    header(1, 6, [0x1000, DATA, DATA, 0x100, 0x2100, 0x1000]);
    if let Some(path) = interpreter {
        count += 1;
        header(3, 4, [0x800, 0, 0, path.len() as u64 + 1, path.len() as u64 + 1, 1]);
    }
    let mut file = Vec::from(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend(kind.to_le_bytes());
    file.extend(183u16.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    [CODE + 0x200, 64, 0].iter().for_each(|word| file.extend(word.to_le_bytes()));
    file.extend(0u32.to_le_bytes());
    [64u16, 56, count, 64, 0, 0].iter().for_each(|half| file.extend(half.to_le_bytes()));
    file.extend(headers);
    file.resize(0x800, 0);
    file.extend(interpreter.unwrap_or_default());
    file.resize(0x1000, 0);
    file.resize(0x2000, b'd');
    file
}

fn install(thread: &Thread, path: &[u8], content: &[u8], mode: u32) {
    let (fs, credentials) = (thread.fs(), thread.credentials());
    let flags = OpenFlags::CREATE | OpenFlags::WRITE_ONLY;
    let file = open(&Caller::kernel(&fs, &credentials), None, path, flags, mode).unwrap();
    assert_eq!(file.write(u64::MAX, &mut SliceSource::new(content)), Ok(content.len()));
}

fn build(thread: &Arc<Thread>, path: &[u8]) -> crate::Result<NewProgram> {
    let (fs, credentials) = (thread.fs(), thread.credentials());
    let file = resolve(&Caller::kernel(&fs, &credentials), None, path, LastLink::Follow)?;
    let mut arguments = Arguments::new(4096);
    arguments.push_argument(b"name")?;
    arguments.push_argument(b"x")?;
    let environment = Environment {
        machine: MachineFacts::default(),
        limits: MemoryLimits::INITIAL,
        seed: 7,
        random: [0; 16],
        map_vdso: &|_| None,
    };
    prepare(thread, file, path, arguments, &environment)
}

fn bytes<const N: usize>(program: &NewProgram, address: u64) -> [u8; N] {
    let mut bytes = [0; N];
    assert_eq!(program.space.read_remote(address, &mut bytes), Ok(N));
    bytes
}

fn arguments(program: &NewProgram) -> Vec<u8> {
    let range = &program.facts.arguments;
    let mut bytes = alloc::vec![0; (range.end - range.start) as usize];
    program.space.read_remote(range.start, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_static_program_is_where_it_says_with_zeros_behind_its_data() {
    let thread = fork(&init());
    install(&thread, b"/static", &program(2, None), 0o755);
    let program = build(&thread, b"/static").unwrap();
    assert_eq!(program.entry, CODE + 0x200);
    assert_eq!(bytes(&program, CODE), *b"\x7fELF");
    assert_eq!(bytes(&program, DATA + 0xfe), *b"dd\0\0", "the file's part ends, zeros begin");
    assert_eq!(bytes(&program, DATA + 0x20f0), [0; 16]);
    assert_eq!(bytes(&program, program.stack_pointer), 2u64.to_le_bytes());
    assert_eq!(arguments(&program), b"name\0x\0");
}

#[test]
fn a_position_independent_program_starts_in_its_interpreter() {
    let thread = fork(&init());
    install(&thread, b"/dynamic", &program(3, Some(b"/loader")), 0o755);
    assert_eq!(build(&thread, b"/dynamic").map(|_| ()), Err(Errno::ENOENT), "no such interpreter");
    install(&thread, b"/loader", &program(3, None), 0o755);
    let program = build(&thread, b"/dynamic").unwrap();
    let layout = program.space.layout();
    assert!(program.entry < layout.map_top && program.entry > layout.map_top - (1 << 20));
    assert_eq!(bytes(&program, layout.program_base), *b"\x7fELF");
}

#[test]
fn a_script_runs_its_interpreter() {
    let thread = fork(&init());
    install(&thread, b"/shell", &program(2, None), 0o755);
    install(&thread, b"/script", b"#!/shell -e\n", 0o755);
    install(&thread, b"/loop", b"#!/loop\n", 0o755);
    let program = build(&thread, b"/script").unwrap();
    assert_eq!(arguments(&program), b"/shell\0-e\0/script\0x\0");
    assert_eq!(program.name.as_bytes(), b"script");
    assert_eq!(build(&thread, b"/loop").map(|_| ()), Err(Errno::ELOOP));
}

#[test]
fn what_may_not_run_does_not() {
    let thread = fork(&init());
    install(&thread, b"/data", &program(2, None), 0o644);
    install(&thread, b"/text", b"echo", 0o755);
    install(&thread, b"/empty", b"", 0o755);
    assert_eq!(build(&thread, b"/data").map(|_| ()), Err(Errno::EACCES));
    assert_eq!(build(&thread, b"/").map(|_| ()), Err(Errno::EACCES));
    assert_eq!(build(&thread, b"/text").map(|_| ()), Err(Errno::ENOEXEC));
    assert_eq!(build(&thread, b"/empty").map(|_| ()), Err(Errno::ENOEXEC));
}

#[test]
fn a_program_taken_over_has_its_name_and_its_creator_goes_on() {
    let thread = fork(&init());
    install(&thread, b"/taken", &program(2, None), 0o755);
    thread.set_robust_list(8);
    build(&thread, b"/taken").unwrap().take_over(&thread).unwrap();
    assert_eq!(thread.process().name().as_bytes(), b"taken");
    assert_eq!(thread.robust_list(), 0);
    assert!(thread.process().has_execed());
    assert!(!Arc::ptr_eq(&thread.space(), &init().space()));
}
