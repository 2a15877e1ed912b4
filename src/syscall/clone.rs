//! New processes and threads: clone(2), clone3(2), unshare(2).
#![forbid(unsafe_code)]

use super::{Context, Outcome, pidfd};
use crate::task::spawn_user;
use alloc::sync::Arc;
use libkernel::fs::Fd;
use libkernel::memory::UserPtr;
use libkernel::process::birth::{Kinship, Unborn};
use libkernel::process::clone::{CLONE_ARGS_SIZE, CLONE_ARGS_SIZES, CloneFlags, CloneRequest, check_unshare};
use libkernel::process::{Thread, resources, vfork};
use libkernel::{Errno, Result};

/// clone(2), with the order of arguments that arm64 has.
pub fn clone(
    cx: &mut Context,
    flags: u64,
    stack: u64,
    parent_tid: UserPtr<u32>,
    tls: u64,
    child_tid: UserPtr<u32>,
) -> Outcome {
    match decode_clone(flags, stack, parent_tid, tls, child_tid) {
        Ok(request) => begin(cx, &request),
        Err(error) => Outcome::Done(Err(error)),
    }
}

/// clone(2) for a creator that waits (`CLONE_VFORK`).
pub async fn clone_blocking(
    cx: &mut Context,
    flags: u64,
    stack: u64,
    parent_tid: UserPtr<u32>,
    tls: u64,
    child_tid: UserPtr<u32>,
) -> Result<usize> {
    let request = decode_clone(flags, stack, parent_tid, tls, child_tid)?;
    create_and_wait(cx, &request).await
}

fn decode_clone(
    flags: u64,
    stack: u64,
    parent_tid: UserPtr<u32>,
    tls: u64,
    child_tid: UserPtr<u32>,
) -> Result<CloneRequest> {
    CloneRequest::from_clone(flags, stack, parent_tid.addr() as usize, tls, child_tid.addr() as usize)
}

/// clone3(2).
pub fn clone3(cx: &mut Context, arguments: UserPtr<u8>, size: usize) -> Outcome {
    match read_clone3(cx, arguments, size) {
        Ok(request) => begin(cx, &request),
        Err(error) => Outcome::Done(Err(error)),
    }
}

/// clone3(2) for a creator that waits.
pub async fn clone3_blocking(cx: &mut Context, arguments: UserPtr<u8>, size: usize) -> Result<usize> {
    let request = read_clone3(cx, arguments, size)?;
    create_and_wait(cx, &request).await
}

/// Reads as much of `struct clone_args` as the program knows of; what it knows beyond this must be zero.
fn read_clone3(cx: &Context, arguments: UserPtr<u8>, size: usize) -> Result<CloneRequest> {
    if size > *CLONE_ARGS_SIZES.end() {
        return Err(Errno::E2BIG);
    }
    if size < *CLONE_ARGS_SIZES.start() {
        return Err(Errno::EINVAL);
    }
    let space = cx.space();
    let mut bytes = [0; CLONE_ARGS_SIZE];
    let known = size.min(CLONE_ARGS_SIZE);
    space.read_bytes(arguments, bytes.get_mut(..known).unwrap_or_default())?;
    for at in known..size {
        if space.read_value(arguments.add(at))? != 0 {
            return Err(Errno::E2BIG);
        }
    }
    let mut words = [0; CLONE_ARGS_SIZE / 8];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*chunk);
    }
    CloneRequest::from_clone3(&words)
}

/// Creates at once, unless the creator has to wait for the new process.
fn begin(cx: &mut Context, request: &CloneRequest) -> Outcome {
    if request.flags.contains(CloneFlags::VFORK) {
        return Outcome::Block;
    }
    create(cx, request).map(|thread| thread.tid().number() as usize).into()
}

async fn create_and_wait(cx: &mut Context, request: &CloneRequest) -> Result<usize> {
    let child = create(cx, request)?;
    let tid = child.tid();
    let process = child.process().clone();
    drop(child);
    vfork::wait_for_return(&cx.thread, &process).await;
    Ok(tid.number() as usize)
}

/// Makes a thread or process and starts it.
fn create(cx: &mut Context, request: &CloneRequest) -> Result<Arc<Thread>> {
    let flags = request.flags;
    let has = |flag| flags.contains(flag);
    request.check_creator(cx.thread.process().pid())?;
    let shared = resources::inherit(&cx.thread, has(CloneFlags::FILES), has(CloneFlags::FS), has(CloneFlags::VM))?;
    let unborn = if has(CloneFlags::THREAD) {
        Unborn::thread_of(&cx.thread, shared)?
    } else {
        let kinship = Kinship {
            exit_signal: request.exit_signal,
            sibling: has(CloneFlags::PARENT),
            share_actions: has(CloneFlags::SIGHAND),
        };
        Unborn::process_of(&cx.thread, kinship, shared)?
    };
    let thread = unborn.thread();
    let number = thread.tid().number();
    if !has(CloneFlags::VM) || has(CloneFlags::VFORK) {
        thread.signals().replace_alternate_stack(cx.thread.signals().alternate_stack());
    }
    if has(CloneFlags::CLEAR_SIGHAND) {
        thread.process().signals().reset_for_exec();
    }
    if has(CloneFlags::VFORK) {
        thread.process().borrow_memory();
    }
    if has(CloneFlags::CHILD_CLEARTID) {
        thread.set_clear_child_tid(request.child_tid);
    }
    if has(CloneFlags::CHILD_SETTID) {
        // As on Linux, a bad address does not stop the child.
        let _ = thread.space().write_remote(request.child_tid as u64, &number.to_ne_bytes());
    }
    if has(CloneFlags::PARENT_SETTID) {
        let _ = cx.space().write_value(UserPtr::new(request.parent_tid as u64), number);
    }
    let pidfd = if has(CloneFlags::PIDFD) { Some(give_pidfd(cx, thread, request.pidfd)?) } else { None };

    let mut registers = cx.registers.clone();
    registers.x[0] = 0;
    registers.sp = request.stack.unwrap_or(registers.sp);
    if has(CloneFlags::SETTLS) {
        registers.tls = request.tls;
    }
    let task = spawn_user(thread, registers, cx.fp_state());
    if let Some(own) = cx.thread.task() {
        task.parameters().inherit(own.parameters());
    }
    let thread = unborn.publish(&cx.thread, task.clone()).inspect_err(|_| {
        if let Some(fd) = pidfd {
            // The descriptor may have been closed by another thread meanwhile.
            let _ = cx.files().close(fd);
        }
    })?;
    task.wake_owned();
    Ok(thread)
}

/// Opens a descriptor for the new process and tells its number.
fn give_pidfd(cx: &Context, thread: &Thread, address: usize) -> Result<Fd> {
    let fd = pidfd::install(cx, thread.process().clone(), false)?;
    if let Err(error) = cx.space().write_value(UserPtr::new(address as u64), fd.0) {
        let _ = cx.files().close(fd);
        return Err(error);
    }
    Ok(fd)
}

/// unshare(2): open files and directories.
pub fn unshare(cx: &mut Context, flags: u64) -> Result<usize> {
    let flags = check_unshare(flags, cx.thread.process().thread_count())?;
    if flags.contains(CloneFlags::FILES) {
        cx.thread.unshare_files()?;
    }
    if flags.contains(CloneFlags::FS) {
        cx.thread.unshare_fs();
    }
    Ok(0)
}
