//! What `/proc` and the tools on top of it tell of scheduling and of the processors (proc(5), ps(1), taskset(1), chrt(1), nice(1)).

use super::tests;
use crate::call;
use crate::check::{must, some, within};
use crate::helper::output;
use crate::sys::*;
use core::ffi::CStr;
use std::ffi::CString;

tests!("visible":
    sched_file_tells_of_the_thread,
    sched_file_of_a_sleeper_and_of_a_hog_elsewhere,
    schedstat_tells_running_from_waiting,
    migrations_are_counted,
    stat_charges_the_core_that_worked,
    stat_tells_user_time_nice_time_and_system_time_apart,
    stat_counts_switches_and_births,
    schedstat_of_the_machine_has_a_line_for_each_core,
    uptime_counts_idle_time_of_all_cores,
    interrupts_count_the_timer_of_each_core,
    load_rises_with_runnable_tasks [60],
    wchan_names_a_wait,
    ps_shows_core_nice_class_and_priority,
    taskset_shows_and_sets,
    chrt_shows_and_sets,
    nice_and_renice_show_and_set,
    top_shows_the_hog,
    counters_of_messages_hold,
    counters_of_steals_hold,
    counters_of_grace_periods_hold,
    system_calls_allocate_nothing,
);

fn text(path: &str) -> String {
    must(read_text(&CString::new(path).unwrap_or_default()))
}

/// A value of a `name : value` line.
fn line(text: &str, name: &str) -> String {
    let found = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name);
    some(found, name).1.trim().to_owned()
}

fn number(text: &str, name: &str) -> f64 {
    some(line(text, name).parse().ok(), name)
}

/// A child that works on `core` until it is killed.
fn hog(core: usize) -> Pid {
    spawn(|| {
        must(set_affinity(0, &[core]));
        loop {
            spin();
        }
    })
}

fn end(pid: Pid) {
    must(kill(pid, libc::SIGKILL));
    must(wait(pid));
}

/// Works in user mode for `ms` milliseconds of CPU time.
fn work(ms: u64) {
    let end = must(clock(libc::CLOCK_THREAD_CPUTIME_ID)) + ms * MS;
    while must(clock(libc::CLOCK_THREAD_CPUTIME_ID)) < end {
        (0..20).for_each(|_| spin());
    }
}

/// The numbers of a core's line of `/proc/stat`, in clock ticks.
fn core_times(core: usize) -> Vec<u64> {
    let name = format!("cpu{core}");
    let text = text("/proc/stat");
    let found = text.lines().find(|line| line.split_ascii_whitespace().next() == Some(&name));
    some(found, &name).split_ascii_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect()
}

fn sched_file_tells_of_the_thread() {
    work(20);
    nanosleep(1_000_000).ok();
    let text = text("/proc/self/sched");
    let first = some(text.lines().next(), "a line");
    assert!(first.contains(&format!("({}, #threads: 1)", getpid())), "{first}");
    let (all, voluntary) = (number(&text, "nr_switches"), number(&text, "nr_voluntary_switches"));
    assert_eq!(all, voluntary + number(&text, "nr_involuntary_switches"));
    assert!(voluntary >= 1.0);
    assert!(number(&text, "se.sum_exec_runtime") >= 19.0, "milliseconds");
    line(&text, "se.vruntime");
    assert_eq!((number(&text, "policy"), number(&text, "prio")), (0.0, 120.0));
}

fn sched_file_of_a_sleeper_and_of_a_hog_elsewhere() {
    let cores = must(affinity());
    let last = some(cores.last().copied(), "a core");
    let (hog, sleeper) = (
        hog(last),
        spawn(|| {
            sleep_ms(100_000);
            0
        }),
    );
    assert!(wait_for_state(sleeper, "S"));
    must(call!(SYS_setpriority, 0, hog, 5));
    sleep_ms(50);
    let before = text(&format!("/proc/{hog}/sched"));
    sleep_ms(100);
    let after = text(&format!("/proc/{hog}/sched"));
    assert!(number(&after, "se.sum_exec_runtime") > number(&before, "se.sum_exec_runtime"));
    assert!(number(&after, "se.vruntime") > number(&before, "se.vruntime"));
    assert_eq!(number(&after, "prio"), 125.0);
    let asleep = text(&format!("/proc/{sleeper}/sched"));
    line(&asleep, "se.vruntime");
    assert_eq!(some(proc_stat(sleeper, 3), "state"), "S", "looking does not wake it");
    [hog, sleeper].into_iter().for_each(end);
}

fn schedstat_tells_running_from_waiting() {
    let core = some(must(affinity()).first().copied(), "a core");
    let numbers = |pid: Pid| -> Vec<u64> {
        text(&format!("/proc/{pid}/schedstat")).split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let hogs = [hog(core), hog(core)];
    sleep_ms(600);
    for pid in hogs {
        let found = numbers(pid);
        assert_eq!(found.len(), 3);
        within(found[0], 60 * MS, 3 * SECOND, "run");
        within(found[1], 60 * MS, 3 * SECOND, "waited");
        assert!(found[2] >= 2, "turns");
    }
    hogs.into_iter().for_each(end);
}

fn migrations_are_counted() {
    let cores = must(affinity());
    let before = number(&text("/proc/self/sched"), "se.nr_migrations");
    for core in cores.iter().chain(&cores) {
        must(set_affinity(0, &[*core]));
    }
    let moved = number(&text("/proc/self/sched"), "se.nr_migrations") - before;
    let expected = if cores.len() > 1 { 2 * cores.len() - 1 } else { 0 };
    assert!(moved >= expected as f64, "{moved} of {expected}");
}

fn stat_charges_the_core_that_worked() {
    let cores = must(affinity());
    let busy = some(cores.last().copied(), "a core");
    let before: Vec<_> = cores.iter().map(|core| core_times(*core)).collect();
    must(set_affinity(0, &[busy]));
    work(400);
    let after: Vec<_> = cores.iter().map(|core| core_times(*core)).collect();
    let grown = |core: usize, field: usize| after[core][field] - before[core][field];
    let last = cores.len() - 1;
    within(grown(last, 0), 12, 100, "user time of the core that worked, in ticks");
    if last > 0 {
        let others = (0..last).map(|core| grown(core, 0)).max().unwrap_or(0);
        assert!(others < grown(last, 0) / 2 + 2, "user time of other cores: {others}");
        assert!((0..last).any(|core| grown(core, 3) >= 15), "another core was idle");
    }
    assert!(grown(last, 3) < 30, "the core that worked was not idle");
}

fn stat_tells_user_time_nice_time_and_system_time_apart() {
    let core = some(must(affinity()).first().copied(), "a core");
    must(set_affinity(0, &[core]));
    let before = core_times(core);
    let end = must(clock(libc::CLOCK_THREAD_CPUTIME_ID)) + 300 * MS;
    let zero = must(open(c"/dev/zero", libc::O_RDONLY, 0));
    let mut buffer = vec![0u8; 65536];
    while must(clock(libc::CLOCK_THREAD_CPUTIME_ID)) < end {
        must(read(zero, &mut buffer));
    }
    let system = core_times(core)[2] - before[2];
    within(system, 12, 100, "system time, in ticks");
    let child = spawn(|| {
        must(call!(SYS_setpriority, 0, 0, 7));
        work(300);
        0
    });
    crate::check::exits(child, 0);
    within(core_times(core)[1] - before[1], 8, 60, "nice time, in ticks");
}

fn stat_counts_switches_and_births() {
    let value = |name: &str| -> u64 {
        let text = text("/proc/stat");
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        some(found.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()), name)
    };
    let (switches, births, interrupts) = (value("ctxt "), value("processes "), value("intr "));
    for _ in 0..5 {
        crate::check::exits(spawn(|| 0), 0);
    }
    sleep_ms(5);
    assert!(value("processes ") >= births + 5);
    assert!(value("ctxt ") >= switches + 5);
    assert!(value("intr ") > interrupts);
    assert!(value("procs_running ") >= 1);
}

fn schedstat_of_the_machine_has_a_line_for_each_core() {
    let busy = |core: usize| -> u64 {
        let text = text("/proc/schedstat");
        assert!(text.starts_with("version "));
        let name = format!("cpu{core}");
        let found = text.lines().find(|line| line.split_ascii_whitespace().next() == Some(&name));
        some(some(found, &name).split_ascii_whitespace().nth(7).and_then(|word| word.parse().ok()), "run time")
    };
    let cores = must(affinity());
    let last = some(cores.last().copied(), "a core");
    let before = busy(last);
    must(set_affinity(0, &[last]));
    work(60);
    // One more switch, for a kernel that counts at switches only.
    nanosleep(1_000_000).ok();
    assert!(busy(last) - before >= 50 * MS);
    cores.iter().for_each(|core| assert!(busy(*core) > 0));
}

fn uptime_counts_idle_time_of_all_cores() {
    let read =
        || -> Vec<f64> { text("/proc/uptime").split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect() };
    let cores = must(affinity()).len() as f64;
    let before = read();
    sleep_ms(300);
    let after = read();
    let (up, idle) = (after[0] - before[0], after[1] - before[1]);
    assert!(up >= 0.29 && idle <= up * cores + 0.1 && idle > 0.05, "{up} s, of which all cores idle {idle} s");
}

fn interrupts_count_the_timer_of_each_core() {
    let cores = must(affinity());
    let timers = || -> Vec<u64> {
        let text = text("/proc/interrupts");
        let heading = some(text.lines().next(), "a heading");
        assert!(cores.iter().all(|core| heading.contains(&format!("CPU{core}"))), "{heading}");
        let found = text.lines().find(|line| line.contains("timer") && line.contains("GIC"));
        let words = some(found, "the timer's line").split_ascii_whitespace().skip(1);
        words.take(cores.len()).filter_map(|word| word.parse().ok()).collect()
    };
    let before = timers();
    for core in &cores {
        must(set_affinity(0, &[*core]));
        sleep_ms(3);
    }
    for (core, (after, before)) in timers().into_iter().zip(before).enumerate() {
        assert!(after > before, "core {core}: {before} to {after}");
    }
    assert!(text("/proc/interrupts").lines().any(|line| line.trim_start().starts_with("IPI0:")), "a line for IPIs");
}

fn load_rises_with_runnable_tasks() {
    let load =
        || -> f64 { some(text("/proc/loadavg").split_ascii_whitespace().next().and_then(|w| w.parse().ok()), "load") };
    let core = some(must(affinity()).first().copied(), "a core");
    let hogs = [hog(core), hog(core), hog(core)];
    let before = load();
    sleep_ms(6_000);
    let after = load();
    hogs.into_iter().for_each(end);
    // Three tasks for five to six seconds: (3 - before) * (1 - exp(-5/60)), less what the averages may lag behind.
    let expected = (3.0 - before) * 0.08;
    // What ran before may have left a higher load, which falls.
    let slack = if before < 3.0 { 0.03 } else { 0.3 };
    let (low, high) = if expected > 0.0 { (expected * 0.6, expected * 1.5) } else { (expected * 1.5, expected * 0.6) };
    assert!(after - before > low - slack && after - before < high + 0.3, "{before} to {after}");
}

fn wchan_names_a_wait() {
    let (reader, _writer) = must(pipe());
    let child = spawn(|| must(read(reader, &mut [0])) as i32);
    assert!(wait_for_state(child, "S"));
    let wchan = text(&format!("/proc/{child}/wchan"));
    assert!(!wchan.is_empty() && wchan != "0", "{wchan:?}");
    assert_eq!(text("/proc/self/wchan"), "0");
    let shown = output(c"/bin/ps", &["ps", "-o", "wchan=", "-p", &child.to_string()], &[]);
    assert!(shown.trim().len() > 1, "{shown:?}");
    end(child);
}

/// What a tool prints, its words separated by single blanks.
fn words(path: &CStr, args: &[&str]) -> String {
    output(path, args, &[]).split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn ps_shows_core_nice_class_and_priority() {
    let core = some(must(affinity()).last().copied(), "a core");
    let pid = hog(core);
    sleep_ms(30);
    let show = || words(c"/bin/ps", &["ps", "-o", "psr=,ni=,cls=,pri=,rtprio=", "-p", &pid.to_string()]);
    assert_eq!(show(), format!("{core} 0 TS 19 -"));
    must(call!(SYS_setpriority, 0, pid, 5));
    assert_eq!(show(), format!("{core} 5 TS 14 -"));
    must(call!(SYS_sched_setscheduler, pid, libc::SCHED_RR, &7i32));
    assert_eq!(show(), format!("{core} - RR 47 7"));
    must(call!(SYS_sched_setscheduler, pid, libc::SCHED_BATCH, &0i32));
    assert_eq!(show(), format!("{core} 5 B 14 0"));
    end(pid);
}

fn taskset_shows_and_sets() {
    let core = some(must(affinity()).last().copied(), "a core");
    let pid = hog(core);
    sleep_ms(30);
    let id = pid.to_string();
    assert_eq!(words(c"/bin/taskset", &["taskset", "-cp", &id]), format!("pid {id}'s current affinity list: {core}"));
    words(c"/bin/taskset", &["taskset", "-p", "1", &id]);
    assert_eq!(words(c"/bin/taskset", &["taskset", "-cp", &id]), format!("pid {id}'s current affinity list: 0"));
    sleep_ms(50);
    assert_eq!(some(proc_stat(pid, 39), "core"), "0");
    end(pid);
    let list = core.to_string();
    let inside = words(c"/bin/taskset", &["taskset", "-c", &list, "/bin/sh", "-c", "exec taskset -cp $$"]);
    assert!(inside.ends_with(&format!("list: {core}")), "{inside}");
}

fn chrt_shows_and_sets() {
    let pid = spawn(|| {
        sleep_ms(100_000);
        0
    });
    let id = pid.to_string();
    let show = || words(c"/bin/chrt", &["chrt", "-p", &id]);
    assert!(show().contains("SCHED_OTHER"), "{}", show());
    words(c"/bin/chrt", &["chrt", "-f", "-p", "33", &id]);
    assert!(show().contains("SCHED_FIFO") && show().contains("priority: 33"), "{}", show());
    words(c"/bin/chrt", &["chrt", "-i", "-p", "0", &id]);
    assert!(show().contains("SCHED_IDLE"), "{}", show());
    end(pid);
    let inside = words(c"/bin/chrt", &["chrt", "-r", "5", "/bin/sh", "-c", "chrt -p $$"]);
    assert!(inside.contains("SCHED_RR") && inside.contains("priority: 5"), "{inside}");
}

fn nice_and_renice_show_and_set() {
    assert_eq!(words(c"/bin/nice", &["nice", "-n", "7", "nice"]), "7");
    let pid = spawn(|| {
        sleep_ms(100_000);
        0
    });
    words(c"/bin/busybox", &["busybox", "renice", "-n", "3", "-p", &pid.to_string()]);
    assert_eq!(some(proc_stat(pid, 19), "nice"), "3");
    end(pid);
}

fn top_shows_the_hog() {
    let pid = hog(some(must(affinity()).first().copied(), "a core"));
    let shown = output(c"/bin/top", &["top", "-b", "-n", "2", "-d", "0.6", "-p", &pid.to_string()], &["TERM=dumb"]);
    end(pid);
    let row = shown.lines().rfind(|line| line.split_ascii_whitespace().next() == Some(&pid.to_string()));
    let row: Vec<_> = some(row, "the hog's line").split_ascii_whitespace().collect();
    assert_eq!(row[7], "R");
    let share: f64 = some(row[8].parse().ok(), "its share");
    assert!(share > 30.0, "{share} % of a core");
    assert!(shown.contains("load average"));
}

/// A table of Lichen's own below `/proc/lichen`, by columns; `None` on a kernel that does not count such things.
fn table(path: &CStr) -> Option<impl Fn(&str) -> Vec<u64>> {
    let text = read_text(path).ok()?;
    Some(move |name: &str| {
        let at = text.lines().next().and_then(|heading| heading.split(' ').position(|column| column == name));
        let at = some(at, name);
        text.lines().skip(1).filter_map(|row| row.split(' ').nth(at)?.parse().ok()).collect()
    })
}

/// Processes that pass a byte around over all cores.
fn traffic() {
    let cores = must(affinity());
    let (a, b) = (must(pipe()), must(pipe()));
    let echo = spawn(|| {
        must(set_affinity(0, &[cores[cores.len() - 1]]));
        for _ in 0..500 {
            must(read(a.0, &mut [0]));
            must(write(b.1, b"x"));
        }
        0
    });
    must(set_affinity(0, &[cores[0]]));
    for _ in 0..500 {
        must(write(a.1, b"x"));
        must(read(b.0, &mut [0]));
    }
    crate::check::exits(echo, 0);
}

fn counters_of_messages_hold() {
    let cores = must(affinity()).len();
    traffic();
    let Some(table) = table(c"/proc/lichen/messages") else { return };
    let sum = |name: &str| table(name).into_iter().sum::<u64>();
    assert_eq!(table("core").len(), cores);
    assert_eq!((sum("to-itself"), sum("allocations-in-interrupts")), (0, 0));
    assert_eq!(sum("sent"), sum("sgis") + sum("coalesced"));
    // Messages may be under way, a few at most.
    within(sum("sent") - sum("received").min(sum("sent")), 0, 64, "messages under way");
    if cores > 1 {
        assert!(sum("received") >= 100, "a pipe's round trips between two cores");
    }
}

fn counters_of_steals_hold() {
    let cores = must(affinity());
    let hogs: Vec<_> = cores
        .iter()
        .map(|_| {
            spawn(|| {
                work(100);
                0
            })
        })
        .collect();
    hogs.into_iter().for_each(|hog| crate::check::exits(hog, 0));
    let Some(table) = table(c"/proc/lichen/steals") else { return };
    let sum = |name: &str| table(name).into_iter().sum::<u64>();
    assert_eq!(sum("dropped-reschedules"), 0);
    assert!(sum("stolen") + sum("relieved") <= sum("migrated-here"));
    assert!(sum("refused") <= sum("requests"));
    assert!(table("turns").iter().all(|turns| *turns > 0));
}

fn counters_of_grace_periods_hold() {
    let Some(before) = table(c"/proc/lichen/rcu") else { return };
    let cores = before("core").len();
    // Each takes entries out of the table of processes.
    for _ in 0..50 {
        crate::check::exits(spawn(|| 0), 0);
    }
    let kernel_threads = output(c"/bin/ps", &["ps", "-e", "-o", "comm="], &[]);
    for core in 0..cores {
        assert!(kernel_threads.lines().any(|name| name.trim() == format!("rcu/{core}")), "{kernel_threads}");
    }
    // Ten milliseconds, and a grace period, are what the patient wait at the most.
    let done = || {
        let after = some(table(c"/proc/lichen/rcu"), "the table");
        let sum = |table: &dyn Fn(&str) -> Vec<u64>, name: &str| table(name).into_iter().sum::<u64>();
        let (deferred, run) = (sum(&after, "deferred"), sum(&after, "run"));
        assert!(run <= deferred && sum(&after, "grace-periods") > 0);
        assert!(deferred >= sum(&before, "deferred") + 50, "{deferred} callbacks");
        run >= sum(&before, "deferred") + 50
    };
    assert!(
        (0..2500).any(|_| done() || {
            sleep_ms(2);
            false
        }),
        "the callbacks of processes that ended wait for ever"
    );
}

/// How many allocations the kernel made while `calls` ran, which also read the counter twice.
fn allocations(calls: impl FnOnce()) -> Option<u64> {
    let count = || Some(table(c"/proc/lichen/heap")?("allocations").into_iter().sum::<u64>());
    let before = count()?;
    calls();
    Some(count()? - before)
}

fn system_calls_allocate_nothing() {
    const TIMES: usize = 5000;
    let (reader, writer) = must(pipe());
    let word = must(shared(PAGE));
    let all = |times: usize| {
        for _ in 0..times {
            must(call!(SYS_getppid));
            must(write(writer, b"x"));
            must(read(reader, &mut [0]));
            must(call!(SYS_futex, word, libc::FUTEX_WAKE, 1, 0, 0, 0));
            crate::check::fails(call!(SYS_futex, word, libc::FUTEX_WAIT, 1, 0, 0, 0), libc::EAGAIN);
        }
    };
    // What belongs to the file that tells, and to the first use of a pipe.
    all(10);
    let Some(idle) = allocations(|| all(0)) else { return };
    let busy = some(allocations(|| all(TIMES)), "the table");
    assert!(busy < idle + TIMES as u64 / 10, "{busy} allocations, {idle} of them to look");
}
