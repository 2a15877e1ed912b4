//! eventfd2(2).
#![forbid(unsafe_code)]

use libkernel::fs::eventfd::EventFd;
use libkernel::fs::{OpenFlags, anonymous};
use libkernel::{Errno, Result};
use linux_raw_sys::general as linux;

use super::Context;
use super::files::descriptor_limit;

/// eventfd2(2).
pub fn eventfd2(cx: &mut Context, count: u32, flags: u32) -> Result<usize> {
    if flags & !(linux::EFD_SEMAPHORE | linux::EFD_CLOEXEC | linux::EFD_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let event = EventFd::new(count, flags & linux::EFD_SEMAPHORE != 0);
    let mut open_flags = OpenFlags::READ_WRITE;
    open_flags.set(OpenFlags::NON_BLOCKING, flags & linux::EFD_NONBLOCK != 0);
    let file = anonymous::open(event, "anon_inode:[eventfd]", open_flags)?;
    let close_on_exec = flags & linux::EFD_CLOEXEC != 0;
    Ok(cx.thread.files().insert(file, close_on_exec, 0, descriptor_limit(cx))?.0 as usize)
}
