//! The table of system calls, by arm64's numbers (`include/uapi/asm-generic/unistd.h`).
//!
//! `blocks`: the handler may answer `Outcome::Block`, and has a `*_blocking` namesake.
#![forbid(unsafe_code)]

use super::time::TimeSpec;
use libkernel::Result;
use libkernel::fs::Fd;
use libkernel::memory::UserPtr;
use libkernel::process::host::Field;
use linux_raw_sys::general as linux;
use linux_raw_sys::general::{rlimit64, rusage};

use super::{Argument, Context, Outcome, Served};

/// Calls have numbers below this.
pub const CALLS: usize = 512;

type Handler = fn(&mut Context) -> Served;

/// The registers of the arguments, in order.
struct Arguments {
    next: usize,
}

impl Arguments {
    #[inline(always)]
    fn take<T: Argument>(&mut self, cx: &Context) -> T {
        let argument = T::from_register(cx.registers.x.get(self.next).copied().unwrap_or(0));
        self.next += 1;
        argument
    }
}

/// Calls a handler with its arguments decoded.
macro_rules! call {
    ($cx:ident, $handler:path, ($($argument:ident: $type:ty),*)) => {{
        let mut arguments = Arguments { next: 0 };
        let _ = &mut arguments;
        $(let $argument: $type = arguments.take($cx);)*
        $handler($cx $(, $argument)*)
    }};
}

macro_rules! system_calls {
    ($($number:literal => $name:ident $arguments:tt in $module:ident $(, $blocking:ident)?;)*) => {
        const fn handlers() -> [Handler; CALLS] {
            let mut table: [Handler; CALLS] = [super::dispatch::unknown; CALLS];
            $({
                fn handler(cx: &mut Context) -> Served {
                    match call!(cx, super::$module::$name, $arguments).into() {
                        Outcome::Done(result) => cx.end_call(result),
                        Outcome::Block => Served::Waits,
                    }
                }
                table[$number] = handler;
            })*
            table
        }

        /// The waiting part of a call whose handler answered [`Outcome::Block`].
        pub async fn wait(number: usize, cx: &mut Context) -> Result<usize> {
            match number {
                $($($number => call!(cx, super::$module::$blocking, $arguments).await,)?)*
                _ => Err(libkernel::Errno::ENOSYS),
            }
        }
    };
}

system_calls! {
    5 => setxattr(path: UserPtr<u8>) in path;
    6 => lsetxattr(path: UserPtr<u8>) in path;
    7 => fsetxattr(fd: Fd) in path;
    8 => getxattr(path: UserPtr<u8>) in path;
    9 => lgetxattr(path: UserPtr<u8>) in path;
    10 => fgetxattr(fd: Fd) in path;
    11 => listxattr(path: UserPtr<u8>) in path;
    12 => llistxattr(path: UserPtr<u8>) in path;
    13 => flistxattr(fd: Fd) in path;
    14 => setxattr(path: UserPtr<u8>) in path;
    15 => lsetxattr(path: UserPtr<u8>) in path;
    16 => fsetxattr(fd: Fd) in path;
    17 => getcwd(buffer: UserPtr<u8>, size: usize) in directory;
    19 => eventfd2(count: u32, flags: u32) in event;
    20 => epoll_create1(flags: u32) in epoll;
    21 => epoll_ctl(epoll: Fd, operation: u32, fd: Fd, event: UserPtr<linux::epoll_event>) in epoll;
    22 => epoll_pwait(epoll: Fd, events: UserPtr<linux::epoll_event>, count: i32, timeout: i32, mask: UserPtr<u64>, size: usize) in epoll, epoll_pwait_blocking;
    23 => dup(fd: Fd) in descriptor;
    24 => dup3(old: Fd, new: Fd, flags: u32) in descriptor;
    25 => fcntl(fd: Fd, command: u32, argument: usize) in descriptor, fcntl_blocking;
    29 => ioctl(fd: Fd, request: u32, argument: usize) in descriptor, ioctl_blocking;
    32 => flock(fd: Fd, operation: u32) in descriptor, flock_blocking;
    33 => mknodat(directory: Fd, path: UserPtr<u8>, mode: u32, device: u32) in directory;
    34 => mkdirat(directory: Fd, path: UserPtr<u8>, mode: u32) in directory;
    35 => unlinkat(directory: Fd, path: UserPtr<u8>, flags: u32) in directory;
    36 => symlinkat(target: UserPtr<u8>, directory: Fd, path: UserPtr<u8>) in directory;
    37 => linkat(old_directory: Fd, old: UserPtr<u8>, new_directory: Fd, new: UserPtr<u8>, flags: u32) in directory;
    38 => renameat(old_directory: Fd, old: UserPtr<u8>, new_directory: Fd, new: UserPtr<u8>) in directory;
    39 => umount2(target: UserPtr<u8>, flags: u32) in mount;
    40 => mount(source: UserPtr<u8>, target: UserPtr<u8>, kind: UserPtr<u8>, flags: usize, options: UserPtr<u8>) in mount;
    43 => statfs(path: UserPtr<u8>, buffer: UserPtr<linux::statfs>) in mount;
    44 => fstatfs(fd: Fd, buffer: UserPtr<linux::statfs>) in mount;
    45 => truncate(path: UserPtr<u8>, size: i64) in path;
    46 => ftruncate(fd: Fd, size: i64) in file;
    47 => fallocate(fd: Fd, mode: u32, offset: i64, length: i64) in file, fallocate_blocking;
    48 => faccessat(directory: Fd, path: UserPtr<u8>, mode: u32) in path;
    49 => chdir(path: UserPtr<u8>) in directory;
    50 => fchdir(fd: Fd) in directory;
    51 => chroot(path: UserPtr<u8>) in directory;
    52 => fchmod(fd: Fd, mode: u32) in path;
    53 => fchmodat(directory: Fd, path: UserPtr<u8>, mode: u32) in path;
    54 => fchownat(directory: Fd, path: UserPtr<u8>, uid: u32, gid: u32, flags: u32) in path;
    55 => fchown(fd: Fd, uid: u32, gid: u32) in path;
    56 => openat(directory: Fd, path: UserPtr<u8>, flags: u32, mode: u32) in path, openat_blocking;
    57 => close(fd: Fd) in descriptor;
    59 => pipe2(fds: UserPtr<[i32; 2]>, flags: u32) in pipe;
    61 => getdents64(fd: Fd, buffer: UserPtr<u8>, length: u32) in directory;
    62 => lseek(fd: Fd, distance: i64, whence: u32) in file;
    63 => read(fd: Fd, buffer: UserPtr<u8>, length: usize) in read_write;
    64 => write(fd: Fd, buffer: UserPtr<u8>, length: usize) in read_write;
    65 => readv(fd: Fd, vector: UserPtr<linux::iovec>, count: usize) in read_write, readv_blocking;
    66 => writev(fd: Fd, vector: UserPtr<linux::iovec>, count: usize) in read_write, writev_blocking;
    67 => pread64(fd: Fd, buffer: UserPtr<u8>, length: usize, offset: i64) in read_write;
    68 => pwrite64(fd: Fd, buffer: UserPtr<u8>, length: usize, offset: i64) in read_write;
    69 => preadv(fd: Fd, vector: UserPtr<linux::iovec>, count: usize, offset: i64) in read_write, preadv_blocking;
    70 => pwritev(fd: Fd, vector: UserPtr<linux::iovec>, count: usize, offset: i64) in read_write, pwritev_blocking;
    71 => sendfile(to: Fd, from: Fd, offset: UserPtr<i64>, count: usize) in transfer, sendfile_blocking;
    72 => pselect6(count: i32, readable: UserPtr<u64>, writable: UserPtr<u64>, exceptional: UserPtr<u64>, timeout: UserPtr<linux::__kernel_timespec>, mask: UserPtr<[u64; 2]>) in poll, pselect6_blocking;
    73 => ppoll(fds: UserPtr<linux::pollfd>, count: usize, timeout: UserPtr<linux::__kernel_timespec>, mask: UserPtr<u64>, size: usize) in poll, ppoll_blocking;
    74 => signalfd4(fd: i32, set: UserPtr<u64>, size: usize, flags: u32) in timer;
    76 => splice(from: Fd, from_offset: UserPtr<i64>, to: Fd, to_offset: UserPtr<i64>, length: usize, flags: u32) in transfer, splice_blocking;
    78 => readlinkat(directory: Fd, path: UserPtr<u8>, buffer: UserPtr<u8>, size: i32) in path;
    79 => newfstatat(directory: Fd, path: UserPtr<u8>, buffer: UserPtr<linux::stat>, flags: u32) in path;
    80 => fstat(fd: Fd, buffer: UserPtr<linux::stat>) in path;
    81 => sync() in file;
    82 => fsync(fd: Fd) in file;
    83 => fdatasync(fd: Fd) in file;
    84 => sync_file_range(fd: Fd, offset: i64, length: i64, flags: u32) in file;
    85 => timerfd_create(clock: i32, flags: u32) in timer;
    86 => timerfd_settime(fd: Fd, flags: u32, new: UserPtr<[i64; 4]>, old: UserPtr<[i64; 4]>) in timer;
    87 => timerfd_gettime(fd: Fd, to: UserPtr<[i64; 4]>) in timer;
    88 => utimensat(directory: Fd, path: UserPtr<u8>, times: UserPtr<[[i64; 2]; 2]>, flags: u32) in path;
    90 => capget(header: UserPtr<[u32; 2]>, data: UserPtr<[[u32; 3]; 2]>) in credentials;
    91 => capset(header: UserPtr<[u32; 2]>, data: UserPtr<[[u32; 3]; 2]>) in credentials;
    92 => personality(persona: u32) in process;
    93 => exit(code: i32) in process;
    94 => exit_group(code: i32) in process;
    95 => waitid(kind: u32, id: i32, info: UserPtr<u8>, options: u32, usage: UserPtr<rusage>) in wait, waitid_blocking;
    96 => set_tid_address(address: UserPtr<u32>) in process;
    97 => unshare(flags: u64) in clone;
    98 => futex(address: u64, operation: u32, value: u32, fourth: u64, second: u64, third: u32) in futex;
    99 => set_robust_list(head: UserPtr<u8>, size: usize) in process;
    100 => get_robust_list(tid: i32, head: UserPtr<usize>, size: UserPtr<usize>) in process;
    101 => nanosleep(time: UserPtr<TimeSpec>, remaining: UserPtr<TimeSpec>) in time, nanosleep_blocking;
    102 => getitimer(which: u32, to: UserPtr<[i64; 4]>) in timer;
    103 => setitimer(which: u32, new: UserPtr<[i64; 4]>, old: UserPtr<[i64; 4]>) in timer;
    107 => timer_create(clock: i32, event: UserPtr<u8>, id: UserPtr<i32>) in timer;
    108 => timer_gettime(id: u32, to: UserPtr<[i64; 4]>) in timer;
    109 => timer_getoverrun(id: u32) in timer;
    110 => timer_settime(id: u32, flags: u32, new: UserPtr<[i64; 4]>, old: UserPtr<[i64; 4]>) in timer;
    111 => timer_delete(id: u32) in timer;
    112 => clock_settime(clock: i32, time: UserPtr<TimeSpec>) in time;
    113 => clock_gettime(clock: i32, time: UserPtr<TimeSpec>) in time;
    114 => clock_getres(clock: i32, resolution: UserPtr<TimeSpec>) in time;
    115 => clock_nanosleep(clock: i32, flags: u32, time: UserPtr<TimeSpec>, remaining: UserPtr<TimeSpec>) in time, clock_nanosleep_blocking;
    116 => syslog(action: i32, buffer: UserPtr<u8>, length: i32) in system;
    118 => sched_setparam(tid: i32, parameter: UserPtr<i32>) in schedule;
    119 => sched_setscheduler(tid: i32, policy: i32, parameter: UserPtr<i32>) in schedule;
    120 => sched_getscheduler(tid: i32) in schedule;
    121 => sched_getparam(tid: i32, parameter: UserPtr<i32>) in schedule;
    122 => sched_setaffinity(tid: i32, length: u32, mask: UserPtr<u8>) in schedule;
    123 => sched_getaffinity(tid: i32, length: u32, mask: UserPtr<u64>) in schedule;
    124 => sched_yield() in schedule;
    125 => sched_get_priority_max(policy: u32) in schedule;
    126 => sched_get_priority_min(policy: u32) in schedule;
    127 => sched_rr_get_interval(tid: i32, interval: UserPtr<TimeSpec>) in schedule;
    128 => restart_syscall() in signal, restart_syscall_blocking;
    129 => kill(pid: i32, number: i32) in signal;
    130 => tkill(tid: i32, number: i32) in signal;
    131 => tgkill(pid: i32, tid: i32, number: i32) in signal;
    132 => sigaltstack(new: UserPtr<[u64; 3]>, old: UserPtr<[u64; 3]>) in signal;
    133 => rt_sigsuspend(mask: UserPtr<u64>, size: usize) in signal, rt_sigsuspend_blocking;
    134 => rt_sigaction(number: i32, new: UserPtr<[u8; 32]>, old: UserPtr<[u8; 32]>, size: usize) in signal;
    135 => rt_sigprocmask(how: u32, new: UserPtr<u64>, old: UserPtr<u64>, size: usize) in signal;
    136 => rt_sigpending(to: UserPtr<u8>, size: usize) in signal;
    137 => rt_sigtimedwait(set: UserPtr<u64>, to: UserPtr<u8>, timeout: UserPtr<[i64; 2]>, size: usize) in signal, rt_sigtimedwait_blocking;
    138 => rt_sigqueueinfo(pid: i32, number: i32, from: UserPtr<u8>) in signal;
    139 => rt_sigreturn() in signal;
    140 => setpriority(which: i32, who: i32, nice: i32) in schedule;
    141 => getpriority(which: i32, who: i32) in schedule;
    142 => reboot(magic: u32, magic2: u32, command: u32, argument: u64) in system;
    143 => setregid(real: u32, effective: u32) in credentials;
    144 => setgid(id: u32) in credentials;
    145 => setreuid(real: u32, effective: u32) in credentials;
    146 => setuid(id: u32) in credentials;
    147 => setresuid(real: u32, effective: u32, saved: u32) in credentials;
    148 => getresuid(real: UserPtr<u32>, effective: UserPtr<u32>, saved: UserPtr<u32>) in credentials;
    149 => setresgid(real: u32, effective: u32, saved: u32) in credentials;
    150 => getresgid(real: UserPtr<u32>, effective: UserPtr<u32>, saved: UserPtr<u32>) in credentials;
    151 => setfsuid(id: u32) in credentials;
    152 => setfsgid(id: u32) in credentials;
    153 => times(buffer: UserPtr<[i64; 4]>) in limits;
    154 => setpgid(pid: i32, group: i32) in process;
    155 => getpgid(pid: i32) in process;
    156 => getsid(pid: i32) in process;
    157 => setsid() in process;
    158 => getgroups(size: i32, list: UserPtr<u32>) in credentials;
    159 => setgroups(size: u32, list: UserPtr<u32>) in credentials;
    160 => uname(names: UserPtr<[Field; 6]>) in system;
    161 => sethostname(name: UserPtr<u8>, length: i32) in system;
    162 => setdomainname(name: UserPtr<u8>, length: i32) in system;
    163 => getrlimit(resource: u32, limit: UserPtr<rlimit64>) in limits;
    164 => setrlimit(resource: u32, limit: UserPtr<rlimit64>) in limits;
    165 => getrusage(who: i32, usage: UserPtr<rusage>) in limits;
    166 => umask(mask: u32) in directory;
    167 => prctl(operation: u32, a: u64, b: u64, c: u64, d: u64) in prctl;
    168 => getcpu(core: UserPtr<u32>, node: UserPtr<u32>) in system;
    169 => gettimeofday(time: UserPtr<TimeSpec>, zone: UserPtr<[i32; 2]>) in time;
    170 => settimeofday(time: UserPtr<TimeSpec>, zone: UserPtr<[i32; 2]>) in time;
    172 => getpid() in process;
    173 => getppid() in process;
    174 => getuid() in credentials;
    175 => geteuid() in credentials;
    176 => getgid() in credentials;
    177 => getegid() in credentials;
    178 => gettid() in process;
    179 => sysinfo(info: UserPtr<[u64; 14]>) in system;
    198 => socket(family: u32, kind: u32, protocol: u32) in socket;
    199 => socketpair(family: u32, kind: u32, protocol: u32, fds: UserPtr<[i32; 2]>) in socket;
    200 => bind(fd: Fd, address: UserPtr<u8>, length: i32) in socket;
    201 => listen(fd: Fd, backlog: u32) in socket;
    202 => accept(fd: Fd, address: UserPtr<u8>, length: UserPtr<i32>) in socket, accept_blocking;
    203 => connect(fd: Fd, address: UserPtr<u8>, length: i32) in socket, connect_blocking;
    204 => getsockname(fd: Fd, address: UserPtr<u8>, length: UserPtr<i32>) in socket;
    205 => getpeername(fd: Fd, address: UserPtr<u8>, length: UserPtr<i32>) in socket;
    206 => sendto(fd: Fd, buffer: UserPtr<u8>, length: usize, flags: u32, address: UserPtr<u8>, address_length: i32) in socket_message, sendto_blocking;
    207 => recvfrom(fd: Fd, buffer: UserPtr<u8>, length: usize, flags: u32, address: UserPtr<u8>, address_length: UserPtr<i32>) in socket_message, recvfrom_blocking;
    208 => setsockopt(fd: Fd, level: u32, option: u32, value: UserPtr<u8>, length: i32) in socket_option;
    209 => getsockopt(fd: Fd, level: u32, option: u32, value: UserPtr<u8>, length: UserPtr<i32>) in socket_option;
    210 => shutdown(fd: Fd, how: u32) in socket;
    211 => sendmsg(fd: Fd, message: UserPtr<u8>, flags: u32) in socket_message, sendmsg_blocking;
    212 => recvmsg(fd: Fd, message: UserPtr<u8>, flags: u32) in socket_message, recvmsg_blocking;
    213 => readahead(fd: Fd, offset: i64, count: usize) in file;
    214 => brk(address: u64) in memory, brk_blocking;
    215 => munmap(address: u64, length: u64) in memory, munmap_blocking;
    216 => mremap(old: u64, old_length: u64, new_length: u64, flags: u32, new: u64) in memory, mremap_blocking;
    220 => clone(flags: u64, stack: u64, parent_tid: UserPtr<u32>, tls: u64, child_tid: UserPtr<u32>) in clone, clone_blocking;
    221 => execve(path: UserPtr<u8>, arguments: UserPtr<u64>, environment: UserPtr<u64>) in exec, execve_blocking;
    222 => mmap(address: u64, length: u64, prot: u32, flags: u32, fd: Fd, offset: u64) in memory, mmap_blocking;
    223 => fadvise64(fd: Fd, offset: i64, length: i64, advice: u32) in file;
    226 => mprotect(address: u64, length: u64, prot: u32) in memory, mprotect_blocking;
    227 => msync(address: u64, length: u64, flags: u32) in memory;
    228 => mlock(address: u64, length: u64) in memory, mlock_blocking;
    229 => munlock(address: u64, length: u64) in memory;
    230 => mlockall(flags: u32) in memory, mlockall_blocking;
    231 => munlockall() in memory;
    232 => mincore(address: u64, length: u64, vector: UserPtr<u8>) in memory, mincore_blocking;
    233 => madvise(address: u64, length: u64, advice: u32) in memory, madvise_blocking;
    240 => rt_tgsigqueueinfo(pid: i32, tid: i32, number: i32, from: UserPtr<u8>) in signal;
    242 => accept4(fd: Fd, address: UserPtr<u8>, length: UserPtr<i32>, flags: u32) in socket, accept4_blocking;
    243 => recvmmsg(fd: Fd, messages: UserPtr<u8>, count: u32, flags: u32, timeout: UserPtr<TimeSpec>) in socket_message, recvmmsg_blocking;
    260 => wait4(pid: i32, status: UserPtr<i32>, options: u32, usage: UserPtr<rusage>) in wait, wait4_blocking;
    261 => prlimit64(pid: i32, resource: u32, new: UserPtr<rlimit64>, old: UserPtr<rlimit64>) in limits;
    267 => syncfs(fd: Fd) in file;
    269 => sendmmsg(fd: Fd, messages: UserPtr<u8>, count: u32, flags: u32) in socket_message, sendmmsg_blocking;
    270 => process_vm_readv(pid: i32, own: UserPtr<linux::iovec>, own_count: usize, theirs: UserPtr<linux::iovec>, their_count: usize, flags: u64) in remote_memory, process_vm_readv_blocking;
    271 => process_vm_writev(pid: i32, own: UserPtr<linux::iovec>, own_count: usize, theirs: UserPtr<linux::iovec>, their_count: usize, flags: u64) in remote_memory, process_vm_writev_blocking;
    274 => sched_setattr(tid: i32, attributes: UserPtr<u64>, flags: u32) in schedule;
    275 => sched_getattr(tid: i32, attributes: UserPtr<u8>, size: u32, flags: u32) in schedule;
    276 => renameat2(old_directory: Fd, old: UserPtr<u8>, new_directory: Fd, new: UserPtr<u8>, flags: u32) in directory;
    278 => getrandom(buffer: UserPtr<u8>, length: usize, flags: u32) in system, getrandom_blocking;
    279 => memfd_create(name: UserPtr<u8>, flags: u32) in descriptor;
    281 => execveat(directory: Fd, path: UserPtr<u8>, arguments: UserPtr<u64>, environment: UserPtr<u64>, flags: u32) in exec, execveat_blocking;
    283 => membarrier(command: u32, flags: u32, core: i32) in barrier, membarrier_blocking;
    284 => mlock2(address: u64, length: u64, flags: u32) in memory, mlock2_blocking;
    285 => copy_file_range(from: Fd, from_offset: UserPtr<i64>, to: Fd, to_offset: UserPtr<i64>, length: usize, flags: u32) in transfer, copy_file_range_blocking;
    286 => preadv2(fd: Fd, vector: UserPtr<linux::iovec>, count: usize, offset: i64, high: usize, flags: u32) in read_write, preadv2_blocking;
    287 => pwritev2(fd: Fd, vector: UserPtr<linux::iovec>, count: usize, offset: i64, high: usize, flags: u32) in read_write, pwritev2_blocking;
    291 => statx(directory: Fd, path: UserPtr<u8>, flags: u32, mask: u32, buffer: UserPtr<linux::statx>) in path;
    424 => pidfd_send_signal(fd: Fd, signal: i32, details: UserPtr<u8>, flags: u32) in pidfd;
    434 => pidfd_open(pid: i32, flags: u32) in pidfd;
    435 => clone3(arguments: UserPtr<u8>, size: usize) in clone, clone3_blocking;
    436 => close_range(first: u32, last: u32, flags: u32) in descriptor;
    439 => faccessat2(directory: Fd, path: UserPtr<u8>, mode: u32, flags: u32) in path;
    441 => epoll_pwait2(epoll: Fd, events: UserPtr<linux::epoll_event>, count: i32, timeout: UserPtr<linux::__kernel_timespec>, mask: UserPtr<u64>, size: usize) in epoll, epoll_pwait2_blocking;
    449 => futex_waitv(entries: UserPtr<[u64; 3]>, count: u32, flags: u32, timeout: UserPtr<[i64; 2]>, clock: i32) in futex, futex_waitv_blocking;
    452 => fchmodat2(directory: Fd, path: UserPtr<u8>, mode: u32, flags: u32) in path;
}

/// The handlers by number.
pub static HANDLERS: [Handler; CALLS] = const { handlers() };
