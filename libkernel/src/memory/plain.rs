//! [`Plain`]: types that can be copied from and to a program as bytes.

use core::ffi::c_void;

use linux_raw_sys::general as linux;

/// Types of which every pattern of bits is a value, and of which every byte is part of the value (or explicit, initialised
/// padding).
///
/// # Safety
/// Just that; and no references, no `bool`, no enumerations inside.
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($ty:ty),* $(,)?) => {
        $(
            // SAFETY: an integer, or an address that the kernel never follows.
            unsafe impl Plain for $ty {}
        )*
    };
}

plain! { u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, *mut c_void }

// SAFETY: an array of plain values has no padding of its own.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// The size of the plain field that `_field` leads to.
const fn field_size<T, F: Plain>(_field: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// Declares structures plain. All their fields have to be named; that these are plain and leave no gap is checked when it is compiled.
macro_rules! plain_structures {
    ($($ty:path { $($field:ident),* $(,)? })*) => {
        $(
            const _: () = {
                const fn names_all_fields($ty { $($field: _),* }: &$ty) {}
                names_all_fields as fn(&$ty);
                assert!(size_of::<$ty>() == 0 $(+ field_size(|whole: &$ty| &whole.$field))*);
            };
            // SAFETY: made of plain fields only, without a byte between them or behind the last, as is asserted above.
            unsafe impl Plain for $ty {}
        )*
    };
}

/// `struct flock` of fcntl(2), with the padding that it has on 64-bit machines.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct FileLock {
    /// `l_type`.
    pub kind: i16,
    /// `l_whence`.
    pub whence: i16,
    /// Not used; stays as the program had it.
    pub padding: u32,
    /// `l_start`.
    pub start: i64,
    /// `l_len`.
    pub length: i64,
    /// `l_pid`.
    pub process: i32,
    /// Not used; stays as the program had it.
    pub end_padding: u32,
}

const _: () = assert!(size_of::<FileLock>() == size_of::<linux::flock>());

plain_structures! {
    FileLock { kind, whence, padding, start, length, process, end_padding }
    linux::iovec { iov_base, iov_len }
    linux::open_how { flags, mode, resolve }
    linux::pollfd { fd, events, revents }
    linux::rlimit64 { rlim_cur, rlim_max }
    linux::__kernel_timespec { tv_sec, tv_nsec }
    linux::__kernel_old_timeval { tv_sec, tv_usec }
    linux::rusage {
        ru_utime, ru_stime, ru_maxrss, ru_ixrss, ru_idrss, ru_isrss, ru_minflt, ru_majflt, ru_nswap, ru_inblock, ru_oublock,
        ru_msgsnd, ru_msgrcv, ru_nsignals, ru_nvcsw, ru_nivcsw,
    }
    linux::clone_args {
        flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup,
    }
    linux::__kernel_fsid_t { val }
    linux::statfs {
        f_type, f_bsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_fsid, f_namelen, f_frsize, f_flags, f_spare,
    }
    linux::statx_timestamp { tv_sec, tv_nsec, __reserved }
    linux::statx {
        stx_mask, stx_blksize, stx_attributes, stx_nlink, stx_uid, stx_gid, stx_mode, __spare0, stx_ino, stx_size, stx_blocks,
        stx_attributes_mask, stx_atime, stx_btime, stx_ctime, stx_mtime, stx_rdev_major, stx_rdev_minor, stx_dev_major,
        stx_dev_minor, stx_mnt_id, stx_dio_mem_align, stx_dio_offset_align, stx_subvol, stx_atomic_write_unit_min,
        stx_atomic_write_unit_max, stx_atomic_write_segments_max, stx_dio_read_offset_align, stx_atomic_write_unit_max_opt,
        __spare2, __spare3,
    }
}

// Each architecture has its own.
#[cfg(target_arch = "aarch64")]
plain_structures! {
    linux::stat {
        st_dev, st_ino, st_mode, st_nlink, st_uid, st_gid, st_rdev, __pad1, st_size, st_blksize, __pad2, st_blocks, st_atime,
        st_atime_nsec, st_mtime, st_mtime_nsec, st_ctime, st_ctime_nsec, __unused4, __unused5,
    }
}
