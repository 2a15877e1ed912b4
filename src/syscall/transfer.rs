//! From file to file inside the kernel: sendfile(2), copy_file_range(2), splice(2).
//!
//! Bytes go through a small buffer on the stack. A regular file is read at an offset that advances only by what was written, and a pipe is
//! read only when the other side is ready, so that nothing is lost where the target is slow.
#![forbid(unsafe_code)]

use libkernel::fs::{Fd, FileType, OpenFile};
use libkernel::io::{SliceSink, SliceSource};
use libkernel::memory::UserPtr;
use libkernel::poll::{self, PollEvents, PollTable};
use libkernel::task::{interruptible, yield_now};
use libkernel::{Errno, Result};

use super::files::{file, file_size_limit};
use super::outcome::calls_that_wait;
use super::{Context, Outcome};

/// What goes through the buffer at once: what a pipe takes or leaves whole.
const CHUNK: usize = 4096;

/// After this much, other tasks have their turn.
const TURN: usize = 256 * 1024;

/// One of the calls.
#[derive(Clone, Copy)]
struct Move {
    from: Fd,
    from_offset: UserPtr<i64>,
    to: Fd,
    to_offset: UserPtr<i64>,
    length: usize,
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
        let positional = from.positional();
        let mut sink = SliceSink::new(part);
        let count = if positional { from.file.read_at(from.place(), &mut sink)? } else { from.file.read(&mut sink)? };
        let bytes = buffer.get(..count).unwrap_or_default();
        let mut source = SliceSource::new(bytes);
        let limit = file_size_limit(&cx.thread);
        let written = match to.offset {
            _ if count == 0 => 0,
            Some(offset) => to.file.write_at(offset, limit, &mut source)?,
            None => to.file.write(limit, &mut source)?,
        };
        if positional {
            from.advance(written)?;
        }
        if let Some(offset) = &mut to.offset {
            *offset += written as u64;
        }
        Ok(written)
    }

    fn start(&self, cx: &mut Context) -> Outcome {
        let mut done = 0;
        match self.step(cx, &mut done) {
            Err(Errno::EAGAIN) if done == 0 => Outcome::Block,
            Err(error) if done == 0 => Outcome::Done(Err(error)),
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
                Ok(()) => yield_now().await,
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
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            }
        }
    }
}

/// sendfile(2): from a file with offsets.
fn sendfile_move(cx: &Context, to: Fd, from: Fd, offset: UserPtr<i64>, count: usize) -> Result<Move> {
    if file(cx, from)?.is_stream() {
        return Err(Errno::EINVAL);
    }
    Ok(Move { from, from_offset: offset, to, to_offset: UserPtr::NULL, length: count })
}

/// copy_file_range(2): between regular files.
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
    for fd in [from.0, to.0] {
        let file = file(cx, fd)?;
        match file.inode().attributes().kind() {
            FileType::Regular if file.object().is_none() => {}
            FileType::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(Move { from: from.0, from_offset: from.1, to: to.0, to_offset: to.1, length })
}

/// splice(2): one side has to be a pipe.
fn splice_move(cx: &Context, from: (Fd, UserPtr<i64>), to: (Fd, UserPtr<i64>), length: usize) -> Result<Move> {
    let is_pipe = |fd| -> Result<bool> { Ok(file(cx, fd)?.inode().attributes().kind() == FileType::Fifo) };
    if !is_pipe(from.0)? && !is_pipe(to.0)? {
        return Err(Errno::EINVAL);
    }
    Ok(Move { from: from.0, from_offset: from.1, to: to.0, to_offset: to.1, length })
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
        cx, from: Fd, from_offset: UserPtr<i64>, to: Fd, to_offset: UserPtr<i64>, length: usize, _flags: u32
    ) {
        splice_move(cx, (from, from_offset), (to, to_offset), length)
    }
}
