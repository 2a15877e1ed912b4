//! The flags of open(2), as a type.
#![forbid(unsafe_code)]

use bitflags::bitflags;
use linux_raw_sys::general as linux;

bitflags! {
    /// Flags of an open, with Linux's values for arm64. The access mode is asked by
    /// [`readable`](OpenFlags::readable) and [`writable`](OpenFlags::writable).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// Writing alone.
        const WRITE_ONLY = linux::O_WRONLY;
        /// Reading and writing.
        const READ_WRITE = linux::O_RDWR;
        /// Make the file if it is not there.
        const CREATE = linux::O_CREAT;
        /// With `CREATE`: it must not be there.
        const EXCLUSIVE = linux::O_EXCL;
        /// A terminal opened so does not become the controlling one.
        const NO_CONTROLLING_TERMINAL = linux::O_NOCTTY;
        /// Empty the file.
        const TRUNCATE = linux::O_TRUNC;
        /// Each write goes to the end.
        const APPEND = linux::O_APPEND;
        /// Fail with `EAGAIN` rather than wait.
        const NON_BLOCKING = linux::O_NONBLOCK;
        /// Writes return when the data is on stable storage.
        const DATA_SYNC = linux::O_DSYNC;
        /// Signal readiness by `SIGIO`.
        const ASYNC = linux::FASYNC;
        /// Circumvent the page cache.
        const DIRECT = linux::O_DIRECT;
        /// 64-bit offsets; always so here.
        const LARGE_FILE = linux::O_LARGEFILE;
        /// Fail unless it is a directory.
        const DIRECTORY = linux::O_DIRECTORY;
        /// Fail if the last component is a symbolic link.
        const NO_FOLLOW = linux::O_NOFOLLOW;
        /// Leave the access time alone.
        const NO_ACCESS_TIME = linux::O_NOATIME;
        /// The descriptor is closed by exec.
        const CLOSE_ON_EXEC = linux::O_CLOEXEC;
        /// Writes return when data and metadata are on stable storage (without the bit it shares with `DATA_SYNC`).
        const SYNC = linux::__O_SYNC;
        /// Only name the file, do not open it.
        const PATH = linux::O_PATH;
        /// A file without a name (without the bit it shares with `DIRECTORY`).
        const UNNAMED = linux::__O_TMPFILE;
    }
}

impl OpenFlags {
    /// What fcntl(2) `F_SETFL` can change.
    pub const CHANGEABLE: Self =
        Self::APPEND.union(Self::NON_BLOCKING).union(Self::ASYNC).union(Self::DIRECT).union(Self::NO_ACCESS_TIME);

    /// What is done with at open time and not remembered.
    pub const TRANSIENT: Self = Self::CREATE
        .union(Self::EXCLUSIVE)
        .union(Self::NO_CONTROLLING_TERMINAL)
        .union(Self::TRUNCATE)
        .union(Self::CLOSE_ON_EXEC);

    /// Whether the access mode allows reading.
    #[must_use]
    #[inline]
    pub const fn readable(self) -> bool {
        self.bits() & (linux::O_ACCMODE | linux::O_PATH) == linux::O_RDONLY
            || self.bits() & (linux::O_ACCMODE | linux::O_PATH) == linux::O_RDWR
    }

    /// Whether the access mode allows writing.
    #[must_use]
    #[inline]
    pub const fn writable(self) -> bool {
        self.bits() & (linux::O_ACCMODE | linux::O_PATH) == linux::O_WRONLY
            || self.bits() & (linux::O_ACCMODE | linux::O_PATH) == linux::O_RDWR
    }
}
