//! Running another program: execve(2), execveat(2).
#![forbid(unsafe_code)]

use super::{Context, Outcome};
use crate::process;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use libkernel::fs::walk::{LastLink, resolve};
use libkernel::fs::{Caller, Fd, FileType, Path};
use libkernel::memory::UserPtr;
use libkernel::process::exec::NewProgram;
use libkernel::process::exec::arguments::{Arguments, STRING_MAX, total_limit};
use libkernel::process::limits::Resource;
use libkernel::{Errno, Result};
use linux_raw_sys::general::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};

/// Longest path, with its closing zero.
const PATH_MAX: usize = 4096;

/// execve(2): finding and building the program needs no waiting, but ending the other threads does.
pub fn execve(_: &mut Context, _path: UserPtr<u8>, _arguments: UserPtr<u64>, _environment: UserPtr<u64>) -> Outcome {
    Outcome::Block
}

/// The work of execve(2).
pub async fn execve_blocking(
    cx: &mut Context,
    path: UserPtr<u8>,
    arguments: UserPtr<u64>,
    environment: UserPtr<u64>,
) -> Result<usize> {
    execveat_blocking(cx, Fd(AT_FDCWD), path, arguments, environment, 0).await
}

/// execveat(2).
pub fn execveat(
    _: &mut Context,
    _directory: Fd,
    _path: UserPtr<u8>,
    _arguments: UserPtr<u64>,
    _environment: UserPtr<u64>,
    _flags: u32,
) -> Outcome {
    Outcome::Block
}

/// The work of execveat(2).
pub async fn execveat_blocking(
    cx: &mut Context,
    directory: Fd,
    path: UserPtr<u8>,
    arguments: UserPtr<u64>,
    environment: UserPtr<u64>,
    flags: u32,
) -> Result<usize> {
    let program = build(cx, directory, path, arguments, environment, flags)?;
    process::start(cx, program).await?;
    Ok(0)
}

/// Reads the arguments and builds the program, while the old one still stands.
fn build(
    cx: &Context,
    directory: Fd,
    path: UserPtr<u8>,
    arguments: UserPtr<u64>,
    environment: UserPtr<u64>,
    flags: u32,
) -> Result<Box<NewProgram>> {
    let path = cx.space().read_string(path, PATH_MAX)?;
    let (file, shown) = find(cx, directory, path, flags)?;
    let strings = read_arguments(cx, arguments, environment)?;
    process::build(&cx.thread, file, &shown, strings)
}

/// The file to run, and its path as the program will know it.
fn find(cx: &Context, directory: Fd, path: Vec<u8>, flags: u32) -> Result<(Path, Vec<u8>)> {
    if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let (fs, credentials, files) = (cx.fs(), cx.thread.credentials(), cx.files());
    let pid = Some(cx.thread.process().pid());
    let caller = Caller {
        context: &fs,
        credentials: &credentials,
        opener: Some(&credentials),
        files: Some(&files),
        process: pid,
        thread: Some(cx.thread.tid()),
    };
    let relative = path.first() != Some(&b'/');
    let base = if relative && directory.0 != AT_FDCWD { Some(files.get(directory)?) } else { None };
    if path.is_empty() {
        let file = base.filter(|_| flags & AT_EMPTY_PATH != 0).ok_or(Errno::ENOENT)?;
        return Ok((file.path().clone(), format!("/dev/fd/{}", directory.0).into_bytes()));
    }
    let last = if flags & AT_SYMLINK_NOFOLLOW != 0 { LastLink::Keep } else { LastLink::Follow };
    let file = resolve(&caller, base.as_ref().map(|base| base.path()), &path, last)?;
    if file.inode().attributes().kind() == FileType::Symlink {
        return Err(Errno::ELOOP);
    }
    let shown = match base {
        Some(_) => [format!("/dev/fd/{}/", directory.0).as_bytes(), &path].concat(),
        None => path,
    };
    Ok((file, shown))
}

/// Reads both arrays of strings from the program's memory. No arguments at all become one empty argument.
fn read_arguments(cx: &Context, arguments: UserPtr<u64>, environment: UserPtr<u64>) -> Result<Arguments> {
    let limit = total_limit(cx.thread.process().soft_limit(Resource::Stack));
    let mut strings = Arguments::new(limit);
    each_string(cx, arguments, |string| strings.push_argument(string))?;
    if strings.arguments().count() == 0 {
        strings.push_argument(b"")?;
    }
    each_string(cx, environment, |string| strings.push_environment(string))?;
    Ok(strings)
}

fn each_string(cx: &Context, array: UserPtr<u64>, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    if array.is_null() {
        return Ok(());
    }
    let space = cx.space();
    let mut at = array;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(512)?;
    buffer.resize(512, 0);
    loop {
        let pointer = space.read_value(at)?;
        if pointer == 0 {
            return Ok(());
        }
        match space.read_string_into(UserPtr::new(pointer), &mut buffer) {
            Ok(length) => take(buffer.get(..length).unwrap_or_default())?,
            Err(Errno::ENAMETOOLONG) => {
                let long = space.read_string(UserPtr::new(pointer), STRING_MAX);
                take(&long.map_err(|error| if error == Errno::ENAMETOOLONG { Errno::E2BIG } else { error })?)?;
            }
            Err(error) => return Err(error),
        }
        at = at.add(1);
    }
}
