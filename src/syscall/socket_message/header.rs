//! The header of a message: `struct msghdr` (sendmsg(2)), and where in it results are written.
#![forbid(unsafe_code)]

use libkernel::memory::{UserPtr, UserSlice};
use libkernel::{Errno, Result};

use super::Context;
use crate::syscall::control_message::Control;

/// The length of a `struct msghdr`.
pub const HEADER: usize = 56;

/// Where in it the parts are that are written.
pub const NAME_LENGTH: usize = 8;
pub const CONTROL_LENGTH: usize = 40;
pub const FLAGS: usize = 48;

/// The most buffers of a message, and messages of a call (`UIO_MAXIOV`).
pub const MOST: usize = 1024;

/// A `struct msghdr` as the program passed it.
pub struct Header {
    /// Where it is.
    pub at: UserPtr<u8>,
    /// The address to send to, or the room for the sender's.
    pub name: UserPtr<u8>,
    /// The length of the address.
    pub name_length: i32,
    /// The buffers.
    pub bytes: UserSlice,
    /// The control messages.
    pub control: Control,
}

impl Header {
    /// `EFAULT`, `EINVAL`, `EMSGSIZE`, `ENOBUFS`.
    pub fn read(cx: &Context, at: UserPtr<u8>) -> Result<Self> {
        let space = cx.thread.space();
        let [name, name_length, vector, count, control, control_length, _] =
            space.read_value(at.cast::<[u64; HEADER / 8]>())?;
        let name = UserPtr::new(name);
        let name_length = if name.is_null() { 0 } else { name_length as i32 };
        if name_length < 0 {
            return Err(Errno::EINVAL);
        }
        let count = usize::try_from(count).ok().filter(|count| *count <= MOST).ok_or(Errno::EMSGSIZE)?;
        let bytes = UserSlice::from_iovec(&space, UserPtr::new(vector), count)?;
        let length = i32::try_from(control_length).map_err(|_| Errno::ENOBUFS)? as usize;
        let control = Control { address: UserPtr::new(control), length };
        // Longer than any address is cut, as on Linux.
        Ok(Self { at, name, name_length: name_length.min(128), bytes, control })
    }
}
