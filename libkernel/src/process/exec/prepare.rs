//! The new program, built beside the old one: finding the file and its interpreters, checking rights, memory and stack.
#![forbid(unsafe_code)]

use super::arguments::Arguments;
use super::auxiliary::Facts;
use super::load::{self, Loaded, MachineFacts};
use super::{script, stack};
use crate::fs::mount::MountFlags;
use crate::fs::permission::{self, Access};
use crate::fs::walk::{LastLink, resolve};
use crate::fs::{Caller, FileType, Path};
use crate::io::SliceSink;
use crate::memory::{AddressSpace, MemoryLimits};
use crate::process::Thread;
use crate::process::credentials::{Credentials, ExecIdentity, SetId};
use crate::process::id::{Gid, Uid};
use crate::process::name::Name;
use crate::process::running::Running;
use crate::{Errno, Result};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// How much of a program's file is read to understand it: the header and, nearly always, the program headers.
const HEAD_SIZE: usize = 1024;
const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;
const GROUP_EXECUTE: u32 = 0o010;

/// What `/proc` tells about the program a process runs.
pub struct ProgramFacts {
    /// Its file (`/proc/PID/exe`).
    pub file: Path,
    /// Where its arguments are in its memory (`/proc/PID/cmdline`).
    pub arguments: Range<u64>,
    /// Where its environment is (`/proc/PID/environ`).
    pub environment: Range<u64>,
    /// Its auxiliary vector (`/proc/PID/auxv`).
    pub auxiliary: Vec<u8>,
    /// Where its stack began.
    pub stack_start: u64,
}

/// A program, ready to be taken over.
pub struct NewProgram {
    pub(super) space: Arc<AddressSpace>,
    pub(super) running: Arc<Running>,
    pub(super) facts: ProgramFacts,
    pub(super) set_id: SetId,
    pub(super) identity: ExecIdentity,
    /// Where the auxiliary vector is in its memory.
    pub(super) auxiliary_at: u64,
    pub(super) readable: bool,
    pub(super) name: Name,
    /// Where the first instruction is: the interpreter's, if there is one.
    pub entry: u64,
    /// The stack pointer.
    pub stack_pointer: u64,
}

/// A file that is to be run, and the rights it brings.
struct Executable {
    path: Path,
    head: Vec<u8>,
    set_id: SetId,
    readable: bool,
    running: Arc<Running>,
}

/// What a program is started with besides its arguments.
pub struct Environment<'a> {
    /// What the machine tells.
    pub machine: MachineFacts,
    /// Resource limits on memory.
    pub limits: MemoryLimits,
    /// Random bits for the layout.
    pub seed: u64,
    /// Random bytes for the program.
    pub random: [u8; 16],
    /// Maps the vDSO, if there is one, and says where.
    pub map_vdso: &'a dyn Fn(&AddressSpace) -> Option<u64>,
}

/// Builds the program at `path` for `thread`. `base` is the directory that a relative path starts from, if not the working
/// directory; `shown_path` is what the program learns as its path.
///
/// # Errors
/// Those of execve(2): `ENOENT`, `EACCES`, `ENOEXEC`, `ELOOP`, `E2BIG`, `ENOMEM`, `ETXTBSY` among them.
pub fn prepare(
    thread: &Thread,
    file: Path,
    shown_path: &[u8],
    mut arguments: Arguments,
    environment: &Environment<'_>,
) -> Result<NewProgram> {
    let credentials = thread.credentials();
    let fs = thread.fs();
    let caller = Caller::kernel(&fs, &credentials);
    let root = fs.root();

    let mut executable = open(file, &credentials)?;
    let name = Name::from_path(shown_path);
    let mut script_path = Vec::from(shown_path);
    let mut depth = 0;
    while let Some(script) = script::parse(&executable.head)? {
        depth += 1;
        if depth > script::DEPTH_MAX {
            return Err(Errno::ELOOP);
        }
        arguments.prepend_script(script.interpreter, script.argument, &script_path)?;
        script_path = Vec::from(script.interpreter);
        let interpreter = resolve(&caller, None, &script_path, LastLink::Follow)?;
        executable = open(interpreter, &credentials)?;
    }

    let space = AddressSpace::new(environment.seed, environment.limits)?;
    let identity = credentials.after_exec(executable.set_id, false);
    let mut readable = executable.readable;
    let (main, interpreter) = load_all(&space, &executable, &caller, &root, &mut readable)?;
    space.set_brk_start(main.end());

    let ids = &identity.credentials;
    let facts = Facts {
        headers: main.headers(),
        header_count: u64::from(main.program.header_count),
        base: interpreter.as_ref().map_or(0, |interpreter| interpreter.bias),
        entry: main.entry(),
        ids: [ids.uid.real.raw(), ids.uid.effective.raw(), ids.gid.real.raw(), ids.gid.effective.raw()],
        secure: identity.secure,
        hwcap: environment.machine.hwcap,
        hwcap2: environment.machine.hwcap2,
        vdso: (environment.map_vdso)(&space),
        random: environment.random,
    };
    let top = space.layout().stack_top;
    let first = stack::build(top, shown_path, &arguments, &facts)?;
    load::map_stack(&space, top, first.pointer, &first.bytes, main.program.executable_stack)?;

    Ok(NewProgram {
        entry: interpreter.as_ref().map_or(main.entry(), Loaded::entry),
        stack_pointer: first.pointer,
        running: executable.running,
        auxiliary_at: first.pointer + first.auxiliary.start as u64,
        facts: ProgramFacts {
            auxiliary: Vec::from(first.bytes.get(first.auxiliary).unwrap_or_default()),
            file: executable.path,
            arguments: first.argument_strings,
            environment: first.environment_strings,
            stack_start: first.pointer,
        },
        set_id: executable.set_id,
        space,
        identity,
        readable,
        name,
    })
}

/// Maps a program and the interpreter it names.
fn load_all(
    space: &AddressSpace,
    executable: &Executable,
    caller: &Caller<'_>,
    root: &Path,
    readable: &mut bool,
) -> Result<(Loaded, Option<Loaded>)> {
    let inode = executable.path.inode();
    let program = load::understand(inode, &executable.head)?;
    let layout = space.layout();
    let Some(range) = program.interpreter.clone() else {
        return Ok((load::map(space, &executable.path, root, program, layout.program_base)?, None));
    };
    let mut text = load::read_range(inode, range)?;
    // The path ends with the only zero in it.
    if text.pop() != Some(0) || text.contains(&0) {
        return Err(Errno::ENOEXEC);
    }
    let interpreter = open(resolve(caller, None, &text, LastLink::Follow)?, caller.credentials)?;
    *readable &= interpreter.readable;
    let main = load::map(space, &executable.path, root, program, layout.program_base)?;
    let bad_if_no_program = |error| if error == Errno::ENOEXEC { Errno::ELIBBAD } else { error };
    let program = load::understand(interpreter.path.inode(), &interpreter.head).map_err(bad_if_no_program)?;
    if program.interpreter.is_some() {
        return Err(Errno::ELIBBAD);
    }
    let base = layout.map_top.checked_sub(program.size()).ok_or(Errno::ENOMEM)?;
    let base = base / program.alignment * program.alignment;
    let interpreter = load::map(space, &interpreter.path, root, program, base)?;
    Ok((main, Some(interpreter)))
}

/// Checks that a file may be run, and reads its head.
///
/// # Errors
/// `EACCES` for what is no regular file or may not be executed, `ETXTBSY` while it is open for writing.
fn open(path: Path, credentials: &Credentials) -> Result<Executable> {
    let inode = path.inode().clone();
    let attributes = inode.attributes();
    let mount_flags = path.mount.flags();
    if attributes.kind() != FileType::Regular || !path.allows_execution() {
        return Err(Errno::EACCES);
    }
    permission::check(attributes, credentials, Access::EXECUTE)?;
    let running = Running::new(&path)?;
    let mode = attributes.permissions();
    let honoured = !mount_flags.contains(MountFlags::NO_SET_ID);
    let sets_group = honoured && mode & SET_GROUP_ID != 0 && mode & GROUP_EXECUTE != 0;
    let set_id = SetId {
        user: if honoured && mode & SET_USER_ID != 0 { Uid::new(attributes.uid()) } else { None },
        group: if sets_group { Gid::new(attributes.gid()) } else { None },
    };
    let mut head = Vec::new();
    head.try_reserve_exact(HEAD_SIZE)?;
    head.resize(HEAD_SIZE, 0);
    let length = inode.read_at(0, &mut SliceSink::new(&mut head))?;
    head.truncate(length);
    Ok(Executable {
        readable: permission::check(attributes, credentials, Access::READ).is_ok(),
        path,
        head,
        set_id,
        running,
    })
}
