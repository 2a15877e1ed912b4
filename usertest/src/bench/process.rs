//! System calls, processes, threads, signals.

use super::{Row, each, ns, pin};
use crate::call;
use crate::check::{exits, must};
use crate::sys::*;

/// The cheapest calls.
pub const CALLS: &[Row] = &[
    ns("getppid", |n| {
        pin(0);
        each(n, || {
            let _ = core::hint::black_box(getppid());
        })
    }),
    ns("clock_gettime", |n| {
        pin(0);
        let mut time = zeroed::<libc::timespec>();
        match vdso_clock_gettime() {
            Some(quick) => each(n, || {
                quick(libc::CLOCK_MONOTONIC, &raw mut time);
            }),
            None => each(n, || {
                now();
            }),
        }
    }),
];

/// Birth, death, signals.
pub const ROWS: &[Row] = &[
    ns("sched-yield", sched_yield),
    ns("fork-exit-wait", |n| each(n, || exits(spawn(|| 0), 0))),
    ns("fork-exec-wait", |n| each(n, || exits(spawn(|| crate::helper::exec_self(&["exit", "0"])), 0))),
    ns("fork-storm", fork_storm),
    ns("thread-create-join", thread_create_join),
    ns("thread-storm", thread_storm),
    ns("signal-self", |n| {
        pin(0);
        must(on_signal(libc::SIGUSR1, record, 0));
        let (pid, tid) = (getpid(), gettid());
        each(n, || {
            let _ = call!(SYS_tgkill, pid, tid, libc::SIGUSR1);
        })
    }),
];

/// Two processes on one core, yielding to each other: the time between two returns of one of them.
fn sched_yield(n: u64) -> f64 {
    pin(0);
    let child = spawn(|| {
        loop {
            let _ = call!(SYS_sched_yield);
        }
    });
    let time = each(n, || {
        let _ = call!(SYS_sched_yield);
    });
    let _ = kill(child, libc::SIGKILL);
    time
}

extern "C" fn nothing(argument: *mut libc::c_void) -> *mut libc::c_void {
    argument
}

/// A thread on a stack that is there already, so that only birth and death count.
fn thread_create_join(n: u64) -> f64 {
    let size = 64 * 1024;
    let stack = core::ptr::with_exposed_provenance_mut(must(anonymous(size)));
    let mut attributes = core::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialises the attributes; the stack is used by one thread at a time.
    unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        libc::pthread_attr_setstack(attributes.as_mut_ptr(), stack, size);
    }
    each(n, || {
        let mut handle = core::mem::MaybeUninit::uninit();
        let none = core::ptr::null_mut();
        // SAFETY: initialised attributes; the thread is joined before its stack is used again.
        unsafe {
            let error = libc::pthread_create(handle.as_mut_ptr(), attributes.as_ptr(), nothing, none);
            assert!(error == 0, "{:?}", Errno(error));
            libc::pthread_join(handle.assume_init(), core::ptr::null_mut());
        }
    })
}

/// Processes or threads alive at once in a storm.
const STORM: u64 = 50;

/// Many children, of which none is waited for until all are born.
fn fork_storm(n: u64) -> f64 {
    let storm = || {
        let children: Vec<Pid> = (0..STORM).map(|_| spawn(|| 0)).collect();
        children.into_iter().for_each(|child| exits(child, 0));
    };
    each(n / STORM, storm) / STORM as f64
}

/// Many threads, each with a stack made for it.
fn thread_storm(n: u64) -> f64 {
    let storm = || std::thread::scope(|scope| (0..STORM).for_each(|_| drop(scope.spawn(|| ()))));
    each(n / STORM, storm) / STORM as f64
}
