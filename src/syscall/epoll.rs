//! epoll_create1(2), epoll_ctl(2), epoll_pwait(2), epoll_pwait2(2).
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::fs::epoll::{Epoll, Report, as_epoll};
use libkernel::fs::{Fd, OpenFlags, anonymous};
use libkernel::io::IoSink;
use libkernel::machine;
use libkernel::memory::{UserBuffer, UserBytes, UserPtr};
use libkernel::poll;
use libkernel::signal::SignalSet;
use libkernel::task::interruptible;
use libkernel::time::with_timeout;
use libkernel::{Errno, Result};
use linux_raw_sys::general as linux;

use super::files::{descriptor_limit, file};
use super::outcome::calls_that_wait;
use super::{Context, Outcome};

/// The most that one wait reports; more comes with the next.
const MOST: usize = 256;

const EVENT_SIZE: usize = size_of::<linux::epoll_event>();

/// epoll_create1(2).
pub fn epoll_create1(cx: &mut Context, flags: u32) -> Result<usize> {
    if flags & !linux::EPOLL_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    let file = anonymous::open(Epoll::new(), "anon_inode:[eventpoll]", OpenFlags::READ_WRITE)?;
    let close_on_exec = flags & linux::EPOLL_CLOEXEC != 0;
    Ok(cx.thread.files().insert(file, close_on_exec, 0, descriptor_limit(cx))?.0 as usize)
}

fn set(cx: &Context, fd: Fd) -> Result<Arc<Epoll>> {
    as_epoll(&*file(cx, fd)?).ok_or(Errno::EINVAL)
}

/// epoll_ctl(2).
pub fn epoll_ctl(
    cx: &mut Context,
    epoll: Fd,
    operation: u32,
    fd: Fd,
    event: UserPtr<linux::epoll_event>,
) -> Result<usize> {
    let event = match operation {
        linux::EPOLL_CTL_DEL => None,
        _ => Some(cx.thread.space().read_value(event.cast::<[u64; 2]>())?),
    };
    // The descriptors are looked at before what they are, as on Linux.
    let watched = (file(cx, epoll)?, file(cx, fd)?).1;
    let set = set(cx, epoll)?;
    match (operation, event) {
        (linux::EPOLL_CTL_ADD, Some([events, data])) => set.add(fd, &watched, events as u32, data)?,
        (linux::EPOLL_CTL_MOD, Some([events, data])) => set.modify(fd, &watched, events as u32, data)?,
        (linux::EPOLL_CTL_DEL, _) => set.remove(fd, &watched)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Copies one event out; false where memory is missing: then the set keeps it.
fn put(buffer: &mut UserBuffer, report: Report) -> bool {
    // Built by hand: the structure has padding on this architecture.
    let event = [u64::from(report.events.bits()), report.data].map(u64::to_ne_bytes);
    buffer.put(event.as_flattened()) == EVENT_SIZE
}

/// Where the events go, and how many.
#[derive(Clone, Copy)]
struct Target {
    events: UserPtr<linux::epoll_event>,
    count: usize,
}

impl Target {
    fn new(events: UserPtr<linux::epoll_event>, count: i32) -> Result<Self> {
        let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Errno::EINVAL)?;
        Ok(Self { events, count: count.min(MOST) })
    }

    /// Delivers what is ready; `None` if nothing is.
    fn deliver(&self, cx: &Context, set: &Epoll) -> Option<Result<usize>> {
        let mut buffer = match UserBuffer::new(self.events.cast(), self.count * EVENT_SIZE) {
            Ok(buffer) => buffer,
            Err(error) => return Some(Err(error)),
        };
        loop {
            let found = set.collect(self.count, &mut |report| put(&mut buffer, report));
            if found > 0 || !buffer.faulted() {
                return (found > 0).then_some(Ok(found));
            }
            if let Err(error) = buffer.resolve(&cx.thread.space()) {
                return Some(Err(error));
            }
            buffer.seek(0);
        }
    }
}

/// What one wait asks for.
struct WaitRequest {
    set: Arc<Epoll>,
    target: Target,
    deadline: Option<u64>,
    mask: Option<SignalSet>,
}

fn mask(cx: &Context, mask: UserPtr<u64>, size: usize) -> Result<Option<SignalSet>> {
    let Some(mask) = mask.non_null() else { return Ok(None) };
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    Ok(Some(SignalSet::from_bits(cx.thread.space().read_value(mask)?)))
}

impl WaitRequest {
    fn start(&self, cx: &Context) -> Outcome {
        match self.target.deliver(cx, &self.set) {
            Some(result) => Outcome::Done(result),
            None if self.deadline == Some(0) => Outcome::Done(Ok(0)),
            None => Outcome::Block,
        }
    }

    async fn finish(self, cx: &Context) -> Result<usize> {
        let signals = cx.thread.signals().clone();
        if let Some(mask) = self.mask {
            signals.set_temporary_mask(mask);
        }
        let ready = poll::wait_for(|table| {
            table.register(self.set.queue());
            self.target.deliver(cx, &self.set)
        });
        match interruptible(with_timeout(self.deadline, ready)).await {
            Ok(result) => {
                signals.restore_mask();
                result.unwrap_or(Ok(0))
            }
            // The temporary mask stays until the signal is delivered under it.
            Err(_) => Err(Errno::EINTR),
        }
    }
}

fn after(span: u64) -> u64 {
    if span == 0 { 0 } else { machine::monotonic_ns().saturating_add(span) }
}

/// A timeout in milliseconds: without end where it is negative.
fn by_milliseconds(timeout: i32) -> Option<u64> {
    u64::try_from(timeout).ok().map(|milliseconds| after(milliseconds * 1_000_000))
}

/// A timeout in memory: without end where there is none.
fn by_timespec(cx: &Context, timeout: UserPtr<linux::__kernel_timespec>) -> Result<Option<u64>> {
    let Some(timeout) = timeout.non_null() else { return Ok(None) };
    let time = cx.thread.space().read_value(timeout)?;
    if time.tv_sec < 0 || !(0..1_000_000_000).contains(&time.tv_nsec) {
        return Err(Errno::EINVAL);
    }
    let span = (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64);
    Ok(Some(after(span)))
}

fn request(
    cx: &Context,
    epoll: Fd,
    target: Result<Target>,
    deadline: Result<Option<u64>>,
    signals: (UserPtr<u64>, usize),
) -> Result<WaitRequest> {
    let (target, deadline) = (target?, deadline?);
    Ok(WaitRequest { set: set(cx, epoll)?, target, deadline, mask: mask(cx, signals.0, signals.1)? })
}

calls_that_wait! {
    /// epoll_pwait(2).
    epoll_pwait / epoll_pwait_blocking(
        cx, epoll: Fd, events: UserPtr<linux::epoll_event>, count: i32, timeout: i32, mask: UserPtr<u64>, size: usize
    ) {
        request(cx, epoll, Target::new(events, count), Ok(by_milliseconds(timeout)), (mask, size))
    }

    /// epoll_pwait2(2).
    epoll_pwait2 / epoll_pwait2_blocking(
        cx, epoll: Fd, events: UserPtr<linux::epoll_event>, count: i32, timeout: UserPtr<linux::__kernel_timespec>,
        mask: UserPtr<u64>, size: usize
    ) {
        request(cx, epoll, Target::new(events, count), by_timespec(cx, timeout), (mask, size))
    }
}
