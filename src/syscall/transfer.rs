//! From file to file inside the kernel: sendfile(2), copy_file_range(2), splice(2).
//!
//! Bytes go through a small buffer on the stack, and none gets lost: a regular file is read at an offset that advances only by what was
//! written, a pipe gives up only what was written, and any other stream is read into a pipe that has set room aside.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::fs::pipe::PipeEnd;
use libkernel::fs::{Fd, FileType, OpenFile, OpenFlags};
use libkernel::io::{SliceSink, SliceSource};
use libkernel::memory::UserPtr;
use libkernel::poll::{self, PollEvents, PollTable};
use libkernel::task::{interruptible, yield_now};
use libkernel::{Errno, Result};
use linux_raw_sys::general as linux;

use super::files::{file, file_size_limit};
use super::outcome::calls_that_wait;
use super::read_write::signal_for;
use super::{Context, Outcome};

/// What goes through the buffer at once: what a pipe takes or leaves whole.
const CHUNK: usize = 4096;

/// All flags of splice(2).
const SPLICE_FLAGS: u32 = linux::SPLICE_F_MOVE | linux::SPLICE_F_NONBLOCK | linux::SPLICE_F_MORE | linux::SPLICE_F_GIFT;

/// The most that one call moves (`MAX_RW_COUNT`).
const MOST: usize = 0x7fff_f000;

/// After this much, other tasks have their turn.
const TURN: usize = 256 * 1024;

/// One of the calls.
#[derive(Clone, Copy)]
struct Move {
    from: Fd,
    from_offset: UserPtr<i64>,
    to: Fd,
    to_offset: UserPtr<i64>,
    /// At most [`MOST`].
    length: usize,
    /// Whether it is not to wait (`SPLICE_F_NONBLOCK`).
    at_once: bool,
}

/// Where a side stands: at an offset of the call's own, or at the file's.
struct Side<'a> {
    file: &'a OpenFile,
    offset: Option<u64>,
}

impl Side<'_> {
    fn positional(&self) -> bool {
        !self.file.is_stream()
    }

    fn place(&self) -> u64 {
        self.offset.unwrap_or_else(|| self.file.offset())
    }

    fn advance(&mut self, count: usize) -> Result<()> {
        match &mut self.offset {
            Some(offset) => *offset += count as u64,
            None => {
                self.file.seek(count as i64, libkernel::fs::open_file::Whence::Current)?;
            }
        }
        Ok(())
    }
}

fn ready(file: &OpenFile, events: PollEvents) -> bool {
    file.poll(&mut PollTable::query()).intersects(events | PollEvents::ALWAYS)
}

impl Move {
    fn offset(cx: &Context, pointer: UserPtr<i64>) -> Result<Option<u64>> {
        let Some(pointer) = pointer.non_null() else { return Ok(None) };
        let value = cx.thread.space().read_value(pointer)?;
        u64::try_from(value).map(Some).map_err(|_| Errno::EINVAL)
    }

    /// Moves up to a turn; `EAGAIN` where a side is not ready.
    fn step(&self, cx: &Context, done: &mut usize) -> Result<()> {
        let (source, target) = (file(cx, self.from)?, file(cx, self.to)?);
        source.check_readable()?;
        target.check_writable()?;
        let mut from = Side { file: &source, offset: Self::offset(cx, self.from_offset)? };
        let mut to = Side { file: &target, offset: Self::offset(cx, self.to_offset)? };
        if (from.offset.is_some() && !from.positional()) || (to.offset.is_some() && !to.positional()) {
            return Err(Errno::ESPIPE);
        }
        let end = self.length.min(*done + TURN);
        let mut result = Ok(());
        while *done < end {
            match self.chunk(cx, &mut from, &mut to, (end - *done).min(CHUNK)) {
                Ok(0) => {
                    result = Ok(());
                    break;
                }
                Ok(count) => *done += count,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        let space = cx.thread.space();
        for (pointer, side) in [(self.from_offset, &from), (self.to_offset, &to)] {
            if let (Some(pointer), Some(offset)) = (pointer.non_null(), side.offset) {
                space.write_value(pointer, offset as i64)?;
            }
        }
        result
    }

    fn chunk(&self, cx: &Context, from: &mut Side<'_>, to: &mut Side<'_>, wanted: usize) -> Result<usize> {
        let mut buffer = [0; CHUNK];
        let part = buffer.get_mut(..wanted).ok_or(Errno::EINVAL)?;
        if !to.positional() && !ready(to.file, PollEvents::OUT) {
            return Err(Errno::EAGAIN);
        }
        let limit = file_size_limit(&cx.thread);
        let put = |bytes: &[u8]| {
            let mut source = SliceSource::new(bytes);
            match to.offset {
                _ if bytes.is_empty() => Ok(0),
                Some(offset) => to.file.write_at(offset, limit, &mut source),
                None => to.file.write(limit, &mut source),
            }
        };
        let written = if from.positional() {
            let count = from.file.read_at(from.place(), &mut SliceSink::new(part))?;
            let written = put(part.get(..count).unwrap_or_default())?;
            from.advance(written)?;
            written
        } else if let Some(end) = from.file.object_as::<PipeEnd>() {
            end.pipe().move_to(part, put)?
        } else {
            let target = to.file.object_as::<PipeEnd>().ok_or(Errno::EINVAL)?;
            target.pipe().move_from(part, |room| from.file.read(&mut SliceSink::new(room)))?
        };
        if let Some(offset) = &mut to.offset {
            *offset += written as u64;
        }
        Ok(written)
    }

    /// The error of a call that moved nothing, with the signal that a write would bring.
    fn failed(&self, cx: &Context, error: Errno) -> Errno {
        let signals = |file: &OpenFile| file.object().is_none_or(|object| object.signals_broken_pipe(0));
        if error != Errno::EPIPE || file(cx, self.to).is_ok_and(|target| signals(&target)) {
            signal_for(&cx.thread, error, 0);
        }
        error
    }

    fn start(&self, cx: &mut Context) -> Outcome {
        let mut done = 0;
        match self.step(cx, &mut done) {
            Err(Errno::EAGAIN) if done == 0 && !self.at_once => Outcome::Block,
            Err(error) if done == 0 => Outcome::Done(Err(self.failed(cx, error))),
            Ok(()) if done >= TURN && done < self.length => {
                cx.progress = done;
                Outcome::Block
            }
            _ => Outcome::Done(Ok(done)),
        }
    }

    async fn finish(self, cx: &mut Context) -> Result<usize> {
        let mut done = cx.progress;
        let (source, target) = (file(cx, self.from)?, file(cx, self.to)?);
        loop {
            let before = done;
            match self.step(cx, &mut done) {
                Ok(()) if done == before || done >= self.length => return Ok(done),
                Ok(()) if interruptible(yield_now()).await.is_err() => return Ok(done),
                Ok(()) => {}
                Err(Errno::EAGAIN) if done == 0 => {
                    if source.is_non_blocking() || target.is_non_blocking() {
                        return Err(Errno::EAGAIN);
                    }
                    let wait = poll::wait_for(|table| {
                        let readable = source.poll(table).intersects(PollEvents::IN | PollEvents::ALWAYS);
                        let writable = target.poll(table).intersects(PollEvents::OUT | PollEvents::ALWAYS);
                        (readable && writable).then_some(())
                    });
                    interruptible(wait).await.map_err(|_| Errno::ERESTARTSYS)?;
                }
                Err(error) if done == 0 => return Err(self.failed(cx, error)),
                Err(_) => return Ok(done),
            }
        }
    }
}

/// sendfile(2): from a file with offsets, and to no place but the present one.
fn sendfile_move(cx: &Context, to: Fd, from: Fd, offset: UserPtr<i64>, count: usize) -> Result<Move> {
    let target = file(cx, to)?;
    let appends = target.flags().contains(OpenFlags::APPEND) && !target.is_stream();
    if file(cx, from)?.is_stream() || appends {
        return Err(Errno::EINVAL);
    }
    Ok(Move { from, from_offset: offset, to, to_offset: UserPtr::NULL, length: count.min(MOST), at_once: false })
}

/// copy_file_range(2): between regular files, up to the end that the source has now.
fn copy_move(
    cx: &Context,
    from: (Fd, UserPtr<i64>),
    to: (Fd, UserPtr<i64>),
    length: usize,
    flags: u32,
) -> Result<Move> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let (source, target) = (file(cx, from.0)?, file(cx, to.0)?);
    let sides = [&source, &target];
    if sides.iter().any(|file| file.inode().attributes().kind() == FileType::Directory) {
        return Err(Errno::EISDIR);
    }
    if !sides.iter().all(|file| file.inode().attributes().kind() == FileType::Regular && file.object().is_none()) {
        return Err(Errno::EINVAL);
    }
    source.check_readable()?;
    target.check_writable()?;
    if target.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF);
    }
    let mut copy =
        Move { from: from.0, from_offset: from.1, to: to.0, to_offset: to.1, length: length.min(MOST), at_once: false };
    // What goes on has been checked when it began.
    if cx.progress == 0 {
        let first = Move::offset(cx, from.1)?.unwrap_or_else(|| source.offset());
        let second = Move::offset(cx, to.1)?.unwrap_or_else(|| target.offset());
        for place in [first, second] {
            place.checked_add(length as u64).ok_or(Errno::EOVERFLOW)?;
        }
        if Arc::ptr_eq(source.inode(), target.inode()) {
            // One turn at most: the copy may move the end of its own source.
            let count = (length as u64).min(source.inode().size().saturating_sub(first)).min(TURN as u64);
            if first < second.saturating_add(count) && second < first.saturating_add(count) {
                return Err(Errno::EINVAL);
            }
            copy.length = count as usize;
        }
    }
    Ok(copy)
}

/// splice(2): one side has to be a pipe, and not both the same.
fn splice_move(
    cx: &Context,
    from: (Fd, UserPtr<i64>),
    to: (Fd, UserPtr<i64>),
    length: usize,
    flags: u32,
) -> Result<Move> {
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let target = file(cx, to.0)?;
    match (file(cx, from.0)?.object_as::<PipeEnd>(), target.object_as::<PipeEnd>()) {
        (None, None) => return Err(Errno::EINVAL),
        (Some(reader), Some(writer)) if Arc::ptr_eq(reader.pipe(), writer.pipe()) => return Err(Errno::EINVAL),
        (Some(_), None) if target.flags().contains(OpenFlags::APPEND) => return Err(Errno::EINVAL),
        _ => {}
    }
    let at_once = flags & linux::SPLICE_F_NONBLOCK != 0;
    Ok(Move { from: from.0, from_offset: from.1, to: to.0, to_offset: to.1, length: length.min(MOST), at_once })
}

calls_that_wait! {
    /// sendfile(2).
    sendfile / sendfile_blocking(cx, to: Fd, from: Fd, offset: UserPtr<i64>, count: usize) {
        sendfile_move(cx, to, from, offset, count)
    }

    /// copy_file_range(2).
    copy_file_range / copy_file_range_blocking(
        cx, from: Fd, from_offset: UserPtr<i64>, to: Fd, to_offset: UserPtr<i64>, length: usize, flags: u32
    ) {
        copy_move(cx, (from, from_offset), (to, to_offset), length, flags)
    }

    /// splice(2).
    splice / splice_blocking(
        cx, from: Fd, from_offset: UserPtr<i64>, to: Fd, to_offset: UserPtr<i64>, length: usize, flags: u32
    ) {
        splice_move(cx, (from, from_offset), (to, to_offset), length, flags)
    }
}
