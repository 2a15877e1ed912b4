//! The first process: its open files, its arguments from the kernel command line, and which program it runs.
//!
//! As on Linux: the initramfs's `/init`, or what `rdinit=` names; else what `init=` names, and nothing else then; else the
//! first of a short list that can be run.
#![forbid(unsafe_code)]

use super::vdso;
use crate::arch::context::UserContext;
use crate::arch::fp::FpState;
use crate::task::spawn_first;
use crate::{milestones, panic};
use alloc::boxed::Box;
use alloc::sync::Arc;
use libkernel::command_line::CommandLine;
use libkernel::fs::walk::{LastLink, resolve};
use libkernel::fs::{Caller, FdTable, FsContext, FsShare, OpenFlags, open};
use libkernel::memory::{AddressSpace, PAGE_SIZE, Tenant, frames};
use libkernel::process::birth::{Founder, first_process};
use libkernel::process::exec::NewProgram;
use libkernel::process::exec::arguments::{Arguments, total_limit};
use libkernel::process::limits::{Limits, Resource};
use libkernel::process::name::Name;
use libkernel::process::{Resources, Thread, resources};
use libkernel::{Result, memory, random};

/// Where a program is looked for when nobody says where.
const FALLBACKS: [&str; 4] = ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];
/// Memory reckoned for one thread when the number of threads is limited, in bytes.
const MEMORY_PER_THREAD: u64 = 128 * 1024;

/// Makes the first process, which stands where `fs` says, and whose number is 1 because it comes first.
pub fn first(fs: Arc<FsContext>) -> Founder {
    match vdso::init().and_then(|()| create(fs)) {
        Ok(founder) => founder,
        Err(error) => panic::give_up(format_args!("the first process could not be made: {error}")),
    }
}

/// The resource limits of the first process, from the size of memory.
fn initial_limits() -> Limits {
    let memory = frames::total() as u64 * PAGE_SIZE as u64;
    Limits::initial((memory / MEMORY_PER_THREAD).clamp(64, u64::from(libkernel::process::id::PID_LIMIT)))
}

/// The first process, without a program.
fn create(fs: Arc<FsContext>) -> Result<Founder> {
    let limits = initial_limits();
    let space = || AddressSpace::new(random::next_u64(), limits.memory()).map(Tenant::new);
    let nowhere = FsShare::new(Arc::new(fs.fork()));
    resources::set_nothing(Resources { files: FdTable::new(), fs: nowhere, space: space()?, program: None });
    let resources = Resources { files: FdTable::new(), fs: FsShare::new(fs), space: space()?, program: None };
    let founder = first_process(Name::new(b"init"), limits, resources)?;
    founder.thread().process().signals().protect();
    if open_console(founder.thread()).is_err() {
        log::warn!("unable to open an initial console");
    }
    Ok(founder)
}

/// Opens the console as descriptors 0, 1 and 2.
fn open_console(thread: &Thread) -> Result<()> {
    let (fs, credentials) = (thread.fs(), thread.credentials());
    let caller = Caller::kernel(&fs, &credentials);
    let console = open::open(&caller, None, b"/dev/console", OpenFlags::READ_WRITE, 0)?;
    let limit = thread.process().limit(Resource::OpenFiles).soft as usize;
    for _ in 0..3 {
        thread.files().insert(console.clone(), false, 0, limit)?;
    }
    Ok(())
}

/// Finds the first process's program and starts it: it is what core 0, whose executor this is, runs next. If there is no program for it, says
/// so and powers off.
pub fn start_init(line: &CommandLine, founder: Founder) {
    let thread = founder.thread();
    let from_archive = line.rdinit.as_deref().unwrap_or("/init");
    let program = match try_program(line, thread, from_archive) {
        Ok(program) => program,
        Err(error) => {
            if line.rdinit.is_some() {
                log::error!("{from_archive} could not be run: {error}");
            }
            match line.init.as_deref() {
                Some(wanted) => match try_program(line, thread, wanted) {
                    Ok(program) => program,
                    Err(error) => panic::give_up(format_args!("{wanted} could not be run: {error}")),
                },
                None => match FALLBACKS.iter().find_map(|path| try_program(line, thread, path).ok()) {
                    Some(program) => program,
                    None => panic::give_up(format_args!("no init found: {from_archive}: {error}")),
                },
            }
        }
    };
    let registers = UserContext::new(program.entry, program.stack_pointer);
    let taken = program.take_over(thread);
    memory::deactivate();
    let task = spawn_first(thread, registers, FpState::new());
    let started = taken.and_then(|()| founder.publish(task));
    match started {
        Ok(thread) => {
            log::info!("running {} as the first process", thread.name().as_bytes().escape_ascii());
            thread.task().inspect(|task| {
                milestones::first_start();
                task.wake();
            });
        }
        Err(error) => panic::give_up(format_args!("the first process could not be started: {error}")),
    }
}

/// Builds the program at `path`, with the arguments and the environment of the command line.
fn try_program(line: &CommandLine, thread: &Thread, path: &str) -> Result<Box<NewProgram>> {
    let mut arguments = Arguments::new(total_limit(None));
    arguments.push_argument(path.as_bytes())?;
    line.arguments.iter().try_for_each(|word| arguments.push_argument(word.as_bytes()))?;
    line.environment.iter().try_for_each(|word| arguments.push_environment(word.as_bytes()))?;
    let (fs, credentials) = (thread.fs(), thread.credentials());
    let file = resolve(&Caller::kernel(&fs, &credentials), None, path.as_bytes(), LastLink::Follow)?;
    super::exec::build(thread, file, path.as_bytes(), arguments)
}
