//! The kernel's log: syslog(2), dmesg(1).

use super::tests;
use crate::call;
use crate::check::{fails, in_child, must};

tests!("log":
    lines_come_with_priorities,
    a_short_buffer_gets_the_last_lines,
    what_was_cleared_is_gone,
    bad_requests_fail,
    reading_needs_a_capability,
    the_console_can_be_silenced,
    dmesg_shows_lines_without_priorities,
);

const READ_ALL: i32 = 3;
const READ_CLEAR: i32 = 4;
const CONSOLE_OFF: i32 = 6;
const CONSOLE_ON: i32 = 7;
const CONSOLE_LEVEL: i32 = 8;
const SIZE_BUFFER: i32 = 10;

fn log(action: i32, room: usize) -> String {
    let mut buffer = vec![0u8; room];
    let length = must(call!(SYS_syslog, action, buffer.as_mut_ptr(), room));
    String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned()
}

fn lines_come_with_priorities() {
    let size = must(call!(SYS_syslog, SIZE_BUFFER, 0, 0));
    assert!(size >= 4096, "a buffer of {size} bytes");
    let lines = log(READ_ALL, size);
    assert!(lines.is_empty() || lines.ends_with('\n'), "whole lines");
    for line in lines.lines() {
        let priority = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        assert!(priority.is_some_and(|(number, _)| number.parse::<u8>().is_ok()), "{line:?}");
    }
}

fn a_short_buffer_gets_the_last_lines() {
    let (all, last) = (log(READ_ALL, 1 << 20), log(READ_ALL, 200));
    assert!(last.len() <= 200 && (last.starts_with('<') || all.is_empty()), "{last:?}");
    assert!(all.ends_with(&last), "{last:?} is not the end of the log");
    assert_eq!(log(READ_ALL, 0), "");
}

fn what_was_cleared_is_gone() {
    let before = log(READ_CLEAR, 1 << 20);
    let after = log(READ_ALL, 1 << 20);
    assert!(after.len() < before.len().max(1), "{after:?} is left");
}

fn bad_requests_fail() {
    let mut buffer = [0u8; 100];
    fails(call!(SYS_syslog, 99, &mut buffer, 100), libc::EINVAL);
    fails(call!(SYS_syslog, -1, &mut buffer, 100), libc::EINVAL);
    fails(call!(SYS_syslog, READ_ALL, &mut buffer, -1), libc::EINVAL);
    fails(call!(SYS_syslog, READ_ALL, 0, 100), libc::EINVAL);
    fails(call!(SYS_syslog, READ_ALL, 1usize << 63, 100), libc::EFAULT);
    fails(call!(SYS_syslog, CONSOLE_LEVEL, 0, 0), libc::EINVAL);
    fails(call!(SYS_syslog, CONSOLE_LEVEL, 0, 9), libc::EINVAL);
}

fn reading_needs_a_capability() {
    in_child(|| {
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        fails(call!(SYS_syslog, READ_ALL, &mut [0u8; 100], 100), libc::EPERM);
        fails(call!(SYS_syslog, SIZE_BUFFER, 0, 0), libc::EPERM);
        fails(call!(SYS_syslog, CONSOLE_OFF, 0, 0), libc::EPERM);
    });
}

fn the_console_can_be_silenced() {
    must(call!(SYS_syslog, CONSOLE_OFF, 0, 0));
    must(call!(SYS_syslog, CONSOLE_ON, 0, 0));
}

fn dmesg_shows_lines_without_priorities() {
    let shown = crate::helper::output(c"/bin/dmesg", &["dmesg"], &[]);
    assert!(shown.lines().all(|line| !line.starts_with('<')), "{shown}");
}
