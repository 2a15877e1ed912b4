//! Error numbers with their names, so that a failing test can be read.

use core::fmt;

/// A Linux error number, positive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// The outcome of a system call.
pub type Result<T> = core::result::Result<T, Errno>;

impl Errno {
    /// Splits what the kernel returned in `x0` into value and error: errors are -4095 to -1.
    pub fn from_raw(value: isize) -> Result<usize> {
        if (-4095..0).contains(&value) { Err(Self(-value as i32)) } else { Ok(value as usize) }
    }

    /// The C library's `errno` of this thread, after one of its functions failed.
    pub fn last() -> Self {
        // SAFETY: the C library returns the address of this thread's errno.
        Self(unsafe { *libc::__errno_location() })
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

macro_rules! names {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

const NAMES: &[(i32, &str)] = names! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT
    ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG
    ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY
    ELOOP ENODATA ETIME EOVERFLOW EBADMSG EILSEQ EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE
    EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT
    EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ECONNABORTED ECONNRESET ENOBUFS EISCONN
    ENOTCONN ESHUTDOWN ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE
    EDQUOT ECANCELED EOWNERDEAD ENOTRECOVERABLE
};
