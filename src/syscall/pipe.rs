//! pipe2(2).
#![forbid(unsafe_code)]

use libkernel::fs::{OpenFlags, anonymous};
use libkernel::memory::UserPtr;
use libkernel::{Errno, Result};

use super::Context;
use super::files::descriptor_limit;

/// pipe2(2). There are no packets (`O_DIRECT`): it is refused, as by a Linux without them.
pub fn pipe2(cx: &mut Context, fds: UserPtr<[i32; 2]>, flags: u32) -> Result<usize> {
    let flags = OpenFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let known = OpenFlags::CLOSE_ON_EXEC | OpenFlags::NON_BLOCKING;
    if !known.contains(flags) {
        return Err(Errno::EINVAL);
    }
    let files = cx.thread.files();
    let ends = cx.thread.with_credentials(|credentials| anonymous::open_pipe(flags, credentials))?;
    let limit = descriptor_limit(cx);
    let (reader, writer) = files.insert_pair(ends, flags.contains(OpenFlags::CLOSE_ON_EXEC), limit)?;
    cx.thread.space().write_value(fds, [reader.0, writer.0]).inspect_err(|_| {
        // Nobody knows the descriptors.
        let _ = files.close(reader).and(files.close(writer));
    })?;
    Ok(0)
}
