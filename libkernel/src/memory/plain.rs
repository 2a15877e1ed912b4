//! [`Plain`]: types that can be copied from and to a program as bytes.

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
            // SAFETY: made of integers; implicit padding of the kernel's interface structures is zero, as they are
            // built from zeroed values.
            unsafe impl Plain for $ty {}
        )*
    };
}

plain! {
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, isize,
    linux::__kernel_timespec, linux::__kernel_itimerspec, linux::__kernel_old_timeval,
    linux::timespec, linux::timeval, linux::timezone, linux::itimerspec, linux::itimerval,
    linux::iovec, linux::stat, linux::statfs, linux::statfs64, linux::statx, linux::flock, linux::open_how,
    linux::rlimit, linux::rlimit64, linux::rusage, linux::clone_args, linux::robust_list_head,
    linux::kernel_sigaction, linux::siginfo_t, linux::stack_t, linux::sigevent, linux::sigval,
    linux::termios, linux::termios2, linux::winsize, linux::pollfd, linux::epoll_event,
    linux::__user_cap_header_struct, linux::__user_cap_data_struct,
}

// SAFETY: an array of plain values has no padding of its own.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}
