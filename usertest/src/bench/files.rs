//! Files on tmpfs, in `/tmp`.

use super::{Row, each, ns, pin};
use crate::check::must;
use crate::sys::*;
use core::ffi::CStr;

/// Files.
pub const ROWS: &[Row] = &[
    ns("open-close", |n| {
        file(64);
        let time = each(n, || must(close(must(open(PATH, libc::O_RDONLY, 0)))));
        done(time)
    }),
    ns("stat", |n| {
        file(64);
        let time = each(n, || {
            must(stat(PATH));
        });
        done(time)
    }),
    ns("pread-4k", |n| {
        let fd = file(65536);
        let mut buffer = [0u8; 4096];
        let time = each(n, || {
            must(pread(fd, &mut buffer, 8192));
        });
        done(time)
    }),
    ns("append-4k", |n| {
        let fd = file(0);
        let data = [1u8; 4096];
        let time = each(n, || {
            must(write(fd, &data));
        });
        done(time)
    }),
];

const PATH: &CStr = c"/tmp/usertest-bench";

/// Creates the file with `length` bytes of data, on one core.
fn file(length: usize) -> Fd {
    pin(0);
    let fd = must(scratch_file(PATH, 0));
    must(write_all(fd, &vec![1u8; length]));
    fd
}

fn done(time: f64) -> f64 {
    must(unlink(PATH));
    time
}
