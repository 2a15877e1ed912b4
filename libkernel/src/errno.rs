//! Linux's error numbers, as every fallible operation of the kernel returns them.
#![forbid(unsafe_code)]

use core::fmt;

/// An error number as user space sees it (negated), or one of the kernel's own restart codes, which the way back to
/// user space turns into a restarted call or `EINTR` (see signal(7), "Interruption of system calls").
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

/// The result of an operation that fails with a Linux error number.
pub type Result<T, E = Errno> = core::result::Result<T, E>;

macro_rules! errors {
    ($($name:ident = $value:expr, $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Self = Self($value as u16);)*

            /// The constant's name, for logs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    _ => "unknown error",
                }
            }
        }
    };
}

use linux_raw_sys::errno as linux;

errors! {
    EPERM = linux::EPERM, "Operation not permitted";
    ENOENT = linux::ENOENT, "No such file or directory";
    ESRCH = linux::ESRCH, "No such process";
    EINTR = linux::EINTR, "Interrupted system call";
    EIO = linux::EIO, "Input/output error";
    ENXIO = linux::ENXIO, "No such device or address";
    E2BIG = linux::E2BIG, "Argument list too long";
    ENOEXEC = linux::ENOEXEC, "Exec format error";
    EBADF = linux::EBADF, "Bad file descriptor";
    ECHILD = linux::ECHILD, "No child processes";
    EAGAIN = linux::EAGAIN, "Resource temporarily unavailable";
    ENOMEM = linux::ENOMEM, "Cannot allocate memory";
    EACCES = linux::EACCES, "Permission denied";
    EFAULT = linux::EFAULT, "Bad address";
    ENOTBLK = linux::ENOTBLK, "Block device required";
    EBUSY = linux::EBUSY, "Device or resource busy";
    EEXIST = linux::EEXIST, "File exists";
    EXDEV = linux::EXDEV, "Invalid cross-device link";
    ENODEV = linux::ENODEV, "No such device";
    ENOTDIR = linux::ENOTDIR, "Not a directory";
    EISDIR = linux::EISDIR, "Is a directory";
    EINVAL = linux::EINVAL, "Invalid argument";
    ENFILE = linux::ENFILE, "Too many open files in system";
    EMFILE = linux::EMFILE, "Too many open files";
    ENOTTY = linux::ENOTTY, "Inappropriate ioctl for device";
    ETXTBSY = linux::ETXTBSY, "Text file busy";
    EFBIG = linux::EFBIG, "File too large";
    ENOSPC = linux::ENOSPC, "No space left on device";
    ESPIPE = linux::ESPIPE, "Illegal seek";
    EROFS = linux::EROFS, "Read-only file system";
    EMLINK = linux::EMLINK, "Too many links";
    EPIPE = linux::EPIPE, "Broken pipe";
    EDOM = linux::EDOM, "Numerical argument out of domain";
    ERANGE = linux::ERANGE, "Numerical result out of range";
    EDEADLK = linux::EDEADLK, "Resource deadlock avoided";
    ENAMETOOLONG = linux::ENAMETOOLONG, "File name too long";
    ENOLCK = linux::ENOLCK, "No locks available";
    ENOSYS = linux::ENOSYS, "Function not implemented";
    ENOTEMPTY = linux::ENOTEMPTY, "Directory not empty";
    ELOOP = linux::ELOOP, "Too many levels of symbolic links";
    ENODATA = linux::ENODATA, "No data available";
    ETIME = linux::ETIME, "Timer expired";
    EOVERFLOW = linux::EOVERFLOW, "Value too large for defined data type";
    EILSEQ = linux::EILSEQ, "Invalid or incomplete multibyte or wide character";
    ELIBBAD = linux::ELIBBAD, "Accessing a corrupted shared library";
    EUSERS = linux::EUSERS, "Too many users";
    ENOTSOCK = linux::ENOTSOCK, "Socket operation on non-socket";
    EOPNOTSUPP = linux::EOPNOTSUPP, "Operation not supported";
    EDESTADDRREQ = linux::EDESTADDRREQ, "Destination address required";
    EMSGSIZE = linux::EMSGSIZE, "Message too long";
    EPROTOTYPE = linux::EPROTOTYPE, "Protocol wrong type for socket";
    ENOPROTOOPT = linux::ENOPROTOOPT, "Protocol not available";
    EPROTONOSUPPORT = linux::EPROTONOSUPPORT, "Protocol not supported";
    ESOCKTNOSUPPORT = linux::ESOCKTNOSUPPORT, "Socket type not supported";
    EAFNOSUPPORT = linux::EAFNOSUPPORT, "Address family not supported by protocol";
    EADDRINUSE = linux::EADDRINUSE, "Address already in use";
    ECONNREFUSED = linux::ECONNREFUSED, "Connection refused";
    ECONNRESET = linux::ECONNRESET, "Connection reset by peer";
    ENOBUFS = linux::ENOBUFS, "No buffer space available";
    EISCONN = linux::EISCONN, "Transport endpoint is already connected";
    ENOTCONN = linux::ENOTCONN, "Transport endpoint is not connected";
    ETOOMANYREFS = linux::ETOOMANYREFS, "Too many references: cannot splice";
    ETIMEDOUT = linux::ETIMEDOUT, "Connection timed out";
    EALREADY = linux::EALREADY, "Operation already in progress";
    EINPROGRESS = linux::EINPROGRESS, "Operation now in progress";
    ECANCELED = linux::ECANCELED, "Operation canceled";
    EOWNERDEAD = linux::EOWNERDEAD, "Owner died";
    ENOTRECOVERABLE = linux::ENOTRECOVERABLE, "State not recoverable";
    ERESTARTSYS = 512, "Restart the call, or `EINTR` where the handler was installed without `SA_RESTART`";
    ERESTARTNOINTR = 513, "Always restart the call";
    ERESTARTNOHAND = 514, "Restart the call if no handler runs, else `EINTR`";
    ERESTART_RESTARTBLOCK = 516, "Restart through restart_syscall(2) if no handler runs, else `EINTR`";
}

impl Errno {
    /// The number, positive.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The value that a system call returns for it.
    pub const fn to_return_value(self) -> isize {
        -(self.0 as isize)
    }

    /// Whether this is one of the codes that never reach user space.
    pub const fn is_restart(self) -> bool {
        self.0 >= 512
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<alloc::collections::TryReserveError> for Errno {
    fn from(_: alloc::collections::TryReserveError) -> Self {
        Self::ENOMEM
    }
}
