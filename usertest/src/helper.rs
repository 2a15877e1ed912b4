//! What this program does when a test executes it anew: `usertest --helper WHAT ARGS`.
//!
//! Exit codes are part of the contract with the test that asks.

use crate::call;
use crate::sys;
use std::ffi::{CStr, CString};

/// Runs helper `name`; the value is the exit code, 99 for an unknown name.
pub fn run(name: &str, args: &[String]) -> i32 {
    match name {
        "exit" => number(args.first()),
        "args" => {
            for arg in std::env::args() {
                println!("{arg}");
            }
            0
        }
        "env" => {
            for (key, value) in std::env::vars() {
                println!("{key}={value}");
            }
            0
        }
        "auxv" => auxv(),
        // Which of the descriptors named are open, as a mask.
        "open-fds" => args.iter().enumerate().fold(0, |mask, (index, arg)| {
            let open = sys::fcntl(number(Some(arg)), libc::F_GETFD, 0).is_ok();
            mask | i32::from(open) << index
        }),
        // 1 if blocked, 2 if ignored, 4 if handled or default otherwise.
        "signal" => signal_state(number(args.first())),
        "is-leader" => i32::from(sys::getpid() == sys::gettid()),
        "pid" => show(&sys::getpid().to_string()),
        "threads" => thread_count(),
        "ids" => show(&format!("{:?}", sys::call_ids())),
        // Effective user and group, and whether to distrust the environment, as the auxiliary vector tells.
        "told-ids" => show(&format!("{:?}", [libc::AT_EUID, libc::AT_EGID, libc::AT_SECURE].map(auxiliary))),
        "permitted" => show(&format!("{:08x}", sys::capabilities().map_or(0, |(_, permitted)| permitted))),
        "death-signal" => {
            let mut signal = 0i32;
            let _ = call!(SYS_prctl, libc::PR_GET_PDEATHSIG, &mut signal, 0, 0, 0);
            signal
        }
        "affinity" => show(&format!("{:?}", sys::affinity().unwrap_or_default())),
        "pause" => loop {
            sys::sigsuspend(0);
        },
        "comm" => show(sys::read_text(c"/proc/self/comm").unwrap_or_default().trim_end()),
        "pending" => i32::from(sys::pending() == Ok(sys::bit(number(args.first())))),
        "random" => show(&format!("{:?}", sys::bytes_at(auxiliary(libc::AT_RANDOM), 16))),
        "execfn" => {
            let at = core::ptr::with_exposed_provenance(auxiliary(libc::AT_EXECFN));
            // SAFETY: the kernel passed the address of a terminated string.
            show(&unsafe { CStr::from_ptr(at) }.to_string_lossy())
        }
        "thread-and-pid" => show(&format!("{} {} {}", sys::getpid(), sys::gettid(), thread_count())),
        // 0 unless something is mapped at the address.
        "mapped" => {
            let at = args.first().and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
            i32::from(sys::mapping_of(at) != Ok(None))
        }
        // The C library's start code ran since, so this only shows that vector registers began as zeros.
        "registers" => vector_registers(),
        "stack" => stack_layout(),
        // A script's interpreter: the "name" is the script's path.
        name if name.ends_with("script") => match args {
            [only] if only == "x" => 55,
            [inner] if inner.ends_with("outer") => 56,
            _ => 57,
        },
        _ => 99,
    }
}

fn show(text: &str) -> i32 {
    println!("{text}");
    0
}

fn auxiliary(key: u64) -> usize {
    // SAFETY: getauxval only reads what the kernel passed.
    (unsafe { libc::getauxval(key) }) as usize
}

/// 0 if a vector register that no start code uses is zero.
fn vector_registers() -> i32 {
    let (low, high): (u64, u64);
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("umov {0}, v29.d[0]", "umov {1}, v29.d[1]", out(reg) low, out(reg) high) };
    i32::from(low != 0 || high != 0)
}

/// 0 if the stack at entry is as the ELF ABI says: 16-byte aligned argument count, arguments, null.
fn stack_layout() -> i32 {
    // Field 28 of proc(5)'s stat is the address of the bottom of the stack: where argc lies.
    let at = sys::proc_stat(sys::getpid(), 28).and_then(|text| text.parse::<usize>().ok());
    let Some(at) = at else { return 1 };
    if at % 16 != 0 {
        return 2;
    }
    let count: usize = sys::peek(at);
    if count != std::env::args().count() {
        return 3;
    }
    if sys::peek::<usize>(at + 8 + 8 * count) != 0 {
        return 4;
    }
    0
}

fn number(text: Option<&String>) -> i32 {
    text.and_then(|text| text.parse().ok()).unwrap_or(98)
}

fn auxv() -> i32 {
    match sys::read_file(c"/proc/self/auxv") {
        Ok(bytes) => {
            for pair in bytes.chunks_exact(16) {
                let (key, value) = pair.split_at(8);
                let word = |b: &[u8]| u64::from_ne_bytes(b.try_into().unwrap_or([0; 8]));
                println!("{} {}", word(key), word(value));
            }
            0
        }
        Err(_) => 1,
    }
}

fn signal_state(signal: i32) -> i32 {
    let blocked = sys::mask(libc::SIG_BLOCK, 0).unwrap_or(0) & sys::bit(signal) != 0;
    let mut action = [0usize; 4];
    let _ = call!(SYS_rt_sigaction, signal, 0, &mut action, 8);
    match (blocked, action[0]) {
        (true, _) => 1,
        (_, libc::SIG_IGN) => 2,
        (_, libc::SIG_DFL) => 4,
        _ => 8,
    }
}

fn thread_count() -> i32 {
    sys::list(c"/proc/self/task").map_or(97, |names| names.len() as i32)
}

/// `execve` of `path`; returns only when it failed.
pub fn exec(path: &CStr, args: &[&str], env: &[&str]) -> sys::Errno {
    let strings =
        |list: &[&str]| -> Vec<CString> { list.iter().map(|text| CString::new(*text).unwrap_or_default()).collect() };
    let (args, env) = (strings(args), strings(env));
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|text| text.as_ptr()).chain([core::ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(&args), pointers(&env));
    match call!(SYS_execve, path, argv.as_ptr(), envp.as_ptr()) {
        Err(errno) => errno,
        Ok(_) => sys::Errno(0),
    }
}

/// Executes this program anew as helper `args`; returns only when that failed.
pub fn exec_self(args: &[&str]) -> i32 {
    let all: Vec<&str> = ["usertest", "--helper"].iter().chain(args).copied().collect();
    let errno = exec(c"/proc/self/exe", &all, &[]);
    eprintln!("exec of /proc/self/exe: {errno:?}");
    96
}

/// Runs helper `args` in a child and returns what it printed; it has to exit with 0.
#[track_caller]
pub fn output(path: &CStr, args: &[&str], env: &[&str]) -> String {
    use crate::check::{exits, must};
    let (reader, writer) = must(sys::pipe());
    let pid = sys::spawn(|| {
        let _ = call!(SYS_dup3, writer, 1, 0);
        exec(path, args, env).0
    });
    must(sys::close(writer));
    let text = must(sys::read_to_end(reader));
    exits(pid, 0);
    String::from_utf8_lossy(&text).into_owned()
}
