//! Devices every program relies on, random numbers, the names of the machine (null(4), random(4), uname(2)).

use super::proc::uname;
use super::tests;
use crate::call;
use crate::check::{fails, in_child, must, within};
use crate::sys::*;

tests!("device":
    null_swallows_and_is_empty,
    zero_gives_zeros_and_maps,
    full_has_no_room,
    random_gives_different_bytes,
    getrandom_fills_and_checks_flags,
    tty_without_a_terminal_is_enxio,
    dev_has_the_usual_names,
    uname_says_linux_on_aarch64,
    hostname_can_be_set,
);

fn null_swallows_and_is_empty() {
    let fd = must(open(c"/dev/null", libc::O_RDWR, 0));
    assert_eq!(must(write(fd, &[1u8; 100_000])), 100_000);
    assert_eq!(must(read(fd, &mut [0u8; 10])), 0);
    let stat = must(fstat(fd));
    assert_eq!((stat.st_mode & libc::S_IFMT, stat.st_rdev), (libc::S_IFCHR, 0x103));
    must(open(c"/dev/null", libc::O_WRONLY | libc::O_TRUNC | libc::O_CREAT, 0o644));
}

fn zero_gives_zeros_and_maps() {
    let fd = must(open(c"/dev/zero", libc::O_RDWR, 0));
    let mut buffer = [7u8; 10_000];
    assert_eq!(must(read(fd, &mut buffer)), 10_000);
    assert!(buffer.iter().all(|byte| *byte == 0));
    assert_eq!(must(write(fd, &[1u8; 10])), 10);
    let at = must(mmap(0, PAGE, RW, libc::MAP_PRIVATE, fd, 0));
    poke(at, peek::<u32>(at) + 1);
    assert_eq!(peek::<u32>(at), 1);
}

fn full_has_no_room() {
    let fd = must(open(c"/dev/full", libc::O_RDWR, 0));
    fails(write(fd, b"x"), libc::ENOSPC);
    assert_eq!(must(read(fd, &mut [1u8; 10])), 10);
}

fn random_gives_different_bytes() {
    for name in [c"/dev/random", c"/dev/urandom"] {
        let fd = must(open(name, libc::O_RDWR, 0));
        let (mut one, mut two) = ([0u8; 64], [0u8; 64]);
        assert_eq!((must(read(fd, &mut one)), must(read(fd, &mut two))), (64, 64));
        assert!(one != two && one.iter().any(|byte| *byte != 0));
        assert_eq!(must(write(fd, b"seed")), 4);
    }
}

fn getrandom_fills_and_checks_flags() {
    let mut bytes = [0u8; 4096];
    assert_eq!(must(call!(SYS_getrandom, &mut bytes, 4096, 0)), 4096);
    let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
    within(ones, 15_000, 17_800, "bits set of 32768");
    fails(call!(SYS_getrandom, &mut bytes, 1, 0x80), libc::EINVAL);
    fails(call!(SYS_getrandom, 8, 10, 0), libc::EFAULT);
    let (reader, writer) = must(pipe());
    spawn(|| must(write(writer, &bytes_of_a_child())) as i32);
    let mut other = [0u8; 16];
    must(read(reader, &mut other));
    assert!(other != bytes_of_a_child());
}

fn bytes_of_a_child() -> [u8; 16] {
    let mut bytes = [0u8; 16];
    must(call!(SYS_getrandom, &mut bytes, 16, 0));
    bytes
}

fn tty_without_a_terminal_is_enxio() {
    fails(open(c"/dev/tty", libc::O_RDWR, 0), libc::ENXIO);
}

fn dev_has_the_usual_names() {
    for name in
        [c"/dev/null", c"/dev/zero", c"/dev/full", c"/dev/random", c"/dev/urandom", c"/dev/tty", c"/dev/console"]
    {
        assert_eq!(must(stat(name)).st_mode & libc::S_IFMT, libc::S_IFCHR, "{name:?}");
    }
}

fn uname_says_linux_on_aarch64() {
    let names = uname();
    assert_eq!((names[0].as_str(), names[4].as_str()), ("Linux", "aarch64"));
    let major: u32 = names[2].split('.').next().and_then(|word| word.parse().ok()).unwrap_or(0);
    assert!(major >= 5, "release {}", names[2]);
    fails(call!(SYS_uname, 8), libc::EFAULT);
}

fn hostname_can_be_set() {
    let before = uname()[1].clone();
    must(call!(SYS_sethostname, c"a-host", 6));
    assert_eq!(uname()[1], "a-host");
    must(call!(SYS_sethostname, before.as_bytes(), before.len()));
    fails(call!(SYS_sethostname, c"x", 65), libc::EINVAL);
    in_child(|| {
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        fails(call!(SYS_sethostname, c"x", 1), libc::EPERM);
    });
}
