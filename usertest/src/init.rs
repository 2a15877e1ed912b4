//! What `usertest` does when it is the first process: the mounts that the tests
//! need, a console, and switching the machine off when all is done.
//!
//! Under a full user land none of this runs.

use crate::call;
use crate::sys;
use core::ffi::CStr;

/// Mounts the file systems that tests expect and opens the console.
pub fn prepare() {
    mount(c"proc", c"/proc");
    mount(c"sysfs", c"/sys");
    mount(c"devtmpfs", c"/dev");
    mount(c"tmpfs", c"/tmp");
    let _ = sys::mkdir(c"/dev/pts", 0o755);
    mount(c"devpts", c"/dev/pts");
    if sys::fcntl(0, libc::F_GETFD, 0).is_err()
        && let Ok(fd) = sys::open(c"/dev/console", libc::O_RDWR, 0)
    {
        let _ = call!(SYS_dup3, fd, 1, 0);
        let _ = call!(SYS_dup3, fd, 2, 0);
    }
}

/// A mount that is already there, or a kind that the kernel lacks, is found out by the tests.
fn mount(kind: &CStr, at: &CStr) {
    let _ = sys::mkdir(at, 0o755);
    let _ = call!(SYS_mount, kind, at, kind, 0, 0);
}

/// Switches the machine off.
pub fn power_off() -> ! {
    let _ = call!(SYS_sync);
    let _ =
        call!(SYS_reboot, libc::LINUX_REBOOT_MAGIC1, libc::LINUX_REBOOT_MAGIC2, libc::LINUX_REBOOT_CMD_POWER_OFF, 0);
    sys::exit(1)
}
