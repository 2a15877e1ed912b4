//! The devices of major number 1: null, zero, full, random and urandom, kmsg (null(4), full(4), random(4)).
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::caller::Caller;
use super::device::{self, CharDevice};
use super::file_object::{FileObject, UserAccess};
use super::inode::Inode;
use super::metadata::DeviceId;
use super::open_file::MAX_TRANSFER;
use super::open_flags::OpenFlags;
use super::tmpfs::Tmpfs;
use crate::io::{IoSink, IoSource};
use crate::memory::PageSource;
use crate::poll::{PollEvents, PollTable};
use crate::{Errno, Result, random};

const MAJOR: u32 = 1;

/// `RNDGETENTCNT` of random(4): `_IOR('R', 0, int)`.
const GET_ENTROPY_COUNT: u32 = 0x8004_5200;

/// The length of a line that can be written to the kernel's log.
const LOG_LINE: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Zero,
    Full,
    Random,
    Log,
}

struct MemoryDevice {
    kind: Kind,
    log: fn(&[u8]),
}

/// The driver of them all.
struct Driver {
    log: fn(&[u8]),
}

/// Registers the devices. `log` takes the lines that are written to `/dev/kmsg`.
pub fn register(log: fn(&[u8])) {
    device::register(DeviceId::new(MAJOR, 0), 256, "mem", Arc::new(Driver { log }));
}

impl CharDevice for Driver {
    fn open(&self, device: DeviceId, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Arc<dyn FileObject>> {
        let kind = match device.minor {
            3 => Kind::Null,
            5 => Kind::Zero,
            7 => Kind::Full,
            8 | 9 => Kind::Random,
            11 => Kind::Log,
            _ => return Err(Errno::ENXIO),
        };
        Ok(Arc::new(MemoryDevice { kind, log: self.log }))
    }
}

/// Hands all of a source to `each`, a piece at a time; returns how many bytes there were.
fn consume(source: &mut dyn IoSource, limit: usize, mut each: impl FnMut(&[u8])) -> Result<usize> {
    let mut buffer = [0; 256];
    let mut done = 0;
    let wanted = source.remaining().min(limit);
    while done < wanted {
        let Some(piece) = buffer.get_mut(..(wanted - done).min(256)) else { break };
        let length = piece.len();
        let count = source.take(piece);
        each(piece.get(..count).unwrap_or_default());
        done += count;
        if count < length {
            break;
        }
    }
    if done == 0 && wanted > 0 { Err(Errno::EFAULT) } else { Ok(done) }
}

fn read_random(sink: &mut dyn IoSink) -> Result<usize> {
    let wanted = sink.remaining().min(MAX_TRANSFER / 4);
    let mut buffer = [0; 256];
    let mut done = 0;
    while done < wanted {
        let Some(piece) = buffer.get_mut(..(wanted - done).min(256)) else { break };
        random::fill(piece);
        let count = sink.put(piece);
        done += count;
        if count < piece.len() {
            break;
        }
    }
    if done == 0 && wanted > 0 { Err(Errno::EFAULT) } else { Ok(done) }
}

impl FileObject for MemoryDevice {
    fn is_positional(&self) -> bool {
        self.kind != Kind::Log
    }

    fn read_at(&self, _offset: u64, sink: &mut dyn IoSink) -> Result<usize> {
        match self.kind {
            Kind::Null => Ok(0),
            Kind::Random => read_random(sink),
            _ => {
                let wanted = sink.remaining().min(MAX_TRANSFER);
                let count = sink.put_zeros(wanted);
                if count == 0 && wanted > 0 { Err(Errno::EFAULT) } else { Ok(count) }
            }
        }
    }

    fn write_at(&self, _offset: u64, source: &mut dyn IoSource) -> Result<usize> {
        match self.kind {
            Kind::Full if source.remaining() > 0 => Err(Errno::ENOSPC),
            Kind::Random => consume(source, MAX_TRANSFER / 4, random::stir),
            _ => Ok(source.remaining()),
        }
    }

    /// What the kernel logged is not kept for reading.
    fn read(&self, _sink: &mut dyn IoSink) -> Result<usize> {
        Err(Errno::EAGAIN)
    }

    fn write(&self, source: &mut dyn IoSource) -> Result<usize> {
        if source.remaining() > LOG_LINE {
            return Err(Errno::EINVAL);
        }
        let mut line = [0; LOG_LINE];
        let mut length = 0;
        let count = consume(source, LOG_LINE, |piece| {
            for (to, from) in line.iter_mut().skip(length).zip(piece) {
                *to = *from;
            }
            length += piece.len();
        })?;
        (self.log)(line.get(..length).unwrap_or_default());
        Ok(count)
    }

    fn poll(&self, _table: &mut PollTable<'_>) -> PollEvents {
        if self.kind == Kind::Log { PollEvents::WRITABLE } else { PollEvents::READABLE | PollEvents::WRITABLE }
    }

    fn knows_no_wait(&self) -> bool {
        matches!(self.kind, Kind::Null | Kind::Zero | Kind::Random)
    }

    fn ioctl(&self, request: u32, argument: usize, user: &dyn UserAccess, _caller: &Caller<'_>) -> Result<usize> {
        if self.kind != Kind::Random || request != GET_ENTROPY_COUNT {
            return Err(Errno::ENOTTY);
        }
        user.write(argument, &256i32.to_ne_bytes())?;
        Ok(0)
    }

    fn page_source(&self) -> Option<Arc<dyn PageSource>> {
        if self.kind != Kind::Zero {
            return None;
        }
        let memory = Tmpfs::new("tmpfs", u64::MAX, 2).unnamed_file(0o600, 0, 0).ok()?;
        memory.truncate(i64::MAX as u64).ok()?;
        Some(memory)
    }
}
