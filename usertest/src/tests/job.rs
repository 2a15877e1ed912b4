//! Job control on a terminal: foreground, background, hang-up, the controlling terminal (termios(3), tty(4)).

use super::tests;
use super::tty::{LFLAG, change, pair, reads, type_in};
use crate::call;
use crate::check::{exits, fails, in_child, killed, must, some};
use crate::sys::*;
use std::ffi::CString;

tests!("job":
    interrupt_character_signals_the_foreground,
    suspend_character_stops_the_foreground,
    window_size_round_trips_and_signals,
    background_reader_is_stopped,
    background_reader_of_an_orphaned_group_gets_eio,
    tostop_stops_background_writers,
    foreground_group_can_be_asked_and_set,
    foreground_group_is_not_the_masters_to_choose,
    closing_the_master_hangs_up,
    a_hang_up_is_told_to_the_leader_and_at_its_end_to_the_foreground,
    session_leader_gets_the_terminal,
    who_may_not_read_it_gets_no_terminal,
    later_children_inherit_the_terminal_earlier_ones_have_none,
    the_leader_gives_the_terminal_up_for_all,
    another_gives_the_terminal_up_for_itself,
    dev_tty_is_the_terminal,
);

/// A session leader whose terminal is `slave` runs `body`.
fn session(slave: Fd, body: impl FnOnce() -> i32) -> Pid {
    spawn(|| {
        must(call!(SYS_setsid));
        must(call!(SYS_ioctl, slave, libc::TIOCSCTTY as u32, 0));
        body()
    })
}

fn pause() -> i32 {
    loop {
        sigsuspend(0);
    }
}

fn ready(reader: Fd) {
    must(read(reader, &mut [0u8; 1]));
}

fn interrupt_character_signals_the_foreground() {
    for (character, signal) in [(b"\x03", libc::SIGINT), (b"\x1c", libc::SIGQUIT)] {
        let (master, slave) = pair();
        let (reader, writer) = must(pipe());
        let child = session(slave, || {
            must(write(writer, b"x"));
            pause()
        });
        ready(reader);
        type_in(master, character);
        killed(child, signal);
    }
}

fn suspend_character_stops_the_foreground() {
    let (master, slave) = pair();
    let child = session(slave, || {
        let (reader, writer) = must(pipe());
        // A job in a group of its own; the leader plays the shell.
        let job = spawn(|| {
            must(call!(SYS_setpgid, 0, 0));
            must(write(writer, b"x"));
            pause()
        });
        ready(reader);
        must(set_disposition(libc::SIGTTOU, libc::SIG_IGN));
        must(call!(SYS_ioctl, slave, libc::TIOCSPGRP as u32, &job));
        type_in(master, b"\x1a");
        assert_eq!(must(wait4(job, libc::WUNTRACED)), Some((job, Status::Stopped(libc::SIGTSTP))));
        must(call!(SYS_ioctl, slave, libc::TIOCSPGRP as u32, &getpid()));
        must(kill(-job, libc::SIGCONT));
        assert_eq!(must(wait4(job, libc::WCONTINUED)), Some((job, Status::Continued)));
        must(kill(job, libc::SIGKILL));
        killed(job, libc::SIGKILL);
        0
    });
    exits(child, 0);
}

fn window_size_round_trips_and_signals() {
    let (master, slave) = pair();
    let child = session(slave, || {
        must(block(bit(libc::SIGWINCH)));
        must(call!(SYS_ioctl, master, libc::TIOCSWINSZ as u32, &[50u16, 132, 0, 0]));
        let info = must(sigtimedwait(bit(libc::SIGWINCH), Some(5 * SECOND)));
        assert_eq!(info.signal, libc::SIGWINCH);
        let mut size = [0u16; 4];
        must(call!(SYS_ioctl, slave, libc::TIOCGWINSZ as u32, &mut size));
        assert_eq!(size, [50, 132, 0, 0]);
        0
    });
    exits(child, 0);
}

fn background_job(slave: Fd, body: impl FnOnce() -> i32) -> Pid {
    let _ = slave;
    let job = spawn(|| {
        must(call!(SYS_setpgid, 0, 0));
        body()
    });
    let _ = call!(SYS_setpgid, job, job);
    job
}

fn background_reader_is_stopped() {
    let (_master, slave) = pair();
    let child = session(slave, || {
        let job = background_job(slave, || must(read(slave, &mut [0u8; 8])) as i32);
        assert_eq!(must(wait4(job, libc::WUNTRACED)), Some((job, Status::Stopped(libc::SIGTTIN))));
        must(kill(job, libc::SIGKILL));
        killed(job, libc::SIGKILL);
        let deaf = background_job(slave, || {
            must(set_disposition(libc::SIGTTIN, libc::SIG_IGN));
            i32::from(read(slave, &mut [0u8; 8]) != Err(Errno(libc::EIO)))
        });
        exits(deaf, 0);
        0
    });
    exits(child, 0);
}

fn background_reader_of_an_orphaned_group_gets_eio() {
    let (_master, slave) = pair();
    let (reader, writer) = must(pipe());
    let child = session(slave, || {
        let middle = spawn(|| {
            spawn(|| {
                must(call!(SYS_setpgid, 0, 0));
                assert!(eventually(5000, || getppid() != must(call!(SYS_getsid, 0)) as Pid));
                sleep_ms(30);
                let got = read(slave, &mut [0u8; 8]);
                must(write(writer, if got == Err(Errno(libc::EIO)) { b"y" } else { b"n" }));
                0
            });
            sleep_ms(10);
            0
        });
        exits(middle, 0);
        let mut answer = [0u8; 1];
        must(read(reader, &mut answer));
        i32::from(&answer != b"y")
    });
    exits(child, 0);
}

fn tostop_stops_background_writers() {
    let (master, slave) = pair();
    let child = session(slave, || {
        exits(background_job(slave, || must(write(slave, b"free\n")) as i32), 5);
        change(slave, LFLAG, 0, libc::TOSTOP);
        let job = background_job(slave, || must(write(slave, b"held\n")) as i32);
        assert_eq!(must(wait4(job, libc::WUNTRACED)), Some((job, Status::Stopped(libc::SIGTTOU))));
        must(kill(job, libc::SIGKILL));
        killed(job, libc::SIGKILL);
        0
    });
    exits(child, 0);
    reads(master, b"free\r\n");
}

fn foreground_group_can_be_asked_and_set() {
    let (_master, slave) = pair();
    let child = session(slave, || {
        let mut group = -1i32;
        must(call!(SYS_ioctl, slave, libc::TIOCGPGRP as u32, &mut group));
        assert_eq!(group, getpid());
        let mut leader = -1i32;
        must(call!(SYS_ioctl, slave, libc::TIOCGSID as u32, &mut leader));
        assert_eq!(leader, getpid());
        fails(call!(SYS_ioctl, slave, libc::TIOCSPGRP as u32, &1i32), libc::EPERM);
        assert_eq!(proc_stat(getpid(), 8).as_deref(), Some(getpid().to_string().as_str()));
        0
    });
    exits(child, 0);
    let mut group = -1i32;
    fails(call!(SYS_ioctl, slave, libc::TIOCGPGRP as u32, &mut group), libc::ENOTTY);
}

fn foreground_group_is_not_the_masters_to_choose() {
    let (master, slave) = pair();
    let outsider = spawn(|| {
        must(call!(SYS_setsid));
        fails(call!(SYS_ioctl, master, libc::TIOCSPGRP as u32, &getpid()), libc::ENOTTY);
        0
    });
    exits(outsider, 0);
    let child = session(slave, || {
        fails(call!(SYS_ioctl, master, libc::TIOCSPGRP as u32, &1i32), libc::EPERM);
        must(call!(SYS_ioctl, master, libc::TIOCSPGRP as u32, &getpid()));
        0
    });
    exits(child, 0);
}

fn closing_the_master_hangs_up() {
    let (master, slave) = pair();
    let (reader, writer) = must(pipe());
    let child = session(slave, || {
        must(close(master));
        must(write(writer, b"x"));
        pause()
    });
    ready(reader);
    must(close(master));
    killed(child, libc::SIGHUP);
    assert_eq!(must(read(slave, &mut [0u8; 4])), 0);
    fails(write(slave, b"x"), libc::EIO);
}

fn session_leader_gets_the_terminal() {
    let (_master, slave) = pair();
    let path = CString::new(must(readlink(&CString::new(format!("/proc/self/fd/{slave}")).unwrap_or_default())))
        .unwrap_or_default();
    in_child(|| {
        must(call!(SYS_setsid));
        fails(open(c"/dev/tty", libc::O_RDWR, 0), libc::ENXIO);
        must(open(&path, libc::O_RDWR, 0));
        must(open(c"/dev/tty", libc::O_RDWR, 0));
        must(set_disposition(libc::SIGHUP, libc::SIG_IGN));
        must(call!(SYS_ioctl, slave, libc::TIOCNOTTY as u32, 0));
        fails(open(c"/dev/tty", libc::O_RDWR, 0), libc::ENXIO);
    });
}

fn dev_tty_is_the_terminal() {
    let (master, slave) = pair();
    let child = session(slave, || {
        let tty = must(open(c"/dev/tty", libc::O_RDWR, 0));
        must(write(tty, b"via /dev/tty"));
        some(
            proc_stat(getpid(), 7).and_then(|text| text.parse::<i32>().ok()).filter(|device| device >> 8 == 136),
            "tty_nr",
        );
        0
    });
    exits(child, 0);
    reads(master, b"via /dev/tty");
}

fn a_hang_up_is_told_to_the_leader_and_at_its_end_to_the_foreground() {
    must(call!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    for leader_ends in [false, true] {
        let (master, slave) = pair();
        let (reader, writer) = must(pipe());
        let child = session(slave, || {
            must(close(master));
            must(block(bit(libc::SIGHUP)));
            let (job_reader, job_writer) = must(pipe());
            let job = background_job(slave, || {
                must(unblock(bit(libc::SIGHUP)));
                must(write(job_writer, b"x"));
                pause()
            });
            ready(job_reader);
            must(set_disposition(libc::SIGTTOU, libc::SIG_IGN));
            must(call!(SYS_ioctl, slave, libc::TIOCSPGRP as u32, &job));
            must(write(writer, &job.to_ne_bytes()));
            must(sigtimedwait(bit(libc::SIGHUP), Some(5 * SECOND)));
            if !leader_ends {
                must(kill(job, libc::SIGTERM));
                killed(job, libc::SIGTERM);
            }
            0
        });
        let mut job = [0u8; 4];
        assert_eq!(must(read(reader, &mut job)), 4);
        must(close(master));
        exits(child, 0);
        if leader_ends {
            killed(Pid::from_ne_bytes(job), libc::SIGHUP);
        }
    }
}

/// What opening `/dev/tty` says.
fn own_terminal() -> Result<()> {
    open(c"/dev/tty", libc::O_RDWR, 0).and_then(close)
}

fn who_may_not_read_it_gets_no_terminal() {
    let (_master, slave) = pair();
    let path = must(readlink(&CString::new(format!("/proc/self/fd/{slave}")).unwrap_or_default()));
    let path = CString::new(path).unwrap_or_default();
    in_child(|| {
        must(call!(SYS_setsid));
        let write_only = must(open(&path, libc::O_WRONLY, 0));
        fails(own_terminal(), libc::ENXIO);
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        fails(call!(SYS_ioctl, write_only, libc::TIOCSCTTY as u32, 0), libc::EPERM);
        must(call!(SYS_ioctl, slave, libc::TIOCSCTTY as u32, 0));
        must(call!(SYS_ioctl, write_only, libc::TIOCSCTTY as u32, 0));
    });
}

fn later_children_inherit_the_terminal_earlier_ones_have_none() {
    let (_master, slave) = pair();
    in_child(|| {
        let (reader, writer) = must(pipe());
        must(call!(SYS_setsid));
        let early = spawn(|| {
            ready(reader);
            fails(own_terminal(), libc::ENXIO);
            0
        });
        must(call!(SYS_ioctl, slave, libc::TIOCSCTTY as u32, 0));
        must(write(writer, b"x"));
        exits(early, 0);
        in_child(|| must(own_terminal()));
    });
}

fn the_leader_gives_the_terminal_up_for_all() {
    let (_master, slave) = pair();
    let child = session(slave, || {
        must(block(bit(libc::SIGHUP)));
        let (reader, writer) = must(pipe());
        let (job_reader, job_writer) = must(pipe());
        let job = background_job(slave, || {
            must(own_terminal());
            must(write(job_writer, b"x"));
            ready(reader);
            assert_eq!(pending(), Ok(bit(libc::SIGHUP)));
            fails(own_terminal(), libc::ENXIO);
            0
        });
        ready(job_reader);
        must(set_disposition(libc::SIGTTOU, libc::SIG_IGN));
        must(call!(SYS_ioctl, slave, libc::TIOCSPGRP as u32, &job));
        must(call!(SYS_ioctl, slave, libc::TIOCNOTTY as u32, 0));
        assert_eq!(pending(), Ok(0), "the leader is in the background, and knows");
        fails(own_terminal(), libc::ENXIO);
        must(write(writer, b"x"));
        exits(job, 0);
        0
    });
    exits(child, 0);
}

fn another_gives_the_terminal_up_for_itself() {
    let (_master, slave) = pair();
    let child = session(slave, || {
        let job = background_job(slave, || {
            must(call!(SYS_ioctl, slave, libc::TIOCNOTTY as u32, 0));
            fails(call!(SYS_ioctl, slave, libc::TIOCNOTTY as u32, 0), libc::ENOTTY);
            fails(call!(SYS_ioctl, slave, libc::TIOCGPGRP as u32, &mut 0i32), libc::ENOTTY);
            fails(own_terminal(), libc::ENXIO);
            assert_eq!(proc_stat(getpid(), 7).as_deref(), Some("0"));
            in_child(|| fails(own_terminal(), libc::ENXIO));
            0
        });
        exits(job, 0);
        must(own_terminal());
        0
    });
    exits(child, 0);
}
