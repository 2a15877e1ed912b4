//! The first program, as the command line wants it (Documentation/admin-guide/init.rst).

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use libkernel::command_line::CommandLine;
use libkernel::fs::open::open;
use libkernel::fs::open_flags::OpenFlags;
use libkernel::fs::walk::{LastLink, resolve};
use libkernel::fs::{Caller, FdTable, FsContext};
use libkernel::memory::{self, AddressSpace, MemoryLimits, frames};
use libkernel::process::exec::arguments::{self, Arguments};
use libkernel::process::exec::{NewProgram, prepare};
use libkernel::process::limits::Limits;
use libkernel::process::name::Name;
use libkernel::process::resources::{Resources, set_nothing};
use libkernel::process::{Credentials, Thread, birth};
use libkernel::{Errno, Result, random};

use super::{exec, vdso};
use crate::arch::context::UserContext;
use crate::arch::fp::FpState;
use crate::{panic, task};

/// Where programs are looked for that the command line does not name.
const FALLBACKS: [&str; 5] = ["/init", "/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];
/// Frames that a thread must be able to have for itself.
const FRAMES_PER_THREAD: usize = 8;

/// Makes the first process and its task, which starts on this core when the executor runs.
pub fn start_init(command_line: &CommandLine, context: Arc<FsContext>) {
    if vdso::init().is_err() {
        panic::give_up(format_args!("too little memory"));
    }
    let (thread, program) = match first_program(command_line, context) {
        Ok(first) => first,
        Err(error) => panic::give_up(format_args!("no working init found: {error}")),
    };
    let registers = UserContext::new(program.entry, program.stack_pointer);
    if let Err(error) = program.take_over(&thread) {
        panic::give_up(format_args!("init cannot start: {error}"));
    }
    memory::deactivate();
    task::spawn_user(&thread, registers, FpState::new()).wake_owned();
}

fn first_program(command_line: &CommandLine, context: Arc<FsContext>) -> Result<(Arc<Thread>, NewProgram)> {
    let limits = Limits::initial((frames::total() / FRAMES_PER_THREAD) as u64);
    let empty = Resources {
        files: FdTable::new(),
        fs: context.clone(),
        space: AddressSpace::new(random::next_u64(), MemoryLimits::INITIAL)?,
    };
    set_nothing(empty.clone());
    let resources = Resources { files: FdTable::new(), ..empty };
    open_console(&resources);
    let founder = birth::first_process(Name::new(b"init"), limits, resources)?;
    founder.thread().signals().process().protect();
    let thread = founder.publish()?;

    let named: Vec<String> = command_line.rdinit.iter().chain(&command_line.init).cloned().collect();
    let candidates = named.iter().map(String::as_str).chain(FALLBACKS);
    let mut last = Errno::ENOENT;
    for path in candidates {
        match load(&thread, command_line, path) {
            Ok(program) => return Ok((thread, program)),
            Err(Errno::ENOENT) => {}
            Err(error) => {
                log::error!("{path}: {error}");
                last = error;
            }
        }
    }
    Err(last)
}

/// Opens the console as standard input, output and error.
fn open_console(resources: &Resources) {
    let credentials = Credentials::root();
    let caller = Caller::kernel(&resources.fs, &credentials);
    let console = match open(&caller, None, b"/dev/console", OpenFlags::READ_WRITE, 0) {
        Ok(console) => console,
        Err(error) => {
            log::warn!("init has no console: /dev/console: {error}");
            return;
        }
    };
    for _ in 0..3 {
        if resources.files.insert(console.clone(), false, 0, usize::MAX).is_err() {
            break;
        }
    }
}

fn load(thread: &Arc<Thread>, command_line: &CommandLine, path: &str) -> Result<NewProgram> {
    let fs = thread.fs();
    let credentials = thread.credentials();
    let file = resolve(&Caller::kernel(&fs, &credentials), None, path.as_bytes(), LastLink::Follow)?;
    let mut strings = Arguments::new(arguments::total_limit(None));
    strings.push_argument(path.as_bytes())?;
    for argument in &command_line.arguments {
        strings.push_argument(argument.as_bytes())?;
    }
    for variable in ["HOME=/", "TERM=linux"] {
        strings.push_environment(variable.as_bytes())?;
    }
    for variable in &command_line.environment {
        strings.push_environment(variable.as_bytes())?;
    }
    prepare(thread, file, path.as_bytes(), strings, &exec::environment(thread))
}
