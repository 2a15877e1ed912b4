//! `/proc` and `/dev`: what ps, top and the C library read (proc(5), null(4), random(4)).

use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, must, some, within};
use crate::sys::*;
use std::ffi::CString;

tests!("proc":
    self_is_the_reader,
    stat_has_all_fields,
    stat_counts_faults_and_time,
    status_names_the_usual_things,
    statm_is_in_pages,
    cmdline_and_environ_are_terminated_strings,
    cmdline_of_a_zombie_is_empty,
    exe_cwd_and_root_are_links,
    fd_links_name_their_files,
    fd_links_can_be_opened,
    fd_of_another_process_is_visible,
    missing_process_is_enoent,
    directory_lists_processes,
    meminfo_adds_up,
    uptime_and_idle_grow,
    loadavg_has_five_fields,
    stat_has_a_line_for_each_core,
    version_and_sys_kernel_agree_with_uname,
    mounts_lists_root_and_proc,
    filesystems_lists_the_kinds,
    cpuinfo_describes_each_core,
    smaps_or_maps_of_a_child_can_be_read,
    limits_shows_what_was_set,
    files_can_be_read_in_small_pieces,
    writing_a_read_only_file_fails,
    oom_score_adj_can_be_written,
    thread_self_names_the_thread,
    sysinfo_agrees_with_meminfo,
    kernel_threads_are_children_of_kthreadd,
    kernel_threads_outlive_signals,
    bound_kernel_threads_cannot_be_moved,
);

fn path(text: String) -> CString {
    CString::new(text).unwrap_or_default()
}

fn self_is_the_reader() {
    assert_eq!(must(readlink(c"/proc/self")), getpid().to_string().as_bytes());
    in_child(|| assert_eq!(must(readlink(c"/proc/self")), getpid().to_string().as_bytes()));
}

fn stat_has_all_fields() {
    let text = must(read_text(c"/proc/self/stat"));
    let (_, tail) = some(text.rsplit_once(") "), "the name");
    assert_eq!(tail.split_ascii_whitespace().count(), 50);
    let field = |index| some(proc_stat(getpid(), index), "field");
    assert_eq!(field(1), getpid().to_string());
    assert_eq!(field(3), "R");
    assert_eq!(field(4), getppid().to_string());
    assert_eq!(field(5), must(call!(SYS_getpgid, 0)).to_string());
    assert_eq!(field(6), must(call!(SYS_getsid, 0)).to_string());
    assert_eq!((field(18), field(19), field(20)), ("20".into(), "0".into(), "1".into()));
    assert!(field(22).parse::<u64>().is_ok_and(|ticks| ticks <= now() / 10_000_000 + 100), "start time");
    assert!(field(23).parse::<u64>().is_ok_and(|size| size > 100_000), "size");
    assert!(field(39).parse::<u64>().is_ok_and(|core| core < 64), "core");
}

fn stat_counts_faults_and_time() {
    let number = |index| proc_stat(getpid(), index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let (faults, time) = (number(10), number(14) + number(15));
    let at = must(anonymous(100 * PAGE));
    (0..100).for_each(|page| poke(at + page * PAGE, 1u8));
    assert!(number(10) >= faults + 100, "minor faults");
    work_ms(200);
    within(number(14) + number(15) - time, 1, 25, "clock ticks of work");
}

fn status_names_the_usual_things() {
    must(call!(SYS_prctl, libc::PR_SET_NAME, c"a name", 0, 0, 0));
    must(block(bit(libc::SIGUSR1)));
    must(set_disposition(libc::SIGUSR2, libc::SIG_IGN));
    let text = must(read_text(c"/proc/self/status"));
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
        some(line, key).trim().to_owned()
    };
    assert_eq!(value("Name"), "a name");
    assert_eq!(value("State"), "R (running)");
    assert_eq!((value("Pid"), value("Tgid")), (getpid().to_string(), getpid().to_string()));
    assert_eq!(value("PPid"), getppid().to_string());
    assert_eq!(value("Uid"), "0\t0\t0\t0");
    assert_eq!(value("Gid"), "0\t0\t0\t0");
    assert_eq!(value("Threads"), "1");
    assert_eq!(value("SigBlk"), format!("{:016x}", bit(libc::SIGUSR1)));
    assert_eq!(u64::from_str_radix(&value("SigIgn"), 16).unwrap_or(0) & bit(libc::SIGUSR2), bit(libc::SIGUSR2));
    for key in ["VmSize", "VmRSS", "VmPeak", "VmData", "VmStk"] {
        assert!(value(key).ends_with(" kB"), "{key}");
    }
    value("voluntary_ctxt_switches");
    value("Cpus_allowed_list");
}

fn statm_is_in_pages() {
    let numbers = || -> Vec<u64> {
        let text = must(read_text(c"/proc/self/statm"));
        text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let before = numbers();
    assert_eq!(before.len(), 7);
    let at = must(anonymous(1000 * PAGE));
    (0..500).for_each(|page| poke(at + page * PAGE, 1u8));
    let after = numbers();
    within(after[0] - before[0], 1000, 1010, "pages of address space");
    within(after[1] - before[1], 300, 2000, "pages resident");
}

fn cmdline_and_environ_are_terminated_strings() {
    let child = spawn(|| {
        crate::helper::exec(c"/proc/self/exe", &["usertest", "--helper", "pause", "an argument"], &["KEY=value"]).0
    });
    let file = path(format!("/proc/{child}/cmdline"));
    let wanted = b"usertest\0--helper\0pause\0an argument\0";
    assert!(eventually(5000, || read_file(&file).is_ok_and(|found| found == wanted)));
    assert_eq!(must(read_file(&path(format!("/proc/{child}/environ")))), b"KEY=value\0");
    must(kill(child, libc::SIGKILL));
}

fn cmdline_of_a_zombie_is_empty() {
    let child = spawn(|| 0);
    assert!(wait_for_state(child, "Z"));
    assert_eq!(must(read_file(&path(format!("/proc/{child}/cmdline")))), b"");
    exits(child, 0);
}

fn exe_cwd_and_root_are_links() {
    let exe = must(readlink(c"/proc/self/exe"));
    assert_eq!(exe.first(), Some(&b'/'));
    assert_eq!(must(stat(c"/proc/self/exe")).st_ino, must(stat(&CString::new(exe).unwrap_or_default())).st_ino);
    must(mkdir(c"d", 0o755));
    must(chdir(c"d"));
    assert!(must(readlink(c"/proc/self/cwd")).ends_with(b"/d"));
    assert_eq!(must(readlink(c"/proc/self/root")), b"/");
    must(rmdir(c"../d"));
    assert!(must(readlink(c"/proc/self/cwd")).ends_with(b"/d (deleted)"));
}

fn fd_links_name_their_files() {
    let fd = must(scratch_file(c"file", 0));
    let null = must(open(c"/dev/null", libc::O_RDONLY, 0));
    let link = |fd: Fd| String::from_utf8_lossy(&must(readlink(&path(format!("/proc/self/fd/{fd}"))))).into_owned();
    assert!(link(fd).ends_with("/file"));
    assert_eq!(link(null), "/dev/null");
    let event = must(call!(SYS_eventfd2, 0, 0)) as Fd;
    assert_eq!(link(event), "anon_inode:[eventfd]");
    let names = must(list(c"/proc/self/fd"));
    assert!([0, 1, 2, fd, null, event].iter().all(|fd| names.contains(&fd.to_string())), "{names:?}");
    fails(readlink(c"/proc/self/fd/77"), libc::ENOENT);
}

fn fd_links_can_be_opened() {
    let fd = must(scratch_file(c"file", 0));
    must(write(fd, b"content"));
    must(unlink(c"file"));
    assert_eq!(must(read_file(&path(format!("/proc/self/fd/{fd}")))), b"content");
    let (reader, writer) = must(pipe());
    let again = must(open(&path(format!("/proc/self/fd/{writer}")), libc::O_WRONLY, 0));
    must(write(again, b"x"));
    assert_eq!(must(read(reader, &mut [0u8; 4])), 1);
}

fn fd_of_another_process_is_visible() {
    let fd = must(scratch_file(c"file", 0));
    let child = spawn(|| {
        must(call!(SYS_dup3, fd, 33, 0));
        loop {
            sigsuspend(0);
        }
    });
    let link = path(format!("/proc/{child}/fd/33"));
    assert!(eventually(5000, || readlink(&link).is_ok_and(|target| target.ends_with(b"/file"))));
    must(kill(child, libc::SIGKILL));
}

fn missing_process_is_enoent() {
    fails(stat(c"/proc/4194300"), libc::ENOENT);
    fails(stat(c"/proc/0"), libc::ENOENT);
    fails(stat(c"/proc/007"), libc::ENOENT);
    let child = spawn(|| 0);
    let fd = must(open(&path(format!("/proc/{child}/stat")), libc::O_RDONLY, 0));
    exits(child, 0);
    fails(read(fd, &mut [0u8; 100]), libc::ESRCH);
}

fn directory_lists_processes() {
    let child = spawn(|| {
        loop {
            sigsuspend(0);
        }
    });
    let names = must(list(c"/proc"));
    for name in ["1", &getpid().to_string(), &child.to_string(), "self", "meminfo", "stat"] {
        assert!(names.iter().any(|other| other == name), "{name} is missing");
    }
    must(kill(child, libc::SIGKILL));
}

fn meminfo(key: &str) -> u64 {
    let text = must(read_text(c"/proc/meminfo"));
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok());
    some(number, key)
}

fn meminfo_adds_up() {
    let (total, free, available) = (meminfo("MemTotal"), meminfo("MemFree"), meminfo("MemAvailable"));
    assert!(total > 50_000 && free < total && available <= total);
    for key in ["Buffers", "Cached", "SwapTotal", "SwapFree", "Shmem", "Slab"] {
        meminfo(key);
    }
    let at = must(anonymous(16 << 20));
    (0..4096).for_each(|page| poke(at + page * PAGE, 1u8));
    let used = free.saturating_sub(meminfo("MemFree"));
    assert!(used > 8 << 10, "touching 16 MiB used {used} kB");
}

fn uptime_and_idle_grow() {
    let read = || -> Vec<f64> {
        let text = must(read_text(c"/proc/uptime"));
        text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let before = read();
    sleep_ms(100);
    let after = read();
    assert_eq!((before.len(), after.len()), (2, 2));
    within(after[0] - before[0], 0.09, 5.0, "seconds of uptime");
    assert!(after[1] >= before[1]);
}

fn loadavg_has_five_fields() {
    let text = must(read_text(c"/proc/loadavg"));
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    assert_eq!(fields.len(), 5, "{text}");
    assert!(fields[..3].iter().all(|field| field.parse::<f64>().is_ok()));
    let (running, all) = some(fields[3].split_once('/'), "processes");
    assert!(running.parse::<u32>().is_ok_and(|n| n >= 1) && all.parse::<u32>().is_ok_and(|n| n >= 2));
}

fn stat_has_a_line_for_each_core() {
    let text = must(read_text(c"/proc/stat"));
    let cores = must(affinity()).len();
    let lines = text.lines().filter(|line| line.starts_with("cpu")).count();
    assert_eq!(lines, cores + 1);
    for key in ["intr ", "ctxt ", "btime ", "processes ", "procs_running ", "procs_blocked "] {
        assert!(text.lines().any(|line| line.starts_with(key)), "{key}");
    }
    let first = some(text.lines().next(), "a line");
    assert_eq!(first.split_ascii_whitespace().count(), 11);
}

pub(super) fn uname() -> Vec<String> {
    let mut bytes = [[0u8; 65]; 6];
    must(call!(SYS_uname, &mut bytes));
    let text = |field: &[u8; 65]| {
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(65);
        String::from_utf8_lossy(&field[..end]).into_owned()
    };
    bytes.iter().map(text).collect()
}

fn version_and_sys_kernel_agree_with_uname() {
    let names = uname();
    assert!(must(read_text(c"/proc/version")).starts_with(&format!("Linux version {} ", names[2])));
    assert_eq!(must(read_text(c"/proc/sys/kernel/osrelease")).trim(), names[2]);
    assert_eq!(must(read_text(c"/proc/sys/kernel/ostype")).trim(), "Linux");
    assert_eq!(must(read_text(c"/proc/sys/kernel/hostname")).trim(), names[1]);
    let most: u64 = must(read_text(c"/proc/sys/kernel/pid_max")).trim().parse().unwrap_or(0);
    assert!(most >= 32768);
}

fn mounts_lists_root_and_proc() {
    let text = must(read_text(c"/proc/mounts"));
    let points: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert!(points.contains(&"/") && points.contains(&"/proc"), "{text}");
    assert!(text.lines().all(|line| line.split(' ').count() == 6));
    assert!(!must(read_text(c"/proc/self/mountinfo")).is_empty());
}

fn filesystems_lists_the_kinds() {
    let text = must(read_text(c"/proc/filesystems"));
    for kind in ["tmpfs", "proc"] {
        assert!(text.lines().any(|line| line == format!("nodev\t{kind}")), "{kind}");
    }
}

fn cpuinfo_describes_each_core() {
    let text = must(read_text(c"/proc/cpuinfo"));
    let cores = text.lines().filter(|line| line.starts_with("processor\t: ")).count();
    assert_eq!(cores, must(affinity()).len());
    let features = some(text.lines().find(|line| line.starts_with("Features")), "Features");
    assert!(features.contains(" fp ") && features.contains(" asimd"));
}

fn smaps_or_maps_of_a_child_can_be_read() {
    let child = spawn(|| {
        loop {
            sigsuspend(0);
        }
    });
    let own = must(read_text(c"/proc/self/maps")).lines().count();
    let text = must(read_text(&path(format!("/proc/{child}/maps"))));
    within(text.lines().count(), own - 3, own + 3, "lines");
    must(kill(child, libc::SIGKILL));
}

fn limits_shows_what_was_set() {
    must(setrlimit(libc::RLIMIT_NOFILE, 123, 456));
    let text = must(read_text(c"/proc/self/limits"));
    let line = some(text.lines().find(|line| line.starts_with("Max open files")), "the line");
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    assert_eq!(fields[3..5], ["123", "456"]);
    assert_eq!(must(getrlimit(libc::RLIMIT_NOFILE)), (123, 456));
}

fn files_can_be_read_in_small_pieces() {
    let whole = must(read_file(c"/proc/self/limits"));
    let fd = must(open(c"/proc/self/limits", libc::O_RDONLY, 0));
    let mut pieces = Vec::new();
    let mut buffer = [0u8; 7];
    loop {
        match must(read(fd, &mut buffer)) {
            0 => break,
            n => pieces.extend_from_slice(&buffer[..n]),
        }
    }
    assert_eq!(pieces, whole);
    assert_eq!(must(pread(fd, &mut buffer, 4)), 7);
    assert_eq!(buffer, whole[4..11]);
    must(lseek(fd, 0, libc::SEEK_SET));
    assert_eq!(must(read(fd, &mut buffer)), 7);
    assert_eq!(buffer, whole[..7]);
}

fn writing_a_read_only_file_fails() {
    in_child(|| {
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        fails(open(c"/proc/meminfo", libc::O_WRONLY, 0), libc::EACCES);
    });
    assert!(mkdir(c"/proc/directory", 0o755).is_err());
    assert!(unlink(c"/proc/meminfo").is_err());
    assert_eq!(must(stat(c"/proc/meminfo")).st_mode, libc::S_IFREG | 0o444);
}

fn oom_score_adj_can_be_written() {
    must(write_file(c"/proc/self/oom_score_adj", b"500"));
    assert_eq!(must(read_text(c"/proc/self/oom_score_adj")), "500\n");
    fails(write_file(c"/proc/self/oom_score_adj", b"2000"), libc::EINVAL);
}

fn thread_self_names_the_thread() {
    let (pid, link) = (getpid(), || must(readlink(c"/proc/thread-self")));
    assert_eq!(link(), format!("{pid}/task/{pid}").as_bytes());
    let thread = std::thread::spawn(move || link() == format!("{pid}/task/{}", gettid()).as_bytes());
    assert_eq!(thread.join().ok(), Some(true));
}

fn sysinfo_agrees_with_meminfo() {
    let mut info = zeroed::<libc::sysinfo>();
    must(call!(SYS_sysinfo, &mut info));
    assert_eq!(info.totalram * u64::from(info.mem_unit) / 1024, meminfo("MemTotal"));
    let uptime = i128::from(must(clock(libc::CLOCK_BOOTTIME)) / SECOND);
    // The C libraries differ in the field's sign.
    within(i128::from(info.uptime), uptime - 2, uptime + 2, "uptime");
    assert!(info.procs >= 2);
}

/// The number of `kthreadd`.
const KTHREADD: Pid = 2;

/// A worker of the first core.
fn worker() -> Pid {
    let is_worker = |pid: &Pid| {
        let comm = read_text(&path(format!("/proc/{pid}/comm"))).unwrap_or_default();
        comm.starts_with("kworker/0")
    };
    some((3..300).find(is_worker), "a worker of core 0")
}

fn kernel_threads_are_children_of_kthreadd() {
    for (pid, parent) in [(KTHREADD, 0), (worker(), KTHREADD)] {
        let field = |index| some(proc_stat(pid, index), "field");
        assert_eq!(field(4), parent.to_string());
        assert_eq!((field(5), field(6), field(8)), ("0".into(), "0".into(), "-1".into()), "group, session, foreground");
        let flags: u32 = some(field(9).parse().ok(), "flags");
        assert_ne!(flags & 0x0020_0000, 0, "PF_KTHREAD");
        assert_eq!(must(read_text(&path(format!("/proc/{pid}/cmdline")))), "");
        assert_eq!(must(read_text(&path(format!("/proc/{pid}/maps")))), "");
    }
    assert_eq!(must(read_text(c"/proc/2/comm")), "kthreadd\n");
    fails(readlink(c"/proc/2/exe"), libc::ENOENT);
}

fn kernel_threads_outlive_signals() {
    for signal in [libc::SIGKILL, libc::SIGSTOP, libc::SIGTERM] {
        must(kill(KTHREADD, signal));
    }
    sleep_ms(10);
    assert!(["S", "I"].contains(&some(proc_stat(KTHREADD, 3), "state").as_str()));
    must(kill(KTHREADD, 0));
}

fn bound_kernel_threads_cannot_be_moved() {
    let mask = u64::MAX;
    fails(call!(SYS_sched_setaffinity, worker(), 8, &raw const mask), libc::EINVAL);
}
