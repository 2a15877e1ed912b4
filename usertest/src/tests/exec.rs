//! execve(2): what is kept, what is reset, what is refused; the auxiliary vector.

use super::tests;
use crate::call;
use crate::check::{exits, fails, in_child, killed, must, some};
use crate::helper::{exec, exec_self, output};
use crate::sys::*;
use std::ffi::CString;

tests!("exec":
    passes_arguments_and_environment,
    passes_empty_and_many_arguments,
    keeps_pid_and_parent,
    closes_cloexec_descriptors_only,
    resets_handlers_keeps_ignored_and_masks,
    keeps_pending_signals,
    of_nothing_is_enoent,
    of_an_empty_path_is_enoent,
    through_a_file_is_enotdir,
    of_a_directory_is_eacces,
    without_x_bit_is_eacces_even_for_root,
    of_text_is_enoexec,
    of_a_truncated_elf_is_enoexec,
    of_a_foreign_machine_is_enoexec,
    bad_argument_pointers_are_efault,
    of_too_many_arguments_is_e2big,
    of_a_file_open_for_writing_is_etxtbsy,
    of_a_script_open_for_writing_is_etxtbsy,
    a_running_program_is_not_written_to,
    script_runs_its_interpreter_with_one_argument,
    script_of_script_works,
    script_without_interpreter_is_enoent,
    auxv_tells_the_truth,
    auxv_random_differs,
    execfn_is_the_path_given,
    from_another_thread_keeps_the_pid_and_ends_the_rest,
    of_a_hundred_threads_leaves_one,
    execveat_by_descriptor,
    unlinked_program_can_be_executed_by_descriptor,
    set_user_id_bit_changes_the_effective_user,
    set_id_bits_are_void_while_another_process_shares_the_directories,
    set_id_bits_are_void_with_no_new_privs,
    no_new_privs_takes_an_effective_user_away,
    death_signal_is_forgotten_where_the_effective_user_is_not_the_real_one,
    memory_is_fresh,
    stack_is_aligned_and_argv_is_terminated,
);

fn own_path() -> CString {
    let path = must(readlink(c"/proc/self/exe"));
    CString::new(path).unwrap_or_default()
}

fn helper_output(args: &[&str], env: &[&str]) -> String {
    let all: Vec<&str> = ["usertest", "--helper"].iter().chain(args).copied().collect();
    output(&own_path(), &all, env)
}

fn passes_arguments_and_environment() {
    let text = helper_output(&["args", "one", "two words", "ünï"], &[]);
    assert_eq!(text, "usertest\n--helper\nargs\none\ntwo words\nünï\n");
    assert_eq!(helper_output(&["env"], &["A=1", "LONG NAME=x=y"]), "A=1\nLONG NAME=x=y\n");
}

fn passes_empty_and_many_arguments() {
    let many: Vec<String> = (0..2000).map(|i| format!("argument-{i}")).collect();
    let args: Vec<&str> = ["args", ""].into_iter().chain(many.iter().map(String::as_str)).collect();
    let text = helper_output(&args, &[]);
    assert_eq!(text.lines().count(), 2 + 2 + 2000);
    assert_eq!(text.lines().nth(3), Some(""));
    assert_eq!(text.lines().last(), Some("argument-1999"));
}

fn keeps_pid_and_parent() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        let _ = call!(SYS_dup3, writer, 1, 0);
        exec_self(&["pid"])
    });
    must(close(writer));
    let text = must(read_to_end(reader));
    assert_eq!(String::from_utf8_lossy(&text).trim(), child.to_string());
    exits(child, 0);
}

fn closes_cloexec_descriptors_only() {
    let fd = must(scratch_file(c"file", 1));
    must(call!(SYS_dup3, fd, 20, 0));
    must(call!(SYS_dup3, fd, 21, libc::O_CLOEXEC));
    must(call!(SYS_dup3, fd, 22, libc::O_CLOEXEC));
    must(fcntl(22, libc::F_SETFD, 0));
    must(call!(SYS_dup3, fd, 100, libc::O_CLOEXEC));
    exits(spawn(|| exec_self(&["open-fds", "20", "21", "22", "100"])), 0b0101);
}

fn resets_handlers_keeps_ignored_and_masks() {
    must(on_signal(libc::SIGUSR1, record, 0));
    must(set_disposition(libc::SIGUSR2, libc::SIG_IGN));
    must(block(bit(libc::SIGWINCH)));
    exits(spawn(|| exec_self(&["signal", "10"])), 4);
    exits(spawn(|| exec_self(&["signal", "12"])), 2);
    exits(spawn(|| exec_self(&["signal", "28"])), 1);
}

fn keeps_pending_signals() {
    must(block(bit(libc::SIGUSR1)));
    let child = spawn(|| {
        must(raise(libc::SIGUSR1));
        exec_self(&["pending", "10"])
    });
    exits(child, 1);
}

fn try_exec(path: &std::ffi::CStr) -> Result<()> {
    // Should it succeed, the program only exits, and the test fails.
    Err(exec(path, &["x", "--helper", "exit", "66"], &[]))
}

fn of_nothing_is_enoent() {
    fails(try_exec(c"/no/such/file"), libc::ENOENT);
}

fn of_an_empty_path_is_enoent() {
    fails(try_exec(c""), libc::ENOENT);
}

fn through_a_file_is_enotdir() {
    must(write_file(c"file", b""));
    fails(try_exec(c"file/x"), libc::ENOTDIR);
}

fn of_a_directory_is_eacces() {
    fails(try_exec(c"/"), libc::EACCES);
}

fn program(name: &std::ffi::CStr, content: &[u8], mode: u32) {
    must(write_file(name, content));
    must(call!(SYS_fchmodat, libc::AT_FDCWD, name, mode));
}

fn without_x_bit_is_eacces_even_for_root() {
    program(c"file", b"#!/bin/sh\n", 0o644);
    fails(try_exec(c"file"), libc::EACCES);
}

fn of_text_is_enoexec() {
    program(c"file", b"this is not a program\n", 0o755);
    fails(try_exec(c"file"), libc::ENOEXEC);
    program(c"empty", b"", 0o755);
    fails(try_exec(c"empty"), libc::ENOEXEC);
}

fn of_a_truncated_elf_is_enoexec() {
    let whole = must(read_file(c"/proc/self/exe"));
    program(c"file", &whole[..40], 0o755);
    fails(try_exec(c"file"), libc::ENOEXEC);
    program(c"header", &whole[..4], 0o755);
    fails(try_exec(c"header"), libc::ENOEXEC);
}

fn of_a_foreign_machine_is_enoexec() {
    let mut head = must(read_file(c"/proc/self/exe"));
    head[18] = 62;
    head.truncate(8192);
    program(c"file", &head, 0o755);
    fails(try_exec(c"file"), libc::ENOEXEC);
}

fn bad_argument_pointers_are_efault() {
    let path = own_path();
    fails(call!(SYS_execve, 8, 0, 0), libc::EFAULT);
    fails(call!(SYS_execve, path.as_c_str(), 8, 0), libc::EFAULT);
    let argv = [8usize, 0];
    fails(call!(SYS_execve, path.as_c_str(), &argv, 0), libc::EFAULT);
    fails(call!(SYS_execve, path.as_c_str(), usize::MAX - 7, 0), libc::EFAULT);
}

fn of_too_many_arguments_is_e2big() {
    let path = own_path();
    let long = CString::new(vec![b'x'; 140_000]).unwrap_or_default();
    let argv = [long.as_ptr(), core::ptr::null()];
    fails(call!(SYS_execve, path.as_c_str(), &argv, 0), libc::E2BIG);
    let piece = CString::new(vec![b'x'; 100_000]).unwrap_or_default();
    let mut argv = vec![piece.as_ptr(); 100];
    argv.push(core::ptr::null());
    fails(call!(SYS_execve, path.as_c_str(), argv.as_ptr(), 0), libc::E2BIG);
}

fn of_a_file_open_for_writing_is_etxtbsy() {
    program(c"file", &must(read_file(c"/proc/self/exe")), 0o755);
    let fd = must(open(c"file", libc::O_WRONLY, 0));
    fails(try_exec(c"file"), libc::ETXTBSY);
    must(close(fd));
    exits(spawn(|| exec(c"./file", &["file", "--helper", "exit", "17"], &[]).0), 17);
}

fn of_a_script_open_for_writing_is_etxtbsy() {
    program(c"script", b"#!/no/such/interpreter\n", 0o755);
    let fd = must(open(c"script", libc::O_WRONLY, 0));
    fails(try_exec(c"script"), libc::ETXTBSY);
    must(close(fd));
    program(c"interpreter", &must(read_file(c"/proc/self/exe")), 0o755);
    let directory = std::env::current_dir().map(|d| d.to_string_lossy().into_owned()).unwrap_or_default();
    script(c"script", &format!("#!{directory}/interpreter --helper\n"));
    let fd = must(open(c"interpreter", libc::O_RDWR, 0));
    fails(try_exec(c"script"), libc::ETXTBSY);
    must(close(fd));
}

fn a_running_program_is_not_written_to() {
    program(c"file", &must(read_file(c"/proc/self/exe")), 0o755);
    let child = spawn(|| exec(c"./file", &["file", "--helper", "pause"], &[]).0);
    assert!(wait_for_state(child, "S"));
    for flags in [libc::O_WRONLY, libc::O_RDWR | libc::O_TRUNC, libc::O_RDONLY | libc::O_TRUNC] {
        fails(open(c"file", flags, 0), libc::ETXTBSY);
    }
    fails(call!(SYS_truncate, c"file", 100), libc::ETXTBSY);
    must(kill(child, libc::SIGKILL));
    killed(child, libc::SIGKILL);
    must(close(must(open(c"file", libc::O_WRONLY, 0))));
}

fn script(name: &std::ffi::CStr, line: &str) {
    program(name, line.as_bytes(), 0o755);
}

fn script_runs_its_interpreter_with_one_argument() {
    let interpreter = own_path();
    script(c"script", &format!("#! {} --helper \nrest", interpreter.to_string_lossy()));
    // The kernel passes: interpreter, "--helper", "script", then the arguments after argv[0].
    let child = spawn(|| exec(c"script", &["ignored", "x"], &[]).0);
    exits(child, 55);
    script(c"two", &format!("#!{} --helper args\n", interpreter.to_string_lossy()));
    // Everything after the interpreter is one argument, so this one is unknown.
    let child = spawn(|| {
        must(call!(SYS_dup3, 0, 2, 0));
        exec(c"./two", &["two"], &[]).0
    });
    exits(child, 2);
}

fn script_of_script_works() {
    let interpreter = own_path();
    let directory = std::env::current_dir().map(|d| d.to_string_lossy().into_owned()).unwrap_or_default();
    script(c"script", &format!("#!{} --helper\n", interpreter.to_string_lossy()));
    script(c"outer", &format!("#!{directory}/script\n"));
    let inner = spawn(|| exec(c"./outer", &["outer"], &[]).0);
    exits(inner, 56);
}

fn script_without_interpreter_is_enoent() {
    script(c"script", "#!/no/such/interpreter\n");
    fails(try_exec(c"script"), libc::ENOENT);
    script(c"blank", "#!  \n");
    fails(try_exec(c"blank"), libc::ENOEXEC);
}

fn auxv_of(path: &std::ffi::CStr) -> Vec<(u64, u64)> {
    let text = output(path, &["usertest", "--helper", "auxv"], &[]);
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(key, value)| Some((key.parse().ok()?, value.parse().ok()?)))
        .collect()
}

fn auxv_tells_the_truth() {
    let auxv = auxv_of(&own_path());
    let value = |key: u64| auxv.iter().find(|(other, _)| *other == key).map(|(_, value)| *value);
    assert_eq!(value(libc::AT_PAGESZ), Some(4096));
    assert_eq!(value(libc::AT_CLKTCK), Some(100));
    assert_eq!(value(libc::AT_PHENT), Some(56));
    assert_eq!(value(libc::AT_SECURE), Some(0));
    assert_eq!(value(libc::AT_UID), Some(0));
    assert_eq!(value(libc::AT_EGID), Some(0));
    assert!(some(value(libc::AT_PHNUM), "AT_PHNUM") > 1);
    assert!(some(value(libc::AT_ENTRY), "AT_ENTRY") != 0);
    let hwcap = some(value(libc::AT_HWCAP), "AT_HWCAP");
    assert!(hwcap & 0b11 == 0b11, "AT_HWCAP lacks fp and asimd: {hwcap:#x}");
    assert!(some(value(libc::AT_RANDOM), "AT_RANDOM") > 4096);
    assert_eq!(auxv.last(), Some(&(0, 0)));
}

fn auxv_random_differs() {
    // SAFETY: getauxval only reads.
    let at = unsafe { libc::getauxval(libc::AT_RANDOM) } as usize;
    let own = bytes_at(at, 16).to_vec();
    assert!(own.iter().any(|byte| *byte != 0), "AT_RANDOM points to zeros");
    let one = helper_output(&["random"], &[]);
    let two = helper_output(&["random"], &[]);
    assert!(one != two, "two programs got the same AT_RANDOM");
}

fn execfn_is_the_path_given() {
    must(symlink(&own_path(), c"a-link"));
    let text = output(c"./a-link", &["usertest", "--helper", "execfn"], &[]);
    assert_eq!(text, "./a-link\n");
}

fn from_another_thread_keeps_the_pid_and_ends_the_rest() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        let _ = call!(SYS_dup3, writer, 1, 0);
        std::thread::spawn(|| exit(exec_self(&["thread-and-pid"])));
        loop {
            sigsuspend(0);
        }
    });
    must(close(writer));
    let text = must(read_to_end(reader));
    assert_eq!(String::from_utf8_lossy(&text), format!("{child} {child} 1\n"));
    exits(child, 0);
}

fn of_a_hundred_threads_leaves_one() {
    let child = spawn(|| {
        for _ in 0..99 {
            std::thread::spawn(|| {
                loop {
                    sigsuspend(0);
                }
            });
        }
        exec_self(&["threads"])
    });
    exits(child, 1);
}

fn execveat_by_descriptor() {
    let fd = must(open(&own_path(), libc::O_RDONLY | libc::O_CLOEXEC, 0));
    let child = spawn(|| {
        let argv = [c"usertest".as_ptr(), c"--helper".as_ptr(), c"exit".as_ptr(), c"23".as_ptr(), core::ptr::null()];
        let _ = call!(SYS_execveat, fd, c"", &argv, 0, libc::AT_EMPTY_PATH);
        1
    });
    exits(child, 23);
}

fn unlinked_program_can_be_executed_by_descriptor() {
    program(c"file", &must(read_file(c"/proc/self/exe")), 0o755);
    let fd = must(open(c"file", libc::O_RDONLY, 0));
    must(unlink(c"file"));
    let path = CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    exits(spawn(|| exec(&path, &["usertest", "--helper", "exit", "19"], &[]).0), 19);
}

/// Makes `file` a copy of this program that runs as user 4321 and group 8765.
fn set_id_program() {
    program(c"file", &must(read_file(c"/proc/self/exe")), 0o755);
    must(call!(SYS_fchownat, libc::AT_FDCWD, c"file", 4321, 8765, 0));
    must(call!(SYS_fchmodat, libc::AT_FDCWD, c"file", 0o6755));
}

/// What helper `args` of `file` says in a process of user and group 1000 that did `before`.
fn users_output(args: &[&str], before: impl FnOnce()) -> String {
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        must(call!(SYS_setresgid, 1000, 1000, 1000));
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        before();
        must(call!(SYS_dup3, writer, 1, 0));
        exec(c"./file", args, &[]).0
    });
    must(close(writer));
    let text = must(read_to_end(reader));
    exits(child, 0);
    String::from_utf8_lossy(&text).into_owned()
}

const IDS: [&str; 3] = ["usertest", "--helper", "ids"];
const TOLD_IDS: [&str; 3] = ["usertest", "--helper", "told-ids"];

fn set_id_bits_are_void_while_another_process_shares_the_directories() {
    /// Goes on in a new process with `flags`, and leaves it to end with its parent.
    fn with_child(flags: i32) {
        let (reader, writer) = must(pipe());
        if must(call!(SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0)) == 0 {
            must(call!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0));
            must(write(writer, b"x"));
            loop {
                sigsuspend(0);
            }
        }
        must(read(reader, &mut [0u8; 1]));
    }
    fn with_thread() {
        std::thread::spawn(|| {
            loop {
                sigsuspend(0);
            }
        });
    }
    set_id_program();
    for before in [|| {}, || with_child(0), with_thread] {
        assert_eq!(users_output(&IDS, before), "([1000, 4321, 4321], [1000, 8765, 8765])\n");
    }
    let sharing = || with_child(libc::CLONE_FS);
    assert_eq!(users_output(&IDS, sharing), "([1000, 1000, 1000], [1000, 1000, 1000])\n");
    assert_eq!(users_output(&TOLD_IDS, sharing), "[1000, 1000, 1]\n");
}

fn no_new_privs() {
    must(call!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

fn set_id_bits_are_void_with_no_new_privs() {
    set_id_program();
    assert_eq!(users_output(&IDS, no_new_privs), "([1000, 1000, 1000], [1000, 1000, 1000])\n");
    assert_eq!(users_output(&TOLD_IDS, no_new_privs), "[1000, 1000, 0]\n");
}

fn no_new_privs_takes_an_effective_user_away() {
    let ids_after = |before: fn()| {
        let (reader, writer) = must(pipe());
        let child = spawn(|| {
            must(call!(SYS_setresuid, 1000, 2000, 2000));
            before();
            must(call!(SYS_dup3, writer, 1, 0));
            exec_self(&["ids"])
        });
        must(close(writer));
        let text = must(read_to_end(reader));
        exits(child, 0);
        String::from_utf8_lossy(&text).into_owned()
    };
    assert_eq!(ids_after(|| {}), "([1000, 2000, 2000], [0, 0, 0])\n");
    assert_eq!(ids_after(no_new_privs), "([1000, 1000, 1000], [0, 0, 0])\n");
}

fn death_signal_is_forgotten_where_the_effective_user_is_not_the_real_one() {
    let signal_after = |real: u32| {
        spawn(|| {
            must(call!(SYS_setresuid, real, 0, 0));
            must(call!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGUSR1, 0, 0, 0));
            exec_self(&["death-signal"])
        })
    };
    exits(signal_after(0), libc::SIGUSR1);
    exits(signal_after(1000), 0);
}

fn set_user_id_bit_changes_the_effective_user() {
    set_id_program();
    let text = output(c"./file", &["usertest", "--helper", "ids"], &[]);
    assert_eq!(text, "([0, 4321, 4321], [0, 8765, 8765])\n");
}

fn memory_is_fresh() {
    let at = must(mmap(0x7000_0000, PAGE, RW, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED, -1, 0));
    poke(at, 1u32);
    in_child(|| {
        exits(spawn(|| exec_self(&["mapped", &at.to_string()])), 0);
    });
}

fn stack_is_aligned_and_argv_is_terminated() {
    exits(spawn(|| exec_self(&["stack"])), 0);
}
