//! Copying between the memories of processes: process_vm_readv(2), process_vm_writev(2).
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use alloc::vec::Vec;

use libkernel::memory::{AddressSpace, UserPtr};
use libkernel::process::{Pid, table};
use libkernel::{Errno, Result};
use linux_raw_sys::general::{UIO_MAXIOV, iovec};

use super::{Context, Outcome};
use crate::task::cond_resched;

/// How much is copied at once, in bytes, through the kernel's stack.
const PIECE: usize = 1024;

/// A stretch of somebody's memory.
#[derive(Clone, Copy)]
struct Stretch {
    address: u64,
    length: u64,
}

/// Reads a vector of stretches, whose addresses may be anybody's.
fn stretches(space: &AddressSpace, vector: UserPtr<iovec>, count: usize) -> Result<Vec<Stretch>> {
    if count > UIO_MAXIOV as usize {
        return Err(Errno::EINVAL);
    }
    let mut list = Vec::new();
    list.try_reserve_exact(count)?;
    let mut total = 0u64;
    for index in 0..count {
        let [address, length] = space.read_value(vector.add(index).cast::<[u64; 2]>())?;
        total = total.checked_add(length).filter(|total| i64::try_from(*total).is_ok()).ok_or(Errno::EINVAL)?;
        list.push(Stretch { address, length });
    }
    Ok(list)
}

/// Both sides of a copy.
struct Copy {
    own: Vec<Stretch>,
    theirs: Vec<Stretch>,
    space: Arc<AddressSpace>,
}

impl Copy {
    fn prepare(
        cx: &Context,
        pid: i32,
        own: (UserPtr<iovec>, usize),
        theirs: (UserPtr<iovec>, usize),
        flags: u64,
    ) -> Result<Self> {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        let here = cx.thread.space();
        let own = stretches(&here, own.0, own.1)?;
        let theirs = stretches(&here, theirs.0, theirs.1)?;
        let target = Pid::new(pid).and_then(table::thread).ok_or(Errno::ESRCH)?;
        let allowed = Arc::ptr_eq(target.process(), cx.thread.process()) || {
            let theirs = target.credentials();
            cx.thread.with_credentials(|mine| mine.may_inspect(&theirs, target.process().dumpable()))
        };
        if !allowed {
            return Err(Errno::EPERM);
        }
        Ok(Self { own, theirs, space: target.space() })
    }

    /// Copies piece by piece until one side is used up or a piece cannot be accessed; returns the bytes copied. `EFAULT` if there are
    /// none because of that.
    async fn run(
        self,
        cx: &Context,
        piece: impl Fn(&AddressSpace, u64, &AddressSpace, u64, usize) -> usize,
    ) -> Result<usize> {
        let (mut own, mut theirs) = (self.own.into_iter(), self.theirs.into_iter());
        let nothing = Stretch { address: 0, length: 0 };
        let (mut mine, mut other) = (nothing, nothing);
        let mut done = 0;
        loop {
            while mine.length == 0 {
                let Some(next) = own.next() else { return Ok(done) };
                mine = next;
            }
            while other.length == 0 {
                let Some(next) = theirs.next() else { return Ok(done) };
                other = next;
            }
            let wanted = mine.length.min(other.length).min(PIECE as u64) as usize;
            let copied = piece(&cx.thread.space(), mine.address, &self.space, other.address, wanted);
            done += copied;
            for side in [&mut mine, &mut other] {
                side.address = side.address.wrapping_add(copied as u64);
                side.length -= copied as u64;
            }
            if copied < wanted {
                return if done == 0 { Err(Errno::EFAULT) } else { Ok(done) };
            }
            cond_resched().await;
        }
    }
}

/// process_vm_readv(2).
pub fn process_vm_readv(
    _cx: &mut Context,
    _pid: i32,
    _own: UserPtr<iovec>,
    _own_count: usize,
    _theirs: UserPtr<iovec>,
    _their_count: usize,
    _flags: u64,
) -> Outcome {
    Outcome::Block
}

/// The whole of process_vm_readv(2), which lets others run in between.
pub async fn process_vm_readv_blocking(
    cx: &mut Context,
    pid: i32,
    own: UserPtr<iovec>,
    own_count: usize,
    theirs: UserPtr<iovec>,
    their_count: usize,
    flags: u64,
) -> Result<usize> {
    let copy = Copy::prepare(cx, pid, (own, own_count), (theirs, their_count), flags)?;
    copy.run(cx, |here, to, there, from, length| {
        let mut bytes = [0; PIECE];
        let Some(bytes) = bytes.get_mut(..length) else { return 0 };
        let found = there.read_remote(from, bytes).unwrap_or(0);
        here.write_remote(to, bytes.get(..found).unwrap_or_default()).unwrap_or(0)
    })
    .await
}

/// process_vm_writev(2).
pub fn process_vm_writev(
    _cx: &mut Context,
    _pid: i32,
    _own: UserPtr<iovec>,
    _own_count: usize,
    _theirs: UserPtr<iovec>,
    _their_count: usize,
    _flags: u64,
) -> Outcome {
    Outcome::Block
}

/// The whole of process_vm_writev(2), which lets others run in between.
pub async fn process_vm_writev_blocking(
    cx: &mut Context,
    pid: i32,
    own: UserPtr<iovec>,
    own_count: usize,
    theirs: UserPtr<iovec>,
    their_count: usize,
    flags: u64,
) -> Result<usize> {
    let copy = Copy::prepare(cx, pid, (own, own_count), (theirs, their_count), flags)?;
    copy.run(cx, |here, from, there, to, length| {
        let mut bytes = [0; PIECE];
        let Some(bytes) = bytes.get_mut(..length) else { return 0 };
        let found = here.read_remote(from, bytes).unwrap_or(0);
        there.write_remote(to, bytes.get(..found).unwrap_or_default()).unwrap_or(0)
    })
    .await
}
