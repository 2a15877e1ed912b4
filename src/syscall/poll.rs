//! ppoll(2) and pselect6(2).
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;

use libkernel::fs::{Fd, OpenFile};
use libkernel::machine;
use libkernel::memory::{UserPtr, frames};
use libkernel::poll::{self, PollEvents, PollTable};
use libkernel::process::limits::Resource;
use libkernel::signal::SignalSet;
use libkernel::task::interruptible;
use libkernel::time::with_timeout;
use libkernel::{Errno, Result};
use linux_raw_sys::general as linux;

use super::{Context, Outcome};

/// What select(2) takes for readable, writable, exceptional.
const READABLE: PollEvents =
    PollEvents::IN.union(PollEvents::RDNORM).union(PollEvents::RDBAND).union(PollEvents::HUP).union(PollEvents::ERR);
const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM).union(PollEvents::WRBAND).union(PollEvents::ERR);
const EXCEPTIONAL: PollEvents = PollEvents::PRI;

/// One file that is waited for.
struct Watch {
    fd: Fd,
    /// `None`: there is no such descriptor.
    file: Option<Arc<OpenFile>>,
    wanted: PollEvents,
    found: PollEvents,
}

impl Watch {
    fn ask(&mut self, table: &mut PollTable<'_>) -> bool {
        self.found = match &self.file {
            Some(file) => file.poll(table) & (self.wanted | PollEvents::ALWAYS | PollEvents::NVAL),
            None if self.fd.0 < 0 => PollEvents::empty(),
            None => PollEvents::NVAL,
        };
        !self.found.is_empty()
    }
}

/// Asks all; returns how many have something.
fn ask_all(watches: &mut [Watch], table: &mut PollTable<'_>) -> usize {
    let mut ready = 0;
    for watch in watches {
        if watch.ask(table) {
            ready += 1;
            table.stop_registering();
        }
    }
    ready
}

/// When a time-out that a program gave ends; `None` for never, `Some(0)` for at once. `EINVAL`, `EFAULT`.
fn deadline(cx: &Context, timeout: UserPtr<linux::__kernel_timespec>) -> Result<Option<u64>> {
    let Some(timeout) = timeout.non_null() else { return Ok(None) };
    let time = cx.thread.space().read_value(timeout)?;
    let nanoseconds = u64::try_from(time.tv_nsec).ok().filter(|n| *n < 1_000_000_000).ok_or(Errno::EINVAL)?;
    let seconds = u64::try_from(time.tv_sec).map_err(|_| Errno::EINVAL)?;
    let span = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
    if span == 0 {
        return Ok(Some(0));
    }
    Ok(Some(machine::monotonic_ns().saturating_add(span)))
}

/// Writes what is left of a time-out back, as Linux does. A fault there is ignored.
fn write_rest(cx: &Context, timeout: UserPtr<linux::__kernel_timespec>, deadline: Option<u64>) {
    if let (Some(timeout), Some(deadline)) = (timeout.non_null(), deadline) {
        let rest = deadline.saturating_sub(machine::monotonic_ns());
        let value =
            linux::__kernel_timespec { tv_sec: (rest / 1_000_000_000) as _, tv_nsec: (rest % 1_000_000_000) as _ };
        let _ = cx.thread.space().write_value(timeout, value);
    }
}

fn temporary_mask(cx: &Context, mask: UserPtr<u64>, size: usize) -> Result<Option<SignalSet>> {
    let Some(mask) = mask.non_null() else { return Ok(None) };
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    Ok(Some(SignalSet::from_bits(cx.thread.space().read_value(mask)?)))
}

/// Waits until a watch has something, the deadline comes, or a signal. Returns how many have something.
async fn wait(cx: &Context, watches: &mut [Watch], deadline: Option<u64>, mask: Option<SignalSet>) -> Result<usize> {
    let signals = cx.thread.signals().clone();
    if let Some(mask) = mask {
        signals.set_temporary_mask(mask);
    }
    let ready = poll::wait_for(|table| {
        let ready = ask_all(watches, table);
        (ready > 0).then_some(ready)
    });
    let result = match interruptible(with_timeout(deadline, ready)).await {
        Ok(Ok(ready)) => Ok(ready),
        Ok(Err(_)) => Ok(0),
        // The temporary mask stays until the signal is delivered under it.
        Err(_) => return Err(Errno::ERESTARTNOHAND),
    };
    signals.restore_mask();
    result
}

/// Whether there is memory for a set of so many files, which may be waited for as long as its program likes; `ENOMEM`. A thread has
/// already been granted memory enough for a few.
fn check_room(count: usize) -> Result<()> {
    const FEW: usize = 64;
    if count > FEW && frames::low() { Err(Errno::ENOMEM) } else { Ok(()) }
}

fn read_poll_set(cx: &Context, fds: UserPtr<linux::pollfd>, count: usize) -> Result<Vec<Watch>> {
    let limit = cx.thread.process().soft_limit(Resource::OpenFiles).unwrap_or(u64::MAX);
    if count as u64 > limit {
        return Err(Errno::EINVAL);
    }
    let (space, files) = (cx.thread.space(), cx.thread.files());
    check_room(count)?;
    let mut watches = Vec::new();
    watches.try_reserve_exact(count)?;
    for index in 0..count {
        let entry = space.read_value(fds.add(index))?;
        let fd = Fd(entry.fd);
        let wanted = PollEvents::from_bits_truncate(u32::from(entry.events as u16));
        watches.push(Watch { fd, file: files.get(fd).ok(), wanted, found: PollEvents::empty() });
    }
    Ok(watches)
}

fn write_poll_set(cx: &Context, fds: UserPtr<linux::pollfd>, watches: &[Watch]) -> Result<()> {
    let space = cx.thread.space();
    for (index, watch) in watches.iter().enumerate() {
        let found = fds.add(index).byte_add(6).cast::<u16>();
        space.write_value(found, watch.found.bits() as u16)?;
    }
    Ok(())
}

/// ppoll(2).
pub fn ppoll(
    cx: &mut Context,
    fds: UserPtr<linux::pollfd>,
    count: usize,
    timeout: UserPtr<linux::__kernel_timespec>,
    mask: UserPtr<u64>,
    size: usize,
) -> Outcome {
    let run = || -> Result<Option<usize>> {
        let deadline = deadline(cx, timeout)?;
        let at_once = deadline == Some(0);
        temporary_mask(cx, mask, size)?;
        let mut watches = read_poll_set(cx, fds, count)?;
        let ready = ask_all(&mut watches, &mut PollTable::query());
        if ready == 0 && !at_once {
            return Ok(None);
        }
        write_rest(cx, timeout, deadline);
        write_poll_set(cx, fds, &watches)?;
        Ok(Some(ready))
    };
    match run() {
        Ok(Some(ready)) => Outcome::Done(Ok(ready)),
        Ok(None) => Outcome::Block,
        Err(error) => Outcome::Done(Err(error)),
    }
}

/// ppoll(2): waits.
pub async fn ppoll_blocking(
    cx: &mut Context,
    fds: UserPtr<linux::pollfd>,
    count: usize,
    timeout: UserPtr<linux::__kernel_timespec>,
    mask: UserPtr<u64>,
    size: usize,
) -> Result<usize> {
    let deadline = deadline(cx, timeout)?;
    let mask = temporary_mask(cx, mask, size)?;
    let mut watches = read_poll_set(cx, fds, count)?;
    let result = wait(cx, &mut watches, deadline, mask).await;
    write_rest(cx, timeout, deadline);
    let ready = result?;
    write_poll_set(cx, fds, &watches)?;
    Ok(ready)
}

/// The three sets of select(2): bits by descriptor.
struct Selection {
    sets: [UserPtr<u64>; 3],
    words: usize,
    watches: Vec<Watch>,
}

impl Selection {
    fn read(cx: &Context, count: i32, sets: [UserPtr<u64>; 3]) -> Result<Self> {
        let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
        // Descriptors beyond the table cannot be open; programs pass FD_SETSIZE.
        let words = count.div_ceil(64).min(libkernel::fs::fd_table::MAX_FILES / 64);
        let (space, files) = (cx.thread.space(), cx.thread.files());
        let mut watches = Vec::new();
        for word in 0..words {
            let mut bits = [0u64; 3];
            for (bits, set) in bits.iter_mut().zip(sets) {
                if let Some(set) = set.non_null() {
                    *bits = space.read_value(set.add(word))?;
                }
            }
            let valid = count - word * 64;
            let mask = if valid >= 64 { u64::MAX } else { (1 << valid) - 1 };
            let mut any = bits.iter().fold(0, |any, bits| any | bits) & mask;
            while any != 0 {
                let bit = any.trailing_zeros();
                any &= any - 1;
                let fd = Fd((word * 64) as i32 + bit as i32);
                let mut wanted = PollEvents::empty();
                for (bits, events) in bits.iter().zip([READABLE, WRITABLE, EXCEPTIONAL]) {
                    if bits >> bit & 1 != 0 {
                        wanted |= events;
                    }
                }
                check_room(watches.len() + 1)?;
                watches.try_reserve(1)?;
                watches.push(Watch { fd, file: Some(files.get(fd)?), wanted, found: PollEvents::empty() });
            }
        }
        Ok(Self { sets, words, watches })
    }

    /// Writes the sets back; returns how many bits are set in them.
    fn write(&self, cx: &Context) -> Result<usize> {
        let space = cx.thread.space();
        let mut total = 0;
        for (set, events) in self.sets.into_iter().zip([READABLE, WRITABLE, EXCEPTIONAL]) {
            let Some(set) = set.non_null() else { continue };
            // The watches are in the order of their descriptors.
            let mut rest = self.watches.as_slice();
            for word in 0..self.words {
                let mut bits = 0u64;
                let (here, later) = rest.split_at(rest.partition_point(|watch| watch.fd.0 as usize / 64 == word));
                rest = later;
                for watch in here {
                    // A set reports a descriptor only if it asked for it.
                    if watch.wanted.contains(events) && watch.found.intersects(events) {
                        bits |= 1 << (watch.fd.0 as usize % 64);
                    }
                }
                total += bits.count_ones() as usize;
                space.write_value(set.add(word), bits)?;
            }
        }
        Ok(total)
    }

    fn ask(&mut self, table: &mut PollTable<'_>) -> usize {
        let mut ready = 0;
        for watch in &mut self.watches {
            watch.ask(table);
            if watch.found.intersects(watch.wanted) {
                ready += 1;
                table.stop_registering();
            }
        }
        ready
    }
}

/// The mask argument of pselect6: a pointer to a pointer and a size.
fn select_mask(cx: &Context, argument: UserPtr<[u64; 2]>) -> Result<Option<SignalSet>> {
    let Some(argument) = argument.non_null() else { return Ok(None) };
    let [mask, size] = cx.thread.space().read_value(argument)?;
    temporary_mask(cx, UserPtr::new(mask), size as usize)
}

/// pselect6(2).
pub fn pselect6(
    cx: &mut Context,
    count: i32,
    readable: UserPtr<u64>,
    writable: UserPtr<u64>,
    exceptional: UserPtr<u64>,
    timeout: UserPtr<linux::__kernel_timespec>,
    mask: UserPtr<[u64; 2]>,
) -> Outcome {
    let run = || -> Result<Option<usize>> {
        let at_once = deadline(cx, timeout)? == Some(0);
        select_mask(cx, mask)?;
        let mut selection = Selection::read(cx, count, [readable, writable, exceptional])?;
        if selection.ask(&mut PollTable::query()) == 0 && !at_once {
            return Ok(None);
        }
        selection.write(cx).map(Some)
    };
    match run() {
        Ok(Some(ready)) => Outcome::Done(Ok(ready)),
        Ok(None) => Outcome::Block,
        Err(error) => Outcome::Done(Err(error)),
    }
}

/// pselect6(2): waits.
pub async fn pselect6_blocking(
    cx: &mut Context,
    count: i32,
    readable: UserPtr<u64>,
    writable: UserPtr<u64>,
    exceptional: UserPtr<u64>,
    timeout: UserPtr<linux::__kernel_timespec>,
    mask: UserPtr<[u64; 2]>,
) -> Result<usize> {
    let deadline = deadline(cx, timeout)?;
    let mask = select_mask(cx, mask)?;
    let mut selection = Selection::read(cx, count, [readable, writable, exceptional])?;
    let signals = cx.thread.signals().clone();
    if let Some(mask) = mask {
        signals.set_temporary_mask(mask);
    }
    let ready = poll::wait_for(|table| {
        let ready = selection.ask(table);
        (ready > 0).then_some(ready)
    });
    let result = interruptible(with_timeout(deadline, ready)).await;
    write_rest(cx, timeout, deadline);
    if result.is_err() {
        // The temporary mask stays until the signal is delivered under it.
        return Err(Errno::ERESTARTNOHAND);
    }
    signals.restore_mask();
    selection.write(cx)
}
