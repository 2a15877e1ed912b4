//! Reading and writing: read(2), write(2) and all their relatives.
//!
//! One engine serves them all. It tries; makes user pages present where a copy faulted, and tries again; and waits for what the file is
//! not ready for. A call with one buffer that has to wait leaves itself in the context as it is, and goes on from there; one with a
//! vector notes how far it came. So no byte is moved twice.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;

use libkernel::fs::{Fd, OpenFile, open_file::MAX_TRANSFER};
use libkernel::machine;
use libkernel::memory::{UserBuffer, UserBytes, UserPtr, UserSlice};
use libkernel::poll::{self, PollTable};
use libkernel::process::Thread;
use libkernel::signal::Signal;
use libkernel::task::{interruptible, yield_now};
use libkernel::time::with_timeout;
use libkernel::{Errno, Result};
use linux_raw_sys::general::{self as linux, iovec};

use super::files::{file, file_size_limit};
use super::outcome::partial;
use super::{Context, Outcome};

/// `RWF_NOAPPEND` of pwritev2(2), which the library of constants does not know yet.
const NO_APPEND: u32 = 0x20;

/// Which way a call goes, and where in the file: at its own offset, or at one of the call's.
#[derive(Clone, Copy)]
enum Call {
    Read,
    Write,
    ReadAt(u64),
    WriteAt(u64),
    /// As these two, but to the end of the file just where `append` says so, whatever `O_APPEND` says.
    WriteAs {
        append: bool,
    },
    WriteAtAs {
        position: u64,
        append: bool,
    },
}

impl Call {
    /// Whether `length` bytes end where a file may end.
    #[inline]
    fn fits(self, length: usize) -> bool {
        match self {
            Self::Read | Self::Write | Self::WriteAs { .. } => true,
            Self::ReadAt(position) | Self::WriteAt(position) | Self::WriteAtAs { position, .. } => {
                position.saturating_add(length as u64) <= i64::MAX as u64
            }
        }
    }
}

/// What one try came to.
enum Step {
    Done(Result<usize>),
    /// There is more to move, but this core should look for other work first.
    Again,
    /// The file is not ready.
    Wait,
}

/// A call under way.
pub struct Transfer<B> {
    file: Arc<OpenFile>,
    work: Work<B>,
}

/// What a call has to do, and has done.
struct Work<B> {
    call: Call,
    bytes: B,
    /// How many bytes were moved.
    done: usize,
}

impl<B: UserBytes> Work<B> {
    #[inline]
    fn reads(&self) -> bool {
        matches!(self.call, Call::Read | Call::ReadAt(_))
    }

    #[inline(always)]
    fn attempt(&mut self, thread: &Thread, file: &OpenFile) -> Result<usize> {
        let (bytes, done) = (&mut self.bytes, self.done as u64);
        match self.call {
            Call::Read => file.read(bytes),
            Call::Write if file.is_stream() => file.write(u64::MAX, bytes),
            Call::Write => file.write(limit(thread, file), bytes),
            Call::ReadAt(position) => file.read_at(position.saturating_add(done), bytes),
            Call::WriteAt(position) => file.write_at(position.saturating_add(done), limit(thread, file), bytes),
            Call::WriteAs { append } => file.write_or_append(None, append, limit(thread, file), bytes),
            Call::WriteAtAs { position, append } => {
                file.write_or_append(Some(position.saturating_add(done)), append, limit(thread, file), bytes)
            }
        }
    }

    /// Moves bytes as far as that needs no waiting.
    #[inline(always)]
    fn step(&mut self, thread: &Thread, file: &OpenFile) -> Step {
        let wanted = self.bytes.left();
        match self.attempt(thread, file) {
            Ok(count) if count >= wanted => {
                self.done += count;
                Step::Done(Ok(self.done))
            }
            Err(Errno::EAGAIN) if self.done == 0 && !file.is_non_blocking() => {
                // The object may have looked at the bytes before it found that it has no room.
                self.bytes.seek(0);
                Step::Wait
            }
            outcome => self.go_on(outcome, thread, file),
        }
    }

    /// As [`step`](Self::step), after an attempt that did not move everything.
    #[inline(never)]
    fn go_on(&mut self, mut outcome: Result<usize>, thread: &Thread, file: &OpenFile) -> Step {
        loop {
            if let Some(step) = self.judge(outcome, thread, file) {
                return step;
            }
            let wanted = self.bytes.left();
            outcome = match self.attempt(thread, file) {
                Ok(count) if count >= wanted => {
                    self.done += count;
                    return Step::Done(Ok(self.done));
                }
                outcome => outcome,
            };
        }
    }

    /// What an attempt that did not move everything means; `None`: try once more.
    fn judge(&mut self, outcome: Result<usize>, thread: &Thread, file: &OpenFile) -> Option<Step> {
        let done = self.done;
        match outcome {
            Ok(count) => {
                self.done += count;
                if count == 0 {
                    return Some(Step::Done(Ok(self.done)));
                }
                if self.bytes.faulted() {
                    let resolved = self.bytes.resolve(&thread.space());
                    self.bytes.seek(self.done);
                    return resolved.is_err().then_some(Step::Done(Ok(self.done)));
                }
                // The object may have looked at more than it took.
                self.bytes.seek(self.done);
                let short = file.object().is_none() && count < MAX_TRANSFER;
                if short || (file.is_stream() && self.reads()) {
                    return Some(Step::Done(Ok(self.done)));
                }
                (!file.is_stream()).then_some(Step::Again)
            }
            Err(Errno::EAGAIN) if file.is_non_blocking() => Some(Step::Done(partial(done, Errno::EAGAIN))),
            Err(Errno::EAGAIN) if done > 0 && self.reads() => Some(Step::Done(Ok(done))),
            Err(Errno::EAGAIN) => {
                self.bytes.seek(done);
                Some(Step::Wait)
            }
            Err(Errno::EFAULT) if self.bytes.faulted() => match self.bytes.resolve(&thread.space()) {
                Ok(()) => {
                    self.bytes.seek(done);
                    None
                }
                Err(error) => Some(Step::Done(partial(done, error))),
            },
            Err(error) => {
                if error != Errno::EPIPE || file.object().is_none_or(|object| object.signals_broken_pipe(done)) {
                    signal_for(thread, error, done);
                }
                Some(Step::Done(partial(done, error)))
            }
        }
    }

    #[inline(never)]
    fn retry(&mut self, thread: &Thread, file: &OpenFile) -> Option<Step> {
        match self.step(thread, file) {
            Step::Wait => None,
            step => Some(step),
        }
    }
}

impl<B: UserBytes> Transfer<B> {
    /// The waiting part: goes on where the synchronous part came to.
    async fn finish(&mut self, thread: &Thread) -> Result<usize> {
        let Self { file, work } = self;
        let reads = work.reads();
        loop {
            let step = match file.wait_queue(reads) {
                Some(queue) => {
                    let attempt = |woken: bool| {
                        if !woken && file.would_block(reads) { None } else { work.retry(thread, file) }
                    };
                    interruptible(queue.retry(attempt, || !file.would_block(reads))).await
                }
                None => {
                    if let Some(timeout) = file.object().and_then(|object| object.timeout(reads)) {
                        return Box::pin(Self::finish_within(timeout, file, work, thread)).await;
                    }
                    let wait = poll::wait_for(|table: &mut PollTable<'_>| {
                        file.poll(table);
                        work.retry(thread, file)
                    });
                    interruptible(wait).await
                }
            };
            match step {
                Ok(Step::Done(result)) => return result,
                Ok(_) => yield_now().await,
                Err(_) => return partial(work.done, Errno::ERESTARTSYS),
            }
        }
    }
}

impl<B: UserBytes> Transfer<B> {
    /// The waiting part, for a file that waits so many nanoseconds at most. Few do; its future has a place of its own.
    async fn finish_within(timeout: u64, file: &OpenFile, work: &mut Work<B>, thread: &Thread) -> Result<usize> {
        let deadline = machine::monotonic_ns().saturating_add(timeout);
        loop {
            let wait = poll::wait_for(|table: &mut PollTable<'_>| {
                file.poll(table);
                work.retry(thread, file)
            });
            match interruptible(with_timeout(Some(deadline), wait)).await {
                Ok(Ok(Step::Done(result))) => return result,
                Ok(Ok(_)) => yield_now().await,
                Ok(Err(_)) => return partial(work.done, Errno::EAGAIN),
                // The time would begin anew if the call were made again (signal(7)).
                Err(_) => return partial(work.done, Errno::EINTR),
            }
        }
    }
}

/// The waiting part of a call that left its transfer in the context.
pub async fn resume(thread: &Thread, transfer: &mut Transfer<UserBuffer>) -> Result<usize> {
    transfer.finish(thread).await
}

/// A call with one buffer: the synchronous part. The transfer stands in the context, where the waiting part finds it.
#[inline(always)]
fn start(cx: &mut Context, fd: Fd, call: Call, address: UserPtr<u8>, length: usize) -> Outcome {
    let file = match file(cx, fd) {
        Ok(file) => file,
        Err(error) => return Outcome::Done(Err(error)),
    };
    let bytes = match UserBuffer::new(address, length) {
        Ok(bytes) => bytes,
        Err(error) => return Outcome::Done(Err(error)),
    };
    if !call.fits(length) {
        return Outcome::Done(Err(Errno::EINVAL));
    }
    let transfer = cx.transfer.insert(Transfer { file, work: Work { call, bytes, done: 0 } });
    match transfer.work.step(&cx.thread, &transfer.file) {
        Step::Done(result) => {
            cx.transfer = None;
            Outcome::Done(result)
        }
        Step::Again | Step::Wait => Outcome::Block,
    }
}

/// A call with a vector of buffers, at its beginning.
fn vector_transfer(
    cx: &Context,
    fd: Fd,
    call: Call,
    vector: UserPtr<iovec>,
    count: usize,
    flags: u32,
) -> Result<Transfer<UserSlice>> {
    let file = file(cx, fd)?;
    let bytes = UserSlice::from_iovec(&cx.thread.space(), vector, count)?;
    if !call.fits(bytes.left()) {
        return Err(Errno::EINVAL);
    }
    if flags != 0 && bytes.left() > 0 {
        check_flags(&file, flags)?;
    }
    Ok(Transfer { file, work: Work { call, bytes, done: 0 } })
}

/// A call with a vector of buffers: the synchronous part.
fn start_vector(cx: &mut Context, fd: Fd, call: Call, vector: UserPtr<iovec>, count: usize, flags: u32) -> Outcome {
    let mut transfer = match vector_transfer(cx, fd, call, vector, count, flags) {
        Ok(transfer) => transfer,
        Err(error) => return Outcome::Done(Err(error)),
    };
    match transfer.work.step(&cx.thread, &transfer.file) {
        Step::Done(result) => Outcome::Done(result),
        Step::Again | Step::Wait if flags & linux::RWF_NOWAIT != 0 => {
            Outcome::Done(partial(transfer.work.done, Errno::EAGAIN))
        }
        Step::Again | Step::Wait => {
            cx.progress = transfer.work.done;
            Outcome::Block
        }
    }
}

/// A call with a vector of buffers: the waiting part.
async fn finish_vector(
    cx: &mut Context,
    fd: Fd,
    call: Call,
    vector: UserPtr<iovec>,
    count: usize,
    flags: u32,
) -> Result<usize> {
    let mut transfer = vector_transfer(cx, fd, call, vector, count, flags)?;
    transfer.work.done = cx.progress;
    transfer.work.bytes.seek(cx.progress);
    transfer.finish(&cx.thread).await
}

/// Only what is written to regular files has a size to limit.
fn limit(thread: &Thread, file: &OpenFile) -> u64 {
    if file.object().is_none() { file_size_limit(thread) } else { u64::MAX }
}

/// The signals that come with some errors of writing.
pub(super) fn signal_for(thread: &Thread, error: Errno, done: usize) {
    match error {
        Errno::EPIPE => thread.signals().send_kernel(Signal::PIPE),
        // Beyond what any file can have, there is only the error.
        Errno::EFBIG if done == 0 && file_size_limit(thread) < i64::MAX as u64 => {
            thread.signals().send_kernel(Signal::XFSZ)
        }
        _ => {}
    }
}

fn at(offset: i64) -> Result<u64> {
    u64::try_from(offset).map_err(|_| Errno::EINVAL)
}

/// The offset of preadv2(2); `None` is the file's own.
fn at_or_own(offset: i64) -> Result<Option<u64>> {
    if offset == -1 { Ok(None) } else { at(offset).map(Some) }
}

fn read_call(offset: i64) -> Result<Call> {
    Ok(at_or_own(offset)?.map_or(Call::Read, Call::ReadAt))
}

fn write_call(offset: i64, flags: u32) -> Result<Call> {
    let append = match flags & (linux::RWF_APPEND | NO_APPEND) {
        0 => None,
        flag => Some(flag == linux::RWF_APPEND),
    };
    Ok(match (at_or_own(offset)?, append) {
        (None, None) => Call::Write,
        (Some(position), None) => Call::WriteAt(position),
        (None, Some(append)) => Call::WriteAs { append },
        (Some(position), Some(append)) => Call::WriteAtAs { position, append },
    })
}

/// The flags of preadv2(2). Nothing here polls a device or has to be brought to a disk.
fn check_flags(file: &OpenFile, flags: u32) -> Result<()> {
    const KNOWN: u32 =
        linux::RWF_HIPRI | linux::RWF_DSYNC | linux::RWF_SYNC | linux::RWF_NOWAIT | linux::RWF_APPEND | NO_APPEND;
    if flags & !KNOWN != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags & linux::RWF_APPEND != 0 && flags & NO_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & linux::RWF_NOWAIT != 0 && !file.knows_no_wait() {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(())
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident ($($argument:ident: $type:ty),*): $call:expr;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(cx: &mut Context, fd: Fd, buffer: UserPtr<u8>, length: usize $(, $argument: $type)*) -> Outcome {
                match $call {
                    Ok(call) => start(cx, fd, call, buffer, length),
                    Err(error) => Outcome::Done(Err(error)),
                }
            }
        )*
    };
}

calls! {
    /// read(2).
    read(): Ok::<_, Errno>(Call::Read);
    /// write(2).
    write(): Ok::<_, Errno>(Call::Write);
    /// pread(2).
    pread64(offset: i64): at(offset).map(Call::ReadAt);
    /// pwrite(2).
    pwrite64(offset: i64): at(offset).map(Call::WriteAt);
}

macro_rules! vector_calls {
    ($($(#[$doc:meta])* $name:ident / $blocking:ident ($($argument:ident: $type:ty),*): $call:expr, $flags:expr;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(cx: &mut Context, fd: Fd, vector: UserPtr<iovec>, count: usize $(, $argument: $type)*) -> Outcome {
                match $call {
                    Ok(call) => start_vector(cx, fd, call, vector, count, $flags),
                    Err(error) => Outcome::Done(Err(error)),
                }
            }

            $(#[$doc])*
            pub async fn $blocking(
                cx: &mut Context,
                fd: Fd,
                vector: UserPtr<iovec>,
                count: usize
                $(, $argument: $type)*
            ) -> Result<usize> {
                let call = $call?;
                finish_vector(cx, fd, call, vector, count, $flags).await
            }
        )*
    };
}

vector_calls! {
    /// readv(2).
    readv / readv_blocking(): Ok::<_, Errno>(Call::Read), 0;
    /// writev(2).
    writev / writev_blocking(): Ok::<_, Errno>(Call::Write), 0;
    /// preadv(2).
    preadv / preadv_blocking(offset: i64): at(offset).map(Call::ReadAt), 0;
    /// pwritev(2).
    pwritev / pwritev_blocking(offset: i64): at(offset).map(Call::WriteAt), 0;
    /// preadv2(2).
    preadv2 / preadv2_blocking(offset: i64, _high: usize, flags: u32): read_call(offset), flags;
    /// pwritev2(2).
    pwritev2 / pwritev2_blocking(offset: i64, _high: usize, flags: u32): write_call(offset, flags), flags;
}
