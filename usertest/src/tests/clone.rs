//! clone(2), clone3(2), vfork(2).

use super::tests;
use crate::call;
use crate::check::{exits, fails, killed, must};
use crate::sys::*;
use core::sync::atomic::Ordering;

tests!("clone":
    vfork_runs_the_child_first_on_shared_memory,
    who_waits_for_vfork_shows_d_and_can_be_killed,
    clone_vm_shares_memory,
    clone_files_shares_descriptors,
    clone_without_files_does_not,
    clone_thread_needs_vm_and_sighand,
    clone_with_another_exit_signal_sends_that,
    sibling_sends_what_its_creator_does,
    clone_parent_settid_and_child_settid_store_the_id,
    clone3_forks,
    clone3_pidfd_is_a_descriptor,
    clone3_rejects_unknown_sizes,
);

/// Raw clone for children that use the parent's stack copy or nothing but system calls.
fn clone(flags: i32, parent_tid: usize, child_tid: usize) -> Result<usize> {
    call!(SYS_clone, flags, 0, parent_tid, 0, child_tid)
}

fn vfork_runs_the_child_first_on_shared_memory() {
    let at = must(shared(PAGE));
    let private = must(anonymous(PAGE));
    poke(private, 0u32);
    // The child keeps to its own frames: everything here is inlined system calls.
    match must(clone(libc::CLONE_VFORK | libc::CLONE_VM | libc::SIGCHLD, 0, 0)) {
        0 => {
            let _ = raw(libc::SYS_nanosleep as usize, pad([timespec_in(at), 0]));
            poke(private, 77u32);
            exit(5);
        }
        child => {
            assert_eq!(peek::<u32>(private), 77, "the parent ran before the child had ended");
            exits(child as Pid, 5);
        }
    }
}

fn timespec_in(at: usize) -> usize {
    poke(at, 0u64);
    poke(at + 8, 30 * MS);
    at
}

fn who_waits_for_vfork_shows_d_and_can_be_killed() {
    let at = must(shared(PAGE));
    let waiting = spawn(|| match must(clone(libc::CLONE_VFORK | libc::CLONE_VM | libc::SIGCHLD, 0, 0)) {
        0 => {
            poke(at, raw(libc::SYS_getpid as usize, [0; 6]) as Pid);
            loop {
                let _ = raw(libc::SYS_ppoll as usize, [0; 6]);
            }
        }
        _ => 0,
    });
    assert!(wait_for_state(waiting, "D"), "who waits for a vfork is in {:?}", proc_stat(waiting, 3));
    // Nobody handles it; it stays until the wait is over.
    must(kill(waiting, libc::SIGCHLD));
    sleep_ms(5);
    assert!(wait_for_state(waiting, "D"));
    must(kill(waiting, libc::SIGKILL));
    killed(waiting, libc::SIGKILL);
    let child = peek::<Pid>(at);
    assert_ne!(child, 0, "the child has begun");
    must(kill(child, libc::SIGKILL));
}

extern "C" fn child_entry(argument: *mut libc::c_void) -> libc::c_int {
    let at = argument.expose_provenance();
    atomic_at(at).store(9, Ordering::SeqCst);
    let _ = close(peek::<u32>(at + 4) as Fd);
    3
}

/// Clones with a stack of its own through the C library; the child runs [`child_entry`].
fn clone_on_stack(flags: i32, at: usize) -> Result<Pid> {
    let stack = anonymous(64 * 1024)?;
    let top = core::ptr::with_exposed_provenance_mut(stack + 64 * 1024);
    let argument = core::ptr::with_exposed_provenance_mut(at);
    // SAFETY: the stack is fresh and large enough for an entry that only makes system calls.
    match unsafe { libc::clone(child_entry, top, flags, argument) } {
        -1 => Err(Errno::last()),
        pid => Ok(pid),
    }
}

fn clone_vm_shares_memory() {
    let at = must(anonymous(PAGE));
    poke(at, [0u32, u32::MAX]);
    exits(must(clone_on_stack(libc::CLONE_VM | libc::SIGCHLD, at)), 3);
    assert_eq!(peek::<u32>(at), 9);
}

fn clone_files_shares_descriptors() {
    let (reader, _writer) = must(pipe());
    let at = must(anonymous(PAGE));
    poke(at, [0u32, reader as u32]);
    exits(must(clone_on_stack(libc::CLONE_FILES | libc::SIGCHLD, at)), 3);
    fails(fcntl(reader, libc::F_GETFD, 0), libc::EBADF);
}

fn clone_without_files_does_not() {
    let (reader, _writer) = must(pipe());
    let at = must(anonymous(PAGE));
    poke(at, [0u32, reader as u32]);
    exits(must(clone_on_stack(libc::SIGCHLD, at)), 3);
    must(fcntl(reader, libc::F_GETFD, 0));
    assert_eq!(peek::<u32>(at), 0);
}

fn clone_thread_needs_vm_and_sighand() {
    fails(clone(libc::CLONE_THREAD, 0, 0), libc::EINVAL);
    fails(clone(libc::CLONE_THREAD | libc::CLONE_SIGHAND, 0, 0), libc::EINVAL);
    fails(clone(libc::CLONE_SIGHAND, 0, 0), libc::EINVAL);
    fails(clone(libc::CLONE_FS | libc::CLONE_NEWNS, 0, 0), libc::EINVAL);
}

fn clone_with_another_exit_signal_sends_that() {
    must(on_signal(libc::SIGUSR1, record, 0));
    let at = must(anonymous(PAGE));
    poke(at, [0u32, u32::MAX]);
    let child = must(clone_on_stack(libc::SIGUSR1, at));
    assert!(eventually(5000, || seen() == 1), "no SIGUSR1 on exit");
    fails(wait4(child, 0), libc::ECHILD);
    let status = must(wait4(child, libc::__WCLONE));
    assert_eq!(status, Some((child, Status::Exited(3))));
}

fn sibling_sends_what_its_creator_does() {
    must(on_signal(libc::SIGUSR1, record, 0));
    let at = must(shared(PAGE));
    let creator = spawn(|| {
        match must(clone(libc::CLONE_PARENT | libc::SIGUSR1, 0, 0)) {
            0 => exit(6),
            sibling => poke(at, sibling as Pid),
        }
        0
    });
    exits(creator, 0);
    exits(peek(at), 6);
    assert_eq!(seen(), 0, "SIGUSR1 came");
}

fn clone_parent_settid_and_child_settid_store_the_id() {
    let at = must(anonymous(PAGE));
    let flags = libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_SETTID | libc::SIGCHLD;
    match must(clone(flags, at, at + 4)) {
        0 => exit(i32::from(peek::<i32>(at + 4) != getpid())),
        child => {
            assert_eq!(peek::<i32>(at), child as Pid);
            assert_eq!(peek::<i32>(at + 4), 0, "the child's store reached the parent");
            exits(child as Pid, 0);
        }
    }
}

fn clone3(args: &[u64; 11], size: usize) -> Result<usize> {
    call!(SYS_clone3, args, size)
}

fn clone3_forks() {
    let mut args = [0u64; 11];
    args[4] = libc::SIGCHLD as u64;
    match must(clone3(&args, 88)) {
        0 => exit(21),
        child => exits(child as Pid, 21),
    }
}

fn clone3_pidfd_is_a_descriptor() {
    let mut pidfd = -1i32;
    let mut args = [0u64; 11];
    args[0] = libc::CLONE_PIDFD as u64;
    args[1] = (&raw mut pidfd).word() as u64;
    args[4] = libc::SIGCHLD as u64;
    match must(clone3(&args, 64)) {
        0 => loop {
            sigsuspend(0);
        },
        child => {
            must(call!(SYS_pidfd_send_signal, pidfd, libc::SIGTERM, 0, 0));
            killed(child as Pid, libc::SIGTERM);
            fails(call!(SYS_pidfd_send_signal, pidfd, libc::SIGTERM, 0, 0), libc::ESRCH);
        }
    }
}

fn clone3_rejects_unknown_sizes() {
    fails(clone3(&[0; 11], 32), libc::EINVAL);
    fails(call!(SYS_clone3, 8, 88), libc::EFAULT);
    let mut args = [0u64; 11];
    args[4] = 200;
    fails(clone3(&args, 88), libc::EINVAL);
}
